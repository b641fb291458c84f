"""The rows of many cases as tables: keys and links filled in, every case with a number of its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cdp.analyst.trials.isolation import CASE
from cdp.project.language.names import link
from cdp.project.load import Project
from cdp.project.trials.fixtures import Fixture
from cdp.spec.model import Column, ColumnType, Entity

if TYPE_CHECKING:
    import pyarrow as pa

    from cdp.engine.base import Engine

Row = dict[str, Any]
FIRST = 9_000_001  # generated keys begin here, where an author's own do not
SPARK: Mapping[ColumnType, str] = {
    "string": "string",
    "code": "string",
    "integer": "bigint",
    "decimal": "decimal(28,10)",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}


@dataclass
class Lake:
    """The tables of the cases, in memory.

    Args:
        project: isolated; its tables are views.
    """

    project: Project
    tables: dict[str, list[Row]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(FIRST))

    def add(self, case: int, member: Fixture) -> Any:
        """Put a member and everything that hangs on it into the tables, and give back the member's key."""
        row = self._row(member, {}, case)
        self._place(member, row, case, self.project.entities[member.entity], row)
        return row[self.project.entities[member.entity].key]

    def _row(self, fixture: Fixture, linked: Row, case: int) -> Row:
        """A row with its own key and the columns by which it hangs on another."""
        entity = self.project.entities[fixture.entity]
        row = {**linked, **{name: value for name, value in fixture.values.items() if name not in linked}, CASE: case}
        if entity.key and row.get(entity.key) is None:
            row[entity.key] = self._new(entity.columns[entity.key].type)
        return row

    def _place(self, fixture: Fixture, row: Row, case: int, root: Entity, member: Row) -> None:
        entity = self.project.entities[fixture.entity]
        for name, others in fixture.related.items():
            relation = entity.relations[name]
            target = self.project.entities[relation.one or relation.many or ""]
            for other in others:
                linked = self._linked(link(name, relation, entity, target).on, row, other, entity)
                made = self._row(other, {**self._of_member(root, member, other, linked), **linked}, case)
                self._place(other, made, case, root, member)
        self.tables.setdefault(entity.table, []).append(row)

    def _linked(self, pairs: Sequence[tuple[str, str]], row: Row, other: Fixture, entity: Entity) -> Row:
        """The columns by which a row hangs on another; what neither side says is made up, on both."""
        linked: Row = {}
        for theirs, mine in pairs:
            value = row.get(mine)
            if value is None:
                value = other.values.get(theirs)
            if value is None:
                value = self._new(entity.columns[mine].type)
            row[mine] = linked[theirs] = value
        return linked

    def _of_member(self, root: Entity, member: Row, other: Fixture, linked: Row) -> Row:
        """A row further inside is the member's too, where one relation of the member leads to such rows and it says nothing else."""
        ways = [
            link(name, relation, root, self.project.entities[other.entity]).on
            for name, relation in root.relations.items()
            if relation.many == other.entity
        ]
        if len(ways) != 1 or any(theirs in other.values or (theirs in linked and theirs != CASE) for theirs, _ in ways[0]):
            return {}
        return {theirs: member[mine] for theirs, mine in ways[0] if member.get(mine) is not None}

    def _new(self, kind: ColumnType) -> Any:
        number = next(self._numbers)
        return number if kind == "integer" else str(number)

    # -- in the engine ----------------------------------------------------------------------------------------------

    def write(self, engine: Engine, tables: Sequence[str]) -> None:
        """Make the rows readable in the engine, under the names of their tables; tables without rows are empty."""
        columns = _columns(self.project)
        zone = ZoneInfo(self.project.timezone)
        for table in tables:
            if rows := self.tables.get(table):
                engine.view(table, _arrow(rows, columns[table], zone))
            else:
                nothing = ", ".join(f"CAST(NULL AS {_spark(column)}) AS `{name}`" for name, column in columns[table].items())
                engine.execute(f"CREATE OR REPLACE TEMPORARY VIEW {table} AS SELECT {nothing} WHERE false", what=table)


def _columns(project: Project) -> dict[str, dict[str, Column]]:
    """The columns of each table: entities that share one may declare different columns of it."""
    found: dict[str, dict[str, Column]] = {}
    for entity in project.entities.values():
        if entity.table and not entity.from_:
            found.setdefault(entity.table, {}).update(entity.columns)
    return found


def _spark(column: Column) -> str:
    def struct(fields: Sequence[tuple[str, str]]) -> str:
        return f"struct<{', '.join(f'`{name}`: {kind}' for name, kind in fields)}>"

    return str(_nested(column, SPARK, struct, "array<{}>".format))


def _arrow(rows: Sequence[Row], columns: Mapping[str, Column], zone: ZoneInfo) -> pa.Table:
    import pyarrow as pa

    kinds = {
        "string": pa.string(),
        "code": pa.string(),
        "integer": pa.int64(),
        "decimal": pa.decimal128(28, 10),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    arrays = {}
    for name, column in columns.items():
        kind = _nested(column, kinds, pa.struct, pa.list_)
        arrays[name] = pa.array([_value(row.get(name), zone) for row in rows], kind)
    return pa.table(arrays)


def _nested(column: Column, kinds: Mapping[Any, Any], struct: Any, array: Any) -> Any:
    """A column's type, of the types of its values; fields of a struct are paths."""
    if not column.fields:
        return array(kinds[column.type]) if column.array else kinds[column.type]
    tree: dict[str, Any] = {}
    for path, kind in column.fields.items():
        *outer, last = path.split(".")
        here = tree
        for part in outer:
            here = here.setdefault(part, {})
        here[last] = kinds[kind]

    def made(fields: Mapping[str, Any]) -> Any:
        return struct([(name, made(part) if isinstance(part, dict) else part) for name, part in fields.items()])

    return made(tree)


def _value(value: Any, zone: ZoneInfo) -> Any:
    """A value as Arrow takes it; a time without an offset is local."""
    if isinstance(value, tuple):
        return [_value(part, zone) for part in value]
    if isinstance(value, Mapping):
        return {name: _value(part, zone) for name, part in value.items()}
    return value.replace(tzinfo=zone) if isinstance(value, dt.datetime) and value.tzinfo is None else value


# -- in words ---------------------------------------------------------------------------------------------------------


def lines(row: Fixture, name: str = "") -> Iterator[str]:
    """A member and its rows as text, each row below the one that it hangs on; with what the test did not say but a row needs."""
    said = ", ".join(f"{column} {_text(value)}" for column, value in row.values.items() if value is not None)
    yield f"{name or row.entity}: {said or 'nothing is known'}"
    for relation, others in row.related.items():
        for other in others:
            yield from (f"  {line}" for line in lines(other, relation))


def _text(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="minutes").removesuffix("T00:00")
    return "true" if value is True else "false" if value is False else str(value)
