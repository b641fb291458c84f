"""How fast one destination is sent to, by everything in this process that sends to it: its syncs, their threads and event loops.

Five things hold a request back, and the slowest decides:

- **requests and rows a second**, as declared: a token bucket each;
- **a pause** that the channel asked for (Retry-After): nothing is sent before it is over, by nobody;
- **the channel's own count** of what it still takes until when: no more are in flight than it says are left;
- **the window**, how many requests at a time the channel takes well. `http.concurrency` is its ceiling;
- **the order of coming**: one queue for all, so that no sync starves another.

Libraries were weighed: aiolimiter's bucket belongs to one event loop, pyrate-limiter's blocks threads; neither knows a pause or a window.
State changes under a lock that is never held across an await. Only the head of the queue looks at the clock; who starts or ends wakes the
next head, on whatever loop that waits.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from cdp.connectors.flow import Bucket, Window
from cdp.connectors.quotas import Advice, Quota
from cdp.spec.activation import Destination
from cdp.spec.delivery import Limits

Clock = Callable[[], float]


class PausedError(Exception):
    """There is no turn: the channel asked for a pause of `seconds` that the caller does not wait for, or the caller gave up."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(eq=False, slots=True)
class Turn:
    """A request under way. Its sender says how the channel took it; else it tells nothing of the channel's pace."""

    began: int
    longest: float
    overloaded: bool | None = None
    advice: Advice = field(default_factory=Advice)


@dataclass(eq=False, slots=True)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    rows: int
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        with suppress(RuntimeError):  # its loop is gone, and it with it
            self.loop.call_soon_threadsafe(self.woken.set)


class Pace:
    """The pace of one destination. Any thread and any event loop may ask for turns.

    Args:
        ceiling: requests at a time.
        limits: what the destination declares.
        clock: seconds that never go back.
    """

    def __init__(self, ceiling: int, limits: Limits | None = None, clock: Clock = time.monotonic) -> None:
        limits = limits or Limits()
        self.ceiling, self.limits, self._clock = ceiling, limits, clock
        self._requests = Bucket(limits.requests_per_second) if limits.requests_per_second else None
        self._rows = Bucket(limits.rows_per_second) if limits.rows_per_second else None
        self.window = Window(ceiling)
        self._lock = threading.Lock()
        self._queue: deque[_Waiter] = deque()
        self._in_flight = 0
        self._paused_until = -math.inf
        self._quota = Quota(0, 0.0)
        self._quota_until = -math.inf

    @asynccontextmanager
    async def turn(self, rows: int = 0, longest: float = math.inf, given_up: Callable[[], bool] = lambda: False) -> AsyncIterator[Turn]:
        """Wait until a request with so many rows may leave; it has left the channel when the block ends.

        Args:
            rows: that the request holds.
            longest: seconds of a pause that are waited for.
            given_up: whether the caller does not want to wait any more; see `look_up`.

        Raises:
            PausedError: the channel asked for a longer one, or the caller gave up.
        """
        turn = await self._begin(rows, longest, given_up)
        try:
            yield turn
        finally:
            self._end(turn)

    def look_up(self) -> None:
        """Have all that wait ask whether they still want to."""
        with self._lock:
            for waiter in self._queue:
                waiter.wake()

    def waiting(self) -> str | None:
        """Why the next request waits, in a few words; None when nothing does, or only for those before it."""
        with self._lock:
            return self._hold(self._queue[0].rows)[1] if self._queue else None

    def pause(self) -> float:
        """Seconds for which the channel asked to be left alone, from now on."""
        with self._lock:
            return max(0.0, self._paused_until - self._clock())

    def debt(self) -> float:
        """Seconds until all that was sent is within the declared limits: another process may begin then."""
        with self._lock:
            now = self._clock()
            return max((bucket.wait(now) for bucket in (self._requests, self._rows) if bucket), default=0.0)

    async def _begin(self, rows: int, longest: float, given_up: Callable[[], bool]) -> Turn:
        with self._lock:
            if not self._queue and (turn := self._started(rows, longest)):
                return turn
            waiter = _Waiter(asyncio.get_running_loop(), rows)
            self._queue.append(waiter)
        try:
            while not given_up():
                with self._lock:
                    first = self._queue[0] is waiter
                    if first and (turn := self._started(rows, longest)):
                        return turn
                    seconds = self._hold(rows)[0] if first else math.inf
                    waiter.woken.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                        await waiter.woken.wait()
            raise PausedError
        finally:
            with self._lock:
                self._queue.remove(waiter)
                self._wake()

    def _started(self, rows: int, longest: float) -> Turn | None:
        """A turn, if one may begin now."""
        now = self._clock()
        if (pause := self._paused_until - now) > longest:
            raise PausedError(pause)
        if self._hold(rows)[0] > 0:
            return None
        if self._requests:
            self._requests.take(now, 1)
        if self._rows:
            self._rows.take(now, rows)
        self._in_flight += 1
        self.window.began(self._in_flight)
        return Turn(self.window.round, longest)

    def _hold(self, rows: int) -> tuple[float, str | None]:
        """How long the next request waits, infinite when for the end of another, and why."""
        now = self._clock()
        if (pause := self._paused_until - now) > 0:
            return pause, f"the channel asked to wait {math.ceil(pause)} s"
        if (left := self._quota_until - now) > 0 and self._in_flight >= self._quota.remaining:
            return left, f"the channel takes no more for {math.ceil(left)} s"
        if self._in_flight >= self.window.size:
            slower = self.window.size < self.ceiling
            return math.inf, f"the channel takes {self.window.size} of {self.ceiling} requests at a time" if slower else None
        if self._requests and (seconds := self._requests.wait(now)) > 0:
            return seconds, f"limit of {self._requests.rate:g} requests a second"
        if rows and self._rows and (seconds := self._rows.wait(now)) > 0:
            return seconds, f"limit of {self._rows.rate:g} rows a second"
        return 0.0, None

    def _end(self, turn: Turn) -> None:
        with self._lock:
            self._in_flight -= 1
            if turn.overloaded:
                self.window.overloaded(turn.began, told=turn.advice.wait is not None)
            elif turn.overloaded is False:
                self.window.clean(self._in_flight)
            now = self._clock()
            if turn.advice.wait is not None:
                self._paused_until = max(self._paused_until, now + turn.advice.wait)
            if (quota := turn.advice.quota) is not None and (now >= self._quota_until or quota.remaining <= self._quota.remaining):
                self._quota, self._quota_until = quota, now + min(quota.seconds, turn.longest)
            self._wake()

    def _wake(self) -> None:
        if self._queue:
            self._queue[0].wake()


_paces: dict[tuple[str, str], Pace] = {}
_lock = threading.Lock()


def of(destination: Destination) -> Pace:
    """The pace of a destination in this process: the same for all its syncs, and a new one when its declaration has changed."""
    assert destination.http is not None  # the only connector that asks
    ceiling, limits = destination.http.concurrency, destination.limits
    with _lock:
        key = destination.name, destination.base_url or ""
        found = _paces.get(key)
        if found is None or (found.ceiling, found.limits) != (ceiling, limits):
            found = _paces[key] = Pace(ceiling, limits)
        return found


def forget() -> None:
    """Begin anew with every destination."""
    with _lock:
        _paces.clear()
