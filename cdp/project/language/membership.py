"""Binding of membership: one of several literals or a value set, and arrays that hold them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from cdp.project.language.comparisons import compare
from cdp.project.language.literals import literal
from cdp.project.language.scope import Scope
from cdp.project.language.units import unit_of
from cdp.project.language.value_sets import codes, declared, found, in_value_set, meant, spellings
from cdp.project.lint.always import possible
from cdp.project.terms import ColumnRef, Condition, Holds, Measure, OneOf, Operand, Some, Value
from cdp.project.terms.types import type_of
from cdp.spec.model import ColumnType

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place


def one_of(binder: Binder, operand: Operand, tree: Any, scope: Scope, at: Place, *, ignore_case: bool = False) -> Condition | None:
    """`in: [a, b]` or `in: a_value_set`; None after a problem was reported."""
    kind = type_of(operand)
    if kind is None:
        return at.wrong("this is a whole row; test one of its columns, or null", key=True)
    if isinstance(tree, str):
        if ignore_case:
            return at.wrong("the codes of a value set are compared as they are", hint="take `ignore_case` out")
        return in_value_set(binder, operand, tree, at)
    if not isinstance(tree, list) or not tree:
        return at.wrong("a list of literals or the name of a value set is expected", valid=binder.project.value_sets)
    if unit_of(binder, operand) is not None:
        tests = [compare(binder, operand, "eq", item, scope, at.child(i)) for i, item in enumerate(tree)]
        kept = tuple(test for test in tests if test is not None)
        return None if len(kept) != len(tests) else kept[0] if len(kept) == 1 else Some(kept)
    values = _literals(operand, tree, kind, at)
    if values is None:
        return None
    values = spellings(binder, operand, values)
    moments = tuple(value for value in values if isinstance(value, dt.datetime))  # compared as such; days as local days
    others = tuple(value for value in values if not isinstance(value, dt.datetime))
    found = tuple(OneOf(operand, some, kind, ignore_case=ignore_case) for some in (others, moments) if some)
    return found[0] if len(found) == 1 else Some(found)


def _literals(operand: Operand, tree: list[Any], kind: ColumnType, at: Place) -> tuple[Value, ...] | None:
    """The literals of a list; None after a problem was reported."""
    values = [literal(item, kind, at.child(i)) for i, item in enumerate(tree)]
    kept = tuple(v for i, v in enumerate(values) if v is not None and possible(operand, "eq", v, at.child(i)))
    return kept if len(kept) == len(values) else None


def holds(binder: Binder, operand: Operand, tree: Any, at: Place, *, every: bool) -> Condition | None:
    """`any_of` and `all_of`: what an array holds; None after a problem was reported."""
    kind = type_of(operand)
    assert kind is not None, "an array of rows is no value"
    assert isinstance(operand, (ColumnRef, Measure)), "only a column and a `list` are arrays"
    if not isinstance(tree, str):
        if not isinstance(tree, list) or not tree:
            return at.wrong("a list of literals or the name of a value set is expected", valid=binder.project.value_sets)
        values = _literals(operand, tree, kind, at)
        return Holds(operand, values, kind, every) if values is not None else None
    value_set, column = found(binder, tree, at), declared(binder, operand)
    if value_set is None:
        return None
    if column is None or kind not in ("code", "string"):
        return at.wrong(f"a value set needs codes, these are values of type {kind}")
    if every:
        return at.wrong("`all_of` takes a list of literals", hint="`any_of` takes a value set too")
    members = meant(binder, operand, column, value_set, at)
    if members is None:
        return None
    wanted = tuple(dict.fromkeys(code for part in members for code in codes(binder, value_set, part, column.strip)))
    return Holds(operand, wanted, kind, every, tree)
