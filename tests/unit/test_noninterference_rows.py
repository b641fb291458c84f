"""Rows that are withheld have no influence: whatever stands in them, and whether they are there at all, what leaves is the same.

The queries are those that would run, on DuckDB; the rows come and go at random. That the test bites is shown by the same change
where the receiver is granted the class.
"""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from cdp.compile.clock import Clock
from cdp.governance.decide import govern
from cdp.project.load import load
from tests.governance_corpus import CONNECTORS, Case, cases
from tests.projects import minimal

Rows = list[dict[str, Any]]
GRANTED = "members may say it, and the rows are read"
CASES = {case.name: case for case in cases("passing") if case.file == "rows"}
WITHHELD = [name for name, case in CASES.items() if name != GRANTED and "unknown: ordinary" not in str(case.edit)]
PEOPLE = [f"p{n}" for n in range(12)]
DAYS = [dt.date(2026, 1, 1), dt.date(2026, 5, 1), None]
CODES = ["44054006", "E11", "73211009"]
SPECIAL_CODES = ["5602001", "66590003", "86406008", None]
SCHEMAS = {
    "clinical.patients": {"patient_id": pa.string(), "birth_date": pa.date32(), "death_date": pa.date32(), "given_name": pa.string(),
                          "email": pa.string(), "state": pa.string()},
    "clinical.encounters": {"encounter_id": pa.string(), "patient_id": pa.string(), "facility_id": pa.string(), "kind": pa.string(),
                            "start": pa.date32(), "minor_consented": pa.bool_()},
    "clinical.conditions": {"condition_id": pa.string(), "patient_id": pa.string(), "encounter_id": pa.string(),
                            "facility_id": pa.string(), "code": pa.string(), "onset": pa.date32()},
    "crm.consents": {"consent_id": pa.string(), "patient_id": pa.string(), "purpose": pa.string(), "channel": pa.string(),
                     "status": pa.string(), "effective_at": pa.timestamp("us"), "expires_at": pa.timestamp("us"),
                     "recorded_at": pa.timestamp("us")},
}  # fmt: skip


def select(tmp_path: Path, case: Case) -> str:
    """The query that would run, in the dialect of DuckDB."""
    project = load(minimal(tmp_path, **case.overlays()), CONNECTORS)
    now = Clock.parse(case.now, project.timezone)
    return govern(project, case.sync, clock=now, now=now).select.sql("duckdb")


def ordinary(rng: random.Random) -> dict[str, Rows]:
    """Rows that no rule of governance/rows.yml calls special."""
    someone = {"birth_date": dt.date(1970, 1, 1), "death_date": None, "given_name": "A", "email": None, "state": "NY"}
    return {
        "clinical.patients": [{"patient_id": person, **someone} for person in PEOPLE],
        "clinical.encounters": [_encounter(rng, n, rng.choice(["f1", "f2"]), False) for n in range(14)],
        "clinical.conditions": [_condition(rng, n, rng.choice(["f1", "f2"]), rng.choice(CODES)) for n in range(18)],
        "crm.consents": [],
    }


def special(rng: random.Random) -> dict[str, Rows]:
    """Rows that one rule at least calls special, or of which it is not known."""
    wards = ["f9", "f8", None]
    encounters = [_encounter(rng, 100 + n, rng.choice(wards), rng.choice([True, False, None])) for n in range(4)]
    encounters += [_encounter(rng, 200 + n, "f1", rng.choice([True, None])) for n in range(4)]
    conditions = [_condition(rng, 100 + n, rng.choice(wards), rng.choice(CODES)) for n in range(6)]
    conditions += [_condition(rng, 200 + n, "f1", rng.choice(SPECIAL_CODES)) for n in range(6)]
    return {"clinical.encounters": encounters, "clinical.conditions": conditions}


def _encounter(rng: random.Random, number: int, facility: str | None, consented: bool | None) -> dict[str, Any]:
    row = {"encounter_id": f"e{number}", "patient_id": rng.choice(PEOPLE), "facility_id": facility, "kind": rng.choice(["AMB", "EMER"])}
    return row | {"start": rng.choice(DAYS), "minor_consented": consented}


def _condition(rng: random.Random, number: int, facility: str | None, code: str | None) -> dict[str, Any]:
    row = {"condition_id": f"c{number}", "patient_id": rng.choice(PEOPLE), "encounter_id": f"e{rng.randrange(14)}"}
    return row | {"facility_id": facility, "code": code, "onset": rng.choice(DAYS)}


def answers(query: str, rows: dict[str, Rows], more: dict[str, Rows]) -> list[str]:
    with duckdb.connect(config={"threads": 1}) as con:
        for table, schema in SCHEMAS.items():
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {table.partition('.')[0]}")
            con.register("rows", pa.Table.from_pylist(rows[table] + more.get(table, []), pa.schema(list(schema.items()))))
            con.execute(f"CREATE TABLE {table} AS SELECT * FROM rows")
        return sorted(map(repr, con.execute(query).fetchall()))


@pytest.mark.parametrize("name", WITHHELD)
def test_withheld_rows_have_no_influence(tmp_path: Path, name: str) -> None:
    """Attack 31: a facility, not a code, says it; the rows are left out before any filter, count or latest value."""
    query, told = select(tmp_path, CASES[name]), 0
    for seed in range(4):
        rng = random.Random(seed)
        rows = ordinary(rng)
        without = answers(query, rows, {})
        told += len(without)
        for _ in range(2):
            assert answers(query, rows, special(rng)) == without
    assert told, "nobody was ever told of, so nothing was shown"


def test_rows_that_are_read_have_influence(tmp_path: Path) -> None:
    """Or else the test above would show nothing."""
    query = select(tmp_path, CASES[GRANTED])
    rng = random.Random(1)
    rows = ordinary(rng)
    assert answers(query, rows, special(rng)) != answers(query, rows, {})
