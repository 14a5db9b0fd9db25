-- hostile_names.sql: models, schemas, columns, labels, categories and roles with
-- names that try to become SQL, JSON or layer text.  Needs the variables "count"
-- and "seed"; prints what is not as it should be.
SELECT setseed((:seed % 100000) / 100000.0) IS NULL AS seeded \gset

-- A name of at most 63 bytes out of pieces that mean something somewhere.
CREATE FUNCTION pg_temp.make_name() RETURNS text LANGUAGE plpgsql AS $make$
DECLARE
    pieces text[] := ARRAY['"', '''', '.', ';', '\', '%s', '$1', '$$', '--', '/*', E'\n', E'\t', ' ', '{', '}', '(', ')', '[',
        ',', ':', '::', '&', '<', 'ü', '日本', '🐘', 'é', 'select', 'drop table', 'A', 'z', '0', 'NULL', 'public', 'neural', '@',
        '#', '?', '|', '=', '~', '`', '%', '!', '*', E'\x01', E'\x7f', 'null', '"; drop schema shop cascade; --', 'f1',
        E'\\u0000', '\x', '{}'];
    name text := '';
    longest int := CASE WHEN random() < 0.3 THEN 63 ELSE 1 + floor(random() * 20) END;
    piece text;
BEGIN
    LOOP
        piece := pieces[1 + floor(random() * array_length(pieces, 1))];
        EXIT WHEN octet_length(name || piece) > longest AND name <> '';
        CONTINUE WHEN octet_length(piece) > 60;
        name := name || piece;
    END LOOP;
    IF longest = 63 THEN
        name := name || repeat('x', 63 - octet_length(name));
    END IF;
    RETURN name;
END $make$;

CREATE FUNCTION pg_temp.differ(what text, wanted text, got text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF wanted IS DISTINCT FROM got THEN
        RAISE WARNING '%: wanted %, got %', what, quote_nullable(wanted), quote_nullable(got);
    END IF;
END $$;

-- Do a model's whole life under such names.
CREATE FUNCTION pg_temp.live(schema text, source text, model text, role text, a text, b text, target text, label text[])
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text := format('%I.%I', schema, model);
    rows text := format('%I.%I', schema, source);
    wrapper text := format('%I.%I', schema, label[2]);
    names text[];
    result text;
BEGIN
    EXECUTE format('CREATE ROLE %I', role);
    EXECUTE format('CREATE SCHEMA %I', schema);
    EXECUTE format('CREATE TABLE %s (%I text, %I real, %I text)', rows, a, b, target);
    EXECUTE format('INSERT INTO %s SELECT $1[1 + i %% 3], i %% 3, $1[1 + i %% 3] FROM generate_series(1, 90) i', rows) USING label;

    -- by the table's name and by a query
    PERFORM neural.train(name, rows, target => target, features => ARRAY[a, b], layers => 'dense(8) relu', epochs => 60,
        learning_rate => 0.05, seed => 1, validation => 'none', options => jsonb_build_object('note', label[1], 'class_weight',
            jsonb_build_object(label[1], 1, label[2], 1, label[3], 1), 'columns', jsonb_build_object(a, 'category')));
    PERFORM neural.train(name, format('SELECT %I, %I, %I FROM %s', target, b, a, rows), target => target, layers => 'dense(2)',
        epochs => 1, seed => 1, options => jsonb_build_object('activate', 'never', 'exclude', jsonb_build_array(b)));
    SELECT array_agg(format('%s %s %s', m.name, m.schema, m.owner)) INTO names FROM neural.models m WHERE m.schema = live.schema;
    PERFORM pg_temp.differ('models', ARRAY[format('%s %s %s', model, schema, current_user)]::text, names::text);
    SELECT array_agg(note ORDER BY version) INTO names FROM neural.versions(name::regclass);
    PERFORM pg_temp.differ('notes', ARRAY[label[1], NULL]::text, names::text);
    SELECT array_agg(f.name ORDER BY position) INTO names FROM neural.features(name::regclass) f;
    PERFORM pg_temp.differ('features', ARRAY[a, b]::text, names::text);
    SELECT array_agg(f.name ORDER BY position) INTO names FROM neural.features(name::regclass, 2) f;
    PERFORM pg_temp.differ('features of version 2', ARRAY[a]::text, names::text);
    EXECUTE format('SELECT neural.describe(model) #>> ''{targets,0,name}'' FROM %s WHERE active', name) INTO result;
    PERFORM pg_temp.differ('target', target, result);

    -- every label comes back, and is the right one
    EXECUTE format('SELECT count(*) FILTER (WHERE neural.classify(%L, s) = %I) || '' '' || count(DISTINCT neural.classify(%L, s)) FROM %s s',
        name, target, name, rows) INTO result;
    PERFORM pg_temp.differ('classes', '90 3', result);
    EXECUTE format('SELECT array_agg(k ORDER BY k COLLATE "C") FROM (SELECT jsonb_object_keys(neural.predict_proba(%L, s)) k FROM (SELECT * FROM %s LIMIT 1) s) p',
        name, rows) INTO names;
    PERFORM pg_temp.differ('probabilities', (SELECT array_agg(l ORDER BY l COLLATE "C")::text FROM unnest(label) l), names::text);
    EXECUTE format('SELECT bool_and(neural.predict_proba(%L, s, %I) > 0.5) FROM %s s', name, target, rows) INTO result;
    PERFORM pg_temp.differ('probability', 'true', result);
    SELECT e.value::text INTO result FROM neural.evaluate(name::regclass, rows) e WHERE e.metric = 'accuracy';
    PERFORM pg_temp.differ('accuracy', '1', result);
    PERFORM pg_temp.differ('summary', 'true', (strpos(neural.summary(name::regclass), model) > 0)::text);

    -- a function of that name, with arguments of those names
    PERFORM neural.create_function(name::regclass, wrapper);
    SELECT proargnames INTO names FROM pg_proc WHERE proname = label[2] AND pronamespace = quote_ident(schema)::regnamespace;
    PERFORM pg_temp.differ('arguments', ARRAY[a, b]::text, names::text);
    EXECUTE format('SELECT count(*) FILTER (WHERE %s(%I, %I) = %I) FROM %s', wrapper, a, b, target, rows) INTO result;
    PERFORM pg_temp.differ('function', '90', result);

    -- out, in, and the rest of a life
    PERFORM neural.import_model(format('%I.%I', schema, label[3]), neural.export_model(name::regclass), label[2]);
    EXECUTE format('SELECT count(*) FROM %s a JOIN %I.%I b ON neural.model_send(a.model) = neural.model_send(b.model) AND b.note = $1 AND a.active',
        name, schema, label[3]) INTO result USING label[2];
    PERFORM pg_temp.differ('copies', '1', result);
    PERFORM neural.grant_predict(name::regclass, role);
    PERFORM pg_temp.differ('grant', 'true false', has_column_privilege(role::name, name::regclass, 'version', 'SELECT') || ' ' ||
        has_column_privilege(role::name, name::regclass, 'model', 'SELECT'));
    PERFORM neural.promote(name::regclass, 2), neural.rollback(name::regclass), neural.prune(name::regclass, 0);
    EXECUTE format('SELECT string_agg(version || '' '' || active, '','') FROM %s', name) INTO result;
    PERFORM pg_temp.differ('versions', '1 true', result);
    EXECUTE format('DROP SCHEMA %I CASCADE', schema);
    EXECUTE format('DROP ROLE %I', role);
END $$;

CREATE TEMP TABLE lived (n int);
CREATE PROCEDURE pg_temp.all_lives(count int) LANGUAGE plpgsql AS $$
DECLARE
    n text[];
BEGIN
    FOR i IN 1 .. count LOOP
        LOOP
            n := ARRAY(SELECT pg_temp.make_name() FROM generate_series(1, 10));
            -- what the server itself would refuse
            EXIT WHEN (SELECT count(DISTINCT x) = 10 AND bool_and(left(x, 3) <> 'pg_' AND x NOT IN ('public', 'none', 'neural'))
                FROM unnest(n) x);
        END LOOP;
        BEGIN
            PERFORM pg_temp.live(n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8:10]);
            INSERT INTO lived VALUES (i);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING '% % (names: %)', SQLSTATE, SQLERRM, n;
        END;
        COMMIT;
    END LOOP;
END $$;
CALL pg_temp.all_lives(:count);
SELECT format('only %s of %s were tried to the end', count(*), :count) FROM lived HAVING count(*) <> :count;
