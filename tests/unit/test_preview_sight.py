"""Who looks, and what they see."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from cdp.analyst.explore.sight import Sight, view
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement, compile_segment
from cdp.errors import RefusedError, UsageError
from cdp.project.load import Project, load
from cdp.project.terms import ColumnRef
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
    assert analyst.mask(facts["birth_date"], _column("birth_date")) == "year"
    assert analyst.mask(facts["given_name"], _column("given_name")) is None
    assert [bool(nurse.lacking(facts[name])) for name in facts] == [False, False, True]
    assert all(nobody.lacking(facts[name]) for name in facts)


def test_the_first_mask_that_leaves_something_to_see_is_taken(tmp_path: Path) -> None:
    """Of a birthday the age group; of an e-mail address not the hash, where the role does not see hashes."""
    masks = """\
kind: masks
masks:
  fixed: {kind: constant, of: "*", gives: public, value: hidden}
  sha256: {of: [contact.email, name], gives: identifier.pseudonym, normalise: receiver}
  pseudonym: {of: [identifier, contact, name], gives: identifier.pseudonym, kind: hmac_sha256, key: {env: CDP_PSEUDONYM_KEY}}
  age_band: {of: demographic.birth_date, gives: demographic.year, bands: [0, 18, 65, 90]}
"""
    project = load(minimal(tmp_path, **{"governance/masks.yml": masks, "governance/roles.yml": ROLES}))
    select = _select("SELECT p.birth_date, p.email, p.state FROM clinical.patients AS p")
    columns = {name: _column(name) for name in ("birth_date", "email", "state")}
    seen = view(Sight.of(project, "analyst", "uid:7"), select, columns, dt.date(2026, 7, 1))
    assert seen.masked == {"birth_date": "age_band"}
    assert set(seen.hidden) == {"email", "state"}
    assert "'18-64'" in seen.select.sql("spark")
    hashes = ROLES.replace("see: [demographic.year]", "see: [identifier.pseudonym]")
    project = load(minimal(tmp_path / "b", **{"governance/masks.yml": masks, "governance/roles.yml": hashes}))
    seen = view(Sight.of(project, "analyst", "uid:7"), select, columns, dt.date(2026, 7, 1))
    assert seen.masked == {"email": "sha256"}


MADE = """\
kind: entity
name: made
sql: "SELECT patient_id, make_date(1950 + month(birth_date), 1, 1) AS born FROM patient"
key: patient_id
rows: membership.patient
columns:
  patient_id: {type: string, class: identifier.mrn}
  born: {type: date, class: demographic.birth_date}
---
kind: entity
name: of_made
from: made
group_by: {born: born}
rows: membership.patient
columns:
  last: {max: born, class: demographic.birth_date}
---
kind: entity
name: by_state
from: patient
group_by: {state: state}
rows: membership.patient
columns:
  first: {min: birth_date, class: demographic.birth_date}
"""


def test_no_mask_lowers_what_is_computed(tmp_path: Path) -> None:
    """Attack 11: `year` of a date that was made of the month would tell the month. What a group picks of a table is a column of it."""
    project = load(minimal(tmp_path, **{"governance/roles.yml": ROLES, "models/made.yml": MADE}))
    analyst = Sight.of(project, "analyst", "uid:7")
    facts = analyst.governor.analyst.query(_select("SELECT p.birth_date FROM clinical.patients AS p")).columns["birth_date"]
    found = {
        (of, name): analyst.mask(facts, _column(name, of)) for of, name in (("made", "born"), ("of_made", "born"), ("of_made", "last"))
    }
    assert set(found.values()) == {None}
    assert analyst.mask(facts, _column("first", "by_state")) == "year"
    statement = Statement(project, project.entities["made"], Clock.parse("2026-07-01", project.timezone))
    statement.column("born", statement.output(_column("born", "made"), ""))
    seen = view(analyst, statement.query("made").select, {"born": _column("born", "made")}, dt.date(2026, 7, 1))
    assert (seen.masked, seen.hidden) == ({}, {"born": ("demographic.birth_date",)})


def _column(name: str, entity: str = "patient") -> ColumnRef:
    return ColumnRef((), entity, name, "date" if name in ("birth_date", "born", "first", "last") else "string")


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


def _select(text: str) -> exp.Select:
    return sqlglot.parse_one(text, dialect="spark").assert_is(exp.Select)
