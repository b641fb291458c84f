"""What a channel is to the rest of the code: something that takes batches and answers with receipts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Literal, Protocol, Self, TypeVar, get_args, overload, runtime_checkable

from cdp.connectors.bodies import contents, lengths
from cdp.errors import DeliveryError
from cdp.spec.activation import Destination

if TYPE_CHECKING:
    import pyarrow as pa

WireOp = Literal["upsert", "remove"]
Status = Literal["delivered", "rejected", "retryable", "unknown"]
STATUSES: tuple[Status, ...] = get_args(Status)

NOT_SENT = "not_sent"  # the code of a row that never left, because its delivery ended before
# What a request is answered that was not looked at: it came over the wrong connection (RFC 9110, 15.5.20), too early (RFC 8470, 5.2), or
# is one too many (RFC 6585, 4).
TOO_EARLY = (421, 425, 429)
# With one of these codes a retryable row has certainly never been applied; with any other one it may have been.
HARMLESS = frozenset({NOT_SENT, "stopped", "circuit_open", "connect", "dns", "tls", *(f"http_{status}" for status in TOO_EARLY)})

# What sending the same change again does to a channel: `keys`, it knows the idempotency key and does nothing; `state`, the row is put
# where it already is; `effect`, it has an effect each time (a text message). A removal may be repeated at every channel.
Repeats = Literal["keys", "state", "effect"]


class ChangeIds(Sequence[str]):
    """The ids of changes, hex SHA-256: computed for whoever asks for one, and for a whole batch at once.

    Args:
        texts: what each change is, without nulls. They hold keys of rows, so nothing but hashes of them leaves.
        seal: puts a secret into a hash; without one who knows the form of a key could try out keys.
    """

    __slots__ = ("_seal", "_texts")

    def __init__(self, texts: pa.StringArray, seal: Callable[[str], str] = str) -> None:
        self._texts, self._seal = texts, seal

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> ChangeIds: ...
    def __getitem__(self, place: int | slice) -> str | ChangeIds:
        if isinstance(place, slice):
            return ChangeIds(self._texts[place], self._seal)
        return self._seal(hashlib.sha256(self._texts[place].as_py().encode()).hexdigest())

    def take(self, places: Sequence[int]) -> ChangeIds:
        """The ids at these positions, in this order."""
        return ChangeIds(self._texts.take(list(places)), self._seal)

    def digest(self) -> str:
        """One hash over all of them in their order: over how long each text is (32 bits, little-endian), and the texts."""
        found = hashlib.sha256(lengths(self._texts))
        found.update(contents(self._texts))
        return self._seal(found.hexdigest())


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that leave in one request.

    Attributes:
        op: `upsert` for adds and changes, `remove` for removals.
        rows: the columns that leave and nothing else, masks applied; removals hold the key columns only.
        keys: the names of the key columns, which come first in `rows`.
        change_ids: one id a row, stable across retries and reruns of the same change (hex SHA-256).
        texts: the rows as the connector's `encoded` wrote them, for many batches at once; None where it writes each by itself.
    """

    op: WireOp
    rows: pa.Table = field(repr=False)  # a connector that is anyone's may log the batch that it failed at
    keys: tuple[str, ...]
    change_ids: Sequence[str]
    texts: pa.StringArray | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.change_ids)

    @property
    def idempotency_key(self) -> str:
        """SHA-256 over the changes in their order: the same rows in the same order give the same key."""
        if isinstance(self.change_ids, ChangeIds):
            return self.change_ids.digest()
        return hashlib.sha256("".join(self.change_ids).encode()).hexdigest()

    def slice(self, start: int, length: int) -> Batch:
        """The rows from `start`, at most `length` of them, as a batch of their own."""
        texts = None if self.texts is None else self.texts.slice(start, length)
        return Batch(self.op, self.rows.slice(start, length), self.keys, self.change_ids[start : start + length], texts)

    def take(self, places: Sequence[int]) -> Batch:
        """The rows at these positions, in this order, as a batch of their own."""
        at, ids = list(places), self.change_ids
        taken = ids.take(at) if isinstance(ids, ChangeIds) else tuple(ids[place] for place in at)
        return Batch(self.op, self.rows.take(at), self.keys, taken, None if self.texts is None else self.texts.take(at))


Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Same(Sequence[Value], Generic[Value]):
    """One value so many times, however many those are."""

    value: Value
    times: int

    def __len__(self) -> int:
        return self.times

    @overload
    def __getitem__(self, place: int) -> Value: ...
    @overload
    def __getitem__(self, place: slice) -> Same[Value]: ...
    def __getitem__(self, place: int | slice) -> Value | Same[Value]:
        places = range(self.times)[place]  # an index out of range is an error here as well
        return Same(self.value, len(places)) if isinstance(places, range) else self.value

    def count(self, value: object) -> int:
        """How often a value is there."""
        return self.times if value == self.value else 0


@dataclass(frozen=True, slots=True)
class Receipts:
    """What the channel said of each row of a batch, in the batch's order.

    `delivered` and `rejected` are the channel's word. `retryable` may be sent again: at a channel where each request has an effect only
    what certainly had none. What may have been applied there is `unknown`, and nobody sends it again but a person.

    A code is the channel's short reason (`[A-Za-z0-9_.-]{1,64}`, never a value of the row), else None.
    """

    statuses: Sequence[Status]
    codes: Sequence[str | None]

    @classmethod
    def all(cls, count: int, status: Status, code: str | None = None) -> Receipts:
        """The same receipt for each of `count` rows."""
        return cls(Same(status, count), Same(code, count))

    @property
    def counts(self) -> Mapping[Status, int]:
        """How many rows have each status that is there."""
        if isinstance(self.statuses, Same):
            return {self.statuses.value: self.statuses.times} if self.statuses.times else {}
        return Counter(self.statuses)


@dataclass(frozen=True, slots=True)
class Egress:
    """What the agreement lets a connector touch; checked again on the wire.

    `plaintext_loopback` is set in an environment marked `sandbox: true`: http:// and https:// to loopback
    are then allowed besides `hosts`. `names`: whether the name of a sync may leave (`labels: named`).
    """

    hosts: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    plaintext_loopback: bool = False
    names: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Everything a connector needs to know to be opened.

    `notice` are texts that must go with every batch, removals too, each by the dotted path of its field (42 CFR 2.32); a
    connector that cannot carry them (`carries_notice`) is not opened.
    """

    destination: Destination
    egress: Egress
    run: str
    root: Path  # the project's folder; relative folders start here
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    sync: str = ""  # its name, for a path that keeps a list for each sync
    notice: Mapping[str, str] = field(default_factory=dict)


class Connector(Protocol):
    """A channel, open for one run. `async with` opens and closes it.

    Leaving the `async with` without an exception completes what the channel needs completed (a manifest).
    """

    concurrency: int
    carries_notice: bool
    repeats: Repeats  # a connector that does not say is taken for `effect`, the slow and careful one

    def __init__(self, target: Target) -> None:
        """Check the options; raise DeliveryError when the destination cannot be used as declared."""

    def batch_size(self, op: WireOp) -> int:
        """The rows of one batch of this kind; 0 when the channel cannot do this kind."""

    async def whoami(self) -> str | None:
        """The account that the credentials open, asked of the channel itself; None when it cannot tell.

        Raises:
            DeliveryError: the channel gives no answer, or none that names an account.
        """

    async def send(self, batch: Batch) -> Receipts:
        """Deliver one batch. Retries belong in here; what is still undecided comes back `retryable`, or `unknown`: see `Receipts`.

        Raises:
            DeliveryError: nothing more can be sent to this destination (refused host, redirect), and nothing of this batch was applied;
                if it may have been, the error says why (`doubt`).
        """

    async def flush(self) -> None:
        """Make what was sent durable: called before the receipts of a group are recorded."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


@runtime_checkable
class Answering(Protocol):
    """A connector that can be asked later what became of a change whose receipt was lost."""

    async def lookup(self, change_ids: Sequence[str]) -> Sequence[bool | None]:
        """For each change whether the channel applied it; None where it cannot tell: the next run asks again.

        Raises:
            DeliveryError: nothing more can be asked; nothing is sent either then.
        """


@runtime_checkable
class Exporting(Protocol):
    """A connector that can be asked which rows its channel holds now."""

    def export(self, keys: Sequence[str]) -> AsyncIterator[pa.Table]:
        """The keys of all rows, a part at a time, so that memory does not grow with the channel. Nothing but the key is read of a row.

        Args:
            keys: names of the key columns, as they leave.

        Returns:
            Parts with a column of text for each of `keys`. A key may come twice.

        Raises:
            DeliveryError: nothing is declared to ask, or a part fails or cannot be read; then all that came before tells nothing.
        """


@runtime_checkable
class Paced(Protocol):
    """What a connector is besides when it keeps its destination's pace: that of all its syncs in this process together."""

    def waits(self) -> str | None:
        """Why nothing leaves at the moment, in a few words; None while something does."""

    def halted(self) -> DeliveryError | None:
        """Why nothing more can be sent for now, if the channel asked for a pause that is longer than we wait."""

    def stop(self) -> None:
        """Send nothing more: what waits for its turn, or for another try, ends now."""

    def debt(self) -> float:
        """Seconds until all that was sent is within the limits a second that the destination declares."""


def known_after(connector: object) -> float:
    """Seconds after which a channel that is asked (`Answering`) knows what it was sent: an earlier `False` is not believed.

    A connector may say so by an attribute of this name: the channel may still work on requests of a run that was killed a moment ago.
    """
    return float(getattr(connector, "known_after", 0.0))


def repeats_of(connector: object) -> Repeats:
    """What sending again does at an open connector, or at a class of connectors."""
    found: Repeats = getattr(connector, "repeats", "effect")
    return found
