-- Versions: promote, rollback, prune, and what depends on a model.
CREATE SCHEMA versions;
SET search_path = versions, public;
SET client_min_messages = warning;

CREATE TABLE marks (id int PRIMARY KEY, x real, side text);
INSERT INTO marks SELECT i, i % 20 / 20.0, CASE WHEN i % 20 < 10 THEN 'left' ELSE 'right' END FROM generate_series(0, 99) i;
CREATE FUNCTION fit(seed int) RETURNS int LANGUAGE sql AS $$
    SELECT r.version FROM neural.train('m', 'marks', target => 'side', features => '{x}', layers => 'dense(4) tanh',
        learning_rate => 0.05, epochs => 30, seed => $1, options => '{"activate": "always"}') r $$;
SELECT fit(1), fit(2), fit(3), fit(4);
SELECT version, active FROM m ORDER BY version;

SELECT neural.promote('m', 2);
SELECT version, active FROM m ORDER BY version;
SELECT neural.promote('m', 2);
SELECT neural.rollback('m');
SELECT neural.rollback('m');
SELECT version FROM m WHERE active;
SELECT neural.prune('m', 2);
SELECT version, active FROM m ORDER BY version;
SELECT neural.prune('m', 0);
SELECT version, active FROM m ORDER BY version;
SELECT fit(5);

-- each statement of a transaction sees what it should
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT neural.promote('m', 1);
SAVEPOINT s;
SELECT neural.promote('m', 2);
ROLLBACK TO s;
SELECT version FROM m WHERE active;
ROLLBACK;
SELECT version FROM m WHERE active;

-- a view depends on the model that it predicts with
CREATE VIEW sides AS SELECT id, neural.classify('m', marks) AS side FROM marks;
SELECT side FROM sides WHERE id IN (3, 13) ORDER BY id;
DROP TABLE m;
ALTER TABLE m RENAME TO renamed;
SELECT side FROM sides WHERE id IN (3, 13) ORDER BY id;
SELECT pg_get_viewdef('sides') LIKE '%classify(''renamed''::regclass, %' AS "by its new name";
CREATE SCHEMA elsewhere;
ALTER TABLE renamed SET SCHEMA elsewhere;
SELECT side FROM sides WHERE id IN (3, 13) ORDER BY id;
ALTER TABLE elsewhere.renamed SET SCHEMA versions;
ALTER TABLE renamed RENAME TO "Quoted ""name""; DROP TABLE marks";
SELECT side FROM sides WHERE id IN (3, 13) ORDER BY id;
SELECT neural.promote('"Quoted ""name""; DROP TABLE marks"', 1);
SELECT count(*) FROM neural.versions('"Quoted ""name""; DROP TABLE marks"');
SELECT neural.prune('"Quoted ""name""; DROP TABLE marks"');
ALTER TABLE "Quoted ""name""; DROP TABLE marks" RENAME TO m;

-- a version that takes the place of another one on disk
CREATE TABLE near AS SELECT i / 100.0::real AS x, i / 100.0::real AS y FROM generate_series(0, 99) i;
CREATE TABLE far AS SELECT x, y + 100 AS y FROM near;
CREATE FUNCTION go(name text) RETURNS int LANGUAGE sql AS $$
    SELECT r.version FROM neural.train('place', name, target => 'y', layers => 'dense(64, relu) dense(64, relu)',
        epochs => 5, seed => 1, options => '{"activate": "always"}') r $$;
SELECT go('near');
SELECT min(pg_column_size(model)) > 8192 AS "outside of its row" FROM place;
SELECT neural.predict('place', near) > 50 AS far FROM near LIMIT 1;
DELETE FROM place;
VACUUM place;
SELECT go('far');
SELECT neural.predict('place', near) > 50 AS far FROM near LIMIT 1;
SELECT go('near');
VACUUM FULL place;
SELECT neural.predict('place', near) > 50 AS far FROM near LIMIT 1;
BEGIN;
UPDATE place SET active = NOT active WHERE active;
UPDATE place SET active = NOT active WHERE version = 1;
SELECT neural.predict('place', near) > 50 AS far FROM near LIMIT 1;
ROLLBACK;
SELECT neural.predict('place', near) > 50 AS far FROM near LIMIT 1;

-- who predicts with a model relies on what it predicts; scores of other rows do not compare
CREATE TABLE land AS SELECT i AS id, i % 50 AS a, i % 7 AS b, i % 50 * 2.0 AS price, i % 7 * 3.0 AS rent FROM generate_series(1, 400) i;
SET client_min_messages = notice;
SELECT version, active FROM neural.train('land_m', 'land', target => 'price', features => '{a, b}', layers => 'dense(4)', epochs => 2, seed => 1);
SELECT version, active FROM neural.train('land_m', 'land', target => 'rent', features => '{a, b}', layers => 'dense(4)', epochs => 2, seed => 1);
SELECT version, active FROM neural.train('land_m', 'SELECT * FROM land WHERE id < 60', target => 'price', features => '{a, b}', layers => 'dense(4)', epochs => 2, seed => 1, validation => 'none');
SELECT version, active FROM neural.train('land_m', 'land', target => 'price', features => '{a, b}', layers => 'dense(4)', epochs => 2, seed => 1);
SELECT neural.import_model('land_m', neural.export_model('land_m', 2));
SELECT neural.import_model('land_m', neural.export_model('land_m', 1));
SELECT version, active FROM land_m ORDER BY version;
SET client_min_messages = warning;

-- what is refused
SELECT neural.promote('m', 77);
SELECT neural.promote('marks', 1);
SELECT neural.rollback('m');
SELECT neural.prune('m', -1);
UPDATE m SET active = false;
SELECT neural.rollback('m');
SELECT neural.classify('m', marks) FROM marks LIMIT 1;
INSERT INTO m (version, active, model) SELECT 8, true, model FROM m WHERE version = 1;
INSERT INTO m (version, active, model) SELECT 9, true, model FROM m WHERE version = 1;
SET default_transaction_read_only = on;
SELECT neural.promote('m', 1);
SELECT neural.rollback('m');
SELECT neural.prune('m', 1);
SELECT neural.import_model('n', neural.export_model('m'));
SELECT neural.create_function('m', 'f');
SELECT neural.grant_predict('m', 'public');
SELECT DISTINCT neural.classify('m', marks) FROM marks ORDER BY 1;
RESET default_transaction_read_only;

SET client_min_messages = error;
DROP SCHEMA versions CASCADE;
DROP SCHEMA elsewhere CASCADE;
