#!/usr/bin/env bash
# dump.sh: a database with models, dumped and restored, predicts the same.
#
# Wants PGHOST and so on of a throw-away server on which the extension is
# installed.  Prints "ok NAME" or "not ok NAME" for each check.
set -u
. "$(dirname "$0")/../scripts/common.sh"
export PGOPTIONS='-c client_min_messages=warning -c extra_float_digits=3'
status=0

query()
{
	psql -XAtq -v ON_ERROR_STOP=1 -d "$1" -c "$2" 2>&1
}

# new_database NAME ENCODING
new_database()
{
	dropdb --if-exists "$1"
	createdb -T template0 -E "$2" --locale=C "$1" || exit 1
}

# Names and categories that are not ASCII must survive another encoding.
new_database neural_dump LATIN1
PGCLIENTENCODING=UTF8 psql -Xq -v ON_ERROR_STOP=1 -d neural_dump >/dev/null <<'SQL' || exit 1
CREATE EXTENSION neural;
CREATE SCHEMA shop;
CREATE TABLE shop.sales (id int PRIMARY KEY, "größe" real, stadt text, tag timestamptz, preis float8, "übel" bool);
INSERT INTO shop.sales
    SELECT i, sin(i), (ARRAY['Köln', 'Paris', 'Málaga', 'Oslo'])[i % 4 + 1],
           timestamptz '2024-01-01 00:00 UTC' + i * interval '5 hours', i % 17 + 3 * cos(i), i % 4 = 1
      FROM generate_series(1, 2000) i;
SELECT neural.train('shop.preis', 'shop.sales', target => 'preis', epochs => 3, seed => 1);
SELECT neural.train('shop.stadt', 'shop.sales', target => 'stadt', layers => 'dense(8) relu', epochs => 3, seed => 1);
SELECT neural.train('shop.stadt', 'shop.sales', target => 'stadt', layers => 'dense(4) relu', epochs => 2, seed => 2,
    options => '{"activate": "never"}');
CREATE VIEW shop.geschätzt AS SELECT s.id, neural.predict('shop.preis', s) AS preis, neural.classify('shop.stadt', s) AS stadt FROM shop.sales s;
SELECT neural.create_function('shop.preis', 'shop.preis_von');
SELECT neural.grant_predict('shop.preis', 'public');
COMMENT ON TABLE shop.preis IS 'was es kostet';
CREATE TABLE shop.held AS SELECT 'stadt' AS name, model FROM shop.stadt WHERE active;
SQL

predictions="SELECT md5(string_agg(convert_to(format('%s %s %s %s', v.id, v.preis, v.stadt,
    neural.predict_proba_with(h.model, s) -> 'Köln'), 'UTF8')::text, ',' ORDER BY v.id)) FROM shop.geschätzt v JOIN shop.sales s USING (id), shop.held h"
wrapped="SELECT count(*) FROM shop.sales s WHERE shop.preis_von(\"größe\", stadt, tag, \"übel\") <> neural.predict('shop.preis', s)"
digests="SELECT string_agg(name || version || active || (neural.describe(model) ->> 'sha256'), ',' ORDER BY name, version)
    FROM (SELECT 'preis' AS name, version, active, model FROM shop.preis UNION ALL SELECT 'stadt', version, active, model FROM shop.stadt) m"
acls="SELECT string_agg(attname || attacl::text, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'shop.preis'::regclass"
facts="SELECT string_agg(format('%s %s %s %s', name, owner, comment, (SELECT string_agg(pg_get_indexdef(indexrelid), ';' ORDER BY indexrelid::regclass::text)
    FROM pg_index WHERE indrelid = model)), ',' ORDER BY name) FROM neural.models"

export PGCLIENTENCODING=UTF8
before=$(for q in "$predictions" "$wrapped" "$digests" "$acls" "$facts"; do query neural_dump "$q"; done)
case $before in
	*ERROR*)
		echo "not ok dump: a source to dump"
		echo "$before"
		exit 1 ;;
esac

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT

# compare NAME: the restored database is neural_restored
compare()
{
	local after

	after=$(for q in "$predictions" "$wrapped" "$digests" "$acls" "$facts"; do query neural_restored "$q"; done)
	check "$1" "$before" "$after"
	check "$1: DROP is refused" "t" \
		"$(query neural_restored "DROP TABLE shop.preis" | grep -q 'depends on table' && echo t)"
}

new_database neural_restored UTF8
pg_dump -d neural_dump | psql -Xq -v ON_ERROR_STOP=1 -d neural_restored >/dev/null
compare "dump: plain text, LATIN1 to UTF8"

new_database neural_restored LATIN1
pg_dump -Fd -j 2 -f "$folder/d" neural_dump && pg_restore -j 2 -d neural_restored "$folder/d"
compare "dump: directory, two jobs"

new_database neural_restored UTF8
query neural_restored "CREATE EXTENSION neural" >/dev/null
pg_dump -Fc -n shop -f "$folder/c" neural_dump && pg_restore -d neural_restored "$folder/c"
compare "dump: one schema, custom format"
new_database neural_restored UTF8
pg_dump -Fc -f "$folder/whole" neural_dump && pg_restore -j 2 -e -d neural_restored "$folder/whole"
compare "dump: custom format, restored by two jobs"

# An owner who is no superuser dumps and restores what is his, with two jobs.
psql -Xq -v ON_ERROR_STOP=1 -d neural_dump >/dev/null <<'SQL' || exit 1
DROP ROLE IF EXISTS neural_dump_owner, neural_dump_reader;
CREATE ROLE neural_dump_owner LOGIN;
CREATE ROLE neural_dump_reader;
CREATE SCHEMA hers AUTHORIZATION neural_dump_owner;
GRANT USAGE ON SCHEMA shop TO neural_dump_owner;
GRANT SELECT ON shop.sales TO neural_dump_owner;
SET ROLE neural_dump_owner;
CREATE TABLE hers.sales AS SELECT * FROM shop.sales;
SELECT neural.train('hers.model', 'hers.sales', target => 'stadt', layers => 'dense(8) relu', epochs => 3, seed => 1);
SELECT neural.grant_predict('hers.model', 'neural_dump_reader');
COMMENT ON TABLE hers.model IS 'ihres';
COMMENT ON COLUMN hers.model.note IS 'was es war';
CREATE VIEW hers.guessed AS SELECT id, neural.classify('hers.model', s) AS stadt FROM hers.sales s;
SQL
hers="SELECT concat_ws('|', (SELECT md5(string_agg(convert_to(concat(g.id, g.stadt,
		neural.predict_proba('hers.model', s, 'Köln')), 'UTF8')::text, ',' ORDER BY g.id))
	FROM hers.guessed g JOIN hers.sales s USING (id)),
	(SELECT string_agg(version || encode(sha256(neural.model_send(model)), 'hex') || metrics, ',') FROM hers.model),
	-- jsonb orders keys by their bytes
	(SELECT string_agg(part, ',' ORDER BY convert_to(part, 'UTF8'))
		FROM hers.model, regexp_split_to_table(training::text, '[,{}]') part),
	(SELECT concat(owner, comment, col_description(model, 10)) FROM neural.models WHERE schema = 'hers'),
	(SELECT string_agg(attname || attacl::text, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'hers.model'::regclass))"
before_hers=$(query neural_dump "$hers")
new_database neural_restored UTF8
query neural_restored "CREATE EXTENSION neural; GRANT CREATE ON DATABASE neural_restored TO neural_dump_owner" >/dev/null
pg_dump -U neural_dump_owner -Fd -j 2 -n hers -f "$folder/hers" neural_dump &&
	pg_restore -U neural_dump_owner -j 2 -e -d neural_restored "$folder/hers"
check "dump: by the owner, into another database" "$before_hers" "$(query neural_restored "$hers")"
check "dump: what is compared is there" "0" "$(printf '%s' "$before_hers" | grep -c ERROR)"
dropdb neural_restored
query neural_dump "DROP SCHEMA hers CASCADE; DROP OWNED BY neural_dump_owner, neural_dump_reader; DROP ROLE neural_dump_owner, neural_dump_reader" >/dev/null

new_database neural_restored UTF8
query neural_restored "CREATE EXTENSION neural" >/dev/null
pg_restore -d neural_restored "$folder/c"

# A restored model goes on: the next version, and the one before again.
query neural_restored "SELECT neural.train('shop.stadt', 'shop.sales', target => 'stadt', layers => 'dense(4) relu', epochs => 1, seed => 3, options => '{\"activate\": \"always\"}')" >/dev/null
check "dump: a restored model is trained again" "3|2" \
	"$(query neural_restored "SELECT version, neural.rollback('shop.stadt') FROM shop.stadt WHERE active")"

# COPY in both formats
for format in text binary; do
	psql -XAtq -d neural_restored -c "\\copy (SELECT * FROM shop.preis) TO '$folder/$format' (FORMAT $format)"
	query neural_restored "CREATE TABLE shop.copy_$format OF neural.model_table" >/dev/null
	psql -XAtq -d neural_restored -c "\\copy shop.copy_$format FROM '$folder/$format' (FORMAT $format)"
	check "dump: COPY in $format" "t" \
		"$(query neural_restored "SELECT (SELECT neural.model_send(model) FROM shop.copy_$format) = (SELECT neural.model_send(model) FROM shop.preis)")"
done

dropdb neural_dump
dropdb neural_restored
exit $status
