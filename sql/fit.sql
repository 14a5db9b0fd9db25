-- The aggregate neural.fit.
SET neural.progress_interval = 0;
SET neural.max_threads = 1;
CREATE SCHEMA fit;
SET search_path = fit;

CREATE TABLE shops AS
SELECT s AS shop, d AS day, (d * 37 % 101) / 101.0 AS x, s * (d * 37 % 101) / 101.0 AS sales, (d * 37 % 101) > 50 AS busy
  FROM generate_series(1, 3) s, generate_series(1, 100) d;

CREATE TABLE models AS
SELECT shop, neural.fit(s, 'sales', '{"features": ["x"], "layers": "dense(8) relu", "learning_rate": 0.05, "epochs": 100}') AS model
  FROM shops s GROUP BY shop;
SELECT m.shop, max(abs(neural.predict_with(m.model, s) - s.sales)) < 0.2 * m.shop AS good
  FROM models m JOIN shops s USING (shop) GROUP BY m.shop ORDER BY m.shop;
SELECT shop, neural.describe(model) ->> 'task' AS task FROM models ORDER BY shop;

-- the default network, classes
SELECT avg((neural.classify_with(m.model, s) = s.busy::text)::int) > 0.9 AS good
  FROM (SELECT neural.fit(s, 'busy', '{"features": ["x"], "epochs": 20}') AS model FROM shops s) m, shops s;
SELECT neural.fit(r, 'busy') IS NOT NULL AS fitted FROM (SELECT x, busy FROM shops LIMIT 20) r;
SELECT neural.fit(ROW(x, sales), 'f2', '{"epochs": 1}') IS NOT NULL AS fitted FROM shops;

-- groups of nothing
SELECT neural.fit(s, 'sales') IS NULL AS nothing FROM shops s WHERE false;
SELECT neural.fit(s, 'sales') FILTER (WHERE shop > 5) IS NULL AS nothing FROM shops s;
SELECT neural.fit(NULL::shops, 'sales') IS NULL AS nothing FROM shops;

-- the same rows give the same model
SELECT count(DISTINCT m::text) AS models
  FROM (SELECT neural.fit(s, 'sales', '{"features": ["x"], "epochs": 3}') AS m FROM (SELECT * FROM shops ORDER BY shop, day) s, generate_series(1, 2) g GROUP BY g) f;

-- more rows than work_mem
SET work_mem = '64kB';
SELECT neural.fit(s, 'sales', '{"features": ["x", "shop"], "epochs": 1}') IS NOT NULL AS fitted FROM shops s, generate_series(1, 30);
RESET work_mem;

-- errors
SELECT neural.fit(s, 'sale') FROM shops s;
SELECT neural.fit(s, NULL) FROM shops s;
SELECT neural.fit(s, 'sales', '{"epoch": 1}') FROM shops s;
SELECT neural.fit(s, 'sales', '{"target": "busy"}') FROM shops s;
SELECT neural.fit(s, 'sales') FROM (SELECT * FROM shops LIMIT 9) s;
-- it cannot be called by hand; how that is said depends on the server's version
DO $$
BEGIN
	PERFORM neural.fit_step(NULL, NULL::shops, 'sales');
EXCEPTION WHEN undefined_function OR feature_not_supported THEN
	RAISE NOTICE 'refused';
END $$;

SET client_min_messages = warning;
DROP SCHEMA fit CASCADE;
