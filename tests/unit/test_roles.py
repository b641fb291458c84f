"""governance/roles.yml: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.errors import ProjectError
from cdp.project.load import load
from tests.projects import minimal

ROLES = """\
kind: roles
roles:
  analyst: {use: [membership], see: [identifier.pseudonym, demographic]}
  privacy: {use: "*", see: "*", exact_counts: true}
people:
  - {id: "uid:1001", email: ana@example.org, roles: [analyst]}
"""


def test_roles_and_people(tmp_path: Path) -> None:
    policy = load(minimal(tmp_path, **{"governance/roles.yml": ROLES})).policy
    assert policy.roles["analyst"].see == ("identifier.pseudonym", "demographic")
    assert (policy.roles["analyst"].small_cells, policy.roles["privacy"].exact_counts) == (11, True)
    assert policy.people[0].roles == ("analyst",)


def test_a_project_needs_no_roles(tmp_path: Path) -> None:
    policy = load(minimal(tmp_path)).policy
    assert (policy.roles, policy.people) == ({}, ())


@pytest.mark.parametrize(
    ("written", "instead", "problem"),
    [
        (
            "see: [identifier.pseudonym, demographic]",
            "see: [demografic]",
            "governance/roles.yml:3:38: roles.analyst.see[0]: unknown class 'demografic'",
        ),
        ("roles: [analyst]}", "roles: [analist]}", "governance/roles.yml:6:54: people[0].roles[0]: unknown role 'analist'"),
        ('"uid:1001"', "ana", "people[0].id"),
        ("use: [membership]", "rows: {state: MA}", "roles.analyst.rows"),  # a filter that nothing applies would let through
        ("exact_counts: true", "small_cells: 1", "roles.privacy.small_cells"),
        ("roles: [analyst]}", 'roles: [analyst]}\n  - {id: "uid:1001", roles: [privacy]}', "uid:1001 stands in line 6 already"),
        ("  analyst: {", "  The Analyst: {", "role name 'The Analyst' is not lower snake case"),
    ],
)
def test_what_is_wrong_with_roles_is_named(tmp_path: Path, written: str, instead: str, problem: str) -> None:
    assert written in ROLES
    root = minimal(tmp_path, **{"governance/roles.yml": ROLES.replace(written, instead)})
    with pytest.raises(ProjectError) as raised:
        load(root)
    assert problem in str(raised.value)
