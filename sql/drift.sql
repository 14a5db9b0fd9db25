-- How far today's rows are from those of the training.
CREATE SCHEMA drift;
SET search_path = drift, public;
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE TABLE old (id int PRIMARY KEY, x real, n int, kind text, flag bool, seen date, v real[], good bool);
INSERT INTO old
    SELECT i, i % 100, CASE WHEN i % 4 > 0 THEN i % 10 END, (ARRAY['a', 'b', 'c', 'd'])[1 + i % 4], i % 2 = 0,
           date '2024-01-01' + i % 300, ARRAY[i % 7, i % 3], i % 100 >= 50
      FROM generate_series(1, 2000) i;
SELECT version FROM neural.train('m', 'old', target => 'good', features => '{x, n, kind, flag, seen, v}',
    validation => '0.2', layers => 'dense(4, tanh)', epochs => 20, learning_rate => 0.05);

-- nothing has changed
SELECT kind, name, psi < 0.01 AS same, unseen, abs(nulls_then - nulls_now) < 0.03 AS same_nulls,
       abs(value_then - value_now) < 0.1 * abs(value_now) AS same_value
  FROM neural.drift('m', 'old');

-- the index is what its formula gives from the shares of the two sets of rows
CREATE VIEW today AS
    SELECT id, CASE WHEN id % 2 = 0 THEN x ELSE x / 2 END AS x, CASE WHEN id % 2 = 0 THEN n END AS n,
           CASE WHEN id % 10 = 0 THEN 'e' WHEN id % 10 = 1 THEN NULL ELSE kind END AS kind, flag, seen + 1000 AS seen, v, good
      FROM old;
CREATE FUNCTION shares_then(feature text) RETURNS TABLE (bin bigint, share float8) LANGUAGE sql AS $$
    SELECT o - 1, s::float8 FROM m, jsonb_array_elements_text(training -> 'profile' -> feature -> 'shares') WITH ORDINALITY e(s, o)
     WHERE active $$;
CREATE FUNCTION psi(feature text, now float8[]) RETURNS float8 LANGUAGE sql AS $$
    SELECT sum((greatest(n, 1e-4) - greatest(share, 1e-4)) * ln(greatest(n, 1e-4) / greatest(share, 1e-4)))
      FROM shares_then(feature) JOIN unnest(now) WITH ORDINALITY u(n, o) ON o = bin + 1 $$;
WITH edges AS (SELECT array_agg(e::float8 ORDER BY o) AS e FROM m, jsonb_array_elements_text(training -> 'profile' -> 'x' -> 'edges') WITH ORDINALITY j(e, o) WHERE active),
     bins AS (SELECT (SELECT count(*) FROM unnest(e) edge WHERE x > edge) AS bin FROM today, edges),
     shares AS (SELECT array_agg((SELECT count(*) FROM bins WHERE bin = b)::float8 / 2000 ORDER BY b) AS s FROM generate_series(0, 9) b)
SELECT abs(psi('x', s) - d.psi) < 1e-9 AS agrees, d.psi > 0.2 AS drifted
  FROM shares, neural.drift('m', 'today') d WHERE d.name = 'x';
WITH names AS (SELECT array_agg(e ORDER BY o) AS e FROM m, jsonb_array_elements_text(training -> 'profile' -> 'kind' -> 'categories') WITH ORDINALITY j(e, o) WHERE active),
     shares AS (SELECT array_agg((SELECT count(*) FROM today WHERE kind = c)::float8 / 1800 ORDER BY o) || 200 / 1800.0::float8 AS s FROM names, unnest(e) WITH ORDINALITY u(c, o))
SELECT abs(psi('kind', s) - d.psi) < 1e-9 AS agrees, abs(d.unseen - 200 / 1800.0) < 1e-9 AS unseen, d.nulls_then, d.nulls_now
  FROM shares, neural.drift('m', 'today') d WHERE d.name = 'kind';
SELECT name, nulls_now = (SELECT avg((n IS NULL)::int) FROM today) AS nulls, abs(value_now - (SELECT avg(n) FROM today)) < 1e-9 AS mean, abs(value_then - 4.5) < 0.3 AS mean_then
  FROM neural.drift('m', 'today') WHERE name = 'n';
SELECT name, psi > 1 AS drifted FROM neural.drift('m', 'today') WHERE name = 'seen';
SELECT name, psi FROM neural.drift('m', 'today') WHERE name = 'v';

-- where the rows hold the target, the metric then and now
SELECT d.kind, d.name, value_then = (metrics ->> 'value')::float8 AS then, value_now = e.value AS now
  FROM m, neural.drift('m', 'today') d, neural.evaluate('m', 'today') e WHERE d.kind = 'metric' AND e.metric = d.name AND m.active;
SELECT DISTINCT kind FROM neural.drift('m', 'SELECT x, n, kind, flag, seen, v FROM old');
SELECT value_now FROM neural.drift('m', 'SELECT x, n, kind, flag, seen, v, NULL::bool AS good FROM old') WHERE kind = 'metric';

-- extremes
SELECT name, psi, unseen, nulls_now, value_now FROM neural.drift('m', 'SELECT NULL::real AS x, ''infinity''::float8 AS n, NULL::text AS kind, flag, seen, v FROM old') WHERE name IN ('x', 'kind');
SELECT name, value_now FROM neural.drift('m', 'SELECT x, ''infinity''::float8 AS n, kind, flag, seen, v FROM old') WHERE name = 'n';
SELECT * FROM neural.drift('m', 'SELECT * FROM old WHERE false');
SELECT * FROM neural.drift('m', 'SELECT x FROM old');
SELECT * FROM neural.drift('m', 'nowhere');
SELECT * FROM neural.drift('old', 'old');
SELECT * FROM neural.drift('m', 'old', 7);
SELECT count(*) FROM neural.drift(NULL, 'old');

-- a version without a profile, and one whose profile is nonsense
RESET client_min_messages;
SELECT neural.import_model('imported', neural.export_model('m'));
SELECT kind, name, psi, abs(nulls_then - nulls_now) < 0.03 AS nulls FROM neural.drift('imported', 'old') WHERE name IN ('x', 'n');
SET client_min_messages = warning;
UPDATE m SET training = jsonb_set(training, '{profile}', '{"x": {"edges": ["a"], "shares": [1, 2]}, "n": {"edges": [1, 2, 3], "shares": [1]}, "kind": [], "flag": {"edges": 1, "shares": {}}, "seen": 7, "v": {"edges": [1], "shares": [0.5, 0.5]}}');
SELECT name, psi FROM neural.drift('m', 'old') WHERE kind = 'feature';

-- it tells about the training rows, so predicting is not enough
CREATE ROLE regress_neural_reader;
GRANT USAGE ON SCHEMA drift TO regress_neural_reader;
GRANT SELECT ON old TO regress_neural_reader;
SELECT neural.grant_predict('m', 'regress_neural_reader');
SET ROLE regress_neural_reader;
SELECT * FROM neural.drift('m', 'old');
RESET ROLE;
GRANT SELECT (training) ON m TO regress_neural_reader;
SET ROLE regress_neural_reader;
SELECT count(*) FROM neural.drift('m', 'old');
SELECT count(*) FROM neural.drift('m', 'today');
RESET ROLE;

SET client_min_messages = error;
DROP SCHEMA drift CASCADE;
DROP ROLE regress_neural_reader;
