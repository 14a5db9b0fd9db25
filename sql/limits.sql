-- Names, data, options and encodings where they are unusual.
SET neural.progress_interval = 0;
SET neural.max_threads = 1;
CREATE SCHEMA limits;
SET search_path = limits;
\set VERBOSITY terse

CREATE TABLE rows AS
SELECT i, sin(i) AS a, (i * 53 % 97) / 97.0 AS b, sin(i) * 2 AS y, CASE WHEN i = 1 THEN 'inf'::float8 ELSE i END AS infinite,
       CASE WHEN i % 2 = 0 THEN 0.1 ELSE 1.0 / 3 END::float8 AS third
  FROM generate_series(1, 100) i;
CREATE FUNCTION train(model text, data text, options jsonb DEFAULT NULL, features text[] DEFAULT '{a, b}') RETURNS int LANGUAGE sql AS
$$ SELECT version FROM neural.train(train.model, train.data, 'y', features => train.features, layers => 'dense(2)', epochs => 1, options => train.options) $$;

-- a name is refused before the rows are read when no table can have it
CREATE FUNCTION untouched() RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN RAISE 'the rows were read'; END $$;
CREATE TYPE taken AS ENUM ('a');
CREATE TYPE element AS (x int);
\set unread '\'SELECT a, b, limits.untouched() AS y FROM limits.rows\''
SELECT train('taken', :unread);
SELECT train('_element', 'rows') AS version; -- the array type makes way
-- and when the caller may not write into the model
SELECT train('m', 'rows') AS version;
CREATE ROLE neural_limits_reader;
GRANT USAGE ON SCHEMA limits TO neural_limits_reader;
GRANT SELECT ON rows, m TO neural_limits_reader;
SET ROLE neural_limits_reader;
SELECT train('m', :unread);
RESET ROLE;

-- data that would lock rows is refused wherever the lock is written
CREATE VIEW locking AS SELECT * FROM rows FOR UPDATE;
SELECT train('m', 'SELECT * FROM rows FOR UPDATE');
SELECT train('m', 'SELECT * FROM (SELECT * FROM rows FOR SHARE) r');
SELECT train('m', 'SELECT a, b, y FROM rows WHERE i IN (SELECT i FROM rows FOR UPDATE)');
SELECT train('m', 'locking');

-- the length of an array is that of the first that has elements
SELECT train('m', 'SELECT CASE WHEN i = 1 THEN ''{}'' ELSE ARRAY[a, b] END AS v, y FROM rows', features => '{v}');
SELECT train('m', 'SELECT CASE WHEN i > 1 THEN ARRAY[a, b] END AS v, y FROM rows', features => '{v}') AS version;
SELECT train('m', 'SELECT ''{}''::int[] AS v, y FROM rows', features => '{v}');
SELECT train('m', 'rows', features => '{infinite}');

-- options
SELECT train('seeds', 'rows', '{"seed": 9223372036854775807}') AS version;
SELECT version FROM neural.train('seeds', 'rows', 'y', features => '{a}', layers => 'dense(2)', epochs => 1, seed => -9223372036854775808, options => '{"activate": "always"}');
SELECT version, training -> 'seed' AS seed, training -> 'arguments' -> 'seed' AS asked, neural.describe(model) -> 'training' -> 'seed' AS of_model FROM seeds ORDER BY version;
SELECT train('m', 'rows', '{"seed": 9223372036854775808}');
SELECT train('m', 'rows', '{"seed": 1.5}');
SELECT neural.train('m', 'rows', 'y', seed => 1, options => '{"seed": 2}');
SELECT neural.train('m', 'rows', 'y', validation => '0.1', options => '{"validation": 0.2}');
SELECT neural.train('m', 'rows', 'y', options => '{"features": []}');
SELECT train('m', 'rows', '{"early_stopping": -4294967286}');
SELECT train('m', 'rows', '{"early_stopping": {"patience": -1e300}}');
SELECT train('m', 'rows', '{"batch_size": 1e300}');
\set VERBOSITY default
SELECT train('m', 'rows', '{"batch_size": 2000000}');
\set VERBOSITY terse

-- predictions of the validation rows count toward the memory of a training
CREATE TABLE many AS SELECT 'class ' || i % 1000 AS class, i % 1000 / 1000.0 AS a FROM generate_series(1, 4000) i;
SET neural.max_memory = '8MB';
SELECT version FROM neural.train('many_model', 'many', 'class', layers => 'dense(2)', epochs => 1, batch_size => 16);
SELECT training -> 'rows' AS rows, (training -> 'validation_rows')::int < 300 AS few FROM many_model;
SELECT version FROM neural.train('many_model', 'many', 'class', layers => 'dense(2)', epochs => 1, batch_size => 16, validation => '0.5');
RESET neural.max_memory;
SELECT version FROM neural.train('many_model', 'many', 'class', layers => 'dense(2)', epochs => 1, validation => 'none');

-- what is kept does not depend on how the session writes numbers
CREATE FUNCTION model(task text) RETURNS bytea LANGUAGE sql AS
$$ SELECT neural.model_send(neural.fit(r, 'third', jsonb_build_object('task', model.task, 'features', '["a"]'::jsonb, 'layers', 'dense(2)', 'epochs', 1, 'learning_rate', 0.123456789))) FROM rows r $$;
CREATE TABLE models AS SELECT task, model(task) FROM unnest('{regression, classification}'::text[]) task;
SET extra_float_digits = -10;
SELECT task, model(task) = model AS same FROM models;
RESET extra_float_digits;

-- nor does what categories are called
CREATE TABLE kinds AS
SELECT CASE WHEN i % 2 = 0 THEN 0.1 ELSE 1.0 / 3 END::float8 AS number, date '2020-01-31' + i % 2 AS day, timestamptz '2020-01-31 12:00+00' + i % 2 * interval '1 h' AS moment,
       i % 2 * interval '1 year 2 days' AS span, i % 2 * 10.0 AS y
  FROM generate_series(1, 100) i;
SELECT version FROM neural.train('kinds_model', 'kinds', 'y', layers => 'dense(4)', epochs => 3,
  options => '{"columns": {"number": "category", "day": "category", "moment": "category", "span": "category"}}');
CREATE VIEW predicted AS SELECT array_agg(neural.predict('kinds_model', k)) AS all FROM (SELECT * FROM kinds LIMIT 2) k;
CREATE TABLE before AS TABLE predicted;
SET extra_float_digits = -10;
SET DateStyle = 'German';
SET IntervalStyle = 'iso_8601';
SET TimeZone = 'Asia/Tokyo';
SELECT p.all = b.all AS same, b.all[1] <> b.all[2] AS differ FROM predicted p, before b;
SELECT DISTINCT day FROM kinds ORDER BY 1; -- as the session says
RESET extra_float_digits;
RESET DateStyle;
RESET IntervalStyle;
RESET TimeZone;

-- nor do types
CREATE SCHEMA elsewhere;
CREATE TYPE elsewhere.mood AS ENUM ('sad', 'happy');
CREATE TYPE mood AS ENUM ('other');
SET search_path = elsewhere, limits;
CREATE TABLE limits.moods AS SELECT i * 1.0 AS a, (ARRAY['sad', 'happy'])[1 + i % 2]::mood AS m FROM generate_series(1, 50) i;
SELECT version FROM neural.train('limits.mood_model', 'moods', 'm', layers => 'dense(2)', epochs => 1);
SET search_path = limits;
SELECT neural.describe(model) -> 'targets' -> 0 ->> 'type' AS type, neural.create_function('mood_model', 'feel') AS function FROM mood_model;
SELECT prorettype::regtype FROM pg_proc WHERE proname = 'feel';

-- literals are texts
SELECT version FROM neural.train('literal', 'SELECT CASE WHEN i % 2 = 0 THEN ''even'' ELSE ''odd'' END AS t, i % 2 * 10.0 AS y FROM rows', 'y', layers => 'dense(4)', epochs => 3);
SELECT neural.predict('literal', ROW('odd')) = neural.predict('literal', ROW('odd'::text)) AS same,
       neural.predict('literal', ROW('odd')) <> neural.predict('literal', ROW('even')) AS differ;

-- messages of the engine are in the encoding of the database
\set database :DBNAME
CREATE DATABASE neural_limits ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C';
\c neural_limits
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
CREATE EXTENSION neural;
SET client_min_messages = notice;
SET neural.progress_interval = 0;
CREATE TABLE rows AS SELECT sin(i) AS "é", 1 AS "ö", CASE WHEN i = 1 THEN 'inf'::float8 ELSE i END AS "ü", i::float8 AS y FROM generate_series(1, 20) i;
SELECT version FROM neural.train('m', 'rows', 'y', features => '{é, ü}', layers => 'dense(2)', epochs => 1);
SELECT version FROM neural.train('m', 'rows', 'y', features => '{é}', layers => 'dense(ü)', epochs => 1);
SELECT version FROM neural.train('m', 'rows', 'y', features => '{é}', layers => 'dense(2)', epochs => 1, options => '{"columns": {"é": {"ä": 1}}}');
SELECT version FROM neural.train('m', 'rows', 'y', features => '{é, ö}', layers => 'dense(2)', epochs => 1);
\c :database
DROP DATABASE neural_limits;

SET client_min_messages = warning;
DROP SCHEMA limits, elsewhere CASCADE;
DROP ROLE neural_limits_reader;
