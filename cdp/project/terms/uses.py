"""What terms rest on: the parts they are made of, and the segments that they name."""

from __future__ import annotations

from collections.abc import Iterator

from cdp.project.terms import (
    AgeBetween,
    Chosen,
    ColumnRef,
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
    InSegment,
    InSql,
    Measure,
    Negation,
    Operand,
    Picked,
    Satisfies,
    Some,
    SqlValue,
    Tally,
    Window,
)
from cdp.project.terms.people import ConsentMissing, ContactInvalid, Rule

Term = Condition | Operand
_LEAVES = (ColumnRef, InSegment, InSql, SqlValue, ContactOf)


def children(term: Term) -> Iterator[Term]:
    """The conditions and values that a term is made of, one level down; columns of windows and ages are values too."""
    match term:
        case Every(of) | Some(of) | Tally(of):
            yield from of
        case Negation(of):
            yield of
        case Exists(measure) | Covered(measure):
            yield measure
        case Satisfies(measure, of):
            yield from (measure, of)
        case Picked(measure, column):
            yield from (measure, column)
        case Measure():
            yield from _of_measure(term)
        case Chosen(branches):
            yield from (when for when, _ in branches)
        case Formula(_, operands):
            yield from (operand for _, operand in operands)
        case CompareTo(operand, _, other):
            yield from (operand, other)
        case DayOf(column):
            yield column
        case Converted(column, unit):
            yield from (column, unit)
        case AgeBetween():
            yield term.birth_date
            yield from _of_day(term.at)
        case ColumnRef() | InSegment() | InSql() | SqlValue() | ContactOf():
            pass
        case _:
            yield term.operand
            yield from _of_window(getattr(term, "window", None))


def _of_measure(term: Measure) -> Iterator[Term]:
    ties = term.ties.column if term.ties else None
    of = (term.where, term.of, term.supply, term.same, ties, term.distinct)
    yield from (part for part in of if part is not None and not isinstance(part, str))
    yield from _of_window(term.window)


def _of_window(window: Window | None) -> Iterator[Term]:
    if window is not None:
        yield from _of_day(window.first)
        yield from _of_day(window.last)


def _of_day(day: Day | None) -> Iterator[Term]:
    if day is not None and isinstance(day.anchor, ColumnRef):
        yield day.anchor


def within(term: Term | None) -> Iterator[Term]:
    """The term and everything inside of it, each before its own parts."""
    waiting = [term] if term is not None else []
    while waiting:
        part = waiting.pop()
        yield part
        if not isinstance(part, _LEAVES):
            waiting.extend(reversed(list(children(part))))


def segments_of(term: Term | None) -> list[str]:
    """The segments that a term names, those inside of measures too."""
    return [part.name if isinstance(part, InSegment) else part.segment for part in within(term) if isinstance(part, (InSegment, InSql))]


def terms_of(rule: Rule) -> Iterator[Term]:
    """The conditions and values that a rule of the eligibility asks of a person."""
    if not isinstance(rule.when, (ConsentMissing, ContactInvalid)):
        yield rule.when
    if rule.unless is not None:
        yield rule.unless
    if rule.instead is not None:
        yield from (rule.instead.channel, rule.instead.value)


def plain(term: Condition) -> bool:
    """Whether a condition looks at the row's own columns only."""
    return not any(
        isinstance(part, (Measure, InSegment, InSql, SqlValue, Formula)) or (isinstance(part, ColumnRef) and bool(part.hops or part.up))
        for part in within(term)
    )
