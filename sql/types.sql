-- SQL types as features and as targets.
SET neural.progress_interval = 0;
SET neural.max_threads = 1;
SET timezone = 'UTC';
CREATE SCHEMA types;
SET search_path = types;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN share AS numeric(4, 3) CHECK (value BETWEEN 0 AND 1);
CREATE TABLE every (
  i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, num numeric, dom share, flag boolean, gap interval,
  txt text, vc varchar(20), ch char(5), nm name, en mood, uid uuid,
  d date, ts timestamp, tz timestamptz, tm time, ttz timetz,
  fa float4[], fa8 float8[], ia int[], ba boolean[],
  js jsonb, by bytea, pt point, same int, free text, empty float8, y float8);
INSERT INTO every
SELECT i % 11, i % 13, i::int8 << 33, i / 7.0, 1.0 / i, i * 1.25, (i % 10) / 10.0, i % 2 = 0, i * interval '1 hour',
       't' || i % 3, 'v' || i % 4, 'c' || i % 5, 'n' || i % 3, (ARRAY['sad', 'ok', 'happy'])[i % 3 + 1]::mood, ('00000000-0000-0000-0000-00000000000' || i % 4)::uuid,
       date '2024-01-01' + i, timestamp '2024-01-01' + i * interval '7 hours', timestamptz '2024-01-01 00:00+00' + i * interval '7 hours', time '00:00' + i * interval '5 minutes', timetz '00:00+02' + i * interval '5 minutes',
       ARRAY[i, i % 3, 1], ARRAY[i, i % 3], ARRAY[i % 5], ARRAY[i % 2 = 0, true],
       '{}', '\x00', point(1, 2), 7, md5(i::text), NULL, i % 17
  FROM generate_series(1, 200) i;

-- each becomes numbers by its type; some say nothing, or cannot
SELECT rows, task FROM neural.train('m', 'every', target => 'y', layers => 'dense(4)', epochs => 2, task => 'regression', validation => 'none');
SELECT name, type, encoder, numbers, categories FROM neural.features('m') ORDER BY position;
SELECT name, round(min::numeric, 3) AS min, round(max::numeric, 3) AS max, round(mean::numeric, 3) AS mean
  FROM neural.features('m') WHERE name IN ('i2', 'i4', 'i8', 'f4', 'f8', 'num', 'dom', 'flag', 'gap', 'd', 'ts', 'tz', 'tm', 'ttz') ORDER BY position;
SELECT count(neural.predict('m', e)) AS predicted FROM every e;

-- NULLs are values like others, NaN is NULL
CREATE TABLE holes AS
SELECT CASE WHEN i % 4 > 0 THEN i END AS a, CASE WHEN i % 5 = 0 THEN 'NaN'::float8 ELSE i END AS b, CASE WHEN i % 3 > 0 THEN 'x' || i % 2 END AS c,
       CASE WHEN i % 6 > 0 THEN ARRAY[i, -i] END AS v, CASE WHEN i % 7 > 0 THEN i * 2.0 END AS y
  FROM generate_series(1, 140) i;
SELECT rows FROM neural.train('h', 'holes', target => 'y', layers => 'dense(4)', epochs => 2, validation => 'none');
SELECT name, numbers, categories, nulls FROM neural.features('h') ORDER BY position;
SELECT count(neural.predict('h', h)) AS predicted FROM holes h;

-- times are local to a zone that the model keeps
CREATE TABLE hours AS SELECT timestamptz '2024-01-01 00:00+00' + i * interval '1 hour' AS at, extract(hour FROM (timestamptz '2024-01-01 00:00+00' + i * interval '1 hour') AT TIME ZONE 'Asia/Tokyo')::float8 AS hour
  FROM generate_series(1, 300) i;
SELECT version FROM neural.train('tokyo', 'hours', target => 'hour', task => 'regression', layers => 'dense(4)', epochs => 1, validation => 'none', options => '{"time_zone": "Asia/Tokyo"}');
SELECT version FROM neural.train('utc', 'hours', target => 'hour', task => 'regression', layers => 'dense(4)', epochs => 1, validation => 'none', options => '{"time_zone": "UTC"}');
SELECT t.max - u.max AS seconds FROM neural.features('tokyo') t, neural.features('utc') u;
CREATE TABLE before AS SELECT at, neural.predict('tokyo', h) AS p FROM hours h;
SET timezone = 'America/Lima';
SELECT bool_and(neural.predict('tokyo', h) = b.p) AS same FROM hours h JOIN before b USING (at);
SET timezone = 'UTC';
SELECT neural.describe(model) ->> 'time_zone' AS time_zone FROM tokyo;

-- how long it took is learned from when it began and ended
CREATE TABLE tasks AS
SELECT started, started + minutes * interval '1 minute' AS ended, date '2024-03-01' AS due, started::date + 40 AS checked, minutes > 90 AS late, minutes / 10.0 AS cost
  FROM (SELECT timestamp '2024-01-01' + i * interval '3 hours' AS started, i * 7919 % 181 AS minutes FROM generate_series(1, 1200) i) t;
UPDATE tasks SET ended = NULL WHERE extract(day FROM started) = 13;
SELECT value > 0.9 AS learned FROM neural.train('late', 'tasks', target => 'late', features => ARRAY['started', 'ended', 'due'], epochs => 30);
SELECT position, name, type, encoder, numbers, nulls > 0 AS nulls FROM neural.features('late') ORDER BY position;
SELECT neural.predict_proba('late', s, 'true') < 0.2 AS soon, neural.predict_proba('late', l, 'true') > 0.8 AS late
  FROM (SELECT timestamp '2024-02-01 10:00' AS started, timestamp '2024-02-01 10:40' AS ended) s, (SELECT timestamp '2024-02-01 10:00' AS started, timestamp '2024-02-01 12:40' AS ended) l;
SELECT neural.classify('late', ROW(timestamp '2024-02-01 10:00', timestamp '2024-02-01 12:40')), neural.classify('late', ROW(timestamp '2024-02-01 10:00', NULL::timestamp)) IS NULL AS unknown;
SELECT neural.classify('late', ROW(1, 2, 3));
SELECT neural.create_function('late', 'is_late');
SELECT is_late('2024-02-01 10:00', '2024-02-01 12:40'), is_late('2024-02-01 10:00', '2024-02-01 10:40');
SELECT metric, value > 0.9 AS well FROM neural.evaluate('late', 'SELECT started, ended, late FROM tasks') WHERE metric = 'accuracy';
SELECT value > 0.9 AS learned FROM neural.train('cost', 'tasks', target => 'cost', features => ARRAY['started', 'ended'], epochs => 30);
SELECT count(*) FILTER (WHERE position > 2) AS derived FROM neural.features('cost');
SELECT version FROM neural.train('cost', 'tasks', target => 'cost', features => ARRAY['started', 'ended'], epochs => 1, options => '{"date_differences": false, "activate": "always"}');
SELECT version FROM neural.train('cost', 'tasks', target => 'cost', features => ARRAY['started', 'checked', 'ended'], layers => 'dense(4)', epochs => 1, options => '{"date_differences": true, "activate": "always"}');
SELECT version FROM neural.train('cost', 'tasks', target => 'cost', features => ARRAY['started', 'ended'], layers => 'dense(4)', epochs => 1, options => '{"activate": "always"}');
SELECT v AS version, string_agg(name, ', ' ORDER BY position) AS columns FROM generate_series(1, 4) v, neural.features('cost', v) GROUP BY v ORDER BY v;

-- targets of every type keep it
CREATE FUNCTION learn(target text, task text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r neural.train_result; p jsonb;
BEGIN
  SELECT * INTO r FROM neural.train('t', 'types.every', target => learn.target, task => learn.task, features => ARRAY['i8', 'ts'], layers => 'dense(4)', epochs => 1,
    options => '{"activate": "always"}');
  IF r.task = 'regression' THEN RETURN r.task; END IF;
  EXECUTE 'SELECT neural.predict_proba(''t'', e) FROM types.every e LIMIT 1' INTO p;
  RETURN r.task || ': ' || (SELECT string_agg(k, ', ' ORDER BY o) FROM jsonb_object_keys(p) WITH ORDINALITY k(k, o));
END $$;
SELECT c AS column, learn(c) AS task FROM unnest(ARRAY['flag', 'txt', 'vc', 'ch', 'en', 'uid']) c;
SELECT c AS column, learn(c) AS task FROM unnest(ARRAY['f4', 'f8', 'num', 'dom', 'y']) c;
SELECT learn('i2');
SELECT learn('i4', 'classification');
SELECT learn('dom', 'classification');
SELECT learn('flag', 'regression');
\set SHOW_CONTEXT never
SELECT learn('gap');
SELECT learn('d');
SELECT learn('fa');

-- integers 1..k are classes, others are not
SELECT task FROM neural.train('i', 'SELECT i4, i4 % 3 + 1 AS y FROM every', target => 'y', layers => 'dense(4)', epochs => 1);
SELECT task FROM neural.train('i', 'SELECT i4, i4 % 3 + 2 AS y FROM every', target => 'y', layers => 'dense(4)', epochs => 1, options => '{"activate": "never"}');
SELECT task FROM neural.train('i', 'SELECT i4, (i4 % 3) * 2 AS y FROM every', target => 'y', layers => 'dense(4)', epochs => 1, options => '{"activate": "never"}');
SELECT task FROM neural.train('i', 'SELECT i4, i8, row_number() OVER () % 21 AS y FROM every', target => 'y', layers => 'dense(4)', epochs => 1, options => '{"activate": "never"}');

-- a number as a category is one again when it predicts
SELECT version FROM neural.train('cat', 'SELECT i4, y FROM every', target => 'y', task => 'regression', layers => 'dense(4)', epochs => 1, options => '{"columns": {"i4": {"encode": "one_hot"}}}');
SELECT name, type, categories FROM neural.features('cat');
SELECT count(DISTINCT neural.predict('cat', r)) AS predictions FROM (SELECT i4 FROM every) r;
SELECT neural.predict('cat', r) = neural.predict('cat', s) AS same FROM (SELECT 5::int8 AS i4) r, (SELECT 5::int2 AS i4) s;
SELECT neural.predict('cat', r) BETWEEN 6 AND 10 AS unseen FROM (SELECT 'five' AS i4) r;
SELECT neural.predict('cat', r) FROM (SELECT 5.5 AS i4) r;
SELECT neural.predict('h', r) FROM (SELECT 'a' AS a, 1 AS b, 'x' AS c, ARRAY[1, 2] AS v) r;
-- a NULL needs no type
SELECT neural.predict('cat', ROW(NULL)) = neural.predict('cat', ROW(NULL::int)) AS same;
SELECT neural.predict('h', ROW(NULL, 1, 'x', NULL)) IS NOT NULL AS predicted;
SELECT neural.predict('h', ROW('a', 1, 'x', NULL));
-- a column without elements says nothing, and texts of many values are used when asked for
CREATE TABLE few AS SELECT i AS x, NULL::real[] AS v, 'text ' || i AS c, i % 2 = 0 AS y FROM generate_series(1, 300) i;
SELECT version FROM neural.train('few_m', 'few', target => 'y', layers => 'dense(2)', epochs => 1);
SELECT version FROM neural.train('few_c', 'few', target => 'y', layers => 'dense(2)', epochs => 1, options => '{"columns": {"c": {"encode": "embedding"}}}');
SELECT name FROM neural.features('few_c');
-- labels beyond the precision of a double are predicted as they are
CREATE TABLE branch AS SELECT i % 3 AS x, 9007199254740993 + i % 3 * 2 AS number FROM generate_series(1, 300) i;
SELECT version FROM neural.train('branch_m', 'branch', target => 'number', task => 'classification', layers => 'dense(8)', epochs => 2);
SELECT count(DISTINCT p) > 0 AS some, bool_and(p IN (SELECT number FROM branch)) AS exact, bool_and(p::text = c) AS same
  FROM (SELECT neural.predict_as('branch_m', b, NULL::bigint) AS p, neural.classify('branch_m', b) AS c FROM branch b) x;

-- nothing to learn: x says nothing of y
CREATE TABLE chance AS SELECT i % 2 AS x, i / 2 % 10 = 0 AS rare FROM generate_series(0, 399) i;
SET neural.train_seconds = 1;
SELECT version FROM neural.train('chance_m', 'chance', target => 'rare');
SELECT version FROM neural.train('chance_b', 'chance', target => 'rare', options => '{"metric": "balanced_accuracy"}');
RESET neural.train_seconds;

SET client_min_messages = warning;
DROP SCHEMA types CASCADE;
