-- Trainings in the background.
CREATE SCHEMA jobs;
SET search_path = jobs, public;
SET client_min_messages = warning;
\set SHOW_CONTEXT never
DELETE FROM neural.job;
CREATE TABLE points AS
    SELECT i AS id, (i % 40)::real AS x, (i % 40) * 2.0::float8 AS y FROM generate_series(1, 800) i;
-- the state that a job ends with
CREATE FUNCTION ending(job bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE s text;
BEGIN
    FOR i IN 1..6000 LOOP
        SELECT state INTO s FROM neural.jobs WHERE id = job;
        EXIT WHEN s IS NULL OR s NOT IN ('queued', 'running');
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN s;
END $$;

-- wait for so many, in a transaction
CREATE FUNCTION workers(expected int) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..3000 LOOP
        PERFORM pg_stat_clear_snapshot();
        IF (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'neural job') = expected THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN false;
END $$;

-- until no worker is left, be it of a transaction that was rolled back
CREATE PROCEDURE quiet() LANGUAGE plpgsql AS $$
BEGIN
    WHILE EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'neural job') LOOP
        PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
    END LOOP;
END $$;

-- done: the same model as neural.train makes, whatever the session's settings
SET DateStyle = 'SQL, DMY';
SELECT neural.train_async('m', 'SELECT x, y FROM points WHERE date ''31/12/2023'' < now()', target => 'y', layers => 'dense(4)', epochs => 3, seed => 5,
    options => '{"note": "later"}') AS job \gset
SELECT ending(:job);
SELECT r.version FROM neural.train('direct', 'SELECT x, y FROM points WHERE date ''31/12/2023'' < now()', target => 'y', layers => 'dense(4)', epochs => 3, seed => 5) r;
RESET DateStyle;
SELECT neural.describe(m.model) ->> 'sha256' = neural.describe(d.model) ->> 'sha256' AS same, m.note, m.trained_by = current_user AS mine FROM m, direct d;
SELECT kind, model, role = current_user AS mine, state, report LIKE 'version 1 of jobs.m is active: r2 %' AS report,
       result -> 'version' AS version, result ->> 'task' AS task, message, submitted <= started AND started <= finished AS ordered
  FROM neural.jobs WHERE id = :job;
SELECT neural.retrain_async('m', options => '{"activate": "always"}') AS job \gset
SELECT ending(:job);
SELECT kind, state, report LIKE 'version 2 of jobs.m is active: %, version 1 has %' AS report, result FROM neural.jobs WHERE id = :job;
SELECT neural.train_async('by_options', 'points', options => '{"target": "y", "features": ["x"], "layers": "dense(1)", "epochs": 1}') AS job \gset
SELECT ending(:job);

-- failed: with the whole error
SELECT neural.train_async('bad', 'points', target => 'y', layers => 'dens(4)') AS job \gset
SELECT ending(:job);
SELECT message, error FROM neural.jobs WHERE id = :job;
SELECT to_regclass('bad');
-- what can be found wrong now is an error now
SELECT neural.train_async('bad', 'nowhere', target => 'y');
SELECT neural.train_async('bad', 'points', target => 'y', options => '{"epoch": 1}');
SELECT neural.train_async('points', 'points', target => 'y');
SELECT neural.train_async(NULL, 'points', target => 'y');
SELECT neural.retrain_async('points');
SELECT neural.retrain_async(NULL);
SELECT neural.retrain_async('m', options => '[1]');
SELECT neural.retrain_async('m', options => '{"epoch": 1}');
SET default_transaction_read_only = on;
SELECT neural.train_async('bad', 'points', target => 'y');
SELECT neural.cancel(1);
RESET default_transaction_read_only;

-- a job begins when its transaction commits, and not at all when that rolls back
SELECT count(*) FROM neural.job;
BEGIN;
SELECT neural.train_async('rolled_back', 'points', target => 'y', layers => 'dense(1)', epochs => 1) IS NOT NULL AS asked;
SELECT state FROM neural.jobs WHERE model = 'jobs.rolled_back';
ROLLBACK;
CALL quiet();
SELECT count(*) FROM neural.job;
BEGIN;
SELECT neural.train_async('committed', 'points', target => 'y', layers => 'dense(1)', epochs => 1) AS job \gset
SELECT pg_sleep(0.2);
SELECT state FROM neural.jobs WHERE id = :job;
SAVEPOINT s;
SELECT neural.train_async('rolled_back', 'points', target => 'y', layers => 'dense(1)', epochs => 1) IS NOT NULL AS asked;
SELECT workers(2);
ROLLBACK TO s;
-- the worker of what is undone ends at once, not with the transaction
SELECT workers(1);
COMMIT;
SELECT ending(:job);
SELECT to_regclass('committed') IS NOT NULL AS there, to_regclass('rolled_back');

CALL quiet();

-- cancelled: before and after it has begun
BEGIN;
SELECT neural.train_async('never', 'points', target => 'y') AS job \gset
SELECT neural.cancel(:job);
COMMIT;
SELECT ending(:job);
SELECT to_regclass('never');
SELECT neural.train_async('never', 'points', target => 'y', layers => 'dense(64, relu) dense(64, relu)', epochs => 1000000) AS job \gset
DO $$ BEGIN WHILE EXISTS (SELECT FROM neural.jobs WHERE state = 'queued') LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT pid = (SELECT pid FROM pg_stat_activity WHERE backend_type = 'neural job') AS pid, state FROM neural.jobs WHERE id = :job;
SELECT neural.cancel(:job);
SELECT ending(:job);
SELECT error ->> 'sqlstate' AS sqlstate, to_regclass('never') FROM neural.jobs WHERE id = :job;
SELECT neural.cancel(:job);
SELECT neural.cancel(-1);

-- lost: whoever worked on it is gone
SELECT neural.train_async('never', 'points', target => 'y', layers => 'dense(64, relu) dense(64, relu)', epochs => 1000000) AS job \gset
DO $$ BEGIN WHILE EXISTS (SELECT FROM neural.jobs WHERE state = 'queued') LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT pg_terminate_backend(pid, 10000) FROM neural.jobs WHERE id = :job;
SELECT ending(:job);
SELECT started IS NOT NULL AS started, finished FROM neural.jobs WHERE id = :job;
SELECT neural.cancel(:job);

-- as many as neural.max_workers at a time
BEGIN;
SELECT neural.train_async('never', 'points', target => 'y') IS NOT NULL AS one;
SELECT neural.train_async('never', 'points', target => 'y') IS NOT NULL AS two;
SAVEPOINT s;
SELECT neural.train_async('never', 'points', target => 'y');
ROLLBACK TO s;
SET LOCAL neural.max_workers = 64;
\set VERBOSITY terse
SELECT count(neural.train_async('never', 'points', target => 'y')) FROM generate_series(1, 60);
\set VERBOSITY default
ROLLBACK;
CALL quiet();
SET neural.max_workers = 0;
SELECT neural.train_async('never', 'points', target => 'y');
RESET neural.max_workers;

-- the place of what was undone, or has ended, is free at once
SET neural.max_workers = 1;
CREATE PROCEDURE undo(times int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..times LOOP
        PERFORM neural.train_async('never', 'points', target => 'y');
        ROLLBACK;
        PERFORM neural.cancel(neural.train_async('never', 'points', target => 'y'));
        COMMIT;
    END LOOP;
END $$;
CALL undo(10);
CALL quiet();
RESET neural.max_workers;

-- one sees, and ends, one's own
CREATE ROLE regress_neural_worker LOGIN;
CREATE ROLE regress_neural_watcher LOGIN;
CREATE ROLE regress_neural_nologin;
GRANT ALL ON SCHEMA jobs TO regress_neural_worker, regress_neural_nologin;
GRANT SELECT ON points TO regress_neural_worker, regress_neural_nologin;
CREATE TABLE secret AS SELECT * FROM points;
SET ROLE regress_neural_worker;
SELECT count(*) FROM neural.jobs;
SELECT neural.train_async('theirs', 'points', target => 'y', layers => 'dense(1)', epochs => 1) AS job \gset
SELECT jobs.ending(:job);
SELECT role, state FROM neural.jobs;
SELECT neural.train_async('theirs', 'secret', target => 'y') AS job \gset
SELECT jobs.ending(:job);
SELECT message, error ->> 'sqlstate' AS sqlstate FROM neural.jobs WHERE id = :job;
-- a row that is not one's own, or that says what one may not do, is of no use
INSERT INTO neural.job (owner, kind, model, request) SELECT oid, 'train', 'x', '{}' FROM pg_roles WHERE rolname = session_user;
UPDATE neural.job SET owner = 10;
INSERT INTO neural.job (owner, kind, model, request) SELECT oid, 'train', 'x', '{}' FROM pg_roles WHERE rolname = current_user;
-- nor can a number be taken that another's job will get
INSERT INTO neural.job (id, owner, kind, model, request) OVERRIDING SYSTEM VALUE
    SELECT 100000, oid, 'train', 'x', '{}' FROM pg_roles WHERE rolname = current_user;
UPDATE neural.job SET id = DEFAULT;
SELECT state FROM neural.jobs WHERE model = 'x';
RESET ROLE;
SELECT trained_by, relowner::regrole FROM theirs, pg_class WHERE relname = 'theirs';
SET ROLE regress_neural_watcher;
SELECT count(*) FROM neural.jobs;
\set VERBOSITY sqlstate
SELECT neural.cancel(:job);
\set VERBOSITY default
SELECT count(*) FROM neural.progress;
RESET ROLE;
GRANT pg_read_all_stats TO regress_neural_watcher;
SET ROLE regress_neural_watcher;
SELECT count(*) > 5 AS all FROM neural.jobs;
UPDATE neural.job SET state = 'done' WHERE state = 'failed';
SELECT neural.cancel(:job);
RESET ROLE;
SELECT count(*) > 0 AS failed FROM neural.jobs WHERE state = 'failed';
SET ROLE regress_neural_nologin;
SELECT neural.train_async('x', 'points', target => 'y');
RESET ROLE;
-- one that may not connect
SELECT current_database() AS db \gset
REVOKE CONNECT ON DATABASE :"db" FROM PUBLIC;
SET ROLE regress_neural_worker;
SELECT neural.train_async('theirs', 'points', target => 'y');
RESET ROLE;
GRANT CONNECT ON DATABASE :"db" TO PUBLIC;
-- what the role has set for its sessions is not in the way of a job
ALTER ROLE regress_neural_worker SET row_security = off;
ALTER ROLE regress_neural_worker SET lock_timeout = '50ms';
ALTER ROLE regress_neural_worker SET default_transaction_read_only = on;
ALTER ROLE regress_neural_worker SET default_transaction_isolation = serializable;
SET ROLE regress_neural_worker;
BEGIN;
SELECT neural.train_async('theirs', 'points', target => 'y', layers => 'dense(1)', epochs => 1) AS job \gset
SELECT pg_sleep(0.2);
COMMIT;
SELECT jobs.ending(:job);
RESET ROLE;

SET client_min_messages = error;
DELETE FROM neural.job;
DROP SCHEMA jobs CASCADE;
DROP ROLE regress_neural_worker, regress_neural_watcher, regress_neural_nologin;
