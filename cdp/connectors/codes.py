"""A channel's code for a reason: short, plain, and no way to say a value of the row. Its free text is never kept."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

LONG = 4  # letters from which a part of a word says something


def repeats(code: str, values: Iterable[object]) -> bool:
    """Whether a code is one of these values: also in other letters, without the signs between, or as the same number."""
    plain, number = _plain(code), _number(code)
    return any(plain == _plain(value) or (number is not None and number == _number(value)) for value in _there(values))


def holds(code: str, values: Iterable[object]) -> bool:
    """Whether a code is one of these values, holds one, or is a part of one: what a channel's own words may do."""
    there, plain = list(_there(values)), _plain(code)
    parts = (_plain(value) for value in there)
    return repeats(code, there) or any((len(p) > 2 and p in plain) or (len(plain) >= LONG and plain in p) for p in parts)


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
