#!/usr/bin/env bash
# sanitizers.sh: the tests of the server side under AddressSanitizer and
# UndefinedBehaviorSanitizer, with the server's own assertions.
#
#	scripts/test sanitizers
#
# Left out is "faults", whose own library must be the first, as must theirs.  On
# demand, as it takes half an hour: a server is built for it, from the source
# in the folder PG_SOURCE or fetched by "apt-get source".  SANITIZED names the
# folder where that server stays for another time.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/scripts/common.sh"
: "${PG_CONFIG:=pg_config}"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
chmod 755 "$out"
prefix=${SANITIZED:-$out/pg}
status=0

# What a process that ends has not freed is no leak in a server.
common=abort_on_error=1:print_stacktrace=1:log_path=$out/found/by
export ASAN_OPTIONS=$common:detect_leaks=0:detect_stack_use_after_return=0
export UBSAN_OPTIONS=$common

build_server()
{
	local source=${PG_SOURCE:-$out/source} contrib

	[ -n "${PG_SOURCE:-}" ] || fetch_source "$out" || return 1
	mkdir "$out/build" && cd "$out/build" &&
		"$source/configure" --prefix="$prefix" --enable-cassert --enable-debug \
			--without-readline --without-zlib --without-icu \
			CFLAGS="-O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all" &&
		make -s -j"$(nproc)" && make -s install || return 1
	for contrib in auto_explain file_fdw pg_stat_statements; do
		make -s -C "contrib/$contrib" install || return 1
	done
}

mkdir -m 1777 "$out/found"
if [ ! -x "$prefix/bin/postgres" ]; then
	(build_server) >"$out/log" 2>&1 || {
		tail -n 20 "$out/log"
		echo "not ok a server with sanitizers"
		exit 1
	}
fi
# Built apart: the tree keeps its own.
mkdir "$out/tree"
tar -C "$root" --exclude=.git --exclude=./build --exclude=./test/build --exclude='*.o' --exclude='*.so' -cf - . |
	tar -C "$out/tree" -xf -
forget_connection
PG_CONFIG=$prefix/bin/pg_config CUDA=0 BLAS=0 "$out/tree/scripts/test" regress batch dump flips \
	hostile mixed operations replica settings slots smith
status=$?
cat "$out"/found/* 2>/dev/null | head -n 200
check "sanitizers: nothing found" 0 "$(find "$out/found" -type f | wc -l)"
exit $status
