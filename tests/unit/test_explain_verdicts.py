"""The tree of a condition: which nodes it has, in which order, and how it is drawn."""

from __future__ import annotations

from pathlib import Path

from cdp.analyst.explore import verdicts
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement
from cdp.project.load import Project, load
from tests.projects import minimal

SEGMENTS = """\
kind: segment
name: reachable_adults
entity: patient
owner: care@example.org
purpose: care_coordination
where:
  - segment: adults
  - any: [{email: {not_null: true}}, {not: {state: MA}}]
  - not: {segment: deceased}
---
{kind: segment, name: deceased, entity: patient, owner: care@example.org, purpose: care_coordination, where: {death_date: {not_null: true}}}
---
kind: segment
name: adults
entity: patient
owner: care@example.org
purpose: care_coordination
where: [{age: {gte: 18}}, {state: [MA, NY]}]
"""


def _project(tmp_path: Path) -> Project:
    return load(minimal(tmp_path, **{"models/adults.yml": SEGMENTS}))


def test_nodes_come_before_their_children_and_segments_are_opened(tmp_path: Path) -> None:
    project = _project(tmp_path)
    found = verdicts.nodes(project.bound.segments["reachable_adults"], project)
    assert [(node.path, node.kind) for node in found] == [
        ((), "all"),
        ((0,), "segment"),
        ((0, 0), "test"),
        ((0, 1), "test"),
        ((1,), "any"),
        ((1, 0), "test"),
        ((1, 1), "test"),
        ((2,), "not"),
        ((2, 0), "segment"),
        ((2, 0, 0), "test"),
    ]
    assert "adults" in found[1].label


def test_every_node_is_a_column_that_is_never_null(tmp_path: Path) -> None:
    project = _project(tmp_path)
    clock = Clock.parse("2026-07-01", project.timezone)
    found = verdicts.nodes(project.bound.segments["reachable_adults"], project)
    statement = Statement(project, project.entities["patient"], clock)
    verdicts.ask(statement, found, clock)
    select = statement.query("q").select
    assert [each.alias for each in select.expressions] == [verdicts.column(node.path) for node in found]
    assert all("COALESCE" in each.sql("spark") for each in select.expressions)
    row = {verdicts.column(node.path): node.depth == 0 for node in found}
    assert verdicts.read(found, row)[()] is True
    assert verdicts.read(found, row)[0, 0] is False


def test_the_tree_as_lines(tmp_path: Path) -> None:
    project = _project(tmp_path)
    found = verdicts.nodes(project.bound.segments["adults"], project)
    drawn = verdicts.lines(found, {(): False, (0,): True, (1,): False}, tell={(1,): ["Vermont"]})
    assert drawn[0] == "✗ all of"
    assert drawn[1].startswith("  ✓ ")
    assert drawn[2].startswith("  ✗ ")
    assert drawn[3] == "      Vermont"
