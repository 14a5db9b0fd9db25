#!/usr/bin/env bash
# test/structure.sh: the rules of docs/architecture.md that a compiler does not
# check.
#
# Wants a built tree; what the extension's catalog must satisfy is looked up
# in a server (PGHOST etc.) that has the extension.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
CC=${CC:-gcc}
work=$(mktemp -d)
database=neural_structure
trap 'psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database" >/dev/null 2>&1; rm -rf "$work"' EXIT
status=0

# check NAME FOUND: nothing may have been found
check()
{
	if [ -z "$2" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		printf '%s\n' "$2" | sed 's/^/    /' | head -n 20
		status=1
	fi
}

# The engine's objects may use libc and threads, and of those only this.  No
# malloc (memory comes from arenas), no stdio but formatting into buffers, no
# exit, abort or longjmp, nothing of PostgreSQL.
allowed='__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__(v)?snprintf_chk|v?snprintf|__mem(cpy|set|move)_chk|__strn?cpy_chk|mem(cpy|set|move|cmp|chr)|str(len|nlen|cmp|ncmp|chr|rchr|tol|toll|tod|error|str|casecmp|ncasecmp)|__isoc(99|23)_.*|qsort|bsearch|__ctype_(b|tolower)_loc|tolower|isfinite|(exp|expm1|exp2|log|log1p|log2|log10|pow|sqrt|sin|cos|tanh?|erf|floor|ceil|round|rint|fmin|fmax|fabs|fmod|ldexp|frexp|lround|nearbyint)f?|sigfillset|pthread_(sigmask|create|join|(mutex|cond|attr)_.*)|posix_memalign|free|dl(open|sym|close|error)|clock_gettime|__cpu_(model|indicator_init)|__errno_location|nn_.*'
objects=$(find src/nn -name '*.o')
check "the engine has been built" "$([ -n "$objects" ] || echo "no objects in src/nn")"
check "the engine uses nothing but an allowed part of libc" \
	"$(for o in $objects; do nm -u "$o" | awk '{print $2}' | sed 's/@.*//' |
		grep -vxE "$allowed" | sed "s|^|$o: |"; done)"
check "only one file of the engine takes memory of its own" \
	"$(for o in $objects; do nm -u "$o" | grep -qw posix_memalign && echo "$o"; done |
		grep -vx src/nn/cpu.o)"
check "the engine includes libc's headers and its own only" \
	"$(grep -nE '#include *[<"](postgres|c\.h|cblas|cuda|utils/|catalog/|executor/|access/|fmgr)' \
		-r src/nn --include='*.[ch]')"
check "the extension's library exports PostgreSQL's entry points only" \
	"$(nm -D --defined-only neural.so | awk '$2 ~ /[TDB]/ {print $3}' |
		grep -vE '^(_init|_fini|_PG_init|Pg_magic_func|(pg_finfo_)?neural_[a-z_0-9]+)$')"
if [ -f neural_cuda.so ]; then
	check "the CUDA provider exports one symbol" \
		"$(nm -D --defined-only neural_cuda.so | grep -v ' nn_device_provider_[0-9]*$')"
	check "the CUDA provider needs no library of CUDA" \
		"$(ldd neural_cuda.so | grep -iE 'cuda|cublas')"
fi
check "neither BLAS nor CUDA is linked" \
	"$(ldd neural.so | grep -iE 'blas|cuda|gomp|stdc')"

alone=
for h in src/nn/*.h src/pg/*.h; do
	case $h in
		# bodies that a level's file compiles with its own macros
		src/nn/simd.h | src/nn/kernel_*.h | src/nn/cpu_kernels.h) continue ;;
	esac
	printf '#include "%s"\n' "$root/$h" >"$work/header.c"
	case $h in
		src/pg/*) flags="-I$root/src/pg -I$(pg_config --includedir-server) -include postgres.h" ;;
		*) flags= ;;
	esac
	# shellcheck disable=SC2086
	$CC -std=gnu99 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-parameter \
		-Wno-sign-compare -Wno-missing-field-initializers \
		$flags -fsyntax-only "$work/header.c" >"$work/out" 2>&1 ||
		alone+="$h: $(head -n 5 "$work/out")"$'\n'
done
check "every header compiles alone" "$alone"

check "no floating-point mode is changed" \
	"$(grep -nE -- '-ffast-math|-Ofast|-march=native' Makefile src/nn/sources.mk test/Makefile)"
check "users cause no internal error" \
	"$(grep -nE 'elog\(ERROR' -r src/pg --include='*.c' | grep -vE 'does not return|SPI_|unexpected|cache lookup failed')"
check "PG_VERSION_NUM is looked at in one place" \
	"$(grep -nE 'PG_VERSION_NUM' -r src --include='*.[ch]' | grep -v '^src/pg/compat.h')"

psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database" \
	-c "CREATE DATABASE $database" >/dev/null 2>&1
query()
{
	psql -X -A -t -q -v ON_ERROR_STOP=1 -d "$database" -c "$1" 2>&1
}
query 'CREATE EXTENSION neural'
members="SELECT objid FROM pg_depend WHERE deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'neural')"
check "every function says what it does" \
	"$(query "SELECT oid::regprocedure FROM pg_proc WHERE oid IN ($members)
		AND obj_description(oid, 'pg_proc') IS NULL")"
check "every type and view says what it is" \
	"$(query "SELECT oid::regtype FROM pg_type WHERE oid IN ($members) AND typtype <> 'p'
		AND typname !~ '^_' AND typrelid = 0 AND obj_description(oid, 'pg_type') IS NULL
		UNION ALL SELECT oid::regclass::text::regtype FROM pg_class WHERE oid IN ($members)
		AND relkind = 'v' AND obj_description(oid, 'pg_class') IS NULL")"
check "every function states its volatility and parallel mark" \
	"$(awk 'BEGIN { RS = ";" } /CREATE FUNCTION/ && !(/IMMUTABLE|STABLE|VOLATILE/ && /PARALLEL/) \
		{ print }' extension/neural--*.sql | grep 'CREATE FUNCTION')"
check "no function runs with its owner's rights" \
	"$(query "SELECT oid::regprocedure FROM pg_proc WHERE oid IN ($members) AND prosecdef")"
check "every function is the C library's" \
	"$(query "SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = prolang
		WHERE p.oid IN ($members) AND lanname <> 'c' AND prokind <> 'a'")"
check "nothing but some views, and a table with row security, is granted to all" \
	"$(query "SELECT oid::regclass FROM pg_class WHERE oid IN ($members) AND relkind IN ('r', 'v')
		AND relname NOT IN ('models', 'devices', 'progress', 'jobs', 'job') AND relacl::text ~ '[{,]='
		UNION ALL SELECT oid::regclass FROM pg_class WHERE oid IN ($members) AND relkind = 'r' AND NOT relrowsecurity
		UNION ALL SELECT oid::regclass FROM pg_class WHERE oid IN ($members) AND relname = 'jobs'
		AND NOT reloptions @> '{security_invoker=true}'")"
check "the script's checker finds what it is about" "$(python3 test/spot.py --self-test 2>&1)"
check "the scripts trust no name that others could have made" \
	"$(python3 test/spot.py extension/neural--*.sql 2>&1)"
exit $status
