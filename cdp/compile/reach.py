"""How far outwards a term looks: 0 when it speaks of the row at hand alone, 1 when it also speaks of the row around it.

What looks no further than a related row can be computed where that row is read; what looks further is computed where the
row around it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from cdp.project.terms import (
    AgeBetween,
    Chosen,
    ColumnRef,
    Compare,
    CompareTo,
    Condition,
    ContactOf,
    Converted,
    Covered,
    Day,
    DayOf,
    Every,
    Exists,
    Formula,
    Holds,
    InSegment,
    InSql,
    InWindow,
    Measure,
    Negation,
    OneOf,
    Operand,
    Picked,
    Satisfies,
    Some,
    SqlValue,
    Tally,
    Window,
)

Term = Condition | Operand


def reach(term: Term) -> int:
    """The number of rows outwards that a condition or operand looks."""
    match term:
        case Every(of) | Some(of) | Tally(of):
            return _furthest(map(reach, of))
        case Negation(of):
            return reach(of)
        case InSegment() | InSql() | SqlValue() | ContactOf():
            return 0  # a segment and a trait speak of the row at hand only, and what a sync is, of none
        case CompareTo(operand, _, other):
            return max(reach(operand), reach(other))
        case InWindow(operand, window):
            return max(reach(operand), of_window(window))
        case AgeBetween(birth_date=born, at=day):
            return max(born.up, _of_day(day))
        case Exists(measure) | Covered(measure):
            return reach(measure)
        case Satisfies(measure, of):
            return max(reach(measure), reach(of) - 1)
        case ColumnRef(up=up):
            return up
        case DayOf(column) | Converted(column):
            return column.up
        case Picked(measure):
            return reach(measure)
        case Chosen(branches):
            return _furthest(reach(when) for when, _ in branches)
        case Formula(_, operands):
            return _furthest(reach(operand) for _, operand in operands)
        case Measure():
            return max(term.up, inside(term) - 1)
        case Compare() | Holds():
            return reach(term.operand)
        case _:
            return reach(term.operand)


def inside(measure: Measure) -> int:
    """How far the related rows of a measure look: 0 when each can be judged by itself."""
    parts: list[Operand | None] = [measure.of, measure.supply, measure.same, measure.ties.column if measure.ties else None]
    parts += [measure.distinct] if isinstance(measure.distinct, ColumnRef) else []
    furthest = _furthest(reach(part) for part in parts if part is not None)
    where = reach(measure.where) if measure.where is not None else 0
    return max(furthest, where, of_window(measure.window))


def of_window(window: Window | None) -> int:
    """How far outwards the days of a window are anchored."""
    return _furthest(_of_day(day) for day in (window.first, window.last) if day is not None) if window else 0


def needs_row(term: Condition) -> bool:
    """Whether a condition on a row that `latest` picks is true only if there is one: its columns are null where there is none."""
    match term:
        case Every(of):
            return any(map(needs_row, of))
        case Some(of):
            return all(map(needs_row, of))
        case Compare(operand) | CompareTo(operand) | OneOf(operand) | InWindow(operand):
            return isinstance(operand, ColumnRef) and operand.up == 0
        case _:
            return False


def _of_day(day: Day) -> int:
    return day.anchor.up if isinstance(day.anchor, ColumnRef) else 0


def _furthest(reaches: Iterable[int]) -> int:
    return max(reaches, default=0)
