-- Training, versions and what is kept about them.
SET neural.progress_interval = 0;
SET neural.max_threads = 1;
CREATE SCHEMA train;
SET search_path = train;

CREATE TABLE points (id int PRIMARY KEY, x float8, y float8, colour text, sum float8, inside boolean, kind text, level int);
INSERT INTO points
SELECT i, x, y, colour, 2 * x - y + CASE colour WHEN 'red' THEN 1 ELSE 0 END, x > y,
       CASE WHEN x + y < 0.7 THEN 'low' WHEN x + y < 1.3 THEN 'middle' ELSE 'top' END, (3 * x)::int
  FROM (SELECT i, (i * 37 % 101) / 101.0 AS x, (i * 53 % 97) / 97.0 AS y, (ARRAY['red', 'green', 'blue'])[i % 3 + 1] AS colour
          FROM generate_series(1, 600) i) s;

-- two classes, the default network
SELECT model, version, task, rows, parameters > 100000 AS parameters, epochs, metric, value > 0.95 AS good, active
  FROM neural.train('inside', 'points', target => 'inside', features => ARRAY['x', 'y'], epochs => 40);
SELECT avg((neural.predict('inside', p) = inside::int)::int) > 0.95 AS good FROM points p;

-- several classes, a network of one's own
SELECT model, version, task, rows, parameters, epochs, metric, value > 0.9 AS good, active
  FROM neural.train('kind', 'points', target => 'kind', features => ARRAY['x', 'y', 'colour'],
                    layers => 'dense(32, relu) dropout(0.05) dense(16) relu', optimizer => 'adam', learning_rate => 0.01, epochs => 60);
SELECT avg((neural.classify('kind', p) = kind)::int) > 0.9 AS good FROM points p;

-- numbers
SELECT model, version, task, epochs, metric, value > 0.9 AS good, active
  FROM neural.train('sum', 'points', target => 'sum', features => ARRAY['x', 'y', 'colour'], epochs => 40);
SELECT max(abs(neural.predict('sum', p) - sum)) < 0.5 AS good FROM points p;

-- several numbers, several booleans
SELECT model, task, metric, value > 0.95 AS good
  FROM neural.train('pair', 'SELECT x, y, x + y AS a, x - y AS b FROM points', targets => ARRAY['a', 'b'], epochs => 30);
SELECT model, task, value > 0.9 AS good
  FROM neural.train('flags', 'SELECT x, y, x > 0.5 AS a, y > 0.5 AS b FROM points', targets => ARRAY['a', 'b'], epochs => 30);
SELECT neural.predict_all('flags', p) ?& ARRAY['a', 'b'] AS both FROM points p LIMIT 1;

-- an integer of few values is a class, and said so; it can be a number
SELECT task, value > 0.7 AS good FROM neural.train('level', 'points', target => 'level', features => ARRAY['x'], epochs => 30);
SELECT task, value > 0.7 AS good FROM neural.train('level', 'points', target => 'level', features => ARRAY['x'], task => 'regression', epochs => 30);
SELECT version, active FROM level ORDER BY version;

-- the same rows and the same seed give the same bytes; another seed does not
SELECT version FROM neural.train('again', 'points', target => 'sum', features => ARRAY['x', 'y'], epochs => 3, options => '{"activate": "always"}');
SELECT version FROM neural.train('again', 'points', target => 'sum', features => ARRAY['x', 'y'], epochs => 3, options => '{"activate": "always"}');
SELECT version FROM neural.train('again', 'points', target => 'sum', features => ARRAY['x', 'y'], epochs => 3, seed => 2, options => '{"activate": "never"}');
SELECT a.version, a.active, a.status, a.model::text = b.model::text AS same
  FROM again a JOIN again b ON b.version = 1 ORDER BY a.version;

-- a worse version does not become active, a better one does
SELECT version, active FROM neural.train('rank', 'points', target => 'sum', features => ARRAY['x', 'y', 'colour'], layers => 'dense(16) relu', epochs => 30, learning_rate => 0.01);
SET client_min_messages = warning;
SELECT version, active FROM neural.train('rank', 'points', target => 'sum', features => ARRAY['y'], layers => 'dense(1)', epochs => 1);
RESET client_min_messages;
SELECT version, active FROM neural.train('rank', 'points', target => 'sum', features => ARRAY['x', 'y', 'colour'], layers => 'dense(16) relu', epochs => 60, learning_rate => 0.01);
SELECT version, active FROM neural.train('rank', 'points', target => 'sum', features => ARRAY['y'], layers => 'dense(1)', epochs => 1, options => '{"metric": "mae"}');
SELECT version, active FROM neural.train('rank', 'points', target => 'sum', features => ARRAY['x', 'y'], layers => 'dense(1)', epochs => 1, options => '{"activate": "never"}');
SELECT count(*), sum(active::int) FROM rank;

-- what is kept
SELECT training ->> 'data' AS data, training -> 'target' AS target, training -> 'features' AS features, training ->> 'task' AS task,
       training ->> 'loss' AS loss, training ->> 'optimizer' AS optimizer, training -> 'learning_rate' AS rate, training -> 'epochs' AS epochs,
       training -> 'batch_size' AS batch, training -> 'rows' AS rows, training -> 'validation_rows' AS validation, training -> 'seed' AS seed,
       training -> 'parameters' AS parameters, training -> 'settings' ->> 'search_path' AS path
  FROM kind;
SELECT training ->> 'layers' AS layers FROM kind;
SELECT training ->> 'layers' AS layers, training ->> 'schedule' AS schedule, training ->> 'loss' AS loss FROM sum;
SELECT metrics ->> 'metric' AS metric, metrics -> 'value' = metrics -> 'accuracy' AS same, (metrics ->> 'loss')::float8 > 0 AS loss,
       (metrics ->> 'log_loss')::float8 > 0 AS log_loss FROM kind;
SELECT jsonb_array_length(history) AS epochs, jsonb_object_keys(history -> 0) AS keys FROM kind;
SELECT training -> 'options' AS options, training -> 'arguments' AS arguments FROM rank WHERE version = 5;
SELECT version FROM neural.train('noted', 'points', target => 'sum', features => ARRAY['x'], epochs => 1, options => '{"note": "first try"}');
SELECT note, trained_by = current_user AS mine, trained_at <= clock_timestamp() AS past FROM noted;

-- a model is a table of its owner's, and goes away with its transaction
\d kind
BEGIN;
SELECT version FROM neural.train('gone', 'points', target => 'sum', features => ARRAY['x'], epochs => 1);
ROLLBACK;
SELECT to_regclass('gone');
CREATE SCHEMA "Other";
SELECT model FROM neural.train('"Other"."A model"', 'train.points', target => 'sum', features => ARRAY['x'], epochs => 1);
SELECT count(*) FROM "Other"."A model";

-- views, queries, partitions; rows in the order in which they come
CREATE VIEW seen AS SELECT x, y, sum FROM points WHERE id <= 300;
SELECT rows FROM neural.train('v', 'seen', target => 'sum', epochs => 1, options => '{"activate": "always"}');
SELECT rows FROM neural.train('v', 'WITH s AS (SELECT * FROM seen) SELECT x, sum FROM s -- done', target => 'sum', epochs => 1, options => '{"activate": "always"}');
SELECT rows FROM neural.train('v', 'VALUES (1, 2.5), (2, 3), (3, 4), (4, 5), (5, 5), (6, 7), (7, 8), (8, 9), (9, 9), (10, 11)', target => 'column2', epochs => 1, options => '{"activate": "always"}');
SELECT rows FROM neural.train('v', ' TABLE seen; ', target => 'sum', epochs => 1, options => '{"activate": "always"}');
CREATE TABLE parts (x float8, y float8) PARTITION BY RANGE (x);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (50);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (50) TO (101);
INSERT INTO parts SELECT i, i % 7 FROM generate_series(1, 100) i;
ALTER TABLE parts ADD COLUMN z int DEFAULT 3;
ALTER TABLE parts DROP COLUMN y;
UPDATE parts SET z = x;
SELECT rows, task FROM neural.train('v', 'parts', target => 'x', epochs => 1, options => '{"activate": "always"}');

-- rows of a table come as they are stored: the same as through a projection
CREATE TABLE stored (a real, z float8, unused text, b int, c float8, late bool, label text);
INSERT INTO stored
    SELECT i % 11 / 2.0, i, CASE WHEN i % 5 > 0 THEN 'u' END, CASE WHEN i % 7 > 0 THEN i % 13 END,
           CASE WHEN i % 31 = 0 THEN 'NaN'::float8 ELSE i % 17 END, i % 3 = 0, CASE WHEN i % 9 > 0 THEN 'l' || i % 2 END
      FROM generate_series(1, 400) i;
UPDATE stored SET a = 'NaN', unused = 'u' WHERE z IN (22, 44);
CREATE TABLE fixed AS SELECT a, late, c, z::real AS z FROM stored;
CREATE FUNCTION same_model(columns text, source text, target text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    models text[];
BEGIN
    FOR i IN 1 .. 2 LOOP
        PERFORM neural.train('as_stored', format(CASE i WHEN 1 THEN 'SELECT %s FROM %s' ELSE 'SELECT * FROM (SELECT %s FROM %s OFFSET 0) s' END, columns, source),
            target => target, layers => 'dense(4) relu', epochs => 2, seed => 1);
        models := models || (SELECT string_agg(r::text, ' ') FROM (SELECT w FROM neural.weights('as_stored') w UNION ALL SELECT f FROM neural.features('as_stored') f) r);
        DROP TABLE as_stored;
    END LOOP;
    RETURN models[1] = models[2];
END $$;
SET client_min_messages = warning;
SELECT same_model('b AS one, c, a AS two, label', 'stored', 'label');
SELECT same_model('label, late, a', 'stored WHERE b > 3', 'late');
SELECT same_model('a, a AS again, b, c, z', 'stored', 'z');
SELECT same_model('late, c, a', 'fixed', 'late');
SELECT same_model('z, c, a', 'fixed', 'z');
ALTER TABLE fixed ADD added int DEFAULT 3;
UPDATE fixed SET added = z WHERE z > 100;
SELECT same_model('z, c, added', 'fixed', 'z');
ALTER TABLE fixed DROP late;
SELECT same_model('z, c, added', 'fixed', 'z');
RESET client_min_messages;
SELECT rows FROM neural.train('v', 'SELECT a, c, z FROM fixed', target => 'z', epochs => 1, options => '{"activate": "always"}');

-- rows that do not fit in memory come from files, and learn as well
SET neural.max_memory = '8MB';
SELECT rows, value > 0.9 AS good
  FROM neural.train('big', 'SELECT p.*, p.x * j AS xj, repeat(''a'', j % 7) AS a FROM points p, generate_series(1, 100) j ORDER BY j, id', target => 'sum',
                    features => ARRAY['x', 'y', 'colour', 'xj', 'a', 'level'], layers => 'dense(16) relu', epochs => 2, learning_rate => 0.01);
RESET neural.max_memory;

SET client_min_messages = warning;
DROP SCHEMA train CASCADE;
DROP SCHEMA "Other" CASCADE;
