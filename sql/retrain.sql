-- Retraining, and when it is due.
CREATE SCHEMA retrain;
SET search_path = retrain, public;
SET neural.progress_interval = 0;
SET client_min_messages = warning;
\set SHOW_CONTEXT never

-- what a report says, without scores and the time that it took
CREATE FUNCTION short(report text) RETURNS text LANGUAGE sql AS
    $$ SELECT regexp_replace(regexp_replace(report, ', [0-9.]+ s( |$)', '\1', 'gm'), '(r2|has) [-0-9.e]+', '\1 N', 'g') $$;
CREATE TABLE shop (id int PRIMARY KEY, size real, kind text, stars int, opened timestamptz, late bool, turnover float8);
INSERT INTO shop
    SELECT i, i % 50 / 10.0, (ARRAY['food', 'books', 'tools'])[1 + i % 3], 1 + (i % 50) / 10,
           timestamptz '2024-01-01 12:00 UTC' + i * interval '1 hour', false, (i % 50) / 5.0 + 3 * (i % 3)
      FROM generate_series(1, 1200) i;

SELECT version, task, active FROM neural.train('worth', 'shop', target => 'turnover', features => '{size, kind}',
    layers => 'dense(16, relu)', epochs => 15, learning_rate => 0.01, seed => 3, options => '{"note": "by hand"}');

-- it is the same training: the same rows give the same network, and version 1 is judged on the same rows
CALL neural.retrain('worth') \gset
SELECT short(:'report');
SELECT count(DISTINCT neural.describe(model) ->> 'sha256') AS models, count(*) AS versions FROM worth;
SELECT version, active, status, note, metrics -> 'predecessor' AS predecessor,
       metrics -> 'predecessor_value' = metrics -> 'value' AS same, training -> 'arguments' AS arguments,
       training -> 'options' AS options, trained_by = current_user AS mine
  FROM worth ORDER BY version;
-- the predecessor's score is what neural.evaluate says of it on these rows
ALTER TABLE shop ADD judged bool;
UPDATE shop SET judged = id % 5 = 0;
SELECT version FROM neural.train('judged', 'shop', target => 'turnover', features => '{size, kind}', validation => 'judged',
    layers => 'dense(8, relu)', epochs => 4, seed => 3);
UPDATE shop SET turnover = turnover + id % 7;
CALL neural.retrain('judged', options => '{"epochs": 30, "learning_rate": 0.02}') \gset
SELECT abs((metrics ->> 'predecessor_value')::float8 - e.value) < 1e-6 AS agrees, training -> 'epochs' AS epochs,
       training -> 'arguments' ->> 'epochs' AS asked
  FROM judged, neural.evaluate('judged', 'SELECT * FROM shop WHERE judged', 1) e
 WHERE version = 2 AND e.metric = 'r2';
SELECT abs((metrics ->> 'value')::float8 - e.value) < 1e-5 AS agrees
  FROM judged, neural.evaluate('judged', 'SELECT * FROM shop WHERE judged', 2) e
 WHERE version = 2 AND e.metric = 'r2';
UPDATE shop SET turnover = turnover - id % 7;

-- a worse one stays aside
CALL neural.retrain('worth', options => '{"epochs": 1, "learning_rate": 1e-9}') \gset
SELECT :'report' LIKE 'version 3 of worth stays aside: r2 %, version 2 has %' AS aside;
SELECT version, active FROM worth ORDER BY version;
CALL neural.retrain('worth', options => '{"epochs": 1, "activate": "always", "note": "today"}') \gset
SELECT version, active, note FROM worth WHERE active;
SELECT neural.promote('worth', 2);

-- a warm start begins with the parameters, encoders and scales of its predecessor
CALL neural.retrain('worth', warm_start => true, options => '{"epochs": 1, "learning_rate": 1e-12, "restore_best": false}') \gset
SELECT bool_and(abs(neural.predict('worth', shop, 5) - neural.predict('worth', shop, 2)) < 1e-3) AS close FROM shop;
INSERT INTO shop SELECT 2000 + i, 1, 'toys', 1, '2025-01-01', false, 5 FROM generate_series(1, 50) i;
CALL neural.retrain('worth', warm_start => true, options => '{"activate": "always"}') \gset
SELECT categories FROM neural.features('worth') WHERE name = 'kind';
CALL neural.retrain('worth', options => '{"activate": "always"}') \gset
SELECT categories FROM neural.features('worth') WHERE name = 'kind';
DELETE FROM shop WHERE id > 2000;

-- classes: names and numbers, also when today's rows lack one or bring another
SELECT version, task FROM neural.train('kind', 'shop', target => 'kind', features => '{turnover, size}', layers => 'dense(16, relu)', epochs => 5, learning_rate => 0.02);
CALL neural.retrain('kind', warm_start => true) \gset
SELECT short(:'report') ~ '^version 2 of kind is active' AS active;
SELECT version, task FROM neural.train('stars', 'shop', target => 'stars', features => '{size}', layers => 'dense(16, relu)', epochs => 5);
CALL neural.retrain('stars', warm_start => true, options => '{"activate": "always"}') \gset
UPDATE shop SET stars = 4 WHERE stars = 3;
CALL neural.retrain('stars', options => '{"activate": "always"}') \gset
SELECT version, training ->> 'task' AS task, neural.describe(model) -> 'targets' -> 0 -> 'classes' AS classes FROM stars ORDER BY version;
UPDATE shop SET kind = 'toys' WHERE id % 30 = 0;
CALL neural.retrain('kind', warm_start => true);
CALL neural.retrain('kind', options => '{"activate": "always"}') \gset
SELECT neural.describe(model) -> 'targets' -> 0 -> 'classes' AS classes FROM kind WHERE active;

-- what was left to be chosen stays as it was chosen: features, time zone
SET TimeZone = 'Asia/Tokyo';
SELECT version FROM neural.train('chosen', 'SELECT size, kind, opened, turnover FROM shop', target => 'turnover', epochs => 1,
    layers => 'dense(4)', options => '{"columns": {"kind": "one_hot"}}');
RESET TimeZone;
ALTER TABLE shop ADD added real;
SET search_path = public;
CALL neural.retrain('retrain.chosen') \gset
SET search_path = retrain, public;
SELECT training -> 'features' AS features, neural.describe(model) ->> 'time_zone' AS zone, training -> 'settings' ->> 'TimeZone' AS setting,
       training -> 'settings' ->> 'search_path' AS path
  FROM chosen ORDER BY version;

-- and so does the time that the default network was planned for
SET neural.train_seconds = 1;
SELECT version FROM neural.train('planned', 'shop', target => 'turnover', features => '{size, kind}', seed => 1, options => '{"max_seconds": 0.01}');
RESET neural.train_seconds;
CALL neural.retrain('planned') \gset
SELECT count(DISTINCT training -> 'planned_epochs') AS plans, count(*) AS versions FROM planned;

-- no snapshot is held, so it is no part of a transaction, unless that is wanted
BEGIN;
CALL neural.retrain('worth');
ROLLBACK;
CREATE FUNCTION by_function() RETURNS void LANGUAGE plpgsql AS $$ DECLARE r text; BEGIN CALL neural.retrain('worth', report => r); END $$;
SELECT by_function();
DO $$ DECLARE r text; BEGIN CALL neural.retrain('chosen', report => r); RAISE WARNING '%', retrain.short(r); END $$;
-- as a procedure that TimescaleDB schedules
CREATE PROCEDURE nightly(job_id int, config jsonb) LANGUAGE plpgsql AS $$
    DECLARE r text; BEGIN CALL neural.retrain((config ->> 'model')::regclass, report => r); RAISE WARNING '%', retrain.short(r); END $$;
CALL nightly(1, '{"model": "chosen"}');
BEGIN;
SELECT count(*) FROM chosen;
CALL neural.retrain('chosen', in_transaction => true) \gset
SELECT count(*) FROM chosen;
ROLLBACK;
SELECT count(*) FROM chosen;

-- what is refused
CALL neural.retrain('shop');
CALL neural.retrain(NULL);
CALL neural.retrain('worth', options => '[1]');
CALL neural.retrain('worth', options => '{"epoch": 1}');
CALL neural.retrain('worth', options => '{"layers": "dense(7)"}', warm_start => true);
SELECT neural.import_model('imported', neural.export_model('worth'));
CALL neural.retrain('imported');
UPDATE chosen SET active = false;
CALL neural.retrain('chosen');
CREATE TABLE by_hand OF neural.model_table;
INSERT INTO by_hand (active, training) VALUES (true, '{"data": "shop"}');
CALL neural.retrain('by_hand');
UPDATE by_hand SET version = 1, model = (SELECT model FROM worth WHERE active), training = NULL;
CALL neural.retrain('by_hand');
UPDATE by_hand SET training = '{"data": "shop", "settings": {}, "arguments": []}';
CALL neural.retrain('by_hand');
UPDATE by_hand SET training = '{"data": "shop", "settings": {}, "arguments": {}}';
CALL neural.retrain('by_hand');
UPDATE by_hand SET training = '{"data": "shop", "settings": {"search_path": "retrain, pg_temp", "TimeZone": 7, "DateStyle": {}}, "task": 1, "features": 2, "arguments": {"targets": ["turnover"]}}';
CALL neural.retrain('by_hand');
SELECT neural.set_retrain('by_hand', '1 day');
UPDATE by_hand SET training = jsonb_set(training, '{retrain}', '{"every": 1, "when_new_rows": "x", "when_drift": []}');
SET default_transaction_read_only = on;
CALL neural.retrain('worth');
CALL neural.run_due();
SELECT neural.set_retrain('worth', '1 day');
RESET default_transaction_read_only;
ALTER TABLE shop RENAME size TO area;
CALL neural.retrain('worth');
ALTER TABLE shop RENAME area TO size;
ALTER TABLE shop RENAME TO store;
CALL neural.retrain('worth');
ALTER TABLE store RENAME TO shop;

-- the owner's model is retrained as the owner, whoever calls
CREATE ROLE regress_neural_keeper;
CREATE ROLE regress_neural_other;
GRANT ALL ON SCHEMA retrain TO regress_neural_keeper;
GRANT USAGE ON SCHEMA retrain TO regress_neural_other;
CREATE VIEW seen AS SELECT size, turnover, current_user AS who FROM shop;
ALTER VIEW seen OWNER TO regress_neural_keeper;
GRANT SELECT ON shop TO regress_neural_keeper;
CREATE FUNCTION who() RETURNS text LANGUAGE sql AS 'SELECT current_user::text';
SET ROLE regress_neural_keeper;
SELECT version FROM neural.train('kept', 'SELECT size, turnover, length(retrain.who()) AS who FROM seen', target => 'turnover', features => '{size, who}', layers => 'dense(2)', epochs => 1);
SET ROLE regress_neural_other;
CALL neural.retrain('kept');
SELECT neural.set_retrain('kept', '1 day');
RESET ROLE;
CALL neural.retrain('kept') \gset
SELECT trained_by FROM kept WHERE version = 2;
SELECT current_user = session_user AS myself, current_setting('search_path') AS path;
-- a restricted operation, and one that leaves no setting behind
CREATE FUNCTION sneaky() RETURNS real LANGUAGE plpgsql AS $$
    BEGIN PERFORM set_config('search_path', 'pg_temp', false); RETURN 1; END $$;
SET ROLE regress_neural_keeper;
SELECT version FROM neural.train('sneaky', 'SELECT size * retrain.sneaky() AS size, turnover FROM seen', target => 'turnover', layers => 'dense(2)', epochs => 1);
SET search_path = retrain, public;
RESET ROLE;
CALL neural.retrain('sneaky') \gset
SHOW search_path;
CREATE FUNCTION worse() RETURNS real LANGUAGE plpgsql AS $$
    BEGIN SET ROLE postgres; RETURN 1; END $$;
SET ROLE regress_neural_keeper;
UPDATE sneaky SET training = jsonb_set(training, '{data}', '"SELECT size * retrain.worse() AS size, turnover FROM seen"');
RESET ROLE;
CALL neural.retrain('sneaky');
SELECT current_user = session_user AS myself;
-- a deferred trigger would run as the caller
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'as %', current_user; RETURN NULL; END $$;
SET ROLE regress_neural_keeper;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON kept DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later();
RESET ROLE;
CALL neural.retrain('kept');
DROP TRIGGER later ON kept;
-- nobody else may decide what the owner runs
GRANT INSERT ON kept TO regress_neural_other;
CALL neural.retrain('kept');
REVOKE INSERT ON kept FROM regress_neural_other;
GRANT UPDATE (training) ON kept TO PUBLIC;
CALL neural.retrain('kept');
REVOKE UPDATE (training) ON kept FROM PUBLIC;
SELECT neural.grant_predict('kept', 'regress_neural_other');
CALL neural.retrain('kept') \gset
SELECT max(version) FROM kept;

-- when it is due: nothing was set, then by time, by rows, by drift
CALL neural.run_due();
SELECT neural.set_retrain('worth', every => '1 week', when_new_rows => 0.1, when_drift => 0.25);
SELECT DISTINCT training -> 'retrain' AS policy FROM worth;
CALL neural.run_due();
UPDATE worth SET trained_at = trained_at - interval '8 days';
CALL neural.run_due() \gset
SELECT short(:'report') ~ '^version 8 of worth ' AS retrained;
SELECT count(*), count(training -> 'retrain') FROM worth;
CALL neural.run_due();
INSERT INTO shop SELECT 3000 + i, i % 50 / 10.0, 'food', 1, '2025-01-01', false, (i % 50) / 5.0 FROM generate_series(1, 119) i;
CALL neural.run_due();
INSERT INTO shop SELECT 4000 + i, i % 50 / 10.0, 'food', 1, '2025-01-01', false, NULL FROM generate_series(1, 50) i;
CALL neural.run_due();
INSERT INTO shop VALUES (5000, 1, 'food', 1, '2025-01-01', false, 2);
CALL neural.run_due() \gset
SELECT short(:'report') ~ '^version 9 of worth ' AS retrained;
UPDATE shop SET size = size + 3;
CALL neural.run_due() \gset
SELECT short(:'report') ~ '^version 10 of worth ' AS retrained;
CALL neural.run_due();
-- one that fails does not keep the others from it
SELECT neural.set_retrain('kind', '1 s');
UPDATE kind SET trained_at = '2020-01-01', training = jsonb_set(training, '{data}', '"nowhere"');
UPDATE worth SET trained_at = '2020-01-01';
CALL neural.run_due() \gset
SELECT short(:'report') ~ '^version 11 of worth .*\nkind was not retrained: relation "nowhere" does not exist$' AS retrained;
-- wherever it fails: in a trigger, say, or in a statement of a function of its source
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON kind FOR EACH ROW EXECUTE FUNCTION refuse();
UPDATE kind SET training = jsonb_set(training, '{data}', '"retrain.shop"');
UPDATE worth SET trained_at = '2020-01-01';
CALL neural.run_due() \gset
SELECT short(:'report') ~ '^version 12 of worth .*\nkind was not retrained: refused$' AS retrained;
DROP TRIGGER refuse ON kind;
CREATE FUNCTION divide() RETURNS float8 LANGUAGE plpgsql AS $$ DECLARE n int; BEGIN SELECT count(*) / 0 INTO n FROM retrain.shop; RETURN n; END $$;
UPDATE kind SET training = jsonb_set(training, '{data}', '"SELECT kind, retrain.divide() AS turnover, size FROM retrain.shop"');
UPDATE worth SET trained_at = '2020-01-01';
CALL neural.run_due() \gset
SELECT short(:'report') ~ '^version 13 of worth .*\nkind was not retrained: division by zero$' AS retrained;
-- nor is what the caller's loop has yet to read computed as the owner of the first model
CREATE TEMP TABLE before AS SELECT version, training FROM worth;
UPDATE worth SET trained_at = '2020-01-01', training = jsonb_set(training, '{data}', '"SELECT kind, retrain.divide() AS turnover, size FROM retrain.shop"');
UPDATE kind SET trained_at = clock_timestamp();
ALTER TABLE worth OWNER TO regress_neural_keeper;
GRANT SELECT ON shop TO regress_neural_keeper;
DO $$
DECLARE
    r record;
    report text;
    mine bool := true;
BEGIN
    FOR r IN SELECT current_user AS who, i FROM generate_series(1, 100) i LOOP
        IF r.i = 1 THEN
            CALL neural.run_due(report);
        END IF;
        mine := mine AND r.who = session_user;
    END LOOP;
    RAISE WARNING 'all rows are the caller''s: %', mine;
END $$;
ALTER TABLE worth OWNER TO CURRENT_USER;
UPDATE worth w SET trained_at = '2020-01-01', training = b.training FROM before b WHERE b.version = w.version;
UPDATE kind SET trained_at = '2020-01-01';
-- nor does one that pretends to have been cancelled; a real cancel ends all
CREATE FUNCTION pretend() RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'canceling statement due to user request' USING ERRCODE = '57014'; END $$;
UPDATE kind SET training = jsonb_set(training, '{data}', '"SELECT kind, retrain.pretend() AS turnover, size FROM retrain.shop"');
UPDATE worth SET trained_at = '2020-01-01';
CALL neural.run_due() \gset
SELECT short(:'report') ~ '^version 14 of worth .*\nkind was not retrained: canceling statement due to user request$' AS retrained;
UPDATE kind SET training = jsonb_set(training, '{data}', '"SELECT kind, turnover, size, pg_sleep(0.01)::text AS slow FROM retrain.shop"');
UPDATE worth SET trained_at = '2020-01-01';
SET statement_timeout = '1s';
CALL neural.run_due();
RESET statement_timeout;
SELECT count(*) >= 14 AS others, count(*) = count(training -> 'retrain') AS inherited FROM worth;
SELECT neural.set_retrain('worth');
SELECT count(training -> 'retrain') FROM worth;
-- only one's own
SET ROLE regress_neural_other;
CALL neural.run_due();
RESET ROLE;
BEGIN;
CALL neural.run_due();
ROLLBACK;
SELECT neural.set_retrain('worth', '-1 day');
SELECT neural.set_retrain('worth', when_new_rows => 0);
SELECT neural.set_retrain('worth', when_drift => 'NaN');
SELECT neural.set_retrain('shop', '1 day');
SELECT neural.set_retrain(NULL, '1 day');

SET client_min_messages = error;
DROP SCHEMA retrain CASCADE;
DROP ROLE regress_neural_keeper, regress_neural_other;
