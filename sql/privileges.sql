-- Who may predict with a model, read it, change it.
CREATE SCHEMA private;
SET search_path = private, public;
SET client_min_messages = warning;
CREATE ROLE neural_owner;
CREATE ROLE neural_reader;
CREATE ROLE neural_nobody;
GRANT ALL ON SCHEMA private TO neural_owner;
\set SHOW_CONTEXT never

SET ROLE neural_owner;
CREATE TABLE marks (id int PRIMARY KEY, x real, side text);
INSERT INTO marks SELECT i, i % 20 / 20.0, CASE WHEN i % 20 < 10 THEN 'left' ELSE 'right' END FROM generate_series(0, 99) i;
GRANT SELECT ON marks TO PUBLIC;
SELECT r.version FROM (VALUES (1), (2)) t(seed), LATERAL neural.train('m', 'marks', target => 'side', features => '{x}',
    layers => 'dense(4) tanh', learning_rate => 0.05, epochs => 30, seed => t.seed, options => '{"activate": "always"}') r;
CREATE VIEW sides AS SELECT id, neural.classify('m', marks) AS side FROM marks;
CREATE VIEW sides_of_owner AS
    SELECT id, neural.classify_with(m.model, marks) AS side FROM marks, m WHERE m.active;
GRANT SELECT ON sides, sides_of_owner TO PUBLIC;
RESET client_min_messages;
SELECT neural.grant_predict('m', 'neural_reader');
RESET ROLE;
GRANT USAGE ON SCHEMA private TO neural_reader, neural_nobody;
SET ROLE neural_owner;
SELECT neural.grant_predict('m', 'neural_reader');
SELECT attname, attacl FROM pg_attribute WHERE attrelid = 'm'::regclass AND attacl IS NOT NULL ORDER BY attnum;

-- who may predict may see versions and columns, but no weights and nothing of the training rows
SET ROLE neural_reader;
SELECT neural.classify('m', marks), neural.predict_proba('m', marks, 'left') > 0.5 AS left FROM marks WHERE id = 3;
SELECT side FROM sides WHERE id = 13;
SELECT version, active, trained_at IS NOT NULL AS trained_at, status, trained_by, rows, metric, bytes FROM neural.versions('m');
SELECT name, type, nulls, mean, min, max FROM neural.features('m');
SELECT count(*) > 1 AS layers FROM neural.layers('m');
SELECT neural.summary('m') IS NOT NULL AS summary;
SELECT metric, value > 0.5 AS good FROM neural.evaluate('m', 'marks') WHERE metric = 'accuracy';
SELECT name FROM neural.models WHERE schema = 'private';
SELECT model FROM m;
SELECT count(*) FROM neural.weights('m');
SELECT neural.export_model('m');
SELECT count(*) FROM neural.history('m');
SELECT neural.promote('m', 1);
SELECT neural.rollback('m');
SELECT neural.prune('m', 1);
SELECT neural.import_model('m', '\x00');
SELECT neural.grant_predict('m', 'neural_nobody');
SELECT neural.create_function('m', 'f');

-- a training needs the columns that it names, and no others
RESET ROLE;
CREATE TABLE partly (id int, x real, secret real, side text);
INSERT INTO partly SELECT id, x, 1, side FROM marks;
GRANT SELECT (x, side) ON partly TO neural_reader;
SET ROLE neural_reader;
SELECT rows FROM neural.train('pg_temp.partial', 'SELECT x, side FROM private.partly', target => 'side', layers => 'dense(4) tanh', epochs => 1);
SELECT rows FROM neural.train('pg_temp.partial', 'SELECT x, side, secret FROM private.partly', target => 'side', layers => 'dense(4) tanh', epochs => 1);
SELECT rows FROM neural.train('pg_temp.partial', 'private.partly', target => 'side', layers => 'dense(4) tanh', epochs => 1);

DROP TABLE pg_temp.partial;

-- nothing granted
SET ROLE neural_nobody;
SELECT neural.classify('m', marks) FROM marks WHERE id = 3;
SELECT side FROM sides WHERE id = 13;
SELECT side FROM sides_of_owner WHERE id = 13;
SELECT neural.classify('m', ROW(1.0), 2);
SELECT version FROM neural.versions('m');
SELECT count(*) FROM neural.features('m');
SELECT neural.summary('m');
SELECT * FROM neural.evaluate('m', 'marks');
SELECT name FROM neural.models WHERE schema = 'private';

-- a plan made for one role and run as another
SET ROLE neural_reader;
PREPARE side AS SELECT neural.classify('m', marks) FROM marks WHERE id = 3;
EXECUTE side;
SET ROLE neural_nobody;
EXECUTE side;
SET ROLE neural_owner;
EXECUTE side;
DEALLOCATE side;

-- the same call site, the privilege gone in between
CREATE FUNCTION twice() RETURNS text LANGUAGE plpgsql SECURITY INVOKER AS $$
DECLARE
    seen text := '';
    p marks;
BEGIN
    SELECT * INTO p FROM marks WHERE id = 3;
    FOR i IN 1 .. 2 LOOP
        BEGIN
            seen := seen || neural.classify('m', p) || ' ';
        EXCEPTION WHEN insufficient_privilege THEN
            seen := seen || 'denied ';
        END;
        SET LOCAL ROLE neural_nobody;
    END LOOP;
    RETURN seen;
END $$;
BEGIN;
SET LOCAL ROLE neural_reader;
SELECT twice();
ROLLBACK;

-- SELECT on the table is enough, and gives the weights as well
GRANT SELECT ON m TO neural_nobody;
SET ROLE neural_nobody;
SELECT neural.classify('m', marks) FROM marks WHERE id = 3;
SELECT count(*) > 1 AS weights FROM neural.weights('m');
SELECT mean IS NOT NULL AS mean FROM neural.features('m');
SET ROLE neural_owner;
REVOKE SELECT ON m FROM neural_nobody;

-- row security: rows that are hidden are not there
ALTER TABLE m ENABLE ROW LEVEL SECURITY;
CREATE POLICY first_only ON m FOR SELECT TO neural_reader USING (version = 1);
SELECT neural.classify('m', marks) FROM marks WHERE id = 3;
SET ROLE neural_reader;
SELECT neural.classify('m', marks) FROM marks WHERE id = 3;
SELECT neural.classify('m', marks, 2) FROM marks WHERE id = 3;
SELECT neural.classify('m', marks, 1) FROM marks WHERE id = 3;
SET row_security = off;
SELECT neural.classify('m', marks, 1) FROM marks WHERE id = 3;
RESET row_security;
SET ROLE neural_nobody;
SELECT neural.classify('m', marks, 1) FROM marks WHERE id = 3;
SET ROLE neural_owner;
ALTER TABLE m FORCE ROW LEVEL SECURITY;
SELECT neural.classify('m', marks) FROM marks WHERE id = 3;
SELECT neural.promote('m', 1);
ALTER TABLE m DISABLE ROW LEVEL SECURITY;

-- names that others made are not called
RESET ROLE;
CREATE SCHEMA trap;
CREATE FUNCTION trap.caught() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'caught'; END $$;
CREATE FUNCTION trap.equal(int4, int4) RETURNS bool LANGUAGE sql AS 'SELECT trap.caught()';
CREATE OPERATOR trap.= (LEFTARG = int4, RIGHTARG = int4, FUNCTION = trap.equal);
CREATE OPERATOR trap.<> (LEFTARG = int4, RIGHTARG = int4, FUNCTION = trap.equal);
CREATE FUNCTION trap.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS 'SELECT trap.caught()::text';
CREATE FUNCTION trap.pg_column_size("any") RETURNS int LANGUAGE internal AS 'pg_column_size';
GRANT USAGE ON SCHEMA trap TO PUBLIC;
SET ROLE neural_owner;
SET search_path = trap, pg_catalog, private;
SELECT neural.promote('m', 2), neural.rollback('m'), neural.prune('m', 1);
SELECT version FROM neural.versions('m');
SELECT count(*) > 0 AS history FROM neural.history('m');
SELECT neural.classify('m', marks) FROM marks LIMIT 1;

-- roles that do not exist
SELECT neural.grant_predict('m', 'nobody at all');
SELECT neural.grant_predict('marks', 'neural_reader');
SELECT neural.grant_predict('m', 'public');
SELECT has_column_privilege('neural_nobody', 'private.m', 'version', 'SELECT');

RESET ROLE;
SET client_min_messages = error;
DROP SCHEMA trap CASCADE;
DROP SCHEMA private CASCADE;
DROP ROLE neural_owner, neural_reader, neural_nobody;
