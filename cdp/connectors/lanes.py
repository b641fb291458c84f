"""A connection for each request that is under way.

httpcore looks at every connection of a pool before and after every request, and asks the operating system of each whether the other side
has closed it: with 32 of them that was half of what a small request costs. A pool of one connection has only itself to look at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx


class Lanes(httpx.AsyncBaseTransport):
    """As many transports as requests are under way at a time; who is done last is used next, so that few connections serve a slow pace.

    Args:
        open_lane: makes a transport of one connection, which is opened when it is first used.
    """

    def __init__(self, open_lane: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._open_lane = open_lane
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
        response.stream = _Leaving(response.stream, lambda: self._free.append(lane))
        return response

    def _new(self) -> httpx.AsyncBaseTransport:
        self._lanes.append(lane := self._open_lane())
        return lane

    async def aclose(self) -> None:
        """Close all connections."""
        for lane in self._lanes:
            await lane.aclose()


class _Leaving(httpx.AsyncByteStream):
    """A response's body; closing it leaves the lane, once."""

    def __init__(self, body: httpx.AsyncByteStream, leave: Callable[[], None]) -> None:
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
                self._leave()
