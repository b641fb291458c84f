"""Who may no longer be at a receiver: since when, why, and when they were taken off.

A plan that sees somebody to take off writes it down (`due`); one that sees that they may be there again, too (`lifted`). That
they were taken off is what a delivered removal says. So a person is open as long as neither has happened: 45 CFR 164.508(b)(5),
164.522(a)(1)(iii).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cdp.engine import files
from cdp.engine.base import literal
from cdp.governance.query import GovernedQuery, Removals
from cdp.sync import diff
from cdp.sync.ledger import Control, typed
from cdp.sync.people import People, kept_out

TABLE = "revocations"
LEFT, CHANGED, ENDED = "left_segment", "decision_changed", "agreement_ended"  # reasons besides the names of rules
DUE, LIFTED = "due", "lifted"
# A row that a run had put on the wire when it was killed has no receipt yet: a plan that sees it then calls it by its block (see state.py).
_UNSETTLED: Final = "{}.base < 0"
_MANY: Final = 50_000  # events that are cheaper written by the engine than handed over and back


@dataclass(frozen=True, slots=True)
class Seen:
    """What a plan in the making knows.

    Attributes:
        removed: SQL of the keys that are to be taken off, from `diff.taken_off`.
        acknowledged: SQL of the acknowledged state.
        removals: who is taken off by a plan that only removes.
        count: how many keys are to be taken off, whether or not the mode does.
        sure: nothing is in doubt: each row of the acknowledged state has a receipt's number.
        people: who they are, where it pays to ask about them only.
    """

    plan: str
    removed: str
    acknowledged: str
    removals: Removals | None
    count: int
    sure: bool
    people: People | None = None


def record(control: Control, query: GovernedQuery, seen: Seen, now: dt.datetime) -> None:
    """Write down who is due now and was not before, and who was and is no more."""
    table = control.table(TABLE)
    sync = literal(query.sync.name)
    counted = f"SELECT COUNT(*) AS n, COUNT_IF({_UNSETTLED.format('r')}) AS unsettled FROM {table} AS r WHERE r.sync = {sync}"
    (found,) = control.engine.recall(table, counted).to_pylist()
    known = found["n"]
    if not seen.count and not known:
        return
    events = _events(query, seen, _open(table, sync), bool(known), by_key=not seen.sure or found["unsettled"] > 0)
    same = {
        "sync": query.sync.name,
        "destination": query.decision.receiver,
        "agreement": query.decision.agreement,
        "plan": seen.plan,
        "at": now,
    }
    if seen.count + known > _MANY:  # each event is of a key to be taken off, or of one that is on record
        _insert(control, f"{control.schema}.plan_{seen.plan}_due", events, same)
        return
    rows = control.engine.query(events, what=table)
    control.append_parts(TABLE, (files.typed(rows, {name: control.types(TABLE)[name] for name in rows.column_names}), same))


def _insert(control: Control, made: str, events: str, same: Mapping[str, Any]) -> None:
    """Write down events without reading them: as a table, which tells whether there are any."""
    table = control.table(TABLE)
    control.engine.create_as(made, events, brief=True)
    try:
        if not control.engine.value(f"SELECT COUNT(*) FROM {made}", what=table):
            return
        shown = (f"{typed(same[name], kind) if name in same else f'm.{name}'} AS {name}" for name, kind in control.types(TABLE).items())
        control.engine.execute(f"INSERT INTO {table} SELECT {', '.join(shown)} FROM {made} AS m", what=table)
    finally:
        control.engine.drop(made)


def _open(table: str, sync: str) -> str:
    """SQL of who is due as far as plans said until now: key, the receipt that put them there (`base`), reason."""
    last = "MAX_BY(r.event, r.at) AS event, MAX_BY(r.reason, r.at) AS reason, MAX(r.person) AS person"
    every = f"SELECT r.key, r.base, {last} FROM {table} AS r WHERE r.sync = {sync} GROUP BY r.key, r.base"
    return f"SELECT x.key, x.base, x.reason, x.person FROM ({every}) AS x WHERE x.event = '{DUE}'"


def _events(query: GovernedQuery, seen: Seen, opened: str, known: bool, *, by_key: bool) -> str:
    """SQL of what is new: event, key, person, base, reason. Who was due before is looked for where anybody was.

    Args:
        query: from governance.
        seen: what the plan knows.
        opened: SQL of who was due, from `_open`.
        known: whether anybody is on record.
        by_key: a receipt's number alone does not find each row of the acknowledged state.
    """
    due = _due(query, seen)
    new = f"SELECT '{DUE}' AS event, n.key, n.person, n.base, n.reason FROM ({due}) AS n"
    if not known:
        return new
    new += f" LEFT ANTI JOIN ({opened}) AS o ON n.key = o.key AND n.base = o.base AND n.reason = o.reason"
    if seen.removals == "kept_out":  # such a plan asks for some only; that others are not among them says nothing
        return new
    same = f"a.key = o.key AND (a.seq = o.base OR {_UNSETTLED.format('o')})" if by_key else "a.seq = o.base"
    # Who is due still is no candidate: where nobody is left, what is acknowledged need not be read.
    gone = f"SELECT o.* FROM ({opened}) AS o LEFT ANTI JOIN ({_due_keys(query, seen, due)}) AS n ON n.key = o.key"
    return (
        f"{new} UNION ALL SELECT '{LIFTED}' AS event, o.key, o.person, o.base, o.reason FROM ({gone}) AS o "
        f"JOIN ({seen.acknowledged}) AS a ON {same}"
    )


def _due(query: GovernedQuery, seen: Seen) -> str:
    """SQL of who is to be taken off now. Where a mode removes nobody, who left the segment stays by intention."""
    if seen.removals == "everyone":
        every = f"SELECT a.key, a.subject AS person, a.seq AS base, '{ENDED}' AS reason"
        return f"{every} FROM ({seen.acknowledged}) AS a WHERE a.content IS NOT NULL"
    removes = "remove" in diff.MODES[query.sync.mode]
    reason = f"COALESCE(k.rule, CASE WHEN d.n > 0 THEN '{CHANGED}' ELSE '{LEFT}' END)"
    return (
        f"SELECT d.key, d.subject AS person, d.base, {reason} AS reason FROM ({seen.removed}) AS d "
        f"{'LEFT JOIN' if removes else 'JOIN'} ({kept_out(query, seen.people)}) AS k ON d.subject = k.subject"
    )


def _due_keys(query: GovernedQuery, seen: Seen, due: str) -> str:
    """SQL of the keys of `_due`. Where whoever is taken off is due, for whatever reason, the rules are not asked a second time."""
    every = seen.removals != "everyone" and "remove" in diff.MODES[query.sync.mode]
    return f"SELECT d.key FROM ({seen.removed if every else due}) AS d"


# -- what is on record ------------------------------------------------------------------------------------------------


def revocations(control: Control, *, sync: str | None = None, only_open: bool = False) -> list[dict[str, Any]]:
    """Who had to be taken off: those that are open first, the oldest first.

    Returns:
        person, sync, destination, agreement, reason, since, state (`open`, `done`, `lifted`), done (when it was).
    """
    said = states(control.table(TABLE), control.table("receipts"), f" WHERE r.sync = {literal(sync)}" if sync else "")
    where = " WHERE s.state = 'open'" if only_open else ""
    statement = f"SELECT * FROM ({said}) AS s{where} ORDER BY CASE s.state WHEN 'open' THEN 0 ELSE 1 END, s.since, s.sync, s.person"
    rows = control.engine.query(statement, what=TABLE).to_pylist()
    return [{**row, "since": row["since"].isoformat(), "done": row["done"].isoformat() if row["done"] else None} for row in rows]


def states(table: str, receipts: str, only: str = "") -> str:
    """SQL of everybody who had to be taken off, with what became of it.

    Args:
        table: of revocations.
        receipts: the table of receipts.
        only: a WHERE clause on the events `r`.
    """
    last = ", ".join(f"MAX_BY(r.{name}, r.at) AS {name}" for name in ("event", "reason", "person", "destination", "agreement"))
    times = "MIN(r.at) AS since, MAX(r.at) AS latest"
    every = f"SELECT r.sync, r.key, r.base, {times}, {last} FROM {table} AS r{only} GROUP BY r.sync, r.key, r.base"
    done = (
        f"SELECT x.sync, x.key, x.base, MIN(p.at) AS done FROM ({every}) AS x JOIN {receipts} AS p ON p.sync = x.sync AND p.key = x.key "
        f"WHERE p.op = 'remove' AND p.status = 'delivered' AND p.seq > x.base AND (NOT {_UNSETTLED.format('x')} OR p.at >= x.since) "
        "GROUP BY x.sync, x.key, x.base"
    )
    state = f"CASE WHEN d.done IS NOT NULL THEN 'done' WHEN e.event = '{LIFTED}' THEN 'lifted' ELSE 'open' END"
    return (
        f"SELECT e.person, e.sync, e.destination, e.agreement, e.reason, e.since, {state} AS state, "
        f"CASE WHEN d.done IS NULL AND e.event = '{LIFTED}' THEN e.latest ELSE d.done END AS done FROM ({every}) AS e "
        f"LEFT JOIN ({done}) AS d ON d.sync = e.sync AND d.key = e.key AND d.base = e.base"
    )
