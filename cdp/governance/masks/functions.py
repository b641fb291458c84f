"""What masks do: each one function from expression to expression, the same on every engine.

What receivers want to be hashed stands in their own pages. Meta, "Customer Information Parameters"
(developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters): e-mail trimmed and in
lower case; phone without symbols, letters and leading zeros, always with the country code: 16505551212; names in lower
case without punctuation. Google, Customer Match ("prepare user data" of Display & Video 360; template of Google Ads, g.co/wudy8r):
e-mail and names without spaces around them and in lower case; phone as E.164, which begins with +. All: SHA-256 as hex in lower case.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.windows import shift
from cdp.spec.activation import PhoneForm
from cdp.spec.policy import Mask

REDACTED = "REDACTED"
OLDEST = 89  # the last age that a date may tell: 45 CFR 164.514(b)(2)(i)(C)
EMAIL, PHONE, NAME = "contact.email", "contact.phone", "name"
_SPACE = "[ \t\r\n]"
_WORD = "[^@ \t\r\n]+"


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a value that is masked.

    Attributes:
        cls: its class; empty for what is computed.
        day: the day on which ages are taken: the wall clock's.
        phone: the form in which the receiver hashes phone numbers.
    """

    cls: str
    day: dt.date
    phone: PhoneForm = "e164"


Function = Callable[[Mask, exp.Expr, About], exp.Expr]


# -- the same in every row -------------------------------------------------------------------------------------------


def _null(mask: Mask, value: exp.Expr, about: About) -> exp.Expr:
    return exp.cast(exp.null(), "string", dialect="spark")  # of a type, for a Delta column has one


def _redact(mask: Mask, value: exp.Expr, about: About) -> exp.Expr:
    """The same text in every row: neither the length nor whether there is a value."""
    return sql.string(REDACTED)


def _constant(mask: Mask, value: exp.Expr, about: About) -> exp.Expr:
    """The text of the mask in every row; the loader asks for it."""
    return sql.string(mask.value or "")


# -- part of a value -------------------------------------------------------------------------------------------------


def _last4(mask: Mask, value: exp.Expr, about: About) -> exp.Expr:
    """The last four characters, of a phone number the last four digits. A text of no more than four would be shown whole: null."""
    text = _text(value)
    if within(about.cls, PHONE):
        text = _without("[^0-9]", text)
    return _when(exp.GT(this=exp.Length(this=text), expression=sql.number(4)), exp.Right(this=text.copy(), expression=sql.number(4)))


def _zip3(mask: Mask, value: exp.Expr, about: About) -> exp.Expr:
    """The first three digits of a ZIP code or ZIP+4, null for anything else; 000 for areas of few people. 164.514(b)(2)(i)(B)."""
    text = _text(value)
    area: exp.Expr = exp.Left(this=text, expression=sql.number(3))
    if mask.zero:
        few = exp.In(this=area.copy(), expressions=[sql.string(code) for code in mask.zero])
        area = sql.chosen([(few, sql.string("000"))], area)
    return _when(_matches(text, "[0-9]{5}(-[0-9]{4})?"), area)


# -- of a date -------------------------------------------------------------------------------------------------------


def _year(mask: Mask, value: exp.Expr, about: About) -> exp.Expr:
    """The year of a date. With `over_89: null`, only if nobody to whom it happened can be older than 89.

    That holds for any date, not of birth only: an admission 90 years ago tells an age over 89 as well.
    """
    year = exp.Year(this=exp.cast(value.copy(), "date"))
    if mask.over_89 is None:
        return year
    return _when(exp.GTE(this=year, expression=sql.number(about.day.year - OLDEST)), year.copy())


def _age_band(mask: Mask, value: exp.Expr, about: About) -> exp.Expr:
    """The group of an age in completed years, such as `18-29`; the last has no end (`90+`). Null below the first and for the unborn.

    As bounds on the birth date, so that who is born on 29 February turns on 1 March, as for `age` in a segment.
    """
    born = exp.cast(value.copy(), "date")
    names = [*(_band(low, high) for low, high in pairwise(mask.bands)), f"{mask.bands[-1]}+"]
    bands = [(_on_or_before(born, shift(about.day, "years", -low)), name) for low, name in zip(mask.bands, names, strict=True)]
    unborn = exp.GT(this=born.copy(), expression=sql.date_literal(about.day))
    return sql.chosen([(unborn, exp.null()), *((test, sql.string(name)) for test, name in reversed(bands))])


def _band(low: int, next_: int) -> str:
    return f"{low}-{next_ - 1}" if next_ - low > 1 else str(low)


def _on_or_before(day: exp.Expr, last: dt.date) -> exp.Expr:
    return exp.LTE(this=day.copy(), expression=sql.date_literal(last))


# -- what others hash too ----------------------------------------------------------------------------------------------


def _sha256(mask: Mask, value: exp.Expr, about: About) -> exp.Expr:
    """SHA-256 as hex in lower case, of the form that receivers hash; null for what has no such form, and for nothing.

    Everybody who knows the address computes the same: it still identifies, so it gives `identifier.linkable`.
    """
    text = _text(value)
    form = _FORMS[form_of(about.cls) or ""] if mask.normalise else None
    normal = form(mask, text, about) if form else exp.Nullif(this=text, expression=sql.string(""))
    return exp.SHA2(this=normal, length=sql.number(256))


def form_of(cls: str) -> str | None:
    """The class among EMAIL, PHONE and NAME that a class is at or below; None where receivers have agreed on no form."""
    return next((known for known in _FORMS if within(cls, known)), None)


def _email(mask: Mask, text: exp.Expr, about: About) -> exp.Expr:
    normal = exp.Lower(this=_trimmed(text))
    return _when(_matches(normal, f"{_WORD}@{_WORD}[.]{_WORD}"), normal.copy())


def _name(mask: Mask, text: exp.Expr, about: About) -> exp.Expr:
    normal = exp.Lower(this=_trimmed(_without(r"[^\p{L}\p{M}\p{N} ]", text)))
    return exp.Nullif(this=normal, expression=sql.string(""))


def _phone(mask: Mask, text: exp.Expr, about: About) -> exp.Expr:
    """Country code and number, as E.164 or its digits only. Without + it must be one of the numbering plan that the mask names."""
    number, digits = _trimmed(text), _without("[^0-9]", text)
    abroad = [(_matches(number, "[+][0-9 ().-]+"), _matches(digits, "[1-9][0-9]{7,14}"), digits)]
    if mask.without_plus == "north_american":  # ten digits, the area code and the exchange begin with 2-9; 1 before it or not
        plain, whole = _matches(number, "[0-9 ().-]+"), exp.Concat(expressions=[sql.string("1"), digits.copy()])
        abroad += [(plain, _matches(digits, "[2-9][0-9]{2}[2-9][0-9]{6}"), whole)]
        abroad += [(plain.copy(), _matches(digits, "1[2-9][0-9]{2}[2-9][0-9]{6}"), digits)]
    normal = sql.chosen([(sql.every([written, fits]), value.copy()) for written, fits, value in abroad])
    return exp.Concat(expressions=[sql.string("+"), normal]) if about.phone == "e164" else normal


_FORMS: Mapping[str, Function] = {EMAIL: _email, PHONE: _phone, NAME: _name}

SQL: Mapping[str, Function] = {
    "null": _null,
    "constant": _constant,
    "redact": _redact,
    "sha256": _sha256,
    "last4": _last4,
    "year": _year,
    "age_band": _age_band,
    "zip3": _zip3,
}


# -- parts -----------------------------------------------------------------------------------------------------------


def within(cls: str, above: str) -> bool:
    """Is a class at or below another?"""
    return cls == above or cls.startswith(f"{above}.")


def _text(value: exp.Expr) -> exp.Expr:
    return exp.cast(value.copy(), "string", dialect="spark")


def _without(pattern: str, text: exp.Expr) -> exp.Expr:
    return exp.RegexpReplace(this=text.copy(), expression=sql.string(pattern), replacement=sql.string(""))


def _trimmed(text: exp.Expr) -> exp.Expr:
    return _without(f"^{_SPACE}+|{_SPACE}+\\z", text)


def _matches(text: exp.Expr, pattern: str) -> exp.Expr:
    """Whether a whole text is of a form; `$` would let a line break follow on some engines."""
    return exp.RegexpLike(this=text.copy(), expression=sql.string(f"^{pattern}\\z"))


def _when(condition: exp.Expr, value: exp.Expr) -> exp.Expr:
    return sql.chosen([(condition, value)])
