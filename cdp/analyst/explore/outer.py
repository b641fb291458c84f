"""A condition on a related row, rewritten so that the row can stand by itself."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

from cdp.project.terms import ColumnRef, Link, Measure, Satisfies

T = TypeVar("T")


def back(link: Link, entity: str) -> Link:
    """The way from a related row to the row that it belongs to."""
    return Link(entity, entity, tuple((mine, theirs) for theirs, mine in link.on))


def standing_alone(term: T, way: Link, depth: int = 1) -> T:
    """The same condition where what it asks of the row around is asked over a relation that leads there.

    Args:
        term: a condition or operand whose row at hand is a related row, or stands `depth - 1` rows inside of one.
        way: leads from the related row to the row around it.
        depth: how far outwards the row around is.
    """
    if isinstance(term, Satisfies):
        inside = standing_alone(term.of, way, depth + 1)
        return cast(T, replace(term, measure=standing_alone(term.measure, way, depth), of=inside))
    if isinstance(term, ColumnRef | Measure):
        here = replace(term, up=depth - 1, hops=(way, *term.hops)) if term.up == depth else term
        return cast(T, _parts(here, way, depth + 1) if isinstance(here, Measure) else here)
    return _parts(term, way, depth)


def _parts(term: T, way: Link, depth: int) -> T:
    if isinstance(term, tuple):
        return cast(T, tuple(standing_alone(part, way, depth) for part in term))
    if not is_dataclass(term) or isinstance(term, type | Link):
        return term
    changed = {
        field.name: new for field in fields(term) if (new := standing_alone(old := getattr(term, field.name), way, depth)) is not old
    }
    return cast(T, replace(cast(object, term), **changed)) if changed else term  # type: ignore[type-var]
