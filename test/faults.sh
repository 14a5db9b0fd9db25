#!/usr/bin/env bash
# test/faults.sh: memory that is not there, disks that are full, and what a
# session keeps.
#
#	test/faults.sh [ALLOCATIONS [PREDICTIONS [TRAININGS [SEED]]]]
#
# ALLOCATIONS of each statement of test/faults/sweep.sql are made to fail, of
# each kind, one at a time (25; 0 is every one, which takes minutes).
# PREDICTIONS (a million) and TRAININGS (100) may not make a session grow.
# Starts a cluster of its own, under a preloaded library; uses the programs in
# the PATH.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/common.sh"
PG_CONFIG=$(command -v pg_config) || die "no pg_config in the PATH"
allocations=${1:-25}
predictions=${2:-1000000}
trainings=${3:-100}
seed=${4:-$RANDOM}
status=0

# check NAME OUTPUT: lines that do not begin with "#" are what is wrong
check()
{
	printf '%s\n' "$2" | grep '^#'
	if [ -z "$(printf '%s\n' "$2" | grep -v '^#')" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		printf '%s\n' "$2" | grep -v '^#' | sed 's/^/# /' | head -n 30
		status=1
	fi
}

# at_most NAME KILOBYTES LIMIT
at_most()
{
	case $2 in
		'' | *[!0-9-]*) check "$1" "$2 is no number" ;;
		*) check "$1" "$([ "$2" -le "$3" ] || echo "$2 kB are more than $3 kB")
# $2 kB, at most $3" ;;
	esac
}

run()
{
	psql -XAtq -v seed="$seed" "$@" 2>&1
}

make_work_folder 1024
flags="-O2 -std=gnu99 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare
	-Wno-missing-field-initializers -Wno-clobbered -shared -fPIC"
# shellcheck disable=SC2086
${CC:-gcc} $flags -o "$work/preload.so" "$root/test/faults/preload.c" -ldl &&
	${CC:-gcc} $flags -I"$("$PG_CONFIG" --includedir-server)" -o "$work/module.so" "$root/test/faults/module.c" ||
	die "could not build the library that makes faults"
start_cluster "shared_buffers = 16MB" "autovacuum = off" "max_parallel_workers_per_gather = 0"
quietly as_server "$bindir/pg_ctl" -D "$work/data" -w stop
LD_PRELOAD=$work/preload.so quietly as_server "$bindir/pg_ctl" -D "$work/data" -l "$work/data/log" -w start

echo "# seed $seed"
check "faults: out of memory is an error like any other" \
	"$(run -v module="$work/module.so" -v copies="$work/data/copies" -v budget="$allocations" -f "$root/test/faults/sweep.sql")"
check "faults: a full disk and limits keep the version before" "$(run -f "$root/test/faults/disk.sql")"
left=$(
	run 2>&1 <<-'END'
		SET client_min_messages = warning;
		SET neural.max_memory = '8MB';
		SELECT neural.train('kept', 'big', target => 'y', layers => 'dense(4)', epochs => 1) \g /dev/null
		SELECT watch('cancel') \g /dev/null
		CALL neural.retrain('kept');
		SELECT 'files: ' || count(*) || ', versions: ' || (SELECT count(*) FROM kept) FROM pg_ls_dir('base/pgsql_tmp');
	END
)
check "faults: a cancel while a file is removed is obeyed later" \
	"$([ "$left" = "ERROR:  canceling statement due to user request
files: 0, versions: 1" ] || echo "$left")"

run -c "CREATE TABLE wide AS SELECT $(for i in $(seq 30); do printf 'sin(i * %d)::real AS c%d, ' "$i" "$i"; done) i % 2 = 0 AS y
	FROM generate_series(1, 200000) i" >/dev/null
peak()
{
	run -v part=peak -v limit="$1" -v layers="$2" -f "$root/test/faults/memory.sql"
}
small=$(peak 32MB 'dense(8)')
large=$(peak 1GB 'dense(8)')
# Layers that are fitted, behind wide ones that they do not need.
fitted=$(peak 32MB 'input(number) dense(4000) dense(8) dense(4000) a: dense(8) input(number) piecewise_linear concatenate(a) dense(1)')
at_most "faults: the peak of a training is neural.max_memory and 64 MB at most" "$small" $((96 * 1024))
at_most "faults: nor is that of layers which are fitted" "$fitted" $((128 * 1024))
check "faults: the rows are more than that" "$([ "${large:-0}" -gt "$((${small:-0} + 20000))" ] || echo "$large kB is hardly more than $small kB")
# $large kB where all rows fit"
at_most "faults: $predictions predictions leave nothing behind" \
	"$(run -v part=predict -v times="$predictions" -f "$root/test/faults/memory.sql")" 5120
at_most "faults: $trainings trainings leave nothing behind" \
	"$(run -v part=train -v times="$trainings" -f "$root/test/faults/memory.sql")" 5120
check "faults: the server has not crashed" "$(grep -E 'terminated by signal|PANIC' "$work/data/log")"
exit $status
