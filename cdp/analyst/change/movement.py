"""Who enters and who leaves: a segment as it was and as it is, on the same data at the same moment, in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlglot import exp

from cdp.analyst.explore import breakdown
from cdp.analyst.explore.breakdown import MOST, NONE, OTHERS
from cdp.analyst.explore.cells import SMALL, Shown, Table
from cdp.analyst.explore.rows import Reach
from cdp.analyst.explore.sight import Sight
from cdp.compile import Clock, compile_segment
from cdp.compile.statement import Statement
from cdp.engine.base import Engine
from cdp.errors import DataError
from cdp.governance.decide import Governor
from cdp.project.project import Project

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
class Split:
    """Those who move by one column or trait: (value, who enters, who leaves)."""

    by: str
    rows: tuple[tuple[str, Shown, Shown], ...]

    def as_json(self) -> dict[str, Any]:
        """The split as a JSON object with stable keys."""
        rows = [{"value": value, "enter": enter.as_json(), "leave": leave.as_json()} for value, enter, leave in self.rows]
        return {"by": self.by, "rows": rows}


@dataclass(frozen=True, slots=True)
class Movement:
    """Numbers of people as they may be shown; without them a `note` says why there are none."""

    counts: Mapping[str, Shown]
    splits: tuple[Split, ...] = ()
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The movement as a JSON object with stable keys."""
        numbers = {name: self.counts[name].as_json() if self.counts else None for name in COUNTS}
        return {**numbers, "by": [split.as_json() for split in self.splits], "note": self.note}


@dataclass(frozen=True, slots=True)
class Side:
    """A project, and the moment that its segments are computed for."""

    project: Project
    clock: Clock


@dataclass(slots=True)
class Counter:
    """Counts on one version of the data: each table is read as it was when it was first looked at.

    Attributes:
        sight: who looks, by the rules of today's project, which say what rows are read; by default somebody without a role.
        versions: the commits that the tables are read at; None of a table that keeps none.
    """

    before: Side
    after: Side
    sight: Sight | None = None
    versions: dict[str, int | None] = field(default_factory=dict)

    @property
    def reach(self) -> Reach:
        """The rows that are read."""
        return (self.sight or Sight(Governor.of(self.after.project))).reach

    def side(self, audience: Audience) -> Side:
        """The project that says who people are: that of now, for a segment that is not removed."""
        return self.after if audience.after else self.before

    def entity(self, audience: Audience) -> str:
        """What an audience is made of."""
        return self.side(audience).project.segments[audience.after or str(audience.before)].entity

    def movement(self, engine: Engine, audience: Audience, by: Sequence[str]) -> Movement:
        """Who enters and leaves an audience, and who they are by columns and traits of its entity, each of them checked."""
        try:
            selects = [self._keys(engine, self.before, audience.before), self._keys(engine, self.after, audience.after)]
            counting = self._counting(engine, selects, audience, by)
            rows = engine.query(counting, what=f"segment {audience.after or audience.before}").to_pylist()
        except DataError as error:
            return Movement({}, note=error.message)
        return _protected(rows, by)

    def _keys(self, engine: Engine, side: Side, segment: str | None) -> exp.Select | None:
        """The keys of a segment's members, under the names k0, k1, ..."""
        if segment is None:
            return None
        query = compile_segment(side.project, segment, side.clock)
        inner = self._pinned(engine, query.select, query.tables, "before" if side is self.before else "after")
        keys = [exp.column(name, table="s", quoted=True).as_(f"k{n}") for n, name in enumerate(inner.named_selects)]
        return exp.select(*keys).from_(inner.subquery("s"))

    def _pinned(self, engine: Engine, select: exp.Select, tables: Sequence[str], mark: str) -> exp.Select:
        """A query over the tables at their versions, and of these the rows that are read; its CTEs have names of their own."""
        engine.register(tables)
        for table in tables:
            if table not in self.versions:
                self.versions[table] = engine.version(table)

        pinned = select.copy()
        for node in pinned.find_all(exp.Table):
            version = self.versions.get(f"{node.db}.{node.name}") if node.db else None
            if version is not None:
                node.set("version", exp.Version(this="VERSION", kind="AS OF", expression=exp.Literal.number(version)))
        return _apart(self.reach.over(pinned), mark)

    def _counting(self, engine: Engine, selects: Sequence[exp.Select | None], audience: Audience, by: Sequence[str]) -> exp.Select:
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
            values = self._values(engine, audience, by).subquery("v")
            counted = counted.join(values, on=" AND ".join(f"m.{key} = v.{key}" for key in keys), join_type="left")
        return exp.select("was", "now", *columns, "COUNT(*) AS people").from_(counted.subquery("c")).group_by("was", "now", *columns)

    def _values(self, engine: Engine, audience: Audience, by: Sequence[str]) -> exp.Select:
        """The columns and traits of `by`, of everyone."""
        statement = _statement(self.side(audience), self.entity(audience))
        statement.column("k0", exp.cast(statement.key(), "string"))
        for number, name in enumerate(by):
            statement.column(f"b{number}", breakdown.value(statement, name))
        query = statement.query("those who move")
        return self._pinned(engine, query.select, query.tables, "moved")


def _apart(select: exp.Select, mark: str) -> exp.Select:
    """A query that shares no name of a CTE with another one beside it: Spark SQL lists those of all subqueries together."""
    ctes = {cte.alias: cte for with_ in select.find_all(exp.With) for cte in with_.expressions}
    for table in select.find_all(exp.Table):
        if table.name in ctes and not table.db:
            table.set("alias", table.args.get("alias") or exp.TableAlias(this=table.this.copy()))
            table.set("this", exp.to_identifier(f"{table.name}_{mark}"))
    for name, cte in ctes.items():
        cte.args["alias"].set("this", exp.to_identifier(f"{name}_{mark}"))
    return select


def check(side: Side, entity: str, by: str) -> None:
    """Check that people of an entity may be broken down by a column or trait.

    Raises:
        UsageError: there is none of this name, or it has no single value.
        RefusedError: it tells single people apart, or is of a class that no query may read.
    """
    breakdown.check(Sight(Governor.of(side.project)), _statement(side, entity), by)


def _statement(side: Side, entity: str) -> Statement:
    return Statement(side.project, side.project.entities[entity], side.clock)


def _protected(rows: Sequence[Mapping[str, Any]], by: Sequence[str]) -> Movement:
    """The counts, none of them small and none that a small one follows from."""
    totals = {"stay": 0, "enter": 0, "leave": 0}
    for row in rows:
        totals[_move(row)] += row["people"]
    totals |= {"before": totals["stay"] + totals["leave"], "after": totals["stay"] + totals["enter"]}
    table = Table()
    for name in COUNTS:
        table.cell(name, totals[name], _RANKS[name])
    table.whole("before", ("stay", "leave"))
    table.whole("after", ("stay", "enter"))
    lines = [_lines(rows, f"b{number}") for number in range(len(by))]
    for number, values in enumerate(lines):
        for value, moves in values.items():
            for move, people in moves.items():
                table.cell((number, value, move), people, _RANKS["stay"] - 1)
        for move in ("enter", "leave") if values else ():
            table.whole(move, [(number, value, move) for value in values])
    shown = table.shown()
    splits = [
        Split(name, tuple((value, shown[number, value, "enter"], shown[number, value, "leave"]) for value in lines[number]))
        for number, name in enumerate(by)
    ]
    return Movement({name: shown[name] for name in COUNTS}, tuple(splits))


def _move(row: Mapping[str, Any]) -> str:
    return _MOVES.get((row["was"], row["now"]), "stay")


def _lines(rows: Sequence[Mapping[str, Any]], column: str) -> dict[str, dict[str, int]]:
    """Who enters and leaves by the values of a column, in order.

    A value of few people has no line of its own, as the value may say who it is; nor have more than there is room for.
    """
    found: dict[str | None, dict[str, int]] = {}
    for row in rows:
        if (move := _move(row)) != "stay":
            found.setdefault(row[column], {"enter": 0, "leave": 0})[move] += row["people"]
    many = {value for value, moves in found.items() if max(moves.values()) >= SMALL}
    own = set(sorted((value for value in many if value is not None), key=lambda value: (-sum(found[value].values()), value))[:MOST])
    kept: dict[str, dict[str, int]] = {}
    for value in sorted(found, key=lambda value: (value not in own, value is None, value or "")):
        line = kept.setdefault(NONE if value is None else value if value in own else OTHERS, {"enter": 0, "leave": 0})
        for move, people in found[value].items():
            line[move] += people
    return kept
