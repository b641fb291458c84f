"""A connection for each request under way: used again when its response is closed, and whatever became of its request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest

from cdp.connectors.lanes import Lanes


class Body(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"taken"


@dataclass(eq=False)
class Lane(httpx.AsyncBaseTransport):
    number: int
    served: list[int]
    closed: list[int]
    failing: bool = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.served.append(self.number)
        if self.failing:
            raise httpx.ReadError("reset")
        return httpx.Response(200, stream=Body())

    async def aclose(self) -> None:
        self.closed.append(self.number)


@dataclass
class Street:
    """Lanes whose numbers say which was used."""

    served: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    made: list[Lane] = field(default_factory=list)

    def open_lane(self) -> Lane:
        self.made.append(Lane(len(self.made), self.served, self.closed))
        return self.made[-1]


REQUEST = httpx.Request("GET", "https://channel.example/v1")


async def ask(lanes: Lanes) -> httpx.Response:
    return await lanes.handle_async_request(REQUEST)


def test_one_request_after_another_uses_one_connection_and_two_at_once_use_two() -> None:
    street = Street()

    async def work() -> None:
        lanes = Lanes(street.open_lane)
        for _ in range(3):
            response = await ask(lanes)
            assert b"".join([part async for part in response.aiter_raw()]) == b"taken"
            await response.aclose()
        first, second = await ask(lanes), await ask(lanes)
        await first.aclose()
        await (await ask(lanes)).aclose()
        await second.aclose()
        await lanes.aclose()

    asyncio.run(work())
    assert street.served == [0, 0, 0, 0, 1, 0]
    assert street.closed == [0, 1]


def test_a_response_that_is_closed_twice_frees_its_lane_once() -> None:
    street = Street()

    async def work() -> None:
        lanes = Lanes(street.open_lane)
        response = await ask(lanes)
        await response.aclose()
        await response.aclose()
        await asyncio.gather(ask(lanes), ask(lanes))

    asyncio.run(work())
    assert street.served == [0, 0, 1]


def test_a_lane_whose_request_failed_is_used_again() -> None:
    street = Street()

    async def work() -> None:
        lanes = Lanes(street.open_lane)
        await (await ask(lanes)).aclose()
        street.made[0].failing = True
        with pytest.raises(httpx.ReadError):
            await ask(lanes)
        street.made[0].failing = False
        await (await ask(lanes)).aclose()

    asyncio.run(work())
    assert street.served == [0, 0, 0]
