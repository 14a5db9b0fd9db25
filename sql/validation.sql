-- Which rows a training is judged by.
SET neural.progress_interval = 0;
SET neural.max_threads = 1;
CREATE SCHEMA validation;
SET search_path = validation;

CREATE TABLE rows AS
SELECT i, i / 10 AS day, timestamptz '2024-01-01 00:00+00' + i * interval '1 hour' AS at, 'g' || i % 20 AS grp, i % 5 = 0 AS test,
       CASE WHEN i % 50 = 0 THEN 'rare' WHEN i % 2 = 0 THEN 'a' ELSE 'b' END AS kind, (i * 37 % 101)::float8 AS x
  FROM generate_series(1, 200) i;

CREATE FUNCTION counts(validation text, n int DEFAULT 200, target text DEFAULT 'kind') RETURNS text LANGUAGE plpgsql AS $$
DECLARE r text; v int;
BEGIN
  SELECT version INTO v FROM neural.train('m', format('SELECT * FROM validation.rows WHERE i <= %s', n), target => counts.target,
      layers => 'dense(4)', epochs => 1, validation => counts.validation, options => '{"activate": "never"}');
  SELECT format('%s of %s, features %s', training -> 'validation_rows', training -> 'rows', training ->> 'features') INTO r FROM m WHERE version = v;
  RETURN r;
END $$;

-- the default, by the number of rows
SELECT n, counts(NULL, n, 'x') FROM unnest(ARRAY[10, 19, 20, 40, 100, 200]) n;
SELECT counts('0.3');
SELECT counts('0.3', target => 'x');
SELECT counts('none');
SELECT counts('test');
SELECT counts('time:i');
SELECT counts('time:at:0.1');
SELECT counts('time:day:0.15');
SELECT counts('group:grp');
SELECT counts('group:test');

-- all classes are in both parts, however rare
SELECT version FROM neural.train('s', 'rows', target => 'kind', features => ARRAY['x'], validation => '0.5', layers => 'dense(4)', epochs => 1);
SELECT training -> 'validation_rows' AS validation FROM s;
-- encoders learn from the training rows alone: the last rows' days are not in them
SELECT version FROM neural.train('e', 'rows', target => 'x', features => ARRAY['i'], validation => 'time:i:0.1', layers => 'dense(4)', epochs => 1);
SELECT min, max, mean FROM neural.features('e');
SELECT version FROM neural.train('e', 'rows', target => 'x', features => ARRAY['i'], validation => 'none', layers => 'dense(4)', epochs => 1, options => '{"activate": "always"}');
SELECT min, max, mean FROM neural.features('e');
-- without validation rows there is no validation loss, and the last epoch counts
SELECT h.epoch, h.loss > 0 AS loss, h.validation_loss, h.metric FROM neural.history('e') h;
SELECT metrics -> 'validation_loss' AS validation_loss, (metrics -> 'value') IS NOT NULL AS value FROM e WHERE active;
-- a text column with colons in its name
CREATE TABLE odd AS SELECT i AS "a:0.5", i * 2.0 AS y FROM generate_series(1, 40) i;
SELECT version FROM neural.train('o', 'odd', target => 'y', layers => 'dense(4)', epochs => 1, validation => 'time:a:0.5');
SELECT training -> 'validation_rows' AS validation FROM o;

SET client_min_messages = warning;
DROP SCHEMA validation CASCADE;
