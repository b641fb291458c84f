"""Binding of tests: operators and literals on a value whose type is known, and on age."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from cdp.project import names
from cdp.project.literals import article, boolean, literal, quantity
from cdp.project.terms import (
    AgeBetween,
    ColumnRef,
    Compare,
    Comparison,
    Condition,
    Every,
    Exists,
    InWindow,
    IsNull,
    Measure,
    Negation,
    OneOf,
    Operand,
    Some,
)
from cdp.project.windows import TODAY, WORDS, bind_day, bind_window
from cdp.spec.model import Entity

if TYPE_CHECKING:
    from cdp.project.bind import Binder, Place

ORDERED = ("gt", "gte", "lt", "lte", "between")
TEXTUAL = ("starts_with", "ends_with", "contains")
OPERATORS = ("eq", "ne", "in", "not_in", *ORDERED, *TEXTUAL, "is_null", "not_null", *WORDS)
LATER_OPERATORS = frozenset({"any_of", "all_of", "matches", "ignore_case", "time_of_day", "weekday", "anniversary"})


def conjunction(parts: list[Condition | None], at: Place) -> Condition | None:
    """All of the parts; None when one of them is None, because a problem was reported."""
    if not parts:
        return at.wrong("an empty condition would be true of everyone", hint="write at least one test")
    kept = [part for part in parts if part is not None]
    if len(kept) != len(parts):
        return None
    return kept[0] if len(kept) == 1 else Every(tuple(kept))


def test(binder: Binder, name: str, tree: Any, entity: Entity, at: Place) -> Condition | None:
    """`{name: test}`: a scalar is equality, a list is one of, null is null, a mapping is operators."""
    if name == "age" and (born := names.birth_date(entity)) is not None:
        return _age(born, tree, at)
    operand = names.operand(binder, name, entity, at)
    return value_test(binder, operand, tree, at) if operand is not None else None


def value_test(binder: Binder, operand: Operand, tree: Any, at: Place) -> Condition | None:
    """Operators on a value that is already known."""
    if tree is None:
        return _null(operand)
    if isinstance(tree, list):
        return _one_of(binder, operand, tree, at)
    if isinstance(tree, str):
        return _compare(binder, operand, "eq", tree, at)
    if not isinstance(tree, dict):
        return at.wrong("a test is a value, a list or operators", valid=OPERATORS)
    return conjunction([_operator(binder, operand, op, value, at.child(op)) for op, value in tree.items()], at)


def _null(operand: Operand) -> Condition:
    if isinstance(operand, Measure) and operand.verb in names.ROWS:
        return Negation(Exists(operand))
    return IsNull(operand)


def _operator(binder: Binder, operand: Operand, op: str, tree: Any, at: Place) -> Condition | None:
    if op not in OPERATORS:
        what = "operator not part of the language yet" if op in LATER_OPERATORS else "unknown operator"
        return at.wrong(f"{what}: {op!r}", value=op, valid=OPERATORS, key=True)
    if op in ("is_null", "not_null"):
        wanted = boolean(tree, at)
        return None if wanted is None else _null(operand) if wanted == (op == "is_null") else Negation(_null(operand))
    if names.type_of(operand) is None:
        return at.wrong("this is a whole row; test one of its columns, or null", key=True)
    if op in WORDS:
        return _in_window(operand, op, tree, at)
    if op in ("in", "not_in"):
        found = _one_of(binder, operand, tree, at)
        return found if found is None or op == "in" else Every((Negation(found), Negation(_null(operand))))
    if op == "between":
        if not isinstance(tree, list) or len(tree) != 2:
            return at.wrong("`between` takes a list of two: [18, 75]")
        low, high = _compare(binder, operand, "gte", tree[0], at.child(0)), _compare(binder, operand, "lte", tree[1], at.child(1))
        return Every((low, high)) if low is not None and high is not None else None
    return _compare(binder, operand, cast(Comparison, op), tree, at)


def _in_window(operand: Operand, op: str, tree: Any, at: Place) -> Condition | None:
    kind = names.type_of(operand)
    if kind not in ("date", "timestamp"):
        return at.wrong(f"`{op}` needs a date or timestamp, this is {article(str(kind))}", key=True)
    window = bind_window(op, tree, at)
    return InWindow(operand, window, kind) if window else None


def _compare(binder: Binder, operand: Operand, op: Comparison, tree: Any, at: Place) -> Condition | None:
    kind = names.type_of(operand)
    if kind is None:
        return at.wrong("this is a whole row; test one of its columns, or null", key=True)
    if op in TEXTUAL and kind not in ("string", "code"):
        return at.wrong(f"`{op}` needs text, this is {article(str(kind))}", key=True)
    if op in ORDERED and kind == "boolean":
        return at.wrong(f"`{op}` has no meaning on a boolean", key=True)
    if isinstance(tree, dict):
        return at.wrong("a literal is expected here; comparing with another value is not part of the language yet")
    units = _units(binder, operand)
    if units is None:
        value = literal(tree, kind, at)
        return Compare(operand, op, value, kind) if value is not None else None
    if (measured_in := quantity(tree, at)) is None:
        return None
    value = literal(measured_in[0], kind, at)
    if value is None:
        return None
    known_as = binder.unit_names(measured_in[1])
    if isinstance(operand, Measure):  # an aggregate is taken over the rows of this unit
        return Compare(_of_unit(operand, units, known_as), op, value, kind)
    return Compare(operand, op, value, kind, known_as)


def _of_unit(measure: Measure, column: str, known_as: tuple[str, ...]) -> Measure:
    entity = cast(ColumnRef, measure.of).entity
    unit = OneOf(ColumnRef(cast(ColumnRef, measure.of).hops, entity, column, "string"), known_as, "string")
    return replace(measure, where=Every((measure.where, unit)) if measure.where is not None else unit)


def _units(binder: Binder, operand: Operand) -> str | None:
    column = names.column_of(operand)
    return binder.project.entities[column.entity].columns[column.column].unit if column else None


def _one_of(binder: Binder, operand: Operand, tree: Any, at: Place) -> Condition | None:
    kind = names.type_of(operand)
    if kind is None:
        return at.wrong("this is a whole row; test one of its columns, or null", key=True)
    if isinstance(tree, str):
        return _in_value_set(binder, operand, tree, at)
    if not isinstance(tree, list) or not tree:
        return at.wrong("a list of literals or the name of a value set is expected", valid=binder.project.value_sets)
    if _units(binder, operand):
        parts = [_compare(binder, operand, "eq", item, at.child(i)) for i, item in enumerate(tree)]
        kept = tuple(part for part in parts if part is not None)
        return Some(kept) if len(kept) == len(parts) else None
    values = [literal(item, kind, at.child(i)) for i, item in enumerate(tree)]
    if any(v is None for v in values):
        return None
    moments = tuple(v for v in values if isinstance(v, dt.datetime))  # compared as such; the others as they are, days as local days
    others = tuple(v for v in values if v is not None and not isinstance(v, dt.datetime))
    tests = tuple(OneOf(operand, some, kind) for some in (others, moments) if some)
    return tests[0] if len(tests) == 1 else Some(tests)


def _in_value_set(binder: Binder, operand: Operand, name: str, at: Place) -> Condition | None:
    value_set = binder.project.value_sets.get(name)
    if value_set is None:
        if binder.malformed("value_set", name):
            return None
        hint = "for one literal write {eq: ...}, for several a list"
        return at.wrong(f"unknown value set {name!r}", value=name, valid=binder.project.value_sets, hint=hint)
    column = names.column_of(operand)
    kind = names.type_of(operand)
    if column is None or kind not in ("code", "string"):
        return at.wrong(f"a value set needs a column of type code, this is {article(str(kind))}")
    declared = binder.project.entities[column.entity].columns[column.column]
    systems = binder.system_names(value_set.system)
    if declared.system in binder.project.entities[column.entity].columns:
        return OneOf(operand, value_set.codes, "code", systems)
    if declared.system and declared.system not in systems and not set(binder.system_names(declared.system)) & set(systems):
        return at.wrong(f"never true: value set {name} is of {value_set.system}, {column.entity}.{column.column} is of {declared.system}")
    return OneOf(operand, value_set.codes, "code")


# -- age ------------------------------------------------------------------------------------------------------------


def _age(born: ColumnRef, tree: Any, at: Place) -> Condition | None:
    """Age in completed years: `age >= n` is `birth_date <= day - n years`, so that 29 February turns on 1 March."""
    if tree is None:
        return IsNull(born)
    tests = {"eq": tree} if isinstance(tree, str) else {"in": tree} if isinstance(tree, list) else tree
    if not isinstance(tests, dict):
        return at.wrong("a test on age is a number, a list or operators")
    unit = tests.get("unit", "years")
    if unit not in ("years", "months"):
        return at.child("unit").wrong(f"unknown unit {unit!r}", value=str(unit), valid=["years", "months"])
    day = bind_day(tests["at"], at.child("at")) if "at" in tests else TODAY
    parts = [_age_test(born, op, value, at.child(op)) for op, value in tests.items() if op not in ("at", "unit")]
    joined = conjunction(parts, at)
    return _aged(joined, unit, day) if joined is not None and day is not None else None


def _age_test(born: ColumnRef, op: str, tree: Any, at: Place) -> Condition | None:
    if op in ("is_null", "not_null"):
        wanted = boolean(tree, at)
        return None if wanted is None else IsNull(born) if wanted == (op == "is_null") else Negation(IsNull(born))
    valid = ("eq", "ne", "in", "not_in", *ORDERED, "is_null", "not_null", "at", "unit")
    if op not in valid:
        return at.wrong(f"unknown operator {op!r} on age", value=op, valid=valid, key=True)
    several = op in ("in", "not_in", "between")
    if several != isinstance(tree, list) or (op == "between" and len(tree) != 2) or (several and not tree):
        return at.wrong(f"`{op}` takes {'a list of two' if op == 'between' else 'a list' if several else 'one whole number'}")
    numbers = [literal(item, "integer", at) for item in (tree if several else [tree])]
    if any(n is None for n in numbers):
        return None
    ages = cast(list[int], numbers)
    if op in ("in", "eq", "ne", "not_in"):
        found = Some(tuple(AgeBetween(born, n, n, "years", TODAY) for n in ages))
        return found if op in ("in", "eq") else Every((Negation(found), Negation(IsNull(born))))
    low = {"gte": ages[0], "gt": ages[0] + 1, "between": ages[0]}.get(op)
    high = {"lte": ages[-1], "lt": ages[-1] - 1, "between": ages[-1]}.get(op)
    return AgeBetween(born, low, high, "years", TODAY)


def _aged(term: Condition, unit: Any, day: Any) -> Condition:
    """Put the unit and day that the whole test states into each of its parts."""
    if isinstance(term, (Every, Some)):
        return replace(term, of=tuple(_aged(part, unit, day) for part in term.of))
    if isinstance(term, Negation):
        return Negation(_aged(term.of, unit, day))
    return replace(term, unit=unit, at=day) if isinstance(term, AgeBetween) else term
