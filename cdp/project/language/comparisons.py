"""Binding of comparisons: an operand with a literal, with a quantity in some unit, or with another value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from cdp.project.language import names
from cdp.project.language.literals import article, literal
from cdp.project.language.patterns import portable
from cdp.project.language.scope import Scope
from cdp.project.language.units import compare_quantity, unit_of
from cdp.project.language.value_sets import spellings
from cdp.project.lint.always import telling
from cdp.project.terms import ColumnRef, Compare, CompareTo, Comparison, Condition, DayOf, Every, IsNull, Negation, OneOf, Operand
from cdp.project.terms.types import family, is_array, is_row, type_of
from cdp.spec.model import ColumnType

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

ORDERED = ("gt", "gte", "lt", "lte", "between")
TEXTUAL = ("starts_with", "ends_with", "contains", "matches")
REFERABLE = ("eq", "ne", "gt", "gte", "lt", "lte")


def compare(
    binder: Binder, operand: Operand, op: Comparison, tree: Any, scope: Scope, at: Place, *, ignore_case: bool = False
) -> Condition | None:
    """`operand op literal`, or `operand op {ref: another value}`; None after a problem was reported."""
    kind = type_of(operand)
    if kind is None:
        return at.wrong("this is a whole row; test one of its columns, or null", key=True)
    if op in TEXTUAL and kind not in ("string", "code"):
        return at.wrong(f"`{op}` needs text, this is {article(kind)}", key=True)
    if op in ORDERED and kind == "boolean":
        return at.wrong(f"`{op}` has no meaning on a boolean", key=True)
    if isinstance(tree, dict):
        return _reference(binder, operand, op, kind, tree, scope, at)
    if (unit := unit_of(binder, operand)) is not None:
        return compare_quantity(binder, operand, op, unit, tree, at)
    value = literal(tree, kind, at)
    if op == "matches" and isinstance(value, str):
        value = portable(value, at)
    if value is None:
        return None
    if op in ("eq", "ne") and len(written := spellings(binder, operand, (value,))) > 1:
        found = OneOf(operand, written, kind, ignore_case=ignore_case)
        return found if op == "eq" else Every((Negation(found), Negation(IsNull(operand))))
    return telling(Compare(operand, op, value, kind, ignore_case=ignore_case), at)


def _reference(
    binder: Binder, operand: Operand, op: Comparison, kind: ColumnType, tree: dict[str, Any], scope: Scope, at: Place
) -> Condition | None:
    """`{ref: missed.specialty}`: a value of the row at hand, or of the nearest row around that has the name."""
    if set(tree) != {"ref"} or not isinstance(tree["ref"], str):
        return at.wrong("a literal or another value is expected here", hint="another value is {ref: NAME}")
    if op not in REFERABLE:
        return at.wrong(f"`{op}` is compared with a literal only", hint=f"{{ref: ...}} stands after {', '.join(REFERABLE)}", key=True)
    place = at.child("ref")
    other = names.operand(binder, tree["ref"], scope, place, outward=True)
    if other is None:
        return None
    other_kind = type_of(other)
    if other_kind is None or is_row(other) or is_array(other):
        return place.wrong(f"{tree['ref']} is not one value", hint="name a column of it")
    if family(kind) != family(other_kind):
        return place.wrong(f"{tree['ref']} is {article(other_kind)}, it is compared with {article(kind)}")
    if other == operand:
        return place.wrong(f"{tree['ref']} is compared with itself", hint="to name a row around, write ALIAS.COLUMN")
    if kind != other_kind and family(kind) == "date":
        operand, other, kind = _day(operand), _day(other), "date"
    return _in_one_unit(binder, CompareTo(operand, op, other, kind), place)


def _day(operand: Operand) -> Operand:
    """A moment meets a day as its own local calendar day."""
    return DayOf(operand) if isinstance(operand, ColumnRef) and operand.type == "timestamp" else operand


def _in_one_unit(binder: Binder, term: CompareTo, at: Place) -> Condition | None:
    """Two quantities are compared where both are in the same unit."""
    mine, theirs = unit_of(binder, term.operand), unit_of(binder, term.other)
    if mine is None and theirs is None:
        return term
    if mine is None or theirs is None:
        return at.wrong("one of the two has a unit, the other has none", hint="declare `unit` on both columns")
    left, right = mine.column, theirs.column
    if left is None and right is None:
        same = theirs.name in binder.unit_names(mine.name)
        return term if same else at.wrong(f"{theirs.name} is compared with {mine.name}", hint="compare values in one unit")
    if left is not None and right is not None:
        return Every((term, CompareTo(left, "eq", right, "string")))
    column, named = (left, theirs) if left is not None else (right, mine)
    return Every((term, OneOf(cast(Operand, column), binder.unit_names(named.name), "string")))
