#!/usr/bin/env bash
# test/accuracy.sh: what neural.train reaches with no argument but the target.
#
#	test/accuracy.sh			all tables
#	test/accuracy.sh titanic	only these
#
# Public data sets, each with a fixed test split.  A table must be learnt at
# least as well as the figure beside it, in less than a minute on two cores.
# They are no part of this repository: NEURAL_TEST_DATA names the folder that
# holds them and their load.py.  Needs a server (PGHOST etc.) that has the
# extension; scripts/test brings one.
set -u
here=$(cd "$(dirname "$0")" && pwd)
data=${NEURAL_TEST_DATA:-$here/../../shared/data}
database=neural_accuracy

#	table		target				metric		at least
sets="
	titanic		survived			accuracy	0.815
	penguins	species				accuracy	0.968
	adult		income				accuracy	0.858
	mushroom	class_				accuracy	0.999
	nursery		class_				accuracy	0.997
	segment		class_				accuracy	0.955
	optdigits	class_				accuracy	0.982
	cal_housing	medianhousevalue	r2			0.812
	diamonds	price				r2			0.979
	house8L		price				r2			0.680
	puma32H		thetadd6			r2			0.940
"

if [ ! -f "$data/load.py" ]; then
	echo "skip accuracy: no data sets in $data (set NEURAL_TEST_DATA)"
	exit 0
fi

export PGOPTIONS='-c client_min_messages=warning'

run()
{
	psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$database" "$@"
}

psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database" \
	-c "CREATE DATABASE $database" >/dev/null || exit 1
trap 'psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database" >/dev/null' EXIT
run -c "CREATE EXTENSION neural" || exit 1

printf '# %-12s %-9s %9s %9s %9s\n' table metric score 'at least' seconds
failures=0
while read -r table target metric least; do
	[ -n "$table" ] || continue
	if [ $# -gt 0 ]; then
		case " $* " in *" $table "*) ;; *) continue ;; esac
	fi
	name=$(printf '%s' "$table" | tr '[:upper:]' '[:lower:]')
	python3 "$data/load.py" "$data" "$table" | run >/dev/null || {
		echo "not ok accuracy of $table: could not be loaded"
		failures=$((failures + 1))
		continue
	}
	# Every column but ours is a feature or the target.
	columns=$(run -c "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
		FROM pg_attribute WHERE attrelid = 'data.$name'::regclass AND attnum > 0
		AND attname NOT IN ('row_id', 'is_test')")
	result=$(run -F ' ' -v model="$name" -v target="$target" -v metric="$metric" \
		-v train="SELECT $columns FROM data.$name WHERE NOT is_test" \
		-v test="SELECT $columns FROM data.$name WHERE is_test" <<'SQL'
SELECT seconds FROM neural.train(:'model', :'train', target => :'target');
SELECT value FROM neural.evaluate(:'model', :'test') WHERE metric = :'metric';
SQL
	) || result=
	read -r seconds score <<<"$(printf '%s' "$result" | tr '\n' ' ')"
	if [ -z "${score:-}" ]; then
		echo "not ok accuracy of $table: no score"
		failures=$((failures + 1))
		continue
	fi
	line=$(awk -v t="$table" -v m="$metric" -v s="$score" -v l="$least" -v d="$seconds" 'BEGIN {
		printf "# %-12s %-9s %9.4f %9.3f %9.1f", t, m, s, l, d
		exit !(s >= l && d < 60) }')
	if [ $? -eq 0 ]; then
		echo "$line"
		echo "ok accuracy of $table"
	else
		echo "$line"
		echo "not ok accuracy of $table"
		failures=$((failures + 1))
	fi
done <<<"$sets"
[ $failures -eq 0 ]
