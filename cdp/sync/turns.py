"""Which syncs run side by side, and which one after another: those that share a destination's daily cap take turns."""

from __future__ import annotations

from collections.abc import Iterable

from cdp.project.project import Project


def lanes(project: Project, names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The syncs in lanes: lanes may run side by side, the syncs of one follow each other.

    Those of a destination with `limits.rows_per_day` are one lane: first those of `limits.order`, in its order, then the others as they
    are named here. Every other sync is a lane of its own. A lane comes where the first of its syncs is named.

    Args:
        project: that declares them.
        names: of the syncs, in the order in which they would run.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        destination = project.destinations[project.syncs[name].destination]
        capped = destination.limits.rows_per_day is not None
        found.setdefault(f"to {destination.name}" if capped else name, []).append(name)
    return tuple(tuple(sorted(lane, key=lambda name: _turn(project, name))) for lane in found.values())


def _turn(project: Project, name: str) -> int:
    order = project.destinations[project.syncs[name].destination].limits.order
    return order.index(name) if name in order else len(order)
