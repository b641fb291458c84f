"""How many people are at each receiver, as it may be shown: no number of few people, and none that it follows from."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Final

from cdp.analyst.explore.cells import Shown, Table

Cell = tuple[str, str | None]  # a receiver, and a purpose or all of them
PURPOSES: Final = 6  # of one receiver: with more the numbers of single purposes are left out


def protected(people: Mapping[Cell, int], small: int) -> dict[Cell, Shown]:
    """The numbers of people at receivers, in all and for each purpose.

    Who is there for one purpose may be there for others too, so the purposes do not add up; but who is there is there for one
    of them. Receivers have nothing to do with each other.

    Args:
        people: true numbers; None stands for all purposes together.
        small: how many people a number must count to be shown.
    """
    shown: dict[Cell, Shown] = {}
    for receiver in dict.fromkeys(receiver for receiver, _ in people):
        purposes: list[Cell] = [cell for cell in people if cell[0] == receiver and cell[1] is not None]
        shown |= _of(people, (receiver, None), purposes if len(purposes) <= PURPOSES else [], small)
    return shown


def _of(people: Mapping[Cell, int], total: Cell, purposes: list[Cell], small: int) -> dict[Cell, Shown]:
    table = Table(small)
    table.cell(total, people[total], rank=1)
    for cell in purposes:
        table.cell(cell, people[cell])
        table.form({total: 1, cell: -1})  # who is there, but not for this purpose
    several = [among for size in range(1, len(purposes) + 1) for among in combinations(purposes, size)]
    table.kinds = [frozenset({total, *among}) for among in several] or [frozenset({total})]
    if len(purposes) == 2:
        table.form({purposes[0]: 1, purposes[1]: 1, total: -1})  # who is there for both
    found = table.shown()
    return {cell: found[cell] for cell in (total, *purposes)}
