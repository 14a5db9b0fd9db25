#!/usr/bin/env bash
# server_suite.sh: PostgreSQL's own regression tests, with the module loaded.
#
#	scripts/test server_suite
#
# On demand, as it takes some minutes and PostgreSQL's source: of the folder
# PG_SOURCE, or fetched by "apt-get source".  A test may fail on this server
# without the module, too; with it, just the same ones may.  Wants PGHOST and so
# on of a throw-away server on which the extension is installed, and PG_CONFIG.
set -u
. "$(dirname "$0")/../../scripts/common.sh"
: "${PG_CONFIG:=pg_config}"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
chmod 755 "$out"

source=${PG_SOURCE:-$out/source}
[ -n "${PG_SOURCE:-}" ] || fetch_source "$out" || {
	echo "not ok PostgreSQL's source (set PG_SOURCE to its folder)"
	exit 1
}
suite=$out/suite
cp -r "$source/src/test/regress" "$suite"
gcc -O1 -fPIC -shared -I"$("$PG_CONFIG" --includedir-server)" -o "$suite/regress.so" \
	"$suite/regress.c" 2>"$out/log" || {
	cat "$out/log"
	echo "not ok the suite's own library"
	exit 1
}
# The server reads and writes here, as a user of its own.
mkdir -p "$suite/results" "$suite/testtablespace"
chmod -R a+rwX "$suite"

# run OPTIONS: the names of the tests that fail
run()
{
	(cd "$suite" && PGOPTIONS="$1" "$("$PG_CONFIG" --pgxs | sed 's#src/makefiles/pgxs.mk#src/test/regress/pg_regress#')" \
		--inputdir=. --outputdir=. --dlpath=. --bindir="$("$PG_CONFIG" --bindir)" \
		--schedule=parallel_schedule --max-connections=4) >"$out/log" 2>&1
	sed -nE -e 's/^(test )? *([a-z0-9_]+) +\.\.\. FAILED.*/\2/p' -e 's/^not ok [0-9]+ *[-+] ([a-z0-9_]+).*/\1/p' "$out/log" | sort
	chmod -R a+rwX "$suite"
	cp "$suite/regression.diffs" "$out/diffs.$2" 2>/dev/null
}

without=$(run "" without)
tests=$(grep -cE '^(test )? *[a-z0-9_]+ +\.\.\. |^(not )?ok ' "$out/log")
with=$(run "-c session_preload_libraries=neural" with)
if [ "$tests" -gt 100 ]; then
	echo "ok $tests tests of the server"
else
	tail -n 20 "$out/log"
	echo "not ok $tests tests of the server"
	exit 1
fi
echo "# failing without the module: $(echo $without)"
if [ "$with" = "$without" ]; then
	echo "ok the same with the module"
else
	echo "# failing with the module: $(echo $with)"
	head -n 200 "$out/diffs.with"
	echo "not ok the same with the module"
	exit 1
fi
