#!/usr/bin/env bash
# test/hostile.sh: a database whose users mean harm.
#
#	test/hostile.sh [NAMES [SEED]]
#
# A schema that shadows the server's functions, operators, types and tables,
# first in the search path; code of other users behind models and training rows;
# names that try to become SQL (NAMES of them, made from the seed); objects that
# were there before the extension.  Wants PGHOST and so on of a throw-away server
# on which the extension is installed.
set -u
. "$(dirname "$0")/../scripts/common.sh"
count=${1:-60}
seed=${2:-$RANDOM}
database=neural_hostile
roles="neural_attacker, neural_victim"
export PGOPTIONS='-c client_min_messages=warning'
status=0
work=$(mktemp -d)

run()
{
	psql -XAtq -v ON_ERROR_STOP=1 -v VERBOSITY=verbose -v SHOW_CONTEXT=never -d "$database" "$@" 2>&1
}

# wrong ...: what it says, if it fails
wrong()
{
	local said

	said=$(run "$@") || printf 'exit status %s: %s\n' "$?" "$said"
}

forget()
{
	dropdb --if-exists "$database"
	psql -XAtq -d postgres -c "DROP ROLE IF EXISTS $roles" 2>/dev/null
}
trap 'forget; rm -rf "$work"' EXIT

forget
createdb -T template0 -E UTF8 --locale=C "$database" || exit 1
run -c "CREATE ROLE neural_attacker" -c "CREATE ROLE neural_victim" || exit 1

# --- what was there before ---

check "hostile: a schema of another owner is refused" \
	'ERROR:  42P06: schema "neural" already exists and belongs to role "neural_attacker"' \
	"$(run -c 'CREATE SCHEMA neural AUTHORIZATION neural_attacker' -c 'CREATE EXTENSION neural' | head -n 1)"
check "hostile: a schema that holds something is refused" \
	'ERROR:  42P06: schema "neural" already exists and is not empty' \
	"$(run -c 'DROP SCHEMA neural' -c 'CREATE SCHEMA neural' \
		-c "CREATE FUNCTION neural.predict(text, float8[]) RETURNS float8 LANGUAGE sql AS 'SELECT 1.0'" \
		-c 'CREATE EXTENSION neural' | head -n 1)"
check "hostile: an empty one of a superuser's is taken, as pg_restore needs" "" \
	"$(run -c 'DROP SCHEMA neural CASCADE' -c 'CREATE SCHEMA neural' -c 'CREATE EXTENSION neural')"

# --- a schema that shadows everything ---

# Each trap notes who fell into it, and then fails.  dblink and the like would
# be needed to keep a note of a transaction that fails; the failure is enough.
run >"$work/out" <<'SQL' || { cat "$work/out"; exit 1; }
CREATE SCHEMA evil AUTHORIZATION neural_attacker;
CREATE SCHEMA shop AUTHORIZATION neural_victim;
GRANT USAGE ON SCHEMA evil, shop TO PUBLIC;
SET ROLE neural_attacker;
CREATE FUNCTION evil.caught() RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'code of neural_attacker ran as %', current_user USING ERRCODE = 'EVIL1';
END $$;
-- types first: what follows is written with qualified names only
CREATE FUNCTION evil.never(pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE sql AS 'SELECT evil.caught()';
DO $$
DECLARE
    made int := 0;
    f record;
    arguments text;
    n int := 0;
BEGIN
    -- functions and aggregates of the types that our statements deal with
    FOR f IN SELECT p.proname, pg_catalog.oidvectortypes(p.proargtypes) AS arguments, p.prorettype::regtype AS result
               FROM pg_catalog.pg_proc p
              WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.provariadic = 0 AND p.pronargs <= 3
                AND NOT EXISTS (SELECT FROM pg_catalog.unnest(p.proargtypes || p.prorettype) t(o) WHERE o::regtype::text
                    NOT IN ('integer', 'bigint', 'text', 'boolean', 'double precision', 'real', 'jsonb', 'name', 'oid',
                        'regclass', 'timestamp with time zone', 'numeric', 'date')) LOOP
        EXECUTE pg_catalog.format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
            f.proname, f.arguments, f.result, 'BEGIN PERFORM evil.caught(); RETURN NULL; END');
        made := made + 1;
    END LOOP;
    FOREACH arguments IN ARRAY '{"max(integer)","min(integer)","count(integer)","sum(integer)","jsonb_to_recordset(jsonb)",
            "coalesce(integer,integer)","jsonb_each_text(jsonb)","cardinality(double precision[])","cardinality(real[])",
            "pg_column_size(text)"}'::text[] LOOP
        BEGIN
            EXECUTE pg_catalog.format('CREATE FUNCTION evil.%s RETURNS integer LANGUAGE plpgsql AS %L',
                regexp_replace(arguments, '^([a-z_]+)', '"\1"'), 'BEGIN PERFORM evil.caught(); RETURN NULL; END');
        EXCEPTION WHEN duplicate_function THEN NULL;
        END;
    END LOOP;
    -- operators of these types, and of pairs of them that the server has none for
    FOR f IN SELECT o.oprname, l.t::regtype AS l, r.t::regtype AS r, coalesce(e.oprresult, 'boolean'::regtype)::regtype AS result
               FROM (SELECT DISTINCT oprname FROM pg_catalog.pg_operator
                      WHERE oprname = ANY ('{=,<>,<,>,<=,>=,+,-,*,/,||,->,->>,~,~~,%}')) o
                    CROSS JOIN unnest('{int4,int8,text,bool,float8,float4,jsonb,timestamptz,numeric,name}'::regtype[]) l(t)
                    CROSS JOIN unnest('{int4,int8,text,bool,float8,float4,jsonb,timestamptz,numeric,name}'::regtype[]) r(t)
                    LEFT JOIN pg_catalog.pg_operator e ON e.oprname = o.oprname AND e.oprleft = l.t AND e.oprright = r.t LOOP
        n := n + 1;
        EXECUTE pg_catalog.format('CREATE FUNCTION evil.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
            n, f.l, f.r, f.result, 'BEGIN PERFORM evil.caught(); RETURN NULL; END');
        EXECUTE pg_catalog.format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.operator_%s)',
            f.oprname, f.l, f.r, n);
    END LOOP;
    -- types, each a domain that cannot be entered, with casts that are traps
    FOREACH arguments IN ARRAY '{text,name,date,jsonb,uuid,int4,int8,float4,float8,bool,regclass,regtype,bytea,oid,timestamptz}'::text[] LOOP
        EXECUTE pg_catalog.format('CREATE DOMAIN evil.%I AS pg_catalog.text CHECK (evil.never(VALUE::pg_catalog.text))', arguments);
    END LOOP;
    FOREACH arguments IN ARRAY '{pg_class,pg_attribute,pg_type,pg_namespace,pg_proc,pg_authid,pg_roles}'::text[] LOOP
        EXECUTE pg_catalog.format('CREATE VIEW evil.%I AS SELECT evil.caught()', arguments);
    END LOOP;
END $$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA evil TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA evil TO PUBLIC;
RESET ROLE;

SET ROLE neural_victim;
CREATE TYPE shop.size AS ENUM ('small', 'large');
CREATE DOMAIN shop.label AS text CHECK (length(value) < 20);
CREATE TABLE shop.sale (id int PRIMARY KEY, n int, b bigint, r real, f float8, t text, l shop.label, e shop.size, d date,
    z timestamptz, q numeric, y bool, u uuid, v real[], w float8[]);
INSERT INTO shop.sale SELECT i, i % 7, i % 5, i / 3.0, sqrt(i), 't' || i % 4, 'l' || i % 3,
    (ARRAY['small', 'large'])[1 + i % 2]::shop.size, date '2024-01-01' + i, timestamptz '2024-01-01 UTC' + i * interval '7 hours',
    i * 1.25, i % 2 = 0, md5((i % 3)::text)::uuid, ARRAY[i, -i]::real[], ARRAY[i % 3]::float8[]
  FROM generate_series(1, 200) i;
SELECT neural.train('shop.before', 'shop.sale', target => 't', layers => 'dense(2)', epochs => 1);
SQL
check "hostile: the traps are set" "t" \
	"$(run -c "SELECT count(*) > 1500 FROM pg_proc WHERE pronamespace = 'evil'::regnamespace")"
check "hostile: a trap works" "ERROR:  EVIL1: code of neural_attacker ran as neural_victim" \
	"$(run -c "SET ROLE neural_victim" -c "SET search_path = evil, pg_catalog" -c "SELECT version + 1 FROM (SELECT 1 AS version) v" | head -n 1)"

# Everything there is to call, with literals and names that need no search path.
cat >"$work/calls.sql" <<'SQL'
SELECT version, metric FROM neural.train('shop.by_y', 'shop.sale', target => 'y', layers => 'a: dense(4, relu)', epochs => 2);
SELECT version FROM neural.train('shop.by_y', 'SELECT * FROM shop.sale', target => 'y', layers => 'dense(4)', epochs => 2);
SELECT version FROM neural.train('shop.by_f', 'shop.sale', target => 'f', layers => 'dense(2)', epochs => 2, validation => 'time:z');
SELECT version FROM neural.train('shop.by_l', 'shop.sale', target => 'l', layers => 'dense(2)', epochs => 2, validation => 'group:t');
SELECT version FROM neural.train('shop.by_t', 'shop.sale', target => 't', layers => 'dense(2)', epochs => 2, validation => 'y');
SELECT version FROM neural.train('shop.by_e', 'shop.sale', target => 'e', layers => 'dense(2)', epochs => 2, options => '{"class_weight": "balanced", "sample_weight": "n", "activate": "always"}');
SELECT version FROM neural.train('shop.by_d', 'shop.sale', target => 'q', features => '{n,v,w}', layers => 'dense(2)', epochs => 2);
SELECT version FROM neural.train('shop.two', 'shop.sale', targets => '{f,r}', features => '{n,t}', layers => 'dense(2)', epochs => 2);
SELECT neural.predict('shop.by_f', sale), neural.predict('shop.by_y', sale, 1) FROM shop.sale LIMIT 1;
SELECT neural.classify('shop.by_l', sale), neural.classify('shop.by_t', sale), neural.classify('shop.by_e', sale) FROM shop.sale LIMIT 1;
SELECT neural.predict_proba('shop.by_l', sale), neural.predict_proba('shop.by_l', sale, 'l1') FROM shop.sale LIMIT 1;
SELECT neural.predict_as('shop.by_e', sale, NULL::shop.size), neural.predict_as('shop.by_l', sale, NULL::shop.label) FROM shop.sale LIMIT 1;
SELECT neural.predict_all('shop.two', sale), neural.embed('shop.by_y', sale, 'a', 1) FROM shop.sale LIMIT 1;
SELECT neural.predict('shop.by_d', '{1,2,3,4}'::pg_catalog.float8[]);
SELECT neural.predict_with(model, sale) FROM shop.by_f, shop.sale LIMIT 1;
SELECT neural.fit(sale, 'f', '{"layers": "dense(2)", "epochs": 1}') IS NULL FROM shop.sale;
SELECT metric FROM neural.evaluate('shop.by_y', 'shop.sale') LIMIT 1;
SELECT metric FROM neural.evaluate('shop.by_e', 'SELECT * FROM shop.sale') LIMIT 1;
SELECT version, metric, parameters FROM neural.versions('shop.by_y');
SELECT epoch FROM neural.history('shop.by_y', 1);
SELECT name, type, encoder FROM neural.features('shop.by_y');
SELECT definition FROM neural.layers('shop.by_y');
SELECT parameter, shape FROM neural.weights('shop.by_y', 2) LIMIT 2;
SELECT neural.summary('shop.by_y') IS NULL, neural.describe(model) IS NULL FROM shop.by_f;
SELECT neural.promote('shop.by_y', 2), neural.rollback('shop.by_y'), neural.prune('shop.by_y', 1);
SELECT neural.import_model('shop.copied', neural.export_model('shop.by_y'));
SELECT neural.create_function('shop.by_y', 'shop.y_of') IS NULL, neural.create_function('shop.by_f', 'shop.f_of') IS NULL;
SELECT neural.create_function('shop.by_e', 'shop.e_of') IS NULL, neural.create_function('shop.two', 'shop.two_of') IS NULL;
SELECT neural.create_function('shop.before', 'shop.before_of') IS NULL;
SELECT neural.grant_predict('shop.by_y', 'neural_attacker');
SELECT name, owner FROM neural.models ORDER BY name;
SELECT name FROM neural.vocabulary() LIMIT 1;
SELECT device FROM neural.devices LIMIT 1;
SELECT proname, proargtypes, prorettype FROM pg_catalog.pg_proc
    WHERE pronamespace OPERATOR(pg_catalog.=) 'shop'::pg_catalog.regnamespace ORDER BY oid;
ROLLBACK;
SQL

# calls ROLE PATH [SETTING]
calls()
{
	{
		echo "SET ROLE $1; ${3:-} BEGIN; SET LOCAL search_path = $2; SET LOCAL quote_all_identifiers = off;"
		cat "$work/calls.sql"
	} | run
}
for role in neural_victim postgres; do
	plain=$(calls $role "pg_catalog") || plain+=$'\n'"ERROR: exit status $?"
	check "hostile: without a hostile path all is well as $role" "" "$(printf '%s\n' "$plain" | grep ERROR)"
	for path in "evil, pg_catalog" "evil"; do
		check "hostile: search_path = $path as $role: the same, and no trap is sprung" \
			"$plain" "$(calls $role "$path")"
	done
done
check "hostile: temporary tables shadow nothing" "$plain" \
	"$(calls postgres "pg_temp, pg_catalog" "CREATE TEMP VIEW pg_class AS SELECT evil.caught(); CREATE TEMP VIEW pg_namespace AS SELECT evil.caught(); CREATE DOMAIN pg_temp.text AS pg_catalog.int4;")"

# --- code of others behind models and rows ---

# A table may have triggers, rules, policies, constraints and expressions of its
# owner's.  Reading its rows, and predicting with a model, springs none of them.
run >"$work/out" <<'SQL' || { cat "$work/out"; exit 1; }
GRANT CREATE ON SCHEMA shop TO neural_attacker;
GRANT SELECT ON shop.sale TO neural_attacker;
GRANT neural_victim TO neural_attacker;
SET ROLE neural_attacker;
SELECT neural.train('shop.bait', 'shop.sale', target => 'y', features => '{n,r}', layers => 'a: dense(2)', epochs => 1);
CREATE FUNCTION evil.spring() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.caught(); RETURN NEW; END $$;
CREATE FUNCTION evil.index_of(pg_catalog.int4) RETURNS pg_catalog.int4 IMMUTABLE LANGUAGE plpgsql
    AS $$ BEGIN IF pg_catalog.current_setting('role') <> 'neural_attacker' THEN PERFORM evil.caught(); END IF; RETURN $1; END $$;
CREATE TABLE shop.rows_bait (id int PRIMARY KEY, n int DEFAULT evil.index_of(1), r real, y bool);
INSERT INTO shop.rows_bait SELECT id, n, r, y FROM shop.sale;
CREATE INDEX ON shop.rows_bait (evil.index_of(n));
CREATE INDEX ON shop.bait (evil.index_of(version));
ALTER TABLE shop.rows_bait ADD CHECK (evil.index_of(n) IS NOT NULL);
ALTER TABLE shop.bait ADD CHECK (evil.index_of(version) IS NOT NULL);
CREATE TRIGGER spring BEFORE INSERT OR UPDATE OR DELETE ON shop.rows_bait FOR EACH ROW EXECUTE FUNCTION evil.spring();
CREATE TRIGGER spring BEFORE INSERT OR UPDATE OR DELETE ON shop.bait FOR EACH ROW EXECUTE FUNCTION evil.spring();
CREATE RULE spring AS ON INSERT TO shop.bait DO ALSO SELECT evil.caught();
ALTER TABLE shop.bait ENABLE ROW LEVEL SECURITY;
CREATE POLICY spring ON shop.bait USING (evil.caught());
ALTER TABLE shop.rows_bait ENABLE ROW LEVEL SECURITY;
CREATE POLICY spring ON shop.rows_bait USING (evil.caught());
CREATE VIEW shop.view_bait AS SELECT n, r, y, evil.index_of(n) AS i FROM shop.sale;
GRANT SELECT ON shop.rows_bait, shop.view_bait, shop.bait TO PUBLIC;
SQL
while IFS= read -r call; do
	check "hostile: as a superuser, $call" "" "$(wrong -c "$call")"
done <<'SQL'
SELECT neural.train('shop.safe', 'shop.rows_bait', target => 'y', layers => 'dense(2)', epochs => 1);
SELECT neural.train('shop.safe', 'SELECT n, r, y FROM shop.rows_bait', target => 'y', layers => 'dense(2)', epochs => 1);
SELECT * FROM neural.evaluate('shop.bait', 'shop.rows_bait');
SELECT neural.classify('shop.bait', b), neural.predict_proba('shop.bait', b), neural.embed('shop.bait', b, 'a') FROM shop.rows_bait b;
SELECT neural.versions('shop.bait'), neural.features('shop.bait'), neural.layers('shop.bait'), neural.summary('shop.bait');
SELECT count(*) FROM neural.weights('shop.bait'), neural.history('shop.bait');
SELECT neural.import_model('shop.safe', neural.export_model('shop.bait'));
SELECT neural.create_function('shop.bait', 'shop.bait_of');
SELECT neural.grant_predict('shop.bait', 'neural_victim');
SELECT * FROM neural.models;
SQL
# A superuser meets no policy.  Others meet those of what they read, as with
# SELECT, and run none of them if they say so.
while IFS= read -r call; do
	check "hostile: a policy runs as whoever meets it: $call" "ERROR:  EVIL1: code of neural_attacker ran as neural_victim" \
		"$(run -c "SET ROLE neural_victim" -c "$call" | head -n 1)"
	check "hostile: and not with row_security = off: $call" "ERROR:  42501: query would be affected by row-level security policy" \
		"$(run -c "SET ROLE neural_victim" -c "SET row_security = off" -c "$call" | head -n 1 | sed 's/ for table .*//')"
done <<'SQL'
SELECT neural.train('shop.met', 'shop.rows_bait', target => 'y', layers => 'dense(2)', epochs => 1);
SELECT neural.train('shop.met', 'SELECT n, r, y FROM shop.rows_bait', target => 'y', layers => 'dense(2)', epochs => 1);
SELECT neural.classify('shop.bait', s) FROM shop.sale s;
SELECT * FROM neural.evaluate('shop.bait', 'shop.sale');
SELECT neural.versions('shop.bait');
SELECT neural.export_model('shop.bait');
SQL
check "hostile: a list of all models meets none" "" "$(wrong -c "SET ROLE neural_victim" -c "SELECT * FROM neural.models")"
# What SECURITY.md warns of is as with SELECT and INSERT, and no worse: it fails
# as a whole and leaves nothing.
check "hostile: a view's functions run as whoever reads it, as in SELECT" \
	"ERROR:  EVIL1: code of neural_attacker ran as postgres" \
	"$(run -c "SELECT neural.train('shop.safe', 'shop.view_bait', target => 'y', layers => 'dense(2)', epochs => 1)" | head -n 1)"
check "hostile: but not when they are not asked for" "" \
	"$(wrong -c "SELECT neural.train('shop.safe', 'shop.view_bait', target => 'y', features => '{n,r}', layers => 'dense(2)', epochs => 1)")"
check "hostile: a model's triggers run as whoever adds a version, as in INSERT" \
	"ERROR:  EVIL1: code of neural_attacker ran as postgres" \
	"$(run -c "SELECT neural.train('shop.bait', 'shop.sale', target => 'y', features => '{n,r}', layers => 'dense(2)', epochs => 1)" | head -n 1)"

# --- names that try to become SQL ---

echo "# seed $seed"
check "hostile: $count sets of names come back as they were" "" "$(run -v count="$count" -v seed="$seed" -f "$(dirname "$0")/hostile_names.sql")"

exit $status
