"""Who enters and who leaves: a segment as it was and as it is, on the same data at the same moment, in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlglot import exp

from cdp.analyst.cells import SMALL, Shown, Table
from cdp.compile import Clock, compile_segment
from cdp.compile.statement import Statement
from cdp.engine.base import Engine
from cdp.errors import DataError, UsageError
from cdp.project.project import Project
from cdp.project.terms import ColumnRef, Measure, Operand, Picked

COUNTS: Final = ("before", "after", "stay", "enter", "leave")
# What is hidden first, where something must be: who stays follows from the rest, and what it was can be looked up elsewhere.
_RANKS: Final = {"stay": 0, "after": 1, "before": 2, "enter": 3, "leave": 3}
_MOVES: Final = {(0, 1): "enter", (1, 0): "leave"}


@dataclass(frozen=True, slots=True)
class Audience:
    """A segment as it was and as it is; None where there is none."""

    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Those who move by one column or trait: (value, who enters, who leaves). None are values of few people, taken together."""

    by: str
    rows: tuple[tuple[str | None, Shown, Shown], ...]

    def as_json(self) -> dict[str, Any]:
        """The breakdown as a JSON object with stable keys."""
        rows = [{"value": value, "enter": enter.as_json(), "leave": leave.as_json()} for value, enter, leave in self.rows]
        return {"by": self.by, "rows": rows}


@dataclass(frozen=True, slots=True)
class Movement:
    """Numbers of people as they may be shown; without them a `note` says why there are none."""

    counts: Mapping[str, Shown]
    breakdowns: tuple[Breakdown, ...] = ()
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The movement as a JSON object with stable keys."""
        numbers = {name: self.counts[name].as_json() if self.counts else None for name in COUNTS}
        return {**numbers, "by": [breakdown.as_json() for breakdown in self.breakdowns], "note": self.note}


@dataclass(frozen=True, slots=True)
class Side:
    """A project, and the moment that its segments are computed for."""

    project: Project
    clock: Clock


@dataclass(slots=True)
class Counter:
    """Counts on one version of the data: each table is read as it was when it was first looked at.

    Attributes:
        versions: the commits that the tables are read at; None of a table that keeps none.
    """

    engine: Engine
    before: Side
    after: Side
    versions: dict[str, int | None]

    def movement(self, audience: Audience, by: Sequence[str]) -> Movement:
        """Who enters and leaves an audience, and who they are by columns and traits of its entity.

        Raises:
            UsageError: one of `by` is neither a column nor a trait of the segment's entity.
        """
        try:
            selects = [self._keys(self.before, audience.before), self._keys(self.after, audience.after)]
            rows = self.engine.query(self._counting(selects, audience, by), what=f"segment {audience.after or audience.before}").to_pylist()
        except DataError as error:
            return Movement({}, note=error.message)
        return _protected(rows, by)

    def _keys(self, side: Side, segment: str | None) -> exp.Select | None:
        """The keys of a segment's members, under the names k0, k1, ..."""
        if segment is None:
            return None
        query = compile_segment(side.project, segment, side.clock)
        inner = self._pinned(query.select, query.tables)
        keys = [exp.column(name, table="s", quoted=True).as_(f"k{n}") for n, name in enumerate(inner.named_selects)]
        return exp.select(*keys).from_(inner.subquery("s"))

    def _pinned(self, select: exp.Select, tables: Sequence[str]) -> exp.Select:
        """A query over the tables at their versions."""
        self.engine.register(tables)
        for table in tables:
            if table not in self.versions:
                self.versions[table] = self.engine.version(table)

        pinned = select.copy()
        for node in pinned.find_all(exp.Table):
            version = self.versions.get(f"{node.db}.{node.name}") if node.db else None
            if version is not None:
                node.set("version", exp.Version(this="VERSION", kind="AS OF", expression=exp.Literal.number(version)))
        return pinned

    def _counting(self, selects: Sequence[exp.Select | None], audience: Audience, by: Sequence[str]) -> exp.Select:
        """One row for each way of moving and each combination of the values of `by`."""
        there = [(flags, select) for flags, select in zip(((1, 0), (0, 1)), selects, strict=True) if select is not None]
        keys = [f"k{n}" for n in range(len(there[0][1].named_selects))]
        if any(len(select.named_selects) != len(keys) for _, select in there):
            raise DataError("it is about another entity now: nobody can be compared")
        texts = [f"CAST({key} AS STRING) AS {key}" for key in keys]
        sides = [exp.select(*texts, f"{was} AS was", f"{now} AS now").from_(select.subquery("q")) for (was, now), select in there]
        both = sides[0] if len(sides) == 1 else exp.union(sides[0], sides[1], distinct=False)
        moves = exp.select(*keys, "MAX(was) AS was", "MAX(now) AS now").from_(both.subquery("u")).group_by(*keys)
        columns = [f"b{n}" for n in range(len(by))]
        counted = exp.select("m.was", "m.now", *(f"CASE WHEN m.was + m.now = 1 THEN CAST(v.{c} AS STRING) END AS {c}" for c in columns))
        counted = counted.from_(moves.subquery("m"))
        if columns:
            values = self._values(audience, by).subquery("v")
            counted = counted.join(values, on=" AND ".join(f"m.{key} = v.{key}" for key in keys), join_type="left")
        return exp.select("was", "now", *columns, "COUNT(*) AS people").from_(counted.subquery("c")).group_by("was", "now", *columns)

    def _values(self, audience: Audience, by: Sequence[str]) -> exp.Select:
        """The columns and traits of `by`, of everyone."""
        side, segment = (self.after, audience.after) if audience.after else (self.before, str(audience.before))
        entity = side.project.entities[side.project.segments[segment].entity]
        statement = Statement(side.project, entity, side.clock)
        statement.column("k0", exp.cast(statement.key(), "string"))
        for number, name in enumerate(by):
            statement.column(f"b{number}", statement.output(named(side.project, entity.name, name)))
        query = statement.query(f"breakdown of {segment}")
        return self._pinned(query.select, query.tables)


def named(project: Project, entity: str, name: str) -> Operand:
    """What a column or trait of an entity (or a column of a trait's row, `trait.column`) stands for.

    Raises:
        UsageError: the entity has none of this name, or it is a whole row.
    """
    columns = project.entities[entity].columns
    if name in columns and not columns[name].fields:
        spec = columns[name]
        return ColumnRef((), entity, name, spec.type, array=spec.array)
    trait, _, column = name.partition(".")
    operand = project.bound.traits.get(trait) if trait in project.traits and project.traits[trait].entity == entity else None
    whole = isinstance(operand, Measure) and operand.verb in ("latest", "earliest") and operand.of is None
    if operand is not None and not whole and not column:
        return operand
    if isinstance(operand, Measure) and whole and column in project.entities[operand.link.entity].columns:
        target = operand.link.entity
        return Picked(operand, ColumnRef((), target, column, project.entities[target].columns[column].type))
    valid = sorted([*columns, *(trait.name for trait in project.traits.values() if trait.entity == entity)])
    more = f"name a column of its row: {name}.COLUMN" if whole and not column else f"one of: {', '.join(valid[:24])}"
    raise UsageError(f"{entity} has no column or trait {name!r} with one value", fix=more)


def _protected(rows: Sequence[Mapping[str, Any]], by: Sequence[str]) -> Movement:
    """The counts, none of them small."""
    totals = {"stay": 0, "enter": 0, "leave": 0}
    values: list[dict[str | None, dict[str, int]]] = [{} for _ in by]
    for row in rows:
        move = _MOVES.get((row["was"], row["now"]), "stay")
        totals[move] += row["people"]
        for number in range(len(by)) if move != "stay" else ():
            cell = values[number].setdefault(row[f"b{number}"] or "", {"enter": 0, "leave": 0})
            cell[move] += row["people"]
    totals |= {"before": totals["stay"] + totals["leave"], "after": totals["stay"] + totals["enter"]}
    table = Table()
    for name in COUNTS:
        table.cell(name, totals[name], _RANKS[name])
    table.whole("before", ("stay", "leave"))
    table.whole("after", ("stay", "enter"))
    gathered = [_gathered(each) for each in values]
    for number, groups in enumerate(gathered):
        for rank, (value, cells) in enumerate(groups.items()):
            for move, people in cells.items():
                table.cell((number, value, move), people, -1 - rank)
        for move in ("enter", "leave") if groups else ():
            table.whole(move, [(number, value, move) for value in groups])
    shown = table.shown()
    breakdowns = [
        Breakdown(name, tuple((value, shown[number, value, "enter"], shown[number, value, "leave"]) for value in groups))
        for number, (name, groups) in enumerate(zip(by, gathered, strict=True))
    ]
    return Movement({name: shown[name] for name in COUNTS}, tuple(breakdowns))


def _gathered(values: Mapping[str | None, Mapping[str, int]]) -> dict[str | None, dict[str, int]]:
    """Values in their order; those of few people are one, as the value itself may say who it is."""
    kept: dict[str | None, dict[str, int]] = {}
    for value in sorted(values, key=str):
        cells = values[value]
        own = value if max(cells.values()) >= SMALL else None
        into = kept.setdefault(own, {"enter": 0, "leave": 0})
        for move, people in cells.items():
            into[move] += people
    if None in kept:
        kept[None] = kept.pop(None)
    return kept
