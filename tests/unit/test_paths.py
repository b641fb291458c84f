"""A refusal says through which segments a fact came, so that a reader knows where to look."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.compile.clock import Clock
from cdp.errors import RefusedError
from cdp.governance.decide import Governor
from cdp.project.load import load
from tests.projects import FILES, minimal
from tests.unit.test_decide import CONDITIONS, RELATIONS, REVIEWS

SEGMENTS = """\
{kind: segment, name: diabetic, entity: patient, description: d, owner: o, purpose: care_coordination,
  where: {has: conditions, where: {code: {in: diabetes}}}}
---
{kind: segment, name: outer, entity: patient, description: d, owner: o, purpose: care_coordination,
  where: {all: [{segment: diabetic}, {state: NY}]}}
---
{kind: segment, name: seen_since, entity: patient, description: d, owner: o, purpose: care_coordination,
  params: {days: integer}, where: {has: conditions, within: {days: $days}}}
"""


def because(root: Path, where: str) -> dict[str, list[str]]:
    """Of each class that being in the audience tells and may not: the facts that brought it."""
    files = {
        **FILES,
        "models/patient.yml": FILES["models/patient.yml"].replace(*RELATIONS[1:]),
        "models/adults.yml": FILES["models/adults.yml"].replace("where: {age: {gte: 18}}", f"where: {where}"),
        "models/conditions.yml": CONDITIONS,
        "models/segments.yml": SEGMENTS,
        "governance/value_sets.yml": REVIEWS,
    }
    project = load(minimal(root, **files))
    clock = Clock.parse("2026-07-02T12:00", project.timezone)
    with pytest.raises(RefusedError) as refused:
        Governor.of(project).govern("adults_mail", clock=clock, now=clock)
    return {r.cls: list(r.because) for r in refused.value.refusals if r.rule == "membership" and "purpose" in r.missing}


def test_the_path_leads_through_segments_to_the_one_that_reads_the_column(tmp_path: Path) -> None:
    found = because(tmp_path, "{segment: outer}")
    assert found["clinical.condition"] == [
        "clinical.conditions.code via adults > outer > diabetic",
        "rows of clinical.conditions via adults > outer > diabetic",
    ]


def test_what_the_segment_reads_itself_has_no_path(tmp_path: Path) -> None:
    found = because(tmp_path, "{has: conditions, where: {code: {in: diabetes}}}")
    assert found["clinical.condition"] == ["clinical.conditions.code", "rows of clinical.conditions"]


def test_a_column_that_is_read_twice_has_both_paths(tmp_path: Path) -> None:
    """Taking the inner segment out would not be enough."""
    where = "{all: [{segment: outer}, {has: conditions, where: {code: {in: opioid_use}}}]}"
    found = because(tmp_path, where)
    assert "clinical.conditions.code via adults and adults > outer > diabetic" in found["clinical.condition"]


def test_a_template_is_no_stop_on_the_way(tmp_path: Path) -> None:
    found = because(tmp_path, "{segment: seen_since, with: {days: 30}}")
    assert found["clinical.date"] == ["clinical.conditions.onset"]
