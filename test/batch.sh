#!/usr/bin/env bash
# test/batch.sh: queries predict in batches what they predict one by one.
#
#	test/batch.sh [COUNT [SEED]]
#
# Runs random queries (test/batch_queries.py) with neural.enable_batch on and
# off and compares all rows, their order, and errors.  Wants PGHOST and so on of
# a throw-away server on which the extension is installed.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
count=${1:-5000}
seed=${2:-$RANDOM}
database=neural_batch
out=$(mktemp)
# of the server, and gone with it
file=$(psql -XAtc 'SHOW data_directory' postgres)/neural_batch.csv
trap 'rm -f "$out"; dropdb --if-exists "$database" >/dev/null 2>&1' EXIT
export PGOPTIONS='-c client_min_messages=error'

dropdb --if-exists "$database" && createdb "$database" || exit 1
psql -XAtq -v ON_ERROR_STOP=1 -v file="$file" -d "$database" -f "$root/test/batch.sql" >"$out" 2>&1 || {
	cat "$out"
	echo "not ok set-up"
	exit 1
}
status=0

# ran HOW SETTINGS QUERY: what auto_explain saw of the two runs: in which one
# how many rows were predicted in batches, and by workers
ran()
{
	PGOPTIONS="-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 -c auto_explain.log_analyze=on \
		-c auto_explain.log_nested_statements=on -c client_min_messages=log" \
		psql -XAtq -d "$database" -c "SELECT check_query(0, '$1', '{$2}', \$q\$$3\$q\$)" 2>&1 | awk '
		/Query Text: / { run = /neural.predict/ && !/EXPLAIN|check_query/; n += run }
		run && /Workers Launched: [1-9]/ { by = " by workers" }
		run && /Rows Predicted: / { printf "%d: %d%s, ", n, $NF, by }
		END { print n " runs" }'
}

for how in plain generic cursor role parallel; do
	settings= by=
	if [ $how = parallel ]; then
		settings=parallel_setup_cost,0,parallel_tuple_cost,0,min_parallel_table_scan_size,0,max_parallel_workers_per_gather,2
		by=" by workers"
	fi
	found=$(ran $how "$settings" "SELECT a.id, neural.predict('plain', a) FROM t a")
	found+="; $(ran $how "$settings" "WITH w AS (SELECT g, neural.predict('plain', a) AS p FROM t a) SELECT g, max(p) FROM w GROUP BY g")"
	found+="; $(ran $how "" "UPDATE t a SET z = neural.predict('plain', a) RETURNING a.id")"
	if [ "$found" = "2: 149$by, 2 runs; 2: 149$by, 2 runs; 2: 149, 2 runs" ]; then
		echo "ok $how: the second run is batched, and it alone"
	else
		echo "not ok $how: the second run is batched, and it alone ($found)"
		status=1
	fi
done

python3 "$root/test/batch_queries.py" "$seed" "$count" |
	psql -XAtq -d "$database" >"$out" 2>&1
echo "# seed $seed"
grep -vE '^(batched|scalar)( failing( otherwise)?)?$' "$out" | head -n 60 | sed 's/^/# /'
grep -E '^(batched|scalar)( failing( otherwise)?)?$' "$out" | sort | uniq -c | sed 's/^/# /'
same=$(grep -cE '^(batched|scalar)( failing( otherwise)?)?$' "$out")
batched=$(grep -cE '^batched' "$out")
if [ "$same" -eq "$count" ]; then
	echo "ok $count queries give the same"
else
	echo "not ok $count queries give the same ($((count - same)) do not; seed $seed)"
	status=1
fi
otherwise=$(grep -c '^batched failing otherwise$' "$out")
if [ "$((otherwise * 200))" -le "$count" ]; then
	echo "ok hardly one fails for another of its rows"
else
	echo "not ok hardly one fails for another of its rows ($otherwise)"
	status=1
fi
if [ "$((batched * 2))" -ge "$count" ]; then
	echo "ok most of them are batched"
else
	echo "not ok most of them are batched ($batched)"
	status=1
fi
exit $status
