"""A process that a test kills: it syncs a segment that changes from run to run, until it is killed.

Its channel is a file of lines, one a request, written before the answer. What it was doing stands in another file.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pysail.spark  # noqa: F401  (so that a fork need not import it)
import pyspark.sql.connect.session  # noqa: F401

from cdp.connectors.base import Batch, Receipts, Repeats
from cdp.engine import Engine, connect
from cdp.spec.activation import Environment
from cdp.sync import diff, recorder, state
from cdp.sync.apply import Run
from cdp.sync.plan import Plan
from tests.conformance.world import World

PEOPLE, SIZE, CONCURRENCY = 100, 5, 2
GROUP = SIZE * CONCURRENCY  # rows that are under way at once
GAP = {"keys": 0, "state": 2, "effect": 0}  # where in its ten versions a person is out; 2: away for one, and back with the same address
PHASES = ("reading", "planning", "storing", "lease", "intents", "sending", "receipts", "folding")


def segment(version: int, repeats: Repeats) -> dict[str, str]:
    """Who is in, with their addresses. A fifth changes from version to version, a tenth leaves, and another comes back."""
    people = range(1, PEOPLE + 1)
    return {f"p{n:03}": f"p{n}.{(n + version) // 5}@example.org" for n in people if (n + version) % 10 != GAP[repeats]}


def select(version: int, repeats: Repeats) -> str:
    """The same in SQL."""
    address = f"CONCAT('p', visits, '.', (visits + {version}) DIV 5, '@example.org')"
    return (
        f"SELECT patient_id AS _subject, CAST(NULL AS STRING) AS _rule, patient_id, {address} AS email "
        f"FROM clinic.patients WHERE (visits + {version}) % 10 <> {GAP[repeats]}"
    )


@dataclass
class Book:
    """What a channel holds after its requests.

    Attributes:
        again: changes that came again.
        twice: `keys`, changes of another id that changed nothing; `effect`, addresses that a person was told twice.
    """

    repeats: Repeats
    rows: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    told: set[tuple[str, str]] = field(default_factory=set)
    lines: int = 0
    again: int = 0
    twice: int = 0

    @classmethod
    def read(cls, path: Path, repeats: Repeats) -> Book:
        """From its file; a last line that was cut off never reached the channel."""
        book = cls(repeats)
        for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
            if line.endswith("\n"):
                book.take(json.loads(line))
        return book

    def take(self, request: list[tuple[str, str, str, str | None]]) -> None:
        """Apply a request as such a channel does."""
        for op, change, key, email in request:
            self.lines += 1
            came_again = change in self.seen
            self.again += came_again
            self.seen.add(change)
            if came_again and self.repeats == "keys":
                continue
            if op == "remove":
                self.rows.pop(key, None)
                continue
            assert email
            if self.repeats == "keys":
                self.twice += self.rows.get(key) == email
            elif self.repeats == "effect":
                self.twice += (key, email) in self.told
            self.told.add((key, email))
            self.rows[key] = email


class Live(World):
    """A clinic whose clock is the machine's."""

    def plan(self, **options: Any) -> Plan:
        self.now = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
        return super().plan(**options)

    def apply(self, plan: Plan, **options: Any) -> Run:
        self.now = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
        return super().apply(plan, **options)


def clinic(engine: Engine, root: Path, version: int, repeats: Repeats) -> Live:
    """The clinic as it is in a version, before its channel is there."""
    world = Live(engine, "clinic", "cdp", root, values=("email",), select=select(version, repeats), consented=False)
    world.channel.repeats, world.channel.size, world.channel.concurrency, world.channel.delay = repeats, SIZE, CONCURRENCY, 0.01
    return world


def _watch(engine: Engine, say: Callable[[str], None]) -> None:
    """Say what the engine is asked for."""
    places = {"_changes": "planning", "disclosures": "intents", "receipts": "receipts", "synced": "folding", "leases": "lease"}

    def watched(method: Callable[..., Any], reads: bool) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **more: Any) -> Any:
            target = str(more.get("what") or args[0])
            made = next((phase for place, phase in places.items() if place in target), "storing" if ".plan_" in target else "noting")
            say("reading" if reads else made)
            return method(*args, **more)

        return call

    for name in ("create_as", "execute", "append", "query"):
        setattr(engine, name, watched(getattr(engine, name), name == "query"))


def main(root: Path, repeats: Repeats) -> None:
    """Sync version after version until the end of the world, or until a clean stop."""
    recorder.GROUP_SECONDS, diff.CHUNK_ROWS = 0.05, 20  # many commits: to be killed in the middle of one
    state.fold = partial(state.fold, rows=40, share=0)
    phase, channel = os.open(root / "phase", os.O_RDWR | os.O_CREAT), (root / "channel").open("ab", buffering=0)
    say = lambda word: os.pwrite(phase, word.ljust(16).encode(), 0)  # noqa: E731
    engine, book = connect(Environment(engine="sail", lakehouse="lake"), root=root), Book.read(root / "channel", repeats)

    def write(batch: Batch) -> Receipts:
        say("sending")
        rows = batch.rows.to_pylist()
        request = [[batch.op, change, row["patient_id"], row.get("email")] for change, row in zip(batch.change_ids, rows, strict=True)]
        channel.write(json.dumps(request).encode() + b"\n")
        book.take(request)  # type: ignore[arg-type]
        return Receipts.all(len(batch), "delivered")

    _watch(engine, say)
    say("ready")
    while True:
        version, began = int((root / "version").read_text()), time.monotonic()
        world = clinic(engine, root, version, repeats)
        world.channel.answers = [write] * 1000
        plan, run = world.sync()
        wanted = segment(version, repeats)
        wrong = sum(book.rows.get(key) != wanted.get(key) for key in {*wanted, *book.rows})
        facts = {"version": version, "wrong": wrong, "counts": dict(plan.counts), "seconds": time.monotonic() - began, **run.as_json()}
        with (root / "runs").open("a") as file:
            file.write(json.dumps(facts) + "\n")
        if run.status == "stopped":
            sys.exit(0)
        (root / "next").write_text(str(version + 1))
        (root / "next").rename(root / "version")


def child(root: str, repeats: Repeats) -> None:
    """What a fork runs: a signal that nobody asked for ends it as in any program."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["MAILER_KEY"] = "k"
    sys.stderr = open(Path(root, "errors"), "a")  # noqa: SIM115
    main(Path(root), repeats)
