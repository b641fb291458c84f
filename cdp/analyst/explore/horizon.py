"""When a person enters or leaves a segment by the passing of time alone: the segment's own SQL, asked on the days that matter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from cdp.analyst.explore.evidence import literal
from cdp.analyst.explore.rows import Source
from cdp.analyst.explore.turning import HORIZON, Clockwork, Move, Reached, turning_days
from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement
from cdp.project.load import Project
from cdp.project.terms import ColumnRef, Condition, DayOf
from cdp.spec.model import Entity

AT_ONCE = 16  # days that one statement asks
MOST = 5_000  # rows of one person that are read of a table
WIDEST = 500  # rows from which others are looked for
DAY, PASSES = "day_of_", "passes_"
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Subject:
    """A row that is asked about: its entity, and its key as a literal."""

    entity: Entity
    key: exp.Expr


@dataclass(frozen=True, slots=True)
class Turn:
    """The first day on which a verdict is another one; None if there is none within so many days."""

    day: dt.date | None
    within: int


def next_turn(project: Project, engine: Source, term: Condition, subject: Subject, *, clock: Clock, now: bool) -> Turn:
    """The first day after the clock's on which the condition holds of a person if it does not, or no longer if it does.

    Nothing new is assumed to be recorded; rows that lie in the future take place.

    Args:
        project: as loaded.
        engine: over the lakehouse.
        term: a condition on the person.
        subject: the person.
        clock: the day that is looked from.
        now: whether the condition holds there.
    """
    clockwork = Clockwork.of(term, project, subject.entity)
    recorded = {} if clockwork.always else _recorded(engine, clockwork, subject, clock)
    if recorded is None or any(day > clock.day for move in clockwork.making for day in recorded.get(move, ())):
        clockwork.always = True
    days = turning_days(clockwork, recorded or {}, clock.day)
    for first in range(0, len(days), AT_ONCE):
        some = days[first : first + AT_ONCE]
        holds = _holding(project, engine, term, subject, some, clock)
        for day in some:
            if (day in holds) != now:
                return Turn(day, clockwork.horizon)
    return Turn(None, clockwork.horizon)


def _holding(project: Project, engine: Source, term: Condition, subject: Subject, days: Sequence[dt.date], clock: Clock) -> set[dt.date]:
    """The days on which the condition holds."""
    asked: list[exp.Select] = []
    tables: set[str] = set()
    for day in days:
        statement = Statement(project, subject.entity, Clock(dt.datetime.combine(day, dt.time.max, clock.instant.tzinfo)))
        statement.where(term)
        statement.keep(sql.equal(statement.key(), subject.key))
        statement.column("day", sql.date_literal(day))
        query = statement.query("a day")
        tables.update(query.tables)
        inner = exp.Subquery(this=query.select, alias=exp.TableAlias(this=sql.identifier("one_day")))
        asked.append(exp.Select(expressions=[sql.column("one_day", "day")], from_=exp.From(this=inner)))
    engine.register(sorted(tables))
    union: exp.Select | exp.Union = asked[0]
    for each in asked[1:]:
        union = exp.Union(this=union, expression=each, distinct=False)
    return {row["day"] for row in engine.query(union, what="the days ahead").to_pylist()}


# -- what is on record ---------------------------------------------------------------------------------------------------


def _recorded(engine: Source, clockwork: Clockwork, subject: Subject, clock: Clock) -> dict[Move, set[dt.date]] | None:
    """For each move the days that it may pass, from the person's rows as they will be at the end of the horizon.

    None where that is too much to look at.
    """
    end = dt.datetime.combine(clock.day + dt.timedelta(days=HORIZON), dt.time.max, clock.instant.tzinfo)
    reading, person = _Reading(engine, clockwork, Clock(end)), clockwork.person
    own = sql.equal(sql.column(subject.entity.name, subject.entity.key), subject.key)
    open_ = [(person, reading.rows(person, (subject.entity.key,), own))]
    while open_:
        reached, rows = open_.pop()
        if len(rows) >= MOST or not all(mine in row for row in rows[:1] for link in reached.links for _, mine in link.on):
            return None
        for link, further in reached.links.items():
            wanted = {tuple(row[mine] for _, mine in link.on) for row in rows}
            known = sorted((each for each in wanted if None not in each), key=repr)
            if len(known) > WIDEST:
                return None
            open_.append((further, reading.related(further, tuple(theirs for theirs, _ in link.on), known)))
    return reading.days


@dataclass(slots=True)
class _Reading:
    """Collects the days of the rows that a condition reaches."""

    engine: Source
    clockwork: Clockwork
    clock: Clock
    days: dict[Move, set[dt.date]] = field(default_factory=dict)

    def related(self, reached: Reached, columns: tuple[str, ...], values: Sequence[tuple[object, ...]]) -> list[Row]:
        """The rows whose columns have one of these values."""
        if not values:
            return []
        mine = [sql.column(reached.entity.name, column) for column in columns]
        if len(mine) == 1:
            return self.rows(reached, columns, sql.one_of(mine[0], [literal(each[0]) for each in values]))
        tests = [sql.every(sql.equal(column, literal(value)) for column, value in zip(mine, each, strict=True)) for each in values]
        return self.rows(reached, columns, sql.some(tests))

    def rows(self, reached: Reached, columns: tuple[str, ...], test: exp.Expr) -> list[Row]:
        """The rows that pass a test, with what others are found by; their days are kept for the moves that pass them."""
        entity = reached.entity
        moves = [move for move in self.clockwork.moves if move.rows is reached]
        statement = Statement(self.clockwork.project, entity, self.clock)
        statement.keep(test)
        for name in {*columns, *(mine for link in reached.links for _, mine in link.on)}:
            statement.column(name, sql.column(entity.name, name))
        for name in {move.column for move in moves}:
            statement.column(DAY + name, statement.output(DayOf(ColumnRef((), entity.name, name, entity.columns[name].type)), ""))
        for number, condition in enumerate(reached.filters):
            statement.column(f"{PASSES}{number}", sql.coalesce(statement.test(condition, self.clock, ""), sql.FALSE))
        query = statement.query(f"the days of {entity.name}")
        self.engine.register(query.tables)
        found: list[Row] = self.engine.query(query.select.distinct(copy=False).limit(MOST, copy=False), what=query.name).to_pylist()
        for move in moves:
            passes = f"{PASSES}{reached.filters.index(move.filter)}" if move.filter is not None else ""
            days = {row[DAY + move.column] for row in found if not passes or row[passes]}
            self.days.setdefault(move, set()).update(day for day in days if isinstance(day, dt.date))
        return found
