"""Runs the tests that stand in the YAML: all cases as rows of the same small tables, one statement for each as_of.

What is run is the compiler's own SQL of each segment, so a test proves what a sync will do.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cdp.analyst.explore import verdicts
from cdp.analyst.trials.fixtures import Lake, lines
from cdp.analyst.trials.isolation import CASE, isolated
from cdp.analyst.trials.outcomes import Outcome, Results
from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement
from cdp.errors import CdpError
from cdp.project.language.bind import Binder
from cdp.project.load import Project
from cdp.project.problems import Problems
from cdp.project.terms import Exists, InSegment, Measure, Operand
from cdp.project.terms.types import is_row
from cdp.project.trials import Case, Expected, matches, trials

if TYPE_CHECKING:
    from cdp.engine.base import Engine


def run(project: Project, engine: Engine, segments: Collection[str], traits: Collection[str] = ()) -> Results:
    """Run the tests of segments and traits.

    Args:
        project: loaded, so its tests are known to be well written.
        engine: any; only temporary views are made in it.
        segments: the segments whose tests are run; those without tests add nothing.
        traits: the same of traits.
    """
    started = time.monotonic()
    world = World.of(project, segments, traits)
    world.lake.write(engine, sorted({entity.table for entity in world.project.entities.values() if entity.table}))
    outcomes = {}
    for group in world.groups():
        outcomes.update(_run(world, engine, group))
    outcomes = _explained(world, engine, outcomes)
    return Results(tuple(outcomes[number] for number in sorted(outcomes)), time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that one statement answers: of one entity, at one moment."""

    entity: str
    as_of: str
    cases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class World:
    """The cases by number, the isolated project that they run in and their rows."""

    project: Project
    cases: Mapping[int, Case]
    keys: Mapping[int, Any]
    lake: Lake

    @classmethod
    def of(cls, project: Project, segments: Collection[str], traits: Collection[str]) -> World:
        """The cases of the models with these names."""
        apart = isolated(project)
        problems = Problems()
        binder = Binder(apart, problems)
        found = [case for name in segments for case in trials(binder, "segment", name)]
        found += [case for name in traits for case in trials(binder, "trait", name)]
        problems.raise_if_any()
        cases = dict(enumerate(sorted(found, key=lambda case: (case.file, case.line))))
        lake = Lake(apart)
        return cls(apart, cases, {number: lake.add(number, case.row) for number, case in cases.items()}, lake)

    def groups(self, numbers: Iterable[int] | None = None) -> list[Group]:
        """The cases of these numbers (default: all) as few statements."""
        together: dict[tuple[str, str], list[int]] = {}
        for number in self.cases if numbers is None else numbers:
            case = self.cases[number]
            together.setdefault((case.entity, case.as_of), []).append(number)
        return [Group(entity, as_of, tuple(listed)) for (entity, as_of), listed in together.items()]

    def statement(self, group: Group) -> tuple[Statement, Clock]:
        """A statement over the members of all cases, whose columns are still to come."""
        clock = Clock.parse(group.as_of, self.project.timezone)
        statement = Statement(self.project, self.project.entities[group.entity], clock)
        statement.column(CASE, sql.column(group.entity, CASE))
        statement.column("_key", statement.key())
        return statement, clock

    def answers(self, engine: Engine, statement: Statement, group: Group) -> dict[int, Mapping[str, Any]]:
        """The row of each case of the group; a member that does not exist yet at that moment has none."""
        rows = engine.query(statement.query("tests").select, what="the tests").to_pylist()
        by_key = {(row[CASE], row["_key"]): row for row in rows}
        found = {number: by_key.get((number, self.keys[number])) for number in group.cases}
        return {number: row for number, row in found.items() if row is not None}


# -- verdicts and values ----------------------------------------------------------------------------------------------


def _run(world: World, engine: Engine, group: Group) -> dict[int, Outcome]:
    """The outcomes of a group. Where the statement fails, each subject is run alone, so that one spoils no other."""
    try:
        return _asked(world, engine, group)
    except CdpError as error:
        alone: dict[tuple[str, str], list[int]] = {}
        for number in group.cases:
            alone.setdefault((world.cases[number].kind, world.cases[number].subject), []).append(number)
        if len(alone) == 1:
            return {number: Outcome(world.cases[number], "error", error=error.message) for number in group.cases}
        outcomes = {}
        for numbers in alone.values():
            outcomes.update(_run(world, engine, replace(group, cases=tuple(numbers))))
        return outcomes


def _asked(world: World, engine: Engine, group: Group) -> dict[int, Outcome]:
    cases = {number: world.cases[number] for number in group.cases}
    statement, clock = world.statement(group)
    subjects = dict.fromkeys(case.subject for case in cases.values() if case.kind == "segment")
    members = {name: f"member_{number}" for number, name in enumerate(subjects)}
    for name, column in members.items():
        statement.column(column, verdicts.verdict(statement, InSegment(name), clock))
    operands = dict.fromkeys(expected.operand for case in cases.values() for expected in case.values)
    values = {operand: f"value_{number}" for number, operand in enumerate(operands)}
    for operand, column in values.items():
        statement.column(column, _value(statement, operand, clock))
    answers = world.answers(engine, statement, group)
    zone = ZoneInfo(world.project.timezone)
    return {number: _outcome(case, answers.get(number, {}), members, values, zone) for number, case in cases.items()}


def _value(statement: Statement, operand: Operand, clock: Clock) -> Any:
    """An operand as a column; of a row, whether there is one."""
    if is_row(operand):
        assert isinstance(operand, Measure)
        return verdicts.verdict(statement, Exists(operand), clock)
    return statement.output(operand, role="")


def _outcome(case: Case, answer: Mapping[str, Any], members: Mapping[str, str], columns: Mapping[Operand, str], zone: ZoneInfo) -> Outcome:
    member = bool(answer.get(members[case.subject], False)) if case.kind == "segment" else None
    values = {expected.path: _got(expected, answer.get(columns[expected.operand]), zone) for expected in case.values}
    right = case.member in (None, member) and all(matches(expected, values[expected.path]) for expected in case.values)
    return Outcome(case, "pending" if case.pending else "passed" if right else "failed", member, values)


def _got(expected: Expected, value: Any, zone: ZoneInfo) -> Any:
    """What a trait came to: a moment as the clock on the wall says it; of a row that is there, a word instead of its columns."""
    if is_row(expected.operand):
        return "a row" if value else None
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(zone).replace(tzinfo=None)
    return value


# -- failures ---------------------------------------------------------------------------------------------------------


def _explained(world: World, engine: Engine, outcomes: Mapping[int, Outcome]) -> dict[int, Outcome]:
    """The outcomes; those that failed with a verdict on each part of the condition, and with their rows."""
    found = dict(outcomes)
    failed = [number for number, outcome in outcomes.items() if outcome.status in ("failed", "error")]
    for number in failed:
        found[number] = replace(found[number], rows=tuple(lines(world.cases[number].row)))
    told = [number for number in failed if outcomes[number].status == "failed" and outcomes[number].case.kind == "segment"]
    for group in world.groups(told):
        for number, tree in _trees(world, engine, group).items():
            found[number] = replace(found[number], tree=tree)
    return found


def _trees(world: World, engine: Engine, group: Group) -> dict[int, tuple[str, ...]]:
    """The explain tree of each failed case of a group; the verdicts of all of its segments are columns of one statement."""
    statement, clock = world.statement(group)
    asked: dict[str, Sequence[verdicts.Node]] = {}
    for name in dict.fromkeys(world.cases[number].subject for number in group.cases):
        nodes = asked[name] = verdicts.nodes(world.project.bound.segments[name], world.project)
        for number, node in enumerate(nodes):
            statement.column(f"{name}_{number}", verdicts.verdict(statement, node.term, clock))
    trees = {}
    for number, answer in world.answers(engine, statement, group).items():
        name = world.cases[number].subject
        told = {node.path: bool(answer[f"{name}_{place}"]) for place, node in enumerate(asked[name])}
        trees[number] = tuple(verdicts.lines(asked[name], told))
    return trees
