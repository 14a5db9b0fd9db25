#!/usr/bin/env bash
# test/operations.sh: what a DBA asks of models in operation: processes that are
# killed, cancelled and shut down at random moments, vacuum beside a retraining,
# and a scheduler.
#
#	test/operations.sh [KILLS [RESTARTS [CANCELS [SEED [SECONDS]]]]]
#
# KILLS processes that train are killed by SIGKILL, the postmaster RESTARTS
# times, and CANCELS retrainings are cancelled; by default 6, 2 and 20.  A
# retraining of SECONDS (2) is watched while rows of its source are updated and
# vacuumed.  The long run is "operations.sh 1000 50 1000 SEED 300".  The seed
# is printed.  Latencies are printed, not judged: machines differ.
#
# Needs the extension installed into the server of the PATH's pg_config; starts
# clusters of its own.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/common.sh"
kills=${1:-6}
restarts=${2:-2}
cancels=${3:-20}
seed=${4:-$(date +%N | sed 's/^0*//')}
seconds=${5:-2}
status=0

query()
{
	psql -XAtq -v ON_ERROR_STOP=1 -c "$1" 2>&1
}

# Set r to a random number of our own, the same on every bash: 0 .. $1 - 1.
random()
{
	seed=$(((seed * 1103515245 + 12345) % 2147483648))
	r=$((seed / 65536 % $1))
}

milliseconds()
{
	date +%s%3N
}

# A pause of up to so many milliseconds.
pause()
{
	random "$1"
	sleep "$(printf '%d.%03d' $((r / 1000)) $((r % 1000)))"
}

# percentiles NAME FILE: of the numbers of a file
percentiles()
{
	[ -s "$2" ] || return 0
	sort -n "$2" | awk -v name="$1" '{ v[NR] = $1 } END {
		printf "# %s: %d, milliseconds: p50 %d, p99 %d, longest %d\n",
			name, NR, v[int((NR + 1) / 2)], v[int(NR * 0.99 + 0.999)], v[NR] }'
}

restart()
{
	as_server "$bindir/pg_ctl" -D "$work/data" -l "$work/data/log" -w "$@" >/dev/null 2>&1
}

PG_CONFIG=$(command -v pg_config)
forget_connection
export PGOPTIONS='-c client_min_messages=warning'
make_work_folder 512
echo "# seed $seed"

# pg_cron, where the server has it or apt can bring it.
version=$(pg_config --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
if [ ! -f "$(pg_config --pkglibdir)/pg_cron.so" ] &&
	[ "$(pg_config --pkglibdir)" = "/usr/lib/postgresql/$version/lib" ]; then
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
		--no-install-recommends "postgresql-$version-cron" >/dev/null 2>&1
fi
cron=
[ -f "$(pg_config --pkglibdir)/pg_cron.so" ] && cron=yes
# Little memory, so that there are temporary files.
start_cluster "neural.max_memory = '8MB'" "shared_preload_libraries = 'neural${cron:+, pg_cron}'" \
	"max_worker_processes = 20" "autovacuum = off" "restart_after_crash = on" \
	${cron:+"cron.database_name = 'postgres'" "cron.host = '$work'"}

query "CREATE EXTENSION neural" >/dev/null
[ -z "$cron" ] || query "CREATE EXTENSION pg_cron" >/dev/null
# Version 2 is the active one.
query "CREATE TABLE points AS SELECT i AS id, (i % 1000)::float8 AS a, (i % 77)::float8 AS b, (i % 13)::float8 AS c,
	(i % 1000) + 3.0 * (i % 77) AS y FROM generate_series(1, 300000) i" >/dev/null
query "SELECT neural.train('m', 'points', target => 'y', features => '{a, b, c}', layers => 'dense(32, relu)',
	epochs => 1, seed => s) FROM generate_series(1, 2) s" >/dev/null
query "SELECT neural.promote('m', 2)" >/dev/null
check "operations: models to begin with" "1f 2t" \
	"$(query "SELECT string_agg(version::text || left(active::text, 1), ' ' ORDER BY version) FROM m")"

# One active version, each of them whole, and no more files than belong there.
whole="SELECT count(*) FILTER (WHERE active) = 1 AND count(*) >= 2 AND bool_and(neural.predict_with(model, p) IS NOT NULL)
	AND bool_and(length(neural.describe(model) ->> 'sha256') = 64) FROM m, (SELECT * FROM points LIMIT 1) p"
temporary()
{
	find "$work/data/base/pgsql_tmp" -type f 2>/dev/null | wc -l
}

# retrain EPOCHS: in the background; when it has ended, the time is in $work/end
retrain()
{
	rm -f "$work/end"
	{
		query "CALL neural.retrain('m', options => '{\"epochs\": $1, \"activate\": \"always\"}')" >"$work/said" 2>&1
		milliseconds >"$work/end.new"
		mv "$work/end.new" "$work/end"
	} &
	retraining=$!
}

# The process that retrains, or nothing.
retraining_pid()
{
	query "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
		AND (query LIKE 'CALL neural.retrain(''m''%' OR query LIKE 'neural.train: m %')"
}

# find_pid: wait for it, ten seconds at most
find_pid()
{
	pid=
	for _ in $(seq 500); do
		pid=$(retraining_pid)
		[ -n "$pid" ] && return 0
		[ -f "$work/end" ] && return 1
		sleep 0.02
	done
	return 1
}

# gone PID: or waits only for its parent to ask how it ended
gone()
{
	case $(ps -o stat= -p "$1") in
		'' | Z*) return 0 ;;
		*) return 1 ;;
	esac
}

# wait_gone PID: ten seconds at most
wait_gone()
{
	for _ in $(seq 500); do
		gone "$1" && return 0
		sleep 0.02
	done
	return 1
}

# ---------- a scheduler ----------

if [ -n "$cron" ]; then
	query "SELECT neural.train('scheduled', 'SELECT * FROM points WHERE id <= 1000', target => 'y', layers => 'dense(1)', epochs => 1)" >/dev/null
	query "SELECT cron.schedule('retrain', '* * * * *', \$\$CALL neural.retrain('scheduled')\$\$)" >/dev/null
fi

# ---------- a long retraining beside vacuum ----------

retrain 1000000
check "operations: the retraining computes" t \
	"$(wait_for "SELECT EXISTS (SELECT FROM neural.progress WHERE model = 'm' AND phase = 'training' AND epoch > 0)" && echo t)"
check "operations: neural.progress tells of it" "postgres postgres m training 300000 t t" \
	"$(query "SELECT database, role, model, phase, rows, epochs = 1000000, pid = (SELECT pid FROM pg_stat_activity
		WHERE query LIKE 'neural.train: m %') FROM neural.progress WHERE model = 'm'" | tr '|' ' ')"
query "CREATE ROLE watcher" >/dev/null
as_watcher()
{
	psql -XAtq -c "SET ROLE watcher" -c "SELECT count(*) FROM neural.progress WHERE model = 'm'"
}
check "operations: others do not see it, unless they may see all" "0 1" \
	"$(as_watcher) $(query "GRANT pg_read_all_stats TO watcher" && as_watcher)"
check "operations: its rows are in a temporary file" t "$([ "$(temporary)" -gt 0 ] && echo t)"
check "operations: it holds no snapshot" "t t" \
	"$(query "SELECT backend_xmin IS NULL, backend_xid IS NULL FROM pg_stat_activity WHERE query LIKE 'neural.train: m %'" | tr '|' ' ')"
check "operations: nor a lock of its source" "0" \
	"$(query "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
		WHERE relation = 'points'::regclass AND query LIKE 'neural.train: m %'")"
query "DELETE FROM points WHERE id % 300 = 0" >/dev/null
check "operations: vacuum removes what died meanwhile" "1000" \
	"$(PGOPTIONS='-c client_min_messages=info' psql -Xq -c "VACUUM (VERBOSE) points" 2>&1 |
		sed -nE 's/.*(tuples: |found )([0-9]+) removed.*/\2/p' | head -n 1)"
# Until the time is over: what the training holds, and what vacuum cannot remove.
samples=0
holding=0
removed=0
kept=0
end=$(($(date +%s) + seconds))
while [ "$(date +%s)" -lt $end ]; do
	query "UPDATE points SET c = c WHERE id % 1000 = $((samples % 1000))" >/dev/null
	[ "$(query "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'neural.train: m %'
		AND backend_xmin IS NULL AND backend_xid IS NULL")" = 1 ] || holding=$((holding + 1))
	counts=$(PGOPTIONS='-c client_min_messages=info' psql -Xq -c "VACUUM (VERBOSE) points" 2>&1 |
		sed -nE 's/.*tuples: ([0-9]+) removed, [0-9]+ remain, ([0-9]+) are dead.*/\1 \2/p' | head -n 1)
	removed=$((removed + ${counts% *}))
	kept=$((kept + ${counts#* }))
	samples=$((samples + 1))
done
echo "# $seconds seconds: $samples times looked, $removed dead rows removed"
check "operations: a snapshot was held 0 times, dead rows kept back 0" "0 0 t" \
	"$holding $kept $([ $removed -gt 0 ] && echo t)"
check "operations: versions are used meanwhile" "t" "$(query "$whole")"
check "operations: only one at a time" "ERROR:  model \"m\" is being retrained already" \
	"$(query "CALL neural.retrain('m')" | head -n 1)"
find_pid && kill -INT "$pid"
wait $retraining
check "operations: it ends when cancelled" "ERROR:  canceling statement due to user request" "$(grep -h ERROR "$work/said")"
check "operations: its files are gone" 0 "$(temporary)"

# ---------- cancel, terminate, statement_timeout, max_seconds ----------

: >"$work/cancel"
: >"$work/terminate"
bad=
for i in $(seq "$cancels"); do
	retrain 1000000
	find_pid || {
		bad="$bad no-training"
		break
	}
	pause 600
	began=$(milliseconds)
	if [ $((i % 4)) -eq 0 ]; then kill -TERM "$pid"; else kill -INT "$pid"; fi
	wait $retraining
	echo $(($(cat "$work/end") - began)) >>"$work/$([ $((i % 4)) -eq 0 ] && echo terminate || echo cancel)"
	# who is told to go says so before it cleans up
	[ $((i % 4)) -ne 0 ] || wait_gone "$pid" || bad="$bad still-there"
	grep -qE 'canceling statement due to user request|terminating connection due to administrator command' "$work/said" ||
		bad="$bad $(head -c 200 "$work/said")"
	[ "$(temporary)" = 0 ] || bad="$bad temporary-files"
done
check "operations: $cancels cancelled or terminated" "" "$bad"
percentiles "cancel" "$work/cancel"
percentiles "terminate" "$work/terminate"
check "operations: nothing has changed" "t 1f 2t" \
	"$(query "$whole") $(query "SELECT string_agg(version::text || left(active::text, 1), ' ' ORDER BY version) FROM m")"
# In one session, memory is what it was.
{
	echo "SET statement_timeout = 150; CALL neural.retrain('m', options => '{\"epochs\": 1000000}');"
	echo "RESET statement_timeout; SELECT sum(total_bytes) AS before FROM pg_backend_memory_contexts \\gset"
	for _ in $(seq 8); do
		random 300
		echo "SET statement_timeout = $((20 + r));"
		echo "CALL neural.retrain('m', options => '{\"epochs\": 1000000}');"
	done
	echo "RESET statement_timeout; SELECT sum(total_bytes) - :before < 500000, sum(total_bytes) FILTER (WHERE name LIKE 'neural training%') IS NULL FROM pg_backend_memory_contexts;"
} >"$work/timeouts.sql"
check "operations: statement_timeout, and memory is given back" "t|t|9" \
	"$(psql -XAtq -f "$work/timeouts.sql" 2>"$work/said" | tail -n 1)|$(grep -c 'due to statement timeout' "$work/said")"
# A client that has not said ROLLBACK keeps nothing of a training busy.
check "operations: a failed training is over at once" "1 0 1" \
	"$(psql -XAtq 2>/dev/null <<-'END' | tr '\n' ' ' | sed 's/ $//'
		BEGIN;
		SET LOCAL statement_timeout = 500;
		SELECT 1;
		DO $$ BEGIN PERFORM neural.train('m', 'points', target => 'y', layers => 'dense(256, relu) dense(256, relu)', epochs => 1000000, options => '{"threads": 2}'); END $$;
		\! psql -XAtq -c "SELECT count(*) FROM neural.progress"
		\! ls /proc/$(psql -XAtq -c "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction (aborted)'")/task | wc -l
	END
	)"
check "operations: max_seconds keeps the best so far" "version 3 of m is active|t" \
	"$(query "CALL neural.retrain('m', options => '{\"epochs\": 1000000, \"max_seconds\": 0.8, \"activate\": \"always\"}')" |
		sed 's/: .*//')|$(query "SELECT (training ->> 'epochs')::int < 1000000 FROM m WHERE active")"
query "SELECT neural.rollback('m')" >/dev/null
check "operations: temp_file_limit is a clear error" \
	"ERROR:  temporary file size exceeds temp_file_limit (1024kB)|0" \
	"$(psql -XAtq -c "SET temp_file_limit = '1MB'" -c "CALL neural.retrain('m')" 2>&1 | head -n 1 | tr -d '"')|$(temporary)"

# ---------- the scheduler, again ----------

if [ -n "$cron" ]; then
	wait_for "SELECT EXISTS (SELECT FROM cron.job_run_details WHERE status IN ('succeeded', 'failed'))"
	query "SELECT cron.unschedule('retrain')" >/dev/null
	check "operations: pg_cron retrains" "succeeded|1 row|t" \
		"$(query "SELECT status, return_message, EXISTS (SELECT FROM scheduled WHERE version = 2) FROM cron.job_run_details ORDER BY runid LIMIT 1")"
else
	echo "ok operations: pg_cron is not there # SKIP"
fi

# ---------- kill -9 ----------

# A kill comes at any moment of the time that a retraining takes here.
began=$(milliseconds)
retrain 2
wait $retraining
usual=$(($(cat "$work/end") - began))
query "SELECT neural.prune('m', 2)" >/dev/null
: >"$work/recovery"
bad=
for i in $(seq "$kills"); do
	if [ $((i % 3)) -eq 0 ]; then
		job=$(query "SELECT neural.retrain_async('m', options => '{\"epochs\": 2, \"activate\": \"always\"}')")
		pause $usual
		pid=$(query "SELECT pid FROM neural.jobs WHERE id = $job AND state = 'running'")
	else
		retrain 2
		find_pid
		pause $usual
	fi
	# the active version, and the number that the next one gets
	read -r before next < <(query "SELECT max(version) FILTER (WHERE active) || ' ' || max(version) + 1 FROM m")
	began=$(milliseconds)
	if [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null; then
		sleep 0.05
		wait_for "SELECT NOT pg_is_in_recovery()" || bad="$bad no-restart"
		echo $(($(milliseconds) - began)) >>"$work/recovery"
	fi
	[ $((i % 3)) -eq 0 ] || wait $retraining
	[ "$(query "$whole")" = t ] || bad="$bad broken($(query "$whole"))"
	after=$(query "SELECT version FROM m WHERE active")
	[ "$after" = "$before" ] || [ "$after" = "$next" ] || bad="$bad version-$before-$after"
	if [ $((i % 3)) -eq 0 ]; then
		wait_for "SELECT state NOT IN ('queued', 'running') FROM neural.jobs WHERE id = $job" || bad="$bad job-goes-on"
		case $(query "SELECT state FROM neural.jobs WHERE id = $job") in
			lost | done) ;;
			*) bad="$bad job-$(query "SELECT state FROM neural.jobs WHERE id = $job")" ;;
		esac
	fi
	[ "$(temporary)" = 0 ] || bad="$bad temporary-files"
	query "SELECT neural.prune('m', 2)" >/dev/null
done
[ -s "$work/recovery" ] || bad="$bad none"
check "operations: $kills training processes killed" "" "$bad"
percentiles "back after a kill" "$work/recovery"

: >"$work/start"
: >"$work/orphan"
bad=
for _ in $(seq "$restarts"); do
	retrain 1000000
	find_pid || bad="$bad no-training"
	pause 400
	before=$(query "SELECT version FROM m WHERE active")
	kill -KILL "$(head -n 1 "$work/data/postmaster.pid")"
	began=$(milliseconds)
	wait $retraining
	# It notices that the postmaster is gone, or the next one cannot start.
	wait_gone "$pid" || bad="$bad orphan"
	echo $(($(milliseconds) - began)) >>"$work/orphan"
	began=$(milliseconds)
	for _ in $(seq 50); do
		restart start && break
		sleep 0.1
	done
	echo $(($(milliseconds) - began)) >>"$work/start"
	[ "$(query "$whole")" = t ] || bad="$bad broken($(query "$whole"))"
	[ "$(query "SELECT version FROM m WHERE active")" = "$before" ] || bad="$bad version"
	[ "$(temporary)" = 0 ] || bad="$bad temporary-files"
done
check "operations: the postmaster killed $restarts times" "" "$bad"
percentiles "until the training has noticed" "$work/orphan"
percentiles "start after it" "$work/start"

# ---------- fast shutdown ----------

retrain 1000000
find_pid
job=$(query "SELECT neural.train_async('n', 'points', target => 'y', layers => 'dense(32, relu)', epochs => 1000000)")
check "operations: a job holds no snapshot either" t \
	"$(wait_for "SELECT EXISTS (SELECT FROM neural.progress WHERE model = 'n' AND epoch > 0)" &&
		query "SELECT backend_xmin IS NULL FROM pg_stat_activity WHERE backend_type = 'neural job'")"
pause 700
began=$(milliseconds)
restart -m fast stop
echo "# fast shutdown: $(($(milliseconds) - began)) milliseconds"
wait $retraining
restart start
check "operations: after a fast shutdown" "t lost" "$(query "$whole") $(query "SELECT state FROM neural.jobs WHERE id = $job")"
check "operations: and no file is left" 0 "$(temporary)"
check "operations: the server never failed an assertion" "" "$(grep -E 'PANIC|TRAP:' "$work/data/log")"
exit $status
