"""Fixtures: the made-up rows of a test, every value typed by the column that it stands for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cdp.project.language.literals import literal, quantity
from cdp.project.language.names import link
from cdp.project.terms import ColumnRef, OneOf, Value
from cdp.project.terms.parts import rests_on
from cdp.project.trials.contacts import reaches_a_person
from cdp.project.trials.passing import passing, tested
from cdp.spec.base import Tree
from cdp.spec.model import Column, ColumnType, Entity, ValueSet

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

WHOLE, PLACES = 18, 10  # digits of a decimal in a test
Cell = Value | float | tuple[Value | float, ...] | Mapping[str, Any] | None  # of an array, a tuple; of a struct, its fields
Said = Mapping[str, Sequence[tuple[Tree, "Place"]]]  # what a row says of a column or relation; of a relation in several places


@dataclass(frozen=True, slots=True)
class Fixture:
    """A row: its values by column, and the rows that it leads to by relation. What it does not say is null."""

    entity: str
    values: Mapping[str, Cell]
    related: Mapping[str, tuple[Fixture, ...]]


@dataclass
class Fixtures:
    """Binds the rows of one segment's or trait's tests.

    Attributes:
        term: what is tested: the value sets in it say which code system a bare code is of.
    """

    binder: Binder
    term: object
    _systems: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    _named: dict[tuple[str, str], list[ValueSet]] | None = None
    _passing: dict[object, dict[str, object] | None] = field(default_factory=dict)

    def member(self, said: Said, entity: Entity, at: Place, words: tuple[str, ...] = ()) -> Fixture:
        """The row that a test is about, with all that hangs on it; mistakes are reported where they stand.

        `words` may stand beside its columns and relations, and so may be what a wrong one was meant to be.
        """
        values: dict[str, Cell] = {}
        for name, places in said.items():
            if name in entity.columns:
                self._fill(name, *places[-1], entity, values, said)
            elif name not in entity.relations:
                _unknown(self.binder, name, entity, words, places[-1][1])
        self._complete(entity, values, at)
        related = {
            name: tuple(row for tree, place in said[name] for row in self._rows(name, tree, entity, values, place))
            for name in said
            if name in entity.relations and name not in entity.columns
        }
        return Fixture(entity.name, values, related)

    def _row(self, tree: Tree, entity: Entity, at: Place) -> Fixture | None:
        if not isinstance(tree, dict):
            return at.wrong(f"a row of {entity.name} is a mapping of its columns, such as {{{next(iter(entity.columns), 'column')}: ...}}")
        return self.member({name: [(part, at.child(name))] for name, part in tree.items()}, entity, at)

    def _rows(self, name: str, tree: Tree, entity: Entity, values: Mapping[str, Cell], at: Place) -> Iterator[Fixture]:
        """The rows that a relation leads to; in a tree of many each is a mapping of a list."""
        relation = entity.relations[name]
        target = self.binder.project.entities.get(relation.one or relation.many or "")
        if target is None or tree is None:
            return  # an entity that is not there is reported where the relation is declared
        if made := _made_of(target):
            at.wrong(f"rows of {target.name} are computed", hint=f"give the rows that they are made of: {made}", key=True)
            return
        if relation.many and not isinstance(tree, list):
            at.wrong(f"{name} leads to many rows: a list of mappings is expected")
            return
        on = link(name, relation, entity, target).on
        for part, place in [(tree, at)] if relation.one else [(part, at.child(number)) for number, part in enumerate(tree)]:
            row = self._row(part, target, place)
            if row is not None and all(_hangs(row, theirs, values, mine, target, place) for theirs, mine in on):
                yield row

    # -- values -----------------------------------------------------------------------------------------------------

    def _fill(self, name: str, tree: Tree, at: Place, entity: Entity, values: dict[str, Cell], explicit: Said) -> None:
        """Give a column its value, and the columns of its unit and code system theirs where the row does not say them."""
        column = entity.columns[name]
        if held := _real_person(tree, column):
            at.wrong(f"{held} that may be a real person's", hint="use @example.org, or a number from 555-0100 to 555-0199")
            return
        if column.unit and isinstance(tree, str) and column.unit not in explicit:
            measured = quantity(tree, at)
            if measured is None or not self._unit(column.unit, measured[1], entity, values, at):
                return
            tree = type(tree)(measured[0])
        value = self._value(tree, column, at)
        values[name] = value
        if isinstance(value, str) and column.system in entity.columns and column.system not in explicit:
            values[column.system] = self._system(entity.name, name, value)

    def _unit(self, declared: str, unit: str, entity: Entity, values: dict[str, Cell], at: Place) -> bool:
        """Note the unit of a quantity; False where the column has another one for all of its rows."""
        if declared in entity.columns:
            values[declared] = unit
            return True
        known_as = self.binder.unit_names(declared)
        if unit not in known_as:
            at.wrong(f"every row of this column is in {declared}, not in {unit}", valid=known_as)
        return unit in known_as

    def _value(self, tree: Tree, column: Column, at: Place) -> Cell:
        if tree is None:
            return None
        if column.fields:
            return self._struct(tree, column, at)
        if column.array:
            if not isinstance(tree, list):
                return at.wrong("the column holds a list of values", hint="write [...]")
            return tuple(v for number, part in enumerate(tree) if (v := _scalar(part, column.type, at.child(number))) is not None)
        return _scalar(tree, column.type, at)

    def _struct(self, tree: Tree, column: Column, at: Place) -> Mapping[str, Any] | None:
        """The fields of a struct, nested as the paths of `fields` say."""
        if not isinstance(tree, dict):
            return at.wrong("the column holds fields: a mapping is expected", valid=column.fields)
        paths = dict(_leaves(tree))
        for path in set(paths) - set(column.fields):
            at.child(*path.split(".")).wrong(f"unknown field {path!r}", value=path, valid=column.fields, key=True)
        nested: dict[str, Any] = {}
        for path, kind in column.fields.items():
            *outer, last = path.split(".")
            here = nested
            for part in outer:
                here = here.setdefault(part, {})
            part_tree = paths.get(path)
            here[last] = None if part_tree is None else _scalar(part_tree, kind, at.child(*path.split(".")))
        return nested

    def _complete(self, entity: Entity, values: dict[str, Cell], at: Place) -> None:
        """Let the row pass the entity's own `where`, unless what it says itself keeps it out."""
        own = self.binder.project.bound.entities.get(entity.name)
        if own is None:
            return
        asked = (entity.name, *((name, repr(values[name]) if name in values else "") for name in tested(own)))
        if asked not in self._passing:
            self._passing[asked] = passing(own, values)
        found = self._passing[asked]
        if found is not None:
            values.update({name: value for name, value in found.items() if value is not None})  # type: ignore[misc]
        elif missing := [name for name in tested(own) if name not in values]:
            hint = f"give {', '.join(missing)}"
            at.wrong(f"no value is found with which the row passes the own `where` of {entity.name}", hint=hint)

    # -- code systems -----------------------------------------------------------------------------------------------

    def _system(self, entity: str, column: str, code: str) -> str | None:
        """The system of a code: of the value sets that the tested conditions name for its column, else of the first that holds it."""
        asked = (entity, column, code)
        if asked not in self._systems:
            named = self._value_sets().get((entity, column), [])
            holders = (part.system for sets in (named, self.binder.project.value_sets.values()) for part in _holding(sets, code))
            others = (part.system for value_set in named for part in value_set.members)
            self._systems[asked] = next(holders, next(others, None))
        return self._systems[asked]

    def _value_sets(self) -> dict[tuple[str, str], list[ValueSet]]:
        if self._named is None:
            self._named = {}
            for part in rests_on(self.term, self.binder.project):
                if isinstance(part, OneOf) and part.named and isinstance(part.operand, ColumnRef):
                    value_set = self.binder.project.value_sets.get(part.named)
                    at = (part.operand.entity, part.operand.column)
                    self._named.setdefault(at, []).extend([value_set] if value_set else [])
        return self._named


def _scalar(tree: Tree, kind: ColumnType, at: Place) -> Value | float | None:
    """A literal as a row holds it: a day of a timestamp column is that day's first moment."""
    value = literal(tree, kind, at)
    if kind == "timestamp" and isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return dt.datetime.combine(value, dt.time.min)
    if kind == "double" and isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Decimal) and (value.adjusted() >= WHOLE or value != round(value, PLACES)):
        return at.wrong(f"a number has at most {WHOLE} digits before the point and {PLACES} after it")
    return value


def _holding(sets: Any, code: str) -> Iterator[Any]:
    return (part for value_set in sets for part in value_set.members if code in part.codes)


def _leaves(tree: Mapping[str, Tree], before: str = "") -> Iterator[tuple[str, Tree]]:
    for name, part in tree.items():
        if isinstance(part, dict):
            yield from _leaves(part, f"{before}{name}.")
        else:
            yield f"{before}{name}", part


def _real_person(tree: Tree, column: Column) -> str:
    """What a fixture holds that may reach a real person. Codes are no telephone numbers."""
    if isinstance(tree, (list, dict)):
        each = tree if isinstance(tree, list) else tree.values()
        return next((held for part in each if (held := _real_person(part, column))), "")
    if not isinstance(tree, str) or column.type != "string":
        return ""
    return reaches_a_person(tree, a_phone=column.cls.startswith("contact"))


def _hangs(row: Fixture, theirs: str, values: Mapping[str, Cell], mine: str, target: Entity, at: Place) -> bool:
    """Whether a nested row can hang on the one around it: what both say is equal, and what neither says can be made up."""
    said, outer = row.values.get(theirs), values.get(mine)
    if said is not None and outer is not None and said != outer:
        at.child(theirs).wrong(f"{theirs} is what ties this row to the one around it, whose {mine} is another", hint="leave it out")
        return False
    kind = target.columns[theirs].type if theirs in target.columns else "string"
    if said is None and outer is None and kind not in ("string", "code", "integer"):
        at.wrong(f"missing key {theirs!r}: it ties this row to the one around it, and a {kind} is not made up")
        return False
    return True


def _made_of(entity: Entity) -> str:
    return entity.from_ or ("the entities of its SELECT" if entity.sql else "")


def _unknown(binder: Binder, name: str, entity: Entity, words: tuple[str, ...], at: Place) -> None:
    valid = [*entity.columns, *entity.relations, *words]
    if name in binder.traits_of(entity.name):
        return at.wrong(f"{name} is a trait, which is computed", hint="give the rows that it is computed from", key=True)
    if name == "age":
        return at.wrong("age is computed", hint="give the birth date", key=True)
    return at.wrong(f"{entity.name} has no column or relation {name!r}", value=name, valid=valid, key=True)
