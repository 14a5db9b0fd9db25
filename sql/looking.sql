-- Looking at models: their versions, course, columns, layers, weights.
CREATE SCHEMA looking;
SET search_path = looking, public;
SET client_min_messages = warning;
SET neural.max_threads = 1;
SET neural.cuda_library = 'no_such_library';

CREATE TABLE trees (id int PRIMARY KEY, age int, kind text, tall bool, height float8, planted date);
INSERT INTO trees
    SELECT i, i % 50, CASE i % 3 WHEN 0 THEN 'oak' WHEN 1 THEN 'ash' ELSE 'elm' END, i % 50 > 20, (i % 50) / 2.0,
           date '2000-01-01' + i
      FROM generate_series(1, 200) i;
UPDATE trees SET age = NULL WHERE id % 40 = 0;
SELECT version, task, rows, parameters, epochs, metric, active
  FROM neural.train('tree', 'trees', target => 'height', features => '{age,kind}', layers => 'dense(8) relu body: dense(4) relu',
                    epochs => 3, seed => 1, learning_rate => 0.01);
SELECT version, active
  FROM neural.train('tree', 'trees', target => 'height', features => '{age,kind,planted}', layers => 'dense(4) relu',
                    epochs => 2, seed => 1, learning_rate => 0.01, options => '{"activate": "never", "note": "with the day"}');

SELECT model, schema, name, owner = current_user AS mine, bytes > 0 AS bytes, comment FROM neural.models WHERE schema = 'looking';
COMMENT ON TABLE tree IS 'how tall a tree is';
SELECT comment FROM neural.models WHERE schema = 'looking';

SELECT version, active, status, trained_at <= now() AS trained, trained_by = current_user AS by_me, task, parameters, epochs,
       loss > 0 AS loss, metric, value <= 1 AS value, seconds >= 0 AS seconds, bytes > 500 AS bytes, note
  FROM neural.versions('tree');
SELECT epoch, loss > 0 AS loss, validation_loss > 0 AS validation, metric <= 1 AS metric, learning_rate, seconds >= 0 AS seconds
  FROM neural.history('tree');
SELECT count(*) FROM neural.history('tree', 2);
SELECT position, name, type, encoder, numbers, categories, nulls > 0 AS has_nulls, mean IS NOT NULL AS moments, min, max FROM neural.features('tree');
SELECT name, type, numbers > 1 AS numbers FROM neural.features('tree', 2) WHERE name = 'planted';
SELECT layer, label, definition, inputs, output, parameters FROM neural.layers('tree');
SELECT layer, parameter, shape, array_length("values", 1) AS numbers FROM neural.weights('tree');
SELECT sum(array_length("values", 1)) = (SELECT sum(parameters) FROM neural.layers('tree')) AS all_of_them FROM neural.weights('tree');
SELECT neural.summary('tree');
SELECT d - 'sha256' - 'bytes' - 'training' AS description, length(d ->> 'sha256') AS digest, (d ->> 'bytes')::int > 500 AS bytes,
       d -> 'training' ->> 'target' AS target
  FROM (SELECT neural.describe(model) FROM tree WHERE active) x(d);

-- the vocabulary
SELECT kind, count(*) > 3 AS several, bool_and(length(summary) > 3) AS told, bool_and(cardinality(examples) > 0) AS examples
  FROM neural.vocabulary() GROUP BY kind ORDER BY kind;
SELECT name, options FROM neural.vocabulary() WHERE kind = 'layer' AND name IN ('dropout', 'relu') ORDER BY name;
SELECT kind, name FROM neural.vocabulary() WHERE 'BatchNorm1d' = ANY (aliases) OR 'acc' = ANY (aliases) ORDER BY name;

-- devices; what GPUs there are is the machine's
SELECT device, number, name ~ '^cpu' AS named, memory, driver, reason ~ 'no_such_library' AS reason FROM neural.devices;
RESET neural.cuda_library;

-- what is refused, and NULL
SELECT * FROM neural.versions('trees');
SELECT * FROM neural.history('tree', 3);
SELECT * FROM neural.features('tree', 3);
SELECT * FROM neural.layers('trees');
SELECT * FROM neural.weights('tree', 3);
SELECT neural.summary('tree', -1);
SELECT count(*) FROM neural.versions(NULL);
SELECT neural.summary(NULL) IS NULL AS summary, neural.describe(NULL) IS NULL AS describe;

SET client_min_messages = error;
DROP SCHEMA looking CASCADE;
