#!/usr/bin/env bash
# test/cuda.sh: training with device => 'cuda', on an emulated device.
#
# Needs a server (PGHOST etc.) that has the extension, and g++; scripts/test
# brings both.
set -u
here=$(cd "$(dirname "$0")" && pwd)
database=neural_cuda
failures=0

work=$(mktemp -d)
trap 'psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database" >/dev/null 2>&1; rm -rf "$work"' EXIT
make -s -C "$here" build/neural_cuda_emulated.so || exit 1
# where the server can read it
chmod 755 "$work"
cp "$here/build/neural_cuda_emulated.so" "$work/cuda.so"
export PGOPTIONS="-c client_min_messages=warning -c neural.cuda_library=$work/cuda.so"

query()
{
	printf '%s\n' "$1" | psql -X -A -t -q -v ON_ERROR_STOP=1 -d "$database" 2>&1
}

# is NAME EXPECTED SQL
is()
{
	local found

	found=$(query "$3")
	if [ "$found" = "$2" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		printf '    expected: %s\n    found:    %s\n' "$2" "$found"
		failures=1
	fi
}

psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database" \
	-c "CREATE DATABASE $database" >/dev/null || exit 1
query 'CREATE EXTENSION neural'
query "CREATE TABLE house AS SELECT i AS id, 40 + i * 37 % 160 AS metres, 1 + i * 7 % 5 AS rooms,
	(ARRAY['north', 'south', 'centre'])[1 + i % 3] AS district, 'street ' || i % 40 AS street,
	1000 * (40 + i * 37 % 160) + 20000 * (i % 3) AS price, i % 3 + (i * 37 % 160) / 80 AS class
	FROM generate_series(1, 400) i"

# A model of each device, by the same seed.
train()
{
	for device in cpu cuda; do
		query "SELECT neural.train('$1_$device', $2, device => '$device', seed => 5, epochs => 3)" \
			>/dev/null
	done
}

# Losses on the way, and predictions at the end, by no more than that.
agree()
{
	is "$1: losses agree" t "SELECT bool_and(abs(a.loss - b.loss) < 1e-3 * abs(a.loss)
		AND abs(a.validation_loss - b.validation_loss) < 1e-3 * abs(a.validation_loss))
		AND count(*) = 3 FROM neural.history('$1_cpu') a JOIN neural.history('$1_cuda') b USING (epoch)"
	is "$1: predictions agree" t "SELECT max(abs(neural.predict('$1_cpu', h) -
		neural.predict('$1_cuda', h))) < 1e-3 * stddev(neural.predict('$1_cpu', h)) FROM house h"
	is "$1: the device is told" cuda "SELECT training->>'device' FROM $1_cuda"
}

is "the device is seen" "cpu,0,t,
cuda,0,f,CUDA 13.0" "\\pset fieldsep ','
	SELECT device, number, name ~ '^cpu', driver FROM neural.devices WHERE memory_free IS NULL OR memory_free = memory"

train price "'SELECT metres, rooms, district, street, price FROM house', target => 'price', batch_size => 64"
agree price
train own "'SELECT metres, rooms, district, price FROM house', target => 'price',
	layers => 'dense(24, relu) batch_normalization dropout(0.1) dense(8, tanh)'"
agree own
train class "'SELECT metres, rooms, district, class FROM house', target => 'class',
	options => '{\"class_weight\": \"balanced\", \"global_clipnorm\": 1}'"
agree class

# Rows that lie in a file go to the device in blocks.
query "CREATE TABLE wide AS SELECT array_agg(sin(i * j)::real ORDER BY j) AS x, sin(i) AS y
	FROM generate_series(1, 2500) i, generate_series(1, 1000) j GROUP BY i"
for device in cpu cuda; do
	query "SET neural.max_memory = '16MB'; SELECT neural.train('wide_$device', 'wide', target => 'y',
		layers => 'dense(4)', device => '$device', seed => 5, epochs => 2, batch_size => 250)"
done >/dev/null
is "rows of a file: losses agree" t "SELECT bool_and(abs(a.loss - b.loss) < 1e-3 * abs(a.loss)) AND count(*) = 2
	FROM neural.history('wide_cpu') a JOIN neural.history('wide_cuda') b USING (epoch)"

query "SELECT neural.train('again', 'SELECT metres, rooms, district, street, price FROM house',
	target => 'price', batch_size => 64, device => 'cuda', seed => 5, epochs => 3)" >/dev/null
is "the same seed gives the same weights" t "SELECT count(*) > 0 AND count(*) =
	count(*) FILTER (WHERE a.values = b.values) FROM neural.weights('again') a
	FULL JOIN neural.weights('price_cuda') b USING (network, layer, parameter)"

is "a training can be cancelled, and the session goes on" \
	"ERROR:  canceling statement due to statement timeout
400" "\\set ON_ERROR_STOP off
	SET statement_timeout = '2s';
	SELECT neural.train('slow', 'house', target => 'price', layers => 'dense(8)', device => 'cuda', epochs => 100000);
	RESET statement_timeout;
	SELECT rows FROM neural.train('quick', 'house', target => 'price', layers => 'dense(8)', device => 'cuda', epochs => 1)"
PGOPTIONS="-c neural.cuda_library=no_such_library"
is "without the library there is a reason" t "DO \$\$ DECLARE detail text; BEGIN
	PERFORM neural.train('none', 'house', target => 'price', device => 'cuda');
	EXCEPTION WHEN object_not_in_prerequisite_state THEN GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	ASSERT detail LIKE 'could not open device library %no_such_library%'; END \$\$; SELECT true"
exit $failures
