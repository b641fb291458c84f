"""A connection for each request that is under way.

httpcore looks at every connection of a pool before and after every request, and asks the operating system of each whether the other side
has closed it: with 32 of them that was half of what a small request costs. A pool of one connection has only itself to look at.

What it does not look at is what it has read beyond the end of an answer. As the beginning of the next one that would be an answer to a
question that was not asked yet: a row that is then refused would be taken for delivered. A connection with more to say is not used again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import httpx


class Lanes(httpx.AsyncBaseTransport):
    """As many transports as requests are under way at a time; who is done last is used next, so that few connections serve a slow pace.

    Args:
        open_lane: makes a transport of one connection, which is opened when it is first used.
        is_spent: whether the connection of a lane, whose answer was read, has nothing more to say.
    """

    def __init__(self, open_lane: Callable[[], httpx.AsyncBaseTransport], is_spent: Callable[[Any], bool] = lambda _: True) -> None:
        self._open_lane, self._is_spent = open_lane, is_spent
        self._lanes: list[httpx.AsyncBaseTransport] = []
        self._free: list[httpx.AsyncBaseTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request on a lane that is free; it is free again when the response is closed."""
        lane = self._free.pop() if self._free else self._new()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            self._free.append(lane)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Leaving(response.stream, partial(self._left, lane))
        return response

    async def _left(self, lane: httpx.AsyncBaseTransport) -> None:
        if self._is_spent(lane):
            self._free.append(lane)
        else:
            self._lanes.remove(lane)
            await lane.aclose()

    def _new(self) -> httpx.AsyncBaseTransport:
        self._lanes.append(lane := self._open_lane())
        return lane

    async def aclose(self) -> None:
        """Close all connections."""
        for lane in self._lanes:
            await lane.aclose()


class _Leaving(httpx.AsyncByteStream):
    """A response's body; closing it leaves the lane, once."""

    def __init__(self, body: httpx.AsyncByteStream, leave: Callable[[], Awaitable[None]]) -> None:
        self._body, self._leave = body, leave
        self._left = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            if not self._left:
                self._left = True
                await self._leave()


def is_spent(lane: httpx.AsyncHTTPTransport) -> bool:
    """Whether nothing was read beyond the end of the last answer; of a connection that cannot be asked that is not known."""
    try:
        connections = [connection._connection for connection in lane._pool.connections]  # type: ignore[attr-defined]
        return not any(each._h11_state.trailing_data[0] for each in connections if each is not None)
    except AttributeError:
        return False
