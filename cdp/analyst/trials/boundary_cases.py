"""Cases at the edges of a segment's conditions, each pending: a person says what is expected, not the code that is tested."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from cdp.analyst.trials.drafter import Drafter
from cdp.analyst.trials.drafts import Path, Row, Site, Variation
from cdp.analyst.trials.test_text import Draft, test_text
from cdp.compile.clock import Clock
from cdp.errors import UsageError
from cdp.project.load import Project


def boundary_cases(project: Project, name: str, clock: Clock) -> Draft:
    """A test of a segment as YAML: a member who should be in, and a case for each edge of each condition.

    For windows, ages and thresholds the day or value before, the one at the limit and the one after; null; one row too few;
    another code system; and each branch of an `any`. Every case says `status: pending`.

    Args:
        project: loaded.
        name: the segment.
        clock: its day is the test's `as_of`.

    Raises:
        UsageError: the segment is a template or a SELECT, so that nothing can be derived from it.
    """
    segment = project.segments[name]
    if segment.params or segment.sql:
        what = "has parameters" if segment.params else "is a SELECT"
        raise UsageError(f"segment {name} {what}: no boundaries can be derived from it", fix="write its tests by hand")
    main = _drafted(project, name, clock, {})
    test: dict[str, Any] = {"name": "boundaries", "as_of": clock.day.isoformat()}
    if main.draft:
        test["given"] = main.draft
    test["cases"] = list(_cases(project, name, clock, main))
    notes = [f"not made up, write it by hand: {what}" for what in dict.fromkeys(main.skipped)]
    return Draft(test_text(test), tuple(notes))


def _drafted(project: Project, name: str, clock: Clock, choices: dict[Path, int]) -> Drafter:
    drafter = Drafter(project, clock, choices)
    drafter.hold(project.bound.segments[name], Site(project.entities[project.segments[name].entity]), ())
    drafter.finish()
    return drafter


def _cases(project: Project, name: str, clock: Clock, main: Drafter) -> Iterator[dict[str, Any]]:
    yield {"name": "as given", "status": "pending"}
    seen: list[Row] = [main.draft]
    for variation, base in _variations(project, name, clock, main):
        varied = copy.deepcopy(base)
        variation.change(varied)
        if varied not in seen:
            seen.append(varied)
            yield {"name": variation.name, **_difference(main.draft, varied), "status": "pending"}


def _variations(project: Project, name: str, clock: Clock, main: Drafter) -> Iterator[tuple[Variation, Row]]:
    """The variations of the main draft, then those of each branch of an `any` that it does not take."""
    for variation in main.variations:
        yield variation, main.draft
    for path, count in list(main.branches.items()):
        for branch in range(1, count):
            other = _drafted(project, name, clock, {path: branch})
            under = (*path, branch)
            yield Variation(f"branch {branch + 1} of an any", lambda draft: None, under), other.draft
            for variation in other.variations:
                if variation.path[: len(under)] == under:
                    yield variation, other.draft


def _difference(given: Row, varied: Row) -> Row:
    """What a case says instead of what is given; what is no longer there is empty."""
    changed = {name: value for name, value in varied.items() if name not in given or given[name] != value}
    gone: Row = {name: [] if isinstance(given[name], list) else None for name in given if name not in varied}
    return changed | gone
