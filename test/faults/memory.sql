-- memory.sql: what a session takes, and keeps.
--
-- Runs after sweep.sql, in its database, in a session of its own for each of
-- its parts.  Needs the variables "part", and "limit" and "layers" or "times".
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.status(what text) RETURNS int LANGUAGE sql AS
    $$ SELECT (regexp_match(pg_read_file('/proc/self/status'), what || ':\s+(\d+)'))[1]::int $$;
SELECT :'part' = 'peak' AS peak, :'part' = 'predict' AS predict \gset

\if :peak
-- The greatest resident memory, in kilobytes, of a training with this setting.
SET neural.max_memory = :'limit';
SELECT neural.train('peak', 'wide', target => 'y', layers => :'layers', epochs => 1, batch_size => 256, options => '{"threads": 2}') \g /dev/null
SELECT pg_temp.status('VmHWM');
\elif :predict
-- How much more a session holds after "times" predictions.
PREPARE one AS SELECT neural.predict('m', s) FROM sale s WHERE id = $1;
CREATE PROCEDURE pg_temp.run(times int) LANGUAGE plpgsql AS $$
DECLARE
    row_of sale;
BEGIN
    -- batches, rows one by one, one call site again and again, models that come and go
    PERFORM set_config('neural.enable_batch', 'on', false);
    PERFORM count(neural.predict('m', s)) FROM sale s, generate_series(1, times / 120 / 4);
    PERFORM set_config('neural.enable_batch', 'off', false);
    PERFORM count(neural.predict('m', s)) + count(neural.classify('m', s)) FROM sale s, generate_series(1, times / 120 / 4 / 2);
    SELECT * INTO row_of FROM sale LIMIT 1;
    FOR i IN 1 .. times / 8 LOOP
        PERFORM neural.predict('m', row_of);
    END LOOP;
    PERFORM set_config('neural.model_cache_size', '0', false);
    FOR i IN 1 .. times / 100 LOOP
        PERFORM neural.predict('m', row_of, 1 + i % 2);
    END LOOP;
    PERFORM set_config('neural.model_cache_size', '64MB', false);
    PERFORM count(neural.predict_with(h.model, s)) + count(neural.predict_proba('m', s)) FROM sale s, held h, generate_series(1, times / 120 / 8);
END $$;
CALL pg_temp.run(20000);
SELECT pg_temp.status('RssAnon') AS before \gset
CALL pg_temp.run(:times);
SELECT pg_temp.status('RssAnon') - :before;
\else
-- How much more a session holds after "times" trainings.
CREATE PROCEDURE pg_temp.run(times int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. times LOOP
        PERFORM neural.train('m', 'sale', target => 'y', layers => 'dense(50) dense(50)', epochs => 1, options => '{"threads": 2}');
        PERFORM neural.prune('m', 2);
        COMMIT;
    END LOOP;
END $$;
CALL pg_temp.run(15);
SELECT pg_temp.status('RssAnon') AS before \gset
CALL pg_temp.run(:times);
SELECT pg_temp.status('RssAnon') - :before;
\endif
