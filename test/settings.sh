#!/usr/bin/env bash
# settings.sh: the regression tests again, with settings that change how
# queries run, and beside other extensions with hooks.
#
# Wants PGHOST and so on of a throw-away server on which the extension is
# installed; at last starts one of its own, with the programs in the PATH.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/common.sh"
PG_CONFIG=$(command -v pg_config) || die "no pg_config in the PATH"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
status=0

# result NAME COMMAND...: whose output tells why it failed
result()
{
	local name=$1

	shift
	if "$@" >"$out/log" 2>&1; then
		echo "ok $name"
	else
		echo "not ok $name"
		head -n 60 "$out/log"
		[ ! -f "$out/regression.diffs" ] || head -n 100 "$out/regression.diffs"
		status=1
	fi
}

# suite NAME OPTIONS [TESTS]
suite()
{
	PGOPTIONS=$2 result "$1" make -s -C "$root" PG_CONFIG="$PG_CONFIG" installcheck \
		ISOLATION= ${3:+REGRESS="$3"} EXTRA_REGRESS_OPTS="--outputdir=$out"
}

parallel=force_parallel_mode
[ "$(psql -XAtc "SELECT count(*) FROM pg_settings WHERE name = 'debug_parallel_query'")" = 0 ] ||
	parallel=debug_parallel_query
suite "parallel workers" "-c $parallel=regress"
suite "generic plans" "-c plan_cache_mode=force_generic_plan"
suite "compiled expressions" "-c jit=on -c jit_above_cost=0" "batch predict wrapper"
suite "one row a batch" "-c neural.batch_rows=1" "predict evaluate wrapper privileges"

# plan OPTIONS: what a new connection's first query does, as auto_explain tells
plan()
{
	PGOPTIONS="$1 -c auto_explain.log_min_duration=0 -c auto_explain.log_nested_statements=on -c client_min_messages=log" \
		psql -XAtq -d neural_settings -c "SELECT count(neural.predict('m', t)) FROM t" 2>&1
}

# is NAME PATTERN OPTIONS: in the plan of that query, which gives 100
is()
{
	plan "$3" >"$out/plan"
	result "$1" grep -E "$2" "$out/plan"
	result "$1: result" grep -x 100 "$out/plan"
}

dropdb --if-exists neural_settings 2>/dev/null
createdb neural_settings || exit 1
psql -Xq -v ON_ERROR_STOP=1 -d neural_settings >"$out/log" 2>&1 <<'SQL' || cat "$out/log"
CREATE EXTENSION neural;
CREATE TABLE t AS SELECT i::real AS x, i % 7 AS y FROM generate_series(1, 100) i;
SELECT neural.train('m', 't', target => 'y', layers => 'dense(4) relu', epochs => 1);
SQL
is "the first query, beside auto_explain" "Custom Scan \(NeuralPredict\)" \
	"-c session_preload_libraries=auto_explain"
is "preloaded before auto_explain" "Custom Scan \(NeuralPredict\)" \
	"-c session_preload_libraries=neural,auto_explain"
is "preloaded after auto_explain" "Custom Scan \(NeuralPredict\)" \
	"-c session_preload_libraries=auto_explain,neural"
is "auto_explain with ANALYZE" "Rows Predicted: 99" \
	"-c session_preload_libraries=auto_explain,neural -c auto_explain.log_analyze=on"
is "switched off" "Seq Scan on t" \
	"-c session_preload_libraries=auto_explain -c neural.enable_batch=off"
dropdb neural_settings

# All are loaded when the server starts, and each one sees the same rows.
make_work_folder 512
trap 'rm -rf "$out"; cleanup' EXIT
start_cluster "shared_preload_libraries = 'pg_stat_statements,neural,auto_explain'" \
	"auto_explain.log_min_duration = 0" "auto_explain.log_analyze = on"
psql -XAtq -v ON_ERROR_STOP=1 >"$out/log" 2>&1 <<'SQL' || cat "$out/log"
CREATE EXTENSION pg_stat_statements;
CREATE EXTENSION neural;
CREATE TABLE t AS SELECT i::real AS x, i % 7 AS y FROM generate_series(1, 100) i;
SELECT neural.train('m', 't', target => 'y', layers => 'dense(4) relu', epochs => 1);
SELECT x, neural.predict('m', t) FROM t WHERE neural.predict('m', t) > -1000;
SQL
result "preloaded, pg_stat_statements counts" test "$(psql -XAtc "SELECT calls || ' ' || rows FROM pg_stat_statements
	WHERE query LIKE 'SELECT x, neural.predict%'")" = "1 100"
result "preloaded, auto_explain tells" grep -q "Rows Predicted: 99" "$work/data/log"
(exit $status)
