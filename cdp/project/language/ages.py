"""Binding of tests on age: completed years or months on a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from cdp.project.language.literals import boolean, literal
from cdp.project.language.points import TODAY, bind_day
from cdp.project.language.scope import Scope
from cdp.project.lint.always import conjunction
from cdp.project.terms import AgeBetween, ColumnRef, Condition, Day, Every, IsNull, Negation, Some

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

OPERATORS = ("eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "between", "is_null", "not_null")
UNITS = ("years", "months")
OLDEST = {"years": 130, "months": 130 * 12}


@dataclass(frozen=True, slots=True)
class _Age:
    """Whose age, in which unit, on which day."""

    born: ColumnRef
    unit: Literal["years", "months"]
    day: Day

    def between(self, low: int | None, high: int | None) -> AgeBetween:
        return AgeBetween(self.born, low, high, self.unit, self.day)


def age_test(binder: Binder, born: ColumnRef, tree: Any, scope: Scope, at: Place) -> Condition | None:
    """Age in completed years: `age >= n` is `birth_date <= day - n years`, so that 29 February turns on 1 March."""
    if tree is None:
        return IsNull(born)
    tests = {"eq": tree} if isinstance(tree, str) else {"in": tree} if isinstance(tree, list) else tree
    if not isinstance(tests, dict):
        return at.wrong("a test on age is a number, a list or operators")
    unit = tests.get("unit", "years")
    if unit not in UNITS:
        return at.child("unit").wrong(f"unknown unit {unit!r}", value=str(unit), valid=UNITS)
    day = bind_day(binder, tests["at"], scope, at.child("at")) if "at" in tests else TODAY
    age = _Age(born, cast(Literal["years", "months"], unit), day or TODAY)
    parts = [_age_test(age, op, value, at.child(op) if tests is tree else at) for op, value in tests.items() if op not in ("at", "unit")]
    joined = conjunction(parts, at)
    return joined if day is not None else None


def _age_test(age: _Age, op: str, tree: Any, at: Place) -> Condition | None:
    if op in ("is_null", "not_null"):
        wanted = boolean(tree, at)
        return None if wanted is None else IsNull(age.born) if wanted == (op == "is_null") else Negation(IsNull(age.born))
    if op not in OPERATORS:
        return at.wrong(f"unknown operator {op!r} on age", value=op, valid=(*OPERATORS, "at", "unit"), key=True)
    several = op in ("in", "not_in", "between")
    if several != isinstance(tree, list) or (op == "between" and len(tree) != 2) or (several and not tree):
        return at.wrong(f"`{op}` takes {'a list of two' if op == 'between' else 'a list' if several else 'one whole number'}")
    numbers = [literal(item, "integer", at) for item in (tree if several else [tree])]
    if any(n is None for n in numbers):
        return None
    ages = cast(list[int], numbers)
    wrong = next((n for n in ages if not 0 <= n <= OLDEST[age.unit]), None)
    if wrong is not None:
        hint = "for months write `unit: months`" if wrong > 0 else "an age is a number from 0 on"
        return at.wrong(f"{wrong} {age.unit} is nobody's age", hint=hint)
    if op in ("in", "eq", "ne", "not_in"):
        found = Some(tuple(age.between(n, n) for n in ages)) if len(ages) > 1 else age.between(ages[0], ages[0])
        return found if op in ("in", "eq") else Every((Negation(found), Negation(IsNull(age.born))))
    return _ranged(age, op, ages, at)


def _ranged(age: _Age, op: str, ages: list[int], at: Place) -> Condition | None:
    low = {"gte": ages[0], "gt": ages[0] + 1, "between": ages[0]}.get(op)
    high = {"lte": ages[-1], "lt": ages[-1] - 1, "between": ages[-1]}.get(op)
    if high is not None and high < (low or 0):
        what = f"{ages[0]} is more than {ages[-1]}" if op == "between" else f"nobody is younger than {ages[0]}"
        return at.wrong(f"never true: {what}", hint="write the smaller number first" if op == "between" else "")
    if low == 0 and high is None:
        return at.wrong("true of everyone whose birth date is known", hint="to say that, write {not_null: true}")
    return age.between(low, high)
