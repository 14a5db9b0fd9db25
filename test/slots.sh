#!/usr/bin/env bash
# test/slots.sh: a server that has no process or thread to spare.
#
# What asks for one says clearly that there is none, or does without; nothing
# is lost by it.  Starts a cluster of its own, with one worker process; needs
# the extension installed into the server of the PATH's pg_config.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/common.sh"
PG_CONFIG=$(command -v pg_config) || die "no pg_config in the PATH"
status=0
forget_connection
export PGOPTIONS='-c client_min_messages=warning'

query()
{
	psql -XAtq -v VERBOSITY=verbose -c "$1" 2>&1 | grep -v '^LOCATION'
}

make_work_folder 512
start_cluster "max_worker_processes = 1" "max_logical_replication_workers = 0" "autovacuum = off" "jit = off"
query "CREATE EXTENSION neural" >/dev/null
query "CREATE TABLE points AS SELECT i AS id, (i % 100)::real AS x, i % 77 AS z, (i % 100) * 2 + 1.5 * (i % 77) AS y
	FROM generate_series(1, 20000) i" >/dev/null
query "SELECT neural.train('m', 'points', target => 'y', features => '{x, z}', layers => 'dense(64, relu) dense(64, relu)', epochs => 1)" >/dev/null

# ---------- worker processes ----------

job=$(query "SELECT neural.retrain_async('m', options => '{\"epochs\": 1000000}')")
check "slots: the only worker computes" t \
	"$(wait_for "SELECT state = 'running' FROM neural.jobs WHERE id = $job" && echo t)"
taken="ERROR:  53000: could not start a background worker
DETAIL:  All of the server's max_worker_processes (1) are taken.
HINT:  Try again later, or raise max_worker_processes."
check "slots: no worker for a training" "$taken" \
	"$(query "SELECT neural.train_async('other', 'points', target => 'y', epochs => 1)")"
check "slots: nor for a retraining" "$taken" \
	"$(query "SELECT neural.retrain_async('m')")"
check "slots: more than neural.max_workers" "ERROR:  53400: too many background jobs
DETAIL:  neural.max_workers allows 1 at a time.
HINT:  Wait for one of them to end, or raise neural.max_workers." \
	"$(query "SET neural.max_workers = 1; SELECT neural.train_async('other', 'points', target => 'y', epochs => 1)")"
check "slots: no job and no model is left of them" "1|t" \
	"$(query "SELECT count(*), to_regclass('other') IS NULL FROM neural.jobs")"
parallel="SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0"
total="SELECT sum(neural.predict('m', p)::numeric) FROM points p"
check "slots: a parallel query has none of its workers" "Workers Planned: 2 Workers Launched: 0" \
	"$(query "$parallel; EXPLAIN (ANALYZE, COSTS OFF) $total" | grep -o 'Workers .*' | paste -sd' ')"
same "slots: and predicts the same" "$(query "SET neural.enable_batch = off; $total")" "$(query "$parallel; $total")"
check "slots: in the session itself there is room" "1" \
	"$(query "SELECT r.version FROM neural.train('other', 'points', target => 'y', epochs => 1) r")"
check "slots: cancelled" "t|t" \
	"$(query "SELECT neural.cancel($job)")|$(wait_for "SELECT state = 'cancelled' FROM neural.jobs WHERE id = $job" && echo t)"
wait_for "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'neural job')"
job=$(query "SELECT neural.train_async('third', 'points', target => 'y', epochs => 1)")
check "slots: then the next has the worker" t \
	"$(wait_for "SELECT state = 'done' FROM neural.jobs WHERE id = $job" && echo t)"

# ---------- threads ----------

# limited SQL...: in a session that may have no further thread, which only the
# server's own user may say of it
AS_SERVER=
[ "$(id -u)" != 0 ] || AS_SERVER="runuser -u $server_user --"
export AS_SERVER
limited()
{
	{
		echo "SET neural.max_threads = 2; SET neural.predict_threads = 2; SET max_parallel_workers_per_gather = 0;"
		echo "SELECT pg_backend_pid() AS backend \\gset"
		echo "\\setenv BACKEND :backend"
		echo "\\! \$AS_SERVER prlimit --pid \$BACKEND --nproc=1:1"
		printf '%s;\n' "$@"
	} | psql -XAtq -v VERBOSITY=verbose 2>&1 | grep -v '^LOCATION'
}

same "slots: predicting does without threads" "$(query "$total")" "$(limited "$total")"
check "slots: training says that there are none" "ERROR:  53200: could not start thread 1 of 1
DETAIL:  The system says: Resource temporarily unavailable.
HINT:  Try again with fewer threads." \
	"$(limited "SELECT neural.train('m', 'points', target => 'y', layers => 'dense(64, relu)', epochs => 1)")"
check "slots: and the versions are as they were" "1t" \
	"$(query "SELECT string_agg(version::text || left(active::text, 1), ' ') FROM m")"
exit $status
