"""Names in conditions: what a word or a dotted path stands for, on the row at hand and on the rows around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdp.project.language.scope import Scope
from cdp.project.terms import ColumnRef, Covered, DayOf, Link, Measure, Operand, Picked
from cdp.project.terms.rebase import rebase
from cdp.project.terms.types import COVERS, ROWS, cover, is_row
from cdp.spec.model import Entity, Relation

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place


@dataclass(frozen=True, slots=True)
class Spot:
    """A row: one of `entity`, `up` rows outwards and over `hops` from there."""

    entity: Entity
    up: int
    hops: tuple[Link, ...]

    def column(self, name: str) -> ColumnRef:
        """A declared column of the row."""
        spec = self.entity.columns[name]
        return ColumnRef(self.hops, self.entity.name, name, spec.type, self.up, array=spec.array)

    def key(self) -> ColumnRef:
        """The column that says whether there is such a row."""
        return self.column(self.entity.key)


@dataclass(frozen=True, slots=True)
class Age:
    """`age`: not a value, but what is asked of a birth date."""

    born: ColumnRef


def names_of(binder: Binder, entity: Entity) -> tuple[str, ...]:
    """Every word that a condition on this entity may begin with."""
    age = ("age",) if birth_date(entity) else ()
    return (*entity.columns, *age, *binder.traits_of(entity.name), *entity.relations)


def knows(binder: Binder, entity: Entity, name: str) -> bool:
    """Whether a word is a name on an entity."""
    if name in entity.columns or name in entity.relations or name in binder.traits_of(entity.name):
        return True
    return name == "age" and birth_date(entity) is not None


def birth_date(entity: Entity) -> str | None:
    """The column with the role of birth date, if the entity has one."""
    return next((name for name, column in entity.columns.items() if column.role == "birth_date"), None)


def link(name: str, relation: Relation, entity: Entity, target: Entity) -> Link:
    """A declared relation with its pairs of columns spelled out."""
    if isinstance(relation.via, dict):
        return Link(name, target.name, tuple((theirs, mine) for theirs, mine in relation.via.items()))
    if relation.many:
        return Link(name, target.name, ((relation.via, entity.key),))
    return Link(name, target.name, ((target.key, relation.via),))


def operand(binder: Binder, path: str, scope: Scope, at: Place, *, outward: bool = False) -> Operand | None:
    """What a path stands for: a column, a column over to-one relations, a trait, or a field of a trait's row.

    `outward` looks for its first word on the rows around too, where the row at hand has no such name.
    None after a problem was reported.
    """
    found = resolve(binder, path, scope, at, outward=outward)
    if isinstance(found, Age):
        return at.wrong("age is tested, such as `age: {gte: 18}`; it is not a value", hint=f"use {found.born.column}", key=True)
    return found


def resolve(binder: Binder, path: str, scope: Scope, at: Place, *, outward: bool = False) -> Operand | Age | None:
    """`operand`, where the path may also lead to somebody's age."""
    start = _start(binder, path, scope, at, outward)
    if start is None:
        return None
    spot, rest = start
    followed = follow(binder, path, spot, rest, at)
    if followed is None:
        return None
    spot, head, rest = followed
    if head in spot.entity.columns:
        return _column(spot, head, rest, path, at)
    if head in binder.traits_of(spot.entity.name):
        return _trait(binder, spot, head, rest, path, at)
    if head == "age" and (born := birth_date(spot.entity)):
        return at.wrong(f"{path}: age has no fields", key=True) if rest else Age(spot.column(born))
    if not binder.malformed("trait", head):
        _unknown(binder, path, head, rest, spot, scope, at)
    return None


def _unknown(binder: Binder, path: str, head: str, rest: str, spot: Spot, scope: Scope, at: Place) -> None:
    """Report a word that is no name on the row that a path has come to."""
    before = path.removesuffix(f".{rest}" if rest else "").removesuffix(head)
    valid = [before + name for name in names_of(binder, spot.entity)]
    around = [] if before else [(row, up) for row, up in scope.around() if row is not scope]
    valid += [f"{name}.COLUMN" for row, _ in around for name in row.aliases if not knows(binder, scope.entity, name)]
    hint = ""
    outer = next((row for row, _ in around if knows(binder, row.entity, head)), None)
    if outer is not None:
        alias = next((name for name in outer.aliases if not knows(binder, scope.entity, name)), "")
        hint = f"of the {outer.entity.name} around it: {alias}.{head}" if alias else f"name the {outer.entity.name} around it with `as`"
    at.wrong(f"{spot.entity.name} has no {head!r}", value=path, valid=valid, hint=hint, key=True)


def _start(binder: Binder, path: str, scope: Scope, at: Place, outward: bool) -> tuple[Spot, str] | None:
    """The row that a path begins at, and what is left of the path."""
    head, _, rest = path.partition(".")
    here = Spot(scope.entity, 0, scope.hops)
    if scope.parent is None and not (rest and head in scope.aliases):
        return here, path
    named = scope.named(head)
    if knows(binder, scope.entity, head):
        if named is not None and named[0].parent is not None:
            message = f"{head!r} is a name of {scope.entity.name} and what a row is called with `as`"
            return at.wrong(message, hint="call the row something else", key=True)
        return here, path
    if named is not None:
        row, up = named
        if rest:
            return Spot(row.entity, up, row.hops), rest
        return at.wrong(f"{head} is a row", valid=[f"{head}.{column}" for column in row.entity.columns], key=True)
    if outward:
        for row, up in scope.around():
            if knows(binder, row.entity, head):
                return Spot(row.entity, up, row.hops), path
    return here, path


def follow(binder: Binder, path: str, spot: Spot, rest: str, at: Place) -> tuple[Spot, str, str] | None:
    """Where the to-one relations of a path lead: the row, the next word there, and what is left after it."""
    head, _, rest = rest.partition(".")
    while (relation := spot.entity.relations.get(head)) is not None:
        if relation.many:
            return at.wrong(f"{path}: {head} leads to many rows", hint=f"use a measure: has, lacks, count, latest: {head}", key=True)
        target = binder.project.entities.get(relation.one or "")
        if target is None:
            return None
        if not rest:
            valid = [f"{path}.{column}" for column in target.columns]
            return at.wrong(f"{path} is a row", valid=valid, hint=f"`has: {path}` asks whether there is one", key=True)
        if not (target.key or isinstance(relation.via, dict)):
            return at.wrong(f"{target.name} has no key that {path} could lead to", hint="via: {their column: my column}", key=True)
        spot = Spot(target, spot.up, (*spot.hops, link(head, relation, spot.entity, target)))
        head, _, rest = rest.partition(".")
    return spot, head, rest


def _column(spot: Spot, name: str, rest: str, path: str, at: Place) -> Operand | None:
    """A column, a field of a struct, or the day of a moment."""
    spec, column = spot.entity.columns[name], spot.column(name)
    if spec.fields:
        if rest not in spec.fields:
            valid = [f"{path.removesuffix(f'.{rest}')}.{field}" for field in spec.fields]
            message = f"{path}: {name} has no field {rest!r}" if rest else f"{path} is a struct; name a field of it"
            return at.wrong(message, value=path, valid=valid, key=True)
        return ColumnRef(spot.hops, spot.entity.name, name, spec.fields[rest], spot.up, tuple(rest.split(".")), spec.array)
    if rest == "day" and column.type in ("date", "timestamp") and not column.array:
        return DayOf(column) if column.type == "timestamp" else column
    if rest:
        return at.wrong(f"{path}: column {name} has no fields", key=True)
    return column


def _trait(binder: Binder, spot: Spot, name: str, field: str, path: str, at: Place) -> Operand | None:
    found = binder.trait(name, at)
    value = _field(binder, found, name, field, path, at) if found is not None else None
    if value is None:
        return None
    moved = rebase(value, spot.up, spot.hops)
    if moved is None:
        hint = f"it holds of the {spot.entity.name} at hand only, because it rests on a segment or on SQL"
        return at.wrong(f"{path}: trait {name} cannot be asked of another row", hint=hint, key=True)
    return moved


def _field(binder: Binder, found: Operand, name: str, field: str, path: str, at: Place) -> Operand | None:
    if not is_row(found) or not isinstance(found, Measure):
        return at.wrong(f"{path}: trait {name} is one value", key=True) if field else found
    if not field:
        return found
    if found.verb not in ROWS:
        word = cover(field)
        valid = [f"{name}.{c}" for c in COVERS]
        return Covered(found, word) if word else at.wrong(f"trait {name} has no field {field!r}", value=path, valid=valid, key=True)
    target = binder.project.entities[found.link.entity]
    head, _, rest = field.partition(".")
    if head not in target.columns:
        return at.wrong(f"trait {name} has no field {field!r}", value=path, valid=[f"{name}.{c}" for c in target.columns], key=True)
    column = _column(Spot(target, 0, ()), head, rest, path, at)
    if isinstance(column, DayOf):
        return at.wrong(f"{path}: the day of a trait's column is not a value", hint=f"use {name}.{head}", key=True)
    return Picked(found, column) if isinstance(column, ColumnRef) else None
