"""Special rows on any engine: whatever stands in them, a receiver that is not granted their class gets the same."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from cdp.analyst.explore.sight import Sight
from cdp.compile.clock import Clock
from cdp.compile.statement import compile_segment
from cdp.engine import Engine
from cdp.governance.decide import Governor
from cdp.governance.query import RULE, SUBJECT, GovernedQuery
from cdp.governance.rows.special import counting
from cdp.project.load import Project, load
from cdp.sync import sources
from tests.governance_corpus import Case
from tests.projects import minimal

NOW = "2026-07-02T12:00"
DAY = dt.date(2026, 6, 1)
TABLES = {
    "clinical.patients": {
        "patient_id": pa.string(),
        "birth_date": pa.date32(),
        "death_date": pa.date32(),
        "given_name": pa.string(),
        "email": pa.string(),
        "state": pa.string(),
    },
    "clinical.encounters": {
        "encounter_id": pa.string(),
        "patient_id": pa.string(),
        "facility_id": pa.string(),
        "kind": pa.string(),
        "start": pa.date32(),
        "minor_consented": pa.bool_(),
    },
    "clinical.conditions": {
        "condition_id": pa.string(),
        "patient_id": pa.string(),
        "encounter_id": pa.string(),
        "facility_id": pa.string(),
        "code": pa.string(),
        "onset": pa.date32(),
    },
    "crm.consents": {
        **dict.fromkeys(("consent_id", "patient_id", "purpose", "channel", "status"), pa.string()),
        **dict.fromkeys(("effective_at", "expires_at", "recorded_at"), pa.timestamp("us", "UTC")),
    },
}
KINDS = {pa.string(): "string", pa.date32(): "date", pa.bool_(): "boolean", pa.timestamp("us", "UTC"): "timestamp"}
CODES = ("44054006", "38341003", "195662009", None)
SPECIAL_CODES = ("5602001", "66590003", "86406008")
SPELLED = (*SPECIAL_CODES, " 86406008", "8640.6008", "86406008\t")  # in whatever spelling HIV is HIV
FACILITIES, PROGRAMS = ("f1", "f2"), ("f8", "f9", None)

# Each asks the rows in another way: a test, a count, absence, a pick, a to-one relation, a grouping, a SELECT.
WHERE = {
    "has": "{has: conditions, where: {code: {in: diabetes}}}",
    "counts": "{count: conditions, is: {gte: 2}}",
    "lacks": '{lacks: conditions, where: {code: {starts_with: "4"}}}',
    "picks": "{latest: encounters, of: kind, is: visit}",
    "joins": "{has: conditions, where: {encounter.kind: visit}}",
    "derives": "{has: sick_days, where: {many: {gte: 2}}}",
}
SELECT = "SELECT c.patient_id FROM condition c JOIN encounter e ON e.patient_id = c.patient_id GROUP BY c.patient_id HAVING COUNT(*) > 3"
MODELS = """\
{kind: trait, name: newest, entity: patient, latest: conditions, of: code}
---
kind: entity
name: sick_day
from: condition
group_by: {patient_id: patient_id, onset: onset}
rows: clinical.condition
columns:
  many: {count: true, class: clinical.condition}
relations:
  patient: {one: patient, via: patient_id}
"""
Rows = list[dict[str, Any]]


def project_at(root: Any, where: str) -> Project:
    """The wards, and a segment that asks for their rows in one way."""
    edit = {
        "models/patient.yml": {"relations:\n": "relations:\n  sick_days: {many: sick_day, via: patient_id}\n"},
        "syncs/adults_mail.yml": {"first_name: given_name": "first_name: newest"},
    }
    files: dict[str, str | None] = {"models/made.yml": MODELS}
    if where == "selects":
        said = "kind: segment\nname: adults\nentity: patient\ndescription: d\nowner: o\npurpose: care_coordination\n"
        files["models/adults.yml"] = f"{said}sql: {SELECT}\n"
        return load(minimal(root, **Case("t", "t", world="wards", files=files, edit=edit).overlays()))
    return load(minimal(root, **Case("t", "t", world="wards", where=WHERE[where], files=files, edit=edit).overlays()))


def is_special(table: str, row: dict[str, Any]) -> bool:
    """The rules of the wards, in Python: at a program or nobody knows where; a code of the class, or of HIV or none at all."""
    if table == "clinical.encounters":
        return row["facility_id"] not in FACILITIES or row["minor_consented"] is not False
    return row["facility_id"] not in FACILITIES or row["code"] in (*SPELLED, None)


def event(table: str, number: int, people: int, dice: random.Random) -> dict[str, Any]:
    """Any row of a table."""
    row: dict[str, Any] = {
        "patient_id": f"p{dice.randrange(people)}",
        "facility_id": dice.choice((*FACILITIES, *FACILITIES, *PROGRAMS)),
    }
    day = DAY - dt.timedelta(days=dice.randrange(20))
    if table == "clinical.encounters":
        consented = dice.choice((False, False, False, True, None))
        return row | {"encounter_id": f"e{number}", "kind": dice.choice(("visit", "stay")), "start": day, "minor_consented": consented}
    code = dice.choice((*CODES, *SPELLED))
    return row | {"condition_id": f"c{number}", "encounter_id": f"e{dice.randrange(40)}", "code": code, "onset": day}


def events(table: str, count: int, people: int, dice: random.Random, *, special: bool) -> Rows:
    """Rows that are special, or rows that are not. The keys of both are numbered alike, so that a visit may be either."""
    found: Rows = []
    while len(found) < count:
        row = event(table, len(found) + (1_000 if special else 0), people, dice)
        if is_special(table, row) == special:
            found.append(row)
    return found


class SpecialStory:
    """Attacks 1 to 3 and 31 on an engine."""

    people: ClassVar[int] = 40
    clock: ClassVar[Clock] = Clock.parse(NOW, "America/New_York")

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _people(cls, engine: Engine) -> None:
        everyone = [
            {"patient_id": f"p{n}", "birth_date": dt.date(1970, 1, 1), "given_name": f"N{n}", "state": "NY"} for n in range(cls.people)
        ]
        at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        yes = {"purpose": "care_coordination", "channel": "email", "status": "active", "effective_at": at, "recorded_at": at}
        write(engine, "clinical.patients", everyone)
        write(engine, "crm.consents", [{"consent_id": f"y{n}", "patient_id": f"p{n}", **yes} for n in range(0, cls.people, 2)])

    @pytest.mark.parametrize("where", [*WHERE, "selects"])
    def test_no_special_row_changes_anything_for_who_may_not_know_of_it(self, engine: Engine, tmp_path: Any, where: str) -> None:
        """Attacks 1, 2, 3 and 31: only special rows differ between the worlds, so nothing that is told may."""
        project = project_at(tmp_path, where)
        query = Governor.of(project).govern("adults_mail", clock=self.clock, now=self.clock)
        dice = random.Random(f"{where} 7")
        ordinary = {table: events(table, 60, self.people, dice, special=False) for table in WARDS}
        told, seen, raw = [], [], []
        for count in (0, 25, 60):
            special = {table: events(table, count, self.people, dice, special=True) for table in WARDS}
            for table in WARDS:
                write(engine, table, [*ordinary[table], *special[table]])
            told.append(rows(engine, query))
            seen.append(members(engine, project, "nobody"))
            raw.append(members(engine, project, "all"))
            self._counts(engine, query, special)
        assert told[0] == told[1] == told[2]
        assert seen[0] == seen[1] == seen[2] == raw[0]
        assert {key for key, *_ in told[0]} == set(seen[0])
        assert raw[0] != raw[1] or raw[0] != raw[2], "the rows that are special say nothing here, so nothing was tried"
        assert told[0], "nobody is told"

    @staticmethod
    def _counts(engine: Engine, query: GovernedQuery, special: dict[str, Rows]) -> None:
        """The plan says how many rows of each class were not read."""
        engine.register([each.table for each in query.withheld])
        found = {(cls, table): count for cls, table, count in sources.withheld(engine, query)}
        expected: Counter[tuple[str, str]] = Counter()
        for table, several in special.items():
            for row in several:
                expected.update((cls, table) for cls in classes(table, row))
        assert found == {key: expected[key] for key in found}
        assert counting(query.withheld).named_selects == [f"withheld_{n}" for n in range(len(query.withheld))]


WARDS = ("clinical.encounters", "clinical.conditions")


def classes(table: str, row: dict[str, Any]) -> list[str]:
    """The classes under which a row is special."""
    program, code = row["facility_id"] not in FACILITIES, row.get("code")
    if table == "clinical.encounters":
        return ["sensitive.sud"] * program + ["sensitive.minor_consented"] * (row["minor_consented"] is not False)
    return ["sensitive.sud"] * (program or code in SPECIAL_CODES[:2]) + ["sensitive.hiv"] * (code in (*SPELLED[2:], None))


def write(engine: Engine, table: str, made: Sequence[dict[str, Any]]) -> None:
    """Have a table hold these rows and no others."""
    engine.drop(table)
    engine.create(table, {name: KINDS[kind] for name, kind in TABLES[table].items()})
    engine.append(table, pa.Table.from_pylist(list(made), schema=pa.schema(TABLES[table].items())))


def rows(engine: Engine, query: GovernedQuery) -> list[tuple[Any, ...]]:
    """What would be told: people, the rules that keep them out, and every column."""
    engine.register(query.tables)
    found = engine.query(query.select).to_pylist()
    return sorted((row[SUBJECT], row[RULE], *(row[name] for name in query.columns)) for row in found) if found else []


def members(engine: Engine, project: Project, who: str) -> list[str]:
    """The members of the segment as somebody without a role counts them, or as all of its rows say."""
    query = compile_segment(project, "adults", Clock.parse(NOW, project.timezone))
    engine.register(query.tables)
    select = Sight.of(project, None, "uid:9").reach.over(query.select) if who == "nobody" else query.select
    return sorted(row["patient_id"] for row in engine.query(select).to_pylist())
