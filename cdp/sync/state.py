"""What a destination has acknowledged: for each key the delivered receipt of the highest seq.

The receipts are the state. `synced` holds those that were folded together, tombstones included, so that the
union of both is idempotent and a crash between folding and anything else changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdp.engine.base import literal
from cdp.sync.ledger import Control

FOLD_ROWS = 100_000  # receipts worth a rewrite of `synced`
FOLD_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Known:
    """How far the state of a sync goes: `folded` is the highest seq in `synced`, `last` that of all delivered receipts."""

    folded: int
    last: int


def known(control: Control, sync: str) -> Known:
    """Read how far the state of a sync goes; 0 stands for nothing."""
    synced, receipts = control.table("synced"), control.table("receipts")
    folded = control.engine.value(f"SELECT MAX(seq) FROM {synced} WHERE sync = :sync", {"sync": sync}, what=synced) or 0
    last = control.engine.value(
        f"SELECT MAX(seq) FROM {receipts} WHERE sync = :sync AND status = 'delivered' AND seq > :folded",
        {"sync": sync, "folded": folded},
        what=receipts,
    )
    return Known(folded, last or folded)


def outdated(told: str) -> str:
    """SQL, of a row `a` of the acknowledged state: whether the destination holds it under another decision than `told`."""
    return f"(a.content IS NOT NULL AND NOT (a.told <=> {literal(told)}))"


def acknowledged(control: Control, sync: str, at: Known) -> str:
    """SQL of the acknowledged state: one row a key, with the columns of `synced`; tombstones have op `remove`."""
    columns = control.columns("synced")
    stored = f"SELECT {', '.join(columns)} FROM {control.table('synced')} WHERE sync = {literal(sync)}"
    if at.last == at.folded:
        return stored
    fresh = f"r.sync = {literal(sync)} AND r.status = 'delivered' AND r.seq > {at.folded}"
    receipts = control.table("receipts")
    # A seq is given once, so the newest receipt of each key is found by joining integers, not by sorting rows.
    recent = (
        f"SELECT {', '.join(f'r.{c}' for c in columns)} FROM {receipts} AS r "
        f"LEFT SEMI JOIN (SELECT MAX(r.seq) AS seq FROM {receipts} AS r WHERE {fresh} GROUP BY r.key) AS m ON r.seq = m.seq WHERE {fresh}"
    )
    kept = f"SELECT {', '.join(f's.{c}' for c in columns)} FROM ({stored}) AS s LEFT ANTI JOIN recent AS r ON s.key = r.key"
    return f"WITH recent AS ({recent}) {kept} UNION ALL SELECT {', '.join(columns)} FROM recent"


def told_since(control: Control, sync: str, seq: int) -> bool:
    """Whether anything but removals was delivered after a receipt."""
    receipts = control.table("receipts")
    others = f"SELECT COUNT(*) FROM {receipts} WHERE sync = :sync AND status = 'delivered' AND seq > :seq AND op <> 'remove'"
    return bool(control.engine.value(others, {"sync": sync, "seq": seq}, what=receipts))


def removed_since(control: Control, sync: str, seq: int) -> str:
    """SQL of the subjects who were removed after a receipt."""
    delivered = f"sync = {literal(sync)} AND status = 'delivered' AND seq > {seq} AND op = 'remove'"
    return f"SELECT subject FROM {control.table('receipts')} WHERE {delivered}"


def fold(control: Control, sync: str, *, rows: int = FOLD_ROWS, share: float = FOLD_SHARE) -> bool:
    """Rewrite `synced` when the receipts since have grown past `rows` and `share` of it. The caller holds the lease.

    Returns:
        Whether it was rewritten.
    """
    at = known(control, sync)
    fresh = _count(control, "receipts", sync, at.folded)
    if fresh == 0 or fresh <= max(rows, share * _count(control, "synced", sync, -1)):
        return False
    target = control.table("synced")
    state = acknowledged(control, sync, at)
    control.engine.execute(f"INSERT INTO {target} REPLACE WHERE sync = {literal(sync)} {state}", what=target)
    return True


def _count(control: Control, table: str, sync: str, above: int) -> int:
    delivered = " AND status = 'delivered'" if table == "receipts" else ""
    statement = f"SELECT COUNT(*) FROM {control.table(table)} WHERE sync = :sync AND seq > :above{delivered}"
    return int(control.engine.value(statement, {"sync": sync, "above": above}, what=table))
