-- Functions with a model's own columns as arguments.
CREATE SCHEMA wrapper;
SET search_path = wrapper, public;
SET client_min_messages = warning;
\set SHOW_CONTEXT never

CREATE TYPE kind AS ENUM ('oak', 'ash');
CREATE TABLE trees (id int PRIMARY KEY, "Age" int, kind kind, planted date, "order" numeric(8,2), height float8, tall bool, "level" smallint);
INSERT INTO trees
    SELECT i, i % 40, (ARRAY['oak', 'ash'])[i % 2 + 1]::kind, date '2020-01-01' + i, i % 7, (i % 40) / 4.0, i % 40 >= 20, i % 40 / 20 + 1
      FROM generate_series(1, 200) i;
SELECT r.model FROM (VALUES ('height'), ('kind'), ('tall'), ('level')) t(target), LATERAL
    neural.train(t.target || '_model', 'trees', target => t.target,
        features => CASE t.target WHEN 'kind' THEN '{Age,order}'::text[] ELSE '{Age,kind,planted,order}' END,
        layers => 'dense(8) tanh', learning_rate => 0.05, epochs => 60, seed => 1) r;

SELECT neural.create_function('height_model', 'tree_height');
SELECT neural.create_function('kind_model', 'wrapper."Kind of"');
SELECT neural.create_function('tall_model', 'is_tall');
SELECT neural.create_function('level_model', 'tree_level');
\sf tree_height
\sf wrapper."Kind of"
\sf is_tall
\sf tree_level
SELECT count(*) FILTER (WHERE tree_height("Age", kind, planted, "order") IS DISTINCT FROM neural.predict('height_model', t)
        OR "Kind of"("Age", "order")::text IS DISTINCT FROM neural.classify('kind_model', t)
        OR is_tall("Age", kind, planted, "order") IS DISTINCT FROM neural.predict_as('tall_model', t, NULL::bool)
        OR tree_level("order" => "order", kind => kind, planted => planted, "Age" => "Age") IS DISTINCT FROM neural.predict('level_model', t)) AS differ,
       count(neural.predict('height_model', t)) AS height, count(neural.classify('kind_model', t)) AS kind,
       count(neural.predict_as('tall_model', t, NULL::bool)) AS tall, count(neural.predict('level_model', t)) AS level
  FROM trees t;
SELECT pg_typeof("Kind of"(1, 2)), pg_typeof(is_tall(1, 'oak', now()::date, 1)), pg_typeof(tree_level(1, 'ash', NULL, NULL));

-- it is inlined, and it depends on the model
SET max_parallel_workers_per_gather = 0;
EXPLAIN (VERBOSE, COSTS OFF) SELECT tree_height("Age", kind, planted, "order") FROM trees;
RESET max_parallel_workers_per_gather;
DROP TABLE height_model;
ALTER TABLE height_model RENAME TO "Model's ""name""";
\sf tree_height
SELECT tree_height(4, 'oak', '2020-01-05', 1) BETWEEN -5 AND 15 AS height;

-- quoting
CREATE TABLE "odd ""names""" ("a""b" real, "select" real, "x;y" float8);
INSERT INTO "odd ""names""" SELECT i, -i, i FROM generate_series(1, 50) i;
SELECT neural.train('"odd ''model"', 'wrapper."odd ""names"""', target => 'x;y', layers => 'dense(2)', epochs => 2, seed => 1) IS NOT NULL AS trained;
SELECT neural.create_function('"odd ''model"', '"odd ""function; DROP TABLE trees"');
SELECT "odd ""function; DROP TABLE trees"(1, 2) IS NOT NULL AS predicted;

-- what is refused
SELECT neural.create_function('kind_model', 'wrapper."Kind of"');
SELECT neural.create_function('kind_model', 'nowhere.f');
SELECT neural.create_function('kind_model', 'a b');
SELECT neural.create_function('trees', 'f');
ALTER TYPE kind RENAME TO sort;
SELECT neural.create_function('kind_model', 'renamed');

SET client_min_messages = error;
DROP SCHEMA wrapper CASCADE;
