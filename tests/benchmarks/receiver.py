"""A channel that costs next to nothing, in a process of its own: reads requests, counts rows, answers, and can be slow or fail.

    python -m tests.benchmarks.receiver [LATENCY_SECONDS] [FAIL_EVERY]

It prints its port. `GET /` gives what it took since the last `GET /` as JSON: requests answered 200 and their rows, requests that failed,
and for how many seconds it had asked to be left alone. With FAIL_EVERY n every n-th request fails, by turns with 429 and
`Retry-After: 1` and with 500.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

ASKED_SECONDS = 1
ROW = b'"external_id":'  # once in each row's JSON


class Channel:
    """What was taken, and when the waits that were asked for end."""

    def __init__(self, latency: float, fail_every: int) -> None:
        self.latency, self.fail_every = latency, fail_every
        self.clear()

    def clear(self) -> None:
        """Start counting anew."""
        self.requests = self.rows = self.seen = self.failed = 0
        self.waits, self.until = 0.0, 0.0

    def answer(self, body: bytearray) -> bytes:
        """What one request gets."""
        self.seen += 1
        if self.fail_every and self.seen % self.fail_every == 0:
            self.failed += 1
            return self._throttled() if self.failed % 2 else _response("500 Internal Server Error")
        self.requests += 1
        self.rows += body.count(ROW)
        return _response("200 OK")

    def _throttled(self) -> bytes:
        """Waits that overlap are one wait, as they are for whoever obeys."""
        now = time.monotonic()
        end = now + ASKED_SECONDS
        self.waits += end - max(now, self.until)
        self.until = end
        return _response("429 Too Many Requests", f"Retry-After: {ASKED_SECONDS}\r\n")

    def counted(self) -> bytes:
        """The counts, which start anew."""
        body = json.dumps({"requests": self.requests, "rows": self.rows, "failed": self.failed, "waits": self.waits}).encode()
        self.clear()
        return _response("200 OK", body=body)


def _response(status: str, headers: str = "", body: bytes = b"{}") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection(asyncio.Protocol):
    """HTTP/1.1 as our own clients speak it: Content-Length, no pipelining."""

    def __init__(self, channel: Channel) -> None:
        self.channel, self.buffer, self.needed, self.start = channel, bytearray(), 0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once the request is whole."""
        self.buffer += data
        if not self.needed:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.buffer[:end]).lower()
            _, _, length = head.partition(b"content-length:")
            self.start, self.needed = end + 4, end + 4 + int(length.split(b"\r\n", 1)[0] or 0)
        if len(self.buffer) < self.needed:
            return
        reading, self.needed = self.buffer.startswith(b"GET"), 0
        answer = self.channel.counted() if reading else self.channel.answer(self.buffer)
        self.buffer = bytearray()
        if self.channel.latency and not reading:
            asyncio.get_running_loop().call_later(self.channel.latency, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if isinstance(self.transport, asyncio.WriteTransport) and not self.transport.is_closing():
            self.transport.write(answer)


async def serve(channel: Channel) -> None:
    """Listen until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(channel), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def receiver(latency: float = 0.0, fail_every: int = 0) -> Iterator[str]:
    """A receiver in a process of its own; its URL."""
    command = [sys.executable, "-m", "tests.benchmarks.receiver", str(latency), str(fail_every)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def counted(url: str) -> dict[str, float]:
    """What a receiver took since it was last asked."""
    found: dict[str, float] = httpx.get(url, trust_env=False).json()
    return found


if __name__ == "__main__":
    asyncio.run(serve(Channel(float(sys.argv[1]), int(sys.argv[2]))))
