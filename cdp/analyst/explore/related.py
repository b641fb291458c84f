"""The measures that a condition asks of a row, and which related rows count for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from cdp.project.terms import ColumnRef, Condition, Every, InWindow, IsNull, Measure, Negation, Picked, Satisfies, Some, Window
from cdp.spec.model import Entity, Interval

PICKS = frozenset({"latest", "earliest"})


def measures(term: object) -> Iterator[Measure]:
    """The measures that a condition or operand asks of the row at hand; not those that their rows ask in turn."""
    if isinstance(term, Measure):
        yield term
    elif isinstance(term, Satisfies):
        yield term.measure
    else:
        yield from (found for part in _inside(term) for found in measures(part))


def inside(term: object) -> Iterator[object]:
    """A term and all that it is made of on the row at hand, without the measures that it asks and what is said of their rows."""
    yield term
    if not isinstance(term, Measure | Satisfies | Picked):
        yield from (found for part in _inside(term) for found in inside(part))


def _inside(term: object) -> Iterator[object]:
    if isinstance(term, tuple):
        yield from term
    elif is_dataclass(term):
        yield from (getattr(term, field.name) for field in fields(term))


def tests(measure: Measure) -> tuple[Condition, ...]:
    """What a related row must pass to compete, the window aside: its `where` as a list."""
    if measure.where is None:
        return ()
    return measure.where.of if isinstance(measure.where, Every) else (measure.where,)


def timely(measure: Measure, entity: Entity) -> Condition | None:
    """That a related row lies in the measure's window, or has a time at all where one is needed; None where time is not asked."""
    start, end = times(entity)
    if start is None or (measure.window is None and measure.verb not in PICKS):
        return None
    if measure.window is None:
        return Negation(IsNull(start))
    if end is None:
        return InWindow(start, measure.window, start.type)
    began = InWindow(start, Window(None, measure.window.last, measure.window.ongoing), start.type)
    lasted = Some((IsNull(end), InWindow(end, Window(measure.window.first, None), end.type)))
    return Every((began if measure.window.last else Negation(IsNull(start)), *((lasted,) if measure.window.first else ())))


def times(entity: Entity) -> tuple[ColumnRef | None, ColumnRef | None]:
    """The columns that say when a row was, or when it began and ended."""
    if entity.time is None:
        return None, None
    names = (entity.time.start, entity.time.end) if isinstance(entity.time, Interval) else (entity.time, None)
    start, end = (ColumnRef((), entity.name, name, entity.columns[name].type) if name else None for name in names)
    return start, end


def titled(measure: Measure) -> str:
    """What a measure is about, in a word or two."""
    return measure.link.name if measure.label in ("", measure.link.name) else f"{measure.link.name} ({measure.label})"
