-- What cannot be trained, and what is said about it.
SET neural.progress_interval = 0;
SET neural.max_threads = 1;
SET neural.cuda_library = 'no_such_library';
CREATE SCHEMA errors;
SET search_path = errors;

CREATE TABLE good (id int PRIMARY KEY, age int, city text, income float8, doc jsonb, churned boolean, kind text);
INSERT INTO good SELECT i, 20 + i % 50, (ARRAY['Rome', 'Oslo', 'Bonn'])[i % 3 + 1], i * 10.5, '{}', i % 2 = 0, 'k' || i % 4
  FROM generate_series(1, 100) i;

-- names
SELECT neural.train('m', 'nowhere', target => 'churned');
SELECT neural.train('m', 'good', target => 'churnd');
SELECT neural.train('m', 'good', target => 'churned', features => ARRAY['age', 'incme']);
SELECT neural.train('m', 'good');
SELECT neural.train('m', 'good', target => 'churned', targets => ARRAY['age']);
SELECT neural.train('good', 'good', target => 'churned');
SELECT neural.train('nowhere.m', 'good', target => 'churned');
SELECT neural.train('m', 'good', target => 'churned', layers => 'Conv2D(32, 3) flatten');
SELECT neural.train('m', 'good', target => 'churned', layers => 'LSTM(32)');
SELECT neural.train('m', 'SELECT age, repeat(''z'', 1024) || id % 2 AS t FROM good', target => 't');
SELECT neural.train('m', 'good', target => 'churned', features => '{age, city}', options => '{"exclude": ["age"]}');
SELECT neural.train(NULL, 'good', target => 'churned');
SELECT neural.train('m', NULL, target => 'churned');
SELECT neural.train('a b', 'good', target => 'churned');

-- queries
SELECT neural.train('m', 'SELECT * FROM good; SELECT 1', target => 'churned');
SELECT neural.train('m', 'DELETE FROM good', target => 'churned');
SELECT neural.train('m', '(DELETE FROM good)', target => 'churned');
SELECT neural.train('m', 'WITH d AS (DELETE FROM good RETURNING *) SELECT * FROM d', target => 'churned');
SELECT neural.train('m', 'SELECT * FROM good FOR UPDATE', target => 'churned');
SELECT neural.train('m', 'SELECT * INTO copy FROM good', target => 'churned');
SELECT neural.train('m', 'SELECT age, income AS age, churned FROM good', target => 'churned');
SELECT neural.train('m', 'SELECT age, nothing FROM good', target => 'churned');
SELECT neural.train('m', 'SELECT age FRM good', target => 'churned');
SELECT neural.train('m', 'SELECT 1) AS a, (SELECT 2', target => 'churned');
SELECT neural.train('m', 'errors.good_id_seq', target => 'churned');
SELECT neural.train('m', 'good_pkey', target => 'churned');
SELECT count(*) FROM good;

-- targets
SELECT neural.train('m', 'good', target => 'doc');
SELECT neural.train('m', 'good', target => 'churned', features => ARRAY['age', 'churned']);
SELECT neural.train('m', 'good', target => 'churned', features => ARRAY['age', 'age']);
SELECT neural.train('m', 'good', target => 'kind', task => 'regression');
SELECT neural.train('m', 'good', target => 'kind', task => 'binary');
SELECT neural.train('m', 'good', target => 'kind', task => 'clasification');
SELECT neural.train('m', 'good', targets => ARRAY['churned', 'income']);
SELECT neural.train('m', 'good', targets => ARRAY['income', 'income']);
SELECT neural.train('m', 'good', targets => ARRAY['kind', 'churned']);
SELECT neural.train('m', 'good', targets => ARRAY['income', NULL]);
SELECT neural.train('m', 'SELECT age, NULL::text AS y FROM good', target => 'y');
SELECT neural.train('m', 'SELECT age, true AS y FROM good', target => 'y');
SELECT neural.train('m', 'SELECT age, 1.5 AS y FROM good', target => 'y');
SELECT neural.train('m', 'SELECT age, id::text AS y FROM good', target => 'y');
SELECT neural.train('m', 'SELECT age, CASE WHEN id < 4 THEN ''Infinity'' ELSE income END AS y FROM good', target => 'y');

-- rows
SELECT neural.train('m', 'SELECT * FROM good WHERE false', target => 'churned');
SELECT neural.train('m', 'SELECT ARRAY[age] AS v, churned FROM good WHERE false', target => 'churned');
CREATE TABLE none (v int[], churned boolean);
SELECT neural.train('m', 'none', target => 'churned');
SELECT neural.fit(n, 'churned') FROM none n;
SELECT neural.train('m', 'SELECT * FROM good WHERE id <= 9', target => 'churned');

-- features
SELECT neural.train('m', 'SELECT id, doc, churned FROM good', target => 'churned', features => ARRAY['doc']);
SELECT neural.train('m', 'SELECT doc, churned FROM good', target => 'churned');
SELECT neural.train('m', 'SELECT 1 AS one, churned FROM good', target => 'churned');
SELECT neural.train('m', 'SELECT age, CASE WHEN id < 4 THEN ''-Infinity'' ELSE income END AS x, churned FROM good', target => 'churned', validation => 'none');
SELECT neural.train('m', 'SELECT ARRAY[age, 1] || CASE WHEN id = 50 THEN ARRAY[1] END AS v, churned FROM good', target => 'churned');
SELECT neural.train('m', 'SELECT NULL::int[] AS v, churned FROM good', target => 'churned', features => '{v}');

-- networks, losses, optimizers
SELECT neural.train('m', 'good', target => 'churned', layers => 'dnse(3)');
SELECT neural.train('m', 'good', target => 'churned', layers => 'dense(3');
SELECT neural.train('m', 'good', target => 'churned', layers => 'dense(0)');
SELECT neural.train('m', 'good', target => 'churned', layers => 'dense(100000) dense(100000)');
SELECT neural.train('m', 'good', target => 'churned', loss => 'mse');
SELECT neural.train('m', 'good', target => 'income', loss => 'poissn');
SELECT neural.train('m', 'SELECT age, income - 500 AS y FROM good', target => 'y', loss => 'poisson');
SELECT neural.train('m', 'good', target => 'churned', optimizer => 'adm');
SELECT neural.train('m', 'good', target => 'churned', learning_rate => -1);
SELECT neural.train('m', 'good', target => 'churned', learning_rate => 'NaN');
SELECT neural.train('m', 'good', target => 'churned', epochs => 0);
SELECT neural.train('m', 'good', target => 'churned', batch_size => -5);
\set VERBOSITY terse
SELECT neural.train('m', 'good', target => 'churned', device => 'cuda');
\set VERBOSITY default
SELECT neural.train('m', 'good', target => 'churned', device => 'abacus');
SELECT neural.train('m', 'good', target => 'churned', options => '{"precision": "fp8"}');
SELECT neural.train('m', 'good', target => 'churned', device => 'cpu', options => '{"precision": "bf16"}');

-- validation
SELECT neural.train('m', 'good', target => 'churned', validation => '1.5');
SELECT neural.train('m', 'good', target => 'churned', validation => 'age');
SELECT neural.train('m', 'good', target => 'churned', validation => 'aeg');
SELECT neural.train('m', 'good', target => 'churned', validation => 'time:city');
SELECT neural.train('m', 'good', target => 'churned', validation => 'group:doc');
SELECT neural.train('m', 'SELECT *, false AS test FROM good', target => 'churned', validation => 'test');
SELECT neural.train('m', 'SELECT *, true AS test FROM good', target => 'churned', validation => 'test');

-- options
SELECT neural.train('m', 'good', target => 'churned', options => '[]');
SELECT neural.train('m', 'good', target => 'churned', options => '{"erly_stopping": 3}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"early_stopping": {"patiense": 3}}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"early_stopping": {"monitor": "luck"}}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"l2": "much"}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"l2": -1}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"epochs": 2.5}');
SELECT neural.train('m', 'good', target => 'churned', epochs => 3, options => '{"epochs": 2}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"columns": {"agee": {"scale": "robust"}}}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"columns": {"age": {"scal": "robust"}}}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"columns": {"age": {"scale": "robus"}}}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"columns": {"id": {"scale": "robust"}}}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"class_weight": {"maybe": 2}}');
SELECT neural.train('m', 'good', target => 'income', options => '{"class_weight": "balanced"}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"class_weight": "fair"}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"sample_weight": "city"}');
SELECT neural.train('m', 'SELECT *, -1 AS w FROM good', target => 'churned', options => '{"sample_weight": "w"}');
SELECT neural.train('m', 'SELECT *, 0 AS w FROM good', target => 'churned', options => '{"sample_weight": "w"}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"columns": {"income": {"shape": [2, 2]}}}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"time_zone": "Middle/Earth"}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"activate": "maybe"}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"metric": "acuracy"}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"metric": "r2"}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"schedule": "cosin"}');
SELECT neural.train('m', 'good', target => 'churned', options => '{"exclude": "agee"}');

-- divergence
SELECT neural.train('m', 'good', target => 'income', features => ARRAY['age'], layers => 'dense(8) relu dense(8)', optimizer => 'sgd', learning_rate => 1e6, epochs => 3);

-- limits
SET neural.max_memory = '8MB';
DO $$
BEGIN
  PERFORM neural.train('m', 'good', target => 'churned', layers => 'dense(1000) dense(1000)', epochs => 1);
EXCEPTION WHEN configuration_limit_exceeded THEN
  RAISE NOTICE '%', regexp_replace(sqlerrm, '[0-9.]+ MB', 'some MB', 'g');
END
$$;
SELECT neural.train('m', 'SELECT i % 7 AS y, repeat(md5(i::text), 30) AS t FROM generate_series(1, 20000) i', target => 'y', task => 'regression', epochs => 1)
  IS NULL;
RESET neural.max_memory;
SET neural.max_model_size = '64kB';
SELECT neural.train('m', 'good', target => 'churned', epochs => 1);
RESET neural.max_model_size;
SET neural.max_modelsize = 1;
-- few weights that take a lot of memory to predict with
SELECT version FROM neural.train('wide', 'good', target => 'churned', epochs => 1, batch_size => 2,
  layers => 'dense(64)' || (SELECT string_agg(format(' x%s: identity concatenate(x%s, x%s, x%s, x%s)', i, i, i, i, i), '' ORDER BY i) FROM generate_series(1, 5) i) || repeat(' relu', 40));
SET neural.max_memory = '8MB';
SELECT neural.predict('wide', g) FROM good g LIMIT 1;
RESET neural.max_memory;
DROP TABLE wide;

-- transactions
START TRANSACTION READ ONLY;
SELECT neural.train('m', 'good', target => 'churned', epochs => 1);
ROLLBACK;

-- rights
CREATE ROLE neural_nobody;
GRANT USAGE ON SCHEMA errors TO neural_nobody;
GRANT USAGE ON SCHEMA neural TO neural_nobody;
SET ROLE neural_nobody;
SELECT neural.train('errors.m', 'good', target => 'churned', epochs => 1);
SELECT neural.train('pg_temp.m', 'good', target => 'churned', epochs => 1);
RESET ROLE;

SELECT count(*) FROM neural.models WHERE schema = 'errors';
DROP OWNED BY neural_nobody;
SET client_min_messages = warning;
DROP SCHEMA errors CASCADE;
DROP ROLE neural_nobody;
