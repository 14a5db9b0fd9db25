#!/usr/bin/env bash
# test/readme.sh: the manual's examples run.
#
# Every block of SQL in README.md and docs/*.md runs in order, each file in a
# fresh database, a session for each block, started in the top folder (so that
# data/iris.csv is found).  A block that begins with "-- fails (SQLSTATE)" must fail
# with that error; one that begins with "-- elsewhere" needs what a test server has not and
# is left out.  Needs a server (PGHOST etc.) that has the extension.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
database=neural_readme
trap 'psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database" >/dev/null 2>&1; rm -rf "$work"' EXIT
failures=0

for file in "$root"/README.md "$root"/docs/*.md; do
	[ -f "$file" ] || continue
	name=${file#"$root"/}
	rm -f "$work"/block.*
	# One file a block, named by the line of its fence.
	awk -v dir="$work" '
		/^```sql$/ { out = sprintf("%s/block.%05d", dir, NR); next }
		/^```/ { if (out) close(out); out = ""; next }
		out { print > out }' "$file"
	ls "$work"/block.* >/dev/null 2>&1 || continue
	psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database" \
		-c "CREATE DATABASE $database" >/dev/null 2>&1
	for block in "$work"/block.*; do
		line=$((10#${block##*.}))
		first=$(head -n 1 "$block")
		[ "$first" = "-- elsewhere" ] && continue
		if (cd "$root" && psql -X -q -v ON_ERROR_STOP=1 -v VERBOSITY=verbose -d "$database" -f "$block") \
			>"$work/out" 2>&1; then
			status=ok
		else
			status=$(sed -n 's/.*ERROR:  \([0-9A-Z]\{5\}\): .*/-- fails (\1)/p' "$work/out")
		fi
		expected=ok
		[[ $first != "-- fails"* ]] || expected=$first
		if [ "$status" = "$expected" ]; then
			echo "ok $name line $line"
		else
			echo "not ok $name line $line"
			sed 's/^/# /' "$work/out" | tail -n 20
			failures=$((failures + 1))
		fi
	done
done

# The manual's tables name everything there is.
psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database" \
	-c "CREATE DATABASE $database" >/dev/null 2>&1
missing=$(psql -X -q -A -t -d "$database" -c "SET client_min_messages = warning" \
	-c "CREATE EXTENSION neural" -c "LOAD 'neural'" \
	-c "SELECT name FROM neural.vocabulary()
		UNION ALL SELECT name FROM pg_settings WHERE name LIKE 'neural.%'
		UNION ALL SELECT DISTINCT proname FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid
			AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
			JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'neural'
		WHERE proname !~ '^(model|fit)_'" 2>&1 |
	while read -r name; do
		grep -qE "\`(neural\\.)?$name\b" "$root/README.md" || echo "$name"
	done)
if [ -z "$missing" ]; then
	echo "ok README.md names everything"
else
	echo "not ok README.md names everything"
	echo "# missing:" $missing
	failures=$((failures + 1))
fi
[ $failures -eq 0 ]
