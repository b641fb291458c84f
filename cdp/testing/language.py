"""LanguageSuite: what every construct of the segment language means, on real rows, with the answers written down.

The same answers on every engine are what makes the engines equal. A case is a condition and the patients for
whom it is true at the clock of 2026-07-02, in New York.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from cdp.compile.clock import Clock
from cdp.compile.statement import compile_segment, compile_trait
from cdp.project.load import load

if TYPE_CHECKING:
    from cdp.engine import Engine
    from cdp.project.load import Project

ZONE = ZoneInfo("America/New_York")
AS_OF = "2026-07-02"

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

# name: (condition, the patients for whom it is true)
CASES: dict[str, tuple[str, str]] = {
    "age_at_least": ("{age: {gte: 18}}", "b c d e f"),  # b turned 18 on the day itself
    "age_under": ("{age: {lt: 18}}", "a"),
    "age_between": ("{age: {between: [18, 56]}}", "b c d f"),
    "age_equal": ("{age: 18}", "b"),
    "age_not": ("{age: {ne: 18}}", "a c d e f"),
    "age_unknown": ("{age: null}", "g"),
    "age_at_year_end": ("{age: {gte: 18, at: measurement_year.end}}", "a b c d e f"),
    "age_months": ("{age: {gte: 216, unit: months}}", "b c d e f"),
    "not_is_the_complement": ("{not: {age: {gte: 18}}}", "a g"),
    "born_29_february": ("{age: {gte: 26, at: 2026-02-28}}", "c d e"),  # f was born on 29 February 2000
    "born_29_february_next_day": ("{age: {gte: 26, at: 2026-03-01}}", "c d e f"),
    "scalar": ("{sex: female}", "a c"),
    "list": ("{sex: [female, male]}", "a b c d"),
    "null_fails": ("{sex: {ne: female}}", "b d"),
    "not_in_needs_a_value": ("{sex: {not_in: [female]}}", "b d"),
    "is_null": ("{sex: null}", "e f g"),
    "not_null": ("{sex: {not_null: true}}", "a b c d"),
    "yaml_words_stay_text": ("{sex: {starts_with: fe}}", "a c"),
    "integer": ("{doses: {gte: 2}}", "b c"),
    "integer_underscore": ("{doses: {lt: 1_000}}", "a b"),
    "decimal": ("{weight: {between: [70.5, 80]}}", "a b"),
    "boolean": ("{smoker: false}", "a c"),
    "to_one": ("{pcp.active: true}", "a b"),
    "to_one_missing": ("{pcp.active: null}", "d e f g"),
    "to_one_twice": ("{pcp.group.city: Troy}", "a b c"),
    "to_one_of_a_path_and_of_its_name": ("{pcp.group.city: Troy, pcp_group.city: null}", "a b c"),
    "has_value_set": ("{has: conditions, where: {code: {in: diabetes}}}", "a c d"),
    "has_wrong_system": ("{has: conditions, where: {code: 44054006}}", "a b c d"),  # literals compare the code alone
    "entity_where_drops_errors": ("{has: conditions, where: {code: 999}}", ""),
    "lacks": ("{lacks: conditions, where: {code: {in: diabetes}}}", "b e f g"),
    "interval_ongoing": ("{has: conditions, where: {code: {in: diabetes}}, within: {months: 1}}", "a c"),
    "interval_ended": (
        "{has: conditions, where: {code: {in: diabetes}}, during: {period: measurement_year, and_prior: {years: 6}}}",
        "a c d",
    ),
    "interval_first_half": (
        "{has: conditions, where: {code: {in: diabetes}}, during: {period: measurement_year, first: {months: 6}}}",
        "a c",
    ),
    "null_start_in_no_window": ("{has: conditions, where: {code: 777}, within: {years: 9}}", ""),
    "null_start_without_window": ("{has: conditions, where: {code: 777}}", "e"),
    "within_is_closed": ("{has: observations, where: {code: {in: hba1c}}, within: {months: 6}}", "a c"),  # c: 2026-01-02, the day itself
    "within_from_to": ("{has: observations, where: {code: {in: hba1c}}, within: {months: [6, 12]}}", "b c"),
    "later_than_as_of_does_not_exist": ("{has: observations, where: {code: later}}", ""),
    "future_visible": ("{has: visits, upcoming: {days: 7}}", "b"),
    "tomorrow": ("{has: visits, during: tomorrow}", "b"),
    "older_than_is_strict": ("{has: visits, older_than: {days: 30}}", "a"),
    "before": ("{has: visits, before: 2026-06-02}", "a"),
    "until": ("{has: visits, until: 2026-06-02}", "a c"),
    "since": ("{has: visits, since: as_of - 30 days}", "b c"),
    "day_or_moment": ('{has: observations, where: {date: [2026-01-02, "2026-06-01T09:00"]}}', "a c"),
    "day_equals": ("{has: observations, where: {code: night, date: 2026-07-01}}", "c"),
    "local_time": ('{has: observations, where: {code: {in: hba1c}, date: {gt: "2026-06-01T10:59"}}}', "a"),
    "local_day": ("{has: observations, where: {code: night}, since: 2026-07-02}", "d"),  # 2026-07-02T03:59Z is the day before
    "count": ("{count: observations, where: {code: {in: hba1c}}, is: {gte: 2}}", "a b"),
    "count_of_nothing": ("{count: observations, where: {code: {in: hba1c}}, is: 0}", "d e f g"),
    "count_is_not": ("{count: observations, where: {code: {in: hba1c}}, is: {ne: 2}}", "c d e f g"),
    "max_of_unit": ("{max: observations, of: value, where: {code: {in: hba1c}}, is: {gt: 8 %}}", "b"),
    "min": ("{min: observations, of: value, where: {code: {in: hba1c}}, is: {lt: 6.5 %}}", "a"),
    "min_of_nothing": ("{not: {min: observations, of: value, where: {code: {in: hba1c}}, is: {lt: 6.5 %}}}", "b c d e f g"),
    "latest_is": ("{latest: observations, where: {code: {in: hba1c}}, is: {value: {gte: 7 %}}}", "a b"),
    "latest_by_day_ties_lowest": ("{latest_a1c.value: {lt: 6.5 %}}", "a"),
    "latest_other_unit_fails": ("{latest_a1c.value: {gt: 0 %}}", "a b"),  # c was measured in mmol/mol
    "trait_row_null": ("{latest_a1c: null}", "d e f g"),
    "trait_field_null": ("{latest_a1c.value: null}", "d e f g"),
    "trait_date": ("{latest_a1c.date: {within: {months: 3}}}", "a"),
    "trait_value": ("{earliest_a1c: {gt: 8.5 %}}", "b"),
    "trait_count": ("{visit_count: {gte: 1}}", "a c"),
    "child_to_one": ("{has: observations, where: {visit.kind: telehealth}}", "c"),
    "measure_in_measure": ("{has: visits, where: {has: readings, where: {code: {in: hba1c}}}}", "a c"),
    "any": ("{any: [{sex: male}, {doses: {gte: 2}}]}", "b c d"),
    "segment_over_two_relations": (
        "[{has: visits, where: {segment: measured_visit}}, {has: calls, where: {kind: telehealth, segment: measured_visit}}]",
        "c",
    ),
    "segment": ("{all: [{segment: age_at_least}, {not: {segment: has_value_set}}]}", "b e f"),
}


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


class LanguageSuite:
    """Subclass it with a fixture `engine` (scope class) whose lakehouse is empty."""

    project: ClassVar[Project]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _lakehouse(cls, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> None:
        for name, rows in tables().items():
            engine.view("rows_to_load", rows)
            engine.create_as(name, "SELECT * FROM rows_to_load")
        cls.project = load(write_project(tmp_path_factory.mktemp("language")))

    def _members(self, engine: Engine, name: str) -> str:
        query = compile_segment(self.project, name, Clock.parse(AS_OF, self.project.timezone))
        engine.register(query.tables)
        keys = engine.query(query.select).column("patient_id").to_pylist()
        return " ".join(sorted(keys))

    @pytest.mark.parametrize("name", CASES)
    def test_condition_is_true_of_exactly(self, engine: Engine, name: str) -> None:
        """Each case, on this engine."""
        assert self._members(engine, name) == CASES[name][1]

    def test_trait_of_a_row_has_the_picked_row(self, engine: Engine) -> None:
        """A trait without `of` is the row itself."""
        query = compile_trait(self.project, "latest_a1c", Clock.parse(AS_OF, self.project.timezone))
        engine.register(query.tables)
        picked = {row["patient_id"]: row["latest_a1c_observation_id"] for row in engine.query(query.select).to_pylist()}
        assert picked == {"a": "1", "b": "3", "c": "5", "d": None, "e": None, "f": None, "g": None}
