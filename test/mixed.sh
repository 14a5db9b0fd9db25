#!/usr/bin/env bash
# test/mixed.sh: sessions that train, predict, promote, prune, rename, drop and
# grant, all at once.
#
#	test/mixed.sh [OPERATIONS [SESSIONS [SEED]]]
#
# OPERATIONS (3000) are shared among SESSIONS (16).  No error but those that
# such neighbours explain, and every prediction is that of a version that its
# snapshot could see.  Wants PGHOST and so on of a throw-away server on which the
# extension is installed.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
operations=${1:-3000}
sessions=${2:-16}
seed=${3:-$RANDOM}
export PGDATABASE=neural_mixed PGOPTIONS="-c client_min_messages=warning"
status=0

forget()
{
	dropdb --if-exists neural_mixed
	psql -XAtq -d postgres -c "DROP ROLE IF EXISTS neural_mixed_reader" 2>/dev/null
}
trap forget EXIT
forget
createdb neural_mixed && psql -XAtq -c "CREATE ROLE neural_mixed_reader" &&
	psql -XAtq -v ON_ERROR_STOP=1 -f "$root/test/mixed/set_up.sql" || exit 1

echo "# seed $seed"
if python3 "$root/test/mixed/mixed.py" "$operations" "$sessions" "$seed"; then
	echo "ok mixed: $operations operations of $sessions sessions"
else
	echo "not ok mixed: $operations operations of $sessions sessions"
	status=1
fi
# What is left is whole.
wrong=$(psql -XAtq 2>&1 <<'SQL'
SELECT m.name || ' ' || j FROM neural.models m, judge(m.name) j WHERE j <> 'right';
SELECT format('SELECT %L || count(*) || '' active versions'' FROM %I WHERE active HAVING count(*) > 1', name || ' has ', name)
  FROM neural.models \gexec
SQL
)
if [ -z "$wrong" ]; then
	echo "ok mixed: what is left is whole"
else
	echo "not ok mixed: what is left is whole"
	printf '%s\n' "$wrong" | sed 's/^/# /' | head
	status=1
fi
exit $status
