"""Measures and traits of the slow evaluator: which related rows there are, what is left of them, what they come to."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp

from cdp.spec.model import VERBS
from tests import slow_evaluator as slow
from tests.slow_calendar import ONE_DAY, WINDOWS, Span, comparable, counts, kind_of, literal, local_day, shift
from tests.slow_windows import both, window

if TYPE_CHECKING:
    from tests.slow_evaluator import Here, Model, Operand, Row, World

Tree = Any
PICKS = ("latest", "earliest")
AGGREGATES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "sum": sum,
    "avg": lambda values: Fraction(sum(values)) / len(values),
    "min": min,
    "max": max,
}


def holds(world: World, here: Here, verb: str, tree: Mapping[str, Tree]) -> bool:
    """Whether a measure with its `is` is true of the row at hand."""
    if "each" in tree:
        return _each(world, here, verb, tree)
    found = competing(world, here, verb, tree)
    if verb in ("has", "lacks"):
        return bool(found) == (verb == "has")
    if verb in PICKS and "of" not in tree and tree["is"] is not None:
        picked = pick(world, verb, tree, found)
        return picked is not None and world.holds(slow.Here(picked, tree.get("as", ""), here), tree["is"])
    return world.test(here, value_of(world, here, verb, tree, found), tree["is"])


def trait(world: World, here: Here, spec: Mapping[str, Tree]) -> Operand:
    """The value of a trait on the row at hand."""
    if "case" in spec:
        branches = spec["case"]
        texts = [value for branch in branches if (value := branch.get("then", branch.get("else"))) is not None]
        kind = spec.get("type") or kind_of(texts)
        for branch in branches:
            if "when" not in branch or world.holds(here, branch["when"]):
                text = branch.get("then", branch.get("else"))
                return slow.Operand(None if text is None else literal(text, kind, world.zone), kind)
        return slow.Operand(None, kind)
    if "expr" in spec:
        return slow.Operand(formula(world, here, spec["expr"]), spec["type"])
    verb = next(key for key in spec if key in VERBS)
    return value_of(world, here, verb, spec, competing(world, here, verb, spec))


# -- which rows -------------------------------------------------------------------------------------------------------


def competing(world: World, here: Here, verb: str, tree: Mapping[str, Tree], *also: Span) -> list[Row]:
    """The related rows that pass `where` and lie in the window."""
    found = []
    for row in _related(world, here, tree[verb]):
        inner = slow.Here(row, tree.get("as", ""), here)
        if tree.get("where") is not None and not world.holds(inner, tree["where"]):
            continue
        spans = [*also, *(window(world, inner, word, tree[word]) for word in WINDOWS if tree.get(word) is not None)]
        if spans:
            days = world.days(row)
            if days is None or any(span is None for span in spans) or not both(spans).meets(days):
                continue
        found.append(row)
    return found


def _related(world: World, here: Here, path: str) -> list[Row]:
    head, *steps = path.split(".")
    relations = world.model.entities[here.row.entity].get("relations", {})
    at = None if head in relations else here.named(head)
    rows = [at.row] if at is not None else world.follow(here.row, head)
    for step in steps:
        rows = [other for row in rows for other in world.follow(row, step)]
    return rows


def _each(world: World, here: Here, verb: str, tree: Mapping[str, Tree]) -> bool:
    """One measure for each bucket: the nth is (as_of - n, as_of - (n - 1)]."""
    unit, near, far = counts(tree["each"])
    values = []
    for n in range(far, max(near, 1) - 1, -1):
        bucket = Span(shift(world.today, -n, unit) + ONE_DAY, shift(world.today, -(n - 1), unit))
        values.append(value_of(world, here, verb, tree, competing(world, here, verb, tree, bucket)))
    if tree["is"] not in ("rising", "falling"):
        return all(world.test(here, value, tree["is"]) for value in values)
    numbers = [comparable(value.value) for value in values]
    ordered = numbers if tree["is"] == "rising" else numbers[::-1]
    return all(earlier is not None and later is not None and earlier < later for earlier, later in pairwise(ordered))


def pick(world: World, verb: str, tree: Mapping[str, Tree], rows: Sequence[Row]) -> Row | None:
    """The row that `latest` or `earliest` picks: by moment or day, then `ties` (nulls lose), then the key."""
    best = max if verb == "latest" else min

    def moment(row: Row) -> Any:
        time = row.get(world.time_columns(row.entity)[0] or "")
        return local_day(time, world.zone) if tree.get("by") == "day" else time

    dated = [row for row in rows if moment(row) is not None]
    if not dated:
        return None
    extreme = best(map(moment, dated))
    left = [row for row in dated if moment(row) == extreme]
    if tree.get("ties"):
        ((column, order),) = tree["ties"].items()
        values = {id(row): comparable(world.operand(slow.Here(row), column).value) for row in left}
        if known := [value for value in values.values() if value is not None]:
            wins = min(known) if order == "lowest" else max(known)
            left = [row for row in left if values[id(row)] == wins]
    return best(left, key=lambda row: _key(world, row))


def _key(world: World, row: Row) -> tuple[str, ...]:
    entity = world.model.entities[row.entity]
    return tuple(str(row.get(name) or "") for name in ([entity["key"]] if entity.get("key") else entity["group_by"]))


# -- what they come to ------------------------------------------------------------------------------------------------


def value_of(world: World, here: Here, verb: str, tree: Mapping[str, Tree], rows: Sequence[Row]) -> Operand:
    """The value of a measure over the rows that compete."""
    if verb == "count":
        return slow.Operand(_count(world, tree, rows), "integer")
    if verb == "days_covered":
        return _covered(world, here, tree, rows)
    if verb in PICKS:
        picked = pick(world, verb, tree, rows)
        if "of" not in tree:
            return slow.Operand(picked, slow.ROW, {"entity": _target(world, here, tree[verb])})
        return _of(world, here, picked or slow.Row(_target(world, here, tree[verb]), None), tree["of"])
    if verb in AGGREGATES:
        return _aggregate(world, here, verb, tree, rows)
    shape = _of(world, here, slow.Row(_target(world, here, tree[verb]), None), tree["of"])
    values = [value for row in _ordered(world, tree, rows) if (value := _of(world, here, row, tree["of"]).value) is not None]
    if verb == "list":
        values = values[: int(tree["limit"])] if tree.get("limit") else values
        return slow.Operand(values or None, shape.type, shape.column)
    counted = Counter(map(comparable, values))
    commonest = [value for value, count in counted.items() if count == max(counted.values())]
    return slow.Operand(min(commonest, default=None), shape.type, {k: v for k, v in shape.column.items() if k != "unit"})


def _target(world: World, here: Here, path: str) -> str:
    head, *steps = path.split(".")
    relations = world.model.entities[here.row.entity].get("relations", {})
    at = None if head in relations else here.named(head)
    entity = here.row.entity if at is None else at.row.entity
    for step in steps if at is not None else [head, *steps]:
        relation = world.model.entities[entity]["relations"][step]
        entity = relation.get("many") or relation["one"]
    return entity


def _count(world: World, tree: Mapping[str, Tree], rows: Sequence[Row]) -> int:
    """How many rows; with `distinct` values or days; with `spaced` days that lie apart, greedily from the earliest."""
    if tree.get("distinct") and tree["distinct"] != "day":
        return len({value for row in rows if (value := comparable(world.operand(slow.Here(row), tree["distinct"]).value)) is not None})
    if not tree.get("distinct") and not tree.get("spaced"):
        return len(rows)
    days = sorted({span.first for row in rows if (span := world.days(row)) is not None and span.first is not None})
    if not tree.get("spaced"):
        return len(days)
    kept: list[dt.date] = []
    for day in days:
        if not kept or (day - kept[-1]).days >= int(tree["spaced"]["days"]):
            kept.append(day)
    return len(kept)


def _ordered(world: World, tree: Mapping[str, Tree], rows: Sequence[Row]) -> list[Row]:
    """Rows by their time (those without one last), then their key; by the value itself where there is no time."""

    def place(row: Row) -> tuple[Any, ...]:
        time = row.get(world.time_columns(row.entity)[0] or "")
        if time is None and world.time_columns(row.entity)[0] is None:
            time = comparable(world.operand(slow.Here(row), tree["of"]).value)
        return time is None, time if time is not None else 0, _key(world, row)

    ordered, seen = [], set()
    for row in sorted(rows, key=place):
        span = world.days(row)
        distinct = tree.get("distinct")
        same = span and span.first if distinct == "day" else world.operand(slow.Here(row), distinct).value if distinct else id(row)
        if same not in seen and same is not None:
            seen.add(same)
            ordered.append(row)
    return ordered


def _aggregate(world: World, here: Here, verb: str, tree: Mapping[str, Tree], rows: Sequence[Row]) -> Operand:
    shape = _of(world, here, slow.Row(_target(world, here, tree[verb]), None), tree["of"])

    def over(unit: str | None) -> Any:
        operands = [_of(world, here, row, tree["of"]) for row in rows]
        values = [comparable(o.value) if unit is None else world.in_unit(o.value, o.column, o.row, unit) for o in operands]
        known = [value for value in values if value is not None]
        return AGGREGATES[verb](known) if known else None

    return slow.Operand(over(None), "double" if verb == "avg" else shape.type, shape.column, None, over)


def _of(world: World, here: Here, row: Row, text: str) -> Operand:
    """`of`: a column of the row, a path, or an expression."""
    at = slow.Here(row, "", here)
    if all(part.isidentifier() for part in text.split(".")):
        return world.operand(at, text)
    return slow.Operand(formula(world, at, text), "integer" if "_between" in text else "decimal")


def formula(world: World, here: Here, text: str) -> Any:
    """A small part of SQL: names, numbers, + - *, COALESCE and completed days and weeks between two days."""

    def value(node: exp.Expr) -> Any:
        if isinstance(node, exp.Paren):
            return value(node.this)
        if isinstance(node, exp.Literal):
            return str(node.this) if node.is_string else Fraction(str(node.this))
        if isinstance(node, exp.Column):
            path = ".".join(part.name for part in node.parts)
            return world.today if path == "as_of" else comparable(world.operand(here, path).value)
        if isinstance(node, exp.Coalesce):
            return next((found for part in [node.this, *node.expressions] if (found := value(part)) is not None), None)
        if isinstance(node, exp.Anonymous):
            first, last = (local_day(value(part), world.zone) for part in node.expressions)
            days = None if first is None or last is None else (last - first).days
            return days if days is None or node.name == "days_between" else int(days / 7)
        left, right = value(node.this), value(node.expression)
        if left is None or right is None:
            return None
        return {exp.Add: lambda: left + right, exp.Sub: lambda: left - right, exp.Mul: lambda: left * right}[type(node)]()

    return value(sqlglot.parse_one(text, dialect="spark"))


def _covered(world: World, here: Here, tree: Mapping[str, Tree], rows: Sequence[Row]) -> Operand:
    """`days_covered`: fills that share `same` are shifted so that they follow each other, others overlap."""
    (word,) = [word for word in WINDOWS if tree.get(word) is not None]
    span = window(world, here, word, tree[word])
    assert span is not None
    end = span.last or world.today
    supplies: dict[Any, Counter[dt.date]] = {}
    for row in rows:
        at = slow.Here(row, "", here)
        supply, day = world.operand(at, tree["supply"]).value, local_day(row.get(world.time_columns(row.entity)[0] or ""), world.zone)
        same = world.operand(at, tree["same"]).value if tree.get("same") else None
        if day is not None and supply is not None and supply > 0:
            supplies.setdefault(same, Counter())[day] += int(supply)
    if not supplies:
        return slow.Operand(None, "cover") if not tree.get("of") else slow.Operand(None, _cover_type(tree["of"]))
    covered: set[dt.date] = set()
    for fills in supplies.values():
        free = dt.date.min
        for day in sorted(fills):
            begin = max(day, free)
            free = begin + fills[day] * ONE_DAY
            covered |= {begin + n * ONE_DAY for n in range(fills[day])}
    value = _cover(covered, {day for fills in supplies.values() for day in fills}, end)
    return slow.Operand(value[tree["of"]], _cover_type(tree["of"])) if tree.get("of") else slow.Operand(value, "cover")


def _cover(covered: set[dt.date], fills: set[dt.date], end: dt.date) -> dict[str, Any]:
    first = min(fills)
    days = [first + n * ONE_DAY for n in range((end - first).days + 1)]
    gaps, gap = [0], 0
    for day in days:
        gap = 0 if day in covered else gap + 1
        gaps.append(gap)
    held = sum(day in covered for day in days)
    facts = {"days": held, "of_days": len(days), "first_fill": first, "fill_days": len(fills), "until": max(covered)}
    return {**facts, "share": Fraction(held, len(days)), "longest_gap": max(gaps)}


def _cover_type(name: str) -> str:
    return {"share": "double", "first_fill": "date", "until": "date"}.get(name, "integer")


# -- derived entities -------------------------------------------------------------------------------------------------


def grouped(world: World, entity: str) -> list[Row]:
    """The rows of a derived entity: the rows of another one that pass `where`, grouped, with aggregates for columns."""
    spec = world.model.entities[entity]
    source = spec["from"]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in world.rows(source):
        here = slow.Here(row, source)
        if spec.get("where") is None or world.holds(here, spec["where"]):
            groups.setdefault(tuple(world.operand(here, path).value for path in spec["group_by"].values()), []).append(row)
    return [
        slow.Row(entity, {**dict(zip(spec["group_by"], key, strict=True)), **_columns(world, spec, rows)}) for key, rows in groups.items()
    ]


def _columns(world: World, spec: Mapping[str, Tree], rows: Sequence[Row]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, column in spec.get("columns", {}).items():
        here = [slow.Here(row, spec["from"]) for row in rows]
        kept = [at for at in here if column.get("where") is None or world.holds(at, column["where"])]
        if "count" in column:
            values[name] = len(kept)
        verb = next((verb for verb in AGGREGATES if verb in column), None)
        if verb:
            operands = [world.operand(at, column[verb]) for at in kept]
            unit = column.get("unit")
            known = [
                v for o in operands if (v := world.in_unit(o.value, o.column, o.row, unit) if unit else comparable(o.value)) is not None
            ]
            values[name] = AGGREGATES[verb](known) if known else None
    return values


def column_type(model: Model, entity: str, name: str) -> str:
    """The declared type of a column; of a derived entity's column what follows from its source."""
    spec = model.entities[entity]
    column = spec.get("columns", {}).get(name, {})
    if "type" in column or "from" not in spec:
        return str(column.get("type", "string"))
    if "count" in column:
        return "integer"
    if "avg" in column:
        return "double"
    path = next((column[verb] for verb in AGGREGATES if verb in column), spec["group_by"].get(name, ""))
    return "date" if path.endswith(".day") else column_type(model, spec["from"], path)
