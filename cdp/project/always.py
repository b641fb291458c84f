"""Conditions that are true of everyone or of nobody: seen when parts are put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdp.project.terms import Condition, Every, Some

if TYPE_CHECKING:
    from cdp.project.bind import Place


def conjunction(parts: list[Condition | None], at: Place) -> Condition | None:
    """All of the parts; None when one of them is None, because a problem was reported."""
    if not parts:
        return at.wrong("an empty condition would be true of everyone", hint="write at least one test")
    kept = [part for part in parts if part is not None]
    if len(kept) != len(parts):
        return None
    return kept[0] if len(kept) == 1 else Every(tuple(kept))


def alternative(parts: list[Condition | None], at: Place) -> Condition | None:
    """At least one of the parts; None when one of them is None, because a problem was reported."""
    if not parts:
        return at.wrong("an empty condition would be true of everyone", hint="write at least one test")
    kept = [part for part in parts if part is not None]
    if len(kept) != len(parts):
        return None
    return kept[0] if len(kept) == 1 else Some(tuple(kept))
