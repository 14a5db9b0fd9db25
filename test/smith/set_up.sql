-- set_up.sql: what the calls of smith.py are about.
SET client_min_messages = error;
CREATE EXTENSION neural;
CREATE TYPE size AS ENUM ('small', 'large');
CREATE DOMAIN label AS text CHECK (length(value) < 30);
CREATE TABLE sale AS SELECT i AS id, i % 7 AS n, CASE WHEN i % 9 > 0 THEN sin(i) END AS x, ('text ' || i % 5)::label AS t,
        (ARRAY['small', 'large'])[1 + i % 2]::size AS e, date '2024-01-01' + i AS d, ARRAY[i, -i]::real[] AS v,
        timestamptz '2024-01-01 UTC' + i * interval '5 hours' AS z, i * 1.25 AS q, i % 2 = 0 AS y, md5(i::text)::uuid AS u
    FROM generate_series(1, 60) i;
ALTER TABLE sale ADD PRIMARY KEY (id);
ALTER TABLE sale ADD COLUMN gone int;
ALTER TABLE sale DROP COLUMN gone;
CREATE TABLE nothing (id int, x real, y bool);
CREATE TABLE no_columns ();
CREATE TABLE odd AS SELECT 'NaN'::float8 AS x, 'infinity'::timestamp AS z, NULL::text AS t, 'infinity'::float8 AS i, '{}'::real[] AS v,
    '{{1,2},{3,4}}'::float8[] AS w, point(1, 2) AS p, '{"a": 1}'::jsonb AS j, (SELECT s FROM sale s LIMIT 1) AS r, true AS y FROM generate_series(1, 30);
CREATE VIEW seen AS SELECT id, x, y FROM sale;
CREATE TABLE parent (id int, x real, y bool) PARTITION BY RANGE (id);
CREATE TABLE parent_1 PARTITION OF parent FOR VALUES FROM (0) TO (50);
INSERT INTO parent SELECT id, x, y FROM sale WHERE id < 50;
CREATE SEQUENCE numbers;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM seen;
SELECT neural.train('m', 'sale', target => 'y', layers => 'a: dense(4, relu)', epochs => 1, seed => s, options => '{"activate": "always"}')
    FROM generate_series(1, 2) s;
SELECT neural.train('r', 'sale', target => 'x', layers => 'dense(4, relu) b: dense(3)', epochs => 1);
SELECT neural.train('c', 'sale', target => 't', features => '{n,x,v}', layers => 'dense(2)', epochs => 1);
SELECT neural.train('s', 'sale', target => 'e', features => '{n,z,d}', layers => 'dense(2)', epochs => 1);
SELECT neural.train('o', 'sale', target => 'y', features => '{n,v}', layers => 'dense(2)', epochs => 1);
SELECT neural.train('both', 'sale', targets => '{x,n}', features => '{t,d}', layers => 'dense(2)', epochs => 1);
CREATE TABLE empty OF neural.model_table;
CREATE TABLE asleep OF neural.model_table;
INSERT INTO asleep SELECT * FROM m;
UPDATE asleep SET active = false;
CREATE TABLE made (version int, active bool, model neural.model);
INSERT INTO made SELECT version, active, model FROM m;
CREATE TABLE by_hand OF neural.model_table;
INSERT INTO by_hand SELECT -1, true, NULL, model, 'infinity', '', '[]', '{"metric": 7, "value": "x"}', '{}', '' FROM r;
INSERT INTO by_hand SELECT 2147483647, NULL, '', model, NULL, NULL, 'null', '[1]', '[{"epoch": "x"}]', NULL FROM r;
CREATE TABLE held AS SELECT model, neural.export_model('m') AS bytes, model::text AS text FROM m WHERE active;
ANALYZE;
