"""How many people a segment is, how they come to be, and what the number leaves out: counts, small cells suppressed.

Exploring in counts is free: nothing here asks whether a receiver may know the segment. The numbers of all segments of one entity
come from one statement, in which every table is read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from cdp.analyst.explore import breakdown, ignored
from cdp.analyst.explore.breakdown import Breakdown
from cdp.analyst.explore.cells import Shown
from cdp.analyst.explore.elimination import Cell
from cdp.analyst.explore.funnel import EVERYONE, Census, Counts, Crowd, Funnel, Step, funnel, table, whole
from cdp.analyst.explore.ignored import Reason
from cdp.analyst.explore.past import Past, sizes
from cdp.analyst.explore.rows import WHOLE, Partial
from cdp.analyst.explore.sight import Sight
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement
from cdp.engine.base import Engine
from cdp.errors import UsageError
from cdp.project.load import Project
from cdp.project.terms.describe import describe
from cdp.spec.model import Entity

MOST = 6  # segments whose overlaps are counted: each pair, and all


@dataclass(frozen=True, slots=True)
class Line:
    """A step of a funnel: who passes it of everyone, and who passes it and all before."""

    label: str
    alone: Shown
    cumulative: Shown
    branches: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Ignored:
    """Rows, or people, that a measure could not use."""

    measure: str
    why: str
    counted: str
    number: Shown


@dataclass(frozen=True, slots=True)
class Population:
    """One segment: its size, its funnel, what was ignored, and how large it was before."""

    segment: str
    people: Shown
    funnel: tuple[Line, ...]
    ignored: tuple[Ignored, ...]
    past: tuple[tuple[Past, Shown], ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What there is to see of several segments of one entity.

    Attributes:
        everyone: how many rows the entity has at the clock.
        overlaps: the segments that are taken together, and who is in all of them.
        role: the role that was looked in; `partial`: what of the tables it does not read.
    """

    entity: str
    clock: Clock
    everyone: Shown
    populations: tuple[Population, ...]
    breakdowns: tuple[Breakdown, ...]
    overlaps: tuple[tuple[tuple[str, ...], Shown], ...]
    role: str = ""
    partial: Partial = WHOLE


@dataclass(frozen=True, slots=True)
class Asked:
    """What a preview is asked for: segments, values to break them down by, further segments that they may overlap with."""

    segments: Sequence[str]
    by: Sequence[str] = ()
    overlap: Sequence[str] = ()


def preview(project: Project, engine: Engine, asked: Asked, *, clock: Clock, sight: Sight, control: str) -> Preview:
    """Count.

    Args:
        project: as loaded.
        engine: over the environment's lakehouse.
        asked: what for.
        clock: the moment that segments are computed for.
        sight: who looks: from which number on cells are shown, which values are named.
        control: the schema of the control tables, where past runs stand.

    Raises:
        UsageError: a name is unknown or a template, or the segments are of several entities.
        RefusedError: a breakdown reads what no query may, or tells people apart.
    """
    entity = _entity(project, (*asked.segments, *asked.overlap))
    funnels = tuple(funnel(name, project) for name in dict.fromkeys(asked.segments))
    others = tuple(whole(name, project) for name in dict.fromkeys(asked.overlap) if name not in asked.segments)
    lost = {each.segment: ignored.reasons((step.term for step in each.steps), project) for each in funnels}
    census = Census(Statement(project, entity, clock))
    together = _count(census, (*funnels, *others), overlap=bool(asked.overlap) or len(funnels) > 1)
    totals = {reason: census.total(ignored.count(census.statement, reason)) for each in lost.values() for reason in each}
    for by in asked.by:
        census.by(breakdown.value(census.statement, by))
    named = [breakdown.check(sight, Statement(project, entity, clock), by) for by in asked.by]
    query = census.query()
    source = sight.through(engine)
    source.register(query.tables)
    counts = census.read(source.query(query.select, what=f"the preview of {', '.join(asked.segments)}").to_pylist())

    numbers = table((*funnels, *others), together.values(), counts.crowds, sight.small, project)
    members = [each.members for each in funnels]
    lines = [breakdown.cells(numbers, members, by, found, name) for by, found, name in zip(asked.by, counts.groups, named, strict=True)]
    shown = numbers.shown()
    return Preview(
        entity.name,
        clock,
        shown[EVERYONE],
        tuple(
            Population(
                each.segment,
                shown[each.members],
                tuple(_line(step, project, shown) for step in each.steps),
                _ignored(lost[each.segment], totals, counts, sight.small),
                _past(sizes(project, engine, control, each.segment), shown[each.members], sight.small),
            )
            for each in funnels
        ),
        tuple(_breakdown(by, names, members, shown) for by, names in zip(asked.by, lines, strict=True)),
        tuple((names, shown[crowd]) for names, crowd in together.items()),
        sight.name,
        source.reach.partial(query.tables),
    )


def _entity(project: Project, names: Iterable[str]) -> Entity:
    """The entity that all segments are of."""
    found = {name: project.segments[name] for name in names}
    for name, segment in found.items():
        if segment.params:
            raise UsageError(f"segment {name} is a template", fix="preview a segment that fills it in")
    entities = {segment.entity for segment in found.values()}
    if len(entities) > 1:
        listed = ", ".join(f"{name} of {segment.entity}" for name, segment in found.items())
        raise UsageError(f"segments of several entities: {listed}", fix="preview them one entity at a time")
    return project.entities[entities.pop()]


def _count(census: Census, funnels: Sequence[Funnel], *, overlap: bool) -> dict[tuple[str, ...], Crowd]:
    """Count every funnel; each pair of segments, and all of them, where overlaps are asked for."""
    for each in funnels:
        census.count(each)
    if not overlap:
        return {}
    if len(funnels) > MOST:
        raise UsageError(f"overlap of {len(funnels)} segments", fix=f"at most {MOST} at a time")
    some = [*combinations(funnels, 2), *([tuple(funnels)] if len(funnels) > 2 else [])]
    return {tuple(each.segment for each in several): census.common(several) for several in some}


def _line(step: Step, project: Project, shown: Mapping[Cell, Shown]) -> Line:
    branches = tuple(_line(branch, project, shown) for branch in step.branches)
    return Line("any of" if branches else describe(step.term, project), shown[step.alone], shown[step.cumulative], branches)


def _ignored(lost: Sequence[Reason], totals: Mapping[Reason, int], counts: Counts, small: int) -> tuple[Ignored, ...]:
    """What was ignored at all, each number by itself: no two of them are parts of one whole that is shown."""
    numbers = [(reason, counts.totals[totals[reason]]) for reason in lost]
    return tuple(Ignored(each.title, each.why, each.counted, Shown.of(number, small)) for each, number in numbers if number)


def _past(runs: Iterable[Past], now: Shown, small: int) -> tuple[tuple[Past, Shown], ...]:
    """Past sizes; where today's is hidden, no nearer than today's: the people are mostly the same."""
    exact = now.exact is not None
    return tuple((run, Shown.of(run.people, small) if exact or run.people < small else Shown(small, None)) for run in runs)


def _breakdown(by: str, names: Sequence[str], members: Sequence[Crowd], shown: Mapping[Cell, Shown]) -> Breakdown:
    return Breakdown(by, tuple((name, tuple(shown[breakdown.cell(by, crowd, name)] for crowd in members)) for name in names))
