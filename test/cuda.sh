#!/usr/bin/env bash
# test/cuda.sh: training and predicting on a GPU, on an emulated device.
#
# Needs a server (PGHOST etc.) that has the extension, and g++; scripts/test
# brings both.  NEURAL_CUDA_SQL names a library for a real device, which then
# does what an emulated one is not needed for.
set -u
here=$(cd "$(dirname "$0")" && pwd)
database=neural_cuda
failures=0

work=$(mktemp -d)
trap 'psql -X -q -d postgres -c "DROP DATABASE IF EXISTS $database" >/dev/null 2>&1; rm -rf "$work"' EXIT
real=${NEURAL_CUDA_SQL:-}
[ -n "$real" ] || make -s -C "$here" build/neural_cuda_emulated.so || exit 1
# where the server can read it
chmod 755 "$work"
cp "${real:-$here/build/neural_cuda_emulated.so}" "$work/cuda.so"
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

[ -n "$real" ] || is "the device is seen" "cpu,0,t,
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

# A job's worker is a process of its own, which has the setting from the server.
query "LOAD 'neural'; ALTER SYSTEM SET neural.cuda_library = '$work/cuda.so'"
query "SELECT pg_reload_conf()" >/dev/null
is "a job trains on the device, and so does retraining" "cuda,done,cuda,2" "\\pset fieldsep ','
	SELECT neural.train_async('job', 'SELECT metres, price FROM house', target => 'price', layers => 'dense(8)',
		device => 'cuda', epochs => 2) AS job \\gset
	SELECT set_config('test.job', :'job', false) \\gset
	DO \$\$ BEGIN WHILE (SELECT state IN ('queued', 'running') FROM neural.jobs WHERE id = current_setting('test.job')::bigint)
		LOOP PERFORM pg_sleep(0.05); END LOOP; END \$\$;
	SELECT j.training->>'device' AS device FROM job j \\gset
	SELECT state FROM neural.jobs WHERE id = :job \\gset
	CALL neural.retrain('job', options => '{\"activate\": \"always\"}') \\gset retrained_
	SELECT :'device', :'state', training->>'device', version FROM job WHERE active"
query "LOAD 'neural'; ALTER SYSTEM RESET neural.cuda_library"
query "SELECT pg_reload_conf()" >/dev/null

is "a training can be cancelled, and the session goes on" \
	"ERROR:  canceling statement due to statement timeout
400" "\\set ON_ERROR_STOP off
	SET statement_timeout = '2s';
	SELECT neural.train('slow', 'house', target => 'price', layers => 'dense(8)', device => 'cuda', epochs => 100000);
	RESET statement_timeout;
	SELECT rows FROM neural.train('quick', 'house', target => 'price', layers => 'dense(8)', device => 'cuda', epochs => 1)"
# cancels WHAT MOST ACTIVITY SQL: how long it takes, from the request to the end of
# the statement, of which the activity tells that it computes.  MOST milliseconds
# are for an emulated device, where a batch takes seconds; a real one has 200.
cancels()
{
	local what=$1 most=$2 from took

	[ -z "$real" ] || most=200
	psql -X -q -d "$database" -c "SET application_name = cancelled" -c "$4" >"$work/cancelled.out" 2>&1 &
	until [ "$(query "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cancelled' AND
		query LIKE '$3' AND now() - query_start > interval '0.5 s'")" = 1 ] || ! kill -0 $!; do
		sleep 0.1
	done
	from=$(date +%s%N)
	query "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'cancelled'" >/dev/null
	wait
	took=$((($(date +%s%N) - from) / 1000000))
	echo "# $what is cancelled within $took ms"
	is "$what that is told to stop does so within $most ms" "1,t" "\\pset fieldsep ','
		SELECT $(grep -c 'canceling statement due to user request' "$work/cancelled.out"), $took < $most"
}
cancels "a training" 1000 'neural.train: slow epoch%' \
	"SELECT neural.train('slow', 'house', target => 'price', layers => 'dense(64, relu) dense(64)', device => 'cuda', epochs => 100000)"
query "INSERT INTO house SELECT i, 40 + i * 37 % 160, 1 + i * 7 % 5, (ARRAY['north', 'south', 'centre'])[1 + i % 3],
	'street ' || i % 40, 1000 * (40 + i * 37 % 160) + 20000 * (i % 3), i % 3 + (i * 37 % 160) / 80
	FROM generate_series(401, 3000) i; ANALYZE house"
own="'SELECT metres, rooms, district, price FROM house', target => 'price', layers => 'dense(256, relu)', epochs => 1"
query "SELECT neural.train('big', $own, device => 'cpu', seed => 2),
	neural.train('big_too', $own, device => 'cpu', seed => 3)" >/dev/null
cuda="SET neural.predict_device = cuda"
is "predictions on either device agree" t "CREATE TEMP TABLE here AS SELECT id, neural.predict('big', h) AS p FROM house h;
	$cuda; CREATE TEMP TABLE there AS SELECT id, neural.predict('big', h) AS p FROM house h;
	SELECT count(*) = 3000 AND bool_and(abs(a.p - b.p) <= 1e-5 * abs(a.p)) AND count(*) FILTER (WHERE a.p <> b.p) > 1000
	FROM here a JOIN there b USING (id)"
cancels "a prediction" 30000 'SET neural.predict_device%' \
	"$cuda; SELECT sum(neural.predict('big', h)) FROM house h, generate_series(1, 100000)"
[ -z "$real" ] || exit $failures

# --- what a test sets in the emulated device ---

# device LINE...: its settings from the next opening on
device()
{
	printf '%s\n' "devices 1" "memory $((1 << 30))" "failure 0" "fails_after 0" "$@" >"$work/cuda.so.conf"
}

# Messages of a statement, without times, and whoever noticed that the device
# is broken.
messages()
{
	PGOPTIONS="$PGOPTIONS -c client_min_messages=notice" query "\\set ON_ERROR_STOP off
		$1" | sed -n 's/^\(psql:[^ ]* \)*\(NOTICE\|WARNING\|ERROR\|DETAIL\):  /\2 /p' |
		grep -v 'stays the active one' | sed 's/about [0-9.e-]* s/N s/g
			s/could not wait for a copy on/could not compute on/; s/could not wait for a copy\./could not compute./'
}

# says NAME EXPECTED SQL
says()
{
	local found

	found=$(messages "$3")
	if [ "$found" = "$2" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		printf '    expected: %s\n    found:    %s\n' "$2" "$found"
		failures=1
	fi
}

# --- training: what "auto" chooses, memory ---

is "a training without validation rows is judged" cuda,t "\\pset fieldsep ','
	SELECT device, loss IS NOT NULL FROM neural.train('few', 'SELECT metres, price FROM house LIMIT 12',
	target => 'price', layers => 'dense(4)', device => 'cuda', epochs => 1)"
says "much to do is done on the GPU" \
	"NOTICE training on the GPU: N s on the CPU, N s on the GPU" \
	"SELECT neural.train('auto', $own)"
is "and the model says so" cuda "SELECT training->>'device' FROM auto"
says "little to do is done on the CPU" \
	"NOTICE training on the CPU: N s on the CPU, N s on the GPU" \
	"SELECT neural.train('auto_few', 'SELECT metres, price FROM house LIMIT 12', target => 'price',
		layers => 'dense(2)', epochs => 1, device => 'auto')"
says "the CPU is not compared" "" "SELECT neural.train('few_cpu', $own, device => 'cpu')"
is "memory is given back" 1,0 "\\pset fieldsep ','
	SELECT count(neural.train('given', $own, device => 'cuda')) AS trained \\gset
	SELECT :trained, count(*) FROM neural.devices WHERE memory <> memory_free"

query "SELECT neural.train('resident', $own, device => 'cuda', batch_size => 32, seed => 9)" >/dev/null
device "memory 120000"
query "SELECT neural.train('streamed', $own, device => 'cuda', batch_size => 32, seed => 9)" >/dev/null
is "rows that the device has no room for give the same weights" t "SELECT count(*) > 0 AND count(*) =
	count(*) FILTER (WHERE a.values = b.values) FROM neural.weights('resident') a
	FULL JOIN neural.weights('streamed') b USING (network, layer, parameter)"
device "memory 200000"
says "less memory, a smaller batch" \
	"NOTICE batches have 128 rows instead of 256, as the GPU has too little memory" \
	"SELECT neural.train('shrunk', 'SELECT * FROM house h, generate_series(1, 4) g', target => 'price', epochs => 1,
		features => ARRAY['metres', 'rooms'], layers => 'dense(100, relu)', device => 'cuda')"
is "which is told" 128 "SELECT training->>'batch_size' FROM shrunk"
device "memory 20000"
says "too little memory for 'cuda' is an error" \
	"ERROR training with batches of 500 rows needs 1.0 MB of device memory, but 18.6 kB are there
DETAIL neural.gpu_memory_limit is 4.0 GB." \
	"SELECT neural.train('error', $own, device => 'cuda', batch_size => 500)"
says "and the CPU for 'auto'" \
	"WARNING training on the CPU, as the GPU has too little memory
DETAIL training with batches of 500 rows needs 1.0 MB of device memory, but 18.6 kB are there." \
	"SELECT neural.train('cpu_after_all', $own, batch_size => 500)"
is "which is told, too" t "SELECT training->>'device' LIKE 'cpu%' FROM cpu_after_all"
device

is "memory that a failed training was to have is there for the next one" "ERROR:  canceling statement due to statement timeout
cuda" "\\set ON_ERROR_STOP off
	SET neural.gpu_memory_limit = '900kB'; SET statement_timeout = '1s';
	SELECT neural.train('failed', 'house', target => 'price', layers => 'dense(100)', device => 'cuda', batch_size => 512,
		epochs => 100000);
	RESET statement_timeout;
	SELECT device FROM neural.train('next', 'house', target => 'price', layers => 'dense(100)', device => 'cuda',
		batch_size => 512, epochs => 1)"
is "of which there is not enough for two" t "DO \$\$ BEGIN SET neural.gpu_memory_limit = '600kB';
	PERFORM neural.train('two', 'house', target => 'price', layers => 'dense(100)', device => 'cuda', batch_size => 512);
	RAISE 'there was enough'; EXCEPTION WHEN out_of_memory THEN END \$\$; SELECT true"
device "fails_after 300"
says "a device that breaks in a training is an error, and the CPU is there afterwards" \
	"ERROR could not compute on the CUDA device
DETAIL CUDA says: an illegal memory access was encountered.
WARNING training on the CPU, as the GPU cannot be used
DETAIL this process can no longer use the CUDA device: It could not compute. CUDA says: an illegal memory access was encountered." \
	"SELECT neural.train('broken', $own, device => 'cuda'); SELECT neural.train('broken', $own)"
device
# Nobody insists on the GPU: the CPU goes on from the last epoch's end.
lost="'house', target => 'price', layers => 'dense(64, relu) dropout(0.1) dense(64, relu)',
	optimizer => 'adam', learning_rate => 0.01, epochs => 6, batch_size => 256, seed => 9"
query "SELECT neural.train('found', $lost)" >/dev/null
is "a training that the GPU does to its end" cuda "SELECT training->>'device' FROM found"
after=
for jobs in 60 200 350 500; do
	device "fails_after $jobs"
	after="$after $(messages "SELECT neural.train('lost_$jobs', $lost)" |
		sed -nE 's/^WARNING the GPU failed after epoch ([0-5]); training goes on with the CPU$/\1/p')"
	device
	is "a GPU that fails in a training is not missed ($jobs)" "t,t,6" "\pset fieldsep ','
		SELECT l.training->>'device' LIKE 'cpu%', abs(a.loss / b.loss - 1) < 1e-3, a.epoch
		FROM lost_$jobs l, neural.history('lost_$jobs') a JOIN neural.history('found') b USING (epoch) ORDER BY epoch DESC LIMIT 1"
done
if [ "$(printf '%s\n' $after | sort -u | wc -l)" -ge 3 ]; then
	echo "ok it has failed after several epochs:$after"
else
	echo "not ok it has failed after several epochs:$after"
	failures=1
fi
device "fails_after 300"
says "a GPU that was asked for is missed" \
	"ERROR could not compute on the CUDA device
DETAIL CUDA says: an illegal memory access was encountered." \
	"SELECT neural.train('lost', $lost, device => 'cuda')"
device
query "SET neural.max_memory = '1MB'; SELECT neural.train('found_file', $lost)" >/dev/null
device "fails_after 300"
is "rows in a file are gone through again" "t,t" "\pset fieldsep ','
	SET client_min_messages = error; SET neural.max_memory = '1MB';
	SELECT count(neural.train('lost_file', $lost)) AS trained \\gset
	SELECT l.training->>'device' LIKE 'cpu%', abs(a.loss / b.loss - 1) < 1e-3 FROM lost_file l,
	neural.history('lost_file') a JOIN neural.history('found_file') b USING (epoch) WHERE epoch = 6"
device

# --- several devices ---

device "devices 3"
is "all devices are listed" "0,1,2" "SELECT string_agg(number::text, ',' ORDER BY number) FROM neural.devices WHERE device = 'cuda'"
is "any of them trains" "cuda" "SET neural.cuda_device = 2;
	SELECT device FROM neural.train('third', $own, device => 'cuda')"
is "to look at all of them disturbs none" "t,t,t" "\\pset fieldsep ','
	SET neural.cuda_device = 1; SET neural.predict_device = cuda;
	SELECT count(neural.predict('third', h)) AS before FROM house h \\gset
	SELECT bool_and((memory_free < memory) = (number = 1)) AS one FROM neural.devices WHERE device = 'cuda' \\gset
	SELECT count(neural.predict('third', h)) AS after FROM house h \\gset
	SELECT :before > 0, :'one'::bool, :before = :after"
says "one that is not there is an error" "ERROR there is no CUDA device 3
DETAIL There are 3, numbered from 0." "SET neural.cuda_device = 3; SELECT neural.train('fourth', $own, device => 'cuda')"
says "and the CPU for 'auto'" "WARNING training on the CPU, as the GPU cannot be used
DETAIL there is no CUDA device 3: There are 3, numbered from 0." "SET neural.cuda_device = 3; SELECT neural.train('fourth', $own)"
device

# --- training: precision ---

device "blas 1"
wide="'SELECT metres, rooms, price FROM house', target => 'price', layers => 'dense(512, relu) dense(64)', epochs => 1,
	batch_size => 512, seed => 4, device => 'cuda'"
for precision in fp32 tf32 bf16; do
	query "SELECT neural.train('$precision', $wide, options => '{\"precision\": \"$precision\"}')" >/dev/null
done
is "fewer bits change little" "t,t,t" "\\pset fieldsep ','
	SELECT abs(a.loss - b.loss) < 1e-3 * a.loss, abs(a.loss - c.loss) < 1e-2 * a.loss, a.loss <> b.loss AND b.loss <> c.loss
	FROM neural.history('fp32') a, neural.history('tf32') b, neural.history('bf16') c"
is "which is told of the model" bf16 "SELECT training->>'precision' FROM bf16"
says "an unknown precision is an error" 'ERROR unrecognized precision "fp8"' \
	"SELECT neural.train('fp8', $wide, options => '{\"precision\": \"fp8\"}')"
says "the CPU has one precision" 'ERROR the CPU has no precision bf16' \
	"SELECT neural.train('none', 'house', target => 'price', device => 'cpu', options => '{\"precision\": \"bf16\"}')"
device "blas 0"

# --- predicting: which device, the same results ---

# plan NAME EXPECTED SETTINGS SQL: what EXPLAIN ANALYZE says of the device
plan()
{
	local found

	found=$(query "$3; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) $4" |
		sed -n 's/[0-9.]* ms/N ms/g; s/^.*\(Device.*\|Rows Predicted: [1-9].*\|WARNING.*\|ERROR.*\|DETAIL.*\)$/\1/p')
	if [ "$found" = "$2" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		printf '    expected: %s\n    found:    %s\n' "$2" "$found"
		failures=1
	fi
}

auto="SET neural.predict_device = auto"
all_rows="SELECT neural.predict('big', h) AS p FROM house h"
plan "the CPU predicts unless it is told otherwise" "Device: CPU
Rows Predicted: 2999" "SELECT" "$all_rows"
plan "the GPU predicts" "Device: CUDA
Rows Predicted: 2999" "$cuda" "$all_rows"
plan "much is predicted on the GPU" "Device: CUDA
Device Choice: 3000 rows take about N ms on the CPU, N ms on the GPU
Rows Predicted: 2999" "$auto" "$all_rows"
plan "little is predicted on the CPU" "Device: CPU
Device Choice: 1 rows take about N ms on the CPU, N ms on the GPU" "$auto" "$all_rows LIMIT 1"
plan "processes that share a query must agree" "Device: CPU
Device Choice: the query is worked at by several processes
Rows Predicted: 2999" \
	"$auto; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SET parallel_leader_participation = on; SET max_parallel_workers = 0" "SELECT sum(neural.predict('big', h)) FROM house h"
is "and may all use the GPU" "t,t" "\\pset fieldsep ','
	SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SELECT sum(neural.predict('big', h)) AS here FROM house h \\gset
	$cuda; SELECT sum(neural.predict('big', h)) AS there FROM house h \\gset
	SELECT abs(:here - :there) < 1e-5 * abs(:here), :here <> :there"
is "before the query runs nothing is chosen" "Device: CPU or CUDA
Device Choice: made when the query runs" "\\o | sed -n 's/^ *\\(Device.*\\)/\\1/p'
	$auto; EXPLAIN (COSTS OFF) $all_rows"
is "the first row of a query is predicted where the others are" 3000 "$cuda;
	CREATE TEMP TABLE up AS SELECT id, neural.predict('big', h) AS p FROM (SELECT * FROM house ORDER BY id OFFSET 0) h;
	CREATE TEMP TABLE down AS SELECT id, neural.predict('big', h) AS p FROM (SELECT * FROM house ORDER BY id DESC OFFSET 0) h;
	SELECT count(*) FROM up JOIN down USING (id) WHERE up.p = down.p"
is "classes and layers, too" "3000,t" "\\pset fieldsep ','
	CREATE TEMP TABLE here AS SELECT id, neural.classify('class_cpu', h) AS c, neural.embed('big', h, '1') AS e FROM house h;
	$cuda;
	CREATE TEMP TABLE there AS SELECT id, neural.classify('class_cpu', h) AS c, neural.embed('big', h, '1') AS e FROM house h;
	SELECT count(*) FILTER (WHERE a.c = b.c), max(abs(a.e[1] - b.e[1])) < 1e-5 FROM here a JOIN there b USING (id)"
is "models that come with the rows" 6000 "$cuda;
	SELECT count(*) FROM (SELECT neural.predict_with(m.model, h) AS p FROM house h,
		(SELECT model FROM big UNION ALL SELECT model FROM big_too) m OFFSET 0) x WHERE p > 0"

# --- predicting: memory ---

used="SELECT memory - memory_free FROM neural.devices WHERE device = 'cuda'"
is "a model stays on the device, and goes for another one" "t,t,t" "\\pset fieldsep ','
	$cuda; SET neural.gpu_memory_limit = '12MB';
	CREATE TEMP TABLE used (a bigint); CREATE TEMP TABLE p AS $all_rows; INSERT INTO used $used;
	INSERT INTO p $all_rows; INSERT INTO used $used;
	INSERT INTO p SELECT neural.predict('big_too', h) FROM house h; INSERT INTO used $used;
	SELECT min(a) > 0, max(a) <= 12 << 20, (SELECT count(DISTINCT a) = 1 FROM used) FROM used"
is "both stay where there is room" t "$cuda;
	CREATE TEMP TABLE used (a bigint); CREATE TEMP TABLE p AS $all_rows; INSERT INTO used $used;
	INSERT INTO p SELECT neural.predict('big_too', h) FROM house h; INSERT INTO used $used;
	SELECT max(a) = 2 * min(a) FROM used"
is "and go with the session's cache of models" "t,0" "\\pset fieldsep ','
	$cuda; CREATE TEMP TABLE p AS $all_rows; SET neural.model_cache_size = 0;
	INSERT INTO p $all_rows; SELECT count(*) = 6000, ($used) FROM p"
says "a model that is too large for 'cuda' is an error" \
	"ERROR predicting needs 549.0 kB of device memory, but 500.0 kB are left of neural.gpu_memory_limit
DETAIL The limit is 500.0 kB." "$cuda; SET neural.gpu_memory_limit = '500kB'; $all_rows"
device "memory 300000"
plan "and is left to the CPU by 'auto'" \
	"WARNING:  predicting on the CPU, as the GPU cannot be used
DETAIL:  out of memory on device \"cuda\": The model and a pass of 256 rows take 562204 bytes; neural has taken 0 so far in this session.
Device: CPU
Device Choice: out of memory on device \"cuda\": The model and a pass of 256 rows take 562204 bytes; neural has taken 0 so far in this session
Rows Predicted: 2999" "$auto" "$all_rows"
device

# --- a device that breaks, slots, cancel ---

device "fails_after 60"
says "a device that breaks under 'cuda' is an error" \
	"ERROR could not compute on the CUDA device
DETAIL CUDA says: an illegal memory access was encountered.
ERROR this process can no longer use the CUDA device
DETAIL It could not compute. CUDA says: an illegal memory access was encountered." \
	"$cuda; CREATE TEMP TABLE p AS $all_rows; CREATE TEMP TABLE p AS $all_rows"
says "under 'auto' the CPU goes on" \
	"WARNING predicting on the CPU, as the GPU has failed
DETAIL could not compute on the CUDA device: CUDA says: an illegal memory access was encountered." \
	"$auto; CREATE TABLE went_on AS SELECT neural.predict('big', h) AS p FROM house h"
is "and no row is missing" 3000 "SELECT count(*) FROM went_on WHERE p > 0"
is "the device says so in that session" "ERROR:  could not compute on the CUDA device
DETAIL:  CUDA says: an illegal memory access was encountered.
This session can no longer use it: it could not compute. CUDA says: an illegal memory access was encountered." \
	"\\set ON_ERROR_STOP off
	$cuda; CREATE TEMP TABLE p AS $all_rows; SELECT reason FROM neural.devices WHERE device = 'cuda'"
device
is "another session is served" 3000 "$cuda; SELECT count(p) FROM ($all_rows OFFSET 0) x"
is "a long query can be cancelled, and the session goes on" "ERROR:  canceling statement due to statement timeout
3000" "\\set ON_ERROR_STOP off
	$cuda; SET statement_timeout = '1s';
	SELECT sum(neural.predict('big', h)) FROM house h, generate_series(1, 100000) g;
	RESET statement_timeout; SELECT count(p) FROM ($all_rows OFFSET 0) x"

# One session holds the slot; it keeps its model there until it ends, or until
# the end of a transaction when somebody wants it.
query "LOAD 'neural'; ALTER SYSTEM SET neural.gpu_slots = 1"
query "SELECT pg_reload_conf()" >/dev/null
mkfifo "$work/first"
psql -X -A -t -q -d "$database" <"$work/first" >"$work/first.out" 2>&1 &
exec 8>"$work/first"
echo "$cuda; SELECT count(p) FROM ($all_rows OFFSET 0) x; \\! echo done >$work/first.done" >&8
until [ -f "$work/first.done" ]; do sleep 0.1; done
is "without a slot 'cuda' is an error" t "DO \$\$ DECLARE detail text; BEGIN
	$cuda; PERFORM count(p) FROM ($all_rows OFFSET 0) x; RAISE 'there was a slot';
	EXCEPTION WHEN configuration_limit_exceeded THEN GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	ASSERT detail ~ '^neural.gpu_slots is 1; the slot is held by process [0-9]+[.]$', detail; END \$\$; SELECT true"
is "and 'auto' is the CPU" "Device: CPU
Device Choice: no GPU slot is free: neural.gpu_slots is 1" "SET client_min_messages = error; $auto;
	CREATE TEMP TABLE said (line text); DO \$\$ DECLARE line text; BEGIN
	FOR line IN EXECUTE \$q\$EXPLAIN (ANALYZE) $all_rows\$q\$ LOOP INSERT INTO said VALUES (line); END LOOP; END \$\$;
	SELECT trim(split_part(line, ';', 1)) FROM said WHERE line ~ 'Device'"
echo "SELECT 1; \\! echo done >$work/first.again" >&8
until [ -f "$work/first.again" ]; do sleep 0.1; done
is "a slot that is wanted is given back after a transaction" 3000 "$cuda; SELECT count(p) FROM ($all_rows OFFSET 0) x"
exec 8>&-
wait
is "a training gives its slot back when it ends" "cuda,3000" "\\pset fieldsep ','
	SELECT device, rows FROM neural.train('slot', $own, device => 'cuda');
	\\! PGOPTIONS='$PGOPTIONS' psql -X -q -d $database -c \"$cuda\" -c \"CREATE TABLE meanwhile AS $all_rows\" 2>&1"
is "so that another session has it" 3000 "SELECT count(p) FROM meanwhile"
device "blas 1"
is "but one that has used cuBLASLt, whose context stays, when the session ends" "cuda
ERROR:  no process more may use a GPU" "
	SELECT device FROM neural.train('slot', 'house', target => 'price', layers => 'dense(256, relu) dense(256, relu)',
		epochs => 1, batch_size => 256, device => 'cuda', options => '{\"precision\": \"bf16\"}');
	\! PGOPTIONS='$PGOPTIONS' psql -X -q -d $database -c \"$cuda\" -c \"SELECT count(p) FROM ($all_rows OFFSET 0) x\" 2>&1 | head -n 1"
device
is "which it then does" 3000 "$cuda; SELECT count(p) FROM ($all_rows OFFSET 0) x"

# The training waits for its cancel on the CPU; another session gets the slot.
device "fails_after 300"
psql -X -q -d "$database" -c "SET application_name = lost" \
	-c "SELECT neural.train('lost_slot', ${lost/epochs => 6/epochs => 1000000})" >"$work/lost.out" 2>&1 &
until grep -q '^WARNING:  the GPU failed' "$work/lost.out" || ! kill -0 $!; do sleep 0.1; done
device
is "and when it goes on without the GPU" cuda "SELECT device FROM neural.train('slot', $own, device => 'cuda')"
query "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'lost'" >/dev/null
wait
is "where it can be cancelled" "1,t" "\\pset fieldsep ','
	SELECT $(grep -c 'canceling statement due to user request' "$work/lost.out"), to_regclass('lost_slot') IS NULL"
query "LOAD 'neural'; ALTER SYSTEM RESET neural.gpu_slots"
query "SELECT pg_reload_conf()" >/dev/null
postmaster=$(head -n 1 "$(query "SHOW data_directory")/postmaster.pid")
is "the postmaster has never opened the library" "t,0" "\\pset fieldsep ','
	SELECT $(grep -c postgres "/proc/$postmaster/maps") > 0, $(grep -c "$work/cuda.so" "/proc/$postmaster/maps")"

PGOPTIONS="-c neural.cuda_library=no_such_library"
is "without the library there is a reason" t "DO \$\$ DECLARE detail text; BEGIN
	PERFORM neural.train('none', 'house', target => 'price', device => 'cuda');
	EXCEPTION WHEN object_not_in_prerequisite_state THEN GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	ASSERT detail LIKE 'could not open device library %no_such_library%'; END \$\$; SELECT true"
reason='training on the CPU: could not open device library "[^"]*no_such_library[^"]*": .*no_such_library.*: No such file.*'
is "which 'auto' says when it was asked for" 1,0 "SELECT '$(messages \
	"SELECT neural.train('none', $own, device => 'auto')" | grep -c "^NOTICE $reason"),$(messages \
	"SELECT neural.train('none', $own)" | grep -c "^NOTICE $reason")'"
exit $failures
