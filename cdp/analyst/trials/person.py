"""One person's rows, of the tables and columns that a segment reads and of no others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlglot import exp

from cdp.analyst.explore.evidence import literal
from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.errors import DataError, UsageError
from cdp.project.language.names import link
from cdp.project.load import Project
from cdp.project.terms import ColumnRef, InSegment, InSql, Link, SqlValue
from cdp.project.terms.parts import rests_on
from cdp.spec.model import Entity, Interval

if TYPE_CHECKING:
    from cdp.analyst.explore.rows import Source

MOST = 500  # rows of one relation; a test of more is no test that a person reads


@dataclass(frozen=True, slots=True)
class Record:
    """A row with what the segment reads of it, and the rows that it leads to."""

    entity: Entity
    values: dict[str, Any]
    related: dict[str, list[Record]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reads:
    """What a segment reads: columns by entity, and relations."""

    columns: Mapping[str, frozenset[str]]
    links: frozenset[Link]
    terms: tuple[object, ...]

    @classmethod
    def of(cls, project: Project, segment: str) -> Reads:
        """What a segment, the segments that it uses and each entity's own `where` read.

        Raises:
            UsageError: a SELECT decides, which may read anything.
        """
        root = project.segments[segment].entity
        terms = tuple(rests_on((InSegment(segment), Link("", root, ())), project))
        if any(isinstance(term, (InSql, SqlValue)) for term in terms):
            raise UsageError(f"segment {segment} rests on a SELECT: which rows it reads is not known", fix="write the test by hand")
        found: dict[str, set[str]] = {}
        for term in terms:
            if isinstance(term, ColumnRef):
                found.setdefault(term.entity, set()).add(term.column)
        for name in {root, *(term.entity for term in terms if isinstance(term, Link))}:
            found[name] = _with_companions(project.entities[name], found.get(name, set()))
        columns = {name: frozenset(several) for name, several in found.items()}
        return cls(columns, frozenset(term for term in terms if isinstance(term, Link) and term.name), terms)


def _with_companions(entity: Entity, columns: Iterable[str]) -> set[str]:
    """The columns with the row's time, and the units and code systems that give their values a meaning."""
    time = (entity.time.start, entity.time.end) if isinstance(entity.time, Interval) else filter(None, (entity.time,))
    every = {name for name in (*columns, *time) if name in entity.columns}
    beside = {companion for name in every for companion in (entity.columns[name].unit, entity.columns[name].system)}
    return every | {name for name in beside if name in entity.columns}


@dataclass
class Reader:
    """Reads the rows of one person."""

    project: Project
    engine: Source
    reads: Reads
    clock: Clock

    def person(self, entity: Entity, key: object) -> Record:
        """The person's own row and all that hangs on it.

        Raises:
            DataError: there is no such person, or a relation leads to too many rows.
        """
        found = self._rows(entity, [entity.key], [(key,)], ())
        if not found:
            raise DataError(f"{entity.table} has no {entity.name} with this key", fix="look the key up in the lakehouse")
        self._follow([found[0]], entity, None)
        return found[0]

    def _follow(self, records: Sequence[Record], entity: Entity, came: Link | None) -> None:
        """Read what the segment reads of the rows that lead further, one relation at a time."""
        for name, way in self._ways(entity):
            back = came is not None and {(mine, theirs) for theirs, mine in came.on} == set(way.on)
            if back or not records:
                continue
            target = self.project.entities[way.entity]
            theirs, mine = [pair[0] for pair in way.on], [pair[1] for pair in way.on]
            wanted = {values for record in records if None not in (values := tuple(record.values.get(column) for column in mine))}
            found = self._rows(target, theirs, sorted(wanted, key=str), [column for _, way in self._ways(target) for _, column in way.on])
            for record in records:
                values = tuple(record.values.get(column) for column in mine)
                own = [row for row in found if tuple(row.values[column] for column in theirs) == values and None not in values]
                if own:
                    record.related[name] = [Record(row.entity, row.values, {}) for row in own]
            self._follow([row for record in records for row in record.related.get(name, ())], target, way)

    def _ways(self, entity: Entity) -> list[tuple[str, Link]]:
        """The relations of an entity that the segment follows; of a derived entity's rows, the rows that they are made of."""
        ways: dict[str, Link] = {}
        for name, relation in entity.relations.items():
            target = self.project.entities[relation.one or relation.many or ""]
            way = link(name, relation, entity, target)
            if way not in self.reads.links:
                continue
            if target.from_:
                ways.update([self._source(entity, target, way)])
            else:
                ways[name] = way
        return list(ways.items())

    def _source(self, entity: Entity, derived: Entity, way: Link) -> tuple[str, Link]:
        """The relation of an entity to the rows that a derived entity's rows are made of."""
        made = self.project.bound.derived[derived.name]
        columns = {name: column.column for name, column in made.group if isinstance(column, ColumnRef)}
        on = {(columns.get(theirs), mine) for theirs, mine in way.on}
        for name, relation in entity.relations.items():
            target = self.project.entities[relation.many or relation.one or ""]
            if target.name == made.source and set(link(name, relation, entity, target).on) == on:
                return name, link(name, relation, entity, target)
        raise UsageError(f"no relation of {entity.name} leads to the rows that {derived.name} is made of", fix="write the test by hand")

    def _rows(self, entity: Entity, keys: Sequence[str], values: Sequence[tuple[Any, ...]], more: Iterable[str]) -> list[Record]:
        """The rows of a table with these values in its key columns, as they exist at the clock."""
        if not values:
            return []
        own = [column for _, way in self._ways(entity) for _, column in way.on]
        columns = dict.fromkeys([*keys, *more, *own, *sorted(self.reads.columns.get(entity.name, ()))])
        tests = [sql.every([sql.equal(sql.column(entity.name, k), literal(v)) for k, v in zip(keys, row, strict=True)]) for row in values]
        select = exp.Select(
            expressions=[sql.alias(sql.column(entity.name, column), column) for column in columns],
            from_=exp.From(this=sql.table(entity.table, entity.name)),
            where=exp.Where(this=sql.some(tests)),
        )
        self.engine.register([entity.table])
        rows = self.engine.query(select.limit(MOST * len(values) + 1), what=f"rows of {entity.name}").to_pylist()
        if len(rows) > MOST * len(values):
            raise DataError(f"more than {MOST} rows of {entity.name} hang on one row", fix="write the test by hand")
        zone = ZoneInfo(self.project.timezone)
        records = [Record(entity, {name: _local(value, zone) for name, value in row.items()}) for row in rows]
        return [record for record in records if self._exists(record)]

    def _exists(self, record: Record) -> bool:
        """Whether a row is there at the clock: later ones of most entities are not."""
        time = record.entity.time.start if isinstance(record.entity.time, Interval) else record.entity.time
        when = record.values.get(time) if time else None
        if when is None or record.entity.future == "visible":
            return True
        now = self.clock.instant.replace(tzinfo=None)
        return when <= now if isinstance(when, dt.datetime) else when <= now.date()


def _local(value: Any, zone: ZoneInfo) -> Any:
    """A moment as the clock on the wall says it."""
    if isinstance(value, dt.datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
        return moment.astimezone(zone).replace(tzinfo=None)
    return value
