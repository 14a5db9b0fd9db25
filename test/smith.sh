#!/usr/bin/env bash
# test/smith.sh: queries that no one would write.
#
#	test/smith.sh [QUERIES [SEED [SQLSMITH]]]
#
# QUERIES (2000) call the extension's functions with arguments and in places
# drawn from the seed (test/smith/smith.py).  Then the program sqlsmith, which
# must be installed for it, runs SQLSMITH (0) queries of its own, in which the
# extension's functions and types are among all others.  No crash, no failed
# assertion, and no internal error from us (XX001 is what bytes that are no model
# are).  Starts a cluster of its own; uses the programs in the PATH.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/common.sh"
PG_CONFIG=$(command -v pg_config) || die "no pg_config in the PATH"
queries=${1:-2000}
seed=${2:-$RANDOM}
sqlsmith=${3:-0}
status=0

# check NAME FOUND: nothing may have been found
check()
{
	if [ -z "$2" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		printf '%s\n' "$2" | cut -c 1-1000 | sed 's/^/# /' | head -n 40
		status=1
	fi
}

crashes()
{
	grep -E 'terminated by signal|PANIC|TRAP' -A 1 "$work/data/log"
}

make_work_folder 1024
start_cluster "log_error_verbosity = verbose" "max_connections = 30" "autovacuum = off"
psql -XAtq -v ON_ERROR_STOP=1 -f "$root/test/smith/set_up.sql" >"$work/out" 2>&1 || {
	cat "$work/out"
	echo "not ok set-up"
	exit 1
}
echo "# seed $seed"
python3 "$root/test/smith/smith.py" "$seed" "$queries" >"$work/queries.sql" || exit 1
# after a crash the connection is gone, and the rest would be lost
psql -XAtq -v ON_ERROR_STOP=0 -f "$work/queries.sql" >"$work/out" 2>&1
good=$((queries - $(grep -c 'ERROR:  ' "$work/out")))
echo "# $good of $queries queries were no error; the others:"
grep -oE 'ERROR:  [0-9A-Z]{5}' "$work/out" | sort | uniq -c | sort -rn | awk '{ printf "%s %s%s", $3, $1, ", " }' | fold -w 100 -s | sed 's/^/# /'
echo
check "smith: $queries queries, no internal error" "$(grep -A 3 -E 'ERROR:  XX00[02]' "$work/out")"
check "smith: no crash" "$(crashes)"
check "smith: a fifth of the queries at least are no error" "$([ $((good * 5)) -ge "$queries" ] || echo "$good of $queries")"

if [ "$sqlsmith" -gt 0 ]; then
	command -v sqlsmith >/dev/null || die "sqlsmith is not installed"
	: >"$work/data/log"
	# a statement that never ends says nothing
	psql -XAtq -c "ALTER SYSTEM SET statement_timeout = '2s'" -c "SELECT pg_reload_conf()" >/dev/null
	sqlsmith --target="host=$work dbname=postgres user=postgres" --seed="$seed" --max-queries="$sqlsmith" --verbose >"$work/out" 2>&1
	grep -a -E '^queries: ' "$work/out" | tail -n 1 | sed 's/^/# /'
	echo "# $(grep -c 'ERROR:  ' "$work/data/log") errors, $(grep -A 8 'ERROR:  ' "$work/data/log" | grep -c 'neural\.') lines of statements with our names"
	files=$(cd "$root/src" && ls pg nn nn/layers | grep '\.c$' | paste -sd'|')
	check "smith: $sqlsmith queries of sqlsmith, no internal error of ours" \
		"$(grep -A 3 -E 'ERROR:  XX0' "$work/data/log" | grep -B 2 -E "LOCATION:.* ($files):")"
	check "smith: no crash by sqlsmith" "$(crashes)"
fi
exit $status
