"""Binding of what a sync says of people, and of who is told where several share a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdp.project.language import formulas, names
from cdp.project.language.scope import outermost
from cdp.project.terms import Constant, Operand, Output
from cdp.project.terms.types import is_array, type_of
from cdp.spec.model import Entity

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place
    from cdp.spec.activation import Output as OutputSpec
    from cdp.spec.activation import Sync


def subject(binder: Binder, sync: Sync) -> Entity | None:
    """The entity whose rows a sync is about; None where the loader reports that there is none, or it cannot be synced."""
    segment = binder.project.segments.get(sync.segment)
    entity = binder.project.entities.get(segment.entity) if segment else None
    if segment is None or entity is None:
        return None
    at = binder.place("sync", sync.name, "segment")
    if segment.params:
        return at.wrong(f"segment {segment.name} has parameters", hint="make a segment that fills them in, and sync that")
    if not entity.key:
        return at.wrong(f"{entity.name} has no single column that tells its rows apart", hint="declare `key` on the entity")
    binder.used.add(("segment", segment.name))
    return entity


def bind_outputs(binder: Binder, sync: Sync, entity: Entity) -> dict[tuple[str, str], Output]:
    """The fields of a sync."""
    bound: dict[tuple[str, str], Output] = {}
    for part, fields in (("key", sync.key), ("mappings", sync.mappings)):
        for name, spec in fields.items():
            output = _output(binder, spec, entity, binder.place("sync", sync.name, part, name))
            if output is not None:
                bound[sync.name, name] = output
    return bound


def _output(binder: Binder, spec: OutputSpec, entity: Entity, at: Place) -> Output | None:
    if spec.constant is not None:
        return Constant(spec.constant)
    if spec.expr is not None:
        return formulas.formula(binder, spec.expr, outermost(entity), at.child("expr"))
    if not spec.of:
        return None
    value = formulas.value(binder, spec.of, outermost(entity), at)
    if value is not None and is_array(value):
        return at.wrong(f"{spec.of} is a list of values; a field holds one", hint=f"{{expr: \"array_join({spec.of}, ', ')\"}}")
    return value


# -- one of several ---------------------------------------------------------------------------------------------------


def bind_one_per(binder: Binder, sync: Sync, entity: Entity) -> Operand | None:
    """The value of which one holder is told; None without, or after a problem was reported."""
    if sync.one_per is None or not formulas.is_path(sync.one_per):
        return None  # reported by the loader
    at = binder.place("sync", sync.name, "one_per")
    value = formulas.value(binder, sync.one_per, outermost(entity), at)
    if value is not None and is_array(value):
        return at.wrong(f"{sync.one_per} is a list of values")
    return value


def bind_prefer(binder: Binder, sync: Sync, entity: Entity) -> tuple[tuple[Operand, bool], ...]:
    """The order in which people are preferred; True means the highest first."""
    found: list[tuple[Operand, bool]] = []
    for number, text in enumerate(sync.prefer):
        at = binder.place("sync", sync.name, "prefer", number)
        name, *order = text.split() or [""]
        if not formulas.is_path(name) or len(order) > 1 or (order and order[0] not in ("asc", "desc")):
            continue  # reported by the loader
        operand = names.resolve(binder, name, outermost(entity), at)
        highest = order == ["desc"]
        if isinstance(operand, names.Age):  # the oldest is who was born first
            found.append((operand.born, not highest))
        elif operand is not None:
            if type_of(operand) is None or is_array(operand):
                at.wrong(f"{name} is not one value", hint=f"name a column of it: {name}.COLUMN")
            else:
                found.append((operand, highest))
    return tuple(found)
