-- Every function of the extension as every kind of role.  A function without a
-- line in "operation" is reported, so a new one cannot be forgotten.
CREATE SCHEMA matrix;
SET search_path = matrix, public;
SET client_min_messages = error;
CREATE ROLE neural_m_owner LOGIN;
CREATE ROLE neural_m_member LOGIN IN ROLE neural_m_owner;
CREATE ROLE neural_m_super LOGIN SUPERUSER;
CREATE ROLE neural_m_columns LOGIN;
CREATE ROLE neural_m_table LOGIN;
CREATE ROLE neural_m_nothing LOGIN;
CREATE ROLE neural_m_hidden LOGIN;
CREATE ROLE neural_m_other LOGIN;
GRANT ALL ON SCHEMA matrix TO PUBLIC;

SET ROLE neural_m_owner;
CREATE TABLE source AS SELECT i AS id, i / 100.0::real AS x, i < 50 AS low FROM generate_series(1, 100) i;
CREATE TABLE secret AS SELECT * FROM source;
GRANT SELECT ON source TO PUBLIC;
SELECT count(*) FROM (VALUES (1), (2)) t(seed), LATERAL neural.train('m', 'source', target => 'low', features => '{x}',
    layers => 'a: dense(2)', epochs => 1, seed => t.seed, options => '{"activate": "always"}');
SELECT version FROM neural.train('both', 'source', targets => '{x,id}', features => '{low}', layers => 'dense(2)', epochs => 1);
SELECT version FROM neural.train('again', 'source', target => 'low', features => '{x}', layers => 'dense(2)', epochs => 1);
CREATE TABLE held AS SELECT neural.export_model('m') AS bytes, model::text AS text FROM m WHERE active;
GRANT SELECT ON held TO PUBLIC;

-- what each was given
DO $$
DECLARE
    model text;
BEGIN
    FOREACH model IN ARRAY '{m,both}'::text[] LOOP
        PERFORM neural.grant_predict(model, 'neural_m_columns');
        EXECUTE format('GRANT SELECT ON %I TO neural_m_table', model);
        EXECUTE format('GRANT ALL ON %I TO neural_m_hidden', model);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', model);
        EXECUTE format('CREATE POLICY others ON %I USING (current_user <> ''neural_m_hidden'')', model);
    END LOOP;
END $$;
-- of which nobody else may write a version, or it could not be retrained
GRANT SELECT ON again TO neural_m_columns, neural_m_table, neural_m_hidden;
RESET ROLE;

CREATE TABLE operation (
    name text PRIMARY KEY, -- what pg_proc calls it, and what tells overloads apart
    class text,
    statement text);
INSERT INTO operation VALUES
    ('predict(regclass,record,integer)', 'predict', 'SELECT neural.predict(''m'', s) FROM source s'),
    ('predict(regclass,double precision[])', 'predict', 'SELECT neural.predict(''m'', ARRAY[0.5])'),
    ('classify(regclass,record,integer)', 'predict', 'SELECT neural.classify(''m'', s) FROM source s'),
    ('predict_proba(regclass,record)', 'predict', 'SELECT neural.predict_proba(''m'', s) FROM source s'),
    ('predict_proba(regclass,record,text,integer)', 'predict', 'SELECT neural.predict_proba(''m'', s, ''true'') FROM source s'),
    ('predict_as(regclass,record,anyelement,integer)', 'predict', 'SELECT neural.predict_as(''m'', s, NULL::bool) FROM source s'),
    ('predict_all(regclass,record,integer)', 'predict', 'SELECT neural.predict_all(''both'', s) FROM source s'),
    ('embed(regclass,record,text,integer)', 'predict', 'SELECT neural.embed(''m'', s, ''a'') FROM source s'),
    ('evaluate(regclass,text,integer)', 'predict', 'SELECT * FROM neural.evaluate(''m'', ''matrix.source'')'),
    ('features(regclass,integer)', 'predict', 'SELECT * FROM neural.features(''m'')'),
    ('layers(regclass,integer)', 'predict', 'SELECT * FROM neural.layers(''m'')'),
    ('summary(regclass,integer)', 'predict', 'SELECT neural.summary(''m'')'),
    ('create_function(regclass,text)', 'predict', 'SELECT neural.create_function(''m'', ''matrix.wrapped'')'),
    ('versions(regclass)', 'list', 'SELECT * FROM neural.versions(''m'')'),
    ('history(regclass,integer)', 'read', 'SELECT * FROM neural.history(''m'')'),
    ('weights(regclass,integer)', 'read', 'SELECT * FROM neural.weights(''m'')'),
    ('export_model(regclass,integer)', 'read', 'SELECT neural.export_model(''m'')'),
    ('predict_with(neural.model,record)', 'value', 'SELECT neural.predict_with(m.model, s) FROM m, source s'),
    ('classify_with(neural.model,record)', 'value', 'SELECT neural.classify_with(m.model, s) FROM m, source s'),
    ('predict_proba_with(neural.model,record)', 'value', 'SELECT neural.predict_proba_with(m.model, s) FROM m, source s'),
    ('describe(neural.model)', 'value', 'SELECT neural.describe(model) FROM m'),
    ('model_out(neural.model)', 'value', 'SELECT model::text FROM m'),
    ('model_send(neural.model)', 'value', 'SELECT neural.model_send(model) FROM m'),
    ('model_in(cstring)', 'anybody', 'SELECT (text::neural.model)::text FROM held'),
    ('vocabulary()', 'anybody', 'SELECT * FROM neural.vocabulary()'),
    ('list_devices()', 'anybody', 'SELECT * FROM neural.list_devices()'),
    ('fit(record,text)', 'anybody', 'SELECT neural.fit(s, ''x'') IS NULL AS fitted FROM source s WHERE false'),
    ('fit(record,text,jsonb)', 'anybody', 'SELECT neural.fit(s, ''x'', ''{"layers": "dense(2)", "epochs": 1}'') IS NULL AS fitted FROM source s'),
    ('train(text,text,text,text[],text,text,text,text,double precision,integer,integer,text,bigint,text,jsonb,text[])', 'insert',
        'SELECT neural.train(''m'', ''matrix.source'', target => ''low'', features => ''{x}'', layers => ''dense(2)'', epochs => 1)'),
    ('train: rows that are the owner''s alone', 'own',
        'SELECT neural.train(''mine'', ''matrix.secret'', target => ''low'', layers => ''dense(2)'', epochs => 1)'),
    ('train: a query about them', 'own',
        'SELECT neural.train(''mine'', ''SELECT * FROM matrix.secret'', target => ''low'', layers => ''dense(2)'', epochs => 1)'),
    ('train: a model of one''s own', 'anybody',
        'SELECT neural.train(''mine'', ''matrix.source'', target => ''low'', layers => ''dense(2)'', epochs => 1)'),
    ('evaluate: rows that are the owner''s alone', 'own 2', 'SELECT * FROM neural.evaluate(''m'', ''matrix.secret'')'),
    ('import_model(text,bytea,text)', 'insert', 'SELECT neural.import_model(''m'', bytes) FROM held'),
    ('promote(regclass,integer)', 'update', 'SELECT neural.promote(''m'', 1)'),
    ('rollback(regclass)', 'update 2', 'SELECT neural.rollback(''m'')'),
    ('prune(regclass,integer)', 'delete', 'SELECT neural.prune(''m'', 0)'),
    ('drift(regclass,text,integer)', 'read', 'SELECT * FROM neural.drift(''m'', ''matrix.source'')'),
    ('retrain(regclass,boolean,jsonb,boolean,text)', 'owner', 'CALL neural.retrain(''again'', false, NULL, true)'),
    ('retrain_async(regclass,boolean,jsonb)', 'owner''s job', 'SELECT neural.retrain_async(''again'')'),
    ('set_retrain(regclass,interval,double precision,double precision)', 'owner', 'SELECT neural.set_retrain(''again'', ''1 day'')::text'),
    ('run_due(text)', 'alone', 'CALL neural.run_due()'),
    ('train_async(text,text,text,text[],text,text,text,text,double precision,integer,integer,text,bigint,text,jsonb,text[])', 'insert''s job',
        'SELECT neural.train_async(''m'', ''matrix.source'', target => ''low'', features => ''{x}'', layers => ''dense(2)'', epochs => 1)'),
    ('train_async: a model of one''s own', 'anybody''s job',
        'SELECT neural.train_async(''mine'', ''matrix.source'', target => ''low'', layers => ''dense(2)'', epochs => 1)'),
    ('cancel(bigint)', 'job', 'SELECT neural.cancel(1)::text'),
    ('job_state(bigint,text)', 'anybody', 'SELECT neural.job_state(1, ''done'')'),
    ('list_progress()', 'anybody', 'SELECT * FROM neural.list_progress()'),
    ('grant_predict(regclass,text)', 'grant', 'SELECT neural.grant_predict(''m'', ''neural_m_other'')::text');

-- What may be called at all and has no line.  What takes or returns "internal"
-- cannot be called in a query.
SELECT format('no line in sql/matrix.sql: %s(%s)', p.proname, replace(oidvectortypes(p.proargtypes), ', ', ',')) AS missing
  FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'neural' JOIN pg_proc p ON p.oid = d.objid
 WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
   AND p.prorettype <> 'internal'::regtype AND NOT 'internal'::regtype = ANY (p.proargtypes)
   AND format('%s(%s)', p.proname, replace(oidvectortypes(p.proargtypes), ', ', ',')) NOT IN (SELECT name FROM operation);
SELECT name AS gone FROM operation
 WHERE name NOT LIKE '%: %' AND name NOT IN (SELECT format('%s(%s)', proname, replace(oidvectortypes(proargtypes), ', ', ','))
    FROM pg_proc WHERE pronamespace = 'neural'::regnamespace);

-- What each class of operations must say to each: README.md, "Privileges".
-- "definer" is one with nothing who calls a SECURITY DEFINER function of the
-- owner's; "view" is the same one reading a view of the owner's, whose tables
-- are read with the owner's rights, but whose functions are called with his.
CREATE TABLE expected (
    class text PRIMARY KEY,
    owner text, member text, super text, columns text, "table" text, nothing text, hidden text, definer text, view text);
INSERT INTO expected VALUES
    --            owner member super columns  table    nothing  hidden   definer view
    ('predict',  'ok', 'ok', 'ok', 'ok',    'ok',    '42501', '55000', 'ok', '42501'),
    ('list',     'ok', 'ok', 'ok', 'ok',    'ok',    '42501', 'ok',    'ok', '42501'),
    ('read',     'ok', 'ok', 'ok', '42501', 'ok',    '42501', '55000', 'ok', '42501'),
    ('value',    'ok', 'ok', 'ok', '42501', 'ok',    '42501', 'ok',    'ok', 'ok'),
    ('anybody',  'ok', 'ok', 'ok', 'ok',    'ok',    'ok',    'ok',    'ok', 'ok'),
    ('own',      'ok', 'ok', 'ok', '42501', '42501', '42501', '42501', 'ok', '42501'),
    ('own 2',    'ok', 'ok', 'ok', '42501', '42501', '42501', '55000', 'ok', '42501'),
    ('insert',   'ok', 'ok', 'ok', '42501', '42501', '42501', '42501', 'ok', '42501'),
    ('update',   'ok', 'ok', 'ok', '42501', '42501', '42501', '42704', 'ok', '42501'),
    ('update 2', 'ok', 'ok', 'ok', '42501', '42501', '42501', '55000', 'ok', '42501'),
    ('delete',   'ok', 'ok', 'ok', '42501', '42501', '42501', 'ok',    'ok', '42501'),
    ('owner',    'ok', 'ok', 'ok', '42501', '42501', '42501', '42501', 'ok', '42501'),
    ('alone',    '25001', '25001', '25001', '25001', '25001', '25001', '25001', '25001', '25001'),
    -- there is room for no job, which is found out last
    ('owner''s job', '53400', '53400', '53400', '42501', '42501', '42501', '42501', '53400', '42501'),
    ('insert''s job', '53400', '53400', '53400', '42501', '42501', '42501', '53400', '53400', '42501'),
    ('anybody''s job', '53400', '53400', '53400', '53400', '53400', '53400', '53400', '53400', '53400'),
    ('job',      '42704', '42704', '42704', '42704', '42704', '42704', '42704', '42704', '42704'),
    ('grant',    'ok', 'ok', 'ok', '42501', '42501', '42501', '42501', 'ok', '42501');
-- What is of no class would be compared with nothing.
ALTER TABLE operation ALTER class SET NOT NULL, ADD FOREIGN KEY (class) REFERENCES expected;

-- Run a statement as a role and undo it: "ok" or the SQLSTATE.
CREATE FUNCTION attempt(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement;
    RAISE EXCEPTION USING ERRCODE = 'UNDO1';
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'UNDO1' THEN 'ok' ELSE SQLSTATE || ' ' || SQLERRM END;
END $$;

-- The same through a function and through a view of the owner's.
CREATE FUNCTION lend(statement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL ROLE neural_m_owner;
    EXECUTE format('CREATE OR REPLACE FUNCTION lent() RETURNS void LANGUAGE plpgsql SECURITY DEFINER '
        'SET search_path = matrix AS %L', format('BEGIN EXECUTE %L; END', statement));
    EXECUTE 'DROP VIEW IF EXISTS lent';
    IF statement LIKE 'SELECT%' THEN
        EXECUTE format('CREATE VIEW lent AS %s', statement);
        GRANT SELECT ON lent TO PUBLIC;
    END IF;
    RESET ROLE;
END $$;

SET neural.max_workers = 0;
CREATE TABLE cell (operation text, class text, role text, result text);
DO $$
DECLARE
    o operation;
    role text;
BEGIN
    FOR o IN SELECT * FROM operation LOOP
        FOREACH role IN ARRAY '{owner,member,super,columns,table,nothing,hidden}'::text[] LOOP
            INSERT INTO cell VALUES (o.name, o.class, role, attempt('neural_m_' || role, o.statement));
        END LOOP;
        PERFORM lend(o.statement);
        INSERT INTO cell VALUES (o.name, o.class, 'definer', attempt('neural_m_nothing', 'SELECT lent()'));
        IF o.statement LIKE 'SELECT%' THEN
            INSERT INTO cell VALUES (o.name, o.class, 'view', attempt('neural_m_nothing', 'SELECT * FROM lent'));
        END IF;
    END LOOP;
END $$;

SELECT count(*) > 300 AS enough, count(*) = count(DISTINCT (operation, role)) AS distinct FROM cell;
SELECT c.operation, c.role, c.result, w.value AS expected
  FROM cell c JOIN expected e USING (class), jsonb_each_text(to_jsonb(e)) w
 WHERE w.key = c.role AND left(c.result, 5) <> w.value ORDER BY 1, 2;

-- The lists show a role what it may use.
CREATE FUNCTION seen(role text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    names text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    SELECT string_agg(name, ' ' ORDER BY name) INTO names FROM neural.models WHERE schema = 'matrix';
    RESET ROLE;
    RETURN names;
END $$;
SELECT role, seen('neural_m_' || role) FROM unnest('{owner,member,super,columns,table,nothing,hidden}'::text[]) role;

-- A role that may see part of the rows trains on that part.
SET ROLE neural_m_owner;
ALTER TABLE source ENABLE ROW LEVEL SECURITY;
CREATE POLICY part ON source FOR SELECT TO neural_m_columns USING (id % 2 = 0);
SET ROLE neural_m_columns;
SELECT r."rows" FROM neural.train('part', 'source', target => 'low', layers => 'dense(2)', epochs => 1) r;
SELECT r."rows" FROM neural.train('part', 'SELECT * FROM source WHERE id <= 60', target => 'low', layers => 'dense(2)', epochs => 1) r;
SELECT value FROM neural.evaluate('part', 'source') WHERE metric = 'rows';
SET row_security = off;
SELECT neural.train('part', 'source', target => 'low', layers => 'dense(2)', epochs => 1);
RESET row_security;
SET ROLE neural_m_nothing;
SELECT neural.train('none', 'source', target => 'low', layers => 'dense(2)', epochs => 1);

-- Some rights of a table's are given on, some not: all or nothing.
SET ROLE neural_m_owner;
GRANT SELECT (version, active) ON m TO neural_m_other WITH GRANT OPTION;
SET ROLE neural_m_other;
SELECT neural.grant_predict('m', 'neural_m_nothing');
SET ROLE neural_m_owner;
GRANT SELECT (trained_at, metrics) ON m TO neural_m_other WITH GRANT OPTION;
SET ROLE neural_m_other;
SELECT neural.grant_predict('m', 'neural_m_nothing');
SET ROLE neural_m_nothing;
SELECT count(*) FROM (SELECT neural.predict('m', ARRAY[0.5])) p;

RESET ROLE;
DROP SCHEMA matrix CASCADE;
DROP ROLE neural_m_owner, neural_m_member, neural_m_super, neural_m_columns, neural_m_table, neural_m_nothing,
    neural_m_hidden, neural_m_other;
