"""Quantities: the unit of a value, and comparing it with a literal in the same or in another unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from cdp.project.language.literals import literal, quantity
from cdp.project.language.value_sets import in_value_set
from cdp.project.terms import (
    ColumnRef,
    Compare,
    Comparison,
    Condition,
    Converted,
    Every,
    Factor,
    Measure,
    OneOf,
    Operand,
    Picked,
    Satisfies,
    Some,
    Value,
)
from cdp.project.terms.types import column_of, type_of
from cdp.spec.model import ColumnType

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place


DIGITS = 10  # after the point, of a literal that is divided


@dataclass(frozen=True, slots=True)
class UnitOf:
    """The unit of an operand: its name, and where it differs by row the value that says it."""

    name: str
    column: Operand | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows in another unit: how their values become this one, and the value set of the codes for which that holds."""

    factor: Factor
    of: str | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A comparison with a quantity: `op value`, in the unit of these names."""

    binder: Binder
    op: Comparison
    value: Value
    kind: ColumnType
    unit: str
    at: Place

    def compare(self, operand: Operand, units: tuple[str, ...] = ()) -> Compare:
        return Compare(operand, self.op, self.value, self.kind, units)


def unit_of(binder: Binder, operand: Operand) -> UnitOf | None:
    """The unit of an operand's value, if it has one."""
    column = column_of(operand)
    if column is None or column.field:
        return None
    entity = binder.project.entities[column.entity]
    spec = entity.columns.get(column.column)
    if spec is None or spec.unit is None:
        return None
    if spec.unit not in entity.columns:
        return UnitOf(spec.unit)
    sibling = _beside(column, spec.unit)
    return UnitOf(spec.unit, Picked(operand.measure, sibling) if isinstance(operand, Picked) else sibling)


def _beside(column: ColumnRef, name: str) -> ColumnRef:
    """Another column of the same row: its unit or its code."""
    return replace(column, column=name, type="string", field=(), array=False)


def compare_quantity(binder: Binder, operand: Operand, op: Comparison, unit: UnitOf, tree: Any, at: Place) -> Condition | None:
    """`operand op 9 %`: rows in that unit, and those in units that become it; None after a problem was reported."""
    kind = cast(ColumnType, type_of(operand))
    if (parts := quantity(tree, at)) is None or not _known(binder, parts[1], at):
        return None
    value = literal(parts[0], kind, at)
    if value is None:
        return None
    asked = _Asked(binder, op, value, kind, parts[1], at)
    groups = _conversions(binder, parts[1])
    if unit.column is None:
        return _fixed(asked, operand, unit.name, groups)
    if isinstance(operand, Measure):
        return asked.compare(_in_one_unit(asked, operand, groups))
    base = binder.unit_names(parts[1])
    if not groups:
        return asked.compare(operand, base)
    # A picked row is looked at as a row, so that its unit and code are at hand.
    column = cast(ColumnRef, operand.column if isinstance(operand, Picked) else operand)
    either = Some((asked.compare(column, base), *(_compared(asked, column, group) for group in groups)))
    return Satisfies(operand.measure, either) if isinstance(operand, Picked) else either


def in_unit(binder: Binder, column: ColumnRef, unit: str, at: Place) -> tuple[Converted, Condition | None]:
    """A column in one unit, and of which rows it is taken.

    Rows of a unit that does not become it have no value; where a conversion holds for some codes only, the others are left out.
    """
    groups, base = _conversions(binder, unit), binder.unit_names(unit)
    rows = _rows(binder, column, base, groups, at) if any(group.of for group in groups) else None
    return _converted(binder, column, (Factor(base), *(group.factor for group in groups))), rows


def _converted(binder: Binder, column: ColumnRef, factors: tuple[Factor, ...]) -> Converted:
    return Converted(column, _unit_column(binder, column), factors)


def _rows(binder: Binder, column: ColumnRef, base: tuple[str, ...], groups: list[_Group], at: Place) -> Condition:
    """That a row is in one of the units; where a conversion holds for some codes only, with one of those."""
    unit = _unit_column(binder, column)
    tests: list[Condition] = [OneOf(unit, base, "string")]
    for group in groups:
        codes, test = _codes(binder, column, group, at), OneOf(unit, group.factor.names, "string")
        tests.append(Every((test, codes)) if codes is not None else test)
    return tests[0] if len(tests) == 1 else Some(tuple(tests))


def _known(binder: Binder, unit: str, at: Place) -> bool:
    """A unit that differs from a declared one in the case of its letters only would match nothing."""
    units = binder.project.config.units
    declared = {name for each, spec in units.items() for name in (*binder.unit_names(each), spec.to) if name}
    if unit in declared or unit.lower() not in {name.lower() for name in declared}:
        return True
    at.wrong(f"unknown unit {unit!r}", value=unit, valid=declared, hint="units stand under `units` of conf/cdp.yml")
    return False


def _conversions(binder: Binder, unit: str) -> list[_Group]:
    """The units whose rows can be compared in this one."""
    known, groups = binder.unit_names(unit), []
    for name, spec in binder.project.config.units.items():
        if spec.to is None or not spec.times:
            continue
        if spec.to in known:
            groups.append(_Group(Factor(binder.unit_names(name), spec.times), spec.of))
        elif name in known:
            groups.append(_Group(Factor(binder.unit_names(spec.to), over=spec.times), spec.of))
    return groups


def _unit_column(binder: Binder, column: ColumnRef) -> ColumnRef:
    spec = binder.project.entities[column.entity].columns[column.column]
    return _beside(column, cast(str, spec.unit))


def _compared(asked: _Asked, column: ColumnRef, group: _Group) -> Condition:
    """The comparison for rows in another unit."""
    if group.factor.over != 1:  # the literal is multiplied, which is exact, instead of each value divided
        literal = Decimal(str(asked.value)) * group.factor.over
        test = replace(asked.compare(column, group.factor.names), value=literal, type=_fractional(asked.kind))
    else:
        operand = _converted(asked.binder, column, (group.factor,))
        test = replace(asked.compare(operand), type=_fractional(asked.kind))
    codes = _codes(asked.binder, column, group, asked.at)
    return Every((test, codes)) if codes is not None else test


def _fractional(kind: ColumnType) -> ColumnType:
    return "decimal" if kind == "integer" else kind


def _codes(binder: Binder, column: ColumnRef, group: _Group, at: Place) -> Condition | None:
    """That the row's code is one for which a conversion holds."""
    columns = binder.project.entities[column.entity].columns
    code = next((name for name, spec in columns.items() if spec.type == "code"), None)
    if group.of is None or code is None:
        return None
    return in_value_set(binder, replace(_beside(column, code), type="code"), group.of, at)


def _in_one_unit(asked: _Asked, measure: Measure, groups: list[_Group]) -> Measure:
    """An aggregate is taken over the rows of this unit, and of those that become it."""
    column = column_of(measure)
    assert column is not None, "only a measure of a column has a unit"
    rows = _rows(asked.binder, column, asked.binder.unit_names(asked.unit), groups, asked.at)
    of = in_unit(asked.binder, column, asked.unit, asked.at)[0] if groups else measure.of
    return replace(measure, of=of, where=Every((measure.where, rows)) if measure.where is not None else rows)


def _fixed(asked: _Asked, operand: Operand, unit: str, groups: list[_Group]) -> Condition | None:
    """A column in one unit: the literal is converted, not the column."""
    if asked.unit in asked.binder.unit_names(unit):
        return asked.compare(operand)
    group = next((group for group in groups if unit in group.factor.names), None)
    if group is None:
        hint = f"write the number in {unit}, or declare under `units` how one becomes the other"
        return asked.at.wrong(f"the column is in {unit}, not in {asked.unit}", hint=hint)
    value = Decimal(str(asked.value)) * group.factor.over / group.factor.times
    return replace(asked.compare(operand), value=round(value, DIGITS).normalize(), type=_fractional(asked.kind))
