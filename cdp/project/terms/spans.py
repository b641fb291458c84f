"""How far days are apart, as far as it can be told without knowing the day of the clock."""

from __future__ import annotations

import datetime as dt

from cdp.project.terms import Day, Window

_LEAST = {"days": 1, "weeks": 7, "months": 28, "years": 365}
_MOST = {"days": 1, "weeks": 7, "months": 31, "years": 366}


def shift(day: Day) -> tuple[int, int]:
    """The least and the most days that the shifts of a day add to its anchor."""
    near = sum((_LEAST if count > 0 else _MOST)[unit] * count for unit, count in day.shifts)
    far = sum((_MOST if count > 0 else _LEAST)[unit] * count for unit, count in day.shifts)
    return near, far


def distance(first: Day, last: Day) -> tuple[int, int] | None:
    """The least and the most days from one day to another; None where their anchors cannot be compared."""
    (near, far), (least, most) = shift(first), shift(last)
    if first.anchor == last.anchor:
        base = 0
    elif isinstance(first.anchor, dt.date) and isinstance(last.anchor, dt.date):
        base = (last.anchor - first.anchor).days
    else:
        return None
    return base + least - far, base + most - near


def empty(window: Window) -> bool:
    """Whether a window certainly holds no day."""
    if window.first is None or window.last is None or window.ongoing:
        return False
    apart = distance(window.first, window.last)
    return apart is not None and apart[1] < 0
