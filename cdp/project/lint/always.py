"""Putting conditions together. What is true of nobody or of everyone is a mistake of its author, and reported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cdp.project.lint.conflicts import contradiction, tautology
from cdp.project.terms import Chosen, Compare, Condition, Covered, Every, Measure, Operand, Some, Tally, Value
from cdp.project.terms.sayings import said

if TYPE_CHECKING:
    from cdp.project.language.bind import Place


def conjunction(parts: list[Condition | None], at: Place) -> Condition | None:
    """All of the parts; None when one of them is None, because a problem was reported."""
    kept = _kept(parts, at)
    if kept is None or len(kept) == 1:
        return kept[0] if kept else None
    why = contradiction(kept)
    if why:
        hint = "one of several is written as a list, [a, b], or with `any`" if re.search(" is .* and is ", why) else ""
        return at.wrong(f"never true: {why}", hint=hint)
    return Every(kept)


def alternative(parts: list[Condition | None], at: Place) -> Condition | None:
    """At least one of the parts; None when one of them is None, because a problem was reported."""
    kept = _kept(parts, at)
    if kept is None or len(kept) == 1:
        return kept[0] if kept else None
    why = tautology(kept)
    if why == "a condition and its opposite":
        return at.wrong(f"true of everyone: {why}", hint="take one out, or write `all`")
    if why:
        return at.wrong(f"true of everyone who has a value: {why}", hint="to say that, write {not_null: true}; or write `all`")
    return Some(kept)


def _kept(parts: list[Condition | None], at: Place) -> tuple[Condition, ...] | None:
    if not parts:
        return at.wrong("an empty condition would be true of everyone", hint="write at least one test")
    kept = tuple(part for part in parts if part is not None)
    return kept if len(kept) == len(parts) else None


def telling(term: Compare, at: Place) -> Compare | None:
    """A comparison that may turn out either way: a count is never less than 0; None after a problem was reported."""
    if term.op in ("starts_with", "ends_with", "contains") and not term.value:
        return at.wrong("true of everyone who has a value: every text holds the empty one", hint="to say that, write {not_null: true}")
    if isinstance(term.operand, Chosen) and not term.ignore_case and not possible(term.operand, term.op, term.value, at):
        return None
    bounds = _bounds(term.operand)
    if bounds is None or isinstance(term.value, str):
        return term
    low, high = bounds
    value, known = term.value, f"it is {low} or more{f' and at most {high}' if high is not None else ''}"
    beyond = high is not None and value > high  # type: ignore[operator]
    at_top = high is not None and value == high
    below, at_low = value < low, value == low  # type: ignore[operator]
    if {"gt": beyond or at_top, "gte": beyond, "lt": below or at_low, "lte": below, "eq": beyond or below}.get(term.op):
        return at.wrong(f"never true: {known}")
    if {"gt": below, "gte": below or at_low, "lt": beyond, "lte": beyond or at_top, "ne": beyond or below}.get(term.op):
        return at.wrong(f"always true: {known}")
    return term


def possible(operand: Operand, op: str, value: Value, at: Place) -> bool:
    """Whether a value is one that a `case` gives; reports one that it never gives."""
    if not isinstance(operand, Chosen) or op not in ("eq", "ne"):
        return True
    given = [each for each in (*(then for _, then in operand.branches), operand.otherwise) if each is not None]
    if value in given:
        return True
    at.wrong(f"never true: the case gives no {said(value)!r}", value=said(value), valid=[said(each) for each in given])
    return False


def _bounds(operand: Operand) -> tuple[int, int | None] | None:
    """The least and the most that a number can be, where that is known."""
    match operand:
        case Measure(verb="count"):
            return 0, None
        case Tally(of):
            return 0, len(of)
        case Covered(_, value):
            return {"share": (0, 1), "first_fill": None, "until": None}.get(value, (0, None))
    return None
