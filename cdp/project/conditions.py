"""Binding of conditions: a YAML tree on an entity becomes typed terms, or problems with their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdp.project.measures import LATER, measured
from cdp.project.operators import conjunction, test
from cdp.project.terms import Condition, Every, InSegment, Negation, Some
from cdp.spec.model import VERBS, Entity

if TYPE_CHECKING:
    from cdp.project.bind import Binder, Place


def condition(binder: Binder, tree: Any, entity: Entity, at: Place) -> Condition | None:
    """The condition of a tree; None after a problem was reported."""
    if isinstance(tree, list):
        return conjunction([condition(binder, item, entity, at.child(i)) for i, item in enumerate(tree)], at)
    if not isinstance(tree, dict):
        return at.wrong("a condition is a mapping, such as `age: {gte: 18}`, or a list of them")
    verbs = [key for key in tree if key in VERBS]
    if verbs:
        return measured(binder, verbs[0], tree, entity, at)
    for key in tree:
        if key in LATER:
            return at.child(key).wrong(f"`{key}` is not part of the language yet", key=True)
    return conjunction([_keyed(binder, key, value, entity, at.child(key)) for key, value in tree.items()], at)


def _keyed(binder: Binder, key: str, tree: Any, entity: Entity, at: Place) -> Condition | None:
    if key in ("all", "any"):
        if not isinstance(tree, list):
            return at.wrong(f"`{key}` takes a list of conditions")
        parts = [condition(binder, item, entity, at.child(i)) for i, item in enumerate(tree)]
        joined = conjunction(parts, at)
        return Some(joined.of) if key == "any" and isinstance(joined, Every) and len(parts) > 1 else joined
    if key == "not":
        inner = condition(binder, tree, entity, at)
        return Negation(inner) if inner is not None else None
    if key == "segment":
        return _segment(binder, tree, entity, at)
    return test(binder, key, tree, entity, at)


def _segment(binder: Binder, tree: Any, entity: Entity, at: Place) -> Condition | None:
    segment = binder.project.segments.get(str(tree))
    if segment is None:
        if binder.malformed("segment", str(tree)):
            return None
        return at.wrong(f"unknown segment {str(tree)!r}", value=str(tree), valid=binder.project.segments)
    if segment.entity != entity.name:
        return at.wrong(f"segment {tree} is about {segment.entity}, here it is about {entity.name}")
    return InSegment(str(tree))
