"""A million rows delivered with the disclosure ledger, against the same delivery without it: it may cost a tenth.

Delivery is that of `delivery_100k`, ten times as long: the whole of applying a plan, over HTTP to a sandbox in a process of its
own. With the ledger every row is a line, committed before its request, and every chunk a block over the digests of its lines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from cdp.sync.ledger.disclosure import Disclosures
from tests.benchmarks.clinic import opened
from tests.benchmarks.delivery_100k import Channel, sandbox
from tests.benchmarks.ratio import Prepared, Ratio, best

ROWS, ROUNDS = 1_000_000, 2


def run(folder: Path) -> list[Ratio]:
    """Deliver everything, with and without."""
    clinic = opened(folder)
    clinic.load(ROWS)
    with sandbox() as url:
        channel = Channel(clinic, url, ROWS)

        def without(made: Any) -> None:
            with patch.object(Disclosures, "write", lambda *_: None):
                channel.apply(made)

        ours, theirs = best(ROUNDS, Prepared(channel.planned, channel.apply), Prepared(channel.planned, without))
    clinic.engine.close()
    return [Ratio("ledger_1m", ours, theirs, 1.1)]
