-- The options of neural.train.
SET neural.progress_interval = 0;
SET neural.max_threads = 1;
CREATE SCHEMA options;
SET search_path = options;

CREATE TABLE rows AS
SELECT (i * 37 % 101) / 101.0 AS a, (i * 53 % 97) / 97.0 AS b, i % 7 AS code, (i * 37 % 101) > 90 AS rare,
       (i * 37 % 101) / 50.0 - (i * 53 % 97) / 97.0 AS y, CASE WHEN i % 3 = 0 THEN 0.0 ELSE 1.0 END AS weight
  FROM generate_series(1, 500) i;

-- A short training that says what was done of it.
CREATE FUNCTION how(options jsonb, target text DEFAULT 'y', layers text DEFAULT 'dense(8) relu') RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE r jsonb; v int;
BEGIN
  SELECT version INTO v FROM neural.train('m', 'options.rows', target => how.target, layers => how.layers,
      options => '{"epochs": 4, "activate": "never", "features": ["a", "b"]}'::jsonb || how.options);
  SELECT training || jsonb_build_object('history', history, 'metric', metrics -> 'metric') INTO r FROM m WHERE version = v;
  RETURN r;
END $$;
CREATE FUNCTION bytes(options jsonb, target text DEFAULT 'y', layers text DEFAULT 'dense(8) relu') RETURNS text LANGUAGE plpgsql AS $$
DECLARE r text; v int;
BEGIN
  SELECT version INTO v FROM neural.train('m', 'options.rows', target => bytes.target, layers => bytes.layers,
      options => '{"epochs": 4, "activate": "never", "features": ["a", "b"]}'::jsonb || bytes.options);
  SELECT md5((SELECT jsonb_agg(w) FROM neural.weights('m', v) w)::text) INTO r;
  RETURN r;
END $$;

-- arguments may be options
SELECT h -> 'epochs' AS epochs, h -> 'batch_size' AS batch_size, h -> 'learning_rate' AS learning_rate, h ->> 'optimizer' AS optimizer, h -> 'seed' AS seed
  FROM how('{"epochs": 2, "batch_size": 100, "learning_rate": 0.05, "optimizer": "sgd(momentum = 0.9)", "seed": 7}') h;
SELECT (how('{"epochs": null}') -> 'planned_epochs')::int AS planned;

-- schedules: the rate of each epoch's last step
SELECT round((h -> 'learning_rate')::numeric, 4) AS rate
  FROM jsonb_array_elements(how('{"schedule": "exponential(decay_rate = 0.5, decay_steps = 28)", "learning_rate": 1, "batch_size": 16, "epochs": 3, "global_clipnorm": 0.001}') -> 'history') h;
SELECT how('{"schedule": "none"}', layers => 'auto') -> 'schedule' AS schedule;
SELECT how('{"schedule": "cosine"}') ->> 'schedule' AS schedule;

-- what changes the weights, and what does not
SELECT bytes('{}') = bytes('{}') AS same;
SELECT o, bytes(o) <> bytes('{}') AS differs
  FROM unnest('{"{\"l1\": 0.01}", "{\"l2\": 0.01}", "{\"weight_decay\": 0.1}", "{\"clipnorm\": 0.1}", "{\"clipvalue\": 0.01}",
                "{\"global_clipnorm\": 0.1}", "{\"sample_weight\": \"weight\"}", "{\"shuffle\": false}", "{\"target_scale\": false}",
                "{\"columns\": {\"a\": {\"scale\": \"robust\"}}}", "{\"seed\": 2}", "{\"validation\": \"none\"}", "{\"note\": \"x\"}"}'::jsonb[]) o;

-- class weights and label smoothing
SELECT bytes('{"class_weight": "balanced"}', 'rare') <> bytes('{}', 'rare') AS balanced,
       bytes('{"class_weight": {"true": 1, "false": 1}}', 'rare') = bytes('{}', 'rare') AS ones,
       bytes('{"class_weight": {"true": 5}}', 'rare') <> bytes('{}', 'rare') AS five;
SELECT how('{"label_smoothing": 0.2}', 'rare') ->> 'loss' AS loss;
SELECT how('{"loss": "binary_focal_crossentropy"}', 'rare') ->> 'loss' AS loss;
-- rows of no weight do not count
SELECT bytes('{"sample_weight": "weight", "validation": "none", "batch_size": 500}') <> bytes('{"validation": "none", "batch_size": 500}') AS differs;

-- columns
SELECT version FROM neural.train('c', 'rows', target => 'y', layers => 'dense(4)', epochs => 1,
  options => '{"columns": {"code": {"encode": "one_hot"}, "a": {"scale": "min_max", "clip": 2}, "b": "number(scale = none)"}, "exclude": ["rare", "weight"]}');
SELECT name, type, encoder, numbers, categories FROM neural.features('c') ORDER BY position;

-- early stopping
SELECT (h -> 'epochs')::int < 200 AS early, (h -> 'planned_epochs')::int AS planned
  FROM how('{"epochs": 200, "learning_rate": 0.05, "early_stopping": {"patience": 2, "min_delta": 0.01}}') h;
SELECT (how('{"epochs": 200, "learning_rate": 0.05, "early_stopping": 1}') -> 'epochs')::int < 200 AS early;
SELECT (how('{"epochs": 30, "early_stopping": {"monitor": "loss", "patience": 30}}') -> 'epochs')::int AS all;
-- the best epoch is kept unless the last is asked for
SELECT (h -> 'best_epoch')::int <= (h -> 'epochs')::int AS best FROM how('{"epochs": 20, "learning_rate": 0.5}') h;
SELECT h -> 'best_epoch' = h -> 'epochs' AS last FROM how('{"epochs": 20, "learning_rate": 0.5, "restore_best": false}') h;

-- metric, time limit, threads
SELECT how('{"metric": "mae"}') -> 'metric' AS metric;
SELECT (how('{"epochs": 1000000, "max_seconds": 0.2}') -> 'epochs')::int < 1000000 AS stopped;
SELECT how('{"threads": 4}') -> 'threads' AS threads;

-- clamp: predictions stay within what was seen
SELECT version FROM neural.train('k', 'rows', target => 'y', features => ARRAY['a', 'b'], layers => 'dense(4)', epochs => 20, learning_rate => 0.1, options => '{"clamp": true}');
SELECT version FROM neural.train('l', 'rows', target => 'y', features => ARRAY['a', 'b'], layers => 'dense(4)', epochs => 20, learning_rate => 0.1);
SELECT neural.predict('k', r) = (SELECT max(y) FROM rows)::float8 AS k, neural.predict('l', r) > 100 AS l
  FROM (SELECT 100.0 AS a, 0.0 AS b) r;

-- primary keys are features when asked for
CREATE TABLE keyed (id int PRIMARY KEY, y float8);
INSERT INTO keyed SELECT i, i * 2.5 FROM generate_series(1, 50) i;
SELECT neural.train('p', 'keyed', target => 'y', epochs => 1);
SELECT task FROM neural.train('p', 'keyed', target => 'y', epochs => 1, options => '{"keep_features": "id"}');
SELECT task FROM neural.train('p', 'keyed', target => 'y', epochs => 1, features => ARRAY['id']);

SET client_min_messages = warning;
DROP SCHEMA options CASCADE;
