#!/usr/bin/env python3
"""mixed.py: many sessions do everything to the same few models.

    mixed.py OPERATIONS SESSIONS SEED

Sessions are psql processes that run statements drawn from the seed, in the
database of set_up.sql.  Prints what must not be, and a count of what was.  The
order in which they meet is the machine's, so a seed is no exact repetition.
"""
import collections
import random
import re
import subprocess
import sys
import threading

NAMES = ["w1", "w2", "w3", "w4", "w5"]

# Two that make a table of one name, or give a table one, meet in these.
NAME_INDEX = r'"pg_(class_relname|type_typname)_nsp_index"'

# What may be said, and by whose doing.
EXPECTED = {
    "42P01": "the model is not there, or no more",
    "42P07": "a name is taken",
    "42710": "a name is taken, by the type of a table",
    "42704": "no such version",
    "55000": "no active version, or none before it",
    "42501": "not granted",
    "40001": "another changed versions, in repeatable read",
}


def statement(draw):
    """One operation: SQL of one or more statements."""
    name = draw.choice(NAMES)
    seed = draw.randint(1, 20)
    version = draw.randint(1, 25)
    kind = draw.choices(
        ["judge", "query", "repeatable", "reader", "train", "import", "promote", "rollback", "prune",
         "rename", "drop", "grant", "look", "clear", "undone"],
        [20, 12, 4, 8, 12, 6, 10, 4, 5, 5, 2, 6, 6, 1, 3])[0]
    activate = draw.choice(["always", "never", "better"])
    train = (f"SELECT 'trained ' || (version > 0) FROM neural.train('{name}', 'sale', target => 'y', features => '{{x}}', "
             f"layers => 'dense(8, tanh)', epochs => 1, seed => {seed}, "
             f"options => '{{\"threads\": 1, \"note\": \"seed {seed}\", \"activate\": \"{activate}\"}}');")
    query = (f"SELECT CASE WHEN neural.predict('{name}', q) IS NOT DISTINCT FROM p.prediction THEN 'right' ELSE 'WRONG' END "
             f"FROM {name} m JOIN pool p USING (note), question q WHERE m.active;")
    return {
        "judge": f"SELECT judge('{name}');",
        "query": query,
        "repeatable": "BEGIN ISOLATION LEVEL REPEATABLE READ;\n"
                      f"SELECT coalesce(string_agg(version || note || active, ',' ORDER BY version), '-') AS before FROM {name} \\gset\n"
                      f"SELECT judge('{name}'), pg_sleep(0.005);\nSELECT judge('{name}');\n"
                      f"SELECT CASE WHEN coalesce(string_agg(version || note || active, ',' ORDER BY version), '-') = :'before' "
                      f"THEN 'right' ELSE 'WRONG snapshot' END FROM {name};\n"
                      + (f"SELECT 'promoted ' || (neural.promote('{name}', {version}) = {version});" if draw.random() < 0.5 else train)
                      + "\nCOMMIT;",
        "reader": "SET ROLE neural_mixed_reader;\n"
                  f"SELECT CASE WHEN neural.predict('{name}', q) IN (SELECT prediction FROM pool) THEN 'right' ELSE 'WRONG' END "
                  "FROM question q;\nRESET ROLE;",
        "train": train,
        "import": f"SELECT 'imported ' || (neural.import_model('{name}', data, note) > 0) FROM pool WHERE note = 'seed {seed}';",
        "promote": f"SELECT 'promoted ' || (neural.promote('{name}', {version}) = {version});",
        "rollback": f"SELECT 'rolled back ' || (neural.rollback('{name}') > 0);",
        "prune": f"SELECT 'pruned ' || (neural.prune('{name}', {draw.randint(0, 4)}) >= 0);",
        "rename": f"ALTER TABLE {name} RENAME TO {draw.choice(NAMES)};",
        "drop": f"DROP TABLE {name};",
        "grant": f"SELECT 'granted ' || (neural.grant_predict('{name}', 'neural_mixed_reader') IS NOT NULL);",
        "look": f"SELECT 'looked ' || (count(*) >= 0) FROM neural.versions('{name}'), neural.features('{name}'), neural.history('{name}');",
        "clear": f"UPDATE {name} SET active = false WHERE active;",
        "undone": f"BEGIN;\n{train}\nROLLBACK;",
    }[kind]


def main(operations, sessions, seed):
    running = []
    for session in range(sessions):
        draw = random.Random(seed * 1000 + session)
        script = "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT always\n\\set before ''\nSET client_min_messages = error;\n"
        script += "\n".join(statement(draw) for _ in range(operations // sessions))
        psql = subprocess.Popen(["psql", "-XAtq", "-v", "ON_ERROR_STOP=0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)
        running.append((psql, script))
    outputs = [None] * sessions

    def talk(i):
        outputs[i] = running[i][0].communicate(running[i][1])[0]

    threads = [threading.Thread(target=talk, args=(i,)) for i in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    counts = collections.Counter()
    wrong = []
    for output in outputs:
        lines = output.splitlines()
        for number, line in enumerate(lines):
            error = re.search(r"(?:ERROR|FATAL|PANIC):  (\w{5}): (.*)", line)
            if error:
                state, message = error.groups()
                counts["error " + state] += 1
                if state in ("23505", "40P01") and re.search(NAME_INDEX, "\n".join(lines[number:number + 12])):
                    continue
                if state not in EXPECTED and state != "25P02":
                    wrong.append("\n".join(lines[number:number + 8]))
            elif line.startswith("WRONG") or "server closed the connection" in line:
                wrong.append(line)
            else:
                did = re.match(r"(right|\w+(?: back)? (?:true|false))\b", line)
                if did:
                    counts[did.group(1)] += 1
                    if did.group(1).endswith(" false"):
                        wrong.append(line)
    for line in wrong[:20]:
        print(line)
    print("# " + ", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    return 1 if wrong or counts["right"] < operations / 10 else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
