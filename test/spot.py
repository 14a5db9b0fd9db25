#!/usr/bin/env python3
"""spot.py: what a hostile database could turn against an extension's script.

    spot.py SCRIPT.sql...       what is wrong, one line each
    spot.py --self-test         whether each rule finds what it is about

A superuser runs the script in a database where others may have made schemas,
functions and operators.  So the script creates with plain CREATE, in its own
schema, and names everything else by its schema: relations, functions, operators
and casts.  (The same rules as pgspot's, which wants a parser of its own.)
"""
import re
import sys

# What is written like a call and is none, or is syntax.
NOT_CALLS = set("""as in on of with using values numeric returns table operator aggregate
    select from where and or not exists type function view if coalesce cast over""".split())
COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)
LITERAL = re.compile(r"'(?:[^']|'')*'")


def statements(script):
    """The statements of a script, without comments; bodies in $$ are kept."""
    out, current, i = [], "", 0
    script = COMMENT.sub(" ", script)
    script = re.sub(r"^\\.*$", "", script, flags=re.M)
    while i < len(script):
        quote = re.match(r"\$\w*\$", script[i:])
        if quote:
            end = script.index(quote.group(), i + len(quote.group())) + len(quote.group())
            current += script[i:end]
            i = end
        elif script[i] == "'":
            literal = LITERAL.match(script, i).group()
            current += literal
            i += len(literal)
        elif script[i] == ";":
            out.append(" ".join(current.split()))
            current = ""
            i += 1
        else:
            current += script[i]
            i += 1
    return [s for s in out + [" ".join(current.split())] if s]


def faults(statement):
    """What is wrong with one statement."""
    bare = LITERAL.sub("''", statement)
    head = bare.split("$$")[0]
    made = re.match(r"CREATE (?:UNIQUE )?(\w+)(?: \w+)* ?", bare, re.I)
    if re.search(r"\bOR REPLACE\b|\bIF NOT EXISTS\b", bare, re.I):
        yield "may take what is there already for its own"
    if "@" in statement:
        yield "is put together by substitution"
    if re.search(r"SECURITY DEFINER", bare, re.I) and not re.search(r"SET search_path", bare, re.I):
        yield "runs as its owner under the caller's search_path"
    if re.search(r"LANGUAGE (sql|plpgsql)", head, re.I) and made:
        yield "is not written in C"
    named = re.match(r"CREATE (?:FUNCTION|AGGREGATE|TYPE|VIEW|TABLE|PROCEDURE|OPERATOR|SEQUENCE|DOMAIN) ([\w.\"]+)", head, re.I)
    if named and not named.group(1).startswith("neural."):
        yield "creates in no schema of its own: " + named.group(1)
    on = re.match(r"(?:COMMENT ON|GRANT .* ON|REVOKE .* ON|ALTER) (?:FUNCTION|AGGREGATE|TYPE|VIEW|TABLE|PROCEDURE)? ?([\w.\"]+)", head, re.I)
    if on and not on.group(1).startswith("neural.") and "SCHEMA neural" not in head:
        yield "acts on what has no schema: " + on.group(1)
    if re.match(r"(CREATE VIEW|DO|SELECT|INSERT|UPDATE|DELETE|WITH)\b", bare, re.I):
        yield from query_faults(bare)


def query_faults(body):
    """Names without a schema in what is run, now or by a view."""
    body = re.sub(r"OPERATOR\(pg_catalog\.[^)]+\)", " and ", body)
    # an option of a view is no comparison
    body = re.sub(r"\bWITH \(\w+ = \w+\)", " ", body)
    for match in re.finditer(r"(?<![\w.\"])([a-z_]\w*)\s*\(", body, re.I):
        if match.group(1).lower() not in NOT_CALLS:
            yield "calls what has no schema: " + match.group(1)
    for match in re.finditer(r"\b(?:FROM|JOIN)\s+([a-z_]\w*)(?![\w.])", body, re.I):
        yield "reads what has no schema: " + match.group(1)
    for match in re.finditer(r"::\s*([a-z_]\w*)(?![\w.])", body, re.I):
        yield "casts to what has no schema: " + match.group(1)
    # an option of RAISE is no comparison
    rest = re.sub(r"::|:=|\$\$|'[^']*'|\b(USING ERRCODE|DETAIL|HINT) =", " ", body)
    for match in re.finditer(r"[-+*/<>=~!#%^&|?]+", rest):
        # SELECT * and count(*) are no operators
        if match.group() != "*" or not re.search(r"(SELECT|\()\s*$", rest[:match.start()], re.I):
            yield "uses an operator without a schema: " + match.group()
    if re.search(r"\b(LIKE|ILIKE|SIMILAR|BETWEEN|IN|ANY|DISTINCT FROM|CASE \w+ WHEN|NULLIF|USING)\b", rest, re.I):
        yield "uses syntax that looks an operator up"


BAD = """CREATE OR REPLACE FUNCTION neural.f() RETURNS int4 AS 'x', 'f' LANGUAGE C
CREATE TABLE IF NOT EXISTS neural.t (a int4)
CREATE FUNCTION neural.f() RETURNS int4 AS '@extschema@', 'f' LANGUAGE C
CREATE FUNCTION neural.f() RETURNS int4 AS 'x', 'f' LANGUAGE C SECURITY DEFINER
CREATE FUNCTION neural.f() RETURNS int4 LANGUAGE sql AS 'SELECT 1'
CREATE FUNCTION f() RETURNS int4 AS 'x', 'f' LANGUAGE C
CREATE TYPE model
CREATE VIEW models AS SELECT oid FROM pg_catalog.pg_class
COMMENT ON FUNCTION f() IS 'x'
GRANT SELECT ON models TO PUBLIC
CREATE VIEW neural.v AS SELECT oid FROM pg_class
CREATE VIEW neural.v AS SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_proc p ON true
CREATE VIEW neural.v AS SELECT now()
CREATE VIEW neural.v AS SELECT pg_catalog.now()::text
CREATE VIEW neural.v AS SELECT oid FROM pg_catalog.pg_class WHERE relname = 'x'
CREATE VIEW neural.v AS SELECT oid FROM pg_catalog.pg_class WHERE relname LIKE 'x'
CREATE VIEW neural.v AS SELECT a.oid FROM pg_catalog.pg_class a JOIN pg_catalog.pg_proc b USING (oid)
DO $$ BEGIN PERFORM set_config('a', 'b', true); END $$
SELECT pg_catalog.set_config('a', 'b' || 'c', true)
INSERT INTO neural.t SELECT 1 WHERE 1 IN (1, 2)""".split("\n")


def main(arguments):
    status = 0
    if arguments == ["--self-test"]:
        for statement in BAD:
            if not list(faults(statement)):
                print("nothing is found in: " + statement)
                status = 1
        return status
    for path in arguments:
        with open(path, encoding="utf-8") as script:
            for statement in statements(script.read()):
                for fault in faults(statement):
                    print(f"{path}: {fault}: {statement[:70]}")
                    status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
