"""A small world for the tests of the taint walk: classes, four declared tables, reviewed codes."""

from __future__ import annotations

from sqlglot import exp, parse_one

from cdp.governance.classes import ClassTree
from cdp.governance.taint import Analyst, ColumnFacts, Fact, Relation, TableFacts
from cdp.spec.policy import DataClass

TREE = ClassTree(
    {
        "identifier": DataClass(key=True),
        "identifier.internal": DataClass(),
        "identifier.mrn": DataClass(),
        "identifier.pseudonym": DataClass(),
        "contact": DataClass(),
        "contact.email": DataClass(),
        "contact.phone": DataClass(),
        "name": DataClass(),
        "name.given": DataClass(),
        "demographic": DataClass(),
        "demographic.birth_date": DataClass(),
        "demographic.year": DataClass(),
        "demographic.language": DataClass(),
        "demographic.zip": DataClass(),
        "demographic.zip3": DataClass(),
        "membership": DataClass(),
        "membership.patient": DataClass(),
        "clinical": DataClass(),
        "clinical.date": DataClass(),
        "clinical.condition": DataClass(),
        "clinical.observation": DataClass(),
        "clinical.encounter": DataClass(),
        "clinical.preventive": DataClass(),
        "sensitive": DataClass(inherit=False, law="special categories"),
        "sensitive.sud": DataClass(law="42 CFR part 2", needs_consent="part2"),
        "sensitive.hiv": DataClass(needs_consent="hiv"),
        "sensitive.psychotherapy": DataClass(never=True),
        "public": DataClass(phi=False),
    }
)
BOUND = frozenset({"sensitive.sud", "sensitive.hiv"})
KEY = ColumnFacts("identifier.internal")
TABLES = {
    "clinical.patients": TableFacts(
        {
            "patient_id": KEY,
            "mrn": ColumnFacts("identifier.mrn"),
            "email": ColumnFacts("contact.email"),
            "birth_date": ColumnFacts("demographic.birth_date"),
            "first_name": ColumnFacts("name.given"),
            "lang": ColumnFacts("demographic.language"),
            "tags": ColumnFacts("clinical.condition", BOUND),
        },
        frozenset({"membership.patient"}),
        frozenset({"patient_id"}),
    ),
    "clinical.conditions": TableFacts(
        {
            "patient_id": KEY,
            "encounter_id": KEY,
            "code": ColumnFacts("clinical.condition", BOUND),
            "start": ColumnFacts("clinical.date"),
        },
        frozenset({"clinical.condition"}),
    ),
    "clinical.observations": TableFacts(
        {
            "patient_id": KEY,
            "code": ColumnFacts("clinical.observation", frozenset({"sensitive.hiv"})),
            "value": ColumnFacts("clinical.observation"),
            "date": ColumnFacts("clinical.date"),
        },
        frozenset({"clinical.observation"}),
    ),
    "clinical.encounters": TableFacts(
        {"encounter_id": KEY, "kind": ColumnFacts("clinical.encounter"), "notes": ColumnFacts("sensitive.psychotherapy")},
        frozenset({"clinical.encounter"}),
        frozenset({"encounter_id"}),
    ),
}
CODES = {
    "44054006": frozenset[str](),
    "4548-4": frozenset[str](),
    "F10.20": frozenset({"sensitive.sud"}),
    "F11.20": frozenset({"sensitive.sud"}),
}
ANALYST = Analyst(TABLES, CODES.get, TREE)


def parse(sql: str) -> exp.Expr:
    return parse_one(sql, dialect="databricks")


def analyse(sql: str) -> Relation:
    return ANALYST.query(parse(sql))


def short(fact: Fact) -> str:
    """`conditions.code` for a column's own class, `conditions.code~sud` for what it may hold, `conditions.*` for a row."""
    table = fact.table.removeprefix("clinical.")
    if not fact.column:
        return f"{table}.*"
    own = TABLES[fact.table].columns[fact.column].cls == fact.cls
    return f"{table}.{fact.column}" + ("" if own else f"~{fact.cls.rpartition('.')[2]}")


def shorts(facts: frozenset[Fact]) -> str:
    return " ".join(sorted(map(short, facts)))
