"""A process that a test ends: it syncs a segment that changes from run to run, until its moment has come.

Its channel is a file of lines, one a request, written before the answer. The moment is drawn by the test and found by the process
itself, in its own calls: so it is the same on a fast machine and on a slow or a busy one.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pysail.spark  # noqa: F401  (so that a fork need not import it)
import pyspark.sql.connect.session  # noqa: F401

from cdp.connectors.base import Batch, Receipts, Repeats
from cdp.engine import Engine, connect
from cdp.errors import EngineError
from cdp.spec.activation import Environment
from cdp.sync import diff, recorder, state
from cdp.sync.apply import Run
from cdp.sync.plan import Plan
from tests.conformance.world import World

PEOPLE, SIZE, CONCURRENCY = 100, 5, 2
GROUP = SIZE * CONCURRENCY  # rows that are under way at once
GAP = {"keys": 0, "state": 2, "effect": 0}  # where in its ten versions a person is out; 2: away for one, and back with the same address
LONGEST = 2_000  # versions, over all kills of a part: a call that nobody makes any more must not keep a test for ever
ENGINE, FAILED = "the engine failed", 3  # what an error says whose cause only the engine knows, and the exit code then
# What a process does, and up to which of its calls a moment is drawn: a run has about so many of each. Only its first run opens tables.
PHASES = {
    "opening": 8,
    "reading": 40,
    "planning": 2,
    "storing": 3,
    "lease": 2,
    "intents": 2,
    "sending": 4,
    "receipts": 2,
    "folding": 3,
    "noting": 4,
}
_TABLES = {
    "_changes": "planning",
    ".plan_": "storing",
    ".disclosures": "intents",
    ".receipts": "receipts",
    ".synced": "folding",
    ".folds": "folding",
    ".leases": "lease",
}


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


@dataclass(frozen=True, slots=True)
class Moment:
    """When a process gets its signal.

    Attributes:
        phase: of `PHASES`.
        turn: in which call of that phase, the first is 1; counted on from run to run, so it comes.
        share: how far into that call: below a quarter before it, from three quarters on when it has ended, else while it lasts.
        later: counted from the end of the first run, which goes on where the last process was ended.
        number: the signal.
    """

    phase: str
    turn: int
    share: float
    later: bool
    number: signal.Signals


class Ending:
    """Sends this process its signal when its moment has come, and writes down before in which phase and where in the call that is."""

    def __init__(self, moment: Moment | None, file: Path) -> None:
        self.moment, self.file = moment, file
        self.counting = moment is not None and not moment.later
        self._turn, self._lasted, self._sent = 0, 0.01, False
        self._lock = threading.Lock()

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """One call of a phase, from whichever thread."""
        if self.moment is None or phase != self.moment.phase:
            yield
            return
        with self._lock:
            self._turn += self.counting
            due, lasts = self.counting and self._turn == self.moment.turn, self._lasted
        began = time.monotonic()
        if due and self.moment.share < 0.25:
            self._signal("before")
        # It is drawn by how long the last such call took; one that is over before ends with the signal, before anybody has its answer.
        timer = threading.Timer((2 * self.moment.share - 0.5) * lasts, self._signal, ["within"])
        if due and self.moment.share < 0.75:
            timer.start()
        try:
            yield
        finally:
            self._lasted = time.monotonic() - began
            timer.cancel()
            if due:
                self._signal("after")

    def _signal(self, place: str) -> None:
        assert self.moment is not None
        with self._lock:
            if self._sent:
                return
            self._sent = True
        with self.file.open("a") as file:
            file.write(f"{self.moment.phase} {place}\n")
        os.kill(os.getpid(), self.moment.number)


def _phase(name: str, what: str, statement: str) -> str:
    """What a call of the engine is for."""
    if name == "query":
        return "reading"
    if statement.startswith("CREATE") and ".plan_" not in what:
        return "opening"  # a table is made, or found
    return next((phase for part, phase in _TABLES.items() if part in what), "noting")


def _watch(engine: Engine, ending: Ending) -> None:
    """End within what the engine is asked for."""

    def watched(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **more: Any) -> Any:
            with ending.during(_phase(name, str(more.get("what") or args[0]), str(args[0]))):
                try:
                    return method(*args, **more)
                except EngineError as error:  # whose own words an error of ours never repeats; nobody here is a patient
                    print(f"{type(error).__name__}: {error.__context__!r}", file=sys.stderr, flush=True)
                    raise

        return call

    for name in ("execute", "append_parts", "query"):
        setattr(engine, name, watched(name, getattr(engine, name)))


def main(root: Path, repeats: Repeats, moment: Moment | None) -> None:
    """Sync version after version until the moment has come, or until a clean stop; without a moment, once."""
    recorder.GROUP_SECONDS, diff.CHUNK_ROWS = 0.05, 20  # many commits: to be killed in the middle of one
    state.fold = partial(state.fold, rows=40, share=0)
    ending, channel = Ending(moment, root / "ends"), (root / "channel").open("ab", buffering=0)
    engine, book = connect(Environment(engine="sail", lakehouse="lake"), root=root), Book.read(root / "channel", repeats)

    def write(batch: Batch) -> Receipts:
        rows = batch.rows.to_pylist()
        request = [[batch.op, change, row["patient_id"], row.get("email")] for change, row in zip(batch.change_ids, rows, strict=True)]
        with ending.during("sending"):
            channel.write(json.dumps(request).encode() + b"\n")
            book.take(request)  # type: ignore[arg-type]
        return Receipts.all(len(batch), "delivered")

    _watch(engine, ending)
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
        if moment is None:
            return
        if version > LONGEST:
            sys.exit(f"the moment of {moment.phase} did not come")
        ending.counting = True


def child(root: str, repeats: Repeats, moment: Moment | None) -> None:
    """What a fork runs: a signal that nobody asked for ends it as in any program."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["MAILER_KEY"] = "k"
    sys.stderr = open(Path(root, "errors"), "a")  # noqa: SIM115
    try:
        main(Path(root), repeats, moment)
    except EngineError as error:
        if type(error) is not EngineError or ENGINE not in error.message:
            raise
        sys.exit(FAILED)
