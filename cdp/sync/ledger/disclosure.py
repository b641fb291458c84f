"""The disclosure ledger is written here: a line for every row that is put on the wire, committed before the request.

The lines of a chunk and the block over them are one commit: no crash can leave one without the other.
45 CFR 164.528(b)(2): date, recipient, what was told, for which purpose.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cdp.connectors.base import WireOp
from cdp.errors import StaleError
from cdp.governance.query import GovernedQuery
from cdp.sync.ledger import Control, chain

if TYPE_CHECKING:
    import pyarrow as pa

SKEW = dt.timedelta(minutes=2)  # how far the clocks of two machines that write one ledger may differ
ACCOUNTABLE, EXEMPT = "accountable", "exempt"
_SHARED = ("sync", "block", "run", "chunk", "plan", "at")  # what a block says and each of its lines
_OWN = {"person": "_subject", "key": "_key", "op": "_op", "content": "_content", "base": "_base"}  # of a line, in a plan's row


def check_clock(control: Control, now: dt.datetime) -> None:
    """Refuse a clock that was set back: agreements that have ended and consents that were withdrawn would hold again.

    Raises:
        StaleError: `now` is before the ledger's last block.
    """
    last = chain.last_moment(control)
    if last is not None and now < last - SKEW:
        fix = "set the machine's clock"
        raise StaleError(f"the clock says {now.isoformat()}, but the ledger's last block is of {last.isoformat()}", fix=fix)


class Disclosures:
    """The lines of one run; its sync's lease is held.

    Args:
        control: the control tables.
        query: what governance says today.
        run: the run's name.
        plan: the plan's id.
        approver: who approved the plan, if anybody did.
        wall: the clock.
    """

    def __init__(
        self, control: Control, query: GovernedQuery, run: str, plan: str, approver: str | None, wall: Callable[[], dt.datetime]
    ) -> None:
        self.control, self.query, self.run, self.plan, self.approver, self.wall = control, query, run, plan, approver, wall
        self._types = control.types(chain.TABLE)
        ends = chain.ends(control, query.sync.name)
        self._number = ends[0]["block"] if ends else 0
        self._ends = [end["hash"] for end in ends]

    def write(self, chunk: int, op: WireOp, rows: pa.Table) -> None:
        """Commit the lines of a chunk and their block. A run that ends early has then said too much, never too little.

        Args:
            chunk: its number in the plan.
            op: of the batches that it becomes: it decides which columns leave.
            rows: of the plan, that may leave: at least one.
        """
        import pyarrow as pa

        salt, common = chain.salt(), self._common(chunk, op)
        own = {name: rows.column(column) for name, column in _OWN.items()}
        lines = pa.table({"number": pa.arange(0, rows.num_rows).cast(pa.int32()), **own})
        root = chain.root(salt, chain.common(tuple(self._types), common), lines, self._types)
        block = self._block(common, rows.num_rows, salt, root)
        self.control.append_parts(chain.TABLE, (lines, common), (pa.table({"hash": [block["hash"]]}), block))
        self._number, self._ends = block["block"], [block["hash"]]

    def _common(self, chunk: int, op: WireOp) -> Mapping[str, Any]:
        """The fields that all lines of a chunk share."""
        decision = self.query.decision
        columns = self.query.columns if op == "upsert" else self.query.keys
        classes = sorted({*decision.members, *(c for name in columns for c in decision.columns.get(name, ()))})
        return {
            "sync": self.query.sync.name,
            "kind": chain.LINE,
            "block": self._number + 1,
            "run": self.run,
            "chunk": chunk,
            "destination": decision.receiver,
            "agreement": decision.agreement,
            "counterparty": self.query.agreement.counterparty,
            "purpose": decision.purpose,
            "classes": json.dumps(classes),
            "columns": json.dumps(columns),
            "plan": self.plan,
            "approver": self.approver,
            "accounting": EXEMPT if decision.exempt_under else ACCOUNTABLE,
            "exempt_under": decision.exempt_under,
            "at": self.wall(),
        }

    def _block(self, common: Mapping[str, Any], lines: int, salt: str, root: str) -> dict[str, Any]:
        block = {
            **{name: common[name] for name in _SHARED},
            "kind": chain.BLOCK,
            "lines": lines,
            "salt": salt,
            "root": root,
            "previous": " ".join(self._ends),
        }
        return {**block, "hash": chain.hashed(tuple(self._types), block)}
