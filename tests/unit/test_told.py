"""Whatever construct of the language reads a sensitive column: who is told of it is told of its class."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.compile.statement import model_sha256
from cdp.project.load import Project, load
from tests.projects import FILES, PATIENT, SYNC, minimal
from tests.unit.test_decide import DECLASSIFY, decided, refusals

COLUMNS = """\
  program: {type: string, class: sensitive.sud}
  programs: {type: string, array: true, class: sensitive.sud}
  plan: {fields: {name: string, start.day: string}, class: sensitive.sud}
  dose: {type: integer, class: sensitive.sud}
  met: {type: date, class: sensitive.sud}
  home: {type: string, class: identifier.internal}
  seen: {type: timestamp, class: demographic}
"""
ENCOUNTERS = """\
kind: entity
name: encounter
table: clinical.encounters
key: encounter_id
time: day
rows: membership.patient
columns:
  encounter_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  day: {type: date, class: demographic}
  ward: {type: string, class: sensitive.sud}
  lasts: {type: integer, class: demographic}
  dose: {type: integer, class: sensitive.sud}
  unit: {type: string, class: demographic}
  clinic: {type: string, class: demographic}
relations:
  patient: {one: patient, via: patient_id}
---
kind: entity
name: stay
table: clinical.stays
key: stay_id
time: {start: began, end: ended}
rows: membership.patient
columns:
  stay_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  began: {type: date, class: demographic}
  ended: {type: date, class: sensitive.sud}
relations:
  patient: {one: patient, via: patient_id}
---
kind: entity
name: ward_day
from: encounter
group_by: {patient_id: patient_id, ward: ward}
time: last
columns:
  last: {max: day, class: demographic}
  times: {count: true, where: {ward: detox}, class: demographic}
relations:
  patient: {one: patient, via: patient_id}
---
kind: entity
name: named_public
sql: SELECT encounter_id, patient_id, ward AS what FROM encounter
key: encounter_id
rows: public
columns:
  encounter_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  what: {type: string, class: public}
---
kind: entity
name: in_program
sql: SELECT encounter_id, patient_id, clinic FROM encounter WHERE clinic = 'north'
key: encounter_id
rows: sensitive.sud
columns:
  encounter_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  clinic: {type: string, class: demographic}
---
kind: entity
name: declared_up
sql: SELECT encounter_id, patient_id, clinic AS what FROM encounter
key: encounter_id
rows: membership.patient
columns:
  encounter_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  what: {type: string, class: sensitive.sud}
---
kind: entity
name: clinic_day
from: encounter
rows: sensitive.sud
group_by: {patient_id: patient_id, clinic: clinic}
columns:
  times: {count: true, class: demographic}
---
kind: entity
name: counted_up
from: encounter
group_by: {patient_id: patient_id, clinic: clinic}
columns:
  times: {count: true, where: {clinic: north}, class: sensitive.sud}
---
{kind: trait, name: banded, entity: patient, case: [{when: {program: detox}, then: 1}, {else: 2}]}
---
{kind: trait, name: written, entity: patient, type: string, expr: "coalesce(program, 'none')"}
---
kind: trait
name: selected
entity: patient
type: string
sql: SELECT patient_id, max(ward) AS selected FROM encounter GROUP BY patient_id
---
{kind: trait, name: rowed, entity: patient, latest: encounters}
---
{kind: trait, name: kept, entity: patient, days_covered: encounters, within: {years: 1}, supply: lasts, same: ward}
---
kind: segment
name: selects
entity: patient
owner: care@example.org
purpose: care_coordination
sql: |
  WITH part AS (SELECT patient_id FROM encounter WHERE ward = 'detox')
  SELECT p.patient_id FROM patient p WHERE EXISTS (SELECT 1 FROM part WHERE part.patient_id = p.patient_id)
---
kind: segment
name: selects_trait
entity: patient
owner: care@example.org
purpose: care_coordination
sql: SELECT patient_id FROM banded WHERE banded = 1
---
kind: segment
name: selects_made
entity: patient
owner: care@example.org
purpose: care_coordination
sql: SELECT patient_id FROM in_program
---
kind: segment
name: filled_in
entity: patient
params: {which: string}
owner: care@example.org
purpose: care_coordination
where: {program: $which}
"""
RELATIONS = """\
relations:
  encounters: {many: encounter, via: patient_id}
  stays: {many: stay, via: patient_id}
  ward_days: {many: ward_day, via: patient_id}
  named_public: {many: named_public, via: patient_id}
  in_program: {many: in_program, via: patient_id}
  declared_up: {many: declared_up, via: patient_id}
  clinic_days: {many: clinic_day, via: patient_id}
  counted_up: {many: counted_up, via: patient_id}
  housemates: {many: patient, via: {home: home}}
"""
CONDITIONS = {
    "array": "{programs: {any_of: [detox]}}",
    "array_all": "{programs: {all_of: [detox, day]}}",
    "struct": "{plan.name: detox}",
    "struct_path": "{plan.start.day: monday}",
    "null": "{program: null}",
    "pattern": "{program: {matches: det.x}}",
    "ignoring_case": "{program: {eq: DETOX, ignore_case: true}}",
    "anniversary": "{met: {anniversary: {upcoming: {days: 7}}}}",
    "weekday": "{met: {weekday: [mon]}}",
    "window_of_a_column": "{met: {within: {days: 30}}}",
    "age_on_a_day": "{age: {gte: 18, at: met}}",
    "column_with_column": "{met: {gt: {ref: birth_date}}}",
    "n_of": "{n_of: [{program: detox}, {state: NY}], is: {gte: 1}}",
    "not_any": "{not: {any: [{program: detox}, {state: NY}]}}",
    "segment_with_parameters": "{segment: filled_in, with: {which: detox}}",
    "segment_by_sql": "{segment: selects}",
    "segment_by_sql_over_a_trait": "{segment: selects_trait}",
    "segment_by_sql_over_an_entity_by_sql": "{segment: selects_made}",
    "case": "{banded: 1}",
    "expr": "{written: detox}",
    "trait_by_sql": "{selected: detox}",
    "row_of_a_trait": "{rowed.ward: detox}",
    "has": "{has: encounters, where: {ward: detox}}",
    "lacks": "{lacks: encounters, where: {ward: detox}}",
    "count_distinct": "{count: encounters, distinct: ward, is: {gte: 2}}",
    "spaced": "{count: encounters, where: {ward: detox}, spaced: {days: 28}, is: {gte: 2}}",
    "sum": "{sum: encounters, of: dose, is: {gt: 3}}",
    "latest_of": "{latest: encounters, of: ward, is: detox}",
    "latest_is": "{latest: encounters, is: {ward: detox}}",
    "ties": "{latest: encounters, ties: {dose: lowest}, of: clinic, is: north}",
    "most_frequent": "{most_frequent: encounters, of: ward, is: detox}",
    "list": "{list: encounters, of: ward, is: {any_of: [detox]}}",
    "of_an_expression": '{max: encounters, of: "dose * 2", is: {gt: 3}}',
    "supply": "{kept.share: {gte: 0.8}}",
    "interval": "{has: stays, within: {days: 30}}",
    "rows_around": "{has: encounters, as: visit, where: {has: patient.encounters, where: {ward: detox}, after: visit.day}}",
    "rows_around_counted": "{count: encounters, as: visit, where: {ward: {eq: {ref: patient.program}}}, is: {gte: 2}}",
    "window_of_the_row_around": "{has: encounters, since: met}",
    "lambda_picks": "{latest: encounters, where: {day: {gt: {ref: patient.met}}}, is: {clinic: north}}",
    "others_of_a_house": "{has: housemates, as: mate, where: {mate.program: detox}}",
    "each": "{sum: encounters, of: dose, each: {weeks: [1, 3]}, is: rising}",
    "derived_group": "{has: ward_days, where: {ward: detox}}",
    "derived_presence": "{count: ward_days, is: {gte: 2}}",
    "derived_aggregate": "{has: ward_days, where: {times: {gte: 1}}}",
    "sql_entity_called_public": "{has: named_public, where: {what: detox}}",
    "sql_entity_whose_rows_are_declared": "{has: in_program}",
    "sql_entity_whose_column_is_declared": "{has: declared_up, where: {what: north}}",
    "derived_whose_rows_are_declared": "{has: clinic_days}",
    "derived_whose_column_is_declared": "{has: counted_up, where: {times: {gte: 1}}}",
}


def project(tmp_path: Path, where: str = "{age: {gte: 18}}", sync: str = "", **files: str) -> Project:
    head, _, relations = PATIENT.partition("relations:\n")
    changed = {
        **FILES,
        "models/patient.yml": head + COLUMNS + RELATIONS + relations,
        "models/encounters.yml": ENCOUNTERS,
        "models/adults.yml": FILES["models/adults.yml"].replace("where: {age: {gte: 18}}", f"where: {where}"),
        "syncs/adults_mail.yml": sync or SYNC,
        **files,
    }
    return load(minimal(tmp_path, **changed))


@pytest.mark.parametrize("name", CONDITIONS)
def test_membership_tells_what_a_condition_reads(tmp_path: Path, name: str) -> None:
    found = refusals(project(tmp_path, CONDITIONS[name]))
    assert ("membership", "sensitive.sud") in {(reason.rule, reason.cls) for reason in found}


def test_the_same_tables_pass_without_their_sensitive_columns(tmp_path: Path) -> None:
    """So what is refused above is refused for the column that is read."""
    where = "{has: encounters, where: {clinic: north}, within: {days: 30}}"
    assert "sensitive.sud" not in decided(project(tmp_path, where)).decision.members


VALUES = {
    "struct": "plan.name",
    "case": "banded",
    "expr": "written",
    "sql": "selected",
    "row": "rowed.ward",
    "share": "kept.share",
    "expression": '{expr: "concat(given_name, banded)"}',
    "array": "{expr: \"array_join(programs, ', ')\"}",
    "lambda": "{expr: \"array_join(filter(programs, x -> x = 'detox'), ', ')\"}",
    "lambda_over_constants": "{expr: \"array_join(transform(array('a'), x -> concat(x, program)), ', ')\"}",
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_tells_what_it_is_made_of(tmp_path: Path, name: str) -> None:
    found = refusals(project(tmp_path, sync=SYNC.replace("first_name: given_name", f"first_name: {VALUES[name]}")))
    assert ("value", "first_name", "sensitive.sud") in {(reason.rule, reason.what, reason.cls) for reason in found}


@pytest.mark.parametrize("prefer", ["one_per: program", "one_per: home\nprefer: [dose desc]", "one_per: home\nprefer: [banded, age desc]"])
def test_who_is_told_of_a_household_tells_why(tmp_path: Path, prefer: str) -> None:
    found = refusals(project(tmp_path, sync=f"{SYNC}{prefer}\n"))
    assert ("membership", "sensitive.sud") in {(reason.rule, reason.cls) for reason in found}


def test_an_approval_of_the_segment_is_none_of_whom_the_sync_prefers(tmp_path: Path) -> None:
    """Who declassified the segment's membership has not seen the sync's `prefer`, though it is of the same class."""
    where, clinical = "{state: NY}", {"governance/purposes.yml": FILES["governance/purposes.yml"].replace("demographic]", "name]", 1)}
    clinical["governance/baa/mailer.yml"] = FILES["governance/baa/mailer.yml"].replace(
        "membership.patient, demographic]", "membership, name]"
    )
    sha = model_sha256(project(tmp_path / "a", where), "adults")
    entry = DECLASSIFY.format(sha=sha).replace("[clinical.condition, clinical.date]", "demographic.state")
    files = {**clinical, "governance/declassify.yml": entry.replace("to: demographic.state", "to: name.given")}
    assert decided(project(tmp_path / "b", where, **files)).decision.members == ("membership.patient", "name.given")
    preferring = project(tmp_path / "c", where, sync=f"{SYNC}one_per: home\nprefer: [state]\n", **files)
    assert {(reason.rule, reason.cls) for reason in refusals(preferring)} == {("membership", "demographic.state")}


def test_what_a_declaration_says_too_little_of_is_found_all_the_same(tmp_path: Path) -> None:
    members = {reason.cls for reason in refusals(project(tmp_path, CONDITIONS["sql_entity_called_public"]))}
    assert "sensitive.sud" in members


def test_an_approval_of_a_trait_is_none_of_a_column_of_that_name(tmp_path: Path) -> None:
    """A trait of another entity may have the name of a column; it was the trait that was approved."""
    other = '---\n{kind: trait, name: state, entity: encounter, type: string, expr: "upper(patient.state)"}\n'
    files = {"models/encounters.yml": ENCOUNTERS + other}
    sha = model_sha256(project(tmp_path / "a", **files), "state", "trait")
    entry = DECLASSIFY.format(sha=sha).replace("segment: adults", "trait: state").replace("to: demographic.state", "to: name.given")
    files["governance/declassify.yml"] = entry.replace("[clinical.condition, clinical.date]", "demographic.state")
    mapped = SYNC.replace("first_name: given_name", "first_name: state")
    found = refusals(project(tmp_path / "b", sync=mapped, **files))
    assert {(reason.rule, reason.cls) for reason in found} == {("value", "demographic.state")}
