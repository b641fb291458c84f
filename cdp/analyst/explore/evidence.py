"""The related rows behind a verdict: those that counted, and those that would have but for one test.

Rows are judged by the compiled conditions of the measure itself. One statement reads a related table for all measures that ask
it. Values are shown as far as a role sees them; how many rows there are, and which test they failed, is part of the verdict.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from sqlglot import exp

from cdp.analyst.explore.outer import back, standing_alone
from cdp.analyst.explore.related import inside, tests, timely, times, titled
from cdp.analyst.explore.rows import Source
from cdp.analyst.explore.sight import Sight, view
from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.reach import reach
from cdp.compile.statement import Statement
from cdp.project.load import Project
from cdp.project.terms import ColumnRef, Condition, DayOf, Link, Measure
from cdp.spec.model import Entity

MOST = 1_000  # rows of one person that are read of a table
FIRST, LAST = "_first", "_last"


@dataclass(frozen=True, slots=True)
class Row:
    """A related row.

    Attributes:
        failed: the test that it did not pass, as its place among the measure's; None if it counted.
        values: what is seen of it.
        days: the local days on which it was, or began and ended; empty where the role does not see them.
    """

    failed: int | None
    values: Mapping[str, object]
    days: tuple[dt.date | None, dt.date | None] | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What there is to a measure.

    Attributes:
        asked: the tests, in the order of `Row.failed`; the last is that of time where time is asked.
        rows: the latest first; those that counted before the others.
        hidden: by column, the classes that the role does not see.
        masked: by column, the mask that it is seen through.
    """

    measure: Measure
    title: str
    asked: tuple[Condition, ...]
    rows: tuple[Row, ...] = ()
    hidden: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masked: Mapping[str, str] = field(default_factory=dict)

    @property
    def counted(self) -> tuple[Row, ...]:
        """The rows that counted."""
        return tuple(row for row in self.rows if row.failed is None)

    @property
    def missed(self) -> tuple[Row, ...]:
        """The rows that would have counted but for one test."""
        return tuple(row for row in self.rows if row.failed is not None)


@dataclass(slots=True)
class _Table:
    """The one statement that reads a related table for all measures that ask it."""

    link: Link
    statement: Statement
    way: Link
    judged: dict[Condition, str] = field(default_factory=dict)
    shown: dict[str, ColumnRef] = field(default_factory=dict)
    wanted: list[exp.Expr] = field(default_factory=list)

    def test(self, term: Condition) -> str:
        """A test as a column that is never null."""
        if term not in self.judged:
            self.judged[term] = f"_test_{len(self.judged)}"
            alone = standing_alone(term, self.way)
            self.statement.column(self.judged[term], sql.coalesce(self.statement.test(alone, self.statement.clock, ""), sql.FALSE))
        return self.judged[term]

    def show(self, name: str) -> None:
        """A column of the row."""
        spec = self.statement.entity.columns.get(name)
        if spec is not None and name not in self.shown and not spec.fields:
            self.shown[name] = ColumnRef((), self.statement.entity.name, name, spec.type)
            self.statement.column(name, self.statement.output(self.shown[name], ""))


def gather(
    project: Project, engine: Source, person: str, asked: Mapping[Measure, Sequence[object]], *, clock: Clock, sight: Sight
) -> dict[Measure, Evidence]:
    """The rows of one person behind each measure.

    Args:
        project: as loaded.
        engine: over the lakehouse.
        person: the entity that the measures are asked of.
        asked: the measures, each with the values that its related rows must have in the columns of its relation.
        clock: of the verdicts.
        sight: who looks.
    """
    groups: dict[tuple[Link, tuple[Link, ...]], list[Measure]] = {}
    for measure in asked:
        groups.setdefault((measure.link, measure.hops), []).append(measure)
    found: dict[Measure, Evidence] = {}
    for several in groups.values():
        values = asked[several[0]]
        if any(value is None for value in values):
            found.update((each, Evidence(each, titled(each), _asked_of(each, project))) for each in several)
        else:
            found.update(_read(project, engine, person, several, values, clock, sight))
    return found


def _asked_of(measure: Measure, project: Project) -> tuple[Condition, ...]:
    """What a row must pass. Behind other relations what looks outwards cannot be asked of the row alone."""
    entity = project.entities[measure.link.entity]
    time = timely(measure, entity)
    every = (*tests(measure), *((time,) if time is not None else ()))
    return tuple(term for term in every if not (measure.hops and reach(term)))


def _read(
    project: Project, engine: Source, person: str, several: Sequence[Measure], values: Sequence[object], clock: Clock, sight: Sight
) -> Iterator[tuple[Measure, Evidence]]:
    link = several[0].link
    entity = project.entities[link.entity]
    table = _Table(link, Statement(project, entity, clock), back(link, person))
    for (theirs, _), value in zip(link.on, values, strict=True):
        table.statement.keep(sql.equal(sql.column(entity.name, theirs), literal(value)))
    asked = {measure: _asked_of(measure, project) for measure in several}
    places = {measure: [table.test(term) for term in terms] for measure, terms in asked.items()}
    for measure in several:
        for name in _shown(measure, entity):
            table.show(name)
    _days(table, entity)
    query = table.statement.query(f"rows of {link.name}")
    seen = view(sight, query.select, table.shown, clock.day)
    engine.register(query.tables)
    latest = exp.Ordered(this=sql.identifier(FIRST), desc=True, nulls_first=False)
    select = seen.select.order_by(latest, copy=False).limit(MOST, copy=False)
    rows = engine.query(select, what=f"rows of {link.name}").to_pylist()
    for measure, terms in asked.items():
        start, end = times(entity)
        dated = all(column.column not in seen.hidden and column.column not in seen.masked for column in (start, end) if column)
        near = [_row(row, places[measure], terms, table, dated) for row in rows if _is_near(row, places[measure], measure, terms)]
        own = {name: classes for name, classes in seen.hidden.items() if name in _shown(measure, entity)}
        yield measure, Evidence(measure, titled(measure), terms, tuple(sorted(near, key=_uncounted)), own, seen.masked)


def _is_near(row: Mapping[str, object], places: Sequence[str], measure: Measure, terms: Sequence[Condition]) -> bool:
    """Whether a row passes all tests but one; where only its time was tested besides, what it is must be right."""
    failed = [place for place, name in enumerate(places) if not row[name]]
    if len(failed) != 1:
        return not failed
    own = len(tests(measure))
    return failed[0] >= own or own > 1


def _uncounted(row: Row) -> bool:
    return row.failed is not None


def _row(row: Mapping[str, object], places: Sequence[str], terms: Sequence[Condition], table: _Table, dated: bool) -> Row:
    failed = next((place for place, name in enumerate(places) if not row[name]), None)
    days = (_day(row[FIRST]), _day(row[LAST])) if dated else None
    return Row(failed, {name: row[name] for name in table.shown if name in row}, days)


def _shown(measure: Measure, entity: Entity) -> tuple[str, ...]:
    """The columns of a related row that a measure looks at, its times first."""
    asked: Iterable[object] = (*(column for column in times(entity) if column), *tests(measure), measure.of, measure.distinct)
    columns = [term for part in asked for term in inside(part) if isinstance(term, ColumnRef) and not term.up and not term.hops]
    units = [unit for column in columns if (unit := entity.columns[column.column].unit) in entity.columns]
    return tuple(dict.fromkeys([*(column.column for column in columns), *map(str, units)]))


def _days(table: _Table, entity: Entity) -> None:
    """The days of the row, by which rows are ordered and distances told."""
    start, end = times(entity)
    for name, column in ((FIRST, start), (LAST, end or start)):
        nothing = exp.Cast(this=exp.Null(), to=sql.DATE)
        table.statement.column(name, table.statement.output(DayOf(column), "") if column is not None else nothing)


def _day(value: object) -> dt.date | None:
    return value if isinstance(value, dt.date) else None


def literal(value: object) -> exp.Expr:
    """A value that came from a column, as a literal that stands in no text of a query: it may be somebody's."""
    if isinstance(value, dt.datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    made = sql.literal(value)  # type: ignore[arg-type]
    return sql.private(made) if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool) else made
