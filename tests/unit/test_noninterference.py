"""Does the taint walk name every cause? Change one source, see what moves in the answer, ask whether the walk named it.

DuckDB runs the queries. The walk must be right in three ways: who is in the answer moves for no reason outside `rows`, a
value of someone who stays moves for no reason outside its column's facts, and what is called unique is unique.
Mutants prove that the test bites: each takes a rule out of the walk, and must be caught.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot

from cdp.governance import taint as walk
from cdp.governance.taint import Relation
from tests.taint_world import ANALYST, CODES, TABLES, TREE, parse

QUERIES = int(os.environ.get("CDP_TAINT_QUERIES", "40"))  # more for a longer search
Rows = dict[str, list[list[Any]]]
DAYS = [dt.date(2025, 1, 1), dt.date(2025, 6, 1), dt.date(2026, 2, 1), None]
DOMAIN: Mapping[str, list[Any]] = {
    "mrn": ["m1", "m2"],
    "email": ["a@e", "b@e", "c@e", None],
    "birth_date": [dt.date(1970, 1, 1), dt.date(2008, 1, 1), None],
    "first_name": ["Al", "Bo", "x"],
    "lang": ["en", "es", "x", None],
    "code": ["44054006", "4548-4", "F10.20", "F11.20", "F13.20"],  # the last is in no reviewed value set
    "start": DAYS,
    "date": DAYS,
    "value": [1.0, 7.0, 9.5, 12.0, None],
    "kind": ["AMB", "EMER"],
}
TYPES = {"birth_date": pa.date32(), "start": pa.date32(), "date": pa.date32(), "value": pa.float64()}
COLUMNS = {
    "patients": ["patient_id", "mrn", "email", "birth_date", "first_name", "lang"],
    "conditions": ["patient_id", "encounter_id", "code", "start"],
    "observations": ["patient_id", "code", "value", "date"],
    "encounters": ["encounter_id", "kind"],
}


def world(rng: random.Random) -> Rows:
    patients, encounters = [f"p{i}" for i in range(12)], [f"e{i}" for i in range(6)]

    def row(table: str, **keys: str) -> list[Any]:
        return [keys.get(column) or rng.choice(DOMAIN[column]) for column in COLUMNS[table]]

    return {
        "patients": [row("patients", patient_id=p) for p in patients],
        "conditions": [row("conditions", patient_id=rng.choice(patients), encounter_id=rng.choice(encounters)) for _ in range(18)],
        "observations": [row("observations", patient_id=rng.choice(patients)) for _ in range(20)],
        "encounters": [row("encounters", encounter_id=e) for e in encounters],
    }


ONCE = " (one row each)"


@dataclass(frozen=True)
class Case:
    """A query in Spark's dialect; `once`: it gives one row for each `k`, whether or not the walk can tell."""

    sql: str
    once: bool = False


@dataclass(frozen=True)
class Change:
    """What was changed: a column, or with no column the rows; `cls` narrows to the class between whose codes it moved."""

    table: str
    column: str
    cls: str = ""

    def named_in(self, facts: frozenset[Any]) -> bool:
        return any((f.table, f.column) == (f"clinical.{self.table}", self.column) and self.cls in ("", f.cls) for f in facts)


def changes(rows: Rows, rng: random.Random) -> Iterator[tuple[Change, list[list[Any]]]]:
    """Every non-key column of every table changed in half of its rows, sensitive codes among each other, rows left out."""
    for table, columns in COLUMNS.items():
        for at, column in enumerate(columns):
            if column not in DOMAIN or column == "mrn":
                continue
            yield (
                Change(table, column),
                [[*r[:at], rng.choice(DOMAIN[column]), *r[at + 1 :]] if rng.random() < 0.5 else r for r in rows[table]],
            )
            if (table, column) == ("conditions", "code"):
                other = {"F10.20": "F11.20", "F11.20": "F13.20", "F13.20": "F10.20"}
                yield (
                    Change(table, column, "sensitive.sud"),
                    [[*r[:at], other.get(r[at], r[at]) if rng.random() < 0.7 else r[at], *r[at + 1 :]] for r in rows[table]],
                )
        yield Change(table, ""), [r for r in rows[table] if rng.random() < 0.6]


class Oracle:
    """Runs a query on changed data and lists what moved without being named."""

    def __init__(self) -> None:
        self.con = duckdb.connect(config={"threads": 1})

    def fill(self, table: str, rows: list[list[Any]]) -> None:
        columns = zip(*rows, strict=True) if rows else [()] * len(COLUMNS[table])
        self.con.register(
            table, pa.table([pa.array(c, TYPES.get(n, pa.string())) for n, c in zip(COLUMNS[table], columns, strict=True)], COLUMNS[table])
        )

    def leaks(self, case: Case, relation: Relation, rng: random.Random, worlds: int) -> tuple[set[str], int]:
        """What moved without a named cause, and how many changes were tried.


        Raises:
            duckdb.Error: the query does not run, so it shows nothing.
        """
        once = case.once or relation.keys == {"k"}
        statement = sqlglot.transpile(case.sql, read="databricks", write="duckdb")[0].replace("clinical.", "")
        found: set[str] = set()
        tried = 0
        for _ in range(worlds):
            base = world(rng)
            for table, rows in base.items():
                self.fill(table, rows)
            before = self.con.execute(statement).fetchall()
            found |= _not_unique(before, relation)
            for change, rows in changes(base, rng):
                if f"clinical.{change.table}" not in case.sql:
                    continue
                self.fill(change.table, rows)
                found |= _moved(before, self.con.execute(statement).fetchall(), relation, change, once)
                self.fill(change.table, base[change.table])
                tried += 1
        return found, tried


def _not_unique(rows: list[tuple[Any, ...]], relation: Relation) -> set[str]:
    at = [list(relation.columns).index(key) for key in sorted(relation.keys)]
    keys = Counter(tuple(row[i] for i in at) for row in rows)
    return {f"{sorted(relation.keys)} is not unique"} if at and max(keys.values(), default=1) > 1 else set()


def _moved(before: list[tuple[Any, ...]], after: list[tuple[Any, ...]], relation: Relation, change: Change, once: bool) -> set[str]:
    found: set[str] = set()
    names = list(relation.columns)
    for at, name in enumerate(names):
        moved = Counter(repr(row[at]) for row in before) != Counter(repr(row[at]) for row in after)
        is_key = name == "k"
        named = relation.rows if is_key else relation.rows | relation.columns[name]
        if moved and not change.named_in(named):
            found.add(f"{'membership' if is_key else name} moved with {change}")
    if len(before) != len(after) and not change.named_in(relation.rows):
        found.add(f"the number of rows moved with {change}")
    if once:  # who stays is known, so a value may move by the facts of its own column only
        first, second = ({row[names.index("k")]: row for row in rows} for rows in (before, after))
        for person in first.keys() & second.keys():
            for at, name in enumerate(names):
                if first[person][at] != second[person][at] and not change.named_in(relation.columns[name]):
                    found.add(f"{name} of one who stays moved with {change}")
    return found


# ---- queries ----------------------------------------------------------------------------------------------------------
PREDICATES = [
    "p.lang = 'en'",
    "p.email LIKE 'a%'",
    "p.lang IS NULL",
    "EXISTS (SELECT 1 FROM clinical.conditions AS c WHERE c.patient_id = p.patient_id AND c.code = 'F10.20')",
    "NOT EXISTS (SELECT 1 FROM clinical.conditions AS c WHERE c.patient_id = p.patient_id AND c.code IN ('44054006'))",
    "p.patient_id IN (SELECT o.patient_id FROM clinical.observations AS o WHERE o.value > 9)",
    "NOT p.patient_id IN (SELECT c.patient_id FROM clinical.conditions AS c WHERE c.code = 'F10.20')",
    "(SELECT MAX(o.value) FROM clinical.observations AS o WHERE o.patient_id = p.patient_id) > 7",
    "p.lang IN (SELECT c.code FROM clinical.conditions AS c)",
    "p.birth_date < CAST('2000-01-01' AS DATE)",
    "CASE WHEN p.lang = 'x' THEN p.first_name = 'x' ELSE TRUE END",
]
BY_PERSON = "(SELECT patient_id, MAX(value) AS mv, COUNT(*) AS n FROM clinical.observations WHERE code = '4548-4' GROUP BY patient_id)"
JOINS = {
    "": [],
    "JOIN clinical.conditions AS c ON c.patient_id = p.patient_id": ["c.code AS cd", "c.patient_id IS NULL AS nn", "c.start AS st"],
    "LEFT JOIN clinical.conditions AS c ON c.patient_id = p.patient_id AND c.code = 'F10.20'": [
        "c.code AS cd",
        "CASE WHEN c.code = 'F10.20' THEN 1 ELSE 0 END AS f",
        "c.code = '44054006' AS g",
        "c.patient_id IS NULL AS nn",
    ],
    f"LEFT JOIN {BY_PERSON} AS o ON o.patient_id = p.patient_id": ["o.mv AS mv", "COALESCE(o.n, 0) AS n", "o.patient_id IS NULL AS nn"],
    f"LEFT JOIN {BY_PERSON} AS o ON o.patient_id = p.patient_id AND p.lang = 'en'": ["o.mv AS mv", "o.patient_id IS NULL AS nn"],
    f"JOIN {BY_PERSON} AS o ON o.patient_id = p.patient_id": ["o.mv AS mv", "o.n AS n"],
    "LEFT SEMI JOIN clinical.conditions AS c ON c.patient_id = p.patient_id AND c.start > CAST('2025-02-01' AS DATE)": [],
    "LEFT ANTI JOIN clinical.observations AS z ON z.patient_id = p.patient_id": [],
    "FULL JOIN clinical.conditions AS c ON c.patient_id = p.patient_id": ["c.code AS cd", "c.patient_id IS NULL AS nn"],
    "RIGHT JOIN (SELECT DISTINCT patient_id, code FROM clinical.conditions) AS c ON c.patient_id = p.patient_id": ["c.code AS cd"],
    "JOIN LATERAL (SELECT MAX(o.date) AS d FROM clinical.observations AS o WHERE o.patient_id = p.patient_id) AS l": ["l.d AS ld"],
}
ITEMS = [
    "p.lang AS a",
    "CONCAT(p.first_name, p.lang) AS b",
    "CASE WHEN p.email = 'a@e' THEN 1 ELSE 0 END AS d",
    "(SELECT COUNT(*) FROM clinical.conditions AS c2 WHERE c2.patient_id = p.patient_id) AS s",
    "ROW_NUMBER() OVER (PARTITION BY p.lang ORDER BY p.birth_date NULLS LAST, p.patient_id) AS w",
    "'const' AS cc",
]
WRAPPERS = [
    "{q}",
    "{q}",
    "SELECT {z} AS z, COUNT(*) AS n FROM ({q}) AS q GROUP BY {z}",
    "SELECT k, MAX({z}) AS z FROM ({q}) AS q GROUP BY k HAVING COUNT(*) > 1",
    "WITH q AS ({q}) SELECT k, {z} AS y FROM q WHERE NOT {z} IS NULL",
    "SELECT k FROM ({q}) AS q UNION SELECT patient_id FROM clinical.conditions WHERE code = '44054006'",
    "SELECT k, 'm' AS z FROM ({q}) AS q UNION ALL SELECT patient_id, 'c' FROM clinical.conditions WHERE start > CAST('2025-02-01' AS DATE)",
    "SELECT k FROM ({q}) AS q EXCEPT SELECT patient_id FROM clinical.observations WHERE value > 9",
    "SELECT k FROM ({q}) AS q INTERSECT SELECT patient_id FROM clinical.observations WHERE value > 5",
    "SELECT DISTINCT {z} AS z FROM ({q}) AS q",
    "SELECT k, {z} AS z FROM ({q}) AS q ORDER BY {z} NULLS LAST, k LIMIT 5",
    "SELECT p2.patient_id AS k, q.{z} AS z FROM clinical.patients AS p2 LEFT JOIN ({q}) AS q ON q.k = p2.patient_id",
]


def free_query(rng: random.Random) -> str:
    """A query of the kinds that `sql:` may hold."""
    join = rng.choice(list(JOINS))
    items = ["p.patient_id AS k", *rng.sample(ITEMS + JOINS[join], rng.randint(1, 4))]
    where = rng.sample(PREDICATES, rng.randint(0, 2))
    query = f"SELECT {', '.join(items)} FROM clinical.patients AS p {join}"
    query += " WHERE " + rng.choice([" AND ", " OR "]).join(where) if where else ""
    return rng.choice(WRAPPERS).format(q=query, z=items[-1].split()[-1])


CONDITIONS = [
    "conditions.code IN ('44054006')",
    "conditions.code IN ('F10.20')",
    "conditions.start >= CAST('2025-03-01' AS DATE)",
    "encounter.kind = 'AMB'",
    "conditions.code IN ('4548-4') AND conditions.start < CAST('2026-01-01' AS DATE)",
]


def compiled_query(rng: random.Random) -> str:
    """A query as the compiler builds it: one grouped scan with the conditions of many measures, joined once."""
    a, b, c = rng.sample(CONDITIONS, 3)
    extra = rng.choice(["", "", " AND conditions.start <= CAST('2026-01-01' AS DATE)"])
    after = rng.choice(["", "", " HAVING COUNT(*) > 1", " HAVING MAX(conditions.start) > CAST('2025-01-01' AS DATE)"])
    scan = (
        f"SELECT conditions.patient_id, BOOL_OR({a}) AS has_1, COUNT_IF({b}) AS count_2, MAX(conditions.start) FILTER(WHERE {c}) AS max_3, "
        f"MAX_BY(conditions.code, STRUCT(conditions.start, conditions.code)) "
        f"FILTER(WHERE NOT conditions.start IS NULL AND {a}) AS latest_4, "
        f"COUNT(*) FILTER(WHERE ({a}) OR ({b})) AS count_5 FROM clinical.conditions AS conditions "
        f"LEFT JOIN clinical.encounters AS encounter ON encounter.encounter_id = conditions.encounter_id "
        f"WHERE (({a}) OR ({b}) OR ({c})){extra} GROUP BY conditions.patient_id{after}"
    )
    wheres = [
        "COALESCE(s.has_1, FALSE)",
        "NOT COALESCE(s.has_1, FALSE)",
        "COALESCE(s.count_2, 0) >= 1",
        "s.max_3 IS NULL",
        "s.has_1 IS NULL",
    ]
    items = [
        "s.max_3 AS m",
        "s.latest_4 AS l",
        "COALESCE(s.count_5, 0) AS n",
        "COALESCE(s.has_1, FALSE) AS h",
        "s.count_2 AS n0",
        "p.lang AS a",
    ]
    joined = rng.choice(["LEFT JOIN", "LEFT JOIN", "LEFT JOIN", "JOIN"])
    where = " AND ".join(rng.sample(wheres, rng.randint(0, 2)))
    return (
        f"WITH s AS ({scan}) SELECT p.patient_id AS k, {', '.join(rng.sample(items, 3))} FROM clinical.patients AS p "
        f"{joined} s ON s.patient_id = p.patient_id" + (f" WHERE {where}" if where else "")
    )


def targeted() -> dict[str, Case]:
    """The queries of fixtures/taint/targeted.sql by name."""
    text = (Path(__file__).parents[1] / "fixtures/taint/targeted.sql").read_text()
    parts = [part.split("\n", 1) for part in text.split("-- name: ")[1:]]
    return {name.removesuffix(ONCE): Case(sql.rstrip(" ;\n"), name.endswith(ONCE)) for name, sql in parts}


TARGETED = targeted()


def random_cases(count: int) -> list[Case]:
    rng = random.Random(7)
    return [Case(compiled_query(rng) if i % 3 == 0 else free_query(rng)) for i in range(count)]


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


@pytest.mark.parametrize("name", TARGETED)
def test_the_walk_names_every_cause_in_a_targeted_query(oracle: Oracle, name: str) -> None:
    case = TARGETED[name]
    found, tried = oracle.leaks(case, ANALYST.query(parse(case.sql)), random.Random(1), 2)
    assert not found
    assert tried > 5


def test_the_walk_names_every_cause_in_random_queries(oracle: Oracle) -> None:
    rng = random.Random(11)
    leaks, ran = {}, 0
    for case in random_cases(QUERIES):
        found, tried = oracle.leaks(case, ANALYST.query(parse(case.sql)), rng, 1)
        ran += tried
        if found:
            leaks[case.sql] = found
    assert not leaks
    assert ran > 10 * QUERIES


# ---- mutants ----------------------------------------------------------------------------------------------------------
PACKAGE = Path(walk.__file__).parent
MODULES = ("syntax", "scope", "values", "groups", "taint")  # the last is the package itself
MUTANTS = {
    "WHERE tells nothing": (
        "taint",
        "                scope.rows |= facts\n        return choices",
        "                pass\n        return choices",
    ),
    "WHERE with OR tells nothing": ("taint", "scope.rows |= union(choice.facts for choice in choices)", "pass"),
    "HAVING tells nothing": ("taint", "scope.rows |= self._values.condition(having.this, scope)", "pass"),
    "ON tells nothing": ("taint", "facts |= self._values.condition(part, scope)\n            if", "pass\n            if"),
    "DISTINCT tells nothing": ("taint", "scope.rows |= self._values.informative(union(output.held.facts for output in outputs))", "pass"),
    "GROUP BY tells nothing": (
        "taint",
        "scope.rows |= self._values.informative(union(self._positioned(part, scope) for",
        "(union(self._positioned(part, scope) for",
    ),
    "LIMIT tells nothing of the order": ("taint", "        if cuts:\n            scope.rows |= facts\n", ""),
    "a joined table's rows tell nothing": (
        "taint",
        "        scope.rows |= source.rows | on\n        if not half",
        "        scope.rows |= on\n        if not half",
    ),
    "a LEFT JOIN always finds one row at most": ("taint", "one = bool(source.keys) and source.keys <= equal", "one = True"),
    "a column equal to itself is set": ("taint", 'outside[0] not in ("", name)', 'outside[0] not in ("",)'),
    "nullness tells nothing": (
        "scope",
        "            return self.beside(rows | on)\n        alone",
        "            return self\n        alone",
    ),
    "nullness of many matches tells nothing": ("taint", "scope.sources[name] = source.beside(source.rows | on)", "pass"),
    "nullness of a RIGHT JOIN tells nothing": ("taint", "else s.beside(match) for", "else s for"),
    "absence is FALSE": ("groups", 'return node.this, "FALSE"', 'return node.this, "NULL"'),
    "absence is 0": ("groups", 'return node.this, "0"', 'return node.this, "NULL"'),
    "every alternative is one's own": (
        "groups",
        "return all(any(same(part, option) for option in self.options) for part in operands(condition, exp.Or))",
        "return True",
    ),
    "HAVING takes no group away": ("taint", "and choices and whole:", "and choices:"),
    "EXISTS tells nothing": ("values", "return self._query(node.this, scope.ctes, scope).rows", "return NONE"),
    "a scalar subquery's rows tell nothing": ("values", "return source.rows.union(*[held", "return NONE.union(*[held"),
    "a scalar subquery's value tells nothing": (
        "values",
        "return source.rows.union(*[held.facts for held in source.columns.values()])",
        "return source.rows",
    ),
    "aggregates tell nothing of rows": ("taint", "o.held if not o.telling else Held.of(o.held.facts | scope.rows) for", "o.held for"),
    "aliases of aggregates tell nothing of rows": ("scope", "                self._tell(scope)\n", "                pass\n"),
    "FILTER tells nothing": (
        "values",
        "return self.value(node.this, scope) | self.condition(where.this, scope)",
        "return self.value(node.this, scope)",
    ),
    "a window's order tells nothing": ("values", "return facts | self.window(node, scope)", "return facts"),
    "a named window tells nothing": (
        "values",
        'return facts | scope.windows if name_of(node.args.get("alias")) else facts',
        "return facts",
    ),
    "set operations tell nothing of their sides": ("taint", "Held.of(facts | rows) for", "Held.of(facts) for"),
    "set operations read one side": ("taint", "rows = left.rows | right.rows", "rows = left.rows"),
    "narrow by any code": (
        "values",
        "if classes is None:\n            return None",
        "if classes is None:\n            continue",
    ),
    "narrow what is no copy": ("scope", "        return cls(facts, facts)\n", "        return cls(facts, NONE, facts)\n"),
    "narrow to nothing": ("values", "return held.fixed | kept", "return held.fixed"),
}


def mutant(monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str) -> Any:
    """The analyst of a walk in whose source `old` was replaced."""
    for name in MODULES[MODULES.index(module) :]:  # those that import it, too
        full, file = ("cdp.governance.taint", "__init__.py") if name == "taint" else (f"cdp.governance.taint.{name}", f"{name}.py")
        source = (PACKAGE / file).read_text()
        if name == module:
            assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {file}"
            source = source.replace(old, new)
        fresh = ModuleType(full)
        monkeypatch.setitem(sys.modules, full, fresh)
        exec(compile(source, file, "exec"), fresh.__dict__)
    changed: Any = sys.modules["cdp.governance.taint"]
    return changed.Analyst(TABLES, CODES.get, TREE)


def _plain(relation: Any) -> object:
    """A relation as texts, for the facts of a mutant are of a class of their own."""
    return {c: {*map(repr, f)} for c, f in relation.columns.items()}, {*map(repr, relation.rows)}, relation.keys


@pytest.mark.parametrize("name", MUTANTS)
def test_a_rule_taken_out_of_the_walk_is_caught(oracle: Oracle, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    analyst = mutant(monkeypatch, *MUTANTS[name])
    rng = random.Random(3)
    for case in TARGETED.values():
        relation = analyst.query(parse(case.sql))
        if _plain(relation) != _plain(ANALYST.query(parse(case.sql))) and oracle.leaks(case, relation, rng, 5)[0]:
            return
    pytest.fail(f"no query shows the difference: {name}")
