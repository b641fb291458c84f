"""What a sync must do, in plain Python: who should be at the channel, and a channel that notes what it must never be sent.

Nothing in here asks the engine, but for the lines of the disclosure ledger when a batch arrives.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from cdp.connectors.base import Batch, Receipts, Status
from cdp.engine.base import Engine, literal
from cdp.errors import DeliveryError
from cdp.spec.delivery import Retries
from cdp.sync.plan import Plan
from cdp.testing.channel import Answer, Channel
from tests.conformance.doubts import Killed
from tests.conformance.world import COLUMNS

Key = tuple[Any, ...]
Row = dict[str, Any]
ANYTHING: Row = {"*": "*"}  # what may be at the channel, where nobody can say


@dataclass(frozen=True)
class Wanted:
    """Who should be told what, by the clinic's rows.

    Attributes:
        rows: by key, as they leave; `subjects` whose they are.
        disputed: keys that several people have, or nobody: what is there stays, but for whoever is barred.
        size, excluded, invalid: what a plan has to count.
        barred: who may not be told, and `known`: who is in the clinic at all.
    """

    rows: Mapping[Key, Row]
    subjects: Mapping[Key, str]
    disputed: frozenset[Key]
    size: int
    excluded: tuple[tuple[str, int], ...]
    invalid: int
    barred: frozenset[str]
    known: frozenset[str]

    @classmethod
    def of(cls, clinic: Sequence[Row], keys: Sequence[str], values: Sequence[str]) -> Wanted:
        """By the rules of `World.governed`."""
        typed = pa.Table.from_pylist(list(clinic), schema=COLUMNS).to_pylist()
        members = [row for row in typed if row["member"]]
        told = [row for row in members if not row["deceased"] and row["consent"]]
        by_key: dict[Key, list[Row]] = {}
        for row in told:
            by_key.setdefault(tuple(row[name] for name in keys), []).append(row)
        named = {key: found for key, found in by_key.items() if None not in key}
        alone = {key: found[0] for key, found in named.items() if len(found) == 1 and found[0]["patient_id"] is not None}
        return cls(
            rows={key: {name: row[name] for name in (*keys, *values)} for key, row in alone.items()},
            subjects={key: row["patient_id"] for key, row in alone.items()},
            disputed=frozenset(named) - frozenset(alone),
            size=len(members),
            excluded=(
                ("deceased", sum(row["deceased"] for row in members)),
                ("no_consent", sum(not row["deceased"] and not row["consent"] for row in members)),
            ),
            invalid=len(told) - len(alone),
            barred=frozenset(row["patient_id"] for row in typed if row["deceased"] or not row["consent"]),
            known=frozenset(row["patient_id"] for row in typed),
        )


@dataclass(frozen=True)
class Made:
    """A plan, and what was so when it was made."""

    plan: Plan
    wanted: Wanted
    mode: str
    retries: Retries


@dataclass(frozen=True)
class Weather:
    """How likely a row or a batch fares in some way; what is left is delivered."""

    rows: Mapping[str, float] = field(default_factory=dict)
    batches: Mapping[str, float] = field(default_factory=dict)


CALM = Weather()
WEATHERS = (
    CALM,
    CALM,
    Weather({"rejected": 0.5}),
    Weather({"applied": 0.3, "lost": 0.3}),
    Weather({"busy": 0.4, "applied": 0.2, "rejected": 0.2}),
    Weather({}, {"broken": 0.4}),
    Weather({"applied": 0.2, "rejected": 0.1}, {"refused": 0.4}),
    Weather({"applied": 0.1, "rejected": 0.1}, {"killed": 0.4}),
    Weather({"rejected": 0.2, "applied": 0.1, "lost": 0.1}, {"killed": 0.2, "broken": 0.1}),
    Weather({"lost": 1.0}),
)


class _Always(list[Answer]):
    """The same answer to every batch."""

    def pop(self, _: Any = 0) -> Answer:
        return self[0]


def drawn(chances: Mapping[str, float], by: random.Random) -> str | None:
    """One of these, or nothing."""
    at = by.random()
    for name, chance in chances.items():
        at -= chance
        if at < 0:
            return name
    return None


class Book(Channel):
    """A channel that keeps what it is sent and knows what it must not be sent.

    Attributes:
        wrong: what it was sent and must not have been.
        doubt: by key, what was put on the wire last without an answer on record.
        decided: by key, under which decision (`told`) it was last sent.
        rejections: by key, of which row it rejected how many in a row, and when last.
        answered: of the run under way: op, key and what was said.
        day: additions and changes that arrived, by day.
    """

    def __init__(self, engine: Engine, control: str, **facts: Any) -> None:
        super().__init__(**facts)
        self.answers = _Always([self.arrive])
        self.engine, self.control = engine, control
        self.wrong: list[str] = []
        self.doubt: dict[Key, Row] = {}
        self.decided: dict[Key, str] = {}
        self.changes: dict[str, tuple[str, Key, Row]] = {}
        self.rejections: dict[Key, tuple[Row, int, dt.datetime]] = {}
        self.answered: list[tuple[str, Key, Row, Status]] = []
        self.day: Counter[dt.date] = Counter()
        self.people: dict[Key, str | None] = {}
        self.foreign: set[Key] = set()
        self.sent = 0
        self.begin(None, None, CALM, random.Random(0), dt.datetime.min)

    def begin(self, made: Made | None, now_wanted: Wanted | None, weather: Weather, by: random.Random, now: dt.datetime) -> None:
        """A plan is about to be applied."""
        self.made, self.today, self.weather, self.by, self.now = made, now_wanted, weather, by, now
        self.answered = []

    def take(self, batch: Batch, statuses: list[str] | None = None) -> None:
        """Everything is done when it arrives."""

    def arrive(self, batch: Batch) -> Receipts:
        """A batch: is it allowed, what is done with it, what is said."""
        rows = batch.rows.to_pylist()
        keys = [tuple(row[name] for name in batch.keys) for row in rows]
        self._is_in_the_ledger(batch, keys)
        for change, key, row in zip(batch.change_ids, keys, rows, strict=True):
            self._is_allowed(batch.op, change, key, row)
        fate = drawn(self.weather.batches, self.by)
        until = self.by.randint(0, len(rows)) if fate in ("broken", "killed") else len(rows)
        lost: Status = "unknown" if self.repeats == "effect" and batch.op == "upsert" else "retryable"
        said: list[tuple[Status, str | None]] = []
        for place, (change, key, row) in enumerate(zip(batch.change_ids, keys, rows, strict=True)):
            one = drawn(self.weather.rows, self.by)
            if fate == "refused":
                said.append(("retryable", "not_sent"))
                continue
            if fate is not None:
                one = "applied" if place < until else "lost"
            if one == "rejected" and change in self.applied and self.repeats == "keys":
                one = None
            said.append(self._done(batch.op, change, key, row, one, lost))
        for (status, _), key, row in zip(said, keys, rows, strict=True):
            self.answered.append((batch.op, key, row, status))
        if fate == "refused":
            raise DeliveryError("the channel refuses", fix="wait")
        if fate == "broken":
            raise RuntimeError("a connector of somebody's")
        if fate == "killed":
            raise Killed
        return Receipts([status for status, _ in said], [code for _, code in said])

    def _done(self, op: str, change: str, key: Key, row: Row, one: str | None, lost: Status) -> tuple[Status, str | None]:
        """Do with a row what was drawn; what is said of it."""
        assert self.made is not None
        if one == "busy":
            return "retryable", "http_429"
        if one == "rejected":
            before, count, _ = self.rejections.get(key, (None, 0, None))
            if op == "upsert":
                self.rejections[key] = (row, count + 1 if before == row else 1, self.now)
            return "rejected", self.by.choice(["bad", "mailbox_full"])
        self.rejections.pop(key, None)
        if one != "lost":
            self._put(op, change, key, row)
            if op == "upsert":
                self.people[key] = self.made.wanted.subjects.get(key)
        self.decided[key] = self.made.plan.told
        if one in ("applied", "lost"):
            self.doubt[key] = row
            return lost, "timeout"
        self.doubt.pop(key, None)
        return "delivered", None

    def _put(self, op: str, change: str, key: Key, row: Row) -> None:
        """A row takes effect; where the channel knows the change it did so already."""
        if change in self.applied and self.repeats == "keys":
            return
        self.applied.add(change)
        if op == "remove":
            self.rows.pop(key, None)
            return
        self._is_new(key, row)
        self.rows[key] = row

    # -- what must not be -------------------------------------------------------------------------------------------------

    def _is_new(self, key: Key, row: Row) -> None:
        """Nobody is told the same twice, unless a decision asks for it, or nobody knew what was there."""
        assert self.made is not None
        plan, perhaps = self.made.plan, self.doubt.get(key)
        resent = plan.when_changed == "resend" and self.decided.get(key) != plan.told
        known = perhaps is None or (self.repeats == "effect" and perhaps == row)
        if self.rows.get(key) == row and known and not resent:
            self.wrong.append(f"{key} is told the same again: {row}")

    def _is_in_the_ledger(self, batch: Batch, keys: Sequence[Key]) -> None:
        run = self.targets[-1].run
        statement = (
            f"SELECT key FROM {self.control}.disclosures WHERE kind = 'line' AND run = {literal(run)} "
            f"AND (op = 'remove') = {str(batch.op == 'remove').upper()}"
        )
        lines = Counter(self.engine.query(statement).column("key").to_pylist())
        for key in keys:
            if lines[spelled(key)] != 1:
                self.wrong.append(f"{batch.op} of {key} left with {lines[spelled(key)]} lines of the ledger")

    def _is_allowed(self, op: str, change: str, key: Key, row: Row) -> None:
        made, today = self.made, self.today
        assert made is not None
        assert today is not None
        if self.changes.setdefault(change, (op, key, row)) != (op, key, row):
            self.wrong.append(f"the change {change} was another one: {self.changes[change]}, now {(op, key, row)}")
        self.sent += 1
        if op == "remove":
            self._may_be_removed(made, key)
            return
        self.day[self.now.date()] += 1
        if made.wanted.rows.get(key) != row:
            self.wrong.append(f"{key} was not planned so: {row}, but {made.wanted.rows.get(key)}")
        subject = made.wanted.subjects.get(key)
        if subject in today.barred or subject not in today.known:
            self.wrong.append(f"{subject} may no longer be told: {row}")
        if made.plan.removals is not None:
            self.wrong.append(f"{key} is told by a plan that only removes")
        if made.mode == "insert" and key in self.rows and key not in self.doubt:
            self.wrong.append(f"{key} is there, and is only to be added")
        self._may_be_tried(made, key, row)

    def _may_be_removed(self, made: Made, key: Key) -> None:
        if made.mode != "mirror":
            self.wrong.append(f"{key} is taken off in mode {made.mode}")
        if key in made.wanted.disputed and made.plan.removals is None and self.people.get(key) not in made.wanted.barred:
            self.wrong.append(f"{key} is disputed and taken off")
        if key in made.wanted.rows and made.plan.removals is None and made.plan.when_changed != "remove":
            self.wrong.append(f"{key} is wanted and taken off")

    def _may_be_tried(self, made: Made, key: Key, row: Row) -> None:
        """What was rejected waits, each time twice as long, and is given up."""
        before, count, last = self.rejections.get(key, (None, 0, self.now))
        if before != row:
            self.rejections.pop(key, None)
            return
        if made.plan.created < last:
            return  # it could not know
        due = last + dt.timedelta(seconds=made.retries.wait.seconds * 2 ** (count - 1))
        if count >= made.retries.attempts or made.plan.created < due:
            self.wrong.append(f"{key} was rejected {count} times, last at {last}, and goes at {made.plan.created}")


def spelled(key: Key) -> str:
    """A key as the control tables have it."""
    texts = [str(part) for part in key]
    return texts[0] if len(texts) == 1 else "".join(f"{len(text)}:{text}" for text in texts)
