"""A channel's code for a reason: short, plain, and no way to say a value of the row. Its free text is never kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

LONG = 4  # letters from which a part of a word says something
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # badSmith is two words
_DIGITS = re.compile(r"[0-9]{5,}")  # of a telephone number, without the country's code


def repeats(code: str, values: Iterable[object]) -> bool:
    """Whether a code is one of these values: also in other letters, without the signs between, or as the same number."""
    plain, number = _plain(code), _number(code)
    return any(plain == _plain(value) or (number is not None and number == _number(value)) for value in _there(values))


def holds(code: str, values: Iterable[object]) -> bool:
    """Whether a code is one of these values, a part of one, or holds one or a word or long number of one: what a channel may say."""
    there = list(_there(values))
    return repeats(code, there) or contains(code, there) or any(_shares(code, str(value)) for value in there)


def contains(text: str, values: Iterable[object]) -> bool:
    """Whether one of these values stands in a text, in whatever spelling."""
    plain = _plain(text)
    return any(len(part) > 2 and part in plain for part in map(_plain, _there(values)))


def _shares(code: str, value: str) -> bool:
    """Whether a code is a part of a value, or has a word or a long number of it."""
    plain, digits = _plain(code), "".join(filter(str.isdigit, value))
    if len(plain) >= LONG and plain in _plain(value):
        return True
    return any(run in digits for run in _DIGITS.findall(code)) or not _words(code).isdisjoint(_words(value))


def _words(text: str) -> set[str]:
    words = _WORD.findall(text)
    found = (*words, *(hump for word in words for hump in _HUMP.findall(word)))
    return {word.casefold() for word in found if len(word) > 2 and not word.isdigit()}


def _there(values: Iterable[object]) -> Iterable[object]:
    return (value for value in values if value is not None and value != "")


def _plain(value: object) -> str:
    return "".join(filter(str.isalnum, str(value).casefold()))


def _number(value: object) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
