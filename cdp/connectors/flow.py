"""How much may leave: a bucket for what is allowed in a time, a window for how many requests at a time a channel takes well.

Both are plain state: who uses them brings the clock and the lock (`pace`).
"""

from __future__ import annotations

import math
from typing import Final

FIRST: Final = 8  # requests at a time before anything is known of the channel; doubled each round until it is too much
CAREFUL: Final = 10  # clean rounds before the window comes back to a size that was too much
LATE: Final = 0.02  # seconds that a bucket lets us catch up on, when a timer or the interpreter came late


class Bucket:
    """A token bucket as a virtual clock (GCRA, ITU-T I.371): `wait` until what was taken is earned, then `take` more.

    In any second, or longer, no more leaves than `rate` allows in that time, and of rows what the last request goes beyond it: a request
    does not come in parts. To hold that in spite of LATE, the bucket fills by so much slower.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._each = (1 + LATE) / rate
        self._earned = -math.inf  # when all that was taken is earned

    def wait(self, now: float) -> float:
        """Seconds until more may be taken."""
        return max(0.0, self._earned - now)

    def take(self, now: float, cost: float) -> None:
        """Take as much as a request costs."""
        self._earned = max(self._earned, now - LATE) + cost * self._each


class Window:
    """How many requests at a time: additive increase, multiplicative decrease (Chiu and Jain, 1989), with TCP's slow start (RFC 5681).

    It grows no further than it is used (RFC 7661), is halved once for all requests that were in flight together, and comes back to a
    size that was too much only after many clean rounds (as CUBIC does, RFC 9438): a refusal costs everybody a pause. A channel that counts
    requests in a time and says how long to wait is not told fewer at a time: the wait is the remedy, until a refusal follows another
    before a whole window was taken.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.round = 0  # raised by every refusal
        self._size = float(min(FIRST, ceiling))
        self._doubling = True  # until the first refusal
        self._too_much = math.inf  # a size that was
        self._peak = self._answers = 0  # the most in flight, and answers, since as many answers as fit in the window
        self._taken = 0  # requests since the last refusal

    @property
    def size(self) -> int:
        """Requests that may be in flight."""
        return int(self._size)

    def began(self, in_flight: int) -> None:
        """A request was sent, and now so many are in flight."""
        self._peak = max(self._peak, in_flight)

    def clean(self, in_flight: int) -> None:
        """A request was answered as it should be, and so many are left in flight."""
        step = 1 if self._doubling else 1 / self._size
        if self._size + 1 >= self._too_much:
            step = 1 / (CAREFUL * self._size)
        if self._size < (2 * self._peak if self._doubling else self._peak + 1):
            self._size = min(self.ceiling, self._size + step)
        if self._size >= self._too_much + 1:
            self._too_much = math.inf
        self._taken += 1
        self._answers += 1
        if self._answers >= self._size:
            self._answers, self._peak = 0, in_flight

    def overloaded(self, began: int, *, told: bool) -> None:
        """A request that began in that round was too much for the channel; `told`: and it said how long to wait."""
        if began != self.round:  # it was in flight together with one that was too much before
            return
        enough, self._taken = self._taken >= self._size, 0
        self.round += 1
        if not (told and enough):
            self._too_much, self._size = float(self.size), max(1.0, self._size / 2)
            self._doubling = False
