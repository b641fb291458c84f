"""The world of the LanguageSuite: a small project in New York, and its rows."""

from __future__ import annotations

import datetime as dt
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


def tables() -> dict[str, pa.Table]:
    """The rows that the cases are about."""
    from decimal import Decimal

    day, moment, money = dt.date.fromisoformat, _moment, Decimal

    def table(columns: dict[str, Any], rows: list[tuple[Any, ...]]) -> pa.Table:
        return pa.table({name: pa.array([row[i] for row in rows], kind) for i, (name, kind) in enumerate(columns.items())})

    s, ts, number = pa.string(), pa.timestamp("us", "UTC"), pa.decimal128(18, 6)
    patients = {"patient_id": s, "birth_date": pa.date32(), "sex": s, "doses": pa.int64(), "weight": number}
    patients |= {"smoker": pa.bool_(), "pcp_id": s, "household_id": s, "languages": pa.list_(s), "address": ADDRESS}
    observations = {"observation_id": s, "patient_id": s, "visit_id": s, "code": s, "date": ts, "value": number, "unit": s}
    return {
        "lang.patients": table(
            patients,
            [
                ("a", day("2008-07-03"), "female", 1, money("70.5"), False, "k1", "h1", ["en", "es"], {"city": "Troy", "zip": "12180"}),
                ("b", day("2008-07-02"), "male", 2, money("80"), True, "k1", "h1", ["es"], {"city": "troy", "zip": "12180"}),
                ("c", day("1970-05-01"), "female", 1000, money("80.000001"), False, "k2", "h2", [], NOWHERE),
                ("d", day("1969-07-03"), "male", None, None, None, None, "h2", None, {"city": None, "zip": "14850"}),
                ("e", day("1930-01-01"), None, None, None, None, "k9", None, ["fr", None, "en"], NOWHERE),
                ("f", day("2000-02-29"), None, None, None, None, None, None, None, NOWHERE),
                ("g", None, None, None, None, None, None, None, None, NOWHERE),
            ],
        ),
        "lang.clinicians": table({"clinician_id": s, "active": pa.bool_(), "group_id": s}, [("k1", True, "g1"), ("k2", False, "g2")]),
        "lang.practices": table({"group_id": s, "city": s}, [("g1", "Troy"), ("g2", "Troy")]),
        "lang.conditions": table(
            {"condition_id": s, "patient_id": s, "code": s, "code_system": s, "onset": ts, "abated": ts, "status": s},
            [
                ("1", "a", "44054006", "http://snomed.info/sct", moment("2020-01-01"), None, "active"),
                ("2", "b", "44054006", "ICD9", moment("2020-01-01"), None, "active"),
                ("3", "c", "08", "SNOMED", moment("2026-06-30T23:00"), None, "active"),
                ("4", "c", "44054006", None, moment("2020-01-01"), None, "active"),
                ("5", "d", "44054006", "SNOMED", moment("2019-01-01"), moment("2020-01-01"), "resolved"),
                ("6", "e", "777", "SNOMED", None, None, "active"),
                ("7", "f", "999", "SNOMED", moment("2020-01-01"), None, "entered-in-error"),
                ("8", "g", "999", "SNOMED", moment("2020-01-01"), None, None),
                ("9", "e", "E11.9", "I10", moment("2020-01-01"), None, "active"),
                ("10", "f", "E119", "ICD10CM", moment("2020-01-01"), None, "active"),
            ],
        ),
        "lang.observations": table(
            observations,
            [
                ("1", "a", "v1", "4548-4", moment("2026-06-01T09:00"), money("6.4"), "%"),
                ("2", "a", None, "4548-4", moment("2026-06-01T11:00"), money("7.5"), "percent"),
                ("3", "b", None, "4548-4", moment("2025-12-01T09:00"), money("9.1"), "%"),
                ("4", "b", None, "4548-4", moment("2025-07-15T09:00"), money("8.9"), "%"),
                ("5", "c", "v3", "4548-4", moment("2026-01-02T00:00"), money("53"), "mmol/mol"),
                ("6", "d", None, "later", moment("2026-07-03T00:00"), money("1"), "%"),
                ("7", "c", None, "night", dt.datetime(2026, 7, 2, 3, 59, tzinfo=dt.UTC), None, None),
                ("8", "d", None, "night", dt.datetime(2026, 7, 2, 4, 0, tzinfo=dt.UTC), None, None),
                ("11", "a", None, "8480-6", moment("2026-05-10T09:00"), money("150"), "mmHg"),
                ("12", "a", None, "8480-6", moment("2026-05-10T10:00"), money("139"), "mm[Hg]"),
                ("13", "a", None, "8462-4", moment("2026-05-10T10:00"), money("89"), "mmHg"),
                ("14", "b", None, "8480-6", moment("2026-05-11T10:00"), money("145"), "mmHg"),  # during a stay
                ("15", "b", None, "8462-4", moment("2026-05-11T10:00"), money("95"), "mmHg"),
                ("16", "b", None, "8480-6", moment("2026-05-20T10:00"), money("138"), "mmHg"),
                ("17", "c", None, "8480-6", moment("2026-05-15T10:00"), money("128"), "mmHg"),
                ("18", "c", None, "8462-4", moment("2026-05-15T10:00"), money("70"), "mmHg"),
                ("21", "d", None, "2345-7", moment("2026-05-01T10:00"), money("7"), "mmol/L"),
                ("22", "e", None, "2345-7", moment("2026-05-01T10:00"), money("126"), "mg/dL"),
                ("23", "f", None, "2345-7", moment("2026-05-01T10:00"), money("200"), "stone"),
            ],
        ),
        "lang.visits": table(
            {"visit_id": s, "patient_id": s, "day": pa.date32(), "kind": s},
            [
                ("v1", "a", day("2026-06-01"), "office"),
                ("v2", "b", day("2026-07-03"), "office"),
                ("v3", "c", day("2026-06-02"), "telehealth"),
                ("v4", "g", None, "office"),
            ],
        ),
        "lang.stays": table(
            {"stay_id": s, "patient_id": s, "admitted": pa.date32(), "discharged": pa.date32(), "kind": s},
            [
                ("s1", "a", day("2026-04-01"), day("2026-04-05"), "inpatient"),
                ("s2", "b", day("2026-05-10"), day("2026-05-12"), "inpatient"),
                ("s3", "c", day("2026-06-25"), None, "inpatient"),
                ("s4", "d", day("2026-03-01"), day("2026-03-01"), "emergency"),
                ("s5", "a", day("2026-06-10"), day("2026-06-12"), "inpatient"),
                ("s6", "e", None, None, "inpatient"),
            ],
        ),
        "lang.contacts": table(
            {"contact_id": s, "patient_id": s, "started_at": ts, "direction": s},
            [
                ("t1", "a", moment("2026-04-19T09:00"), "inbound"),  # 14 days after 5 April
                ("t2", "a", moment("2026-06-13T23:30"), "outbound"),
                ("t3", "b", moment("2026-05-12T10:00"), "inbound"),
                ("t4", "b", moment("2026-05-27T10:00"), "inbound"),  # 15 days after 12 May
                ("t5", "c", moment("2026-07-01T06:00"), "inbound"),
                ("t6", "d", moment("2026-06-24T05:59"), "inbound"),
                ("t7", "d", moment("2026-06-30T22:00"), "inbound"),
                ("t8", "d", moment("2026-07-01T23:00"), "inbound"),
                ("t9", "e", None, "outbound"),
            ],
        ),
        "lang.fills": table(
            {"fill_id": s, "patient_id": s, "drug_id": s, "filled_on": pa.date32(), "days_supply": pa.int64(), "reversed": pa.bool_()},
            [
                ("f1", "a", "d2", day("2026-06-20"), 30, False),
                ("f2", "d", "d1", day("2026-01-10"), 90, False),
                ("f3", "d", "d1", day("2026-04-01"), 90, False),  # nine days early: it follows the first
                ("f4", "e", "d1", day("2026-02-01"), 30, False),
                ("f5", "e", "d2", day("2026-02-15"), 30, False),  # another drug: the two overlap
                ("f6", "f", "d3", day("2026-06-01"), 90, True),
            ],
        ),
        "lang.drugs": table(
            {"drug_id": s, "ingredient": s, "family": s, "on_formulary": pa.bool_(), "cost": number},
            [
                ("d1", "simvastatin", "f1", False, money("9")),
                ("d2", "metformin", "f2", True, money("3")),
                ("d3", "semaglutide", "f3", False, None),
                ("d4", "simvastatin", "f1", True, money("2")),
            ],
        ),
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
