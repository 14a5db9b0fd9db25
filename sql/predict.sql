-- The predict family: what it computes, for which rows, and what it refuses.
CREATE SCHEMA predict;
SET search_path = predict, public;
SET client_min_messages = warning;

CREATE TABLE points (
    id int PRIMARY KEY, x real, y real, kind text, side text, right_side bool,
    quarter int, height float8);
INSERT INTO points
    SELECT i, i % 20 / 20.0, i / 20 % 20 / 20.0,
           CASE i % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' ELSE 'c' END,
           CASE WHEN i % 20 < 10 THEN 'left' ELSE 'right' END,
           i % 20 >= 10,
           CASE WHEN i % 20 < 10 THEN 0 ELSE 1 END + CASE WHEN i / 20 % 20 < 10 THEN 0 ELSE 2 END,
           2 * (i % 20 / 20.0) - (i / 20 % 20 / 20.0)
      FROM generate_series(0, 399) i;

CREATE FUNCTION fit(name text, target text, features text[] DEFAULT '{x,y}') RETURNS text
    LANGUAGE sql AS $$
    SELECT r.task FROM neural.train(name, 'points', target => target, features => features,
        layers => 'dense(16) tanh inside: dense(8) tanh', optimizer => 'adam',
        learning_rate => 0.05, epochs => 60, batch_size => 50, seed => 1,
        validation => 'none', options => '{"activate": "always"}') r $$;
SELECT fit('side', 'side'), fit('right_side', 'right_side'), fit('quarter', 'quarter'),
       fit('height', 'height'), fit('mixed', 'side', '{kind,x}');

-- every function, on a table row
SELECT id, neural.classify('side', p) AS side, neural.predict('right_side', p) AS right_side,
       neural.predict('quarter', p) AS quarter, abs(neural.predict('height', p) - height) < 0.2 AS height,
       neural.classify('mixed', p) AS mixed
  FROM points p WHERE id IN (5, 15, 205, 390) ORDER BY id;
SELECT neural.predict_proba('side', p, 'left') > 0.9 AS probably,
       round((neural.predict_proba('side', p, 'left') + neural.predict_proba('side', p, 'right'))::numeric, 6) AS total,
       (SELECT string_agg(key, ',') FROM jsonb_object_keys(neural.predict_proba('quarter', p)) key) AS classes,
       (SELECT round(sum(value::float8)::numeric, 5) FROM jsonb_each_text(neural.predict_proba('quarter', p))) AS sum,
       neural.predict_proba('right_side', p, 'f') > 0.9 AS boolean_label
  FROM points p WHERE id = 4;
SELECT neural.predict_as('side', p, NULL::varchar) AS varchar, neural.predict_as('right_side', p, NULL::bool) AS bool,
       neural.predict_as('right_side', p, NULL::int) AS int, neural.predict_as('quarter', p, NULL::bigint) AS bigint,
       neural.predict_as('quarter', p, NULL::text) AS text,
       abs(neural.predict_as('height', p, NULL::numeric) - p.height::numeric) < 0.2 AS numeric,
       neural.predict_as('height', p, NULL::int) = round(neural.predict('height', p)) AS rounded,
       neural.predict_all('side', p), neural.predict_all('quarter', p), neural.predict_all('right_side', p)
  FROM points p WHERE id = 15;
CREATE TYPE side_enum AS ENUM ('left', 'right');
CREATE DOMAIN short_text AS text CHECK (length(VALUE) < 5);
SELECT neural.predict_as('side', p, NULL::side_enum), pg_typeof(neural.predict_as('side', p, NULL::side_enum)),
       neural.predict_as('side', p, NULL::short_text)
  FROM points p WHERE id = 5;
SELECT neural.predict_as('side', p, NULL::short_text) FROM points p WHERE id = 15;
SELECT array_length(neural.embed('side', p, 'inside'), 1), array_length(neural.embed('side', p, '1'), 1)
  FROM points p WHERE id = 4;

-- rows by name, by position, from subqueries, joins and composite types
SELECT neural.classify('side', ROW(0.1::real, 0.1::real)) AS by_position,
       neural.classify('side', ROW(0.9, 0.1)) AS of_another_number_type,
       (SELECT neural.classify('side', q) FROM (SELECT 0.3 AS z, 'no'::text AS side, 0.1 AS y, 0.9 AS x) q) AS by_name,
       neural.predict('height', ARRAY[0.5, 0.5]::float8[]) = neural.predict('height', ROW(0.5::real, 0.5::real)) AS array,
       neural.predict('quarter', ARRAY[0.9, 0.9]) AS array_of_numeric;
CREATE TYPE place AS (y float8, x int, other text);
SELECT neural.classify('side', (0.1, 0, 'o')::place), neural.classify('side', (0.1, 1, 'o')::place);
SELECT count(*) FILTER (WHERE neural.classify('side', a) IS DISTINCT FROM neural.classify('side', b)) AS differ,
       count(neural.classify('side', a)) AS predicted FROM points a JOIN points b USING (id);
SELECT neural.classify('side', p) FROM (SELECT * FROM points WHERE id < 3 ORDER BY id LIMIT 2) p;

-- NULL: of the model, of the row, of its columns
SELECT neural.predict(NULL::regclass, ROW(1, 2)) IS NULL AS model, neural.predict('height', NULL::points) IS NULL AS row,
       neural.predict('height', ROW(NULL::real, 0.5::real)) IS NOT NULL AS column,
       neural.predict('height', ARRAY[NULL, 0.5]) = neural.predict('height', ROW(NULL::real, 0.5::real)) AS array,
       neural.predict_proba('side', ROW(1, 1), NULL) IS NULL AS label, neural.embed('side', ROW(1, 1), NULL) IS NULL AS layer;
SELECT count(neural.predict('height', b)) FROM points a LEFT JOIN points b ON b.id = a.id AND b.id < 7;
SELECT neural.classify('mixed', ROW('never seen'::text, 0.1::real)) = neural.classify('mixed', ROW('neither'::text, 0.1::real)) AS unknown_bucket;

-- a row alone and among others: the same bits
CREATE TABLE together AS SELECT id, neural.predict('height', p) AS h, neural.predict_proba('side', p, 'left') AS s FROM points p;
SELECT count(*) FILTER (WHERE neural.predict('height', (SELECT q FROM points q WHERE q.id = p.id)) IS DISTINCT FROM t.h
        OR neural.predict_proba('side', ROW(p.x, p.y), 'left') IS DISTINCT FROM t.s) AS differ, count(t.h) AS height, count(t.s) AS side
  FROM points p JOIN together t USING (id);

-- columns added, dropped and with defaults
CREATE TABLE wide AS SELECT id, x FROM points WHERE id < 40;
SELECT neural.classify('side', w) FROM wide w LIMIT 1;	-- no column y yet
ALTER TABLE wide ADD COLUMN gone int DEFAULT 3, ADD COLUMN y real DEFAULT 0.25, ADD COLUMN tail text DEFAULT 'tail';
ALTER TABLE wide DROP COLUMN gone;
SELECT count(*) FILTER (WHERE neural.predict('height', w) IS DISTINCT FROM neural.predict('height', ROW(w.x, 0.25::real))) AS differ,
       count(neural.predict('height', w)) AS predicted FROM wide w;
ALTER TABLE wide ALTER y TYPE numeric;
SELECT count(*) FILTER (WHERE neural.predict('height', w) IS DISTINCT FROM neural.predict('height', ROW(w.x, 0.25::real))) AS differ,
       count(neural.predict('height', w)) AS predicted FROM wide w;

-- models held as values
SELECT m.version, neural.classify_with(m.model, p), neural.predict_proba_with(m.model, p) = neural.predict_proba('side', p) AS same
  FROM side m, points p WHERE p.id IN (5, 15) ORDER BY p.id;
SELECT count(DISTINCT neural.predict_with(m, p)) > 1 AS several
  FROM points p, LATERAL (SELECT model FROM height UNION ALL SELECT model FROM quarter) v(m) WHERE p.id IN (3, 377);

-- one statement sees one version, the next one the next
SELECT fit('side', 'side');
SELECT neural.promote('side', 1);
CREATE FUNCTION changing() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    p points;
    seen text := '';
    value float8;
BEGIN
    SELECT * INTO p FROM points WHERE id = 5;
    UPDATE side SET model = (SELECT model FROM quarter) WHERE version = 2;
    FOR i IN 1 .. 4 LOOP
        PERFORM neural.promote('side', i % 2 + 1);
        seen := seen || (neural.predict_all('side', p) ->> CASE i % 2 WHEN 0 THEN 'side' ELSE 'quarter' END) || ' ';
    END LOOP;
    RETURN seen;
END $$;
SELECT changing();
SELECT neural.promote('side', 1);
SELECT neural.classify('side', p, 1), neural.predict_all('side', p, 2) FROM points p WHERE id = 5;

-- several targets
SELECT r.task FROM neural.train('pair', 'points', targets => '{height,x}', features => '{y,quarter}', layers => 'dense(4)', epochs => 2, seed => 1) r;
SELECT r.task FROM neural.train('answers', 'SELECT x, y, right_side, quarter >= 2 AS upper FROM points', targets => '{right_side,upper}',
    layers => 'dense(16) tanh', learning_rate => 0.05, epochs => 60, batch_size => 50, seed => 1) r;
SELECT (SELECT string_agg(key, ',') FROM jsonb_object_keys(neural.predict_all('pair', p)) key) AS targets,
       jsonb_typeof(neural.predict_all('pair', p) -> 'height') AS type,
       neural.predict_all('answers', p), neural.predict_proba('answers', p, 'upper') > 0.5 AS upper
  FROM points p WHERE id IN (5, 390) ORDER BY id;
SELECT metric, value > 0.8 AS good FROM neural.evaluate('answers', 'SELECT x, y, right_side, quarter >= 2 AS upper FROM points') WHERE metric IN ('accuracy', 'roc_auc');
SELECT neural.predict('pair', p) FROM points p LIMIT 1;
SELECT neural.classify('answers', p) FROM points p LIMIT 1;
SELECT neural.predict_as('pair', p, NULL::int) FROM points p LIMIT 1;

-- what is refused
SELECT neural.predict('side', p) FROM points p LIMIT 1;
SELECT neural.classify('height', p) FROM points p LIMIT 1;
SELECT neural.predict_proba('height', p) FROM points p LIMIT 1;
SELECT neural.predict_proba('side', p, 'lefd') FROM points p LIMIT 1;
SELECT neural.predict_as('side', p, NULL::int) FROM points p LIMIT 1;
SELECT neural.embed('side', p, 'outside') FROM points p LIMIT 1;
SELECT neural.embed('side', p, '99') FROM points p LIMIT 1;
SELECT neural.predict('height', ROW(1));
SELECT neural.predict('height', ROW(1, 2, 3));
SELECT neural.predict('height', ARRAY[1, 2, 3]);
SELECT neural.predict('mixed', ARRAY[1, 2]);
SELECT neural.predict('height', ROW('a'::text, 2));
SELECT neural.predict('height', q) FROM (SELECT 1 AS x, 2 AS yy) q;
SELECT neural.predict('height', q) FROM (SELECT 1 AS x, now() AS y) q;
SELECT neural.predict('points', p) FROM points p LIMIT 1;
SELECT neural.predict('height', p, 7) FROM points p LIMIT 1;
SELECT neural.predict('height', p, 0) FROM points p LIMIT 1;
UPDATE quarter SET active = false;
SELECT neural.predict('quarter', p) FROM points p LIMIT 1;
SELECT neural.predict('quarter', p, 1) FROM points p LIMIT 1;

-- the cache may be too small for any model
SET neural.model_cache_size = 0;
SELECT count(DISTINCT neural.classify('side', p)) FROM points p;
SELECT count(*) FILTER (WHERE neural.classify('side', p) IS DISTINCT FROM neural.classify('mixed', p)) AS differ,
       count(neural.classify('side', p)) AS predicted FROM points p WHERE id % 20 IN (0, 19);
RESET neural.model_cache_size;

SET client_min_messages = error;
DROP SCHEMA predict CASCADE;
