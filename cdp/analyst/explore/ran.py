"""The numbers of a run's waterfall, as they may be shown: no number of few people, and none that it follows from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdp.analyst.explore.cells import Shown, Table
from cdp.analyst.explore.elimination import Kind

Cell = tuple[str, ...]  # a step; a part of it: ("rejected", "blocked"). An op is the same people in every level: ("op", "add")
OPS = ("add", "change", "remove")


def protected(steps: Sequence[Mapping[str, Any]], small: int) -> dict[Cell, Shown]:
    """The numbers of a waterfall.

    Args:
        steps: as `cdp runs RUN --json` gives them.
        small: how many people a number must count to be shown.
    """
    table = Table(small)
    for step in steps:
        table.cell((step["step"],), step["count"], rank=step["kind"] == "level")
        for part in step["parts"]:
            table.cell(cell(step["step"], part["part"]), part["count"])
        if step["parts"]:
            table.whole((step["step"],), [cell(step["step"], part["part"]) for part in step["parts"]])
    before, after = _split(steps)
    start: Cell | None = ("segment",) if ("segment",) in table.values else None
    if start:
        table.whole(start, [*before, ("to_tell",)])
    if ("removals",) in table.values:
        table.whole(("removals",), [name for name in [("removals_waiting",), ("op", "remove")] if name in table.values])
    if ("planned",) in table.values:
        table.whole(("planned",), [*after, ("delivered",)])
    upper: list[Kind] = [frozenset({*([start] if start else []), each}) for each in before]
    table.kinds = [*upper, *_rows(table, steps, start)]
    return {name: shown for name, shown in table.shown().items() if isinstance(name, tuple)}


def cell(step: str, part: str) -> Cell:
    """The cell of a part of a step."""
    if part not in OPS:
        return step, part
    return ("op", part) if step in ("to_tell", "planned") else (step, part)


def _split(steps: Sequence[Mapping[str, Any]]) -> tuple[list[Cell], list[Cell]]:
    """Who is lost on the way to a plan, and who after it."""
    names = [step["step"] for step in steps]
    at = {level: names.index(level) if level in names else 0 for level in ("to_tell", "planned")}
    lost: list[tuple[int, Cell]] = [(place, (step["step"],)) for place, step in enumerate(steps) if step["kind"] == "less"]
    return [name for place, name in lost if place < at["to_tell"]], [name for place, name in lost if place > at["planned"]]


def _rows(table: Table, steps: Sequence[Mapping[str, Any]], start: Cell | None) -> list[Kind]:
    """The kinds of people of a plan's rows: each op with each end that a row may come to; and those whose removal waits."""
    _, after = _split(steps)
    ends: list[Kind] = []
    for step in steps:
        if (step["step"],) in after:
            reasons = [cell(step["step"], part["part"]) for part in step["parts"]]
            ends += [frozenset({(step["step"],), reason}) for reason in reasons] or [frozenset({(step["step"],)})]
    kinds: list[Kind] = [frozenset({("removals",), ("removals_waiting",)})] if ("removals_waiting",) in table.values else []
    for op in OPS:
        if ("op", op) in table.values:
            above = {("planned",), ("op", op), *([("removals",)] if op == "remove" else [*([start] if start else []), ("to_tell",)])}
            taken = frozenset({("delivered",), *([("delivered", op)] if ("delivered", op) in table.values else [])})
            kinds += [frozenset(each for each in above if each in table.values) | end for end in [*ends, taken]]
    return kinds
