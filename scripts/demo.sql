-- What scripts/demo shows.  Run it yourself with psql from the top folder, in
-- a database you do not mind: it makes tables.
\set ECHO queries
SET client_min_messages = warning;

\echo
\echo === The irises of Fisher: 150 flowers, four measurements, three species ===
\echo
CREATE EXTENSION neural;
CREATE TABLE iris (sepal_length real, sepal_width real, petal_length real,
                   petal_width real, species text, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
\copy iris (sepal_length, sepal_width, petal_length, petal_width, species) FROM 'data/iris.csv' WITH (FORMAT csv, HEADER)

\echo
\echo --- train on four of five flowers; everything but the target has a default
\echo
\x on
SELECT * FROM neural.train('flower', 'SELECT sepal_length, sepal_width, petal_length, petal_width, species
                                       FROM iris WHERE id % 5 <> 0', target => 'species', seed => 1);
\x off

\echo --- how good is it on the others?
\echo
SELECT * FROM neural.evaluate('flower', 'SELECT * FROM iris WHERE id % 5 = 0');

\echo --- predict in any query
\echo
SELECT id, petal_length, petal_width, species, neural.classify('flower', i) AS predicted,
       round(neural.predict_proba('flower', i, 'virginica')::numeric, 3) AS p_virginica
  FROM iris i WHERE id % 5 = 0 AND id BETWEEN 85 AND 120;

\echo
\echo === 20,000 customers: numbers, texts, dates and NULLs ===
\echo
SELECT setseed(0.25) \g /dev/null
CREATE TEMPORARY TABLE everyone AS
SELECT id, tenure, plan, city, monthly, calls, last_login,
       CASE WHEN 1 / (1 + exp(-(1.2 - tenure / 12.0 + calls * 0.9 + days / 15.0 +
                 CASE plan WHEN 'free' THEN 1.5 WHEN 'team' THEN -1.5 ELSE 0 END -
                 CASE WHEN monthly IS NULL THEN 1 ELSE monthly / 40 END))) > random()
            THEN 'yes' ELSE 'no' END AS churned
  FROM (SELECT id, (random() * 60)::int AS tenure,
               (ARRAY['free', 'basic', 'pro', 'team'])[1 + floor(random() * 4)::int] AS plan,
               (ARRAY['Bonn', 'Lyon', 'Oslo', 'Porto', 'Turin'])[1 + floor(random() * 5)::int] AS city,
               CASE WHEN random() < 0.9 THEN (random() * 100)::numeric(5, 2) END AS monthly,
               floor(-ln(1 - random()) * 1.2)::int AS calls, d AS days,
               timestamptz '2026-01-01' - d * interval '1 day' AS last_login
          FROM generate_series(1, 20000) id, LATERAL (SELECT random() * 30 + id * 0 AS d) r) c;
CREATE TABLE customer AS SELECT * FROM everyone WHERE id % 5 <> 0;
CREATE TABLE newcomer AS SELECT * FROM everyone WHERE id % 5 = 0;
ALTER TABLE customer ADD PRIMARY KEY (id);

\echo --- half a minute is planned by default; a sixth of it will do here
\echo
SET neural.train_seconds = 5;
\x on
SELECT * FROM neural.train('churn', 'customer', target => 'churned', seed => 1);
\x off
SELECT * FROM neural.evaluate('churn', 'newcomer');

\echo --- what it looks at
\echo
SELECT position, name, type, encoder, numbers, categories, nulls FROM neural.features('churn');

\echo --- a prediction is a column like any other
\echo
CREATE VIEW at_risk AS
SELECT c.*, neural.predict_proba('churn', c, 'yes') AS risk FROM newcomer c;
SELECT plan, count(*), round(avg(risk)::numeric, 3) AS predicted,
       round(avg((churned = 'yes')::int), 3) AS observed
  FROM at_risk GROUP BY plan ORDER BY predicted DESC;

\echo --- a second version, with a network of our own
\echo
SELECT version, epochs, metric, value, active, seconds
  FROM neural.train('churn', 'customer', target => 'churned',
                    layers => 'dense(64, relu) dropout(0.1) dense(32, relu)', epochs => 10, seed => 1);
SELECT version, active, task, rows, parameters, epochs, metric, value, bytes FROM neural.versions('churn');
SELECT epoch, loss, validation_loss, metric FROM neural.history('churn', 2);

\echo --- at a glance
\echo
\t on
\pset format unaligned
SELECT neural.summary('churn', 2);
