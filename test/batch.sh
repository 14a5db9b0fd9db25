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
python3 "$root/test/batch_queries.py" "$seed" "$count" |
	psql -XAtq -d "$database" >"$out" 2>&1
echo "# seed $seed"
grep -vE '^(batched|scalar)( failing( otherwise)?)?$' "$out" | head -n 60 | sed 's/^/# /'
grep -E '^(batched|scalar)( failing( otherwise)?)?$' "$out" | sort | uniq -c | sed 's/^/# /'
same=$(grep -cE '^(batched|scalar)( failing( otherwise)?)?$' "$out")
batched=$(grep -cE '^batched' "$out")
status=0
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
