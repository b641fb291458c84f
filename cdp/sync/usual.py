"""How large a sync's segment usually is: in the plans that were applied last, told by the control tables."""

from __future__ import annotations

import json
from typing import Final

from cdp.sync.ledger import Control

LAST: Final = 10  # plans that say what is usual
LEAST: Final = 5  # fewer say nothing yet
_READ: Final = 3 * LAST  # with those that only removed, which do not say how large the segment was


def sizes(ledger: Control, sync: str) -> tuple[int, ...]:
    """The sizes of the segment in the last plans that were applied, the newest first; of plans that only remove none."""
    plans = ledger.table("plans")
    statement = (
        f"SELECT c.body FROM {plans} AS c LEFT SEMI JOIN (SELECT plan FROM {plans} WHERE sync = :sync AND event = 'applied') AS a "
        f"ON a.plan = c.plan WHERE c.sync = :sync AND c.event = 'created' ORDER BY c.at DESC LIMIT {_READ}"
    )
    bodies = [json.loads(row["body"]) for row in ledger.engine.query(statement, {"sync": sync}, what=plans).to_pylist()]
    return tuple(body["size"] for body in bodies if body["removals"] is None)[:LAST]
