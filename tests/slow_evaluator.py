"""The slow, obvious meaning of the language: YAML trees over rows of dicts, one person and one row at a time.

It knows nothing of how cdp binds and compiles: a word is looked up when it is met, a measure walks over all rows, a window
is a span of days that a row's days lie in or not. What it says is what the language means (docs/segments.md).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from cdp.spec.base import Text
from cdp.spec.model import VERBS
from tests import slow_measures
from tests.slow_calendar import WEEKDAYS, WINDOWS, Span, compare, completed, literal, local_day, minutes, returns
from tests.slow_windows import both, point, window

Tree = Any
ROW = "row"  # the type of an operand that is a whole row


@dataclass(frozen=True)
class Model:
    """Documents by kind and name, as they are written."""

    config: Mapping[str, Tree]
    entities: Mapping[str, Mapping[str, Tree]]
    traits: Mapping[str, Mapping[str, Tree]]
    segments: Mapping[str, Mapping[str, Tree]]
    value_sets: Mapping[str, Mapping[str, Tree]]

    @classmethod
    def of(cls, documents: Sequence[Mapping[str, Tree]]) -> Model:
        """A model of whole documents; those of other kinds are left out."""
        named: dict[str, dict[str, Mapping[str, Tree]]] = {kind: {} for kind in ("entity", "trait", "segment", "value_set")}
        config: Mapping[str, Tree] = {}
        for document in documents:
            if document["kind"] == "project":
                config = document
            elif document["kind"] in named:
                named[document["kind"]][document["name"]] = document
        return cls(config, named["entity"], named["trait"], named["segment"], named["value_set"])

    def codes(self, name: str) -> dict[str, set[str]]:
        """The members of a value set by code system."""
        spec = self.value_sets[name]
        found = {spec.get("system", ""): set(map(str, spec.get("codes", ())))}
        for other in spec.get("include", ()):
            for system, codes in self.codes(other).items():
                found[system] = found.get(system, set()) | codes
        for other in spec.get("exclude", ()):
            for system, codes in self.codes(other).items():
                found[system] = found.get(system, set()) - codes
        return {system: codes for system, codes in found.items() if codes}

    def same(self, what: str, one: str, other: str) -> bool:
        """Whether two words name one code system (`code_systems`) or one unit (`units`)."""
        for name, others in self.config.get(what, {}).items():
            names = {name, *(others.get("same_as", ()) if isinstance(others, dict) else others)}
            if one in names and other in names:
                return True
        return one == other


@dataclass(frozen=True, eq=False)
class Row:
    """A row of an entity; None for the values of a row that a to-one relation does not find."""

    entity: str
    values: Mapping[str, Any] | None

    def get(self, name: str) -> Any:
        return None if self.values is None else self.values.get(name)


@dataclass(frozen=True)
class Here:
    """The row at hand, the name that it was given, and the rows around it."""

    row: Row
    name: str = ""
    outer: Here | None = None

    def around(self) -> Iterator[Here]:
        """This row and those around it, innermost first."""
        at: Here | None = self
        while at is not None:
            yield at
            at = at.outer

    def named(self, name: str) -> Here | None:
        return next((at for at in self.around() if at.name == name), None)


@dataclass(frozen=True)
class Operand:
    """A value with what its literals need: its type, the declaration of its column, and the row that holds unit and code system."""

    value: Any
    type: str
    column: Mapping[str, Tree] = field(default_factory=dict)
    row: Row | None = None
    aggregate: Any = None  # of an aggregate: unit -> its value over the rows of that unit


class World:
    """A model, rows by entity and a clock.

    Args:
        model: the documents.
        tables: the rows of each entity that has a table: text, int, Decimal, float, bool, date, aware datetime, list, dict.
        as_of: with the project's time zone.
    """

    def __init__(self, model: Model, tables: Mapping[str, Sequence[Mapping[str, Any]]], as_of: dt.datetime) -> None:
        self.model = model
        self.tables = tables
        self.now = as_of
        self.zone = ZoneInfo(str(model.config["timezone"]))
        self.today: dt.date = as_of.astimezone(self.zone).date()
        self._rows: dict[str, list[Row]] = {}
        self._traits: dict[tuple[int, str], Operand] = {}

    # -- questions ----------------------------------------------------------------------------------------------------

    def members(self, entity: str, where: Tree) -> list[Row]:
        """The rows of an entity for which a condition is true."""
        return [row for row in self.rows(entity) if self.holds(Here(row, entity), where)]

    def rows(self, entity: str) -> list[Row]:
        """The rows that exist at the clock."""
        if entity not in self._rows:
            spec = self.model.entities[entity]
            if "from" in spec:
                found = slow_measures.grouped(self, entity)
            else:
                found = [Row(entity, values) for values in self.tables.get(entity, ())]
                if spec.get("where") is not None:
                    found = [row for row in found if self.holds(Here(row, entity), spec["where"])]
            self._rows[entity] = [row for row in found if spec.get("future") == "visible" or not self._later(row)]
        return self._rows[entity]

    def _later(self, row: Row) -> bool:
        began = row.get(self.time_columns(row.entity)[0] or "")
        return began is not None and (began > self.now if isinstance(began, dt.datetime) else began > self.today)

    def time_columns(self, entity: str) -> tuple[str | None, str | None]:
        """The columns of an entity's time: its start, and of an interval its end."""
        time = self.model.entities[entity].get("time")
        return (time["start"], time["end"]) if isinstance(time, dict) else (time, None)

    def days(self, row: Row) -> Span | None:
        """The days that a row covers; None without a start. An interval without an end goes on."""
        start, end = self.time_columns(row.entity)
        first = local_day(row.get(start or ""), self.zone)
        if first is None:
            return None
        return Span(first, local_day(row.get(end), self.zone) if end else first)

    # -- conditions ---------------------------------------------------------------------------------------------------

    def holds(self, here: Here, tree: Tree) -> bool:
        """Whether a condition is true of the row at hand."""
        if isinstance(tree, list):
            return all(self.holds(here, part) for part in tree)
        if "n_of" in tree:
            how_many = sum(self.holds(here, part) for part in tree["n_of"])
            return self.test(here, Operand(how_many, "integer"), tree["is"])
        if verbs := [key for key in tree if key in VERBS]:
            return slow_measures.holds(self, here, verbs[0], tree)
        return all(self._keyed(here, key, value, tree) for key, value in tree.items() if key != "with")

    def _keyed(self, here: Here, key: str, value: Tree, tree: Tree) -> bool:
        if key == "all":
            return all(self.holds(here, part) for part in value)
        if key == "any":
            return any(self.holds(here, part) for part in value)
        if key == "not":
            return not self.holds(here, value)
        if key == "segment":
            where = filled(self.model.segments[value]["where"], tree.get("with") or {})
            return self.holds(Here(here.row, here.row.entity), where)
        if key == "age" and isinstance(value, dict) and ("at" in value or "unit" in value):
            at = point(self, here, value["at"]) if "at" in value else self.today
            rest = {op: operand for op, operand in value.items() if op not in ("at", "unit")}
            return self.test(here, self._age(here.row, at, value.get("unit", "years")), rest)
        return self.test(here, self.operand(here, key), value)

    def test(self, here: Here, operand: Operand, tree: Tree) -> bool:
        """Whether a value passes `tree`: a scalar, a list, null or operators."""
        if tree is None:
            return operand.value is None
        if not isinstance(tree, dict):
            tree = {"in" if isinstance(tree, list) else "eq": tree}
        ignore_case = tree.get("ignore_case") == "true"
        return all(self._operator(here, operand, op, right, ignore_case) for op, right in tree.items() if op != "ignore_case")

    def _operator(self, here: Here, operand: Operand, op: str, right: Tree, ignore_case: bool) -> bool:
        if op in ("is_null", "not_null"):
            return (operand.value is None) == ((op == "is_null") == (right.lower() in ("true", "yes", "on")))
        if operand.value is None:
            return False
        if op in WINDOWS:
            day = local_day(operand.value, self.zone)
            span = window(self, here, op, right)
            return span is not None and span.meets(Span(day, day))
        if op == "anniversary":
            return self._anniversary(here, operand, right)
        if op == "time_of_day":
            moment = operand.value.astimezone(self.zone)
            at, start, end = moment.hour * 60 + moment.minute, minutes(right[0]), minutes(right[1])
            return start <= at < end if start < end else at >= start or at < end
        if op == "weekday":
            day = local_day(operand.value, self.zone)
            return day is not None and WEEKDAYS[day.weekday()] in (right if isinstance(right, list) else [right])
        if op in ("in", "not_in"):
            return self._in(here, operand, right, ignore_case, wanted=op == "in")
        if op in ("any_of", "all_of"):
            return self._holds_some(operand, right, every=op == "all_of")
        if op == "between":
            return self._compare(here, operand, "gte", right[0]) and self._compare(here, operand, "lte", right[1])
        return self._compare(here, operand, op, right, ignore_case)

    def _anniversary(self, here: Here, operand: Operand, tree: Tree) -> bool:
        spans = [window(self, here, word, part) for word, part in tree.items()]
        day = local_day(operand.value, self.zone)
        return day is not None and all(span is not None for span in spans) and returns(day, both(spans))

    def _compare(self, here: Here, operand: Operand, op: str, right: Tree, ignore_case: bool = False) -> bool:
        if isinstance(right, dict):
            return compare(op, operand.value, self.around(here, right["ref"]).value, self.zone, ignore_case=ignore_case)
        if not operand.column.get("unit"):
            return compare(op, operand.value, literal(right, operand.type, self.zone), self.zone, ignore_case=ignore_case)
        number, unit = right.split(maxsplit=1)
        value = operand.aggregate(unit) if operand.aggregate else self.in_unit(operand.value, operand.column, operand.row, unit)
        return compare(op, value, literal(number, operand.type, self.zone), self.zone)

    def in_unit(self, value: Any, column: Mapping[str, Tree], row: Row | None, unit: str) -> Fraction | None:
        """A number in a unit: as it stands or converted; None where the row's own unit is another one or not known."""
        if value is None or row is None:
            return None
        written = column["unit"]
        has = row.get(written) if written in self.model.entities[row.entity].get("columns", {}) else written
        if has is None:
            return None
        if self.model.same("units", has, unit):
            return Fraction(value)
        for name, spec in self.model.config.get("units", {}).items():
            if "to" in spec and ("of" not in spec or self._coded(row, spec["of"])):
                if self.model.same("units", has, name) and self.model.same("units", spec["to"], unit):
                    return Fraction(value) * Fraction(spec["times"])
                if self.model.same("units", has, spec["to"]) and self.model.same("units", name, unit):
                    return Fraction(value) / Fraction(spec["times"])
        return None

    def _coded(self, row: Row, value_set: str) -> bool:
        """Whether a code of the row is in a value set."""
        columns = self.model.entities[row.entity]["columns"]
        return any(self._in_set(Operand(row.get(n), "code", c, row), value_set) for n, c in columns.items() if c.get("type") == "code")

    def _in(self, here: Here, operand: Operand, right: Tree, ignore_case: bool, *, wanted: bool) -> bool:
        if isinstance(right, str):
            return self._in_set(operand, right) == wanted
        if operand.column.get("unit") and not wanted:
            return all(self._compare(here, operand, "ne", item) for item in right)
        return any(self._compare(here, operand, "eq", item, ignore_case) for item in right) == wanted

    def _in_set(self, operand: Operand, name: str) -> bool:
        """Whether the pair of code system and code is a member."""
        members, declared = self.model.codes(name), operand.column.get("system")
        if operand.value is None:
            return False
        if declared:
            assert operand.row is not None
            has = operand.row.get(declared) if declared in self.model.entities[operand.row.entity]["columns"] else declared
            members = {s: codes for s, codes in members.items() if has is not None and self.model.same("code_systems", s, has)}
        strip = operand.column.get("strip")
        known = {code for codes in members.values() for code in codes}
        return operand.value in known or (strip is not None and operand.value in {code.replace(strip, "") for code in known})

    def _holds_some(self, operand: Operand, right: Tree, *, every: bool) -> bool:
        if isinstance(right, str):
            return any(self._in_set(Operand(item, operand.type, operand.column, operand.row), right) for item in operand.value)
        found = [any(compare("eq", item, literal(text, operand.type, self.zone), self.zone) for item in operand.value) for text in right]
        return all(found) if every else any(found)

    # -- names --------------------------------------------------------------------------------------------------------

    def operand(self, here: Here, path: str) -> Operand:
        """What a name or path stands for: on a row that has that name, or on the row at hand."""
        head, _, rest = path.partition(".")
        if rest and not self._has(here.row, head) and (at := here.named(head)) is not None:
            return self._on(at.row, rest)
        return self._on(here.row, path)

    def around(self, here: Here, path: str) -> Operand:
        """The same for a point in time or a `ref`, which is looked for on the rows around as well."""
        head, _, rest = path.partition(".")
        for at in here.around():
            if self._has(at.row, head):
                return self._on(at.row, path)
            if rest and at.name == head:
                return self._on(at.row, rest)
        raise LookupError(path)

    def _has(self, row: Row, head: str) -> bool:
        entity = self.model.entities[row.entity]
        places = (entity.get("columns", {}), entity.get("relations", {}), entity.get("group_by", {}))
        return head == "age" or any(head in place for place in places) or self._trait(row.entity, head) is not None

    def _trait(self, entity: str, name: str) -> Mapping[str, Tree] | None:
        trait = self.model.traits.get(name)
        return trait if trait is not None and trait["entity"] == entity else None

    def _on(self, row: Row, path: str) -> Operand:
        head, _, rest = path.partition(".")
        entity = self.model.entities[row.entity]
        if head in entity.get("relations", {}):
            found = self.follow(row, head)
            one = found[0] if found else Row(entity["relations"][head]["one"], None)
            return self._on(one, rest) if rest else Operand(one if found else None, ROW, {}, one)
        if head in entity.get("columns", {}) or head in entity.get("group_by", {}):
            return self._column(row, head, rest)
        if head == "age":
            return self._age(row, self.today)
        trait = self._trait(row.entity, head)
        if trait is None:
            raise LookupError(f"{row.entity} has no {head}")
        if (id(row), head) not in self._traits:
            self._traits[id(row), head] = slow_measures.trait(self, Here(row, row.entity), trait)
        value = self._traits[id(row), head]
        if not rest:
            return value
        if value.type == "cover":
            kind = {"share": "double", "first_fill": "date", "until": "date"}.get(rest, "integer")
            return Operand(value.value and value.value[rest], kind)
        return self._on(value.value or Row(value.column["entity"], None), rest)

    def _column(self, row: Row, name: str, rest: str) -> Operand:
        spec = self.model.entities[row.entity].get("columns", {}).get(name, {})
        value = row.get(name)
        if rest == "day" and not spec.get("fields"):
            return Operand(local_day(value, self.zone), "date")
        if rest:
            return Operand(value and value.get(rest), spec["fields"][rest])
        return Operand(value, slow_measures.column_type(self.model, row.entity, name), spec, row)

    def _age(self, row: Row, at: dt.date | None, unit: str = "years") -> Operand:
        born = next(row.get(n) for n, c in self.model.entities[row.entity]["columns"].items() if c.get("role") == "birth_date")
        return Operand(None if born is None or at is None else completed(born, at, unit), "integer")

    def follow(self, row: Row, relation: str) -> list[Row]:
        """The rows that a relation of this row leads to."""
        spec = self.model.entities[row.entity]["relations"][relation]
        target = spec.get("many") or spec["one"]
        via = spec["via"]
        if isinstance(via, str):
            mine, theirs = self.model.entities[row.entity].get("key"), self.model.entities[target].get("key")
            via = {via: mine} if "many" in spec else {theirs: via}
        pairs = [(theirs, row.get(mine)) for theirs, mine in via.items()]
        if any(value is None for _, value in pairs):
            return []
        return [other for other in self.rows(target) if all(other.get(theirs) == value for theirs, value in pairs)]


def filled(tree: Tree, given: Mapping[str, Tree]) -> Tree:
    """A template's condition with the values of its parameters in place of `$name`."""
    if isinstance(tree, list):
        return [filled(part, given) for part in tree]
    if isinstance(tree, dict):
        return {key: filled(part, given) for key, part in tree.items()}
    if isinstance(tree, str) and not getattr(tree, "quoted", False) and "$" in tree:
        return Text(re.sub(r"\$(\w+)", lambda match: str(given[match[1]]), tree))
    return tree
