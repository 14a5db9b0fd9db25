# common.sh: what scripts/demo, scripts/test and bench/run share.  Sourced by
# bash, with root set to the top of the tree.
#
# setup() installs what is missing (Debian's packages, with apt-get), builds,
# installs the extension, and starts a throw-away cluster: its own private
# folder, reachable through a Unix socket in that folder and nothing else, gone
# when the script ends.  No existing cluster is ever touched.  PostgreSQL loads
# extensions from the server's own folders, so "make install" does write there.
#
# Environment: PG_CONFIG chooses the server, TMPDIR the place of the cluster;
# VALGRIND=1 runs the cluster under valgrind, whose findings go to valgrind.* in
# the cluster's folder.

export LC_ALL=C.UTF-8
work=

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# check NAME EXPECTED ACTUAL: of a test; sets status to 1
check()
{
	if [ "$2" = "$3" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		# No line of theirs is to count as a test.
		printf 'expected: %s\nfound:    %s\n' "$2" "$3" | sed 's/^/# /' | head -n 40
		status=1
	fi
}

# same NAME EXPECTED ACTUAL: and EXPECTED is a result
same()
{
	case $2 in
		'' | *ERROR* | *FATAL* | *'server closed'*) check "$1" "a result" "$2" ;;
		*) check "$@" ;;
	esac
}

# wait_for QUERY: up to a minute, until it says true
wait_for()
{
	for _ in $(seq 600); do
		[ "$(psql -XAtqc "$1" 2>/dev/null)" = t ] && return 0
		sleep 0.1
	done
	return 1
}

# Nothing of the caller's own connection settings may leak in.
forget_connection()
{
	local v

	for v in ${!PG@}; do
		[ "$v" = PG_CONFIG ] || unset "$v"
	done
}

# Run a step quietly; show all it printed when it fails.
quietly()
{
	local log="$work/step.log"

	if ! "$@" >"$log" 2>&1 </dev/null; then
		tail -n 40 "$log" >&2
		die "failed: $*"
	fi
}

# as_root COMMAND...: directly, or by sudo.
as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		sudo -- "$@"
	else
		return 126
	fi
}

# The newest server of Debian's layout, or the one of the PATH.
find_pg_config()
{
	local c

	if [ -n "${PG_CONFIG:-}" ]; then
		command -v "$PG_CONFIG" >/dev/null ||
			die "PG_CONFIG names no program: $PG_CONFIG"
		return
	fi
	for c in $(ls -d /usr/lib/postgresql/*/bin/pg_config 2>/dev/null | sort -t/ -k5,5nr) \
		"$(command -v pg_config)"; do
		[ -n "$c" ] && [ -x "$("$c" --bindir)/postgres" ] || continue
		[ "$("$c" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge 15 ] || continue
		PG_CONFIG=$c
		return
	done
}

# The major version that Debian's package "postgresql" stands for.
packaged_version()
{
	apt-cache show postgresql 2>/dev/null |
		sed -n 's/^Depends:.*postgresql-\([0-9][0-9]*\).*/\1/p' | head -n 1
}

# missing_packages PACKAGE...
missing_packages()
{
	local version package

	if [ -z "${PG_CONFIG:-}" ]; then
		version=$(packaged_version)
		printf '%s ' "postgresql${version:+-$version}" \
			"postgresql-server-dev-${version:-all}"
	elif [ ! -f "$("$PG_CONFIG" --pgxs)" ] ||
		[ ! -f "$("$PG_CONFIG" --includedir-server)/postgres.h" ]; then
		version=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
		printf '%s ' "postgresql-server-dev-$version"
	fi
	command -v gcc >/dev/null || printf 'gcc libc6-dev '
	command -v make >/dev/null || printf 'make '
	printf '#include <cblas.h>\nchar *(*f)(void) = openblas_get_corename;\n' |
		gcc -fsyntax-only -x c - >/dev/null 2>&1 ||
		printf 'libopenblas-dev '
	for package; do
		case $package in
			python3-*)
				"${PYTHON:-python3}" -c "import importlib.util, sys
sys.exit(importlib.util.find_spec('${package#python3-}') is None)" 2>/dev/null ;;
			lib*)
				dpkg -s "$package" >/dev/null 2>&1 ;;
			*)
				command -v "$package" >/dev/null ;;
		esac || printf '%s ' "$package"
	done
}

# install_packages PACKAGE...: what is needed beside a server and a compiler:
# programs named as their packages, Python's modules, libraries.
install_packages()
{
	local missing

	find_pg_config
	missing=$(missing_packages "$@")
	[ -z "$missing" ] && return
	command -v apt-get >/dev/null ||
		die "this is no Debian (no apt-get); please install the equivalents of: $missing"
	say "installing with apt-get: $missing"
	as_root apt-get update -qq >/dev/null 2>&1 || :
	# Only now is the package list sure to be there.
	missing=$(missing_packages "$@")
	# shellcheck disable=SC2086
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
		--no-install-recommends $missing >"$work/apt.log" 2>&1 </dev/null || {
		tail -n 20 "$work/apt.log" >&2
		die "these packages are needed and could not be installed: $missing
Install them as root, then run this again:
    apt-get update && apt-get install $missing"
	}
	find_pg_config
	missing=$(missing_packages "$@")
	[ -z "$missing" ] || die "still missing after installing: $missing"
}

# Build and install, one script at a time in a tree.
build()
{
	local version

	version=$("$PG_CONFIG" --version)
	if [ "$(cat "$root/build/pg_version" 2>/dev/null)" != "$version" ]; then
		quietly make -s -C "$root" PG_CONFIG="$PG_CONFIG" clean
		mkdir -p "$root/build"
		printf '%s\n' "$version" >"$root/build/pg_version"
	fi
	quietly make -s -C "$root" PG_CONFIG="$PG_CONFIG" WERROR="${WERROR:-}" -j"$(nproc)" all
	if [ -w "$("$PG_CONFIG" --pkglibdir)" ]; then
		quietly make -s -C "$root" PG_CONFIG="$PG_CONFIG" install
	else
		as_root make -s -C "$root" PG_CONFIG="$PG_CONFIG" install >"$work/step.log" 2>&1 || {
			tail -n 20 "$work/step.log" >&2
			die "could not install the extension into $("$PG_CONFIG" --pkglibdir); run this as root or with sudo"
		}
	fi
}

# A lock that ends with the shell, or with unlock_tree.
lock_tree()
{
	exec 9<"$root/Makefile"
	flock -n 9 || {
		say "waiting for another run in this tree"
		flock 9
	}
}

unlock_tree()
{
	exec 9<&-
}

# The server refuses to run as root.
as_server()
{
	if [ "$(id -u)" = 0 ]; then
		(cd "$work" && runuser -u "$server_user" -- "$@")
	else
		(cd "$work" && "$@")
	fi
}

# Whatever happens, nothing stays behind.
cleanup()
{
	local status=$?

	trap '' INT TERM HUP
	[ -n "$work" ] || exit $status
	if [ -f "$work/data/postmaster.pid" ]; then
		as_server "$bindir/pg_ctl" -D "$work/data" -m immediate -w stop \
			>/dev/null 2>&1 9<&-
	fi
	rm -rf "$work"
	exit $status
}

make_work_folder()
{
	local base=${TMPDIR:-/tmp} free

	# A socket's path has at most 107 bytes, and no quotes or commas here.
	[ ${#base} -le 60 ] && [ -z "$(printf %s "$base" | tr -d 'A-Za-z0-9_./-')" ] || base=/tmp
	free=$(df -Pk "$base" | awk 'NR == 2 { print int($4 / 1024) }')
	[ "${free:-0}" -ge "${1:-1024}" ] ||
		die "$base has $free MB free, ${1:-1024} MB are needed; set TMPDIR to another place"
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	work=$(mktemp -d "$base/neural.XXXXXX") || die "could not make a folder in $base"
	chmod 700 "$work"
}

# A server that is valgrind with a server in it.  Without its own build with
# USE_VALGRIND there is noise, about padding that is written to disk, say.
under_valgrind()
{
	server=$work/postgres
	printf '#!/bin/sh\nexec valgrind --quiet --trace-children=yes --vgdb=no --leak-check=no %s --log-file=%s "%s" "$@"\n' \
		"--num-callers=30" "$work/valgrind.%p" "$bindir/postgres" >"$server"
	chmod 755 "$server"
}

# valgrind_findings: errors that the extension has a part in, but for padding
# that the server writes out, which only a server of USE_VALGRIND tells apart
valgrind_findings()
{
	cat "$work"/valgrind.* 2>/dev/null | awk '
		/^==[0-9]+== *$/ { if (ours && !padding) print block; block = ""; ours = padding = 0; next }
		{
			block = block $0 "\n"
			ours = ours || /neural[a-z_]*\.so/ || /src\/(pg|nn)\//
			padding = padding || /Syscall param p?write(64)?\(buf\) points to uninitialised/
		}
		END { if (ours && !padding) print block }'
}

# start_cluster SETTING...
start_cluster()
{
	local setting server

	bindir=$("$PG_CONFIG" --bindir)
	server_user=$(id -un)
	if [ "$(id -u)" = 0 ]; then
		for server_user in postgres nobody; do
			id "$server_user" >/dev/null 2>&1 && break
		done
		chown "$server_user" "$work"
	fi
	quietly as_server "$bindir/initdb" -D "$work/data" -U postgres --auth=trust \
		--encoding=UTF8 --locale=C.UTF-8 --no-sync
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$work'"
		echo "fsync = off"
		echo "max_wal_size = 4GB"
		echo "log_min_messages = warning"
		[ -z "${VALGRIND:-}" ] || echo "jit = off"
		for setting; do
			echo "$setting"
		done
	} >>"$work/data/postgresql.conf"
	server=$bindir/postgres
	[ -z "${VALGRIND:-}" ] || under_valgrind
	# The server must not hold the tree's lock.
	quietly as_server "$bindir/pg_ctl" -D "$work/data" -l "$work/data/log" -p "$server" \
		-t 600 -w start 9<&-
	export PGHOST=$work PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	export PATH="$bindir:$PATH"
}

# fetch_source FOLDER: PostgreSQL's source into FOLDER/source, from the machine's
# own package sources, asked for sources: the newest of the server's version.
fetch_source()
{
	local out=$1 version file v options

	version=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
	mkdir -p "$out/lists/partial" "$out/etc"
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
		sed -n 's/^deb /deb-src /p' >"$out/etc/sources.list"
	for file in /etc/apt/sources.list.d/*.sources; do
		[ ! -f "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" >"$out/etc/$(basename "$file")"
	done
	options=(-qq -o Dir::Etc::sourcelist="$out/etc/sources.list" -o Dir::Etc::sourceparts="$out/etc"
		-o Dir::State::lists="$out/lists" -o Dir::Cache="$out")
	(
		cd "$out" || exit 1
		apt-get "${options[@]}" update >/dev/null 2>&1
		for v in $(apt-cache "${options[@]}" showsrc "postgresql-$version" 2>/dev/null | sed -n 's/^Version: //p' | sort -uVr); do
			apt-get "${options[@]}" --download-only source "postgresql-$version=$v" >/dev/null 2>&1 || continue
			mkdir source && tar -xf postgresql-*.orig.tar.* -C source --strip-components=1
			exit
		done
		exit 1
	)
}

# setup MEGABYTES PACKAGE...: everything up to a running cluster.
setup()
{
	local megabytes=$1

	shift
	forget_connection
	make_work_folder "$megabytes"
	install_packages "$@"
	say "server: $("$PG_CONFIG" --version), $("$PG_CONFIG" --bindir)"
	lock_tree
	build
	say "installed: $("$PG_CONFIG" --pkglibdir)/neural.so"
	unlock_tree
	start_cluster ${settings[@]+"${settings[@]}"}
}
