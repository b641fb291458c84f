"""A destination's cap of additions and changes a day, over all syncs, processes and machines.

What counts is what the disclosure ledger says was put on the wire since midnight in the project's time zone. A plan holds what fits when it
is made. When it is applied the cap is asked again for each chunk: under a lease of the destination the lines of today are counted and
those of the chunk are committed, so that two runs never both take what is left. What does not fit is not acknowledged, hence in
the next plan. A run that ends early has used up the lines of its last chunk: the cap errs towards telling less. It could be
exceeded only by a run that stands still for two minutes between counting and committing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cdp.engine.base import literal
from cdp.governance.query import GovernedQuery
from cdp.sync import lease
from cdp.sync.ledger import Control, chain

_PATIENCE = 2 * lease.SECONDS  # longer than the lease of a run that was killed


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a destination may still be told today. Made by `of`; without a cap there is room for everything.

    Attributes:
        control: the control tables.
        destination: its name, as the ledger has it.
        rows_per_day: the cap.
        wall: the clock, in the project's time zone.
    """

    control: Control
    destination: str
    rows_per_day: int | None
    wall: Callable[[], dt.datetime]

    @classmethod
    def of(cls, control: Control, query: GovernedQuery, wall: Callable[[], dt.datetime]) -> Allowance:
        """That of a sync's destination."""
        return cls(control, query.decision.receiver, query.destination.limits.rows_per_day, wall)

    def room(self) -> int | None:
        """How many additions and changes may still go out today; None without a cap."""
        if self.rows_per_day is None:
            return None
        now = self.wall()
        midnight = dt.datetime.combine(now.date(), dt.time.min, now.tzinfo)
        table = self.control.table(chain.TABLE)
        told = (
            f"SELECT COUNT(*) FROM {table} WHERE kind = '{chain.LINE}' AND destination = {literal(self.destination)} "
            f"AND op <> 'remove' AND at >= TIMESTAMP_MICROS({int(midnight.timestamp() * 1e6)})"
        )
        return max(0, self.rows_per_day - int(self.control.engine.value(told, what=table)))

    @contextmanager
    def granted(self, rows: int) -> Iterator[int]:
        """How many of some additions and changes may go out; their lines are committed inside of the block.

        Raises:
            BusyError: another run counts, and does not come to an end.
        """
        if self.rows_per_day is None:
            yield rows
            return
        named = f"the daily cap of destination {self.destination}"
        held = lease.acquire(self.control, f"cap:{self.destination}", self.wall, subject=named, patience=_PATIENCE)
        try:
            room = self.room() or 0
            held.check()  # who lost it while counting commits nothing
            yield min(rows, room)
        finally:
            held.release()
