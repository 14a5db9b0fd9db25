-- Judging a model on rows that hold its target.
CREATE SCHEMA evaluate;
SET search_path = evaluate, public;
SET client_min_messages = warning;

CREATE TABLE marks (id int PRIMARY KEY, x real, y real, side text, height float8, level int);
INSERT INTO marks
    SELECT i, i % 20 / 20.0, i / 20 / 20.0, CASE WHEN i % 20 < 10 THEN 'left' ELSE 'right' END,
           2 * (i % 20 / 20.0), i % 20 / 10
      FROM generate_series(0, 399) i;
SELECT r.task FROM (VALUES ('side'), ('height'), ('level')) t(name), LATERAL
    neural.train(t.name || '_model', 'marks', target => t.name, features => '{x,y}', layers => 'dense(16) tanh',
        learning_rate => 0.05, epochs => 80, batch_size => 50, seed => 1, validation => 'none') r;
RESET client_min_messages;

-- a table, a view, a query; every metric of the task
SELECT metric, value > 0.9 AS good FROM neural.evaluate('side_model', 'marks') WHERE metric NOT IN ('log_loss', 'brier');
SELECT metric, value < 0.2 AS good FROM neural.evaluate('side_model', 'marks') WHERE metric IN ('log_loss', 'brier');
CREATE VIEW some_marks AS SELECT y, x, height, 'further'::text AS further FROM marks WHERE id < 100;
SELECT metric, CASE metric WHEN 'rows' THEN value = 100 WHEN 'r2' THEN value > 0.95 WHEN 'mape' THEN value >= 0 ELSE value < 0.2 END AS good
  FROM neural.evaluate('height_model', 'some_marks');
SELECT metric, value FROM neural.evaluate('level_model', 'SELECT x, y, level::float8 FROM marks WHERE x <> 0.5') WHERE metric IN ('rows', 'accuracy');

-- the same as a count by hand
SELECT round(e.value::numeric, 6) = round((SELECT avg((neural.classify('side_model', m) = side)::int) FROM marks m), 6) AS same
  FROM neural.evaluate('side_model', 'marks') e WHERE metric = 'accuracy';
SELECT abs(e.value - (SELECT sqrt(avg((neural.predict('height_model', m) - height) ^ 2)) FROM marks m)) < 1e-9 AS same
  FROM neural.evaluate('height_model', 'marks') e WHERE metric = 'rmse';

-- targets that are NULL or unknown
SELECT metric, value FROM neural.evaluate('side_model',
    $$SELECT 0.1 AS x, 0.5 AS y, CASE i WHEN 1 THEN NULL WHEN 2 THEN 'middle' WHEN 3 THEN 'above' ELSE 'left' END AS side
        FROM generate_series(1, 5) i$$) WHERE metric IN ('rows', 'accuracy');
SELECT metric, value FROM neural.evaluate('side_model', $$SELECT 0.1 AS x, 0.5 AS y, 'middle' AS side$$) WHERE metric IN ('rows', 'accuracy', 'log_loss');
SELECT metric, value FROM neural.evaluate('side_model', 'SELECT * FROM marks WHERE false') WHERE metric IN ('rows', 'accuracy');
SELECT metric, value FROM neural.evaluate('height_model', $$SELECT 0.1 AS x, 0.5 AS y, 'NaN'::float8 AS height$$) WHERE metric IN ('rows', 'rmse');

-- what is refused
SELECT * FROM neural.evaluate('side_model', 'SELECT x, y FROM marks');
SELECT * FROM neural.evaluate('side_model', 'SELECT x, yy, side FROM (SELECT x, y AS yy, side FROM marks) m');
SELECT * FROM neural.evaluate('side_model', 'SELECT x, y, 1 AS side FROM marks');
SELECT * FROM neural.evaluate('height_model', $$SELECT x, y, 'a' AS height FROM marks$$);
SELECT * FROM neural.evaluate('side_model', 'nowhere');
SELECT * FROM neural.evaluate('side_model', 'DELETE FROM marks');
SELECT * FROM neural.evaluate('marks', 'marks');
SELECT * FROM neural.evaluate('side_model', 'marks', 9);
SELECT count(*) FROM neural.evaluate(NULL, 'marks');

SET client_min_messages = error;
DROP SCHEMA evaluate CASCADE;
