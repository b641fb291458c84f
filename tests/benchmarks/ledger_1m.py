"""A million rows delivered with the disclosure ledger, against the same delivery without it.

With the ledger every row is a line, committed before its request, and every chunk a block over the digests of its lines.
"""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pyarrow as pa

from cdp.sync.outgoing import Outgoing
from tests.benchmarks import wide
from tests.benchmarks.channel import Channel, Planned
from tests.benchmarks.ratio import Prepared, Ratio, best
from tests.benchmarks.receiver import receiver

ROWS, ROUNDS = 1_000_000, 2


def run(folder: Path) -> list[Ratio]:
    """Deliver everything, with and without."""
    clinic = wide.opened(folder)
    clinic.load(ROWS)
    with receiver() as url:
        channel = Channel(clinic, url)

        def planned() -> Planned:
            return channel.plan(channel.fresh())

        def undisclosed(_: Outgoing, chunk: object, op: object, rows: pa.Table) -> pa.Table:
            return rows

        def without(made: Planned) -> None:
            with patch.object(Outgoing, "_disclose", undisclosed):
                channel.apply(made)

        ours, theirs = best(ROUNDS, Prepared(planned, channel.apply), Prepared(planned, without))
    clinic.engine.close()
    return [Ratio("ledger_1m", ours, theirs, 1.1)]
