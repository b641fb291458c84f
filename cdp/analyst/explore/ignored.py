"""Rows that could not count, and why: what an analyst has to know before a number is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from sqlglot import exp

from cdp.analyst.explore.related import PICKS, inside, measures, tests, timely, times, titled
from cdp.compile import sql
from cdp.compile.reach import inside as looks_outwards
from cdp.compile.reach import reach
from cdp.compile.rows import Asked
from cdp.compile.scans import Scan
from cdp.compile.statement import Statement
from cdp.project.load import Project
from cdp.project.terms import ColumnRef, Compare, Condition, Converted, Every, IsNull, Measure, Negation, OneOf, Picked, Satisfies
from cdp.spec.model import Entity

UNIT, SYSTEM, DATE, TIE = "unknown unit", "no code system", "no date", "picked by the key alone"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something of a measure did not count as its author may think; of ties people are counted, else rows."""

    measure: Measure
    why: str
    rows: Condition | None = None

    @property
    def title(self) -> str:
        """What the measure is about."""
        return titled(self.measure)

    @property
    def counted(self) -> str:
        """What the number is one of."""
        return "people" if self.why == TIE else "rows"


def reasons(terms: Iterable[Condition], project: Project) -> tuple[Reason, ...]:
    """What may be ignored by the measures of these conditions, each once."""
    found: dict[tuple[object, ...], Reason] = {}
    for term in terms:
        for reason in (*_asked_outside(term, project), *(each for measure in measures(term) for each in _of(measure, project))):
            found.setdefault((reason.measure.link, reason.why, reason.rows or reason.measure), reason)
    return tuple(found.values())


def count(statement: Statement, reason: Reason) -> exp.Expr:
    """How many there are of one person: an aggregate of the scan that the segment reads anyway."""
    scan = statement.row.scan(reason.measure.link, Asked(statement.clock), reason.measure.hops)
    if reason.rows is None:
        return _tied(scan, reason.measure)
    test = scan.row.compiler.condition(reason.rows, scan.row, scan.asked)
    return scan.aggregate(reason, "ignored", scan.keep(reason, test), lambda test: exp.CountIf(this=test))


def _tied(scan: Scan, measure: Measure) -> exp.Expr:
    """1 if another order of keys would have picked another row: the picked row's key under two opposite orders."""
    rows = Every(_competing(measure, scan.row.entity))
    test = scan.keep(("tied", measure), scan.row.compiler.condition(rows, scan.row, scan.asked))
    place, keys = _place(scan, measure), scan.key()
    number = exp.Anonymous(this="xxhash64", expressions=keys)
    kind = exp.ArgMax if measure.verb == "latest" else exp.ArgMin

    def picked(last: exp.Expr) -> Callable[[exp.Expr], exp.Expr]:
        return lambda test: sql.where(kind(this=number, expression=exp.Struct(expressions=[*place, last])), test)

    one = scan.aggregate(("tied", measure, 1), "one_way", test, picked(number))
    other = scan.aggregate(("tied", measure, 2), "other_way", test, picked(exp.BitwiseNot(this=number)))
    return exp.If(this=exp.NEQ(this=one, expression=other), true=sql.number(1), false=sql.number(0))


def _place(scan: Scan, measure: Measure) -> list[exp.Expr]:
    """What decides the pick before the key does."""
    parts = scan.order(measure).expressions
    return parts[: len(parts) - len(scan.key())]


def _competing(measure: Measure, entity: Entity) -> tuple[Condition, ...]:
    time = timely(measure, entity)
    return (*tests(measure), *((time,) if time is not None else ()))


# -- reasons -------------------------------------------------------------------------------------------------------------


def _of(measure: Measure, project: Project) -> Iterator[Reason]:
    """What a measure's own conditions leave out though it was probably meant."""
    entity = project.entities[measure.link.entity]
    own = [part for part in tests(measure) if not reach(part)]
    start, _ = times(entity)
    for part in own:
        others = [each for each in own if each is not part]
        for why, test in _lost(part, project):
            yield Reason(measure, why, Every((*others, test)))
    for operand in inside(measure.of):
        if isinstance(operand, Converted) and not operand.column.up:
            yield Reason(measure, UNIT, Every((*own, *_unconverted(operand))))
    if start is not None and (measure.window is not None or measure.verb in PICKS):
        yield Reason(measure, DATE, Every((*own, IsNull(start))))
    if measure.verb in PICKS and not looks_outwards(measure):
        yield Reason(measure, TIE)


def _lost(part: Condition, project: Project) -> Iterator[tuple[str, Condition]]:
    """Why a row may fail a condition for what is unknown of it, as conditions of such rows."""
    for term in inside(part):
        match term:
            case Compare(operand=ColumnRef(up=0) as column, units=units) if units:
                yield UNIT, Every(_of_other_units(column, units, project))
            case Converted(column) if not column.up:
                yield UNIT, Every(_unconverted(term))
            case OneOf(operand=ColumnRef(up=0) as column, systems=systems) if systems:
                system = project.entities[column.entity].columns[column.column].system
                if system in project.entities[column.entity].columns:
                    yield SYSTEM, Every((replace(term, systems=()), IsNull(_beside(column, str(system)))))


def _asked_outside(term: Condition, project: Project) -> Iterator[Reason]:
    """Units that a condition asks of the value of a measure."""
    for part in inside(term):
        match part:
            case Compare(operand=Picked(measure, column), units=units) if units:
                yield Reason(measure, UNIT, Every((*_closed(measure), *_of_other_units(column, units, project))))
            case Compare(operand=Measure(of=ColumnRef() as column) as measure, units=units) if units:
                yield Reason(measure, UNIT, Every((*_closed(measure), *_of_other_units(column, units, project))))
            case Satisfies(measure, of):
                for why, test in _lost(of, project):
                    yield Reason(measure, why, Every((*_closed(measure), test)))


def _closed(measure: Measure) -> list[Condition]:
    return [part for part in tests(measure) if not reach(part)]


def _of_other_units(column: ColumnRef, units: tuple[str, ...], project: Project) -> tuple[Condition, ...]:
    """There is a value, in a unit that does not compare, or in none."""
    unit = project.entities[column.entity].columns[column.column].unit
    assert unit is not None, "the binder asks for a unit column"
    return Negation(IsNull(column)), Negation(OneOf(_beside(column, unit), units, "string"))


def _unconverted(operand: Converted) -> tuple[Condition, ...]:
    return Negation(IsNull(operand.column)), IsNull(operand)


def _beside(column: ColumnRef, name: str) -> ColumnRef:
    return ColumnRef(column.hops, column.entity, name, "string")
