"""The world of the LanguageSuite: a small project in New York, and its rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from cdp.testing.language_cases import CASES
from cdp.testing.language_models import CONFIG, MODELS, POLICY, SELECTS

ZONE = ZoneInfo("America/New_York")


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(dt.UTC)


ADDRESS = pa.struct([("city", pa.string()), ("zip", pa.string())])
NOWHERE = {"city": None, "zip": None}

_TEXT, _TIME, _NUMBER = pa.string(), pa.timestamp("us", "UTC"), pa.decimal128(18, 6)
_PATIENT = {
    "patient_id": _TEXT,
    "birth_date": pa.date32(),
    "sex": _TEXT,
    "doses": pa.int64(),
    "weight": _NUMBER,
    "smoker": pa.bool_(),
    "pcp_id": _TEXT,
    "household_id": _TEXT,
    "languages": pa.list_(_TEXT),
    "address": ADDRESS,
}
_OBSERVATION = {
    "observation_id": _TEXT,
    "patient_id": _TEXT,
    "visit_id": _TEXT,
    "code": _TEXT,
    "date": _TIME,
    "value": _NUMBER,
    "unit": _TEXT,
}
_day = dt.date.fromisoformat

# Of each table its columns, and the rows that the cases are about.
_TABLES: Mapping[str, tuple[Mapping[str, pa.DataType], Sequence[tuple[Any, ...]]]] = {
    "lang.patients": (
        _PATIENT,
        [
            ("a", _day("2008-07-03"), "female", 1, Decimal("70.5"), False, "k1", "h1", ["en", "es"], {"city": "Troy", "zip": "12180"}),
            ("b", _day("2008-07-02"), "male", 2, Decimal("80"), True, "k1", "h1", ["es"], {"city": "troy", "zip": "12180"}),
            ("c", _day("1970-05-01"), "female", 1000, Decimal("80.000001"), False, "k2", "h2", [], NOWHERE),
            ("d", _day("1969-07-03"), "male", None, None, None, None, "h2", None, {"city": None, "zip": "14850"}),
            ("e", _day("1930-01-01"), None, None, None, None, "k9", None, ["fr", None, "en"], NOWHERE),
            ("f", _day("2000-02-29"), None, None, None, None, None, None, None, NOWHERE),
            ("g", None, None, None, None, None, None, None, None, NOWHERE),
        ],
    ),
    "lang.clinicians": ({"clinician_id": _TEXT, "active": pa.bool_(), "group_id": _TEXT}, [("k1", True, "g1"), ("k2", False, "g2")]),
    "lang.practices": ({"group_id": _TEXT, "city": _TEXT}, [("g1", "Troy"), ("g2", "Troy")]),
    "lang.conditions": (
        {"condition_id": _TEXT, "patient_id": _TEXT, "code": _TEXT, "code_system": _TEXT, "onset": _TIME, "abated": _TIME, "status": _TEXT},
        [
            ("1", "a", "44054006", "http://snomed.info/sct", _moment("2020-01-01"), None, "active"),
            ("2", "b", "44054006", "ICD9", _moment("2020-01-01"), None, "active"),
            ("3", "c", "08", "SNOMED", _moment("2026-06-30T23:00"), None, "active"),
            ("4", "c", "44054006", None, _moment("2020-01-01"), None, "active"),
            ("5", "d", "44054006", "SNOMED", _moment("2019-01-01"), _moment("2020-01-01"), "resolved"),
            ("6", "e", "777", "SNOMED", None, None, "active"),
            ("7", "f", "999", "SNOMED", _moment("2020-01-01"), None, "entered-in-error"),
            ("8", "g", "999", "SNOMED", _moment("2020-01-01"), None, None),
            ("9", "e", "E11.9", "I10", _moment("2020-01-01"), None, "active"),
            ("10", "f", "E119", "ICD10CM", _moment("2020-01-01"), None, "active"),
        ],
    ),
    "lang.observations": (
        _OBSERVATION,
        [
            ("1", "a", "v1", "4548-4", _moment("2026-06-01T09:00"), Decimal("6.4"), "%"),
            ("2", "a", None, "4548-4", _moment("2026-06-01T11:00"), Decimal("7.5"), "percent"),
            ("3", "b", None, "4548-4", _moment("2025-12-01T09:00"), Decimal("9.1"), "%"),
            ("4", "b", None, "4548-4", _moment("2025-07-15T09:00"), Decimal("8.9"), "%"),
            ("5", "c", "v3", "4548-4", _moment("2026-01-02T00:00"), Decimal("53"), "mmol/mol"),
            ("6", "d", None, "later", _moment("2026-07-03T00:00"), Decimal("1"), "%"),
            ("7", "c", None, "night", dt.datetime(2026, 7, 2, 3, 59, tzinfo=dt.UTC), None, None),
            ("8", "d", None, "night", dt.datetime(2026, 7, 2, 4, 0, tzinfo=dt.UTC), None, None),
            ("11", "a", None, "8480-6", _moment("2026-05-10T09:00"), Decimal("150"), "mmHg"),
            ("12", "a", None, "8480-6", _moment("2026-05-10T10:00"), Decimal("139"), "mm[Hg]"),
            ("13", "a", None, "8462-4", _moment("2026-05-10T10:00"), Decimal("89"), "mmHg"),
            ("14", "b", None, "8480-6", _moment("2026-05-11T10:00"), Decimal("145"), "mmHg"),  # during a stay
            ("15", "b", None, "8462-4", _moment("2026-05-11T10:00"), Decimal("95"), "mmHg"),
            ("16", "b", None, "8480-6", _moment("2026-05-20T10:00"), Decimal("138"), "mmHg"),
            ("17", "c", None, "8480-6", _moment("2026-05-15T10:00"), Decimal("128"), "mmHg"),
            ("18", "c", None, "8462-4", _moment("2026-05-15T10:00"), Decimal("70"), "mmHg"),
            ("21", "d", None, "2345-7", _moment("2026-05-01T10:00"), Decimal("7"), "mmol/L"),
            ("22", "e", None, "2345-7", _moment("2026-05-01T10:00"), Decimal("126"), "mg/dL"),
            ("23", "f", None, "2345-7", _moment("2026-05-01T10:00"), Decimal("200"), "stone"),
        ],
    ),
    "lang.visits": (
        {"visit_id": _TEXT, "patient_id": _TEXT, "day": pa.date32(), "kind": _TEXT},
        [
            ("v1", "a", _day("2026-06-01"), "office"),
            ("v2", "b", _day("2026-07-03"), "office"),
            ("v3", "c", _day("2026-06-02"), "telehealth"),
            ("v4", "g", None, "office"),
        ],
    ),
    "lang.stays": (
        {"stay_id": _TEXT, "patient_id": _TEXT, "admitted": pa.date32(), "discharged": pa.date32(), "kind": _TEXT},
        [
            ("s1", "a", _day("2026-04-01"), _day("2026-04-05"), "inpatient"),
            ("s2", "b", _day("2026-05-10"), _day("2026-05-12"), "inpatient"),
            ("s3", "c", _day("2026-06-25"), None, "inpatient"),
            ("s4", "d", _day("2026-03-01"), _day("2026-03-01"), "emergency"),
            ("s5", "a", _day("2026-06-10"), _day("2026-06-12"), "inpatient"),
            ("s6", "e", None, None, "inpatient"),
        ],
    ),
    "lang.contacts": (
        {"contact_id": _TEXT, "patient_id": _TEXT, "started_at": _TIME, "direction": _TEXT},
        [
            ("t1", "a", _moment("2026-04-19T09:00"), "inbound"),  # 14 days after 5 April
            ("t2", "a", _moment("2026-06-13T23:30"), "outbound"),
            ("t3", "b", _moment("2026-05-12T10:00"), "inbound"),
            ("t4", "b", _moment("2026-05-27T10:00"), "inbound"),  # 15 days after 12 May
            ("t5", "c", _moment("2026-07-01T06:00"), "inbound"),
            ("t6", "d", _moment("2026-06-24T05:59"), "inbound"),
            ("t7", "d", _moment("2026-06-30T22:00"), "inbound"),
            ("t8", "d", _moment("2026-07-01T23:00"), "inbound"),
            ("t9", "e", None, "outbound"),
        ],
    ),
    "lang.fills": (
        {
            "fill_id": _TEXT,
            "patient_id": _TEXT,
            "drug_id": _TEXT,
            "filled_on": pa.date32(),
            "days_supply": pa.int64(),
            "reversed": pa.bool_(),
        },
        [
            ("f1", "a", "d2", _day("2026-06-20"), 30, False),
            ("f2", "d", "d1", _day("2026-01-10"), 90, False),
            ("f3", "d", "d1", _day("2026-04-01"), 90, False),  # nine days early: it follows the first
            ("f4", "e", "d1", _day("2026-02-01"), 30, False),
            ("f5", "e", "d2", _day("2026-02-15"), 30, False),  # another drug: the two overlap
            ("f6", "f", "d3", _day("2026-06-01"), 90, True),
        ],
    ),
    "lang.drugs": (
        {"drug_id": _TEXT, "ingredient": _TEXT, "family": _TEXT, "on_formulary": pa.bool_(), "cost": _NUMBER},
        [
            ("d1", "simvastatin", "f1", False, Decimal("9")),
            ("d2", "metformin", "f2", True, Decimal("3")),
            ("d3", "semaglutide", "f3", False, None),
            ("d4", "simvastatin", "f1", True, Decimal("2")),
        ],
    ),
}


def tables() -> dict[str, pa.Table]:
    """The rows that the cases are about."""
    return {
        name: pa.table({column: pa.array([row[i] for row in rows], kind) for i, (column, kind) in enumerate(columns.items())})
        for name, (columns, rows) in _TABLES.items()
    }


def write_project(root: Path) -> Path:
    """A project whose segments are the cases."""
    segments = "".join(
        f"---\n{{kind: segment, name: {name}, entity: patient, owner: a@example.org, purpose: treatment, where: {where}}}\n"
        for name, (where, _) in CASES.items()
    )
    for folder, text in (("conf/cdp.yml", CONFIG), ("models/all.yml", MODELS + SELECTS + segments), ("governance/all.yml", POLICY)):
        (root / folder).parent.mkdir(parents=True, exist_ok=True)
        (root / folder).write_text(text)
    return root
