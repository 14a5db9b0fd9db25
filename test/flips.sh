#!/usr/bin/env bash
# test/flips.sh: bits that flip on disk, in stored models.
#
#	test/flips.sh [MODELS [SEED]]
#
# Damages the toast of MODELS (200) in the files of a server that is stopped,
# each in another place.  Whatever is asked of them is then an error XX001 or the
# right answer, and no crash.  Starts a cluster of its own; uses the programs in
# the PATH.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/common.sh"
PG_CONFIG=$(command -v pg_config) || die "no pg_config in the PATH"
models=${1:-200}
seed=${2:-$RANDOM}

run()
{
	psql -XAtq -v ON_ERROR_STOP=1 "$@" 2>&1
}

make_work_folder 1024
start_cluster "autovacuum = off"
run -v models="$models" >/dev/null <<'SQL' || die "could not make models"
SET client_min_messages = error;
CREATE EXTENSION neural;
CREATE TABLE sale AS SELECT i AS id, i % 7 AS n, sin(i)::real AS x, 'text ' || i % 5 AS t, date '2024-01-01' + i AS d,
        timestamptz '2024-01-01 UTC' + i * interval '5 hours' AS z, i % 2 = 0 AS y
    FROM generate_series(1, 60) i;
SET timezone = 'Asia/Tokyo';
SELECT neural.train('m', 'sale', target => 'y', layers => 'a: dense(60, relu) batch_normalization', epochs => 1);
CREATE TABLE damaged OF neural.model_table;
INSERT INTO damaged SELECT v, false, 'ready', model FROM m, generate_series(1, :models) v;
CHECKPOINT;
SQL
file=$(run -c "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE relname = 'damaged'")
quietly as_server "$bindir/pg_ctl" -D "$work/data" -w stop
echo "# seed $seed"
damaged=$(python3 "$root/test/flips/flip.py" "$work/data/$file" "$seed")
quietly as_server "$bindir/pg_ctl" -D "$work/data" -l "$work/data/log" -w start
wrong=$(run -v values="$models" -f "$root/test/flips/judge.sql")
printf '%s\n' "$wrong" | grep '^#'
wrong=$(printf '%s\n' "$wrong" | grep -v '^#')
[ "$damaged" = "$models" ] || wrong="$wrong
$damaged of $models were damaged"
wrong="$wrong$(grep -E 'terminated by signal|PANIC' "$work/data/log")"
if [ -z "$wrong" ]; then
	echo "ok flips: $models damaged models"
else
	echo "not ok flips: $models damaged models"
	printf '%s\n' "$wrong" | sed 's/^/# /' | head -n 30
	exit 1
fi
