"""Who looks, and what they see."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.analyst.sight import Sight
from cdp.compile.clock import Clock
from cdp.compile.statement import compile_segment
from cdp.errors import RefusedError, UsageError
from cdp.project.load import Project, load
from tests.projects import minimal

ROLES = """\
kind: roles
roles:
  analyst: {use: membership, see: [demographic.year]}
  nurse: {use: [membership, demographic], see: [demographic, name], small_cells: 5}
  privacy: {use: "*", see: "*", exact_counts: true}
"""
PEOPLE = """\
people:
  - {id: "uid:1001", roles: analyst}
  - {id: "uid:1002", roles: [nurse, privacy]}
"""


def _project(tmp_path: Path, people: str = PEOPLE) -> Project:
    return load(minimal(tmp_path, **{"governance/roles.yml": ROLES + people}))


def test_people_look_in_their_only_role_or_name_one(tmp_path: Path) -> None:
    project = _project(tmp_path)
    assert Sight.of(project, None, "uid:1001").name == "analyst"
    assert Sight.of(project, None, "uid:1002").name == ""
    assert Sight.of(project, "nurse", "uid:1002").name == "nurse"
    assert Sight.of(project, None, "uid:7").name == ""


@pytest.mark.parametrize(("role", "person"), [("privacy", "uid:1001"), ("analyst", "uid:7"), ("analyst", "uid:10011")])
def test_nobody_looks_in_a_role_of_others(tmp_path: Path, role: str, person: str) -> None:
    with pytest.raises(RefusedError, match=r"people of roles\.yml do not give it"):
        Sight.of(_project(tmp_path), role, person)


def test_without_people_a_role_is_anybodys(tmp_path: Path) -> None:
    assert Sight.of(_project(tmp_path, ""), "privacy", "uid:7").name == "privacy"
    with pytest.raises(UsageError, match="no role named boss"):
        Sight.of(_project(tmp_path, ""), "boss", "uid:7")


def test_small_cells(tmp_path: Path) -> None:
    project = _project(tmp_path, "")
    small = {role: Sight.of(project, role, "uid:7").small for role in (None, "analyst", "nurse", "privacy")}
    assert small == {None: 11, "analyst": 11, "nurse": 5, "privacy": 1}


def test_a_role_sees_what_its_classes_cover_and_masks_lower(tmp_path: Path) -> None:
    project = _project(tmp_path, "")
    query = project.entities["patient"].table
    assert query == "clinical.patients"
    analyst, nurse, nobody = (Sight.of(project, role, "uid:7") for role in ("analyst", "nurse", None))
    facts = analyst.governor.analyst.query(_select("SELECT p.birth_date, p.given_name, p.email FROM clinical.patients AS p")).columns
    assert [analyst.lacking(facts[name]) for name in facts] == [("demographic.birth_date",), ("name.given",), ("contact.email",)]
    assert (analyst.mask(facts["birth_date"]), analyst.mask(facts["given_name"])) == ("year", None)
    assert [bool(nurse.lacking(facts[name])) for name in facts] == [False, False, True]
    assert all(nobody.lacking(facts[name]) for name in facts)


def test_single_members_are_told_to_roles_that_use_what_membership_says(tmp_path: Path) -> None:
    project = _project(tmp_path, "")
    select = compile_segment(project, "adults", Clock.parse("2026-07-01", project.timezone)).select
    Sight.of(project, "nurse", "uid:7").members(select, "segment adults")
    Sight.of(project, None, "uid:7").members(select, "segment adults")  # nothing special
    with pytest.raises(RefusedError, match=r"demographic\.birth_date"):
        Sight.of(project, "analyst", "uid:7").members(select, "segment adults")


def test_special_classes_need_a_role_that_names_them(tmp_path: Path) -> None:
    patient = minimal(tmp_path) / "models" / "patient.yml"
    sensitive = patient.read_text().replace("class: demographic.birth_date", "class: demographic.birth_date, may_hold: sensitive.sud")
    project = load(minimal(tmp_path, **{"governance/roles.yml": ROLES, "models/patient.yml": sensitive}))
    select = compile_segment(project, "adults", Clock.parse("2026-07-01", project.timezone)).select
    for role in (None, "nurse", "privacy"):  # `*` reaches no special class
        with pytest.raises(RefusedError, match=r"sensitive\.sud"):
            Sight.of(project, role, "uid:7").members(select, "segment adults")


def _select(text: str) -> object:
    import sqlglot

    return sqlglot.parse_one(text, dialect="spark")
