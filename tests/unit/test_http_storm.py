"""A channel that goes wrong at random, over real HTTP, and knows what it applied: no receipt says more than is true, nothing is done twice.

It is honest in this: it applies nothing that it answers 4xx (but 408), 307, or with a row's own error.
"""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from cdp.connectors import pace, wire
from cdp.connectors.base import HARMLESS, Batch, Receipts
from cdp.connectors.http import HttpConnector
from cdp.errors import DeliveryError
from cdp.testing.connectors import batch
from tests.unit.test_http_connector import ERRORS, make_target

REFUSED = ("400", "401", "404", "409", "422", "429", "307")
APPLIED_OR_NOT = ("408", "500", "503", "302", "303", "207", "reset", "cut", "short", "hang", "nonsense", "page")
TAKEN = ("204", "more", "twice", "interim", "gzip", "stranger", "list", "closed")
CHANNELS: dict[str, dict[str, Any]] = {
    "effect": {"repeats": "effect"},
    "header": {"repeats": "keys"},
    "field": {"repeats": "keys", "idempotency": {"field": "event_id"}},
    "state": {"repeats": "state"},
}


def is_bad(key: str) -> bool:
    return zlib.crc32(key.encode()) % 7 == 0


def answer(status: str, body: bytes = b"{}", length: int | None = None) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


@dataclass
class Storm:
    """Each request meets a fault with this probability."""

    rng: random.Random
    channel: str
    often: float
    names_errors: bool
    applied: Counter[str] = field(default_factory=Counter)
    known: set[str] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                rows = json.loads(await reader.readexactly(int(headers["content-length"])))
                fault = self.rng.choice(REFUSED + APPLIED_OR_NOT + TAKEN) if self.rng.random() < self.often else ""
                said = self.said(fault, rows, headers.get("idempotency-key", ""))
                if fault == "hang":
                    await asyncio.sleep(0.4)
                writer.write(said or b"")
                await writer.drain()
                if fault in ("reset", "hang", "cut", "short", "nonsense", "closed"):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def said(self, fault: str, rows: list[dict[str, Any]], key: str) -> bytes | None:
        bad = [row["external_id"] for row in rows if is_bad(row["external_id"])]
        if fault in ("400", "422") and any(self.applied[row["external_id"]] for row in rows):
            fault = "409"  # what was taken once is not refused for what it says
        if fault in REFUSED:
            return answer(fault)
        if fault in APPLIED_OR_NOT:
            if self.rng.random() < 0.5 and fault != "page":
                self.take(rows, key)
            whole = {"cut": answer("200", b"{", 50), "short": answer("200", b"{}", 20), "page": answer("200", b"<!-- gate --><html>")}
            return None if fault in ("reset", "hang") else b"\0\1\r\n\r\n" if fault == "nonsense" else whole.get(fault) or answer(fault)
        if bad and not (self.names_errors and self.rng.random() < 0.7):
            return answer(self.rng.choice(["400", "422"]))
        self.take(rows, key)
        errors = [{"key": each, "code": self.rng.choice(["bad", each, None, 5])} for each in bad + bad[:1]]
        self.rng.shuffle(errors)
        whole = answer("200", json.dumps({"errors": errors}).encode())
        return {
            "204": whole if bad else b"HTTP/1.1 204 X\r\n\r\n",
            "more": whole + b"xx",
            "twice": whole + answer("200", b'{"errors": []}'),
            "interim": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + whole,
            "gzip": answer("200", b"\x1f\x8b\x08") if not bad else whole,
            "stranger": answer("200", b'{"errors": [{"key": "nobody"}]}') if not bad else whole,
            "list": answer("200", b"[1, NaN]") if not bad else whole,
        }.get(fault, whole)

    def take(self, rows: list[dict[str, Any]], key: str) -> None:
        if self.channel == "header" and key in self.known:
            return
        self.known.add(key)
        for row in rows:
            if not is_bad(row["external_id"]) and (self.channel != "field" or row["event_id"] not in self.known):
                self.known.add(row.get("event_id", ""))
                self.applied[row["external_id"]] += 1


async def weather(storm: Storm, batches: list[Batch]) -> dict[str, tuple[str, str | None]]:
    """What is told of each row, by a few workers at a time."""
    server = await asyncio.start_server(storm.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hurry = {
        "attempts": 3,
        "timeout_seconds": 0.25,
        "max_wait_seconds": 0.05,
        "concurrency": 3,
        "errors": ERRORS if storm.names_errors else None,
    }
    told: dict[str, tuple[str, str | None]] = {}

    async def work(connector: HttpConnector) -> None:
        while batches:
            sent = batches.pop()
            try:
                receipts = await connector.send(sent)
            except DeliveryError as error:
                undecided = "unknown" if connector.repeats == "effect" else "retryable"
                receipts = (
                    Receipts.all(len(sent), undecided, error.doubt) if error.doubt else Receipts.all(len(sent), "retryable", "not_sent")
                )
            connector._wire._silent = 0  # it is asked on, as if each batch were the first
            told.update(zip(sent.rows["external_id"].to_pylist(), zip(receipts.statuses, receipts.codes, strict=True), strict=True))

    async with server, HttpConnector(make_target(f"http://127.0.0.1:{port}", **CHANNELS[storm.channel], **hurry)) as connector:
        await asyncio.gather(*(work(connector) for _ in range(3)))
    return told


@pytest.mark.parametrize("names_errors", [True, False], ids=["errors", "no_errors"])
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("seed", range(2))
def test_no_receipt_says_more_than_is_true(channel: str, names_errors: bool, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "FIRST_WAIT_SECONDS", 0.002)
    pace.forget()
    rng = random.Random(f"{seed} {channel} {names_errors}")
    batches = [batch([f"s{seed}b{number}r{row}" for row in range(rng.choice([1, 2, 6]))]) for number in range(40)]
    storm = Storm(rng, channel, rng.choice([0.2, 0.5]), names_errors)
    told = asyncio.run(weather(storm, list(batches)))
    assert len(told) == sum(map(len, batches))
    for key, (status, code) in told.items():
        seen = (key, status, code, storm.applied[key])
        assert storm.applied[key] or status != "delivered", seen
        assert not storm.applied[key] or status != "rejected", seen
        assert not storm.applied[key] or code not in HARMLESS, seen
        assert storm.applied[key] <= 1 or channel == "state", seen
        assert not storm.applied[key] or (channel, status) != ("effect", "retryable"), seen
        assert key not in str(code), seen
