"""Binding of `in: a_value_set`: the pair of code system and code decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdp.project.language.literals import article
from cdp.project.terms import Condition, OneOf, Operand, Some, Value
from cdp.project.terms.types import column_of, is_array, type_of
from cdp.spec.model import Codes, Column, ValueSet

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place


def found(binder: Binder, name: str, at: Place) -> ValueSet | None:
    """The value set of that name; None after a problem was reported, here or where it is declared."""
    value_set = binder.project.value_sets.get(name)
    if value_set is not None:
        binder.used.add(("value_set", name))
        return value_set
    if binder.malformed("value_set", name):
        return None
    hint = "for one literal write {eq: ...}, for several a list"
    return at.wrong(f"unknown value set {name!r}", value=name, valid=binder.project.value_sets, hint=hint)


def in_value_set(binder: Binder, operand: Operand, name: str, at: Place) -> Condition | None:
    """That the operand's code, and its system where the row has one, is in the value set."""
    value_set = found(binder, name, at)
    kind = type_of(operand)
    column = declared(binder, operand)
    if value_set is None:
        return None
    if column is None or kind not in ("code", "string"):
        return at.wrong(f"a value set needs a column of type code, this is {article(str(kind))}")
    members = meant(binder, operand, column, value_set, at)
    if members is None:
        return None
    by_row = _by_row(binder, operand, column)
    tests = tuple(
        OneOf(operand, codes(binder, value_set, part, column.strip), "code", binder.system_names(part.system) if by_row else (), named=name)
        for part in members
    )
    return tests[0] if len(tests) == 1 else Some(tests)


def declared(binder: Binder, operand: Operand) -> Column | None:
    """The declaration of the column that an operand's value comes from."""
    column = column_of(operand)
    return binder.project.entities[column.entity].columns.get(column.column) if column else None


def _by_row(binder: Binder, operand: Operand, column: Column) -> bool:
    """Whether a column of the row holds the code system."""
    source = column_of(operand)
    if source is None or is_array(operand) or column.system is None:
        return False
    return column.system in binder.project.entities[source.entity].columns


def meant(binder: Binder, operand: Operand, column: Column, value_set: ValueSet, at: Place) -> tuple[Codes, ...] | None:
    """The parts of a value set that a column can hold; None after a problem was reported."""
    members = value_set.members
    if _by_row(binder, operand, column):
        return members
    if column.system is not None:
        systems = set(binder.system_names(column.system))
        same = tuple(part for part in members if part.system in systems or systems & set(binder.system_names(part.system)))
        if not same:
            of, source = " and ".join(part.system for part in members), column_of(operand)
            where = f"{source.entity}.{source.column}" if source else "the column"
            return at.wrong(f"never true: value set {value_set.name} is of {of}, {where} is of {column.system}")
        return same
    if len(members) > 1:
        of = " and ".join(part.system for part in members)
        hint = "declare `system` on the column, or use a value set of one system"
        return at.wrong(f"value set {value_set.name} is of {of}, and the column does not say of which system its codes are", hint=hint)
    return members


def spellings(binder: Binder, operand: Operand, values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Literals as they are written, and where some feeds leave `strip` out of a code, each also without it."""
    column = declared(binder, operand) if type_of(operand) == "code" else None
    if column is None or not column.strip:
        return values
    return tuple(dict.fromkeys([*values, *(str(value).replace(column.strip, "") for value in values)]))


def codes(binder: Binder, value_set: ValueSet, part: Codes, strip: str | None) -> tuple[str, ...]:
    """The codes of one system; where some feeds leave `strip` out, each also without it."""
    if not strip:
        return part.codes
    key = (value_set.name, part.system, strip)
    if key not in binder.stripped:
        binder.stripped[key] = tuple(dict.fromkeys([*part.codes, *(code.replace(strip, "") for code in part.codes)]))
    return binder.stripped[key]
