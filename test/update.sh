#!/usr/bin/env bash
# test/update.sh: ALTER EXTENSION UPDATE, in a database with models.
#
# From every version that the server knows a way from, those released and one
# that is made up here: 0.0, the first sections of the newest script, and the
# other sections as the way from there.  What comes out must be what CREATE
# EXTENSION makes, and models must not notice.  Wants PGHOST and so on of a
# throw-away server, and to write into its folder of extensions.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(pg_config --sharedir)/extension
newest=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$root/extension/neural.control")
made=("$folder/neural--0.0.sql" "$folder/neural--0.0--$newest.sql")
export PGOPTIONS='-c client_min_messages=error -c extra_float_digits=3'
status=0

# check NAME EXPECTED ACTUAL: and EXPECTED is a result
check()
{
	if [ "$2" = "$3" ] && [ -n "${2##*ERROR*}" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		diff <(printf '%s\n' "$2") <(printf '%s\n' "$3") | head -n 20 | sed 's/^/# /'
		status=1
	fi
}

query()
{
	psql -XAtq -v ON_ERROR_STOP=1 -d "$1" -c "$2" 2>&1
}

cleanup()
{
	rm -f "${made[@]}"
	dropdb --if-exists neural_fresh
	dropdb --if-exists neural_updated
}

if [ ! -w "$folder" ]; then
	echo "# left out: $folder cannot be written to"
	exit 0
fi
trap cleanup EXIT
cleanup
awk -v first="${made[0]}" -v rest="${made[1]}" '
	/^\/\* -+ the vocabulary/ { second = 1 }
	{ print > (second ? rest : first) }' "$root/extension/neural--$newest.sql"
[ -s "${made[1]}" ] || { echo "not ok update: a script to cut in two"; exit 1; }
chmod a+r "${made[@]}"

# Everything that belongs to the extension, as it was defined.
members="SELECT pg_describe_object(classid, objid, objsubid) || ' ' || coalesce(
	CASE classid WHEN 'pg_proc'::regclass THEN (SELECT format('%s %s %s %s %s %s', prosrc, provolatile, proparallel, procost, prorows,
				CASE WHEN prokind <> 'a' THEN pg_get_functiondef(oid) END)
			|| coalesce(proacl::text, '') || obj_description(oid, 'pg_proc') FROM pg_proc WHERE oid = objid)
		WHEN 'pg_class'::regclass THEN (SELECT pg_get_viewdef(oid) || coalesce(relacl::text, '') || obj_description(oid, 'pg_class')
			FROM pg_class WHERE oid = objid AND relkind = 'v')
		WHEN 'pg_type'::regclass THEN (SELECT format('%s %s %s', typlen, typstorage, typalign) || obj_description(oid, 'pg_type')
			FROM pg_type WHERE oid = objid) END, '')
	FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'neural') ORDER BY 1"
schema="SELECT nspacl FROM pg_namespace WHERE nspname = 'neural'"
predictions="SELECT md5(string_agg(concat(neural.predict('m', s), neural.classify('c', s), worth(s.x, s.c), v.p,
	neural.predict_with(h.model, s)), ',' ORDER BY s.x)) FROM sale s JOIN valued v USING (x), held h"

createdb neural_fresh && query neural_fresh "CREATE EXTENSION neural" || exit 1
for version in $(query neural_fresh "SELECT source FROM pg_extension_update_paths('neural')
	WHERE target = '$newest' AND path IS NOT NULL"); do
	dropdb --if-exists neural_updated
	createdb neural_updated || exit 1
	query neural_updated "CREATE EXTENSION neural VERSION '$version'"
	query neural_updated "CREATE TABLE sale AS SELECT (i / 10.0)::real AS x, (ARRAY['a', 'b'])[1 + i % 2] AS c FROM generate_series(1, 300) i;
		SELECT neural.train('m', 'sale', target => 'x', layers => 'dense(8)', epochs => 2);
		SELECT neural.train('c', 'sale', target => 'c', layers => 'dense(8)', epochs => 2);
		CREATE VIEW valued AS SELECT x, neural.predict('m', sale) AS p FROM sale;
		SELECT neural.create_function('c', 'of_c');
		CREATE FUNCTION worth(real, text) RETURNS float8 LANGUAGE sql RETURN neural.predict('m', ROW(\$2));
		CREATE TABLE held AS SELECT model FROM m;" >/dev/null
	before=$(query neural_updated "$predictions")
	query neural_updated "BEGIN; ALTER EXTENSION neural UPDATE; ROLLBACK"
	check "update: from $version, rolled back" "$version $before" \
		"$(query neural_updated "SELECT extversion FROM pg_extension WHERE extname = 'neural'") $(query neural_updated "$predictions")"
	check "update: from $version, in a session that has predicted" "$(printf '%s\n%s' "$before" "$before")" \
		"$(query neural_updated "$predictions; ALTER EXTENSION neural UPDATE; $predictions")"
	check "update: from $version, in another one" "$newest $before" \
		"$(query neural_updated "SELECT extversion FROM pg_extension WHERE extname = 'neural'") $(query neural_updated "$predictions")"
	check "update: from $version makes what CREATE EXTENSION makes" \
		"$(query neural_fresh "$members") $(query neural_fresh "$schema")" \
		"$(query neural_updated "$members") $(query neural_updated "$schema")"
	check "update: from $version, models are trained on" "2" \
		"$(query neural_updated "SELECT version FROM neural.train('m', 'sale', target => 'x', layers => 'dense(8)', epochs => 1)")"
done
exit $status
