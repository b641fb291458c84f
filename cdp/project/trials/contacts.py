"""Texts that look like a way to reach a real person: no test of a project may hold one."""

from __future__ import annotations

import re
from typing import Final

_EMAIL: Final = re.compile(r"[^\s@<>,;\"']+@([^\s@<>,;\"']+\.[^\s@<>,;\"']+)")
_RESERVED: Final = re.compile(r"(?:.*\.)?(?:example\.(?:org|com|net)|example|test|invalid)", re.IGNORECASE)  # RFC 2606
# Written as a telephone number is: in groups, or with a plus sign. A day or a plain row of digits is not.
_GROUPED: Final = re.compile(
    r"(?<![\w.-])(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}"
    r"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])?\d{3}[ .-]\d{4})(?![\w-])"
)
_PLAIN: Final = re.compile(r"\+?1?\d{10}")
_FICTITIOUS: Final = re.compile(r".*55501\d\d")  # 555-0100 to 555-0199, in any area: reserved for fiction
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d([T ][\d:.+Z-]*)?")


def reaches_a_person(text: str, *, a_phone: bool = False) -> str:
    """What a text holds that may reach somebody: `an e-mail address`, `a telephone number`, or nothing.

    Args:
        text: any text.
        a_phone: it stands where a telephone number belongs, so that ten digits without a gap are one.
    """
    if any(not _RESERVED.fullmatch(found[1].rstrip(".")) for found in _EMAIL.finditer(text)):
        return "an e-mail address"
    if _TIME.fullmatch(text):
        return ""
    numbers = [found[0] for found in _GROUPED.finditer(text)]
    if a_phone and _PLAIN.fullmatch(text):
        numbers.append(text)
    if any(not _FICTITIOUS.fullmatch(re.sub(r"\D", "", number)) for number in numbers):
        return "a telephone number"
    return ""
