"""One process at a time delivers to a destination that declares limits a second; its syncs in that process share one pace.

A pace is counted in a process (`connectors.pace`), so a limit holds over processes and machines only while no other one sends: each sync
takes the destination's lease before its own, under an owner that all syncs of this process share. What was sent last may not be paid for
when the last of them ends; the lease stays taken until it is. It covers those who use the same control schema, and nobody else.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from cdp.connectors.base import Connector, Paced
from cdp.errors import BusyError
from cdp.spec.activation import Destination
from cdp.sync import lease
from cdp.sync.ledger import Control
from cdp.sync.stopping import Stop

_LOOK_SECONDS = 0.5
_owner = str(uuid.uuid4())  # of all that this process holds here
_users: Counter[tuple[object, str, str]] = Counter()  # syncs that deliver now, by lakehouse, control schema and destination
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Both(lease.Lease):
    """A sync's lease, and with it that of its destination: who lost one of them has lost both."""

    destination: lease.Lease | None = None

    def renew(self) -> None:
        lease.Lease.renew(self)
        if self.destination is not None:
            self.destination.renew()

    def check(self) -> None:
        lease.Lease.check(self)
        if self.destination is not None:
            self.destination.check()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a destination that another process delivers to, and who is told so.

    Attributes:
        seconds: at most; then the run is refused.
        say: told once what is waited for.
        stop: ends the wait.
    """

    seconds: float = 0.0
    say: Callable[[str], None] = lambda said: None
    stop: Stop | None = None

    def ended(self, since: float) -> bool:
        """Whether a wait that began then is over."""
        return time.monotonic() - since >= self.seconds or (self.stop is not None and self.stop.asked)


@contextmanager
def leased(
    ledger: Control, sync: str, destination: Destination, connector: Connector, wall: Callable[[], dt.datetime], patience: Patience
) -> Iterator[lease.Lease]:
    """Hold a sync's lease, and the destination's where that declares limits a second.

    Args:
        ledger: the control tables.
        sync: its name.
        destination: where it goes.
        connector: whose pace is counted.
        wall: the clock.
        patience: how long to wait for the destination; another run of the same sync is not waited for.

    Raises:
        BusyError: another run holds the sync, or another process delivers to the destination.
    """
    if not destination.limits.a_second:
        yield from _held(lease.acquire(ledger, sync, wall))
        return
    theirs = _enter(ledger, destination.name, wall, patience)
    try:
        own = lease.acquire(ledger, sync, wall)
        both = _Both(**{field.name: getattr(own, field.name) for field in fields(own)}, destination=theirs)
        yield from _held(both)
    finally:
        _leave(ledger, theirs, destination.name, connector)


def _held(held: lease.Lease) -> Iterator[lease.Lease]:
    try:
        yield held
    finally:
        held.release()


def _enter(ledger: Control, destination: str, wall: Callable[[], dt.datetime], patience: Patience) -> lease.Lease:
    """The destination's lease, when it is this process's turn."""
    since, told = time.monotonic(), False
    while True:
        try:
            with _lock:  # whoever leaves does not release what another sync takes at that moment
                found = lease.acquire(ledger, f"pace:{destination}", wall, subject=f"destination {destination}", owner=_owner)
                _users[_key(ledger, destination)] += 1
                return found
        except BusyError as busy:
            if patience.ended(since):
                raise
            if not told:
                patience.say(f"waits: {busy.message}")
            told = True
        time.sleep(_LOOK_SECONDS)


def _leave(ledger: Control, held: lease.Lease, destination: str, connector: Connector) -> None:
    """Let the next process in, if no other sync of this one delivers there, and as soon as what was sent is paid for."""
    key = _key(ledger, destination)
    with _lock:
        _users[key] -= 1
        if not _users[key]:
            del _users[key]
            held.release(after=connector.debt() if isinstance(connector, Paced) else 0.0)


def _key(ledger: Control, destination: str) -> tuple[object, str, str]:
    lakehouse = ledger.engine.lakehouse  # of a folder several engines of this process may hold the one lease
    return lakehouse.resolve() if lakehouse else id(ledger.engine), ledger.schema, destination
