"""Binding of tests: what a value, a list or operators ask of an operand whose type is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from cdp.project.language import names
from cdp.project.language.ages import age_test
from cdp.project.language.clocks import anniversary, time_of_day, weekday
from cdp.project.language.comparisons import ORDERED, REFERABLE, TEXTUAL, compare
from cdp.project.language.literals import article, boolean
from cdp.project.language.membership import holds, one_of
from cdp.project.language.scope import Scope
from cdp.project.language.units import unit_of
from cdp.project.language.windows import WORDS, bind_window
from cdp.project.lint.always import conjunction
from cdp.project.terms import Comparison, Condition, Covered, Every, Exists, InWindow, IsNull, Measure, Negation, Operand, Tally
from cdp.project.terms.types import DATES, is_array, is_row, type_of

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

CASELESS = ("eq", "ne", "in", "not_in", "starts_with", "ends_with", "contains")  # what `ignore_case` may stand beside
BOUNDS: tuple[Comparison, Comparison] = ("gte", "lte")  # those of `between`
MEMBERSHIP = ("in", "not_in", "any_of", "all_of")
CLOCK = ("time_of_day", "weekday", "anniversary")
OPERATORS = ("eq", "ne", "in", "not_in", *ORDERED, *TEXTUAL, "any_of", "all_of", *CLOCK, "is_null", "not_null", *WORDS)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an operator is asked of while it is bound, and where it stands."""

    binder: Binder
    operand: Operand
    scope: Scope
    ignore_case: bool
    at: Place


def test(binder: Binder, name: str, tree: Any, scope: Scope, at: Place) -> Condition | None:
    """`{name: test}`: a scalar is equality, a list is one of, null is null, a mapping is operators."""
    found = names.resolve(binder, name, scope, at)
    if isinstance(found, names.Age):
        return age_test(binder, found.born, tree, scope, at)
    return value_test(binder, found, tree, scope, at) if found is not None else None


def value_test(binder: Binder, operand: Operand, tree: Any, scope: Scope, at: Place) -> Condition | None:
    """Operators on a value that is already known."""
    if tree is None:
        return _operator("is_null", "true", _Asked(binder, operand, scope, False, at), key=False)
    if isinstance(tree, list):
        return _operator("in", tree, _Asked(binder, operand, scope, False, at), key=False)
    if isinstance(tree, str):
        return _operator("eq", tree, _Asked(binder, operand, scope, False, at), key=False)
    if not isinstance(tree, dict):
        return at.wrong("a test is a value, a list or operators", valid=OPERATORS)
    ignore_case = _ignore_case(operand, tree, at)
    if ignore_case is None:
        return None
    parts = [
        _operator(op, value, _Asked(binder, operand, scope, ignore_case, at.child(op))) for op, value in tree.items() if op != "ignore_case"
    ]
    return conjunction(parts, at)


def null(operand: Operand) -> Condition:
    """It has no value; of a row, there is none."""
    if isinstance(operand, Measure) and is_row(operand):
        return IsNull(Covered(operand, "first_fill")) if operand.verb == "days_covered" else Negation(Exists(operand))
    return IsNull(operand)


def _ignore_case(operand: Operand, tree: dict[str, Any], at: Place) -> bool | None:
    """Whether letters are compared whatever their case; None after a problem was reported."""
    if "ignore_case" not in tree:
        return False
    place = at.child("ignore_case")
    others = [op for op in tree if op != "ignore_case"]
    if not others or not all(op in CASELESS for op in others):
        return place.wrong("`ignore_case` stands beside an operator on text", valid=CASELESS, key=True)
    if type_of(operand) not in ("string", "code"):
        return place.wrong(f"`ignore_case` needs text, this is {article(str(type_of(operand)))}", key=True)
    return boolean(tree["ignore_case"], place)


def _operator(op: str, tree: Any, test: _Asked, *, key: bool = True) -> Condition | None:
    at, operand = test.at, test.operand
    if op not in OPERATORS:
        return at.wrong(f"unknown operator: {op!r}", value=op, valid=(*OPERATORS, "ignore_case"), key=True)
    if op in ("is_null", "not_null"):
        wanted = boolean(tree, at)
        if isinstance(operand, Tally) or (isinstance(operand, Measure) and operand.verb == "count"):
            return at.wrong("a count always has a value: of nothing it is 0", hint="write {eq: 0}", key=key)
        return None if wanted is None else null(operand) if wanted == (op == "is_null") else Negation(null(operand))
    if is_row(operand) or type_of(operand) is None:
        return at.wrong("this is a whole row; test one of its columns, or null", key=key)
    if is_array(operand) != (op in ("any_of", "all_of")):
        if is_array(operand):
            return at.wrong(f"`{op}` needs one value, this is a list of them", hint="use any_of or all_of", key=key)
        return at.wrong(f"`{op}` needs a list of values, this is one", hint="use in", key=key)
    return _KINDS.get(op, _compared)(op, tree, test)


def _in_window(op: str, tree: Any, test: _Asked) -> Condition | None:
    kind = type_of(test.operand)
    if kind is None or kind not in DATES:
        return test.at.wrong(f"`{op}` needs a date or timestamp, this is {article(str(kind))}", key=True)
    if tree is None:
        return test.at.wrong(f"`{op}` is empty", hint="fill it in or take it out", key=True)
    window = bind_window(test.binder, op, tree, test.scope, test.at)
    return InWindow(test.operand, window, kind) if window else None


def _in(op: str, tree: Any, test: _Asked) -> Condition | None:
    if op == "not_in" and isinstance(tree, list) and tree and unit_of(test.binder, test.operand) is not None:
        # As `ne`, so that a row in an unknown unit fails it too.
        parts = [compare(test.binder, test.operand, "ne", item, test.scope, test.at.child(i)) for i, item in enumerate(tree)]
        return conjunction(parts, test.at)
    found = one_of(test.binder, test.operand, tree, test.scope, test.at, ignore_case=test.ignore_case)
    return found if found is None or op == "in" else Every((Negation(found), Negation(null(test.operand))))


def _between(op: str, tree: Any, test: _Asked) -> Condition | None:
    if not isinstance(tree, list) or len(tree) != 2:
        return test.at.wrong("`between` takes a list of two: [18, 75]")
    low, high = (compare(test.binder, test.operand, bound, tree[i], test.scope, test.at.child(i)) for i, bound in enumerate(BOUNDS))
    return conjunction([low, high], test.at) if low is not None and high is not None else None


def _compared(op: str, tree: Any, test: _Asked) -> Condition | None:
    if isinstance(tree, dict) and set(tree) == {"ref"} and op not in REFERABLE:
        return test.at.wrong(f"`{op}` takes no {{ref: ...}}", valid=REFERABLE, key=True)
    return compare(test.binder, test.operand, cast(Comparison, op), tree, test.scope, test.at, ignore_case=test.ignore_case)


_KINDS: dict[str, Callable[[str, Any, _Asked], Condition | None]] = {
    **dict.fromkeys(WORDS, _in_window),
    **dict.fromkeys(("in", "not_in"), _in),
    **dict.fromkeys(("any_of", "all_of"), lambda op, tree, t: holds(t.binder, t.operand, tree, t.at, every=op == "all_of")),
    "between": _between,
    "time_of_day": lambda op, tree, t: time_of_day(t.operand, tree, t.at),
    "weekday": lambda op, tree, t: weekday(t.operand, tree, t.at),
    "anniversary": lambda op, tree, t: anniversary(t.binder, t.operand, tree, t.scope, t.at),
}
