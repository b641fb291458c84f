"""One run at a time for each sync, on one machine and from two.

The one primitive that held on every engine: an UPDATE that takes the row when it is free, whatever it answers,
then a SELECT that compares the owner. Rows are made by a plain INSERT, which two processes may race to do; so
a lease is held only by who owns *all* rows of the sync. Every UPDATE raises the token of all rows it takes,
so a token is higher than every one before; it fences: the recorder checks it before each group.

A lease is free when nobody holds it, when it has expired, or when its holder is a process of this machine that is provably
dead (`process.is_dead`): then the same UPDATE takes it from that one owner, and from nobody who came between.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cdp.engine.base import literal
from cdp.errors import BusyError, ConflictError, EngineError
from cdp.sync import process
from cdp.sync.ledger import Control

SECONDS = 120
TOKEN_BITS = 32  # a receipt's seq is the token of its run, and below it the receipt's number
_NUMBERED = ("receipts", "synced")
_LOOK_SECONDS = 1.0
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write the receipts of a sync, or to use what `subject` says. Made by `acquire`."""

    control: Control
    sync: str
    owner: str
    token: int
    wall: Callable[[], dt.datetime]
    seconds: float = SECONDS
    subject: str = ""

    @property
    def first_seq(self) -> int:
        """What the receipts written under it are numbered from: above those of every lease before."""
        return self.token << TOKEN_BITS

    @property
    def _mine(self) -> str:
        return f"sync = {literal(self.sync)} AND owner = {literal(self.owner)}"

    def renew(self) -> None:
        """Hold on for as long again.

        Raises:
            BusyError: the lease was lost: it expired and another run took it.
        """
        change = f"expires = {_micros(self.wall()) + int(self.seconds * 1e6)}"
        _update(self.control, change, self._mine)
        self.check()

    def check(self) -> None:
        """Make sure that the lease is still ours.

        Raises:
            BusyError: it is not.
        """
        rows = _rows(self.control, self.sync)
        mine = [row for row in rows if row["owner"] == self.owner]
        if mine and min(row["expires"] for row in mine) > _micros(self.wall()):
            return
        others = [row for row in rows if row["owner"] not in (None, self.owner)]
        who = f"to {others[0]['holder']}" if others else "because it held still for too long"
        raise BusyError(
            f"{self.subject or _sync(self.sync)}: this run lost its lease {who}",
            fix="run the sync again: it sends what was not acknowledged",
        )

    def release(self, after: float = 0.0) -> None:
        """Let the next run in; when the engine fails, the lease expires by itself.

        Args:
            after: so many seconds from now, also when this process has ended by then.
        """
        until = _micros(self.wall()) + int(after * 1e6)
        change = f"process = NULL, expires = {until}" if after > 0 else "owner = NULL, expires = 0"
        for attempt in range(_TRIES):
            if _update(self.control, change, self._mine) is None:
                return
            time.sleep(_pause(attempt))


def acquire(
    control: Control,
    sync: str,
    wall: Callable[[], dt.datetime],
    *,
    seconds: float = SECONDS,
    subject: str = "",
    owner: str = "",
    patience: float = 0.0,
) -> Lease:
    """Take the lease of a sync, or of something else that one run at a time may use.

    Args:
        control: the control tables.
        sync: its name; of something else one that no sync can have, such as `pace:mail`.
        wall: the clock.
        seconds: how long it holds without being renewed.
        subject: what it is the lease of, in words (`destination mail`); by default the sync.
        owner: who takes it; whoever has it already gets it again. By default somebody new.
        patience: for how many seconds to try, where others hold it.

    Raises:
        BusyError: another run holds it; the message says who, since when and until when.
    """
    lease = Lease(control, sync, owner or str(uuid.uuid4()), 0, wall, seconds, subject)
    rows = _rows(control, sync)
    if not rows:
        control.append("leases", [{"sync": sync, "token": _floor(control, sync), "expires": 0}])
    end = time.monotonic() + patience
    while True:
        try:
            return _acquire(lease, rows)
        except BusyError:
            if time.monotonic() >= end:
                raise
        time.sleep(min(0.05 + random.random() * 0.2, max(0.0, end - time.monotonic())))


def _floor(control: Control, sync: str) -> int:
    """The highest token that is on record: where the table of leases was lost, the next one must still be higher than those before."""
    found = [control.engine.value(f"SELECT MAX(seq) FROM {control.table(name)} WHERE sync = :sync", {"sync": sync}) for name in _NUMBERED]
    return max(int(seq or 0) for seq in found) >> TOKEN_BITS


def _acquire(lease: Lease, rows: Sequence[dict[str, Any]]) -> Lease:
    """The same lease, held; it is tried a few times where nobody holds it and several want it.

    Args:
        lease: to take.
        rows: as they were not long ago: who was dead then is so now.
    """
    control, sync = lease.control, lease.sync
    failed: EngineError | None = None
    for attempt in range(_TRIES):
        now = _micros(lease.wall())
        owners = [lease.owner, *_dead(rows)]
        free = " OR ".join(["owner IS NULL", f"expires < {now}", *(f"owner = {literal(each)}" for each in owners)])
        failed = _update(control, _taken(lease, now), f"sync = {literal(sync)} AND ({free})")
        rows = _rows(control, sync)
        if rows and all(row["owner"] == lease.owner for row in rows):
            return replace(lease, token=max(row["token"] for row in rows))
        if any(row["owner"] == lease.owner for row in rows):
            lease.release()  # who did not win them all must not keep any
        if other := _holding([row for row in rows if row["owner"] != lease.owner], now):
            raise _busy(lease.subject or _sync(sync), other)
        time.sleep(_pause(attempt))
    if failed is not None and not isinstance(failed, ConflictError):  # it is not for others that it cannot be taken
        raise failed
    said = f"{lease.subject or _sync(sync)}: other runs start at the same moment"
    raise BusyError(said, fix="run it again in a minute", before=not lease.subject)


def wait(
    control: Control,
    sync: str,
    wall: Callable[[], dt.datetime],
    seconds: float,
    say: Callable[[str], None] = lambda said: None,
    stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Wait until no run holds the lease of a sync. Nothing is taken: who then starts may still be refused.

    Args:
        control: the control tables.
        sync: its name.
        wall: the clock.
        seconds: how long at most.
        say: told why it waits, once for each run that it waits for.
        stopped: whether somebody asked to stop.

    Returns:
        Whether there was one.

    Raises:
        BusyError: it is still held; the message says by whom, since when and until when.
    """
    end, told = None, None
    while other := _holding(_rows(control, sync), _micros(wall())):
        end = end or time.monotonic() + seconds  # from the first look: that a lakehouse is slow to answer is no waiting
        left = end - time.monotonic()
        if left <= 0 or stopped():
            raise _busy(_sync(sync), other)
        if other["owner"] != told:
            told = other["owner"]
            say(f"waits for {other['holder']}, which applies it since {_moment(other['since'])}")
        time.sleep(min(_LOOK_SECONDS, left))
    return told is not None


def _taken(lease: Lease, now: int) -> str:
    """What the UPDATE sets."""
    columns = {
        "owner": literal(lease.owner),
        "token": "token + 1",
        "since": str(now),
        "expires": str(now + int(lease.seconds * 1e6)),
        "holder": literal(f"process {os.getpid()} on {socket.gethostname()}"),
        "process": literal(process.identity()),
    }
    return ", ".join(f"{name} = {value}" for name, value in columns.items())


def _dead(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The owners that are provably gone."""
    return [row["owner"] for row in rows if row["owner"] is not None and process.is_dead(row["process"])]


def _holding(rows: Sequence[dict[str, Any]], now: int) -> dict[str, Any] | None:
    """The row that keeps us out, if there is one."""
    return next((row for row in rows if row["owner"] is not None and row["expires"] >= now and not process.is_dead(row["process"])), None)


def _busy(subject: str, row: dict[str, Any]) -> BusyError:
    since, until = _moment(row["since"]), _moment(row["expires"])
    doing = "is being applied" if subject.startswith("sync ") else "is in use"
    return BusyError(
        f"{subject} {doing} by {row['holder']} since {since}; its lease holds until {until} and is renewed while it runs",
        fix="wait until it ends (`cdp sync` does, see --wait); of a run that died on another machine, the lease ends by itself then",
        before=subject.startswith("sync "),
    )


def _sync(sync: str) -> str:
    return f"sync {sync}"


def _moment(micros: int | None) -> str:
    return dt.datetime.fromtimestamp((micros or 0) / 1e6, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _update(control: Control, change: str, where: str) -> EngineError | None:
    """Try to update; who lost a race to another writer learns it from the SELECT that follows."""
    table = control.table("leases")
    try:
        control.engine.execute(f"UPDATE {table} SET {change} WHERE {where}", what=table)
    except EngineError as error:
        return error
    return None


def _rows(control: Control, sync: str) -> list[dict[str, Any]]:
    table = control.table("leases")
    statement = f"SELECT owner, token, since, expires, holder, process FROM {table} WHERE sync = :sync"
    rows: list[dict[str, Any]] = control.engine.recall(table, statement, {"sync": sync}).to_pylist()
    return rows


def _micros(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1e6)


def _pause(attempt: int) -> float:
    return random.random() * 0.05 * (attempt + 1)
