-- test/batch.sql: what test/batch.sh queries, and how it compares.
SET client_min_messages = warning;
CREATE EXTENSION neural;
CREATE DOMAIN small AS float8 CHECK (VALUE < 5);
CREATE SEQUENCE counter;

-- some values are NULL, and some vectors have the wrong length
CREATE TABLE t (id int PRIMARY KEY, x real, y real, z float8, g int, kind text, v real[], n numeric);
INSERT INTO t
    SELECT i, CASE WHEN i % 23 <> 0 THEN i * 7 % 101 / 10.0 END, i * 13 % 97 / 10.0, i * 31 % 89 / 10.0, i % 5,
           (ARRAY['a', 'b', 'c'])[i % 3 + 1],
           CASE WHEN i % 37 = 0 THEN ARRAY[1, 2] ELSE ARRAY[i % 4, i % 7, i % 9] END, i / 7.0
      FROM generate_series(1, 150) i;
CREATE INDEX ON t (g);
CREATE INDEX ON t (x);
CREATE TABLE dropped (gone int, LIKE t);
ALTER TABLE dropped DROP COLUMN gone;
INSERT INTO dropped SELECT * FROM t WHERE id <= 40;
ALTER TABLE dropped ADD late int DEFAULT 5;
CREATE TABLE u AS SELECT id, x, y, z, g, kind, v, n FROM t WHERE id % 3 = 0;
CREATE TABLE parts (LIKE t) PARTITION BY LIST (g);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES IN (0, 1);
CREATE TABLE parts_high (v real[], n numeric, id int NOT NULL, x real, y real, z float8, g int, kind text);
ALTER TABLE parts ATTACH PARTITION parts_high FOR VALUES IN (2, 3, 4);
INSERT INTO parts SELECT * FROM t WHERE id <= 60;
CREATE EXTENSION file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
COPY t TO :'file' (FORMAT csv);
CREATE FOREIGN TABLE elsewhere (id int, x real, y real, z float8, g int, kind text, v real[], n numeric)
    SERVER files OPTIONS (filename :'file', format 'csv');
CREATE TABLE scores (id int, score float8);
INSERT INTO scores SELECT i * 2, i FROM generate_series(1, 20) i;

-- the first two are worth several threads
SELECT neural.train('plain', 't', target => 'z', features => '{x,y}', layers => 'dense(384) tanh dense(384) tanh', epochs => 2, seed => 1) IS NOT NULL,
       neural.train('picky', 'SELECT * FROM t WHERE id % 37 <> 0', target => 'z', features => '{x,v}', layers => 'dense(384) tanh dense(384) tanh', epochs => 2, seed => 2) IS NOT NULL,
       neural.train('kinds', 't', target => 'kind', features => '{x,y,g}', layers => 'dense(8) tanh', epochs => 5, seed => 3) IS NOT NULL,
       neural.train('large', 'SELECT x, y, 8000.0 * x AS big FROM t', target => 'big', layers => 'dense(8) tanh', learning_rate => 0.05, epochs => 20, seed => 4) IS NOT NULL;
SELECT neural.create_function('plain', 'plain');
CREATE TABLE held AS
    SELECT 1 AS id, model FROM plain UNION ALL SELECT 2, model FROM large UNION ALL SELECT 3, model FROM picky;

-- a function that tells of the rows it is shown
CREATE FUNCTION leak(id int) RETURNS bool LANGUAGE plpgsql STABLE COST 0.0001 AS $$
BEGIN
    IF id > 1000 THEN RAISE EXCEPTION 'leaked %', id; END IF;
    RETURN id % 4 <> 0;
END $$;
CREATE VIEW plain_view AS SELECT * FROM t WHERE g < 4;
CREATE VIEW barrier_view WITH (security_barrier) AS SELECT * FROM t WHERE neural.predict('plain', t) > 2;
CREATE VIEW predicting_view AS SELECT id, neural.predict('plain', t)::real AS x, y, z, g, kind, v, n FROM t;
CREATE TABLE guarded AS SELECT * FROM t WHERE id <= 60;
INSERT INTO guarded SELECT id + 1000, x, y, z, g, kind, v, n FROM guarded WHERE id <= 20;
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON guarded USING (id < 1000 AND neural.predict('plain', guarded) > 1);
DROP ROLE IF EXISTS neural_batch_reader;
CREATE ROLE neural_batch_reader;
GRANT ALL ON ALL TABLES IN SCHEMA public TO neural_batch_reader;
GRANT ALL ON SEQUENCE counter TO neural_batch_reader;
REVOKE ALL ON large FROM neural_batch_reader;

-- plans change with what is known of tables
DO $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT oid::regclass AS name FROM pg_class
              WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', r.name);
    END LOOP;
END $$;
ANALYZE;

-- Everything that a query returns, up to and with its error; what it did is
-- undone.
CREATE FUNCTION outcome(how text, query text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    lines text[] := '{}';
    r record;
    c refcursor;
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    DEALLOCATE ALL;
    PERFORM setval('counter', 1);
    BEGIN
        IF query !~ '^(SELECT|WITH)' THEN
            -- what is changed grows, and its plans with it: so on copies
            CREATE TEMP TABLE t (LIKE public.t INCLUDING ALL);
            CREATE TEMP TABLE scores (LIKE public.scores INCLUDING ALL);
            INSERT INTO t SELECT * FROM public.t;
            INSERT INTO scores SELECT * FROM public.scores;
            GRANT ALL ON t, scores TO neural_batch_reader;
        END IF;
        IF how = 'role' THEN
            SET LOCAL ROLE neural_batch_reader;
        END IF;
        IF query LIKE 'MERGE%' THEN
            EXECUTE query;
        ELSIF how = 'cursor' AND query ~ '^(SELECT|WITH)' THEN
            OPEN c FOR EXECUTE query;
            LOOP
                FETCH c INTO r;
                EXIT WHEN NOT FOUND;
                lines := lines || r::text;
            END LOOP;
            CLOSE c;
        ELSIF how = 'parallel' AND query ~ '^(SELECT|WITH)' THEN
            -- a loop reads by a cursor, which has no workers
            EXECUTE format('SELECT array_agg(whole::text) FROM (%s OFFSET 0) whole', query) INTO lines;
            lines := coalesce(lines, '{}');
        ELSE
            IF how = 'generic' THEN
                EXECUTE 'PREPARE q AS ' || query;
                SET LOCAL plan_cache_mode = force_generic_plan;
            END IF;
            FOR r IN EXECUTE CASE how WHEN 'generic' THEN 'EXECUTE q' ELSE query END LOOP
                lines := lines || r::text;
            END LOOP;
        END IF;
        RESET ROLE;
        IF query !~ '^(SELECT|WITH)' THEN
            FOR r IN EXECUTE 'SELECT t FROM t ORDER BY t.*::text' LOOP
                lines := lines || r::text;
            END LOOP;
            FOR r IN EXECUTE 'SELECT s FROM scores s ORDER BY s.*::text' LOOP
                lines := lines || r::text;
            END LOOP;
        END IF;
        RAISE SQLSTATE 'ZZ001';
    EXCEPTION
        WHEN SQLSTATE 'ZZ001' THEN
            NULL;
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
            IF how = 'parallel' THEN
                RETURN ARRAY['error']; -- whose comes first is chance
            END IF;
            lines := lines || format('%s %s %s %s', state, message, detail, hint);
    END;
    IF how = 'parallel' THEN
        lines := ARRAY(SELECT l FROM unnest(lines) l ORDER BY l COLLATE "C");
    END IF;
    RETURN lines;
END $$;

CREATE FUNCTION is_batched(query text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF line LIKE '%NeuralPredict%' THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
EXCEPTION WHEN OTHERS THEN
    RETURN false;
END $$;

-- "batched" or "scalar", and "failing" when it ends in an error; or how the
-- two ways differ.
CREATE FUNCTION check_query(number int, how text, settings text[], query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    one text[];
    many text[];
    kind text;
BEGIN
    FOR i IN 1 .. coalesce(array_length(settings, 1), 0) / 2 LOOP
        IF settings[2 * i - 1] = 'debug_parallel_query' AND current_setting('server_version_num')::int < 160000 THEN
            settings[2 * i - 1] := 'force_parallel_mode';
        END IF;
        PERFORM set_config(settings[2 * i - 1], settings[2 * i], true);
    END LOOP;
    IF how = 'cursor' THEN
        PERFORM set_config('neural.batch_cursors', 'on', true);
    END IF;
    PERFORM set_config('neural.enable_batch', 'off', true);
    one := outcome(how, query);
    PERFORM set_config('neural.enable_batch', 'on', true);
    many := outcome(how, query);
    kind := CASE WHEN is_batched(query) THEN 'batched' ELSE 'scalar' END
            || CASE WHEN one[array_upper(one, 1)] ~ '^([0-9A-Z]{5} |error$)' THEN ' failing' ELSE '' END;
    -- of two rows that fail, the one may be met that is read later, when it fails while it is read
    IF kind = 'batched failing' AND many[array_upper(many, 1)] ~ '^[0-9A-Z]{5} '
        AND one IS DISTINCT FROM many AND trim_array(one, 1) = trim_array(many, 1) THEN
        RETURN kind || ' otherwise';
    END IF;
    IF one IS DISTINCT FROM many THEN
        RETURN format(E'DIFFERENT %s (%s; %s; %s): %s\n\tone by one: %s\n\tin batches: %s', number, how, kind, settings, query,
                      left(array_to_string(one, ' | ', 'null'), 1500), left(array_to_string(many, ' | ', 'null'), 1500));
    END IF;
    IF how = 'role' AND array_to_string(many, ' ') LIKE '%leaked%' THEN
        RETURN format('DIFFERENT %s: leaked: %s', number, query);
    END IF;
    RETURN kind;
END $$;
