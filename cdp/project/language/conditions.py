"""Binding of conditions: a YAML tree on a row becomes typed terms, or problems with their places."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cdp.project.language import templates
from cdp.project.language.measures import measured
from cdp.project.language.names import knows, names_of
from cdp.project.language.operators import test, value_test
from cdp.project.language.scope import Scope
from cdp.project.lint.always import alternative, conjunction
from cdp.project.problems import suggestion
from cdp.project.terms import Condition, ContactOf, InSegment, InSql, Negation, Tally
from cdp.spec.model import VERBS

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

WHOSE: Final = ("personal_representative",)  # whose a contact point may be when it is not the person's own
WORDS: Final = frozenset({"all", "any", "n_of", "not", "segment", "contact_of", "age", "with", "is"})
PAIRED = {"with": "segment", "is": "n_of"}  # words that belong to another one of the same mapping


def condition(binder: Binder, tree: Any, scope: Scope, at: Place) -> Condition | None:
    """The condition of a tree; None after a problem was reported."""
    if isinstance(tree, list):
        return conjunction([condition(binder, item, scope, at.child(i)) for i, item in enumerate(tree)], at)
    if not isinstance(tree, dict):
        return at.wrong("a condition is a mapping, such as `age: {gte: 18}`, or a list of them")
    for key in tree:
        if key in VERBS:
            return measured(binder, key, tree, scope, at)
    if (key := _misspelt(binder, tree, scope)) is not None:
        return at.child(key).wrong(f"no measure begins with {key!r}", value=key, valid=VERBS, key=True)
    for key, head in PAIRED.items():
        if key in tree and head not in tree:
            hint = f"a measure begins with its verb: {', '.join(VERBS[:4])}, ..." if key == "is" else ""
            return at.child(key).wrong(f"`{key}` stands beside `{head}`", hint=hint, key=True)
    parts = [_keyed(binder, key, value, tree, scope, at) for key, value in tree.items() if key not in PAIRED]
    return conjunction(parts, at)


def _misspelt(binder: Binder, tree: dict[str, Any], scope: Scope) -> str | None:
    """A key that is nearly a verb and nothing that a row has: what stands beside it is meant for the verb, and no mistake of its own."""
    for key in tree:
        if key in WORDS or not key.isidentifier() or knows(binder, scope.entity, key):
            continue
        if (meant := suggestion(key, VERBS)) and meant == suggestion(key, (*VERBS, *names_of(binder, scope.entity))):
            return key
    return None


def _keyed(binder: Binder, key: str, value: Any, tree: dict[str, Any], scope: Scope, at: Place) -> Condition | None:
    place = at.child(key)
    if key in ("all", "any", "n_of"):
        if not isinstance(value, list):
            return place.wrong(f"`{key}` takes a list of conditions")
        inside = scope if key != "n_of" else replace(scope, of_sync=False)  # what the sync is, is not counted
        parts = [condition(binder, item, inside, place.child(i)) for i, item in enumerate(value)]
        if key == "n_of":
            return _several(binder, parts, tree, scope, at)
        return conjunction(parts, place) if key == "all" else alternative(parts, place)
    if key == "not":
        inner = condition(binder, value, scope, place)
        return Negation(inner) if inner is not None else None
    if key == "segment":
        return _segment(binder, value, tree, scope, at)
    if key == "contact_of" and scope.of_sync:
        whose = str(value)
        return ContactOf(whose) if whose in WHOSE else place.wrong("whose contact points the sync maps", value=whose, valid=WHOSE)
    return test(binder, key, value, scope, place)


def _several(binder: Binder, parts: list[Condition | None], tree: dict[str, Any], scope: Scope, at: Place) -> Condition | None:
    """`n_of`: how many of the conditions hold."""
    if "is" not in tree:
        return at.child("n_of").wrong("`n_of` needs `is`", hint="is: {gte: 2}", key=True)
    if len(parts) < 2:
        return at.child("n_of").wrong("`n_of` counts two conditions or more")
    kept = tuple(part for part in parts if part is not None)
    return value_test(binder, Tally(kept), tree["is"], scope, at.child("is")) if len(kept) == len(parts) else None


def _segment(binder: Binder, name: Any, tree: dict[str, Any], scope: Scope, at: Place) -> Condition | None:
    place = at.child("segment")
    if not isinstance(name, str):
        return place.wrong("the name of a segment is expected", valid=binder.project.segments)
    segment = binder.project.segments.get(name)
    if segment is None:
        if binder.malformed("segment", name):
            return None
        return place.wrong(f"unknown segment {str(name)!r}", value=str(name), valid=binder.project.segments)
    if segment.entity != scope.entity.name:
        return place.wrong(f"segment {name} is about {segment.entity}, here it is about {scope.entity.name}")
    if scope.joined:
        return place.wrong(f"a segment cannot be asked over a to-one relation ({scope.hops[-1].name})", hint="write its conditions here")
    binder.used.add(("segment", segment.name))
    if segment.params:
        return templates.use(binder, segment, tree.get("with"), at)
    if "with" in tree:
        return at.child("with").wrong(f"segment {name} has no parameters", key=True)
    return InSql(segment.name) if segment.sql else InSegment(segment.name)
