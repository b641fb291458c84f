"""Names in conditions: what a word or a dotted path stands for on an entity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdp.project.terms import ColumnRef, Link, Operand, Picked
from cdp.spec.model import ColumnType, Entity, Relation

if TYPE_CHECKING:
    from cdp.project.bind import Binder, Place

ROWS = ("latest", "earliest")  # verbs whose value, without `of`, is a row


def names_of(binder: Binder, entity: Entity) -> tuple[str, ...]:
    """Every word that a condition on this entity may begin with."""
    age = ("age",) if birth_date(entity) else ()
    return (*entity.columns, *age, *binder.traits_of(entity.name), *entity.relations)


def birth_date(entity: Entity) -> ColumnRef | None:
    """The column with the role of birth date, if the entity has one."""
    for name, column in entity.columns.items():
        if column.role == "birth_date":
            return ColumnRef((), entity.name, name, column.type)
    return None


def link(name: str, relation: Relation, entity: Entity, target: Entity) -> Link:
    """A declared relation with its pairs of columns spelled out."""
    if isinstance(relation.via, dict):
        return Link(name, target.name, tuple((theirs, mine) for theirs, mine in relation.via.items()))
    if relation.many:
        return Link(name, target.name, ((relation.via, entity.key),))
    return Link(name, target.name, ((target.key, relation.via),))


def many(binder: Binder, name: object, entity: Entity, at: Place) -> tuple[Link, Entity] | None:
    """The to-many relation of a measure; None after a problem was reported."""
    valid = [n for n, r in entity.relations.items() if r.many]
    relation = entity.relations.get(str(name))
    target = binder.project.entities.get(relation.many) if relation and relation.many else None
    if relation is None:
        return at.wrong(f"{entity.name} has no relation {str(name)!r}", value=str(name), valid=valid)
    if relation.one:
        return at.wrong(f"{name} leads to one row; a measure needs many", valid=valid, hint=f"test {name}.COLUMN directly")
    if target is None:
        return None  # a dangling relation is reported where it is declared
    return link(str(name), relation, entity, target), target


def operand(binder: Binder, path: str, entity: Entity, at: Place) -> Operand | None:
    """What a path stands for: a column, a column over to-one relations, a trait, or a field of a trait's row."""
    head, _, rest = path.partition(".")
    hops: tuple[Link, ...] = ()
    here = entity
    while head in here.relations:
        relation = here.relations[head]
        if relation.many:
            return at.wrong(f"{path}: {head} leads to many rows", hint=f"use a measure: has, lacks, count, latest: {head}", key=True)
        target = binder.project.entities.get(relation.one or "")
        if target is None:
            return None
        if not rest:
            return at.wrong(f"{path} is a row", valid=[f"{path}.{c}" for c in target.columns], key=True)
        hops, here = (*hops, link(head, relation, here, target)), target
        head, _, rest = rest.partition(".")
    if head in here.columns:
        if rest:
            return at.wrong(f"{path}: column {head} has no fields", key=True)
        return ColumnRef(hops, here.name, head, here.columns[head].type)
    if head in binder.traits_of(here.name):
        if hops:
            return at.wrong(f"{path}: a trait is used on its own entity, {here.name}", key=True)
        return _trait(binder, head, rest, path, at)
    if binder.malformed("trait", head):
        return None
    valid = [".".join([*(h.name for h in hops), n]) for n in names_of(binder, here)]
    return at.wrong(f"{here.name} has no {head!r}", value=path, valid=valid, key=True)


def _trait(binder: Binder, name: str, field: str, path: str, at: Place) -> Operand | None:
    measure = binder.trait(name, at)
    if measure is None:
        return None
    if measure.verb not in ROWS or measure.of is not None:
        if field:
            return at.wrong(f"{path}: trait {name} is one value", key=True)
        return Picked(measure, measure.of) if measure.verb in ROWS and measure.of else measure
    if not field:
        return measure
    target = binder.project.entities[measure.link.entity]
    if field not in target.columns:
        return at.wrong(f"trait {name} has no field {field!r}", value=path, valid=[f"{name}.{c}" for c in target.columns], key=True)
    return Picked(measure, ColumnRef((), target.name, field, target.columns[field].type))


def type_of(operand: Operand) -> ColumnType | None:
    """The type of an operand; None for a whole row."""
    if isinstance(operand, ColumnRef):
        return operand.type
    if isinstance(operand, Picked):
        return operand.column.type
    if operand.verb == "count":
        return "integer"
    if operand.verb == "avg":
        return "double"
    return operand.of.type if operand.of else None


def column_of(operand: Operand) -> ColumnRef | None:
    """The column whose unit and code system an operand's value has."""
    if isinstance(operand, ColumnRef):
        return operand
    if isinstance(operand, Picked):
        return operand.column
    return operand.of if operand.verb in ("min", "max", "sum", "avg") else None
