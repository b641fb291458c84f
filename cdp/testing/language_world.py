"""The world of the LanguageSuite: a small project in New York, and its rows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from cdp.testing.language_cases import CASES

ZONE = ZoneInfo("America/New_York")

MODELS = """
kind: entity
name: patient
table: lang.patients
key: patient_id
rows: membership.patient
columns:
  patient_id: {type: string, class: identifier.mrn}
  birth_date: {type: date, class: demographic.birth_date, role: birth_date}
  sex: {type: string, class: demographic.sex}
  doses: {type: integer, class: clinical.condition}
  weight: {type: decimal, class: clinical.condition}
  smoker: {type: boolean, class: clinical.condition}
  pcp_id: {type: string, class: identifier.mrn}
relations:
  conditions: {many: condition, via: patient_id}
  observations: {many: observation, via: patient_id}
  visits: {many: visit, via: patient_id}
  calls: {many: visit, via: patient_id}
  pcp: {one: clinician, via: pcp_id}
  pcp_group: {one: practice, via: pcp_id}
---
kind: entity
name: clinician
table: lang.clinicians
key: clinician_id
rows: public
columns:
  clinician_id: {type: string, class: identifier.mrn}
  active: {type: boolean, class: public}
  group_id: {type: string, class: public}
relations:
  group: {one: practice, via: {group_id: group_id}}
---
kind: entity
name: practice
table: lang.practices
key: group_id
rows: public
columns:
  group_id: {type: string, class: public}
  city: {type: string, class: public}
---
kind: entity
name: condition
table: lang.conditions
key: condition_id
time: {start: onset, end: abated}
where: {status: {not_in: [entered-in-error]}}
rows: clinical.condition
columns:
  condition_id: {type: string, class: identifier.mrn}
  patient_id: {type: string, class: identifier.mrn}
  code: {type: code, system: code_system, class: clinical.condition}
  code_system: {type: string, class: public}
  onset: {type: timestamp, class: clinical.date}
  abated: {type: timestamp, class: clinical.date}
  status: {type: string, class: clinical.condition}
---
kind: entity
name: observation
table: lang.observations
key: observation_id
time: date
rows: clinical.observation
columns:
  observation_id: {type: string, class: identifier.mrn}
  patient_id: {type: string, class: identifier.mrn}
  visit_id: {type: string, class: identifier.mrn}
  code: {type: code, system: LOINC, class: clinical.observation}
  date: {type: timestamp, class: clinical.date}
  value: {type: decimal, unit: unit, class: clinical.observation}
  unit: {type: string, class: public}
relations:
  visit: {one: visit, via: visit_id}
---
kind: entity
name: visit
table: lang.visits
key: visit_id
time: day
future: visible
rows: clinical.encounter
columns:
  visit_id: {type: string, class: identifier.mrn}
  patient_id: {type: string, class: identifier.mrn}
  day: {type: date, class: clinical.date}
  kind: {type: string, class: clinical.encounter}
relations:
  readings: {many: observation, via: visit_id}
---
{kind: value_set, name: diabetes, system: SNOMED, codes: [44054006, 08]}
---
kind: segment
name: measured_visit
entity: visit
owner: a@example.org
purpose: treatment
where: {has: readings, where: {code: {in: hba1c}}}
---
{kind: value_set, name: hba1c, system: LOINC, codes: [4548-4]}
---
{kind: trait, name: latest_a1c, entity: patient, latest: observations, where: {code: {in: hba1c}}, by: day, ties: {value: lowest}}
---
{kind: trait, name: earliest_a1c, entity: patient, earliest: observations, where: {code: {in: hba1c}}, ties: {value: highest}, of: value}
---
{kind: trait, name: visit_count, entity: patient, count: visits, within: {years: 1}}
---
{kind: trait, name: weight_span, entity: patient, max: observations, of: value, where: {code: 29463-7}}
"""

CONFIG = """
kind: project
name: language
timezone: America/New_York
environments: {dev: {lakehouse: lake}}
periods: {measurement_year: {year_of: as_of}}
code_systems: {SNOMED: [http://snomed.info/sct], LOINC: [http://loinc.org]}
units: {"%": {same_as: [percent]}}
"""

POLICY = """
kind: classes
classes:
  public: {}
  identifier: {key: true}
  identifier.mrn: {}
  membership.patient: {}
  demographic: {}
  demographic.birth_date: {}
  demographic.sex: {}
  clinical: {}
  clinical.condition: {}
  clinical.observation: {}
  clinical.encounter: {}
  clinical.date: {}
---
kind: purposes
purposes:
  treatment: {basis: "45 CFR 164.506(c)", classes: [clinical], members: [clinical], channels: [file], consent: none_needed}
"""


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(dt.UTC)


def tables() -> dict[str, pa.Table]:
    """The rows that the cases are about."""
    from decimal import Decimal

    day, moment, money = dt.date.fromisoformat, _moment, Decimal

    def table(columns: dict[str, Any], rows: list[tuple[Any, ...]]) -> pa.Table:
        return pa.table({name: pa.array([row[i] for row in rows], kind) for i, (name, kind) in enumerate(columns.items())})

    s, ts, number = pa.string(), pa.timestamp("us", "UTC"), pa.decimal128(18, 6)
    patients = {"patient_id": s, "birth_date": pa.date32(), "sex": s, "doses": pa.int64(), "weight": number}
    patients |= {"smoker": pa.bool_(), "pcp_id": s}
    return {
        "lang.patients": table(
            patients,
            [
                ("a", day("2008-07-03"), "female", 1, money("70.5"), False, "k1"),
                ("b", day("2008-07-02"), "male", 2, money("80"), True, "k1"),
                ("c", day("1970-05-01"), "female", 1000, money("80.000001"), False, "k2"),
                ("d", day("1969-07-03"), "male", None, None, None, None),
                ("e", day("1930-01-01"), None, None, None, None, "k9"),
                ("f", day("2000-02-29"), None, None, None, None, None),
                ("g", None, None, None, None, None, None),
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
            ],
        ),
        "lang.observations": table(
            {"observation_id": s, "patient_id": s, "visit_id": s, "code": s, "date": ts, "value": number, "unit": s},
            [
                ("1", "a", "v1", "4548-4", moment("2026-06-01T09:00"), money("6.4"), "%"),
                ("2", "a", None, "4548-4", moment("2026-06-01T11:00"), money("7.5"), "percent"),
                ("3", "b", None, "4548-4", moment("2025-12-01T09:00"), money("9.1"), "%"),
                ("4", "b", None, "4548-4", moment("2025-07-15T09:00"), money("8.9"), "%"),
                ("5", "c", "v3", "4548-4", moment("2026-01-02T00:00"), money("53"), "mmol/mol"),
                ("6", "d", None, "later", moment("2026-07-03T00:00"), money("1"), "%"),
                ("7", "c", None, "night", dt.datetime(2026, 7, 2, 3, 59, tzinfo=dt.UTC), None, None),
                ("8", "d", None, "night", dt.datetime(2026, 7, 2, 4, 0, tzinfo=dt.UTC), None, None),
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
    }


def write_project(root: Path) -> Path:
    """A project whose segments are the cases."""
    segments = "".join(
        f"---\n{{kind: segment, name: {name}, entity: patient, owner: a@example.org, purpose: treatment, where: {where}}}\n"
        for name, (where, _) in CASES.items()
    )
    for folder, text in (("conf/cdp.yml", CONFIG), ("models/all.yml", MODELS + segments), ("governance/all.yml", POLICY)):
        (root / folder).parent.mkdir(parents=True, exist_ok=True)
        (root / folder).write_text(text)
    return root
