"""Windows after an event that may still be running: what is missing from one of those may yet come.

Someone whose event was yesterday has no visit in the 14 days after it. So the event must be provably older than the window
is long, by a test on the day that the window is anchored at; or the author says `even_if_open: true`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cdp.project.terms import AgeBetween, ColumnRef, Condition, Day, Every, Exists, InWindow, Measure, Negation, Satisfies
from cdp.project.terms.spans import distance, shift
from cdp.project.terms.uses import Term, children

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

TODAY = Day("as_of")
Facts = tuple[Term, ...]  # what certainly holds of a row
Rows = tuple[Facts, ...]  # of the row at hand and those around it, innermost first


def may_be_open(measure: Measure) -> bool:
    """Whether a measure's window ends after a day of a row around."""
    last = measure.window.last if measure.window else None
    return last is not None and isinstance(last.anchor, ColumnRef) and shift(last)[1] > 0


def refuse_open_windows(binder: Binder, term: Term, places: Mapping[Measure, Place]) -> None:
    """Report rows that are said to be missing from a window which may not be over.

    Args:
        binder: of the project.
        term: a condition, or the value of a trait.
        places: where the measures stand whose window ends after an event.
    """
    _Walk(binder, places).visit(term, ((),), negative=False)


class _Walk:
    """Goes through a term and knows, at each measure, what holds of the rows around it."""

    def __init__(self, binder: Binder, places: Mapping[Measure, Place]) -> None:
        self.binder = binder
        self.places = places

    def visit(self, term: Term, rows: Rows, *, negative: bool) -> None:
        match term:
            case Every(of):
                known = rows if negative else ((*rows[0], *_facts(term)), *rows[1:])
                for part in of:
                    self.visit(part, known, negative=negative)
            case Negation(denied):
                self.visit(denied, rows, negative=not negative)
            case Exists(measure):
                if negative:
                    self._check(measure, rows)
                self._inside(measure, rows, negative=negative)
            case Satisfies(measure, asked):
                self._inside(measure, rows, negative=negative)
                picked = (*self._known(measure), *_facts(asked))
                self.visit(asked, (picked, *rows), negative=negative)
            case Measure():
                self._inside(term, rows, negative=False)
            case _:
                for inner in children(term):
                    self.visit(inner, rows, negative=negative)

    def _inside(self, measure: Measure, rows: Rows, *, negative: bool) -> None:
        if measure.where is not None:
            self.visit(measure.where, (self._known(measure), *rows), negative=negative)

    def _known(self, measure: Measure) -> Facts:
        """What holds of a related row: it passes `where` and lies in the window."""
        entity = self.binder.project.entities[measure.link.entity]
        facts = _facts(measure.where)
        if measure.window is None or not isinstance(entity.time, str):
            return facts
        time = ColumnRef((), entity.name, entity.time, entity.columns[entity.time].type)
        return (*facts, InWindow(time, measure.window, time.type))

    def _check(self, measure: Measure, rows: Rows) -> None:
        at, last = self.places.get(measure), measure.window.last if measure.window else None
        if at is None or last is None or not isinstance(last.anchor, ColumnRef):
            return
        column = last.anchor
        facts = rows[column.up - 1] if column.up <= len(rows) else ()
        if not any(_over(fact, column, last) for fact in facts):
            days, name = shift(last)[1], column.column
            hint = f"test that it is, such as {{{name}: {{older_than: {{days: {days}}}}}}}, or write `even_if_open: true`"
            at.wrong(f"the window may not be over yet: it ends up to {days} days after {name}", hint=hint)


def _facts(term: Condition | None) -> Facts:
    """What certainly holds where a condition does."""
    if isinstance(term, Every):
        return tuple(fact for part in term.of for fact in _facts(part))
    return (term,) if term is not None else ()


def _over(fact: Term, column: ColumnRef, last: Day) -> bool:
    """Whether a test of a row says that a day after one of its columns is in the past."""
    latest = _latest(fact, column)
    apart = distance(Day(latest.anchor, (*latest.shifts, *last.shifts)), TODAY) if latest is not None else None
    return apart is not None and apart[0] > 0


def _latest(fact: Term, column: ColumnRef) -> Day | None:
    """The latest day that a test allows a column to have."""
    if isinstance(fact, AgeBetween) and fact.low is not None and fact.at == TODAY and _same(fact.birth_date, column):
        return TODAY.plus(fact.unit, -fact.low)
    if isinstance(fact, InWindow) and isinstance(fact.operand, ColumnRef) and _same(fact.operand, column):
        return fact.window.last
    return None


def _same(tested: ColumnRef, column: ColumnRef) -> bool:
    """Whether a test is about the column of the row at hand that a window is anchored at."""
    return tested.up == 0 and (tested.column, tested.hops, tested.field) == (column.column, column.hops, column.field)
