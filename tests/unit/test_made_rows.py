"""Entities without a table: the rows that exist are the same wherever they are asked of; names of SELECTs stay apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.compile.clock import Clock
from cdp.compile.statement import compile_segment
from cdp.governance.decide import Governor
from cdp.project.load import Project, load
from tests.projects import FILES, PATIENT, minimal

MODELS = """\
kind: entity
name: visit
table: clinical.visits
key: visit_id
time: day
future: {future}
rows: membership.patient
columns:
  visit_id: {{type: string, class: identifier.internal}}
  patient_id: {{type: string, class: identifier.mrn}}
  day: {{type: date, class: demographic}}
  planned: {{type: timestamp, class: demographic}}
  kind: {{type: string, class: demographic}}
---
kind: entity
name: visit_day
from: visit
group_by: {{patient_id: patient_id, {group}}}
time: day
columns:
  visits: {{count: true}}
---
kind: entity
name: office_visit
sql: SELECT visit_id, patient_id, day, kind FROM visit
key: visit_id
time: day
where: {{kind: office}}
rows: membership.patient
columns:
  visit_id: {{type: string, class: identifier.internal}}
  patient_id: {{type: string, class: identifier.mrn}}
  day: {{type: date, class: demographic}}
  kind: {{type: string, class: demographic}}
---
{{kind: segment, name: days, entity: patient, owner: a@b.org, purpose: care_coordination, where: {{has: visit_days}}}}
---
{{kind: segment, name: days_by_sql, entity: patient, owner: a@b.org, purpose: care_coordination, sql: SELECT patient_id FROM visit_day}}
---
{{kind: segment, name: office, entity: patient, owner: a@b.org, purpose: care_coordination, where: {{has: office_visits}}}}
---
{{kind: segment, name: office_by_sql, entity: patient, owner: a@b, purpose: care_coordination, sql: SELECT patient_id FROM office_visit}}
---
kind: segment
name: confused
entity: patient
owner: a@b.org
purpose: care_coordination
sql: |
  WITH all_visit AS (SELECT patient_id FROM patient WHERE state = 'NY'), confused_x AS (SELECT patient_id FROM all_visit)
  SELECT v.patient_id FROM visit v JOIN confused_x n ON n.patient_id = v.patient_id WHERE v.kind = 'office'
"""
TOMORROW = "day <= CAST('2026-07-02' AS DATE)"


def project(tmp_path: Path, future: str = "visible", group: str = "day: day") -> Project:
    relations = "relations:\n  visit_days: {many: visit_day, via: patient_id}\n  office_visits: {many: office_visit, via: patient_id}\n"
    files = {"models/patient.yml": PATIENT.replace("relations:\n", relations), "models/m.yml": MODELS.format(future=future, group=group)}
    return load(minimal(tmp_path, **{**FILES, **files}))


def text(project: Project, segment: str) -> str:
    clock = Clock.parse("2026-07-02", project.timezone)
    Governor.of(project).segment(segment, clock)  # what runs can be analysed
    return compile_segment(project, segment, clock).select.sql("spark")


@pytest.mark.parametrize("segment", ["days", "days_by_sql"])
def test_a_derived_entity_hides_the_future_that_its_source_shows(tmp_path: Path, segment: str) -> None:
    assert f"visit_day.{TOMORROW}" in text(project(tmp_path), segment)


@pytest.mark.parametrize("group", ["day: planned.day", "day: planned"])
def test_a_derived_entity_hides_the_future_of_another_time_than_its_source_has(tmp_path: Path, group: str) -> None:
    assert "visit_day.day <= CAST('2026-07-02" in text(project(tmp_path, "hidden", group), "days")


def test_what_a_source_hides_is_hidden_once(tmp_path: Path) -> None:
    told = text(project(tmp_path, "hidden"), "days")
    assert told.count(TOMORROW) == 1
    assert f"visit.{TOMORROW}" in told


@pytest.mark.parametrize("segment", ["office", "office_by_sql"])
def test_an_entity_by_sql_drops_its_own_rows_wherever_it_is_read(tmp_path: Path, segment: str) -> None:
    told = text(project(tmp_path), segment)
    assert f"office_visit.{TOMORROW}" in told
    assert "office_visit.kind = 'office'" in told


def test_a_with_may_have_the_name_of_what_the_compiler_makes(tmp_path: Path) -> None:
    told = text(project(tmp_path), "confused")
    assert "FROM all_visit AS v" in told
    assert "confused_all_visit AS (SELECT" in told
    assert "FROM confused_all_visit AS all_visit" in told
    assert "confused_confused_x AS n" in told
