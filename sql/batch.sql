-- Queries predict in batches: plans, and what they give.
CREATE SCHEMA batch;
SET search_path = batch, public;
SET client_min_messages = warning;
SET neural.cuda_library = 'no_such_library';
SET max_parallel_workers_per_gather = 0;
\set SHOW_CONTEXT never

CREATE TABLE points (id int PRIMARY KEY, x real, y real, z float8, g int, kind text, v real[]);
INSERT INTO points
    SELECT i, i % 17 / 2.0, i % 23 / 3.0, i % 29, i % 4, (ARRAY['a', 'b', 'c'])[i % 3 + 1],
           CASE WHEN i = 250 THEN ARRAY[1] ELSE ARRAY[i % 5, i % 6] END
      FROM generate_series(1, 300) i;
ANALYZE points;
SELECT neural.train('plain', 'points', target => 'z', features => '{x,y}', layers => 'dense(4) tanh', epochs => 2, seed => 1) IS NOT NULL,
       neural.train('kinds', 'points', target => 'kind', features => '{x,y,g}', layers => 'dense(4) tanh', epochs => 2, seed => 2) IS NOT NULL,
       neural.train('vectors', 'SELECT * FROM points WHERE id <> 250', target => 'z', features => '{v}', layers => 'dense(4) tanh', epochs => 2, seed => 3) IS NOT NULL;
SELECT neural.create_function('plain', 'plain');
CREATE DOMAIN positive AS float8 CHECK (VALUE > 0);

-- one by one and in batches: the rows, and the error
CREATE FUNCTION rows_of(query text, OUT lines text[], OUT error text) LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    lines := '{}';
    FOR r IN EXECUTE query LOOP
        lines := lines || r::text;
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    error := SQLSTATE || ' ' || SQLERRM;
END $$;
-- EXPLAIN ANALYZE, as every version of the server says it
CREATE FUNCTION explained(query text) RETURNS TABLE ("QUERY PLAN" text) LANGUAGE plpgsql AS $$
BEGIN
    FOR "QUERY PLAN" IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) ' || query LOOP
        "QUERY PLAN" := regexp_replace("QUERY PLAN", '(rows=\d+)\.00|( \(returns .*\))', '\1', 'g');
        IF "QUERY PLAN" !~ '^ *Storage: ' THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION same(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    one record;
    many record;
BEGIN
    SET LOCAL neural.enable_batch = off;
    one := rows_of(query);
    SET LOCAL neural.enable_batch = on;
    many := rows_of(query);
    IF one IS DISTINCT FROM many THEN
        RETURN format('one by one: %s; in batches: %s', one, many);
    END IF;
    RETURN concat_ws(' ', cardinality(one.lines), 'rows', one.error);
END $$;

-- a difference is told: a query that sees how it is run
CREATE FUNCTION nodes() RETURNS bigint LANGUAGE sql STABLE
    AS $$ SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'neural batches' $$;
SELECT same('SELECT id, nodes() FROM points p WHERE id < 3 AND neural.predict(''plain'', p) IS NOT NULL');

-- a scan, its filter, and what is kept of rows
EXPLAIN (COSTS OFF, VERBOSE) SELECT id, neural.predict('plain', p) FROM points p;
EXPLAIN (COSTS OFF) SELECT id FROM points p WHERE neural.predict('plain', p) > 3 AND g = 1 AND id < 200;
SELECT * FROM explained($$SELECT id FROM points p WHERE neural.predict('plain', p) IS NULL AND g = 1$$);
SELECT same('SELECT id, neural.predict(''plain'', p), p FROM points p WHERE g = 1 AND neural.predict(''plain'', p) > 3');
SELECT same('SELECT id, neural.predict(''plain'', p), plain(x, y) + plain(y, x), neural.classify(''kinds'', p) FROM points p');

-- the whole family, equal calls once
EXPLAIN (COSTS OFF) SELECT neural.predict('plain', p), neural.predict('plain', p) + 1, neural.predict('plain', p, 1), plain(x, y),
    neural.classify('kinds', p), neural.predict_proba('kinds', p), neural.predict_proba('kinds', p, 'a'),
    neural.predict_as('plain', p, NULL::int), neural.predict_all('kinds', p), neural.embed('plain', p, '1') FROM points p;
SELECT same('SELECT neural.predict(''plain'', p), neural.predict(''plain'', p, 1), plain(x, y),
    neural.classify(''kinds'', p), neural.predict_proba(''kinds'', p), neural.predict_proba(''kinds'', p, ''a''),
    neural.predict_as(''plain'', p, NULL::int), neural.predict_all(''kinds'', p), neural.embed(''plain'', p, ''1'') FROM points p WHERE id > 296');
SELECT same('SELECT p.id, m.version, neural.predict_with(m.model, p) FROM points p, plain m WHERE id > 298');
SELECT * FROM explained($$SELECT neural.predict_with(m.model, p) FROM (SELECT model FROM plain UNION ALL SELECT model FROM vectors) m, points p WHERE p.id < 200$$);
EXPLAIN (COSTS OFF) SELECT neural.predict('plain', v), neural.predict('plain', ARRAY[x, y]) FROM points;
SELECT same('SELECT neural.predict(''plain'', v), neural.predict(''plain'', ARRAY[x, y]) FROM points');
SELECT same('SELECT neural.predict(''plain'', ARRAY[x, y]) FROM points');

-- joins, aggregates, groups, sorting
EXPLAIN (COSTS OFF) SELECT a.id, neural.predict('plain', ROW(a.x, b.y)) FROM points a JOIN points b ON a.id = b.id * 2;
EXPLAIN (COSTS OFF) SELECT g, avg(neural.predict('plain', p)), count(*) FROM points p GROUP BY g;
EXPLAIN (COSTS OFF) SELECT neural.classify('kinds', p), count(*) FROM points p GROUP BY 1;
EXPLAIN (COSTS OFF) SELECT avg(neural.predict('plain', p)) FILTER (WHERE g = 1) FROM points p;
EXPLAIN (COSTS OFF, VERBOSE) SELECT count(*) FILTER (WHERE neural.predict('plain', p) > 9), sum(CASE WHEN neural.predict('plain', p) > 9 THEN 10 / g END) FROM points p WHERE g > 0;
EXPLAIN (COSTS OFF) SELECT sum(10 / g), avg(neural.predict('plain', p)) FROM points p;
SELECT same('SELECT count(*) FILTER (WHERE neural.predict(''plain'', p) > 9), sum(CASE WHEN neural.predict(''plain'', p) > 9 THEN 10 / g END), count(DISTINCT neural.classify(''kinds'', p)) FROM points p WHERE g > 0');
SELECT same('SELECT sum(10 / g), avg(neural.predict(''vectors'', p)) FROM points p WHERE id > 200');
EXPLAIN (COSTS OFF) SELECT id FROM points p ORDER BY neural.predict('plain', p) LIMIT 3;
SELECT * FROM explained($$SELECT neural.predict('plain', p) FROM points p ORDER BY x LIMIT 3$$);
SELECT same('SELECT g, avg(neural.predict(''plain'', p)), count(*) FROM points p GROUP BY g ORDER BY 1');
SELECT same('SELECT neural.classify(''kinds'', p), count(*) FROM points p GROUP BY 1 ORDER BY 1');
SELECT same('SELECT a.id, neural.predict(''plain'', a), neural.predict(''plain'', b) FROM points a LEFT JOIN points b ON a.id = b.id + 150 ORDER BY 2, 1');

-- no more rows than are wanted
SELECT * FROM explained($$SELECT neural.predict('plain', p) FROM points p LIMIT 5$$);
SELECT * FROM explained($$SELECT neural.predict('plain', p) FROM points p WHERE neural.predict('plain', p) > -1000 LIMIT 5$$);
SELECT * FROM explained($$SELECT EXISTS (SELECT 1 FROM points p WHERE neural.predict('plain', p) > -1000)$$);

-- errors come where they belong, or not at all
SELECT same('SELECT id, neural.predict(''vectors'', p) FROM points p');
SELECT same('SELECT id, CASE WHEN id <> 250 THEN neural.predict(''vectors'', p) END FROM points p');
SELECT same('SELECT id, neural.predict(''vectors'', p) FROM points p LIMIT 249');
SELECT same('SELECT id, id <> 250 AND neural.predict(''vectors'', p) > 0, COALESCE(1, neural.predict(''vectors'', p)) FROM points p');
SELECT same('SELECT id FROM points p WHERE neural.predict(''vectors'', p) > -1000');
SELECT same('SELECT sum(neural.predict(''vectors'', p)) FROM points p');
SELECT same('SELECT bool_or(g = ANY (ARRAY(SELECT 1 / (q.id - 1) FROM points q))), sum(neural.predict(''plain'', p, 99)) FROM points p');
SELECT same('SELECT id, neural.predict(''plain'', p, 9) FROM points p');
SELECT same('SELECT id, CASE WHEN id > 400 THEN neural.predict(''plain'', p, 9) END FROM points p');
SELECT left(same('SELECT id, neural.predict_as(''plain'', p, NULL::date) FROM points p'), 12);
SELECT same('SELECT id, neural.predict(''plain'', ROW(x / (250 - id), y)) FROM points p');
SELECT same('SELECT id, neural.predict(''plain'', p) FROM points p WHERE 100 / (290 - id) > 0');
SELECT same('SELECT id, neural.predict_proba(''kinds'', p, ''d'') FROM points p');

-- rows that are computed, which may fail
SELECT * FROM explained($$SELECT neural.predict('plain', q) FROM (SELECT x + 1 AS x, sqrt(y) AS y FROM points) q$$);
SELECT * FROM explained($$SELECT CASE WHEN id <> 250 THEN neural.predict('plain', ROW(x / (250 - id), y)) END FROM points$$);
SELECT same('SELECT id, neural.predict(''plain'', q), q FROM (SELECT id, x + 1 AS x, sqrt(y) AS y FROM points) q');
SELECT same('SELECT id, CASE WHEN id % 50 <> 0 THEN neural.predict(''plain'', ROW(x / (id % 50), y)) END FROM points');
SELECT same('SELECT id, neural.predict(''plain'', ROW(ln(x - 0.5), y)) FROM points WHERE id % 17 > 1');
SELECT same('SELECT id, neural.predict(''plain'', ROW(x / (250 - id), y)), neural.predict(''vectors'', p) FROM points p');
SELECT same('SELECT sum(neural.predict(''plain'', ROW(x / (250 - id), y))) FROM points');
SELECT same('SELECT sum(neural.predict(''plain'', ROW(x / (350 - id), y))) FROM points WHERE 10 / id < 100');
SELECT same('SELECT id, neural.predict_as(''plain'', p, NULL::positive) FROM points p');
EXPLAIN (COSTS OFF) SELECT neural.predict_as('plain', p, NULL::positive) FROM points p;
-- others' functions may tell, and are called for no row before its turn
CREATE FUNCTION tells(y real) RETURNS real LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN y; END $$;
EXPLAIN (COSTS OFF) SELECT neural.predict('plain', ROW(x, tells(y))) FROM points;

-- subqueries, views, CTEs, windows, sets, functions
CREATE VIEW predicted AS SELECT id, neural.predict('plain', p) AS score, g FROM points p;
EXPLAIN (COSTS OFF) SELECT * FROM predicted WHERE score > 3 AND g = 2;
SELECT same('SELECT * FROM predicted a WHERE score > (SELECT avg(score) FROM predicted b WHERE a.g = b.g)');
SELECT same('WITH w AS MATERIALIZED (SELECT * FROM predicted) SELECT * FROM w UNION ALL SELECT * FROM w');
SELECT same('SELECT id, rank() OVER (PARTITION BY g ORDER BY score) FROM predicted');
SELECT same('SELECT p.id, l.* FROM points p, LATERAL (SELECT q.id, neural.predict(''plain'', ROW(p.x, q.y)) FROM points q WHERE q.id > p.id AND neural.predict(''plain'', q) > 1 ORDER BY q.id LIMIT 2) l');
CREATE FUNCTION first_score() RETURNS float8 LANGUAGE sql AS 'SELECT neural.predict(''vectors'', p) FROM points p';
SELECT same('SELECT first_score()');

-- prepared, also for all parameters
PREPARE scored(int, regclass) AS SELECT id, neural.predict($2, p) FROM points p WHERE id > $1;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE scored(298, 'plain');
SELECT same('EXECUTE scored(200, ''plain'')');
SELECT same('EXECUTE scored(298, ''kinds'')');
RESET plan_cache_mode;

-- changes
CREATE TABLE scores (id int PRIMARY KEY, score float8);
EXPLAIN (COSTS OFF) INSERT INTO scores SELECT id, neural.predict('plain', p) FROM points p;
INSERT INTO scores SELECT id, neural.predict('plain', p) FROM points p;
EXPLAIN (COSTS OFF) UPDATE scores s SET score = neural.predict('plain', p) FROM points p WHERE p.id = s.id;
UPDATE scores s SET score = score - neural.predict('plain', p) FROM points p WHERE p.id = s.id;
SELECT count(*), min(score), max(score) FROM scores;
CREATE TABLE made AS SELECT id, neural.predict('plain', p) AS score FROM points p;
DELETE FROM points p USING made m WHERE m.id = p.id AND m.score = neural.predict('plain', p) AND p.id > 290;
SELECT count(*) FROM points;

-- cursors go back and are named, so they are left alone
BEGIN;
DECLARE back CURSOR FOR SELECT id, neural.predict('plain', p) > 0 FROM points p;
FETCH 3 FROM back;
FETCH BACKWARD 2 FROM back;
UPDATE points SET g = 0 WHERE CURRENT OF back;
SET LOCAL neural.batch_cursors = on;
DECLARE held CURSOR WITH HOLD FOR SELECT id FROM points p WHERE neural.predict('plain', p) > -1000;
FETCH 2 FROM held;
COMMIT;
FETCH 2 FROM held;
CLOSE held;

-- a group is given before an error of the next
BEGIN;
SET LOCAL neural.batch_cursors = on;
SET LOCAL enable_hashagg = off;
EXPLAIN (COSTS OFF) SELECT id, sum(neural.predict('vectors', p)) FROM points p WHERE id > 247 GROUP BY id;
DECLARE grouped CURSOR FOR SELECT id, sum(neural.predict('vectors', p)) IS NOT NULL FROM points p WHERE id > 247 GROUP BY id;
FETCH 2 FROM grouped;
FETCH 1 FROM grouped;
ROLLBACK;
BEGIN;
SET LOCAL neural.batch_cursors = on;
SET LOCAL enable_hashagg = off;
EXPLAIN (COSTS OFF) SELECT 1000 / id, sum(neural.predict('vectors', p)) FROM (SELECT * FROM points WHERE 1 / id = 0 OFFSET 0) p GROUP BY 1 LIMIT 3;
DECLARE grouped CURSOR FOR SELECT 1000 / id, sum(neural.predict('vectors', p)) IS NOT NULL FROM (SELECT * FROM points WHERE 1 / id = 0 OFFSET 0) p WHERE id IN (250, 251) GROUP BY 1 LIMIT 3;
FETCH 1 FROM grouped;
FETCH 1 FROM grouped;
ROLLBACK;

-- what has effects is not read ahead of
CREATE SEQUENCE counter;
CREATE FUNCTION noisy(int) RETURNS bool LANGUAGE sql VOLATILE AS 'SELECT nextval(''counter'') > 0';
EXPLAIN (COSTS OFF) SELECT neural.predict('plain', p) FROM points p WHERE noisy(id);
EXPLAIN (COSTS OFF) SELECT neural.predict('plain', p), nextval('counter') FROM points p;
EXPLAIN (COSTS OFF) SELECT neural.predict('plain', p) FROM (SELECT * FROM points FOR UPDATE) p;
EXPLAIN (COSTS OFF) SELECT neural.predict('plain', p) FROM points p FOR UPDATE;
SELECT same('SELECT id, neural.predict(''plain'', p) FROM points p WHERE id < 5 FOR UPDATE');

-- rights are those of whoever runs it, each time
CREATE ROLE regress_batch;
GRANT USAGE ON SCHEMA batch TO regress_batch;
GRANT SELECT ON points TO regress_batch;
PREPARE mine AS SELECT count(neural.predict('plain', p)) FROM points p;
EXECUTE mine;
SET ROLE regress_batch;
EXECUTE mine;
RESET ROLE;
SELECT neural.grant_predict('plain', 'regress_batch');
SET ROLE regress_batch;
EXECUTE mine;
RESET ROLE;

-- row security comes first
CREATE FUNCTION leak(id int) RETURNS bool LANGUAGE plpgsql STABLE COST 0.001 AS $$
BEGIN
    IF id > 3 THEN RAISE EXCEPTION 'leaked %', id; END IF;
    RETURN true;
END $$;
ALTER TABLE points ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON points USING (neural.predict('plain', points) > -1000 AND id <= 3);
SET ROLE regress_batch;
EXPLAIN (COSTS OFF) SELECT id FROM points WHERE leak(id);
SELECT id FROM points WHERE leak(id);
RESET ROLE;
DROP POLICY few ON points;
ALTER TABLE points DISABLE ROW LEVEL SECURITY;

-- parallel workers have nodes of their own
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT count(neural.predict('plain', p)) FROM points p;
-- of which same() has none, as it reads by a cursor
SET neural.enable_batch = off;
SELECT sum(neural.predict('plain', p)::numeric) AS whole, sum(neural.predict('plain', ROW(x, sqrt(y)))::numeric) AS fields FROM points p \gset
RESET neural.enable_batch;
SELECT sum(neural.predict('plain', p)::numeric) = :whole AS whole FROM points p;
SELECT sum(neural.predict('plain', ROW(x, sqrt(y)))::numeric) = :fields AS fields FROM points p;
RESET max_parallel_workers_per_gather;

-- small batches, wide rows
SET neural.batch_rows = 2;
SELECT same('SELECT id, neural.predict(''plain'', p) FROM points p');
RESET neural.batch_rows;
SET work_mem = '64kB';
SELECT same('SELECT md5(wide), neural.predict(''plain'', p) FROM (SELECT *, repeat(kind, 100000) AS wide FROM points WHERE id < 40 OFFSET 0) p');
SET max_parallel_workers_per_gather = 0;
SET work_mem = '4MB';
-- a batch of such rows is as many as fit, and one
SELECT * FROM explained($$SELECT count(m), count(y) FROM (SELECT md5(wide) AS m, neural.predict('plain', p) AS y FROM (SELECT *, repeat(kind, 1000000) AS wide FROM points WHERE id <= 41 OFFSET 0) p OFFSET 0) q$$);
RESET work_mem;

-- threads share large batches
CREATE TABLE many AS SELECT i % 17 / 2.0::real AS x, i % 23 / 3.0::real AS y, i AS id FROM generate_series(1, 4000) i;
SELECT neural.train('wide', 'points', target => 'z', features => '{x,y}', layers => 'dense(512) tanh dense(64) tanh', epochs => 1, seed => 1) IS NOT NULL;
SET neural.predict_threads = 3;
SELECT * FROM explained($$SELECT sum(neural.predict('wide', m)) FROM many m$$);
SELECT same('SELECT id, neural.predict(''wide'', m), neural.embed(''wide'', m, ''2'') FROM many m WHERE id < 1500 ORDER BY id');
-- a failure elsewhere while they are at it
SELECT sum(1 / (id - 2500)) FROM (SELECT id, neural.predict('wide', m) AS y FROM many m OFFSET 0) q WHERE y IS NOT NULL;
DO $$
BEGIN
    PERFORM sum(1 / (id - 2500)) FROM (SELECT id, neural.predict('wide', m) AS y FROM many m OFFSET 0) q WHERE y IS NOT NULL;
EXCEPTION WHEN division_by_zero THEN
    RAISE NOTICE '%', (SELECT count(neural.predict('wide', m)) FROM many m);
END $$;
RESET neural.predict_threads;
RESET max_parallel_workers_per_gather;

-- partitions, dropped columns
CREATE TABLE parts (gone int, id int, y real, g int, x real) PARTITION BY LIST (g);
ALTER TABLE parts DROP COLUMN gone;
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0, 1);
CREATE TABLE parts_2 (x real, g int, id int, y real);
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES IN (2, 3);
INSERT INTO parts SELECT id, y, g, x FROM points;
ALTER TABLE parts ADD late int DEFAULT 7;
EXPLAIN (COSTS OFF) SELECT id, neural.predict('plain', p) FROM parts p;
SELECT same('SELECT p, neural.predict(''plain'', p) FROM parts p');
SELECT count(*) FILTER (WHERE neural.predict('plain', a) IS DISTINCT FROM neural.predict('plain', b)) AS differ,
       count(neural.predict('plain', a)) AS predicted FROM parts a JOIN points b USING (id);

-- where it is computed, on a machine without a GPU
SET neural.predict_device = auto;
EXPLAIN (COSTS OFF) SELECT neural.predict('plain', p) FROM points p LIMIT 3;
SELECT same('SELECT id, neural.predict(''plain'', p) FROM points p');
SET neural.predict_device = cuda;
EXPLAIN (COSTS OFF) SELECT neural.predict('plain', p) FROM points p LIMIT 3;
\set VERBOSITY terse
SELECT neural.predict('plain', p) FROM points p LIMIT 3;
\set VERBOSITY default
SELECT count(*) FROM points p WHERE false AND neural.predict('plain', p) > 0;
SET neural.predict_device = abacus;
RESET neural.predict_device;

-- what a subquery is given may be another model, label or version each time
SELECT same($$SELECT m, (SELECT max(neural.predict(m, p)) FROM points p WHERE id <> 250) FROM (VALUES ('plain'::regclass), ('vectors'), (NULL), ('plain')) v(m)$$);
SELECT same($$SELECT l, (SELECT max(neural.predict_proba('kinds', p, l)) FROM points p) FROM (VALUES ('a'), ('b'), (NULL), ('c')) v(l)$$);
SELECT same($$SELECT n, (SELECT max(neural.predict('plain', p, n)) FROM points p) FROM (VALUES (1), (2)) v(n)$$);
-- who stops of his own accord reads no further
SET enable_seqscan = off; SET enable_sort = off; SET enable_nestloop = off; SET enable_mergejoin = off;
SELECT same($$SELECT count(*) FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM points p WHERE neural.predict('plain', p) > -1000 AND 10 / (250 - id) < 1000) s WHERE n <= 3$$) !~ '^one by one' AS agrees;
SELECT same($$SELECT id, count(*) FROM (SELECT id, kind FROM points p WHERE neural.predict('plain', p) > -1000 AND 10 / (250 - id) < 1000) s GROUP BY GROUPING SETS ((id), (kind)) LIMIT 1$$) !~ '^one by one' AS agrees;
RESET enable_seqscan;
SELECT same($$SELECT count(*) FROM points p JOIN points e ON e.id = p.g AND e.id > 10000 WHERE neural.predict('plain', p) > 14.6 AND 10 / (250 - p.id) < 1000$$) !~ '^one by one' AS agrees;
RESET enable_sort; RESET enable_nestloop; RESET enable_mergejoin;
-- a subquery runs when a row asks for its value, or never
CREATE SEQUENCE asked;
SELECT same($$SELECT id, CASE WHEN id < 200 THEN neural.predict('plain', ROW(CASE WHEN id > 250 THEN (SELECT nextval('asked')::real) END, y)) END FROM points ORDER BY y$$), (SELECT is_called FROM asked);
SELECT same($$SELECT id, CASE WHEN id < 200 THEN neural.predict('plain', ROW(CASE WHEN id > 250 THEN (SELECT (1 / (q.id - 1))::real FROM points q WHERE q.id = 1) END, y)) END FROM points ORDER BY y$$);
SELECT is_called FROM asked;
SELECT same(format($$SELECT id FROM points p WHERE CASE WHEN id > %s THEN x > (SELECT 1 / (q.id - 1) FROM points q WHERE q.id = 1) ELSE true END AND neural.predict('plain', p) > %s LIMIT 1$$, q.id, q.s - 1e-9)) FROM (SELECT id, max(neural.predict('plain', p)) s FROM points p WHERE id < 8 GROUP BY 1 ORDER BY 2 DESC LIMIT 1) q;
-- others' functions are not shown rows that a policy hides, not even by the server's
CREATE TABLE hidden AS SELECT id, x, y, row_number() OVER (ORDER BY neural.predict('plain', p)) AS n FROM points p;
CREATE FUNCTION tells_of(x real) RETURNS bool LANGUAGE plpgsql STABLE AS $$ BEGIN IF x > 100 THEN RAISE NOTICE 'told of %', x; END IF; RETURN true; END $$;
CREATE DOMAIN told AS real CHECK (tells_of(VALUE));
CREATE TYPE told_row AS (x told, y real);
EXPLAIN (COSTS OFF) SELECT neural.predict('plain', jsonb_populate_record(NULL::told_row, jsonb_build_object('x', x, 'y', y))) FROM hidden;
-- who may not predict any more does not
CREATE ROLE regress_neural_nobody;
SELECT same($$SELECT count(s), max(r) FROM (SELECT CASE WHEN id = 50 THEN set_config('role', 'regress_neural_nobody', true) END r, neural.predict('plain', p) s FROM points p OFFSET 0) z$$);

-- the switch
SET neural.enable_batch = off;
EXPLAIN (COSTS OFF) SELECT neural.predict('plain', p) FROM points p;

DROP OWNED BY regress_batch;
DROP ROLE regress_batch, regress_neural_nobody;
DROP SCHEMA batch CASCADE;
