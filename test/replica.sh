#!/usr/bin/env bash
# test/replica.sh: models on a streaming standby, after its promotion, and
# through logical replication.
#
# Starts clusters of its own, as the one of scripts/test is not to be
# replicated; of that one only the programs are used, through the PATH.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/common.sh"
PG_CONFIG=$(command -v pg_config) || die "no pg_config in the PATH"
status=0

# on DATABASE PORT STATEMENT: the result, or the SQLSTATE
on()
{
	psql -XAtq -v ON_ERROR_STOP=1 -v VERBOSITY=sqlstate -d "$1" -p "$2" -c "$3" 2>&1
}

# until_true DATABASE PORT QUERY: wait for it, for a minute at most
until_true()
{
	local i

	for i in $(seq 600); do
		[ "$(on "$1" "$2" "$3")" = t ] && return
		sleep 0.1
	done
	echo "# never true: $3"
	return 1
}

stop_standby()
{
	[ ! -f "$work/standby/postmaster.pid" ] ||
		as_server "$bindir/pg_ctl" -D "$work/standby" -m immediate -w stop >/dev/null 2>&1
}

make_work_folder 1024
trap 'status=$?; stop_standby; (exit $status); cleanup' EXIT
start_cluster "wal_level = logical" "autovacuum = off" "max_worker_processes = 16" \
	"wal_retrieve_retry_interval = 100ms"
export PGOPTIONS='-c client_min_messages=error -c extra_float_digits=3'

createdb shop || exit 1
psql -Xq -v ON_ERROR_STOP=1 -d shop >/dev/null <<'SQL' || exit 1
CREATE EXTENSION neural;
CREATE TABLE sale AS SELECT i AS id, i % 10 AS n, sin(i)::real AS x, (ARRAY['a', 'b', 'c'])[1 + i % 3] AS c, i % 3 = 1 AS y
    FROM generate_series(1, 5000) i;
ALTER TABLE sale ADD PRIMARY KEY (id);
SELECT neural.train('m', 'sale', target => 'y', layers => 'a: dense(200, relu) dense(50, relu)', epochs => 2, seed => 1);
SQL

predictions="SELECT md5(string_agg(neural.predict_proba('m', s, 'true')::text, ',' ORDER BY id)) FROM sale s"
scalar="SET neural.enable_batch = off; $predictions"
parallel="SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; $predictions"
digests="SELECT string_agg(version || active::text || encode(sha256(neural.model_send(model)), 'hex') || metrics || training
    || history || trained_at || trained_by || coalesce(note, '-'), ',' ORDER BY version) FROM m"
looks="SELECT md5(string_agg(t::text, ',')) FROM (SELECT neural.summary('m') UNION ALL SELECT v::text FROM neural.versions('m') v
    UNION ALL SELECT w::text FROM neural.weights('m') w UNION ALL SELECT f::text FROM neural.features('m') f
    UNION ALL SELECT e::text FROM neural.evaluate('m', 'sale') e UNION ALL SELECT h::text FROM neural.history('m') h) t"
fitted="SELECT md5(neural.model_send(neural.fit(s, 'y', '{\"layers\": \"dense(4)\", \"epochs\": 2, \"threads\": 1}'))) FROM sale s"
train="SELECT version FROM neural.train('m', 'sale', target => 'y', layers => 'dense(40, relu)', epochs => 2, seed => 2, options => '{\"activate\": \"always\"}')"

# --- predicting writes nothing, which is why a standby can ---

on shop 5432 "VACUUM" >/dev/null
check "replica: predicting writes no WAL" "0" \
	"$(on shop 5432 "EXPLAIN (ANALYZE, WAL) $predictions" | grep -c 'WAL:')"
check "replica: training does" "1" \
	"$(on shop 5432 "EXPLAIN (ANALYZE, WAL) $train" | grep -c -m 1 'WAL:')"

# --- a streaming standby ---

quietly as_server "$bindir/pg_basebackup" -h "$work" -U postgres -D "$work/standby" -R -X stream -c fast
echo "port = 5433" >>"$work/standby/postgresql.conf"
quietly as_server "$bindir/pg_ctl" -D "$work/standby" -l "$work/standby/log" -w start
# a version that the base backup has not
check "replica: the primary trains on" "3" "$(on shop 5432 "$train")"
lsn=$(on shop 5432 "SELECT pg_current_wal_lsn()")
until_true shop 5433 "SELECT pg_last_wal_replay_lsn() >= '$lsn'" || status=1
for what in predictions scalar parallel digests looks fitted; do
	same "replica: $what of the standby are the primary's" \
		"$(on shop 5432 "${!what}")" "$(on shop 5433 "${!what}")"
done
check "replica: three versions are compared" "3" "$(on shop 5433 "SELECT count(*) FROM m")"
while IFS= read -r call; do
	check "replica: a standby refuses $call" "ERROR:  25006" "$(on shop 5433 "SELECT $call")"
done <<'SQL'
neural.train('m', 'sale', target => 'y')
neural.train('fresh', 'sale', target => 'y')
neural.promote('m', 1)
neural.rollback('m')
neural.prune('m', 1)
neural.import_model('m', neural.export_model('m'))
neural.grant_predict('m', 'public')
neural.create_function('m', 'f')
SQL
# One that only reads says so in any transaction.
check "replica: so does a read-only transaction" "ERROR:  25006" \
	"$(on shop 5432 "BEGIN READ ONLY; $train")"

# --- promoted ---

before=$(on shop 5433 "$predictions")
quietly as_server "$bindir/pg_ctl" -D "$work/standby" -w promote
same "replica: promoted, it predicts as before" "$before" "$(on shop 5433 "$predictions")"
check "replica: and trains" "4" "$(on shop 5433 "$train")"
check "replica: and goes back" "3" "$(on shop 5433 "SELECT neural.rollback('m')")"
same "replica: to the same" "$before" "$(on shop 5433 "$predictions")"
stop_standby

# --- logical replication ---

for binary in false true; do
	name=copy_$binary
	createdb "$name" || exit 1
	on "$name" 5432 "CREATE EXTENSION neural" >/dev/null
	pg_dump -s -t m -t sale shop | psql -Xq -d "$name" >/dev/null
	on shop 5432 "CREATE PUBLICATION of_$binary FOR TABLE m, sale" >/dev/null
	# a slot of the same cluster cannot be made by the subscription
	on shop 5432 "SELECT pg_create_logical_replication_slot('$name', 'pgoutput')" >/dev/null
	on "$name" 5432 "CREATE SUBSCRIPTION $name CONNECTION 'host=$work dbname=shop user=postgres' PUBLICATION of_$binary
		WITH (create_slot = false, slot_name = '$name', binary = $binary)" >/dev/null
	until_true "$name" 5432 "SELECT count(*) = 2 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel" || status=1
	same "replica: binary = $binary: the first copy is the same" "$(on shop 5432 "$digests")" "$(on "$name" 5432 "$digests")"
	# a new version, another active one, one deleted, and a note on a row whose model stays
	on shop 5432 "$train" >/dev/null
	on shop 5432 "SELECT neural.promote('m', 2)" >/dev/null
	on shop 5432 "UPDATE m SET note = 'ünïcode $binary' WHERE version = 2" >/dev/null
	on shop 5432 "SELECT neural.prune('m', 1)" >/dev/null
	lsn=$(on shop 5432 "SELECT pg_current_wal_lsn()")
	until_true shop 5432 "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots WHERE slot_name = '$name'" || status=1
	same "replica: binary = $binary: what came later is the same" "$(on shop 5432 "$digests")" "$(on "$name" 5432 "$digests")"
	check "replica: binary = $binary: two versions are left" "2" "$(on "$name" 5432 "SELECT count(*) FROM m")"
	same "replica: binary = $binary: it predicts the same" "$(on shop 5432 "$predictions")" "$(on "$name" 5432 "$predictions")"
	on "$name" 5432 "ALTER SUBSCRIPTION $name DISABLE" >/dev/null
	on "$name" 5432 "ALTER SUBSCRIPTION $name SET (slot_name = NONE)" >/dev/null
	on "$name" 5432 "DROP SUBSCRIPTION $name" >/dev/null
done
exit $status
