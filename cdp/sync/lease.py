"""One run at a time for each sync, on one machine and from two.

The one primitive that held on every engine: an UPDATE that takes the row when it is free, whatever it answers,
then a SELECT that compares the owner. Rows are made by a plain INSERT, which two processes may race to do; so
a lease is held only by who owns *all* rows of the sync. Every UPDATE raises the token of all rows it takes,
so a token is higher than every one before; it fences: the recorder checks it before each group.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cdp.engine.base import literal
from cdp.errors import BusyError, EngineError
from cdp.sync.ledger import Control

SECONDS = 120
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write the receipts of a sync. Made by `acquire`."""

    control: Control
    sync: str
    owner: str
    token: int
    wall: Callable[[], dt.datetime]
    seconds: float = SECONDS

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
        mine = [row for row in _rows(self.control, self.sync) if row["owner"] == self.owner]
        if not mine or min(row["expires"] for row in mine) <= _micros(self.wall()):
            raise BusyError(f"sync {self.sync}: this run lost its lease to another, or held still for too long", fix="run the sync again")

    def release(self) -> None:
        """Let the next run in; when the engine fails, the lease expires by itself."""
        for attempt in range(_TRIES):
            try:
                _update(self.control, "owner = NULL, expires = 0", self._mine, strict=True)
                return
            except EngineError:
                time.sleep(_pause(attempt))


def acquire(control: Control, sync: str, wall: Callable[[], dt.datetime], *, seconds: float = SECONDS) -> Lease:
    """Take the lease of a sync.

    Raises:
        BusyError: another run holds it; the message says who and until when.
    """
    owner = str(uuid.uuid4())
    holder = f"{socket.gethostname()} process {os.getpid()}"
    if not _rows(control, sync):
        control.append("leases", [{"sync": sync, "token": 0, "expires": 0}])
    for attempt in range(_TRIES):
        now = _micros(wall())
        until = now + int(seconds * 1e6)
        free = f"sync = {literal(sync)} AND (owner IS NULL OR expires < {now})"
        taken = f"owner = {literal(owner)}, token = token + 1, expires = {until}, holder = {literal(holder)}"
        _update(control, taken, free)
        rows = _rows(control, sync)
        if rows and all(row["owner"] == owner for row in rows):
            return Lease(control, sync, owner, max(row["token"] for row in rows), wall, seconds)
        _update(control, "owner = NULL, expires = 0", f"sync = {literal(sync)} AND owner = {literal(owner)}")
        others = [row for row in rows if row["owner"] not in (None, owner) and row["expires"] >= now]
        if others:
            raise _busy(sync, others[0]["holder"], others[0]["expires"])
        time.sleep(_pause(attempt))
    raise BusyError(f"sync {sync}: other runs start at the same moment", fix="run it again in a minute")


def _busy(sync: str, holder: str, expires: int) -> BusyError:
    until = dt.datetime.fromtimestamp(expires / 1e6, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return BusyError(f"sync {sync} is being applied by {holder}", fix=f"wait for it; if it died, its lease ends by itself at {until}")


def _update(control: Control, change: str, where: str, *, strict: bool = False) -> None:
    """Try to update; who lost a race to another writer learns it from the SELECT that follows."""
    table = control.table("leases")
    try:
        control.engine.execute(f"UPDATE {table} SET {change} WHERE {where}", what=table)
    except EngineError:
        if strict:
            raise


def _rows(control: Control, sync: str) -> list[dict[str, Any]]:
    table = control.table("leases")
    statement = f"SELECT owner, token, expires, holder FROM {table} WHERE sync = :sync"
    rows: list[dict[str, Any]] = control.engine.query(statement, {"sync": sync}, what=table).to_pylist()
    return rows


def _micros(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1e6)


def _pause(attempt: int) -> float:
    return random.random() * 0.05 * (attempt + 1)
