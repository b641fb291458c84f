"""Points in time: `2026-01-31`, `as_of`, `measurement_year.end`, `stay.end`, each with an optional `+ 42 days`."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, cast

from cdp.project.language import names
from cdp.project.language.literals import article
from cdp.project.language.scope import Scope
from cdp.project.terms import ColumnRef, Day, DayOf, Unit
from cdp.project.terms.types import type_of

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

TODAY = Day("as_of")
_NAME = r"[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*"
_POINT = re.compile(rf"({_NAME}|\d{{4}}-\d{{2}}-\d{{2}})(?:\s*([+-])\s*(\d{{1,5}})\s+([a-z]+))?")
_UNITS = ("days", "weeks", "months", "years")


def bind_day(binder: Binder, tree: object, scope: Scope, at: Place) -> Day | None:
    """The day of a point in time, of the row at hand or the nearest row around that has such a name."""
    match = _POINT.fullmatch(tree) if isinstance(tree, str) else None
    if match is None:
        return at.wrong(f"{tree!r} is not a day", valid=_valid(at), hint="a day may be shifted: as_of - 42 days")
    word, sign, count, unit = match.groups()
    if sign and unit not in _UNITS:
        return at.wrong(f"unknown unit {unit!r}", value=unit, valid=_UNITS, hint="windows are counted in days")
    day = _anchor(binder, word, scope, at)
    if day is None or sign is None:
        return day
    return day.plus(cast(Unit, unit), int(count) if sign == "+" else -int(count))


def _valid(at: Place) -> tuple[str, ...]:
    return ("as_of", "2026-01-31", *(f"{p}.{edge}" for p in at.periods for edge in ("start", "end")))


def _anchor(binder: Binder, word: str, scope: Scope, at: Place) -> Day | None:
    if word == "as_of":
        return TODAY
    period, _, edge = word.partition(".")
    if period in at.periods and edge in ("start", "end"):
        return Day((period, "start" if edge == "start" else "end"))
    if word[0].isdigit():
        try:
            return Day(dt.date.fromisoformat(word))
        except ValueError:
            return at.wrong(f"{word!r} is not a day", value=word, valid=_valid(at))
    head = word.partition(".")[0]
    if scope.named(head) is None and not any(names.knows(binder, row.entity, head) for row, _ in scope.around()):
        days = [name for row, _ in scope.around() for name, spec in row.entity.columns.items() if spec.type in ("date", "timestamp")]
        aliases = [f"{name}.COLUMN" for name in scope.names() if scope.parent is not None]
        return at.wrong(f"{word!r} is not a day", value=word, valid=(*_valid(at), *days, *aliases))
    return _column(binder, word, scope, at)


def _column(binder: Binder, word: str, scope: Scope, at: Place) -> Day | None:
    operand = names.operand(binder, word, scope, at, outward=True)
    if operand is None:
        return None
    column = operand.column if isinstance(operand, DayOf) else operand
    if not isinstance(column, ColumnRef):
        return at.wrong(f"{word} is computed; a point in time is a date column, as_of, a period's edge or a date")
    if column.type not in ("date", "timestamp") or column.array:
        return at.wrong(f"{word} is {article(str(type_of(column)))}, not a day")
    return Day(column)
