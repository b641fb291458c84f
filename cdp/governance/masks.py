"""Masks: what lowers a value before it leaves. Each is one function from expression to expression, for every engine.

A mask changes a value, never who is in the audience, and stands on what leaves, never before a filter. Which classes a mask
takes and gives is said in governance/masks.yml; what it does is said here.
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Callable, Iterable

from sqlglot import exp

from cdp.governance.classes import ANY, PUBLIC, ClassTree
from cdp.governance.taint import Fact
from cdp.spec.policy import Mask

WIRE = frozenset({"hmac_sha256"})  # kinds that are computed on Arrow columns at apply, so that no key stands in a query
CONSTANT = frozenset({"null", "redact"})  # the same for every row, so they tell nothing and may stand on anything
REDACTED = "REDACTED"
OLDEST = 89  # the last age that a date may tell: 45 CFR 164.514(b)(2)(i)(C)
PHONE = "contact.phone"


def is_wire(mask: Mask) -> bool:
    """Is it computed at apply (see `pseudonyms`), not in SQL?"""
    return mask.kind in WIRE


def has_mechanism(name: str, mask: Mask) -> bool:
    """Can a mask of masks.yml be computed: by its `kind`, or else by its name?"""
    return is_wire(mask) or (mask.kind is None and name in _SQL)


def apply_mask(name: str, mask: Mask, value: exp.Expr, cls: str, day: dt.date) -> exp.Expr:
    """The masked value.

    Args:
        name: the mask's name, which says how it works.
        mask: its line in masks.yml.
        value: the expression to mask; it is copied, not changed.
        cls: the class of the value.
        day: the day on which ages are taken.

    Raises:
        ValueError: no SQL mask of this name (the loader checks it), or a mask that is computed at apply.
    """
    if is_wire(mask) or not has_mechanism(name, mask):
        raise ValueError(f"mask {name} is not computed in SQL; those that are: {', '.join(sorted(_SQL))}")
    return _SQL[name](mask, value, cls, day)


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
    if name in CONSTANT and mask.kind is None:
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


# ---- the functions ----------------------------------------------------------------------------------------------------
def _null(mask: Mask, value: exp.Expr, cls: str, day: dt.date) -> exp.Expr:
    return exp.cast(exp.null(), "string", dialect="spark")  # of a type, for a Delta column has one


def _redact(mask: Mask, value: exp.Expr, cls: str, day: dt.date) -> exp.Expr:
    """The same text in every row: neither the length nor whether there is a value."""
    return exp.Literal.string(REDACTED)


def _last4(mask: Mask, value: exp.Expr, cls: str, day: dt.date) -> exp.Expr:
    """The last four characters, of a phone number the last four digits. A text of no more than four would be shown whole: null."""
    text: exp.Expr = _text(value)
    if cls == PHONE or cls.startswith(f"{PHONE}."):
        text = exp.RegexpReplace(this=text, expression=exp.Literal.string("[^0-9]"), replacement=exp.Literal.string(""))
    return _when(exp.GT(this=exp.Length(this=text), expression=_number(4)), exp.Right(this=text.copy(), expression=_number(4)))


def _year(mask: Mask, value: exp.Expr, cls: str, day: dt.date) -> exp.Expr:
    """The year of a date. With `over_89: null`, only if nobody to whom it happened can be older than 89.

    That holds for any date, not of birth only: an admission 90 years ago tells an age over 89 as well.
    """
    year = exp.Year(this=exp.cast(value.copy(), "date"))
    if mask.over_89 is None:
        return year
    return _when(exp.GTE(this=year, expression=_number(day.year - OLDEST)), year.copy())


def _zip3(mask: Mask, value: exp.Expr, cls: str, day: dt.date) -> exp.Expr:
    """The first three digits of a ZIP code or ZIP+4, null for anything else; 000 for areas of few people. 164.514(b)(2)(i)(B)."""
    text = _text(value)
    area: exp.Expr = exp.Left(this=text, expression=_number(3))
    if mask.zero:
        few = exp.In(this=area.copy(), expressions=[exp.Literal.string(code) for code in mask.zero])
        area = exp.Case(ifs=[exp.If(this=few, true=exp.Literal.string("000"))], default=area)
    is_zip = exp.RegexpLike(this=text.copy(), expression=exp.Literal.string("^[0-9]{5}(-[0-9]{4})?$"))
    return _when(is_zip, area)


_SQL: dict[str, Callable[[Mask, exp.Expr, str, dt.date], exp.Expr]] = {
    "null": _null,
    "redact": _redact,
    "last4": _last4,
    "year": _year,
    "zip3": _zip3,
}
MECHANISMS = frozenset(_SQL) | WIRE  # names of SQL masks, and the `kind`s of masks of any name


def _text(value: exp.Expr) -> exp.Expr:
    return exp.cast(value.copy(), "string", dialect="spark")


def _number(number: int) -> exp.Expr:
    return exp.Literal.number(number)


def _when(condition: exp.Expr, value: exp.Expr) -> exp.Expr:
    return exp.Case(ifs=[exp.If(this=condition, true=value)])
