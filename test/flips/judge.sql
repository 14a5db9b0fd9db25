-- judge.sql: what damaged models say.  Needs the variable "values"; prints what
-- is neither an error XX001 nor the right answer, and lines "# ..." to look at.
SET client_min_messages = warning;
-- each value is read again: a model of the same digest may be in the cache
SET neural.model_cache_size = 0;
CREATE TABLE question (name text, sql text);
INSERT INTO question VALUES
    ('predict', 'SELECT string_agg(neural.predict(%1$L, s, %2$s)::text, '','' ORDER BY id) FROM sale s'),
    ('predict, scalar', 'SELECT neural.predict(%1$L, s, %2$s)::text FROM sale s WHERE set_config(''neural.enable_batch'', ''off'', true) = ''off'' AND id = 1'),
    ('classify', 'SELECT string_agg(neural.classify(%1$L, s, %2$s), '','' ORDER BY id) FROM sale s'),
    ('embed', 'SELECT neural.embed(%1$L, s, ''a'', %2$s)::text FROM sale s WHERE id = 1'),
    ('predict_with', 'SELECT string_agg(neural.predict_with(d.model, s)::text, '','' ORDER BY id) FROM %1$s d, sale s WHERE version = %2$s'),
    ('describe', 'SELECT (neural.describe(model) - ''sha256'')::text FROM %1$s WHERE version = %2$s'),
    ('features', 'SELECT string_agg(f::text, '','') FROM neural.features(%1$L, %2$s) f'),
    ('layers', 'SELECT string_agg(l::text, '','') FROM neural.layers(%1$L, %2$s) l'),
    ('weights', 'SELECT md5(string_agg(w::text, '','')) FROM neural.weights(%1$L, %2$s) w'),
    ('summary', 'SELECT regexp_replace(neural.summary(%1$L, %2$s), ''^[^\n]*'', '''') FROM (SELECT) f'),
    ('evaluate', 'SELECT string_agg(e::text, '','') FROM neural.evaluate(%1$L, ''sale'', %2$s) e'),
    ('export, import', 'SELECT neural.import_model(''imported'', neural.export_model(%1$L, %2$s))::text'),
    ('output, input', 'SELECT (model::text::neural.model IS NULL)::text FROM %1$s WHERE version = %2$s');

CREATE FUNCTION answer(sql text, model text, version int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    got text;
BEGIN
    EXECUTE format(sql, model, version) INTO got;
    -- undone, as versions of "imported" would be counted
    RAISE EXCEPTION USING ERRCODE = 'UNDO1', MESSAGE = coalesce(got, 'NULL');
EXCEPTION
    WHEN SQLSTATE 'UNDO1' THEN RETURN 'is ' || SQLERRM;
    WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

CREATE TABLE answers AS
    SELECT q.name, v AS version, answer(q.sql, 'damaged', v) AS got, w.wanted
      FROM (SELECT name, sql, answer(sql, 'm', 1) AS wanted FROM question OFFSET 0) w JOIN question q USING (name, sql),
           generate_series(1, :values) v;
SELECT format('%s: the whole model says %s', name, wanted) FROM answers WHERE wanted NOT LIKE 'is %' GROUP BY 1, name, wanted;
SELECT format('%s of version %s: %s', name, version, left(got, 200)) FROM answers
 WHERE got <> wanted AND got NOT LIKE 'XX001 %' ORDER BY version LIMIT 20;
SELECT format('# %s of %s questions to %s damaged models were errors', count(*) FILTER (WHERE got LIKE 'XX001 %'), count(*), count(DISTINCT version))
  FROM answers;
SELECT format('# %s times %s', count(*), left(got, 100)) FROM answers WHERE got LIKE 'XX001 %' GROUP BY left(got, 100) ORDER BY count(*) DESC LIMIT 12;
SELECT 'the damage is hardly noticed' FROM answers HAVING count(*) FILTER (WHERE got LIKE 'XX001 %') < 0.8 * count(*);
