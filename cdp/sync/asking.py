"""Asking a channel what became of rows whose receipts were lost, or never came."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cdp.connectors.base import Answering, known_after
from cdp.sync.changes import sealed
from cdp.sync.lease import SECONDS, Lease
from cdp.sync.stopping import Pause

ASK_ROWS = 1000  # changes a question to the connector
_RENEW_SECONDS = SECONDS / 4


async def asked(
    connector: Answering,
    rows: Sequence[Mapping[str, Any]],
    mask_keys: Mapping[str, bytes],
    lease: Lease,
    wall: Callable[[], dt.datetime],
    pause: Pause,
) -> list[bool | None]:
    """For each row whether the channel applied it; None where it cannot tell.

    A run that was killed a moment ago may have left a request at the channel that is still worked on. So "not applied" is believed of rows
    that were sent `known_after` seconds ago; of others it is asked again when that time has passed, unless somebody asks to stop.

    Args:
        connector: open.
        rows: each with its `change`, the id before it is sealed, and `sent`: when it was, at the latest.
        mask_keys: the secret of each wire mask.
        lease: held, and renewed while this waits.
        wall: the clock.
        pause: what this waits with.

    Raises:
        DeliveryError: nothing more can be asked.
        BusyError: the lease was lost.
    """
    ids = list(sealed([row["change"] for row in rows], mask_keys))
    answers = await _answers(connector, ids)
    patience = dt.timedelta(seconds=known_after(connector))
    early = [place for place, applied in enumerate(answers) if applied is False and wall() < rows[place]["sent"] + patience]
    if early:
        waited = await _until(max(rows[place]["sent"] for place in early) + patience, lease, wall, pause)
        later = await _answers(connector, [ids[place] for place in early]) if waited else [None] * len(early)
        for place, applied in zip(early, later, strict=True):
            answers[place] = applied
    return answers


async def _answers(connector: Answering, ids: Sequence[str]) -> list[bool | None]:
    found: list[bool | None] = []
    for start in range(0, len(ids), ASK_ROWS):
        part = ids[start : start + ASK_ROWS]
        said = await connector.lookup(part)
        found += said if len(said) == len(part) else [None] * len(part)
    return found


async def _until(moment: dt.datetime, lease: Lease, wall: Callable[[], dt.datetime], pause: Pause) -> bool:
    """Wait until then; whether it has come before anybody asked to stop."""
    while (left := (moment - wall()).total_seconds()) > 0:
        if not await pause.wait(min(left, _RENEW_SECONDS)):
            return False
        lease.renew()
    return True
