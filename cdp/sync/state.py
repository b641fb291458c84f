"""What a destination has acknowledged, and what it may hold besides.

Acknowledged is for each key the delivered receipt of the highest seq. The receipts are the state: `synced` holds those that were folded
together, tombstones included, so that the union of both is idempotent and a crash between folding and anything else changes nothing.

What was put on the wire since without a definite answer may be there or not (`held`): a receipt was lost, or the channel gave no answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdp.connectors.base import HARMLESS
from cdp.engine.base import literal
from cdp.sync import intents
from cdp.sync.ledger import Control

FOLD_ROWS = 100_000  # receipts worth a rewrite of `synced`
FOLD_SHARE = 0.2
_DOUBTFUL = (
    f"(r.status = 'unknown' OR (r.status = 'retryable' AND COALESCE(r.code, '') NOT IN ({', '.join(map(literal, sorted(HARMLESS)))})))"
)
_MADE = "SELECT MAX(seq) AS seq, COUNT(*) AS rows, SUM(seq % 2147483647) AS mark"
BEGUN, DONE = "begun", "done"  # events of a folding
AGAIN = "send_again"  # the code of a row of which somebody said that it is to be sent again
FOUND = "found"  # the code of a row that is at the channel, by its own list, though it is not held
CARRIED = "carried"  # the code of a receipt that says again what an older one said, for whoever looks at the newer ones only


@dataclass(frozen=True, slots=True)
class Known:
    """How far the state of a sync goes.

    Attributes:
        folded: the highest seq in `synced`.
        last: that of all delivered receipts.
        open: runs with rows that may be without a receipt.
        attempts: receipts since `folded` that do not say whether the channel has the row; `fresh`: those that were delivered.
        effect: whether sending again had an effect again, when the sync last ran.
        rows, mark: how many rows `synced` has, and a sum over them.
        counted: the highest seq that a run says it gave; `newest`: that of all receipts, as far as they are newer than `folded`.
    """

    folded: int
    last: int
    open: tuple[intents.Open, ...] = ()
    attempts: int = 0
    effect: bool = False
    rows: int = 0
    mark: int = 0
    counted: int = 0
    newest: int = 0
    fresh: int = 0

    @property
    def doubtful(self) -> bool:
        """Whether rows were put on the wire without a definite answer."""
        return bool(self.open or self.attempts)

    @property
    def any(self) -> bool:
        """Whether the destination holds anything, or may."""
        return bool(self.last or self.open or self.attempts)


def known(control: Control, sync: str) -> Known:
    """Read how far the state of a sync goes; 0 stands for nothing."""
    synced, receipts = control.table("synced"), control.table("receipts")
    (made,) = control.engine.recall(synced, f"{_MADE} FROM {synced} WHERE sync = :sync", {"sync": sync}).to_pylist()
    folded = made["seq"] or 0
    statement = (
        f"SELECT MAX(CASE WHEN status = 'delivered' THEN seq END) AS last, COUNT_IF({_DOUBTFUL}) AS attempts, MAX(seq) AS newest, "
        f"COUNT_IF(status = 'delivered') AS fresh FROM {receipts} AS r WHERE sync = :sync AND seq > :folded"
    )
    (row,) = control.engine.recall(receipts, statement, {"sync": sync, "folded": folded}).to_pylist()
    effect = bool(row["attempts"]) and intents.last_repeats(control, sync) == "effect"
    opened, counted = intents.runs(control, sync)
    return Known(
        folded=folded,
        last=row["last"] or folded,
        open=opened,
        attempts=row["attempts"] or 0,
        effect=effect,
        rows=made["rows"],
        mark=made["mark"] or 0,
        counted=counted,
        newest=row["newest"] or folded,
        fresh=row["fresh"],
    )


def outdated(told: str) -> str:
    """SQL, of a row `a` of the acknowledged state: whether the destination holds it under another decision than `told`."""
    return f"(a.content IS NOT NULL AND NOT (a.told <=> {literal(told)}))"


def acknowledged(control: Control, sync: str, at: Known, *, once: bool = False) -> str:
    """SQL of the acknowledged state: one row a key, with the columns of `synced`; tombstones have op `remove`.

    Args:
        control: the control tables.
        sync: whose state.
        at: how far it goes.
        once: no key was delivered twice since the last folding, so that none has to be looked for.
    """
    columns = control.columns("synced")
    stored = f"SELECT {', '.join(columns)} FROM {control.table('synced')} WHERE sync = {literal(sync)}"
    if at.last == at.folded:
        return stored
    recent = _delivered(control, sync, at) if once else _recent(control, sync, at)
    if not at.rows:
        return recent
    kept = f"SELECT {', '.join(f's.{c}' for c in columns)} FROM ({stored}) AS s LEFT ANTI JOIN recent AS r ON s.key = r.key"
    return f"WITH recent AS ({recent}) {kept} UNION ALL SELECT {', '.join(columns)} FROM recent"


def _recent(control: Control, sync: str, at: Known) -> str:
    """SQL of the newest delivered receipt of each key since the last folding."""
    # A seq is given once, so the newest receipt of each key is found by joining integers, not by sorting rows.
    newest = f"SELECT MAX(d.seq) AS seq FROM ({_delivered(control, sync, at, 'key', 'seq')}) AS d GROUP BY d.key"
    return f"SELECT r.* FROM ({_delivered(control, sync, at)}) AS r LEFT SEMI JOIN ({newest}) AS m ON r.seq = m.seq"


def _delivered(control: Control, sync: str, at: Known, *columns: str) -> str:
    """SQL of the delivered receipts since the last folding; by default with the columns of `synced`."""
    shown = ", ".join(f"r.{name}" for name in columns or control.columns("synced"))
    fresh = f"r.sync = {literal(sync)} AND r.status = 'delivered' AND r.seq > {at.folded}"
    return f"SELECT {shown} FROM {control.table('receipts')} AS r WHERE {fresh}"


# Of `held`, besides the columns of `synced`: whether an acknowledgement stands behind the content; of the last attempt since then, if
# there is one, its op, content and base, what a new change builds on (`link`), and its status.
ATTEMPT = {"acked": "boolean", "tried_op": "string", "tried": "bigint", "tried_base": "bigint", "link": "bigint", "doubt": "string"}
_LATER = 1 << 62  # an intent without a receipt is later than every receipt of its key


def held(control: Control, sync: str, at: Known) -> str:
    """SQL of what a destination holds or may hold: the acknowledged state, and what was put on the wire since without a definite answer.

    Where nothing is in doubt this is the acknowledged state with `acked` and five nulls.
    """
    columns = control.columns("synced")
    sure = acknowledged(control, sync, at)
    if not at.doubtful:
        nothing = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in ATTEMPT.items() if name != "acked")
        return f"SELECT s.*, s.content IS NOT NULL AS acked, {nothing} FROM ({sure}) AS s"
    put = ", ".join(
        f"CASE WHEN s.content IS NULL AND d.put IS NOT NULL THEN d.{name} ELSE s.{name} END AS {name}"
        for name in columns
        if name not in ("sync", "key", "seq")
    )
    seq = "COALESCE(CASE WHEN s.content IS NOT NULL THEN s.seq END, d.first, s.seq)"
    named = {"sync": literal(sync), "key": "COALESCE(s.key, d.key)", "seq": seq}
    own = ", ".join(f"{sql} AS {name}" for name, sql in named.items())
    tried = ", ".join(f"d.{name}" for name in ATTEMPT if name != "acked")
    merged = (
        f"SELECT {own}, {put}, s.content IS NOT NULL AS acked, {tried} "
        f"FROM ({sure}) AS s FULL OUTER JOIN ({doubts(control, sync, at)}) AS d ON s.key = d.key"
    )
    return f"SELECT {', '.join((*columns, *ATTEMPT))} FROM ({merged}) AS m"


def doubts(control: Control, sync: str, at: Known) -> str:
    """SQL of the keys in doubt: their last attempt, and of the last one that put something there what it put (`put`: which one)."""
    shown = "r.key, r.subject, r.op, r.content, r.base, r.run, r.at, r.told"
    every = f"SELECT {shown}, r.seq AS link, r.seq AS turn, r.status AS doubt {_attempts(control, sync, at)}"
    if at.open:
        opened = intents.lines(control, sync, at.open)
        every += (
            " UNION ALL SELECT l.key, l.subject, l.op, l.content, l.base, l.run, l.at, CAST(NULL AS STRING), -l.block, "
            f"{_LATER} + l.block, l.status FROM ({opened}) AS l"
        )
    turns = "MAX(t.turn) AS last, MAX(CASE WHEN t.op <> 'remove' THEN t.turn END) AS put, MIN(t.link) AS first"
    put = "p.subject, p.op, p.content, p.run, p.at, p.told"
    tried = "t.op AS tried_op, t.content AS tried, t.base AS tried_base, t.link, t.doubt"
    return (
        f"WITH attempts AS ({every}), turns AS (SELECT t.key, {turns} FROM attempts AS t GROUP BY t.key) "
        f"SELECT u.key, u.put, u.first, {put}, {tried} FROM turns AS u JOIN attempts AS t ON t.key = u.key AND t.turn = u.last "
        "LEFT JOIN attempts AS p ON p.key = u.key AND p.turn = u.put"
    )


def _attempts(control: Control, sync: str, at: Known) -> str:
    """SQL from FROM on: receipts `r` since the last folding that leave a key in doubt, until a later one was delivered.

    What certainly was not applied does not: a removal of somebody who was never told would name them anew. Where each request has an
    effect, what is retryable had none: but for removals, and for what somebody said is to be sent again.
    """
    harmless = f" AND (r.status = 'unknown' OR r.op = 'remove' OR COALESCE(r.code, '') = '{AGAIN}')" if at.effect else ""
    return (
        f"FROM {control.table('receipts')} AS r LEFT ANTI JOIN ({_recent(control, sync, at)}) AS n ON r.key = n.key AND n.seq > r.seq "
        f"WHERE r.sync = {literal(sync)} AND r.seq > {at.folded} AND {_DOUBTFUL}{harmless}"
    )


def once_more(content: str, removed: str, attempt: str = "") -> str:
    """SQL of whether a change is the last attempt once more, and so goes under the same idempotency key.

    Args:
        content: SQL of what it tells.
        removed: SQL of whether it takes the key off.
        attempt: before the names of ATTEMPT, such as `d.`.
    """
    alike = f"({removed}) = ({attempt}tried_op = 'remove') AND (({removed}) OR {content} = {attempt}tried)"
    return f"({attempt}tried_op IS NOT NULL AND {alike})"


def overtaken(control: Control, sync: str, at: Known, rows: str) -> bool:
    """Whether a row of a plan (a table) does not follow from what was last tried of its key.

    Since the plan was made another run may have put something else on the wire: then the channel may know the row's change from before, and
    do nothing. Or the same may have been applied, where applying it again has an effect again. The same change once more is no other.
    """
    if not at.doubtful:
        return False
    same = once_more("p._content", "p._op = 'remove'", "d.")
    wrong = (
        f"NOT (p._base <=> CASE WHEN {same} THEN d.tried_base ELSE d.link END) OR (d.doubt = 'unknown' AND p._op <> 'remove' AND {same})"
    )
    found = f"SELECT COUNT(*) FROM ({doubts(control, sync, at)}) AS d JOIN {rows} AS p ON d.key = p._key WHERE {wrong}"
    return bool(control.engine.value(found, what=rows))


def told_since(control: Control, sync: str, seq: int) -> bool:
    """Whether anything but removals was delivered after a receipt."""
    receipts = control.table("receipts")
    others = f"SELECT COUNT(*) FROM {receipts} WHERE sync = :sync AND status = 'delivered' AND seq > :seq AND op <> 'remove'"
    return bool(control.engine.value(others, {"sync": sync, "seq": seq}, what=receipts))


def removed_since(control: Control, sync: str, seq: int) -> str:
    """SQL of the subjects who were removed after a receipt."""
    delivered = f"sync = {literal(sync)} AND status = 'delivered' AND seq > {seq} AND op = 'remove'"
    return f"SELECT subject FROM {control.table('receipts')} WHERE {delivered}"


def fold(
    control: Control,
    sync: str,
    *,
    after: int | None = None,
    before: Known | None = None,
    delivered: int = 0,
    rows: int = FOLD_ROWS,
    share: float = FOLD_SHARE,
) -> bool:
    """Rewrite `synced` when the receipts since have grown past `rows` and `share` of it. The caller holds the lease.

    Attempts that are still in doubt get a receipt after those that are folded, so that only newer ones are ever looked at.

    Args:
        control: the control tables.
        sync: to fold.
        after: the last seq that the lease's holder has given; None where it has given none.
        before: the state when the lease's holder began; where too few rows were delivered since, nothing is read.
        delivered: how many were.
        rows: what is worth a rewrite.
        share: of `synced`, likewise.

    Returns:
        Whether it was rewritten.
    """

    def worth_it(at: Known, more: int = 0) -> bool:
        fresh = at.fresh + more
        return fresh > 0 and fresh > max(rows, share * at.rows)

    if (before and not worth_it(before, delivered)) or not worth_it(at := known(control, sync)):
        return False
    carry(control, sync, at, max(after or 0, at.newest))
    keys = control.engine.value(f"SELECT COUNT(DISTINCT d.key) FROM ({_delivered(control, sync, at, 'key')}) AS d", what="receipts")
    rewrite(control, sync, acknowledged(control, sync, at, once=keys == at.fresh))
    return True


def rewrite(control: Control, sync: str, state: str, *, anew: bool = False) -> None:
    """Put a state (SQL) in place of `synced`, and on record what it is; the caller holds the lease.

    It is on record before it is there, and once more after: killed between, either state is the one that was folded.

    Args:
        control: the control tables.
        sync: whose state.
        state: SQL of it.
        anew: it may end before the one that was folded last, of which rows are gone for good: that one is no longer what there has to be.
    """
    target, table = control.table("synced"), control.table("folds")
    (made,) = control.engine.query(f"{_MADE} FROM ({state}) AS s", what=target).to_pylist()
    fold = {"sync": sync, "seq": made["seq"] or 0, "rows": made["rows"], "mark": made["mark"] or 0}
    control.append("folds", [{**fold, "event": BEGUN}])
    if anew:
        control.engine.execute(f"DELETE FROM {table} WHERE sync = {literal(sync)} AND seq > {fold['seq']}", what=table)
    control.engine.execute(f"INSERT INTO {target} REPLACE WHERE sync = {literal(sync)} {state}", what=target)
    control.append("folds", [{**fold, "event": DONE}])


def folds(control: Control, sync: str) -> tuple[list[tuple[int, int, int]], bool]:
    """What `synced` may be, as (seq, rows, mark): what was last folded, and what was begun since; and whether anything was ever done."""
    table = control.table("folds")
    rows = control.engine.recall(table, f"SELECT event, seq, rows, mark FROM {table} WHERE sync = :sync", {"sync": sync}).to_pylist()
    done = max((row["seq"] for row in rows if row["event"] == DONE), default=None)
    last = [(row["seq"], row["rows"], row["mark"]) for row in rows if done is None or row["seq"] >= done]
    return last, done is not None


def carry(control: Control, sync: str, at: Known, seq: int) -> int:
    """Write the attempts that are in doubt anew, in their order. Who makes `synced` does it before: only newer ones are looked at.

    Args:
        control: the control tables.
        sync: whose lease is held.
        at: how far its state goes.
        seq: the last that was given, which none of the attempts has passed.

    Returns:
        The last `seq` that may have been given.
    """
    if not at.attempts:
        return seq
    own = {"seq": f"{seq} + ROW_NUMBER() OVER (ORDER BY r.seq)", "code": f"CASE WHEN r.code = '{AGAIN}' THEN r.code ELSE '{CARRIED}' END"}
    columns = ", ".join(f"{own.get(name, f'r.{name}')} AS {name}" for name in control.columns("receipts"))
    # Where this was done before, and `synced` could not be made then, an attempt is there several times.
    same = "PARTITION BY r.key, r.op, r.content, r.base, r.run, r.status ORDER BY r.seq DESC"
    ranked = f"SELECT r.*, ROW_NUMBER() OVER ({same}) AS nth {_attempts(control, sync, at)}"
    table = control.table("receipts")
    control.engine.execute(f"INSERT INTO {table} SELECT {columns} FROM ({ranked}) AS r WHERE r.nth = 1", what=table)
    return seq + at.attempts
