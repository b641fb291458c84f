"""Which rows of a batch are sent next, when not all of them are settled at once: it is halved until the row that is to blame is alone.

Two budgets, so that a few bad rows are found in few requests and a channel that takes nothing is soon left alone: one for parts that the
channel refuses (400, 413, 422), one for parts at which it fails (5xx) although it takes others. Every part that is taken pays for more.
"""

from __future__ import annotations

from collections import deque
from typing import Final

FAILING: Final = (
    3  # halvings of a batch at which the channel fails before it has taken any part: two bad rows are told apart from an outage
)


class Halves:
    """The parts of one batch that wait to be sent; each is a list of positions.

    Args:
        places: of all rows that can be sent.
        rows: of the batch.
        up: whether the channel said anything of the batch before; while it is down, halving tells nothing.

    Attributes:
        failing: the channel failed at a part of it. What is sent from then on is sent once: it has been tried often enough.
    """

    def __init__(self, places: list[int], rows: int, *, up: bool) -> None:
        self._waiting = deque([places] if places else [])
        self._splits = self._pay = rows.bit_length()
        self._credit = FAILING if up else 0
        self._failed: deque[list[int]] = deque()
        self.failing = False

    @property
    def final(self) -> bool:
        """Whether what the channel refuses now is not halved any more."""
        return self._splits == 0

    def next(self) -> list[int] | None:
        """The part to send now; None when nothing is left to be tried."""
        return self._waiting.popleft() if self._waiting else None

    def refused(self, rest: list[int], *, again: bool, too_many: bool) -> None:
        """Of a part that was refused these rows may do better.

        Args:
            rest: their positions.
            again: together, because the others are known to be to blame.
            too_many: rows in one request, so that it is halved until a part is small enough; else large parts come first.
        """
        parts = [rest] if again else _halved(rest)
        if too_many:
            self._waiting.extendleft(reversed(parts))
        else:
            self._waiting.extend(parts)
        self._splits -= 1

    def failed(self, places: list[int]) -> None:
        """At this part the channel failed; it is halved as soon as that may tell anything."""
        self.failing = True
        self._failed.append(places)
        self._go_on()

    def taken(self) -> None:
        """A part was taken."""
        self._splits += self._pay
        if self.failing:
            self._credit += 1
            self._go_on()

    def _go_on(self) -> None:
        while self._credit and self._failed:
            self._credit -= 1
            self._waiting.extend(_halved(self._failed.popleft()))


def _halved(places: list[int]) -> list[list[int]]:
    return [places[: len(places) // 2], places[len(places) // 2 :]]
