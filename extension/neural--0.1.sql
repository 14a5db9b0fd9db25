/* neural--0.1.sql: every object of the extension. */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION neural" to load this file. \quit

/* ---------- the schema is ours alone ---------- */

-- Whoever owns the schema could replace what is in it, and what is in it
-- already might be taken for ours.  A schema that a superuser has made and left
-- empty is what pg_restore brings.
DO $$
DECLARE
    stranger name := (SELECT r.rolname FROM pg_catalog.pg_namespace n
        JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
        WHERE n.nspname OPERATOR(pg_catalog.=) 'neural' AND NOT r.rolsuper);
    found text := (SELECT pg_catalog.pg_describe_object(classid, objid, 0) FROM pg_catalog.pg_depend
        WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
            AND refobjid OPERATOR(pg_catalog.=) 'neural'::pg_catalog.regnamespace
            AND classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_extension'::pg_catalog.regclass LIMIT 1);
BEGIN
    IF stranger IS NOT NULL THEN
        RAISE EXCEPTION 'schema "neural" already exists and belongs to role "%"', stranger
            USING ERRCODE = 'duplicate_schema', HINT = 'Drop it, or rename it.';
    ELSIF found IS NOT NULL THEN
        RAISE EXCEPTION 'schema "neural" already exists and is not empty'
            USING ERRCODE = 'duplicate_schema', DETAIL = pg_catalog.format('It contains %s.', found),
                HINT = 'Drop it, or rename it.';
    END IF;
END $$;

/* ---------- the type of a trained model ---------- */

CREATE TYPE neural.model;

CREATE FUNCTION neural.model_in(cstring) RETURNS neural.model
    AS 'MODULE_PATHNAME', 'neural_model_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION neural.model_out(neural.model) RETURNS cstring
    AS 'MODULE_PATHNAME', 'neural_model_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION neural.model_recv(internal) RETURNS neural.model
    AS 'MODULE_PATHNAME', 'neural_model_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION neural.model_send(neural.model) RETURNS bytea
    AS 'MODULE_PATHNAME', 'neural_model_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION neural.model_in(cstring) IS 'I/O';
COMMENT ON FUNCTION neural.model_out(neural.model) IS 'I/O';
COMMENT ON FUNCTION neural.model_recv(internal) IS 'I/O';
COMMENT ON FUNCTION neural.model_send(neural.model) IS 'I/O';

CREATE TYPE neural.model (
    INPUT = neural.model_in, OUTPUT = neural.model_out,
    RECEIVE = neural.model_recv, SEND = neural.model_send,
    INTERNALLENGTH = VARIABLE, ALIGNMENT = double, STORAGE = external);
COMMENT ON TYPE neural.model IS 'a trained neural network with everything needed to predict from raw columns';

/* ---------- named models are typed tables ---------- */

CREATE TYPE neural.model_table AS (
    version int4,
    active bool,
    status text,
    model neural.model,
    trained_at timestamptz,
    trained_by text,
    training jsonb,
    metrics jsonb,
    history jsonb,
    note text);
COMMENT ON TYPE neural.model_table IS 'one row per version of a named model; a model is a table OF this type';

CREATE VIEW neural.models AS
    SELECT c.oid::pg_catalog.regclass AS model,
           n.nspname AS schema,
           c.relname AS name,
           pg_catalog.pg_get_userbyid(c.relowner) AS owner,
           pg_catalog.pg_total_relation_size(c.oid) AS bytes,
           pg_catalog.obj_description(c.oid, 'pg_class') AS comment
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
     WHERE c.reloftype OPERATOR(pg_catalog.=) 'neural.model_table'::pg_catalog.regtype
       AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT');
COMMENT ON VIEW neural.models IS 'the models that the current role may use';

/* ---------- training ---------- */

CREATE TYPE neural.train_result AS (
    model text,
    version int4,
    task text,
    "rows" int8,
    parameters int8,
    epochs int4,
    loss float8,
    metric text,
    value float8,
    active bool,
    seconds float8,
    device text);
COMMENT ON TYPE neural.train_result IS 'what neural.train says about the version it made';

CREATE FUNCTION neural.train(
    model text,
    data text,
    target text DEFAULT NULL,
    features text[] DEFAULT NULL,
    task text DEFAULT NULL,
    layers text DEFAULT NULL,
    loss text DEFAULT NULL,
    optimizer text DEFAULT NULL,
    learning_rate float8 DEFAULT NULL,
    epochs int4 DEFAULT NULL,
    batch_size int4 DEFAULT NULL,
    validation text DEFAULT NULL,
    seed int8 DEFAULT NULL,
    device text DEFAULT NULL,
    options jsonb DEFAULT NULL,
    targets text[] DEFAULT NULL)
    RETURNS neural.train_result
    AS 'MODULE_PATHNAME', 'neural_train' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.train(text, text, text, text[], text, text, text, text, float8, int4, int4, text, int8, text, jsonb, text[])
    IS 'train a neural network on the rows of a table, view or SELECT and keep it as a new version of a named model';

CREATE PROCEDURE neural.retrain(
    model regclass,
    warm_start bool DEFAULT false,
    options jsonb DEFAULT NULL,
    in_transaction bool DEFAULT false,
    INOUT report text DEFAULT NULL)
    AS 'MODULE_PATHNAME', 'neural_retrain_call' LANGUAGE C;
COMMENT ON PROCEDURE neural.retrain(regclass, bool, jsonb, bool, text)
    IS 'repeat the training of a model''s active version as its owner, holding no snapshot while computing';

/* ---------- background jobs ---------- */

-- Written by the sessions and workers of whoever asked for the job, with their
-- rights; hence the grants below, and row security.
CREATE TABLE neural.job (
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner oid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('train', 'retrain')),
    model text NOT NULL,
    request jsonb NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    submitted timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    started timestamptz,
    finished timestamptz,
    pid int4,
    report text,
    result jsonb,
    error jsonb);
COMMENT ON TABLE neural.job IS 'trainings in the background, as the view neural.jobs shows them';
ALTER TABLE neural.job ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON neural.job
    USING (pg_catalog.pg_get_userbyid(owner) OPERATOR(pg_catalog.=) CURRENT_USER)
    WITH CHECK (pg_catalog.pg_get_userbyid(owner) OPERATOR(pg_catalog.=) CURRENT_USER);
CREATE POLICY monitor ON neural.job FOR SELECT
    USING (pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE'::pg_catalog.text));

CREATE FUNCTION neural.job_state(job int8, state text) RETURNS text
    AS 'MODULE_PATHNAME', 'neural_job_state' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.job_state(int8, text) IS 'a job''s state as its row has it, or lost where nobody works on it any more';

CREATE VIEW neural.jobs WITH (security_invoker = true) AS
    SELECT id, pg_catalog.pg_get_userbyid(owner) AS role, kind, model, neural.job_state(id, state) AS state,
           submitted, started, finished, pid, report, result,
           error OPERATOR(pg_catalog.->>) 'message' AS message, error
      FROM neural.job;
COMMENT ON VIEW neural.jobs IS 'trainings in the background that your roles asked for';

CREATE FUNCTION neural.train_async(
    model text,
    data text,
    target text DEFAULT NULL,
    features text[] DEFAULT NULL,
    task text DEFAULT NULL,
    layers text DEFAULT NULL,
    loss text DEFAULT NULL,
    optimizer text DEFAULT NULL,
    learning_rate float8 DEFAULT NULL,
    epochs int4 DEFAULT NULL,
    batch_size int4 DEFAULT NULL,
    validation text DEFAULT NULL,
    seed int8 DEFAULT NULL,
    device text DEFAULT NULL,
    options jsonb DEFAULT NULL,
    targets text[] DEFAULT NULL)
    RETURNS int8
    AS 'MODULE_PATHNAME', 'neural_train_async' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.train_async(text, text, text, text[], text, text, text, text, float8, int4, int4, text, int8, text, jsonb, text[])
    IS 'neural.train by a background worker; returns the number of the job, which starts when the transaction commits';

CREATE FUNCTION neural.retrain_async(model regclass, warm_start bool DEFAULT false, options jsonb DEFAULT NULL) RETURNS int8
    AS 'MODULE_PATHNAME', 'neural_retrain_async' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.retrain_async(regclass, bool, jsonb)
    IS 'neural.retrain by a background worker; returns the number of the job, which starts when the transaction commits';

CREATE FUNCTION neural.cancel(job int8) RETURNS bool
    AS 'MODULE_PATHNAME', 'neural_cancel' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.cancel(int8) IS 'cancel a job; false where it has ended already';

/* ---------- a model for each group ---------- */

CREATE FUNCTION neural.fit_step(internal, record, text) RETURNS internal
    AS 'MODULE_PATHNAME', 'neural_fit_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
CREATE FUNCTION neural.fit_step(internal, record, text, jsonb) RETURNS internal
    AS 'MODULE_PATHNAME', 'neural_fit_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
CREATE FUNCTION neural.fit_final(internal) RETURNS neural.model
    AS 'MODULE_PATHNAME', 'neural_fit_final' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.fit_step(internal, record, text) IS 'aggregate transition function';
COMMENT ON FUNCTION neural.fit_step(internal, record, text, jsonb) IS 'aggregate transition function';
COMMENT ON FUNCTION neural.fit_final(internal) IS 'aggregate final function';

-- A large SSPACE makes the planner prefer sorted groups to hashed ones, whose
-- states would all be in memory at once.
CREATE AGGREGATE neural.fit("row" record, target text) (
    SFUNC = neural.fit_step, STYPE = internal, SSPACE = 100000000,
    FINALFUNC = neural.fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE);
CREATE AGGREGATE neural.fit("row" record, target text, options jsonb) (
    SFUNC = neural.fit_step, STYPE = internal, SSPACE = 100000000,
    FINALFUNC = neural.fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE);
COMMENT ON AGGREGATE neural.fit(record, text) IS 'train one network on the rows of a group, with the default settings';
COMMENT ON AGGREGATE neural.fit(record, text, jsonb) IS 'train one network on the rows of a group; options are the arguments and options of neural.train';

/* ---------- predicting ---------- */

CREATE FUNCTION neural.model_planner_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'neural_planner_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION neural.model_planner_support(internal) IS 'planner support for predicting';

CREATE FUNCTION neural.predict(model regclass, "row" record, version int4 DEFAULT NULL) RETURNS float8
    AS 'MODULE_PATHNAME', 'neural_predict' LANGUAGE C STABLE PARALLEL SAFE COST 1000 SUPPORT neural.model_planner_support;
COMMENT ON FUNCTION neural.predict(regclass, record, int4) IS 'the value a model predicts for a row';

CREATE FUNCTION neural.predict(model regclass, features float8[]) RETURNS float8
    AS 'MODULE_PATHNAME', 'neural_predict_array' LANGUAGE C STABLE PARALLEL SAFE COST 1000 SUPPORT neural.model_planner_support;
COMMENT ON FUNCTION neural.predict(regclass, float8[]) IS 'the value a model predicts for numbers in the order of its features';

CREATE FUNCTION neural.classify(model regclass, "row" record, version int4 DEFAULT NULL) RETURNS text
    AS 'MODULE_PATHNAME', 'neural_classify' LANGUAGE C STABLE PARALLEL SAFE COST 1000 SUPPORT neural.model_planner_support;
COMMENT ON FUNCTION neural.classify(regclass, record, int4) IS 'the most probable class of a row';

CREATE FUNCTION neural.predict_proba(model regclass, "row" record) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'neural_predict_proba' LANGUAGE C STABLE PARALLEL SAFE COST 1000 SUPPORT neural.model_planner_support;
COMMENT ON FUNCTION neural.predict_proba(regclass, record) IS 'the probability of every class of a row, as an object';

CREATE FUNCTION neural.predict_proba(model regclass, "row" record, label text, version int4 DEFAULT NULL) RETURNS float8
    AS 'MODULE_PATHNAME', 'neural_predict_proba_label' LANGUAGE C STABLE PARALLEL SAFE COST 1000 SUPPORT neural.model_planner_support;
COMMENT ON FUNCTION neural.predict_proba(regclass, record, text, int4) IS 'the probability of one class of a row';

CREATE FUNCTION neural.predict_as(model regclass, "row" record, "type" anyelement, version int4 DEFAULT NULL) RETURNS anyelement
    AS 'MODULE_PATHNAME', 'neural_predict_as' LANGUAGE C STABLE PARALLEL SAFE COST 1000 SUPPORT neural.model_planner_support;
COMMENT ON FUNCTION neural.predict_as(regclass, record, anyelement, int4) IS 'the value or class a model predicts for a row, as the type of the third argument';

CREATE FUNCTION neural.predict_all(model regclass, "row" record, version int4 DEFAULT NULL) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'neural_predict_all' LANGUAGE C STABLE PARALLEL SAFE COST 1000 SUPPORT neural.model_planner_support;
COMMENT ON FUNCTION neural.predict_all(regclass, record, int4) IS 'the predictions of a model of several targets, as an object with a key for each';

CREATE FUNCTION neural.embed(model regclass, "row" record, layer text, version int4 DEFAULT NULL) RETURNS real[]
    AS 'MODULE_PATHNAME', 'neural_embed' LANGUAGE C STABLE PARALLEL SAFE COST 1000 SUPPORT neural.model_planner_support;
COMMENT ON FUNCTION neural.embed(regclass, record, text, int4) IS 'what a layer of a model computes for a row';

CREATE FUNCTION neural.predict_with(value neural.model, "row" record) RETURNS float8
    AS 'MODULE_PATHNAME', 'neural_predict_with' LANGUAGE C STABLE PARALLEL SAFE COST 1000 SUPPORT neural.model_planner_support;
COMMENT ON FUNCTION neural.predict_with(neural.model, record) IS 'the value that a model held as a value predicts for a row';

CREATE FUNCTION neural.classify_with(value neural.model, "row" record) RETURNS text
    AS 'MODULE_PATHNAME', 'neural_classify_with' LANGUAGE C STABLE PARALLEL SAFE COST 1000 SUPPORT neural.model_planner_support;
COMMENT ON FUNCTION neural.classify_with(neural.model, record) IS 'the most probable class of a row by a model held as a value';

CREATE FUNCTION neural.predict_proba_with(value neural.model, "row" record) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'neural_predict_proba_with' LANGUAGE C STABLE PARALLEL SAFE COST 1000 SUPPORT neural.model_planner_support;
COMMENT ON FUNCTION neural.predict_proba_with(neural.model, record) IS 'the probability of every class of a row by a model held as a value';

/* ---------- judging and looking ---------- */

CREATE FUNCTION neural.evaluate(model regclass, data text, version int4 DEFAULT NULL)
    RETURNS TABLE (metric text, value float8)
    AS 'MODULE_PATHNAME', 'neural_evaluate' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 10;
COMMENT ON FUNCTION neural.evaluate(regclass, text, int4) IS 'how good a model is on the rows of a table, view or SELECT that holds its target';

CREATE FUNCTION neural.drift(model regclass, data text, version int4 DEFAULT NULL)
    RETURNS TABLE (kind text, name text, psi float8, unseen float8, nulls_then float8, nulls_now float8,
                   value_then float8, value_now float8)
    AS 'MODULE_PATHNAME', 'neural_drift' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 30;
COMMENT ON FUNCTION neural.drift(regclass, text, int4) IS 'how far the rows of a table, view or SELECT are from those that a model was trained on';

CREATE FUNCTION neural.versions(model regclass)
    RETURNS TABLE (version int4, active bool, status text, trained_at timestamptz, trained_by text,
                   task text, "rows" int8, parameters int8, epochs int4, loss float8,
                   metric text, value float8, seconds float8, bytes int8, note text)
    AS 'MODULE_PATHNAME', 'neural_versions' LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION neural.versions(regclass) IS 'the versions of a model, newest first';

CREATE FUNCTION neural.history(model regclass, version int4 DEFAULT NULL)
    RETURNS TABLE (epoch int4, loss float8, validation_loss float8, metric float8, learning_rate float8, seconds float8)
    AS 'MODULE_PATHNAME', 'neural_history' LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION neural.history(regclass, int4) IS 'the course of a training, one row per epoch';

CREATE FUNCTION neural.features(model regclass, version int4 DEFAULT NULL)
    RETURNS TABLE ("position" int4, name text, type text, encoder text, numbers int4,
                   categories int4, nulls int8, mean float8, stddev float8, min float8, max float8)
    AS 'MODULE_PATHNAME', 'neural_features' LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 30;
COMMENT ON FUNCTION neural.features(regclass, int4) IS 'the columns a model reads and how each becomes numbers';

CREATE FUNCTION neural.layers(model regclass, version int4 DEFAULT NULL)
    RETURNS TABLE (network int4, layer int4, label text, definition text, inputs int4[], output int4[], parameters int8)
    AS 'MODULE_PATHNAME', 'neural_layers' LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION neural.layers(regclass, int4) IS 'the layers of a model';

CREATE FUNCTION neural.weights(model regclass, version int4 DEFAULT NULL)
    RETURNS TABLE (network int4, layer int4, parameter text, shape int4[], "values" real[])
    AS 'MODULE_PATHNAME', 'neural_weights' LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION neural.weights(regclass, int4) IS 'the parameters of a model; needs SELECT on the model''s column "model"';

CREATE FUNCTION neural.summary(model regclass, version int4 DEFAULT NULL) RETURNS text
    AS 'MODULE_PATHNAME', 'neural_summary' LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION neural.summary(regclass, int4) IS 'a model at a glance, as text';

CREATE FUNCTION neural.describe(value neural.model) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'neural_describe' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION neural.describe(neural.model) IS 'what a model held as a value is: task, targets, features, networks, training';

/* ---------- living with versions ---------- */

CREATE FUNCTION neural.promote(model regclass, version int4) RETURNS int4
    AS 'MODULE_PATHNAME', 'neural_promote' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.promote(regclass, int4) IS 'make a version the active one';

CREATE FUNCTION neural.rollback(model regclass) RETURNS int4
    AS 'MODULE_PATHNAME', 'neural_rollback' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.rollback(regclass) IS 'make the version before the active one the active one; returns its number';

CREATE FUNCTION neural.prune(model regclass, keep int4 DEFAULT 3) RETURNS int4
    AS 'MODULE_PATHNAME', 'neural_prune' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.prune(regclass, int4) IS 'delete all but the newest versions and the active one; returns how many were deleted';

CREATE FUNCTION neural.set_retrain(
    model regclass,
    every interval DEFAULT NULL,
    when_new_rows float8 DEFAULT NULL,
    when_drift float8 DEFAULT NULL)
    RETURNS void
    AS 'MODULE_PATHNAME', 'neural_set_retrain' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.set_retrain(regclass, interval, float8, float8)
    IS 'say when neural.run_due is to retrain a model; with no condition, never';

CREATE PROCEDURE neural.run_due(INOUT report text DEFAULT NULL)
    AS 'MODULE_PATHNAME', 'neural_run_due' LANGUAGE C;
COMMENT ON PROCEDURE neural.run_due(text) IS 'retrain each of your models that is due by neural.set_retrain';

CREATE FUNCTION neural.export_model(model regclass, version int4 DEFAULT NULL) RETURNS bytea
    AS 'MODULE_PATHNAME', 'neural_export_model' LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION neural.export_model(regclass, int4) IS 'a version of a model as bytes';

CREATE FUNCTION neural.import_model(model text, data bytea, note text DEFAULT NULL) RETURNS int4
    AS 'MODULE_PATHNAME', 'neural_import_model' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.import_model(text, bytea, text) IS 'add exported bytes as a new, active version of a model; returns its number';

CREATE FUNCTION neural.create_function(model regclass, name text) RETURNS regprocedure
    AS 'MODULE_PATHNAME', 'neural_create_function' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.create_function(regclass, text) IS 'write an SQL function that has a model''s columns as arguments and its target''s type as result';

CREATE FUNCTION neural.grant_predict(model regclass, role text) RETURNS void
    AS 'MODULE_PATHNAME', 'neural_grant_predict' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION neural.grant_predict(regclass, text) IS 'let a role predict with a model, but not read its weights';

/* ---------- the vocabulary, as data ---------- */

CREATE FUNCTION neural.vocabulary()
    RETURNS TABLE (kind text, name text, aliases text[], summary text, options text, examples text[])
    AS 'MODULE_PATHNAME', 'neural_vocabulary' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 100;
COMMENT ON FUNCTION neural.vocabulary() IS 'every layer, loss, optimizer, schedule, initializer, encoder and metric, with its options';

/* ---------- what it computes on ---------- */

CREATE FUNCTION neural.list_devices()
    RETURNS TABLE (device text, number int4, name text, memory int8, memory_free int8, driver text, reason text)
    AS 'MODULE_PATHNAME', 'neural_devices' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 2;
COMMENT ON FUNCTION neural.list_devices() IS 'the devices that there are, as the view neural.devices shows them';

CREATE FUNCTION neural.list_progress()
    RETURNS TABLE (pid int4, database text, role text, model text, phase text, epoch int4, epochs int4, "rows" int8,
                   loss float8, validation_loss float8, best float8, rows_per_second float8, device text,
                   memory int8, started timestamptz, seconds float8, finish timestamptz)
    AS 'MODULE_PATHNAME', 'neural_list_progress' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 5;
COMMENT ON FUNCTION neural.list_progress() IS 'the trainings that are running, as the view neural.progress shows them';

CREATE VIEW neural.progress AS
    SELECT pid, database, role, model, phase, epoch, epochs, "rows", loss, validation_loss, best, rows_per_second,
           device, memory, started, seconds, finish
      FROM neural.list_progress();
COMMENT ON VIEW neural.progress IS 'how far the trainings of your roles are, where the library is preloaded';

CREATE VIEW neural.devices AS
    SELECT device, number, name, memory, memory_free, driver, reason FROM neural.list_devices();
COMMENT ON VIEW neural.devices IS 'the devices that can train, or the reason why there is none of a kind';

/* ---------- who may use it ---------- */

-- Models have owners and privileges of their own; the functions act with the
-- rights of whoever calls them.
GRANT USAGE ON SCHEMA neural TO PUBLIC;
GRANT SELECT ON neural.models, neural.devices, neural.progress, neural.jobs TO PUBLIC;
-- not the id, of which another role's next job might have need
GRANT SELECT, DELETE, INSERT (owner, kind, model, request),
    UPDATE (state, started, finished, pid, report, result, error) ON neural.job TO PUBLIC;
