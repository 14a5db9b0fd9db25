#!/usr/bin/env python3
"""smith.py: queries that call the extension's functions with anything.

    smith.py SEED COUNT

The functions come from pg_proc, so a new one is called as well; arguments are
drawn by their types from values that mean something and from values that do
not, and calls are put into queries of all shapes.  Prints the statements, each
undone, one a line; set_up.sql has made what they are about.
"""
import json
import random
import subprocess
import sys

MODELS = ["m", "r", "c", "s", "o", "both", "empty", "asleep", "made", "by_hand", "sale", "seen", "numbers"]
COLUMNS = ["id", "n", "x", "t", "e", "d", "v", "z", "q", "y", "u", "gone", "p", "j", "r", "no such", ""]
SOURCES = ["sale", "nothing", "no_columns", "odd", "seen", "parent", "kept", "numbers", "m", "public.sale", "no.such.table.here",
           "SELECT * FROM sale", "SELECT x, y FROM sale WHERE n > 2", "SELECT 1 AS x, 2 AS x", "SELECT * FROM sale; DROP TABLE sale",
           "VALUES (1, true), (2, false)", "TABLE sale", "WITH w AS (SELECT * FROM sale) SELECT * FROM w", "DELETE FROM sale RETURNING *",
           "SELECT * FROM sale FOR UPDATE", "SELECT", "SELECT NULL AS x, y FROM sale", "(", "", "SELECT generate_series(1, 30) AS x, true AS y",
           "SELECT x, n, y FROM sale UNION ALL SELECT 1, 2, true"]
LAYERS = ["dense(4)", "dense(3, relu)", "relu", "dropout(0.5)", "batch_normalization", "layer_normalization", "a: dense(2)", "add(a, a)",
          "concatenate(a, a)", "dense(0)", "dense(-1)", "dense(99999999999)", "dens(3)", "dense(", ")", "identity", "input(number)",
          "embedding(3)", "one_hot", "piecewise_linear", "scale", "flatten", "reshape(2, 2)", "softmax", "dense(2, units = 3)", "🐘", "'", ",",
          "multiply(a, b)", "auto", "dense(2) " * 50]
TEXTS = ["", "x", "y", "true", "false", "a", "b", "0", "-1", "99", "small", "text 1", "none", "0.2", "0.999", "time:z", "time:z:0.1", "group:t",
         "group:", "y:", "regression", "classification", "binary", "multiclass", "multilabel", "mse", "huber(delta = 0)", "quantile(2)",
         "categorical_crossentropy", "adam", "adamw(weight_decay = 1e300)", "sgd(learning_rate = nan)", "adam(", "cpu", "cuda", "auto", "rmsprop",
         "\\", "'", '"', "%s", "\n", "ü", "🐘", "public", "no such role", "postgres", "a.b.c.d", "nn1:", "nn1:AAAA", "f", "m", "fresh"]
OPTIONS = """columns exclude keep_features schedule l1 l2 weight_decay clipnorm clipvalue global_clipnorm early_stopping restore_best
    class_weight sample_weight label_smoothing metric activate time_zone threads max_seconds shuffle target_scale clamp date_differences note
    layers epochs loss optimizer seed batch_size validation target targets features task device""".split()
VALUES = {
    "integer": ["NULL", "0", "1", "2", "3", "-1", "2147483647", "(-2147483648)"],
    "bigint": ["NULL", "0", "1", "-1", "9223372036854775807", "(-9223372036854775808)"],
    "double precision": ["NULL", "0", "0.01", "1", "-1", "'NaN'::float8", "'Infinity'::float8", "1e308", "5e-324", "'-0'::float8"],
    "double precision[]": ["NULL", "'{}'", "'{1}'", "'{1,2,3}'", "'{1,NULL,3}'", "'{NaN,Infinity,-Infinity}'", "'{{1,2},{3,4}}'",
                           "array_fill(1e308::float8, '{1000}')", "'[5:7]={1,2,3}'", "v::float8[]"],
    "record": ["s", "s", "s", "s", "NULL", "ROW()", "ROW(1)", "ROW(1, 2, 3)", "ROW(n, x, v)", "ROW(n, z, d)", "ROW(n, v)", "ROW(t, d)",
               "NULL::sale", "ROW(NULL, NULL)", "(SELECT o FROM odd o LIMIT 1)", "ROW(s, s)", "(SELECT h FROM held h)", "ROW('x', 'y')",
               "(s.*)", "(SELECT q FROM (SELECT x, y, n, v, z, d FROM sale LIMIT 1) q)"],
    "neural.model": ["h.model", "h.model", "h.model", "NULL", "(SELECT model FROM r)", "(SELECT model FROM both)", "h.text::neural.model"],
    "bytea": ["NULL", "''", "h.bytes", "h.bytes", "substr(h.bytes, 1, 64)", "substr(h.bytes, 2)", "h.bytes || 'x'", "set_byte(h.bytes, {at}, {byte})",
              "set_byte(h.bytes, {at}, {byte})", "decode(repeat('ff', 1000), 'hex')"],
    "cstring": ["NULL", "''", "'nn1:'", "'nn1:AAAA'", "'nn1:!!!!'", "'x'", "(SELECT model_out FROM (SELECT neural.model_out(model) FROM r) o)"],
    "anyelement": ["NULL::bool", "NULL::int", "NULL::text", "NULL::size", "NULL::label", "NULL::float8", "NULL::sale", "NULL::text[]", "1", "NULL::numeric",
                   "NULL::date", "NULL::name", "NULL::neural.model"],
    "internal": ["NULL"],
}
SHAPES = ["SELECT {call} FROM sale s, held h LIMIT 3", "SELECT {call} FROM sale s, held h WHERE s.id < 4", "SELECT count({call}) FROM sale s, held h",
          "SELECT s.id FROM sale s, held h WHERE {call} IS NOT NULL LIMIT 2", "SELECT {call}, {call} FROM sale s CROSS JOIN held h WHERE n = 1",
          "SELECT CASE WHEN s.n > 3 THEN {call} END FROM sale s, held h ORDER BY s.id LIMIT 5", "SELECT DISTINCT {call}::text FROM sale s, held h",
          "SELECT (SELECT {call}) FROM sale s LEFT JOIN held h ON true LIMIT 2", "SELECT q FROM sale s, held h, LATERAL (SELECT {call} AS q OFFSET 0) l LIMIT 2",
          "SELECT s.n, max(({call})::text) FROM sale s, held h GROUP BY 1", "SELECT row_number() OVER (ORDER BY ({call})::text) FROM sale s, held h LIMIT 2",
          "SELECT * FROM sale s FULL JOIN sale t ON s.id = t.id + 50, held h WHERE ({call})::text > '0' LIMIT 2",
          "CREATE TEMP TABLE made_here ON COMMIT DROP AS SELECT ({call}) AS c FROM sale s, held h LIMIT 2",
          "UPDATE sale s SET q = 0 FROM held h WHERE ({call})::text < '1'", "DELETE FROM sale s USING held h WHERE ({call}) IS NULL",
          "INSERT INTO nothing SELECT n, length(({call})::text), y FROM sale s, held h WHERE id < 3",
          "EXPLAIN (VERBOSE, COSTS OFF) SELECT {call} FROM sale s, held h", "SELECT {call} FROM (SELECT * FROM sale OFFSET 1) s, held h UNION ALL SELECT NULL LIMIT 3",
          "SELECT EXISTS (SELECT FROM sale s, held h WHERE ({call}) IS NULL)", "SELECT coalesce(({call})::text, 'none') FROM sale s, held h ORDER BY 1 LIMIT 1"]
SET_SHAPES = ["SELECT * FROM {call} f", "SELECT s.id, f FROM sale s, LATERAL {call} f LIMIT 3", "SELECT count(*) FROM held h, {call} f",
              "SELECT {call} FROM held h LIMIT 3", "SELECT f.* FROM {call} WITH ORDINALITY f LIMIT 2"]


def literal(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


class Smith:
    def __init__(self, seed, functions):
        self.draw = random.Random(seed)
        self.functions = functions

    def json(self, depth=0):
        pick = self.draw.random()
        if depth > 2 or pick < 0.6:
            return self.draw.choice([None, True, False, 0, 1, -1, 0.5, 1e300, 10**20, "", "x", "y", "balanced", "better", "cosine", "adam",
                                     self.draw.choice(TEXTS), self.draw.choice(COLUMNS)])
        if pick < 0.8:
            return [self.json(depth + 1) for _ in range(self.draw.randrange(4))]
        return {self.draw.choice(COLUMNS + OPTIONS): self.json(depth + 1) for _ in range(self.draw.randrange(4))}

    def names(self):
        pick = self.draw.random()
        if pick < 0.2:
            return "NULL"
        if pick < 0.3:
            return self.draw.choice(["'{}'", "'{NULL}'", "'{{x,y},{n,t}}'", "'[2:3]={x,n}'"])
        return "ARRAY[" + ", ".join(literal(c) for c in self.draw.choices(COLUMNS, k=self.draw.randint(1, 4))) + "]"

    def value(self, kind, name):
        draw = self.draw
        if name == "layers" and draw.random() < 0.9:
            return literal(" ".join(draw.choices(LAYERS, k=draw.randint(1, 4))))
        if name == "data" and kind == "text":
            return literal(draw.choice(SOURCES))
        if name == "target":
            return literal(draw.choice(COLUMNS))
        if kind == "regclass":
            # most of the time what can work
            return draw.choice([literal(draw.choice(MODELS[:6])) + "::regclass"] * 24 + [literal(draw.choice(MODELS)) + "::regclass"] * 6 + ["NULL", "0::regclass", "4294967295::oid::regclass", "'pg_class'::regclass"])
        if kind == "text":
            return draw.choice(["NULL::text", "repeat('x', 100000)"] + [literal(draw.choice(TEXTS))] * 20)
        if kind == "text[]":
            return self.names()
        if kind == "jsonb":
            if draw.random() < 0.3:
                return literal(json.dumps(self.json()))
            return literal(json.dumps({draw.choice(OPTIONS): self.json(1) for _ in range(draw.randint(0, 3))}))
        return draw.choice(VALUES.get(kind, ["NULL"])).replace("{at}", str(draw.randrange(2000))).replace(
            "{byte}", str(draw.randrange(256)))

    def call(self, function):
        """A call, with trailing arguments left out or given by name."""
        names = function["names"] or [""] * len(function["types"])
        arguments = list(zip(function["types"], names))
        required = len(arguments) - function["defaults"]
        text = [self.value(kind, name) if kind != "record" or self.draw.random() < 0.9 else "s" for kind, name in arguments[:required]]
        for kind, name in arguments[required:]:
            if self.draw.random() < (0.25 if len(arguments) > 6 else 0.5):
                text.append(f'"{name}" => ' + self.value(kind, name))
        return f"neural.{function['name']}({', '.join(text)})"

    def statement(self):
        function = self.draw.choice(self.functions)
        if function["set"] and self.draw.random() < 0.8:
            return self.draw.choice(SET_SHAPES).format(call=self.call(function))
        shape = self.draw.choice(SHAPES if not function["writes"] or self.draw.random() < 0.1 else ["SELECT {call} FROM sale s, held h LIMIT 1"])
        # each {call} is another
        while "{call}" in shape:
            shape = shape.replace("{call}", self.call(function), 1)
        return shape


def ask(query):
    return json.loads(subprocess.run(["psql", "-XAtqc", query], check=True, capture_output=True, text=True).stdout)


def main(seed, count):
    functions = ask("""SELECT json_agg(json_build_object('name', p.proname, 'types', ARRAY(SELECT t::regtype FROM unnest(proargtypes) t),
            'names', coalesce(proargnames[1:pronargs], '{}'), 'defaults', pronargdefaults, 'set', proretset, 'writes', provolatile = 'v') ORDER BY p.oid)
        FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'neural' WHERE p.prokind IN ('f', 'a')""")
    smith = Smith(seed, functions)
    print("\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\nSET client_min_messages = error;\nSET statement_timeout = '400ms';")
    print("SET neural.max_memory = '64MB';\nSET neural.max_threads = 2;")
    for i in range(count):
        if i % 20 == 0:
            print(f"SET neural.enable_batch = {smith.draw.choice(['on', 'off'])}; SET neural.batch_rows = {smith.draw.choice([1, 3, 1000])};")
            print(f"SET neural.model_cache_size = {smith.draw.choice([0, 65536])};")
            print(f"SELECT set_config(name, '{smith.draw.choice(['on', 'off', 'off'])}', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');")
        print("BEGIN;\n" + smith.statement() + "\n;\nROLLBACK;")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
