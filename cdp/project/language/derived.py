"""Derived entities: rows of another entity grouped. Their columns get types before anything is bound on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from cdp.project.language import names
from cdp.project.language.literals import article
from cdp.project.language.scope import outermost
from cdp.project.language.units import in_unit
from cdp.project.problems import Problems
from cdp.project.source import Document
from cdp.project.terms import ColumnRef, DayOf, Every
from cdp.project.terms.models import Aggregate, Derived
from cdp.project.terms.types import NUMBERS
from cdp.spec.model import Column, ColumnType, Entity

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

AGGREGATES = ("count", "sum", "avg", "min", "max")


# -- types ------------------------------------------------------------------------------------------------------------


def typed(entities: Mapping[str, Entity], sources: Mapping[tuple[str, str], Document], problems: Problems) -> dict[str, Entity]:
    """The entities, derived ones with the columns of their groups and a type for each aggregate.

    Args:
        entities: as they are declared.
        sources: their documents.
        problems: derived entities that rest on themselves are added here.
    """
    found: dict[str, Entity] = {name: entity for name, entity in entities.items() if entity.from_ is None}
    circular: set[str] = set()  # of their columns nothing is known

    def visit(name: str, trail: tuple[str, ...]) -> Entity | None:
        entity = entities.get(name)
        if name in found or name in circular or entity is None:
            return found.get(name)
        if name in trail:
            circle = " -> ".join([*trail[trail.index(name) :], name])
            problems.add(sources["entity", name], ("from",), f"entities in a circle: {circle}")
            return None
        source = visit(entity.from_ or "", (*trail, name))
        if source is None and entity.from_ in entities:
            circular.add(name)
            return None
        found[name] = _typed(entity, source, entities) if source is not None else entity
        return found[name]

    for name in entities:
        visit(name, ())
    return {name: found[name] for name in entities if name in found}


def _typed(entity: Entity, source: Entity, entities: Mapping[str, Entity]) -> Entity:
    groups = {name: _grouped(path, source, entities) for name, path in entity.group_by.items()}
    columns = {name: _aggregated(column, source) for name, column in entity.columns.items() if name not in groups}
    key = entity.key or (next(iter(groups)) if len(groups) == 1 else "")
    return entity.model_copy(update={"columns": {**groups, **columns}, "key": key, "rows": entity.rows or source.rows})


def _grouped(path: str, source: Entity, entities: Mapping[str, Entity]) -> Column:
    """The column that a group is made by; a day of a moment is a date."""
    *hops, name = path.removesuffix(".day").split(".")
    for hop in hops:
        relation = source.relations.get(hop)
        source = entities.get(relation.one or "", source) if relation else source
    column = source.columns.get(name, Column())
    kind: ColumnType = "date" if path.endswith(".day") else column.type
    return column.model_copy(update={"type": kind, "role": None, "system": None, "unit": None, "description": ""})


def _aggregated(column: Column, source: Entity) -> Column:
    verb = _verb(column)
    if verb == "count":
        return column.model_copy(update={"type": "integer"})
    if verb is None:
        return column
    of = source.columns.get(str(getattr(column, verb)), Column())
    unit = column.unit or (of.unit if of.unit not in source.columns else None)
    return column.model_copy(update={"type": "double" if verb == "avg" else of.type, "unit": unit})


def _verb(column: Column) -> str | None:
    return next((verb for verb in AGGREGATES if getattr(column, verb) is not None), None)


# -- terms ------------------------------------------------------------------------------------------------------------


def bind_derived(binder: Binder, entity: Entity) -> Derived | None:
    """How the rows of a derived entity are made; None after a problem was reported, here or by the loader."""
    source = binder.project.entities.get(entity.from_ or "")
    if source is None:
        return None
    at, before = binder.place("entity", entity.name), len(binder.problems)
    where = binder.condition(entity.where, source, at.child("where")) if entity.where is not None else None
    groups = [(name, _group(binder, path, source, at.child("group_by", name))) for name, path in entity.group_by.items()]
    columns = [
        (name, _aggregate(binder, column, source, at.child("columns", name)))
        for name, column in entity.columns.items()
        if name not in entity.group_by
    ]
    if len(binder.problems) != before:
        return None
    return Derived(
        source.name,
        where,
        tuple((name, group) for name, group in groups if group is not None),
        tuple((name, aggregate) for name, aggregate in columns if aggregate is not None),
    )


def _group(binder: Binder, path: str, source: Entity, at: Place) -> ColumnRef | DayOf | None:
    operand = names.operand(binder, path, outermost(source), at)
    column = operand.column if isinstance(operand, DayOf) else operand
    if operand is not None and (not isinstance(column, ColumnRef) or column.array):
        return at.wrong(f"{path} is not a column of one value", valid=source.columns)
    return cast("ColumnRef | DayOf | None", operand)


def _aggregate(binder: Binder, column: Column, source: Entity, at: Place) -> Aggregate | None:
    verb = _verb(column)
    if verb is None:
        return None  # reported by the loader
    where = binder.condition(column.where, source, at.child("where")) if column.where is not None else None
    if verb == "count":
        return Aggregate("count", where, None)
    path = str(getattr(column, verb))
    of = names.operand(binder, path, outermost(source), at.child(verb))
    if of is None:
        return None
    if not isinstance(of, ColumnRef) or of.array:
        return at.child(verb).wrong(f"{path} is not a column of one value", valid=source.columns)
    if verb in ("sum", "avg") and of.type not in NUMBERS:
        return at.child(verb).wrong(f"`{verb}` needs a number, {path} is {article(of.type)}")
    return _in_unit(binder, cast(Any, verb), where, of, column.unit, at)


def _in_unit(binder: Binder, verb: Any, where: Any, of: ColumnRef, unit: str | None, at: Place) -> Aggregate | None:
    """Values in several units are brought to the one that the column states."""
    declared = binder.project.entities[of.entity]
    source = declared.columns[of.column].unit if of.column in declared.columns else None
    if source is None:
        return at.child("unit").wrong(f"{of.column} has no unit", key=True) if unit is not None else Aggregate(verb, where, of)
    if source not in declared.columns:
        same = unit is None or unit in binder.unit_names(source)
        return Aggregate(verb, where, of) if same else at.child("unit").wrong(f"{of.column} is in {source}, not in {unit}")
    if unit is None:
        return at.wrong(f"{of.column} is in several units", hint="say in which: unit: mg/dL", key=True)
    value, rows = in_unit(binder, of, unit, at)
    return Aggregate(verb, Every((where, rows)) if where is not None and rows is not None else where or rows, value)
