-- disk.sql: a disk that is full, and limits that are reached, in the middle of
-- a training.  Each is its own SQLSTATE, and the version before stays as it was.
--
-- Runs after sweep.sql, in its database.  Needs the variable "seed"; prints what
-- is wrong, and lines "# ..." to look at.
SET client_min_messages = warning;
SELECT setseed((:seed % 100000) / 100000.0) IS NULL AS seeded \gset
CREATE TABLE big AS SELECT i AS id, sin(i)::real AS a, cos(i)::real AS b, i % 11 AS c, 'text ' || i % 50 AS d, i % 2 = 0 AS y
    FROM generate_series(1, 150000) i;
SELECT neural.train('large', 'sale', target => 'y', layers => 'dense(300) dense(100)', epochs => 1) \g /dev/null

CREATE FUNCTION stored() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(version || active::text || encode(sha256(neural.model_send(model)), 'hex'), ',' ORDER BY version)
        || (SELECT md5(string_agg(neural.predict('m', s)::text, ',' ORDER BY id)) FROM sale s) FROM m $$;

CREATE TABLE full_disk (what text, total bigint, tried int, failed int);

-- Let a write of a statement fail: the first, the last, and some between.
CREATE PROCEDURE fill_disk(what text, statement text, kind text, times int) LANGUAGE plpgsql AS $$
DECLARE
    r record;
    total bigint;
    before text := stored();
    n bigint;
    tried int := 0;
    failed int := 0;
BEGIN
    SELECT * INTO r FROM fault(statement, kind, 0);
    IF r.state <> 'ok' THEN
        RAISE WARNING '%: % %', what, r.state, r.message;
    END IF;
    total := r.seen;
    FOR n IN SELECT DISTINCT d FROM (SELECT 1 UNION SELECT total UNION SELECT 1 + floor(random() * total)
            FROM generate_series(1, times)) t(d) WHERE d BETWEEN 1 AND total LOOP
        SELECT * INTO r FROM fault(statement, kind, n);
        tried := tried + 1;
        failed := failed + (r.state = '53100')::int;
        -- a block that is not needed after all may be written late, or never
        IF r.state <> '53100' AND r.fired THEN
            RAISE WARNING '%: write % of %: % %', what, n, total, r.state, r.message;
        END IF;
        IF stored() <> before THEN
            RAISE WARNING '%: write % of %: the model has changed', what, n, total;
        END IF;
        IF EXISTS (SELECT FROM pg_ls_tmpdir()) THEN
            RAISE WARNING '%: write % of %: temporary files are left', what, n, total;
        END IF;
    END LOOP;
    INSERT INTO full_disk VALUES (what, total, tried, failed);
    IF failed = 0 THEN
        RAISE WARNING '%: nothing failed', what;
    END IF;
END $$;

SET neural.max_memory = '8MB';
CALL fill_disk('rows that do not fit', $$SELECT neural.train('m', 'big', target => 'y', layers => 'dense(4)', epochs => 1)$$, 'temporary', 6);
CALL fill_disk('rows of a group', $$SELECT set_config('work_mem', '64kB', true); SELECT neural.fit(g, 'y', '{"layers": "dense(4)", "epochs": 1}') FROM big g$$, 'temporary', 4);
RESET neural.max_memory;
CALL fill_disk('a version that is stored', $$SELECT neural.train('m', 'sale', target => 'y', layers => 'dense(300) dense(100)', epochs => 1)$$, 'relation', 10);
CALL fill_disk('a model that is made', $$SELECT neural.train('fresh', 'sale', target => 'y', layers => 'dense(300) dense(100)', epochs => 1)$$, 'relation', 10);
CALL fill_disk('a model that comes in', $$SELECT neural.import_model('m', neural.export_model('large'))$$, 'relation', 10);
SELECT format('# %s: %s of %s writes failed, %s with an error', what, tried, total, failed) FROM full_disk;

-- limits
CREATE PROCEDURE limited(what text, statement text, wanted text) LANGUAGE plpgsql AS $$
DECLARE
    before text := stored();
BEGIN
    BEGIN
        EXECUTE statement;
        RAISE WARNING '%: no error', what;
    EXCEPTION WHEN OTHERS THEN
        IF SQLSTATE <> wanted THEN
            RAISE WARNING '%: % %', what, SQLSTATE, SQLERRM;
        END IF;
    END;
    IF stored() <> before THEN
        RAISE WARNING '%: the model has changed', what;
    END IF;
END $$;
SET neural.max_memory = '8MB';
SET temp_file_limit = '512kB';
CALL limited('temp_file_limit', $$SELECT neural.train('m', 'big', target => 'y', layers => 'dense(4)', epochs => 1)$$, '53400');
RESET temp_file_limit;
CALL limited('neural.max_memory', $$SELECT neural.train('m', 'sale', target => 'y', layers => 'dense(4000) dense(1000)', epochs => 1)$$, '53400');
CALL limited('neural.max_memory of fit', $$SELECT neural.fit(s, 'y', '{"layers": "dense(4000) dense(1000)", "epochs": 1}') FROM sale s$$, '53400');
CALL limited('neural.max_memory of predicting', $$SELECT set_config('neural.model_cache_size', '0', true),
    set_config('neural.max_memory', '1GB', true); SELECT neural.train('wide', 'sale', target => 'y', features => '{n}',
    layers => 'dense(1) a: dense(1000000) b: relu add(a, b)', epochs => 1, batch_size => 8, validation => 'none'); SELECT set_config('neural.max_memory', '8MB', true);
    SELECT neural.predict('wide', s) FROM sale s$$, '54000');
CALL limited('a network larger than any memory', $$SELECT neural.train('m', 'sale', target => 'y', layers => 'dense(30000) dense(30000)', epochs => 1)$$, '54000');
RESET neural.max_memory;
SET neural.max_model_size = '64kB';
CALL limited('neural.max_model_size', $$SELECT neural.train('m', 'sale', target => 'y', layers => 'dense(300) dense(100)', epochs => 1)$$, '54000');
CALL limited('neural.max_model_size of import', $$SELECT neural.import_model('m', neural.export_model('large'))$$, '54000');
RESET neural.max_model_size;
