#!/usr/bin/env bash
# test/upgrade.sh: a cluster with models, upgraded by pg_upgrade.
#
# Predictions, digests, owners, privileges, comments, conditions of retraining,
# jobs and what depends on a model are the same afterwards, and training goes
# on.  From the server of the PATH's pg_config to itself, which is the same
# machinery as to a later one; OLD_CONFIG names the pg_config of an older server
# on which the extension is installed.  Starts clusters of its own.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/common.sh"
new_config=$(command -v pg_config) || die "no pg_config in the PATH"
: "${OLD_CONFIG:=$new_config}"
status=0
forget_connection
export PGOPTIONS='-c client_min_messages=warning -c extra_float_digits=3'

query()
{
	psql -XAtq -v ON_ERROR_STOP=1 -c "$1" 2>&1
}

make_work_folder 1024
PG_CONFIG=$OLD_CONFIG
start_cluster "autovacuum = off"
old_bindir=$bindir
say "# from $("$OLD_CONFIG" --version) to $("$new_config" --version)"
query "CREATE ROLE analyst LOGIN; CREATE ROLE bi LOGIN; CREATE EXTENSION neural; CREATE SCHEMA shop AUTHORIZATION analyst" >/dev/null
PGUSER=analyst psql -Xq -v ON_ERROR_STOP=1 >"$work/out" 2>&1 <<'SQL' || { cat "$work/out"; die "set-up failed"; }
SET search_path = shop, public;
CREATE TABLE sales AS SELECT i AS id, sin(i)::real AS size, (ARRAY['Köln', 'Paris', 'Málaga'])[i % 3 + 1] AS town,
    timestamptz '2024-01-01 00:00 UTC' + i * interval '5 hours' AS sold, i % 17 + 3 * cos(i) AS price FROM generate_series(1, 2000) i;
SELECT neural.train('price', 'sales', target => 'price', epochs => 3, seed => 1);
SELECT neural.train('price', 'sales', target => 'price', epochs => 3, seed => 2, options => '{"activate": "always"}');
SELECT neural.train('town', 'sales', target => 'town', layers => 'dense(8) relu', epochs => 3, seed => 1);
SELECT neural.create_function('price', 'price_of');
SELECT neural.set_retrain('price', every => '1 day', when_new_rows => 0.5);
SELECT neural.grant_predict('price', 'bi');
GRANT USAGE ON SCHEMA shop TO bi;
GRANT SELECT ON sales TO bi;
COMMENT ON TABLE price IS 'what it costs';
CREATE VIEW guesses AS SELECT s.id, neural.predict('price', s) AS price, neural.classify('town', s) AS town FROM sales s;
CREATE TABLE held AS SELECT 'town' AS name, model FROM town;
SELECT neural.train_async('later', 'sales', target => 'price', epochs => 1);
SQL
wait_for "SELECT state = 'done' FROM neural.jobs"

# what must be the same
state()
{
	query "SELECT md5(string_agg(format('%s %s %s %s', g.id, g.price, g.town, neural.predict_proba_with(h.model, s) -> 'Paris'), ',' ORDER BY g.id))
		FROM shop.guesses g JOIN shop.sales s USING (id), shop.held h"
	query "SELECT count(*) FROM shop.sales s WHERE shop.price_of(id, size, town, sold) <> neural.predict('shop.price', s)"
	query "SELECT version, active, trained_by, trained_at, metrics, training, neural.describe(model) ->> 'sha256' FROM shop.price ORDER BY version"
	# an owner has one privilege more since 17
	query "SELECT relname, pg_get_userbyid(relowner), obj_description(oid, 'pg_class'),
			(SELECT string_agg(grantee::regrole || privilege_type, ',') FROM aclexplode(relacl) WHERE grantee <> relowner) FROM pg_class
		WHERE relnamespace = 'shop'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname"
	query "SELECT attname, attacl FROM pg_attribute WHERE attrelid = 'shop.price'::regclass AND attnum > 0 ORDER BY attnum"
	query "SELECT * FROM neural.models ORDER BY 1"
	query "SELECT id, role, kind, model, state, report, result FROM neural.jobs"
	query "SELECT extname, extversion FROM pg_extension ORDER BY 1"
	PGUSER=bi query "SELECT sum(neural.predict('shop.price', s)) FROM shop.sales s"
	PGUSER=bi query "SELECT model FROM shop.price"
	query "DROP EXTENSION neural" | head -n 1
}

state >"$work/before"
check "upgrade: what is compared is there" "t t t 0" \
	"$([ "$(grep -c . "$work/before")" -gt 15 ] && echo t) $(grep -q '^ERROR:  permission denied' "$work/before" && echo t) $(grep -q '|done|' "$work/before" && echo t) $(sed -n 2p "$work/before")"
as_server "$old_bindir/pg_ctl" -D "$work/data" -m fast -w stop >/dev/null

PG_CONFIG=$new_config
bindir=$("$PG_CONFIG" --bindir)
# Since 18 there are checksums unless they are refused.
sums=
if "$bindir/initdb" --help | grep -q -- --no-data-checksums &&
	! "$old_bindir/initdb" --help | grep -q -- --no-data-checksums; then
	sums=--no-data-checksums
fi
# shellcheck disable=SC2086
quietly as_server "$bindir/initdb" -D "$work/new" -U postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync $sums
as_server "$bindir/pg_upgrade" --old-bindir="$old_bindir" --new-bindir="$bindir" --old-datadir="$work/data" \
	--new-datadir="$work/new" --username=postgres --socketdir="$work" >"$work/out" 2>&1
upgraded=$?
[ $upgraded -eq 0 ] || tail -n 5 "$work/out" "$work"/new/pg_upgrade_output.d/*/log/*.log
check "upgrade: pg_upgrade" 0 $upgraded
mv "$work/data" "$work/old" && mv "$work/new" "$work/data"
{
	echo "listen_addresses = ''"
	echo "unix_socket_directories = '$work'"
	echo "fsync = off"
} >>"$work/data/postgresql.conf"
quietly as_server "$bindir/pg_ctl" -D "$work/data" -l "$work/data/log" -w start
export PATH="$bindir:$PATH"
state >"$work/after"
check "upgrade: all is the same" "" "$(diff "$work/before" "$work/after" | cut -c 1-200)"
check "upgrade: the owner trains on" "3|4" \
	"$(PGUSER=analyst query "SELECT r.version FROM neural.train('shop.price', 'shop.sales', target => 'price', epochs => 1) r")|$(
		PGUSER=analyst query "CALL neural.retrain('shop.price')" | sed -nE 's/^version ([0-9]+) of shop\.price .*/\1/p')"
check "upgrade: what depends on a model still does" "ERROR:  cannot drop table shop.price because other objects depend on it" \
	"$(query "DROP TABLE shop.price" | head -n 1)"
exit $status
