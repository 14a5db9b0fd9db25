"""test/batch_queries.py: random queries that predict.

	python3 test/batch_queries.py SEED COUNT

writes calls of check_query (test/batch.sql), each with a query, how to run it
and the settings for it.  The same seed gives the same queries.
"""
import random
import sys


class Writer:
    """One query at a time, over the tables and models of test/batch.sql."""

    def __init__(self, rng):
        self.rng = rng
        self.tables = []  # aliases whose columns may be named
        self.limits = True  # may a query stop early?

    def pick(self, *choices):
        return self.rng.choice(choices)

    def often(self, share):
        return self.rng.random() < share

    # ---------- predicting ----------

    def call(self):
        """A call whose result is a number."""
        a = self.pick(*self.tables)
        row = self.pick(a, a, a, f"ROW({a}.x, {a}.y)", f"ROW({a}.x, {a}.y)",
                        f"ROW({a}.x, 1::real)", f"ROW({a}.g, {a}.n)",
                        f"ROW(CASE WHEN {a}.g = 1 THEN {a}.x END, {a}.y)",
                        f"ROW({a}.x + 1, {a}.y)", f"ROW(1 / {a}.g, {a}.y)")
        return self.pick(
            f"neural.predict('plain', {row})",
            f"neural.predict('plain', {row})",
            f"neural.predict('plain', {row})",
            f"neural.predict('picky', {a})",
            f"neural.predict('large', {a}, {self.pick('1', '1', '1', '99')})",
            f"neural.predict_as('large', {a}, NULL::int2)",
            f"neural.predict_as('large', {a}, NULL::numeric)",
            f"neural.predict_as('plain', {a}, NULL::small)",
            f"neural.predict_proba('kinds', {a}, '{self.pick('a', 'b', 'c')}')",
            f"neural.predict_proba('kinds', {a}, 'nowhere')",
            f"(neural.embed('plain', {a}, '{self.pick('1', '2')}'))[1]",
            f"(neural.predict_all('plain', {a}) ->> 'z')::float8",
            f"neural.predict('plain', ARRAY[{a}.x, {a}.y])",
            f"neural.predict('plain', {a}.v)",
            f"neural.predict('plain', {a}.v[1:2])",
            f"plain({a}.x, {a}.y)",
            f"plain(x => {a}.y, y => {a}.x + 0.5::real)",
            f"neural.predict_with((SELECT model FROM held WHERE id = {self.pick(1, 2, 3)}), {a})",
            f"(SELECT max(neural.predict_with(h.model, {a})) FROM held h)",
            f"(SELECT neural.predict('plain', q) FROM u q WHERE q.id = {a}.id)")

    def text_call(self):
        a = self.pick(*self.tables)
        return self.pick(
            f"neural.classify('kinds', {a})",
            f"neural.classify('kinds', ROW({a}.x, {a}.y, {a}.g))",
            f"neural.predict_proba('kinds', {a})::text",
            f"neural.predict_as('kinds', {a}, NULL::name)::text",
            f"neural.embed('kinds', {a}, '1')::text",
            f"neural.classify_with((SELECT model FROM kinds WHERE active), {a})")

    # ---------- expressions ----------

    def number(self, depth=2):
        a = self.pick(*self.tables)
        if depth <= 0 or self.often(0.15):
            return self.pick(f"{a}.x", f"{a}.y", f"{a}.g", f"{a}.z", f"{a}.id",
                             str(self.rng.randint(0, 9)))
        if self.often(0.45):
            return self.call()
        one, two = self.number(depth - 1), self.number(depth - 1)
        return self.pick(
            f"({one} + {two})", f"({one} * {two})",
            f"({one} / {a}.g)", f"abs({one})",
            f"CASE WHEN {self.condition(depth - 1)} THEN {one} ELSE {two} END",
            f"CASE {a}.g WHEN 1 THEN {one} WHEN 2 THEN {two} END",
            f"COALESCE({one}, {two})", f"NULLIF({one}, {two})",
            f"GREATEST({one}, {two})",
            f"(SELECT count(*) FROM u s WHERE s.g = {a}.g AND {one} > s.x)",
            f"(CASE WHEN {a}.g > 2 THEN {one} END)")

    def condition(self, depth=2):
        a = self.pick(*self.tables)
        if depth <= 0 or self.often(0.2):
            return self.pick(f"{a}.g = {self.rng.randint(0, 4)}",
                             f"{a}.id % 3 = 0", f"{a}.kind <> 'b'",
                             f"{a}.x > {self.rng.randint(0, 9)}",
                             f"leak({a}.id)", f"10 / {a}.g > 3")
        if self.often(0.5):
            return self.pick(
                f"{self.number(depth - 1)} {self.pick('<', '>')} {self.number(depth - 1)}",
                f"{self.call()} > {self.rng.randint(0, 9)}",
                f"{self.text_call()} = '{self.pick('a', 'b')}'",
                f"{self.call()} IS NOT NULL",
                f"EXISTS (SELECT 1 FROM u e WHERE e.g = {a}.g AND neural.predict('plain', e) > {a}.x)",
                f"{a}.g IN (SELECT round(neural.predict('plain', i))::int FROM u i)",
                f"{a}.g = ANY (ARRAY(SELECT i.g FROM u i WHERE neural.predict('picky', i) > 5))")
        one, two = self.condition(depth - 1), self.condition(depth - 1)
        return self.pick(f"({one} AND {two})", f"({one} OR {two})", f"NOT ({one})")

    def value(self):
        a = self.pick(*self.tables)
        return self.pick(self.number(), self.number(), self.number(),
                         self.call(), self.call(), self.text_call(),
                         self.text_call(), self.condition(), f"{a}.kind",
                         f"{a}.id", f"{a}", f"nextval('counter')",
                         f"({self.call()})::numeric")

    # ---------- queries ----------

    def table(self):
        return self.pick("t", "t", "t", "u", "parts", "plain_view",
                         "barrier_view", "predicting_view", "guarded", "elsewhere",
                         "(WITH RECURSIVE r AS (SELECT * FROM t WHERE id = 150 UNION ALL SELECT t.* FROM t JOIN r ON t.id = r.id - 7) SELECT * FROM r)",
                         "(SELECT * FROM t WHERE g <> 4 OFFSET 0)",
                         "(SELECT * FROM t ORDER BY y LIMIT 30)",
                         "(SELECT id, x, y, z, g, kind, v, n FROM u UNION ALL SELECT id, x, y, z, g, kind, v, n FROM t)")

    def source(self):
        """A FROM clause; its aliases become nameable."""
        first = self.table()
        if self.often(0.55):
            self.tables = ["a"]
            return f"{first} a"
        second = self.table()
        kind = self.rng.randrange(8)
        if kind == 6:
            self.tables = ["a", "b"]
            return f"{first} a FULL JOIN {second} b ON a.id = b.id + 40"
        if kind == 7:
            self.tables = ["a"]
            return (f"(SELECT a.id, a.x + 1 AS x, sqrt(a.y) AS y, a.z, a.g, a.kind, a.v, a.n"
                    f" FROM {first} a WHERE {'NOT ' * self.rng.randrange(2)}EXISTS (SELECT 1 FROM u s WHERE s.g = a.g AND s.id > a.id)) a")
        if kind == 0:
            self.tables = ["a", "b"]
            return f"{first} a JOIN {second} b ON a.id = b.id"
        if kind == 1:
            self.tables = ["a", "b"]
            return f"{first} a LEFT JOIN {second} b ON a.id = b.id + 40"
        if kind == 2:
            self.tables = ["a", "b"]
            return f"{first} a JOIN u b ON a.g = b.g AND a.id > b.id * 3"
        if kind == 3:
            self.tables = ["a"]
            condition = f"neural.predict('plain', {self.pick('l', 'a')}) > l.x"
            self.tables = ["a", "l"]
            return (f"{first} a, LATERAL (SELECT * FROM u l WHERE l.id = a.id"
                    f" OR l.g = a.g AND {condition} ORDER BY l.id LIMIT {self.rng.randint(1, 3)}) l")
        if kind == 4:
            self.tables = ["a", "b"]
            return f"{first} a JOIN {second} b ON a.id = b.id AND {self.condition(1)}"
        self.tables = ["a"]
        return f"{first} a JOIN held h ON h.id = a.g % 3 + 1"

    def tail(self, keys):
        text = ""
        if self.often(0.4):
            text += " ORDER BY " + self.pick(
                "a.id", f"{self.call()}, a.id", "a.g, a.id", "a.x DESC, a.id",
                keys)
        if self.limits and self.often(0.35):
            text += f" LIMIT {self.rng.randint(0, 12)}"
            if self.often(0.4):
                text += f" OFFSET {self.rng.randint(0, 5)}"
        return text

    def where(self, share=0.6):
        return f" WHERE {self.condition()}" if self.often(share) else ""

    def simple(self):
        source = self.source()
        values = [self.value() for _ in range(self.rng.randint(1, 4))]
        if " held h " in source and self.often(0.7):
            values.append("neural.predict_with(h.model, a)")
        distinct = "DISTINCT " if self.often(0.05) else ""
        if distinct:
            return f"SELECT DISTINCT {', '.join(v + '::text' for v in values)} FROM {source}{self.where()} ORDER BY 1"
        return f"SELECT {', '.join(values)} FROM {source}{self.where()}{self.tail('1')}"

    def aggregate(self):
        source = self.source()
        value = f"({self.pick(self.call(), self.call(), self.number())})::numeric"
        aggregates = [self.pick(
            f"sum({value})", f"avg({value})", "count(*)", f"max({self.number()})",
            f"min({self.text_call()})", f"count(DISTINCT {self.call()})",
            f"sum({value}) FILTER (WHERE {self.condition(1)})",
            f"string_agg({self.text_call()}, ',' ORDER BY a.id)",
            f"count({self.call()})", f"max(neural.predict('plain', a))",
            f"bool_or({self.condition(1)})")
            for _ in range(self.rng.randint(1, 3))]
        key = self.pick("a.g", "a.g", "a.kind", self.text_call(),
                        f"round(({self.call()})::numeric)", None)
        if key is None:
            return f"SELECT {', '.join(aggregates)} FROM {source}{self.where()}"
        having = f" HAVING {self.pick('count(*) > 3', aggregates[0] + ' IS NOT NULL')}" if self.often(0.3) else ""
        return (f"SELECT {key}, {', '.join(aggregates)} FROM {source}{self.where()}"
                f" GROUP BY 1{having}{self.pick('', ' ORDER BY 1')}{self.pick('', '', ' LIMIT 2') if self.limits else ''}")

    def window(self):
        source = self.source()
        return (f"SELECT a.id, {self.value()}, {self.pick('row_number()', 'rank()', f'sum(({self.call()})::numeric)')}"
                f" OVER ({self.pick('', 'PARTITION BY a.g ')}ORDER BY {self.pick('a.id', self.call() + ', a.id')})"
                f" FROM {source}{self.where()}{self.tail('1')}")

    def with_query(self):
        inner = self.simple_of("t")
        materialized = self.pick("", "MATERIALIZED ", "NOT MATERIALIZED ")
        return (f"WITH w AS {materialized}({inner}) SELECT * FROM w"
                f"{self.pick('', ' WHERE p > 3', ' LIMIT 4' if self.limits else '', ' UNION ALL SELECT * FROM w', ' ORDER BY p, id')}")

    def simple_of(self, table):
        self.tables = ["a"]
        return f"SELECT a.id, {self.number()} AS p FROM {table} a{self.where()}"

    def change(self):
        self.tables = ["a"]
        kind = self.rng.randrange(5)
        if kind == 0:
            return f"UPDATE t a SET z = {self.number()}, x = {self.number(1)}{self.where()} RETURNING a.id, a.z, {self.call()}"
        if kind == 1:
            return f"DELETE FROM t a{self.where(1)} RETURNING a.id, {self.value()}"
        if kind == 2:
            return f"INSERT INTO scores SELECT a.id, {self.number()} FROM {self.table()} a{self.where()} RETURNING *"
        if kind == 3:
            self.tables = ["a", "b"]
            return f"UPDATE t a SET z = {self.number()} FROM u b WHERE a.id = b.id AND {self.condition()} RETURNING a.id, a.z"
        return (f"MERGE INTO scores s USING (SELECT a.id, {self.number()} AS p FROM t a{self.where()}) q ON s.id = q.id"
                f" WHEN MATCHED THEN UPDATE SET score = q.p WHEN NOT MATCHED THEN INSERT VALUES (q.id, q.p)")

    def query(self):
        return self.pick(self.simple, self.simple, self.simple, self.simple,
                         self.aggregate, self.aggregate, self.window,
                         self.with_query, self.change)()


def settings(rng, how):
    """Settings that both runs share."""
    chosen = []
    for name, values, share in (
            ("neural.batch_rows", (1, 2, 3, 16, 64), 0.6),
            ("neural.predict_threads", (2, 3), 0.5),
            ("work_mem", ("64kB",), 0.15),
            ("enable_hashjoin", ("off",), 0.2),
            ("enable_mergejoin", ("off",), 0.2),
            ("enable_nestloop", ("off",), 0.2),
            ("enable_seqscan", ("off",), 0.2),
            ("enable_hashagg", ("off",), 0.2),
            ("enable_sort", ("off",), 0.1),
            ("enable_material", ("off",), 0.1),
            ("enable_memoize", ("off",), 0.1),
            ("from_collapse_limit", (1,), 0.1)):
        if rng.random() < share:
            chosen += [name, str(rng.choice(values))]
    # what is switched off costs so much that all would be compiled
    chosen += ["jit", "off"] if rng.random() < 0.98 else ["jit_above_cost", "0"]
    if how == "parallel":
        chosen += ["debug_parallel_query", rng.choice(("on", "regress")),
                   "parallel_setup_cost", "0", "parallel_tuple_cost", "0",
                   "min_parallel_table_scan_size", "0",
                   "max_parallel_workers_per_gather", "2"]
    else:
        # whose rows come first would be chance
        chosen += ["max_parallel_workers_per_gather", "0"]
    return chosen


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    for i in range(count):
        rng = random.Random(seed * 1000003 + i)
        writer = Writer(rng)
        # workers take their time to start
        how = rng.choice(("plain",) * 8 + ("generic", "cursor", "role") * 2 + ("parallel",))
        writer.limits = how != "parallel"
        query = writer.query()
        if "MERGE" in query:
            how = "plain"
        chosen = ", ".join(f"'{word}'" for word in settings(rng, how))
        print(f"SELECT check_query({i}, '{how}', ARRAY[{chosen}]::text[], $q${query}$q$);")


main()
