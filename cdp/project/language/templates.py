"""Templates: a segment with parameters, bound once for each way in which a condition fills them in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cdp.project.language import value_sets
from cdp.project.language.literals import article, literal
from cdp.project.terms import InSegment
from cdp.spec.base import Text, Tree
from cdp.spec.model import ParamType, Segment

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

_PARAM = re.compile(r"\$([a-z][a-z0-9_]*)")
DEEPEST = 32  # templates inside of templates


def use(binder: Binder, segment: Segment, given: Any, at: Place) -> InSegment | None:
    """A template with its parameters filled in; None after a problem was reported."""
    values = _values(binder, segment, given, at)
    if values is None:
        return None
    term = InSegment(segment.name, values)
    key = (term.name, term.given)
    if key not in binder.templates and key not in binder.filling:
        if len(binder.filling) == DEEPEST:
            return at.wrong(f"templates inside of templates, more than {DEEPEST} deep")
        binder.filling.append(key)
        try:
            binder.templates[key] = _bound(binder, segment, dict(values), at)
        finally:
            binder.filling.pop()
    return term


def _values(binder: Binder, segment: Segment, given: Any, at: Place) -> tuple[tuple[str, str], ...] | None:
    """The values of the parameters, as written, by name."""
    if not isinstance(given, dict) or not given:
        need = ", ".join(f"{name}: {kind.upper()}" for name, kind in segment.params.items())
        return at.child("segment").wrong(f"segment {segment.name} has parameters", hint=f"with: {{{need}}}")
    place, before = at.child("with"), len(binder.problems)
    for name in given:
        if name not in segment.params:
            place.child(name).wrong(f"segment {segment.name} has no parameter {name!r}", value=name, valid=segment.params, key=True)
    for name, kind in segment.params.items():
        if name not in given:
            place.wrong(f"parameter {name!r} of segment {segment.name} is missing", hint=f"it is {article(kind)}", key=True)
        else:
            _check(binder, given[name], kind, place.child(name))
    if len(binder.problems) != before:
        return None
    return tuple(sorted((name, str(value)) for name, value in given.items()))


def _check(binder: Binder, value: Any, kind: ParamType, at: Place) -> None:
    if kind != "value_set":
        literal(value, kind, at)
    elif not isinstance(value, str):
        at.wrong("a value set is expected here", valid=binder.project.value_sets)
    else:
        value_sets.found(binder, value, at)


def _bound(binder: Binder, segment: Segment, given: Mapping[str, str], at: Place) -> Any:
    place = binder.place("segment", segment.name, "where").told(f"as it is used in {at.where()}")
    before = len(binder.problems)
    tree = filled(segment.where, given, place)
    return binder.condition(tree, binder.project.entities.get(segment.entity), place) if len(binder.problems) == before else None


def named(tree: Tree) -> Iterator[str]:
    """The parameters that a tree names."""
    if isinstance(tree, (dict, list)):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from named(value)
    elif isinstance(tree, str) and not getattr(tree, "quoted", False):
        yield from _PARAM.findall(tree)


def filled(tree: Tree, given: Mapping[str, str], at: Place) -> Tree:
    """The tree with each `$name` replaced by its value; reports a name that is not given."""
    if isinstance(tree, dict):
        return {key: filled(value, given, at.child(key)) for key, value in tree.items()}
    if isinstance(tree, list):
        return [filled(value, given, at.child(i)) for i, value in enumerate(tree)]
    if not isinstance(tree, str) or "$" not in tree or getattr(tree, "quoted", False):
        return tree
    unknown = [name for name in _PARAM.findall(tree) if name not in given]
    for name in unknown:
        at.wrong(f"unknown parameter ${name}", value=f"${name}", valid=[f"${each}" for each in given], hint="put text in quotes")
    if unknown:
        return tree
    whole = _PARAM.fullmatch(tree) is not None  # its value is not read for parameters again
    return Text(_PARAM.sub(lambda match: given[match[1]], tree), whole)
