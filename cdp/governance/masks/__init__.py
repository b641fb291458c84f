"""Masks: what lowers a value before it leaves. Each is one function from expression to expression, for every engine.

A mask changes a value, never who is in the audience, and stands on what leaves, never before a filter. Which classes a mask
takes and gives is said in governance/masks.yml; what it does is said in `mask_functions`.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from sqlglot import exp

from cdp.governance.classes import ANY, PUBLIC, ClassTree
from cdp.governance.masks.functions import SQL, About, form_of
from cdp.governance.taint import Fact
from cdp.spec.policy import CONSTANTS, WIRE, Mask, mechanism


def is_wire(name: str, mask: Mask) -> bool:
    """Is it computed at apply (see `pseudonyms`), not in SQL?"""
    return mechanism(name, mask) in WIRE


def is_constant(name: str, mask: Mask) -> bool:
    """Does it write the same into every row?"""
    return mechanism(name, mask) in CONSTANTS


def needs_form(name: str, mask: Mask, cls: str) -> bool:
    """Would it hash a value of a class for which receivers know no form: of what is computed, or of a class that they do not match?"""
    return mechanism(name, mask) == "sha256" and mask.normalise is not None and form_of(cls) is None


def apply_mask(name: str, mask: Mask, value: exp.Expr, about: About) -> exp.Expr:
    """The masked value.

    Args:
        name: the mask's name, which says how it works where its `kind` does not.
        mask: its line in masks.yml.
        value: the expression to mask; it is copied, not changed.
        about: what is known of the value.

    Raises:
        ValueError: no SQL mask works like that (the loader checks it), or the mask is computed at apply.
    """
    how = mechanism(name, mask)
    if how not in SQL:
        raise ValueError(f"mask {name} is not computed in SQL; those that are: {', '.join(sorted(SQL))}")
    return SQL[how](mask, value, about)


def lower(tree: ClassTree, name: str, mask: Mask, taint: frozenset[Fact]) -> frozenset[Fact]:
    """What a value tells after the mask; unchanged when the mask does not take every fact of it.

    A value that depends on two classes, one of which the mask does not take, still tells both: half a mask lowers
    nothing. `*` does not reach special classes, but for masks that write the same into every row. A class that no query
    may read stays, so that it is refused.

    Args:
        tree: the classes.
        name: the mask's name.
        mask: its line in masks.yml.
        taint: what the value tells without it.
    """
    if any(tree.never(fact.cls) for fact in taint):
        return taint
    if is_constant(name, mask):
        taken = all(ANY in mask.of or tree.covers(mask.of, fact.cls) for fact in taint)
        return frozenset(Fact(f.table, f.column, PUBLIC) for f in taint) if taken else taint
    lowered = set()
    for fact in taint:
        given = _given(tree, mask, fact.cls)
        if given is None:
            return taint
        lowered.add(Fact(fact.table, fact.column, given))
    return frozenset(lowered)


def pseudonyms(values: Iterable[str | None], key: bytes, context: str) -> list[str | None]:
    """HMAC-SHA256 (hex) over the context, a NUL byte and the value; null stays null.

    Args:
        values: a column as text.
        key: the secret.
        context: what the pseudonym is for, such as destination and key version: under another one the same person has
            another pseudonym.

    Raises:
        ValueError: the key is empty, so that anyone could compute the same; or the context holds a NUL byte.
    """
    if not key or "\0" in context:
        raise ValueError("a pseudonym needs a key that is not empty, and a context without NUL bytes")
    start = hmac.new(key, f"{context}\0".encode(), "sha256")

    def one(value: str) -> str:
        digest = start.copy()
        digest.update(value.encode())
        return digest.hexdigest()

    return [None if value is None else one(value) for value in values]


def _given(tree: ClassTree, mask: Mask, cls: str) -> str | None:
    """The class that the mask makes of a class; None where it does not take it."""
    if cls == PUBLIC:
        return PUBLIC
    if not tree.covers(mask.of, cls):
        return None
    if isinstance(mask.gives, str):
        return cls if mask.gives == "same" else mask.gives
    return next((mask.gives[above] for above in tree.line(cls) if above in mask.gives), None)
