-- sweep.sql: every statement with every allocation failing, one at a time.
--
-- Needs the variables "module", "copies" (a file for COPY), "budget" (how many
-- allocations of a kind are made to fail, for each statement; 0 is all of them)
-- and "seed".  Prints what is wrong, and lines "# ..." to look at.
SET client_min_messages = warning;
CREATE EXTENSION neural;
CREATE FUNCTION fault(statement text, kind text, n bigint, OUT state text, OUT message text, OUT fired bool, OUT seen bigint)
    AS :'module' LANGUAGE C;
CREATE FUNCTION watch(kind text) RETURNS void AS :'module' LANGUAGE C;
CREATE FUNCTION heap_bytes() RETURNS bigint AS :'module' LANGUAGE C;

CREATE TYPE size AS ENUM ('small', 'large');
CREATE TABLE sale AS SELECT i AS id, i % 7 AS n, CASE WHEN i % 9 > 0 THEN sin(i) END AS x, 'text ' || i % 5 AS t,
        (ARRAY['small', 'large'])[1 + i % 2]::size AS e, date '2024-01-01' + i AS d, ARRAY[i, -i]::real[] AS v,
        timestamptz '2024-01-01 UTC' + i * interval '5 hours' AS z, i * 1.25 AS q, i % 2 = 0 AS y
    FROM generate_series(1, 120) i;
ALTER TABLE sale ADD PRIMARY KEY (id);
CREATE ROLE neural_fault_reader;
SELECT neural.train('m', 'sale', target => 'y', layers => 'a: dense(4, relu)', epochs => 1, seed => seed,
    options => '{"activate": "always"}') IS NULL FROM generate_series(1, 2) seed \g /dev/null
SELECT neural.train('r', 'sale', target => 'x', layers => 'dense(4, relu)', epochs => 1) IS NULL \g /dev/null
SELECT neural.train('numbers', 'sale', target => 'y', features => '{n,v}', layers => 'dense(2)', epochs => 1) IS NULL \g /dev/null
SELECT neural.train('broad', 'sale', target => 'y', features => '{n,v}', layers => 'dense(256, relu) dense(256)', epochs => 1) IS NULL \g /dev/null
SELECT neural.train('both', 'sale', targets => '{x,n}', features => '{t,d}', layers => 'dense(2)', epochs => 1) IS NULL \g /dev/null
CREATE TABLE held AS SELECT model, model::text AS text, neural.export_model('m') AS bytes FROM m WHERE active;
COPY (SELECT model FROM held) TO :'copies' (FORMAT binary);
CREATE TABLE copied (model neural.model);
ALTER TABLE r ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON r USING (version > 0);
GRANT SELECT ON r, sale TO neural_fault_reader;
CREATE FUNCTION as_reader() RETURNS bigint SECURITY DEFINER LANGUAGE plpgsql AS
    $$ BEGIN RETURN count(neural.predict('r', s)) FROM sale s; END $$;
ALTER FUNCTION as_reader OWNER TO neural_fault_reader;

CREATE TABLE statement (name text PRIMARY KEY, sql text);
INSERT INTO statement VALUES
    ('predict, batch', 'SELECT neural.predict(''m'', s), neural.predict(''r'', s) FROM sale s'),
    ('predict, threads', 'SELECT set_config(''neural.predict_threads'', ''3'', true), set_config(''neural.batch_rows'', ''64'', true);
        SELECT neural.predict(''broad'', s) FROM sale s'),
    ('predict, scalar', 'SELECT set_config(''neural.enable_batch'', ''off'', true); SELECT neural.predict(''m'', s) FROM sale s'),
    ('predict, not cached', 'SELECT set_config(''neural.model_cache_size'', ''0'', true); SELECT neural.predict(''m'', s) FROM sale s'),
    ('predict, array', 'SELECT neural.predict(''numbers'', ARRAY[n, 1, 2]::float8[]) FROM sale'),
    ('predict, row security', 'SELECT as_reader()'),
    ('classify', 'SELECT neural.classify(''m'', s) FROM sale s'),
    ('predict_proba', 'SELECT neural.predict_proba(''m'', s), neural.predict_proba(''m'', s, ''true'') FROM sale s'),
    ('predict_as, predict_all', 'SELECT neural.predict_as(''m'', s, NULL::bool), neural.predict_all(''both'', s) FROM sale s'),
    ('embed', 'SELECT neural.embed(''m'', s, ''a'') FROM sale s'),
    ('by value', 'SELECT neural.predict_with(h.model, s), neural.classify_with(h.model, s), neural.predict_proba_with(h.model, s) FROM sale s, held h'),
    ('by value, not cached', 'SELECT set_config(''neural.model_cache_size'', ''0'', true); SELECT neural.predict_with(h.model, s) FROM sale s, held h'),
    ('train', 'SELECT neural.train(''m'', ''sale'', target => ''y'', layers => ''dense(4, relu) dropout(0.1) batch_normalization'', epochs => 2)'),
    ('train, a new model', 'SELECT neural.train(''fresh'', ''SELECT * FROM sale'', target => ''t'', epochs => 1, batch_size => 40,
        optimizer => ''adamw'', options => ''{"threads": 2, "schedule": "cosine", "class_weight": "balanced"}'')'),
    ('train, by time', 'SELECT neural.train(''r'', ''sale'', target => ''x'', layers => ''dense(2)'', epochs => 2, validation => ''time:z'',
        options => ''{"columns": {"t": "category(encode = embedding)"}, "sample_weight": "n"}'')'),
    ('train, by group', 'SELECT neural.train(''both'', ''sale'', targets => ''{x,n}'', layers => ''dense(2)'', epochs => 1, validation => ''group:t'')'),
    ('fit', 'SELECT e, neural.fit(s, ''x'', ''{"layers": "dense(2)", "epochs": 1, "threads": 1}'') FROM (SELECT e, x, n, t FROM sale) s GROUP BY e'),
    ('evaluate', 'SELECT a, b FROM neural.evaluate(''m'', ''sale'') a, neural.evaluate(''r'', ''SELECT * FROM sale'') b'),
    ('input', 'SELECT text::neural.model IS NULL FROM held'),
    ('receive', format('COPY copied FROM %L (FORMAT binary)', :'copies')),
    ('output', 'SELECT model::text, neural.model_send(model) FROM held'),
    ('import', 'SELECT neural.import_model(''m'', bytes, ''note'') FROM held'),
    ('import, a new model', 'SELECT neural.import_model(''fresh'', bytes) FROM held'),
    ('export', 'SELECT neural.export_model(''m'', 1)'),
    ('look', 'SELECT neural.summary(''m''), neural.describe(model) FROM held'),
    ('lists', 'SELECT v, f, l, w, h FROM neural.versions(''m'') v, neural.features(''m'') f, neural.layers(''m'') l, neural.weights(''m'') w, neural.history(''m'') h'),
    ('vocabulary', 'SELECT v, d FROM neural.vocabulary() v, neural.devices d'),
    ('versions', 'SELECT neural.promote(''m'', 1); SELECT neural.promote(''m'', 2); SELECT neural.rollback(''m''); SELECT neural.prune(''m'', 1)'),
    ('create_function', 'SELECT neural.create_function(''m'', ''wrapped''), neural.create_function(''both'', ''wrapped_both'')'),
    ('grant_predict', 'SELECT neural.grant_predict(''m'', ''neural_fault_reader'')');

CREATE FUNCTION our_contexts() RETURNS bigint LANGUAGE sql AS
    $$ SELECT count(*) FROM pg_backend_memory_contexts WHERE name LIKE 'neural%' AND name NOT IN ('neural models', 'neural model') $$;

-- Make up to "budget" of the things of a kind fail that a statement does.
CREATE PROCEDURE sweep(s statement, kind text, budget int) LANGUAGE plpgsql AS $$
DECLARE
    r record;
    total bigint;
    tried int := 0;
    failed int := 0;
    contexts bigint;
    heap bigint;
    n bigint;
BEGIN
    -- twice: the first fills caches
    FOR i IN 1 .. 3 LOOP
        SELECT * INTO r FROM fault(s.sql, kind, 0);
        IF r.state <> 'ok' THEN
            RAISE EXCEPTION '% (%): % %', s.name, kind, r.state, r.message;
        END IF;
    END LOOP;
    total := r.seen;
    contexts := our_contexts();
    heap := heap_bytes();
    FOR n IN SELECT g FROM generate_series(1, total) g WHERE budget = 0 OR random() * total < budget LOOP
        SELECT * INTO r FROM fault(s.sql, kind, n);
        tried := tried + r.fired::int;
        failed := failed + (r.state = '53200')::int;
        IF r.state NOT IN ('ok', '53200') OR (r.state <> 'ok' AND NOT r.fired) THEN
            RAISE WARNING '%: % % of %: % %', s.name, kind, n, total, r.state, r.message;
        END IF;
    END LOOP;
    SELECT * INTO r FROM fault(s.sql, kind, 0);
    IF r.state <> 'ok' THEN
        RAISE WARNING '%: % afterwards: % %', s.name, kind, r.state, r.message;
    END IF;
    IF our_contexts() <> contexts THEN
        RAISE WARNING '%: % leaves % memory contexts behind', s.name, kind, our_contexts() - contexts;
    END IF;
    -- what the server's own caches grow by is bounded, and a leak is not
    IF heap_bytes() - heap > 1048576 + tried * 100 THEN
        RAISE WARNING '%: % leaves % bytes behind after % failures', s.name, kind, heap_bytes() - heap, tried;
    END IF;
    INSERT INTO swept VALUES (s.name, kind, total, tried, failed, heap_bytes() - heap);
END $$;

CREATE TABLE swept (name text, kind text, total bigint, tried int, failed int, bytes bigint);
SELECT setseed((:seed % 100000) / 100000.0) IS NULL AS seeded \gset
SELECT format('CALL sweep(%L::statement, %L, %s)', s, kind, :budget)
  FROM statement s, unnest(CASE WHEN current_setting('server_version_num')::int < 170000 THEN '{malloc,palloc}' ELSE '{malloc}' END::text[]) kind
 ORDER BY 1 \gexec
SELECT format('# %s: %s of %s %ss failed, %s of them with an error; %s bytes more', name, tried, total, kind, failed, bytes) FROM swept;
SELECT format('# in all %s failures of %s allocations, of which %s were errors', sum(tried), sum(total), sum(failed)) FROM swept;
-- a sweep in which hardly anything fails is none
SELECT 'too few failures' FROM swept HAVING sum(failed) < 0.8 * sum(tried) OR count(*) FILTER (WHERE failed = 0) > count(*) / 10;
