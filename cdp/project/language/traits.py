"""Binding of traits: a measure without `is`, a `case`, an SQL expression, or a SELECT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdp.project.language import formulas, measures
from cdp.project.language.conditions import condition
from cdp.project.language.literals import article, typed
from cdp.project.language.scope import outermost
from cdp.project.terms import Chosen, Operand, SqlValue, Value
from cdp.spec.model import VERBS, ColumnType, Entity, Trait

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

_GUESSES: tuple[ColumnType, ...] = ("integer", "decimal", "boolean", "date")


def bind_trait(binder: Binder, trait: Trait) -> Operand | None:
    """The value of a trait; None after a problem was reported, here or by the loader."""
    entity = binder.project.entities.get(trait.entity)
    if entity is None:
        return None
    at = binder.place("trait", trait.name)
    tree = binder.project.sources["trait", trait.name].tree
    if trait.case:
        return _case(binder, tree["case"], trait.type, entity, at.child("case"))
    if trait.expr is not None or trait.sql is not None:
        if trait.type is None:
            return None  # reported by the loader
        if trait.sql is not None:
            return SqlValue(trait.name, trait.type)
        return formulas.formula(binder, trait.expr or "", outermost(entity), at.child("expr"), trait.type)
    verbs = [verb for verb in VERBS if verb in tree]
    if len(verbs) != 1:
        return None  # reported by the loader
    keys = {key: value for key, value in tree.items() if key in VERBS or key in measures.MODIFIERS}
    return measures.value(binder, verbs[0], keys, outermost(entity), at)


# -- case -------------------------------------------------------------------------------------------------------------


def _case(binder: Binder, tree: list[Any], kind: ColumnType | None, entity: Entity, at: Place) -> Chosen | None:
    """The first branch whose condition holds gives the value; the loader sees to it that `else` is the last one."""
    before = len(binder.problems)
    scope = outermost(entity)
    whens = [condition(binder, branch["when"], scope, at.child(i, "when")) for i, branch in enumerate(tree) if "when" in branch]
    words = ["then" if "then" in branch else "else" for branch in tree]
    kind = kind or _kind([branch[word] for branch, word in zip(tree, words, strict=True)])
    values = [_value(branch[word], kind, at.child(i, word)) for i, (branch, word) in enumerate(zip(tree, words, strict=True))]
    if len(binder.problems) != before:
        return None
    branches = tuple((when, value) for when, value in zip(whens, values, strict=False) if when is not None)
    return Chosen(branches, values[-1] if len(values) > len(branches) else None, kind)


def _kind(texts: list[Any]) -> ColumnType:
    """The type of the values: what all of their texts read as, else the first; a code such as 08 stays text."""
    words = [text for text in texts if isinstance(text, str)]
    if not words or any(getattr(text, "quoted", False) or (text[:1] == "0" and text[1:2].isdigit()) for text in words):
        return "string"
    for some in (words, words[:1]):
        for kind in _GUESSES:
            if all(typed(text, kind) is not None for text in some):
                return kind
    return "string"


def _value(text: Any, kind: ColumnType, at: Place) -> Value | None:
    if text is None:
        return None
    value = typed(text, kind) if isinstance(text, str) else None
    if value is None:
        return at.wrong(f"the branches of a case are of one type: {str(text)!r} is not {article(kind)}", hint="quote text, or say `type:`")
    return value
