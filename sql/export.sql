-- Models as bytes and as text; bytes that are not a model.
CREATE SCHEMA export;
SET search_path = export, public;
SET client_min_messages = warning;

CREATE TABLE marks (id int PRIMARY KEY, x real, kind text, height float8);
INSERT INTO marks SELECT i, i % 20 / 20.0, (ARRAY['a', 'b', 'ü'])[i % 3 + 1], i % 20 / 10.0 FROM generate_series(0, 99) i;
SELECT r.version FROM neural.train('m', 'marks', target => 'height', features => '{x,kind}', layers => 'dense(8) tanh',
    learning_rate => 0.05, epochs => 30, seed => 1) r;

-- out and in again: the same bytes, the same predictions
SELECT neural.import_model('copy', neural.export_model('m'), 'from m');
SELECT neural.import_model('copy', neural.export_model('m', 1));
SELECT version, active, status, task, note FROM neural.versions('copy');
SELECT count(*) FILTER (WHERE neural.predict('m', marks) IS DISTINCT FROM neural.predict('copy', marks)) AS differ,
       count(neural.predict('m', marks)) AS predicted FROM marks;
SELECT neural.export_model('m') = neural.export_model('copy') AS bytes,
       neural.export_model('m') = neural.model_send(model) AS sent,
       (model::text::neural.model)::text = model::text AS text, left(model::text, 4) AS prefix
  FROM m;
SELECT attstorage, (SELECT attstorage FROM pg_attribute WHERE attrelid = 'm'::regclass AND attname = 'version') AS of_version
  FROM pg_attribute WHERE attrelid = 'm'::regclass AND attname = 'model';
CREATE TABLE held (name text, model neural.model);
INSERT INTO held SELECT 'one', model::text::neural.model FROM m;
SELECT count(*) FILTER (WHERE neural.predict_with(held.model, marks) IS DISTINCT FROM neural.predict('m', marks)) AS differ,
       count(neural.predict('m', marks)) AS predicted FROM held, marks;
SELECT neural.predict_with(NULL, marks) IS NULL AS model, neural.classify_with(NULL, marks) IS NULL AS classify FROM marks LIMIT 1;

-- bytes that are not a model
CREATE FUNCTION try(bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM neural.import_model('never', bytes);
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
-- a digest that is right, over whatever follows
CREATE FUNCTION forge(bytes bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT overlay(bytes PLACING sha256(substr(bytes, 57)) FROM 25) $$;
CREATE TABLE bytes AS SELECT neural.export_model('m') AS b;
SELECT neural.import_model('never', '');
SELECT neural.import_model('never', 'not a model, but long enough to hold the header of one, were it one of them');
-- its length depends on the device's name
\set VERBOSITY sqlstate
SELECT neural.import_model('never', substr(b, 1, 100)) FROM bytes;
\set VERBOSITY default
SELECT neural.import_model('never', set_byte(b, length(b) / 2, get_byte(b, length(b) / 2) # 1)) FROM bytes;
-- written by a newer version, for readers of this one as well; and for newer readers only
SELECT neural.import_model('newer', set_byte(b, 8, 200)) FROM bytes;
SELECT neural.import_model('never', forge(set_byte(set_byte(b, 8, 200), 12, 200))) FROM bytes;
SELECT try(forge(b)) FROM bytes;
SELECT try(b || '\x00') AS longer, try(forge(b || '\x00')) AS longer_forged FROM bytes;
-- every byte changed, the digest made right: the checksums of the sections see it
SELECT try(forge(set_byte(b, i, get_byte(b, i) # 255))) AS result, count(*) > 0 AS some
  FROM bytes, generate_series(64, (SELECT length(b) - 1 FROM bytes), 7) i GROUP BY 1 ORDER BY 1;
-- every length: nothing is read past the end
SELECT DISTINCT try(forge(substr(b, 1, n))) FROM bytes, generate_series(64, (SELECT length(b) - 1 FROM bytes), 13) n ORDER BY 1;
SELECT 'nn2:AAAA'::neural.model;
SELECT 'nn1:AA-A'::neural.model;
SELECT 'nn1:'::neural.model;
-- its length depends on the device's name
\set VERBOSITY sqlstate
SELECT left(model::text, 120)::neural.model FROM m;
\set VERBOSITY default
SELECT left(model::text, 121)::neural.model FROM m;
SELECT neural.import_model('never', NULL);
SELECT neural.import_model('marks', neural.export_model('m'));
SELECT neural.import_model('nowhere.m', neural.export_model('m'));
SELECT neural.import_model('a.b.c.d', neural.export_model('m'));
SELECT neural.export_model('marks');
SELECT neural.export_model('m', 4);
SET neural.max_model_size = '64kB';
SELECT neural.import_model('never', decode(repeat('00', 70000), 'hex'));
RESET neural.max_model_size;
SELECT count(*) AS imported FROM never;

-- damage below: what is stored is checked again when it is loaded
CREATE FUNCTION unchecked(bytea) RETURNS neural.model LANGUAGE internal AS 'byteasend';
UPDATE copy SET model = unchecked(set_byte(set_byte(neural.export_model('m'), 600, 1), 30, 77)) WHERE active;
\set VERBOSITY sqlstate
SELECT neural.predict('copy', marks) FROM marks LIMIT 1;
UPDATE copy SET model = unchecked(substr(neural.export_model('m'), 1, 20)) WHERE active;
SELECT neural.predict('copy', marks) FROM marks LIMIT 1;
UPDATE copy SET model = unchecked(overlay(substr(neural.export_model('m'), 1, 200) PLACING '\x05'::bytea FROM 30)) WHERE active;
SELECT neural.describe(model) FROM copy WHERE active;
\set VERBOSITY default

SET client_min_messages = error;
DROP SCHEMA export CASCADE;
