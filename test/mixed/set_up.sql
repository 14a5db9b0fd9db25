-- set_up.sql: versions whose predictions are known, for mixed.sh.
SET client_min_messages = error;
CREATE EXTENSION neural;
CREATE TABLE sale AS SELECT i AS id, sin(i)::real AS x, cos(i)::real AS y FROM generate_series(1, 40) i;
CREATE TABLE question AS SELECT 0.25::real AS x;
-- what a version says, recorded while nobody else is there
CREATE TABLE pool (note text PRIMARY KEY, data bytea, prediction float8 UNIQUE);
DO $$
BEGIN
    FOR seed IN 1 .. 20 LOOP
        PERFORM neural.train('first', 'sale', target => 'y', features => '{x}', layers => 'dense(8, tanh)', epochs => 1,
            seed => seed, options => '{"threads": 1, "activate": "always"}');
        INSERT INTO pool SELECT 'seed ' || seed, neural.export_model('first'), neural.predict('first', q) FROM question q;
    END LOOP;
    DROP TABLE first;
END $$;
GRANT USAGE ON SCHEMA public TO neural_mixed_reader;
GRANT SELECT ON pool, question TO neural_mixed_reader;

-- Right when every version that this snapshot sees predicts what is recorded
-- for it, and the model what its active version does.  Rows that are missing in
-- "pool" count as wrong.
CREATE FUNCTION judge(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    EXECUTE format('SELECT string_agg(format(''version %%s (%%s, active: %%s): %%s, %%s'', m.version, m.note, m.active,
            neural.predict(%L, q, m.version), p.prediction), ''; '')
        FROM %I m CROSS JOIN question q LEFT JOIN pool p USING (note)
        WHERE neural.predict(%1$L, q, m.version) IS DISTINCT FROM p.prediction
            OR neural.predict_with(m.model, q) IS DISTINCT FROM p.prediction
            OR (m.active AND neural.predict(%1$L, q) IS DISTINCT FROM p.prediction)', name, name) INTO wrong;
    RETURN coalesce('WRONG ' || wrong, 'right');
END $$;
