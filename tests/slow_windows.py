"""Windows and points in time of the slow evaluator: words become spans of calendar days."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.slow_calendar import ONE_DAY, UNITS, Span, counts, local_day, period, shift

if TYPE_CHECKING:
    from tests.slow_evaluator import Here, World

Tree = Any


def window(world: World, here: Here, word: str, tree: Tree) -> Span | None:
    """The days of a window; None where it rests on a day that is not known."""
    if word in ("within", "upcoming", "older_than"):
        return _relative(world, here, word, tree)
    if word == "during":
        return _during(world, here, tree)
    day = point(world, here, tree)
    if day is None:
        return None
    return {"before": Span(None, day - ONE_DAY), "until": Span(None, day), "after": Span(day + ONE_DAY, None), "since": Span(day, None)}[
        word
    ]


def _relative(world: World, here: Here, word: str, tree: Tree) -> Span | None:
    unit, near, far = counts(tree)
    anchor = point(world, here, tree.get("after") or tree["before"]) if {"after", "before"} & set(tree) else world.today
    if anchor is None:
        return None
    if word == "upcoming" or "after" in tree:
        return Span(shift(anchor, near, unit), shift(anchor, far, unit))
    if word == "within":
        return Span(shift(anchor, -far, unit), shift(anchor, -near, unit))
    return Span(None, shift(anchor, -far, unit) - ONE_DAY)


def _during(world: World, here: Here, tree: Tree) -> Span | None:
    if isinstance(tree, str):
        at = here.named(tree)
        return world.days(at.row) if at is not None else period(tree, world.today, world.model.config.get("periods", {}))
    if "from" in tree:
        first, last = point(world, here, tree["from"]), point(world, here, tree["to"])
        return None if first is None or last is None else Span(first, last)
    span = period(tree["period"], world.today, world.model.config.get("periods", {}))
    first, last = span.first, span.last
    assert first is not None
    if "first" in tree:
        unit, _, count = counts(tree["first"])
        last = shift(first, count, unit) - ONE_DAY
    if "and_prior" in tree:
        unit, _, count = counts(tree["and_prior"])
        first = shift(first, -count, unit)
    return Span(first, last)


def point(world: World, here: Here, text: str) -> dt.date | None:
    """`as_of - 30 days`, `2026-01-31`, `measurement_year.end`, `birth_date + 42 days`, `stay.end`."""
    match = re.fullmatch(rf"(.*?)(?:\s*([+-])\s*(\d+)\s+({'|'.join(UNITS)}))?", str(text))
    assert match is not None
    word, sign, count, unit = match.groups()
    day = _anchor(world, here, word)
    return shift(day, int(sign + count), unit) if sign and day is not None else day


def _anchor(world: World, here: Here, word: str) -> dt.date | None:
    if word == "as_of":
        return world.today
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", word):
        return dt.date.fromisoformat(word)
    name, _, edge = word.partition(".")
    if edge in ("start", "end") and (name in world.model.config.get("periods", {}) or re.fullmatch(r"(this|last|next)_\w+", name)):
        span = period(name, world.today, world.model.config.get("periods", {}))
        return span.first if edge == "start" else span.last
    return local_day(world.around(here, word).value, world.zone)


def both(spans: Sequence[Span | None]) -> Span:
    """The days that are in all of the spans."""
    joined = Span(None, None)
    for span in spans:
        assert span is not None
        joined = joined.and_also(span)
    return joined
