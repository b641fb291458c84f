"""Binding of measures: one verb, one pipeline over related rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from cdp.project import names
from cdp.project.literals import article
from cdp.project.operators import conjunction, value_test
from cdp.project.terms import ColumnRef, Condition, Exists, Measure, Negation, Picked, Ties, Verb, Window
from cdp.project.windows import WORDS, bind_window
from cdp.spec.model import VERBS, Entity

if TYPE_CHECKING:
    from cdp.project.bind import Binder, Place

LATER = frozenset({"n_of", "with", "as", "each", "distinct", "spaced", "most_frequent", "list", "days_covered", "even_if_open"})
MODIFIERS = ("where", *WORDS, "by", "ties", "of", "is")


def measured(binder: Binder, verb: str, tree: dict[str, Any], entity: Entity, at: Place) -> Condition | None:
    """A measure with its `is`."""
    for key, value in tree.items():
        if key != verb and key not in MODIFIERS:
            if key in VERBS:
                return at.child(key).wrong(f"one verb in a condition: {verb} and {key}", hint="write a list of two conditions", key=True)
            later = " yet" if key in LATER else ""
            return at.child(key).wrong(f"`{key}` is not part of a measure{later}", value=key, valid=MODIFIERS, key=True)
        if value is None and key != "is":
            return at.child(key).wrong(f"`{key}` is empty", hint="fill it in or take it out", key=True)
    term = measure(binder, verb, tree, entity, at)
    if term is None:
        return None
    if verb in ("has", "lacks"):
        if "is" in tree:
            return at.child("is").wrong(f"`{verb}` takes no `is`", hint="use count, latest or min", key=True)
        return Exists(term) if verb == "has" else Negation(Exists(term))
    if "is" not in tree:
        return at.wrong(f"`{verb}` in a condition needs `is`", hint="is: {gte: 2}")
    return _is(binder, term, tree["is"], at.child("is"))


def _is(binder: Binder, term: Measure, tree: Any, at: Place) -> Condition | None:
    if term.verb not in names.ROWS:
        return value_test(binder, term, tree, at)
    if term.of is not None:
        return value_test(binder, Picked(term, term.of), tree, at)
    target = binder.project.entities[term.link.entity]
    if not isinstance(tree, dict):
        return at.wrong("the picked row is tested by its columns: {value: {gt: 9 %}}", valid=target.columns)
    parts = []
    for name, part in tree.items():
        column = names.operand(binder, name, target, at.child(name))
        if column is not None and not (isinstance(column, ColumnRef) and not column.hops):
            at.child(name).wrong("the picked row is tested by its own columns", valid=target.columns, key=True)
            column = None
        parts.append(value_test(binder, Picked(term, column), part, at.child(name)) if column is not None else None)
    return conjunction(parts, at)


def measure(binder: Binder, verb: str, tree: dict[str, Any], entity: Entity, at: Place) -> Measure | None:
    """The measure of a mapping, without its `is`; None after a problem was reported."""
    found = names.many(binder, tree[verb], entity, at.child(verb))
    if found is None:
        return None
    link, target = found
    before = len(binder.problems)
    where = binder.condition(tree["where"], target, at.child("where")) if tree.get("where") is not None else None
    window = _window(tree, target, at)
    picks = verb in names.ROWS
    if picks and target.time is None:
        at.child(verb).wrong(f"`{verb}` needs an entity with `time`; {target.name} has none")
    for key in ("by", "ties"):
        if tree.get(key) is not None and not picks:
            at.child(key).wrong(f"`{key}` belongs to latest and earliest", key=True)
    if tree.get("by") not in (None, "day"):
        at.child("by").wrong("latest and earliest go by moment, or `by: day`")
    ties = _ties(binder, tree["ties"], target, at.child("ties")) if tree.get("ties") is not None and picks else None
    of = _of(binder, verb, tree.get("of"), target, at)
    if len(binder.problems) != before:
        return None
    name: Verb = "exists" if verb in ("has", "lacks") else cast(Verb, verb)
    return Measure(name, link, where, window, tree.get("by") == "day", ties, of, label=label(tree) or str(tree[verb]))


def label(tree: dict[str, Any]) -> str:
    """A word that tells a reader of the SQL what a measure is about: its first value set."""
    where = tree.get("where")
    for part in where if isinstance(where, list) else [where]:
        for test in part.values() if isinstance(part, dict) else ():
            if isinstance(test, dict) and isinstance(test.get("in"), str):
                return str(test["in"])
    return ""


def _window(tree: dict[str, Any], target: Entity, at: Place) -> Window | None:
    words = [word for word in WORDS if tree.get(word) is not None]
    if not words:
        return None
    place = at.child(words[0])
    if target.time is None:
        return place.wrong(f"a window needs an entity with `time`; {target.name} has none", key=True)
    if "upcoming" in words and target.future != "visible":
        return place.wrong(f"{target.name} hides what is later than as_of", hint="declare `future: visible` on the entity", key=True)
    spans = [bind_window(word, tree[word], at.child(word)) for word in words]
    if any(span is None for span in spans):
        return None
    first = [s.first for s in spans if s and s.first]
    last = [s.last for s in spans if s and s.last]
    if len(first) > 1 or len(last) > 1:
        hint = "keep one, or put the other into `where`"
        return at.child(words[1]).wrong(f"{' and '.join(words)} bound the same side twice", hint=hint, key=True)
    return Window(first[0] if first else None, last[0] if last else None)


def _ties(binder: Binder, tree: Any, target: Entity, at: Place) -> Ties | None:
    if not isinstance(tree, dict) or len(tree) != 1:
        return at.wrong("`ties` is one column and lowest or highest: {value: lowest}")
    ((name, order),) = tree.items()
    column = names.operand(binder, name, target, at.child(name))
    if column is None:
        return None
    if not isinstance(column, ColumnRef) or column.type not in ("integer", "decimal", "double", "date", "timestamp"):
        return at.child(name).wrong("ties are broken by a number or a date", key=True)
    if order not in ("lowest", "highest"):
        return at.child(name).wrong(f"unknown order {str(order)!r}", value=str(order), valid=["lowest", "highest"])
    return Ties(column, order == "lowest")


def _of(binder: Binder, verb: str, tree: Any, target: Entity, at: Place) -> ColumnRef | None:
    if tree is None:
        if verb in ("sum", "avg", "min", "max"):
            at.wrong(f"`{verb}` needs `of`: the column", valid=target.columns)
        return None
    place = at.child("of")
    if verb in ("has", "lacks", "count"):
        return place.wrong(f"`{verb}` takes no `of`", key=True)
    column = names.operand(binder, str(tree), target, place)
    if column is None:
        return None
    if not isinstance(column, ColumnRef):
        return place.wrong("`of` is a column")
    if verb in ("sum", "avg") and column.type not in ("integer", "decimal", "double"):
        return place.wrong(f"`{verb}` needs a number, {tree} is {article(column.type)}")
    return column
