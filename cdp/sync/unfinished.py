"""What an earlier run was let send and has not got to: it is no addition, change or removal again, as far as guards go.

A first load that is cut off, spread over days by a cap, or rejected in part leaves a destination that holds a few rows. Against those the
rest would look like an explosion, and no schedule would ever go on by itself.
"""

from __future__ import annotations

import json
from collections import Counter

from cdp.sync.ledger import Control

_READ = 10  # plans; those that only removed say nothing of additions


def unfinished(control: Control, sync: str) -> Counter[str]:
    """By op, the rows of the newest plan that was let go out, those that it put off included, less what was delivered since.

    Guards let a plan pass before there is a run of it. It is a number of rows, not of certain people.
    """
    runs, plans, receipts = control.table("runs"), control.table("plans"), control.table("receipts")
    let_go = f"SELECT r.plan, MAX(r.at) AS at FROM {runs} AS r WHERE r.sync = :sync AND r.plan IS NOT NULL GROUP BY r.plan"
    statement = (
        f"SELECT c.body FROM {plans} AS c JOIN ({let_go}) AS g ON g.plan = c.plan "
        f"WHERE c.sync = :sync AND c.event = 'created' ORDER BY g.at DESC, c.at DESC LIMIT {_READ}"
    )
    bodies = (json.loads(row["body"]) for row in control.engine.query(statement, {"sync": sync}, what=plans).to_pylist())
    newest = next((body for body in bodies if body["removals"] is None), None)
    if newest is None:
        return Counter()
    delivered = f"SELECT op, COUNT(*) AS n FROM {receipts} WHERE sync = :sync AND status = 'delivered' AND seq > :seq GROUP BY op"
    done = control.engine.query(delivered, {"sync": sync, "seq": newest["base_seq"]}, what=receipts).to_pylist()
    return Counter(newest["weighed"]) - Counter({row["op"]: row["n"] for row in done})
