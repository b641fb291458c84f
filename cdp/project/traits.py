"""Binding of traits: a measure without `is`, a `case`, an SQL expression, or a SELECT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdp.project import formulas, measures
from cdp.project.conditions import condition
from cdp.project.literals import article, typed
from cdp.project.scope import outermost
from cdp.project.terms import Chosen, Condition, Operand, SqlValue, Value
from cdp.spec.model import VERBS, ColumnType, Entity, Trait

if TYPE_CHECKING:
    from cdp.project.bind import Binder, Place

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
    """The first branch whose condition holds gives the value."""
    before = len(binder.problems)
    whens: list[Condition] = []
    texts: list[tuple[Any, Place]] = []
    for i, branch in enumerate(tree):
        last = "else" in branch
        if last and (i < len(tree) - 1 or len(branch) > 1):
            at.child(i, "else").wrong("`else` is a last branch of its own: {else: VALUE}", key=True)
        if not last and not ("when" in branch and "then" in branch):
            at.child(i).wrong("a branch says `when` and `then`", hint="{when: {age: {lt: 18}}, then: child}")
        elif not last:
            when = condition(binder, branch["when"], outermost(entity), at.child(i, "when"))
            whens += [when] if when is not None else []
        word = "else" if last else "then"
        texts.append((branch.get(word), at.child(i, word)))
    if len(binder.problems) != before:
        return None
    if not whens:
        return at.wrong("a case has at least one branch with `when`")
    kind = kind or _kind(texts)
    values = [_value(text, kind, place) for text, place in texts]
    if len(binder.problems) != before:
        return None
    branches = tuple(zip(whens, values, strict=False))
    return Chosen(branches, values[-1] if len(values) > len(whens) else None, kind)


def _kind(texts: list[tuple[Any, Place]]) -> ColumnType:
    """The type of the first value: what its text reads as; a code such as 08 stays text."""
    first = next((text for text, _ in texts if isinstance(text, str)), None)
    if first is None or getattr(first, "quoted", False) or (first[:1] == "0" and first[1:2].isdigit()):
        return "string"
    kinds = [kind for kind in _GUESSES if typed(first, kind) is not None]
    if kinds[:1] == ["integer"] and any(isinstance(text, str) and typed(text, "integer") is None for text, _ in texts):
        kinds = kinds[1:]
    return kinds[0] if kinds else "string"


def _value(text: Any, kind: ColumnType, at: Place) -> Value | None:
    if text is None:
        return None
    value = typed(text, kind) if isinstance(text, str) else None
    if value is None:
        return at.wrong(f"the branches of a case are of one type: {str(text)!r} is not {article(kind)}", hint="quote text, or say `type:`")
    return value
