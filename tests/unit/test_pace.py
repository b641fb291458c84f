"""The pace of a destination, on a clock of its own: an event loop whose time passes when nothing is left to do."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.connectors import pace
from cdp.connectors.flow import FIRST, LATE, Bucket
from cdp.connectors.pace import Pace, PausedError
from cdp.connectors.quotas import Advice, Quota
from cdp.spec.activation import Destination, HttpOptions
from cdp.spec.delivery import Limits


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while something is ready, and jumps to the next timer when nothing is."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0]._when)  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def run(work: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> float:
    """Run on a virtual clock; how long it took there."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        runner.run(work(loop))
        return loop.now


def most_in(span: float, taken: Sequence[tuple[float, float]]) -> float:
    """The most that was taken in any span that begins with something taken."""
    return max((sum(cost for at, cost in taken if begin <= at < begin + span - 1e-9) for begin, _ in taken), default=0)


# -- buckets ---------------------------------------------------------------------------------------------------------------


@given(
    rate=st.floats(0.2, 2000),
    costs=st.lists(st.floats(0.1, 500), min_size=1, max_size=80),
    late=st.lists(st.floats(0, 3), min_size=80, max_size=80),
    span=st.floats(1, 30),
)
def test_a_bucket_never_lets_more_through_than_its_rate_and_one_request(
    rate: float, costs: list[float], late: list[float], span: float
) -> None:
    bucket, now, taken = Bucket(rate), 100.0, []
    for cost, delay in zip(costs, late, strict=False):
        now += bucket.wait(now) + (delay if delay > 1.5 else delay / 100)
        bucket.take(now, cost)
        taken.append((now, cost))
    for begin, _ in taken:
        inside = [cost for at, cost in taken if begin <= at < begin + span - 1e-9]
        assert sum(inside[:-1]) <= rate * span * (1 + 1e-9)


def test_a_bucket_uses_its_rate() -> None:
    bucket, now = Bucket(100), 0.0
    for _ in range(1000):
        now += bucket.wait(now) + 0.001  # timers come late
        bucket.take(now, 1)
    assert now == pytest.approx(10, rel=0.03)


# -- requests ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    requests=st.sampled_from([None, 0.5, 3.0, 40.0]),
    rows=st.sampled_from([None, 10.0, 250.0]),
    ceiling=st.integers(1, 12),
    syncs=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_all_syncs_together_keep_to_the_limits(requests: float | None, rows: float | None, ceiling: int, syncs: int, seed: int) -> None:
    chance, sent, flying, most = random.Random(seed), [], 0, 0

    async def work(loop: VirtualLoop) -> None:
        mine = Pace(ceiling, Limits(requests_per_second=requests, rows_per_second=rows), clock=loop.time)

        async def sync() -> None:
            nonlocal flying, most
            for _ in range(12):
                count = chance.randint(1, 9)
                await asyncio.sleep(chance.choice([0, 0, 0.3]))
                async with mine.turn(count) as turn:
                    sent.append((loop.now, count))
                    flying += 1
                    most = max(most, flying)
                    await asyncio.sleep(chance.choice([0.01, 0.2, 2]))
                    turn.overloaded = chance.random() < 0.1
                    flying -= 1

        await asyncio.gather(*(sync() for _ in range(syncs * 3)))

    run(work)
    assert len(sent) == 36 * syncs  # nobody is forgotten
    assert most <= ceiling
    if requests:
        assert most_in(1, [(at, 1) for at, _ in sent]) <= math.ceil(requests)
        assert most_in(10, [(at, 1) for at, _ in sent]) <= requests * 10
    if rows:
        assert most_in(1, sent) <= rows + 9


def test_threads_with_loops_of_their_own_share_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[float, float]] = []
    take = Bucket.take

    def noted(self: Bucket, now: float, cost: float) -> None:
        taken.append((now, cost))
        take(self, now, cost)

    monkeypatch.setattr(Bucket, "take", noted)
    mine = Pace(4, Limits(requests_per_second=150))
    flying, most, lock = 0, 0, threading.Lock()

    async def one() -> None:
        nonlocal flying, most
        async with mine.turn():
            with lock:
                flying += 1
                most = max(most, flying)
            await asyncio.sleep(0.002)
            with lock:
                flying -= 1

    async def sync() -> None:
        await asyncio.gather(*(one() for _ in range(8)))

    threads = [threading.Thread(target=asyncio.run, args=(sync(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(taken) == 32  # and nobody slept through a wake-up
    assert most <= 4
    for first, (begin, _) in enumerate(taken):
        for last in range(first + 1, len(taken)):
            assert (last - first - 1) <= 150 * (taken[last][0] - begin + LATE)


def test_who_came_first_goes_first() -> None:
    order: list[int] = []

    async def work(loop: VirtualLoop) -> None:
        mine = Pace(1, Limits(rows_per_second=10), clock=loop.time)

        async def one(number: int, rows: int) -> None:
            async with mine.turn(rows):
                order.append(number)

        await asyncio.gather(*(one(number, 1 if number % 2 else 50) for number in range(8)))

    run(work)
    assert order == list(range(8))  # a small request does not overtake one that has to save up


def test_who_gives_up_waiting_is_not_waited_for() -> None:
    async def work(loop: VirtualLoop) -> None:
        mine = Pace(1, clock=loop.time)

        async def hold(seconds: float) -> None:
            async with mine.turn():
                await asyncio.sleep(seconds)

        first = asyncio.create_task(hold(5))
        await asyncio.sleep(0)
        second, third = asyncio.create_task(hold(1)), asyncio.create_task(hold(1))
        await asyncio.sleep(1)
        second.cancel()
        await asyncio.sleep(1)
        first.cancel()
        await third
        assert loop.now == pytest.approx(3)
        async with asyncio.timeout(0.1), mine.turn():
            pass

    run(work)


def test_who_is_asked_to_give_up_does_so_at_once() -> None:
    async def work(loop: VirtualLoop) -> None:
        mine, stopped = Pace(1, clock=loop.time), asyncio.Event()

        async def one(given_up: Callable[[], bool]) -> None:
            async with mine.turn(given_up=given_up):
                await asyncio.sleep(100)

        tasks = [asyncio.create_task(one(lambda: False)) for _ in range(2)]
        ours = [asyncio.create_task(one(stopped.is_set)) for _ in range(3)]
        await asyncio.sleep(1)
        stopped.set()
        mine.look_up()
        found = await asyncio.gather(*ours, return_exceptions=True)
        assert [type(each) for each in found] == [PausedError] * 3
        assert loop.now == pytest.approx(1)
        await asyncio.gather(*tasks)  # another sync of the destination goes on
        assert loop.now == pytest.approx(200)

    run(work)


# -- what the channel asks for ---------------------------------------------------------------------------------------------


def answered(advice: Advice, *, longest: float = 60) -> Callable[[Pace], Coroutine[Any, Any, None]]:
    async def one(mine: Pace) -> None:
        async with mine.turn(longest=longest) as turn:
            turn.advice = advice

    return one


def test_a_pause_holds_for_everybody_and_no_longer() -> None:
    async def work(loop: VirtualLoop) -> None:
        mine, at = Pace(8, clock=loop.time), []
        await answered(Advice(wait=7))(mine)
        await answered(Advice(wait=3))(mine)  # it waits itself; and a shorter one does not shorten it

        async def one() -> None:
            async with mine.turn(longest=60):
                at.append(loop.now)

        waiting = asyncio.gather(*(one() for _ in range(5)))
        await asyncio.sleep(0)
        assert mine.waiting() == "the channel asked to wait 3 s"
        await waiting
        assert at == pytest.approx([10] * 5)
        assert mine.waiting() is None

    run(work)


def test_a_pause_that_is_too_long_ends_all_that_wait_at_once() -> None:
    async def work(loop: VirtualLoop) -> None:
        mine, ended = Pace(1, Limits(requests_per_second=0.1), clock=loop.time), []

        async def one() -> None:
            try:
                async with mine.turn(longest=60):
                    raise AssertionError("it was not to be sent")
            except PausedError as paused:
                ended.append((loop.now, paused.seconds))

        async with mine.turn() as turn:
            waiting = asyncio.gather(*(one() for _ in range(4)))
            await asyncio.sleep(2)
            turn.advice = Advice(wait=3600)
        await waiting
        assert ended == [(2, 3600)] * 4
        assert mine.pause() == pytest.approx(3600)

    run(work)


def test_no_more_are_in_flight_than_the_channel_says_are_left() -> None:
    async def work(loop: VirtualLoop) -> None:
        mine, at = Pace(8, clock=loop.time), []
        left, until = 5, 30.0

        async def one() -> None:
            nonlocal left, until
            async with mine.turn(longest=60) as turn:
                if loop.now >= until:
                    left, until = 100, loop.now + 30
                at.append(loop.now)
                left -= 1
                said = left
                await asyncio.sleep(1)
                assert said >= 0, "the channel was asked for more than it had"
                turn.advice = Advice(quota=Quota(said, until - loop.now))

        await one()
        await asyncio.gather(*(one() for _ in range(12)))
        assert sum(when < 30 for when in at) == 5  # all that there was, and then the rest
        assert max(at) < 33

    run(work)


def test_a_quota_is_believed_no_longer_than_we_wait_for_a_pause() -> None:
    async def work(loop: VirtualLoop) -> None:
        mine = Pace(8, clock=loop.time)
        await answered(Advice(quota=Quota(0, 86_400)), longest=20)(mine)
        task = asyncio.create_task(answered(Advice())(mine))
        await asyncio.sleep(1)
        assert mine.waiting() == "the channel takes no more for 19 s"
        await task
        assert loop.now == pytest.approx(20)

    run(work)


# -- the window ----------------------------------------------------------------------------------------------------------


class Channel:
    """Takes so many requests at a time, each a while; more of them are answered with 429, and told to wait where it says so."""

    def __init__(self, room: int, wait: float | None = None, seconds: float = 0.05) -> None:
        self.room, self.wait, self.seconds, self.inside, self.refused = room, wait, seconds, 0, 0

    async def take(self, mine: Pace) -> bool:
        async with mine.turn() as turn:
            self.inside += 1
            turn.overloaded = self.inside > self.room
            turn.advice = Advice(self.wait if turn.overloaded else None)
            await asyncio.sleep(0.001 if turn.overloaded else self.seconds)
            self.inside -= 1
            self.refused += turn.overloaded
            return not turn.overloaded


@pytest.mark.parametrize("wait", [None, 0.1], ids=["429", "Retry-After"])
@pytest.mark.parametrize(("room", "ceiling"), [(64, 64), (20, 64), (5, 32), (1, 16), (8, 8)])
def test_concurrency_finds_what_the_channel_takes(room: int, ceiling: int, wait: float | None) -> None:
    channel, requests = Channel(room, wait), 3000
    sizes: list[int] = []

    async def work(loop: VirtualLoop) -> None:
        mine, left = Pace(ceiling, clock=loop.time), iter(range(requests))

        async def worker() -> None:
            for _ in left:
                while not await channel.take(mine):
                    await asyncio.sleep(0.01)
                sizes.append(mine.window.size)

        await asyncio.gather(*(worker() for _ in range(ceiling)))

    took, best = run(work), requests * channel.seconds / room
    assert took <= 1.35 * best
    assert channel.refused <= requests * (0.03 if room > 1 else 0.15)
    settled = sizes[len(sizes) // 2 :]
    assert room // 2 <= min(settled)
    assert max(settled) <= room + 1
    if room >= ceiling:
        assert took <= best + 5 * channel.seconds  # a first load is not kept waiting
        assert not channel.refused


def test_a_wait_that_is_told_is_remedy_enough_where_requests_are_counted_in_time() -> None:
    """Forty a second, however many at a time: fewer at a time would only be slower."""
    taken: list[float] = []

    async def work(loop: VirtualLoop) -> None:
        mine, left = Pace(16, clock=loop.time), iter(range(400))

        async def worker() -> None:
            for _ in left:
                while True:
                    async with mine.turn() as turn:
                        await asyncio.sleep(0.05)
                        window = int(loop.now)
                        turn.overloaded = sum(int(at) == window for at in taken) >= 40
                        if not turn.overloaded:
                            taken.append(loop.now)
                            break
                        turn.advice = Advice(window + 1 - loop.now)

        await asyncio.gather(*(worker() for _ in range(16)))
        assert mine.window.size == 16

    assert run(work) <= 11


def test_requests_that_were_in_flight_together_halve_the_window_once() -> None:
    async def work(loop: VirtualLoop) -> None:
        mine = Pace(8, clock=loop.time)

        async def one() -> None:
            async with mine.turn() as turn:
                await asyncio.sleep(1)
                turn.overloaded = True

        await asyncio.gather(*(one() for _ in range(8)))
        assert mine.window.size == 4
        await asyncio.gather(*(one() for _ in range(8)))
        assert mine.window.size == 1  # two more rounds, of four each
        task = asyncio.gather(*(one() for _ in range(2)))
        await asyncio.sleep(0)
        assert mine.waiting() == "the channel takes 1 of 8 requests at a time"
        await task
        assert mine.window.size == 1

    run(work)


def test_a_window_that_is_not_used_does_not_grow() -> None:
    async def work(loop: VirtualLoop) -> None:
        mine = Pace(64, clock=loop.time)
        for _ in range(200):
            async with mine.turn() as turn:
                turn.overloaded = False
        assert mine.window.size == FIRST

    run(work)


# -- one for each destination ----------------------------------------------------------------------------------------------


def destination(name: str = "mail", url: str = "https://mail.example.org", **limits: float) -> Destination:
    http = HttpOptions.model_validate({"upsert": {"path": "/contacts"}, "concurrency": int(limits.pop("concurrency", 4))})
    return Destination(name=name, connector="http", channel="email", base_url=url, http=http, limits=Limits.model_validate(limits))


def test_one_pace_for_each_destination_until_its_declaration_changes() -> None:
    mine = pace.of(destination(requests_per_second=5))
    assert pace.of(destination(requests_per_second=5)) is mine
    assert pace.of(destination(name="other", requests_per_second=5)) is not mine
    assert pace.of(destination(url="https://eu.example.org", requests_per_second=5)) is not mine
    changed = pace.of(destination(requests_per_second=6))
    assert changed is not mine
    assert changed.limits.requests_per_second == 6
    assert pace.of(destination(requests_per_second=6, concurrency=9)).ceiling == 9


def test_what_was_sent_is_owed_until_the_limits_have_caught_up() -> None:
    async def work(loop: VirtualLoop) -> None:
        mine = Pace(4, Limits(rows_per_second=100), clock=loop.time)
        assert mine.debt() == 0
        async with mine.turn(50):
            pass
        assert mine.debt() == pytest.approx(0.5, abs=0.05)
        await asyncio.sleep(1)
        assert mine.debt() == 0

    run(work)
