"""Which differences are not sent now: rows that the channel rejected a while ago, and what the day's cap leaves over.

What was rejected is known by key, content hash and code, never by payload; so what is sent again is what today's data say under today's
consent. All of it follows from the receipts and from `retries:` of the destination as it stands today: nothing is scheduled anywhere.

    given_up      rejected as often as `attempts` allows, or with a code of `never`; until the content changes
    waiting       rejected, and the wait is not over: it doubles with each rejection, up to `longest_wait`
    carried_over  beyond the day's cap of the destination (see allowance.py)

A rejection counts against the content that it was of, since that key was last delivered: a changed content starts anew, a delivered
receipt ends it. Receipts without an answer (`retryable`) are no rejections. A removal waits like anything else, but at most a day, and is
never given up: who must go stays due until the channel has taken it, and `cdp revocations` lists them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from cdp.engine.base import literal
from cdp.spec.delivery import CodeRetries, Retries
from cdp.sync import hash_key
from cdp.sync.hash_key import HashKey
from cdp.sync.ledger import Control

REASONS = ("waiting", "given_up", "carried_over")  # why a difference is not sent now, as plans count them
REMOVAL_SECONDS = 24 * 60 * 60  # the longest wait of a removal
_DOUBLINGS = 40  # after so many any wait is the longest
_COLUMNS = (*hash_key.COLUMNS, "left_out", "content", "base", "link", "n", "held")  # of the table of changes, besides op


@dataclass(frozen=True, slots=True)
class Holding:
    """What holds differences back.

    Attributes:
        tries: SQL of the rejections, from `tries`; None where there are none.
        room: how many additions and changes the day's cap has room for; None without a cap.
    """

    tries: str | None
    room: int | None

    def binds(self, upserts: int) -> bool:
        """Whether a plan that would send so many additions and changes has to ask."""
        return self.tries is not None or (self.room is not None and upserts > self.room)


def rejected(control: Control, sync: str) -> bool:
    """Whether a sync has rejected rows at all. The receipts are partitioned by status, so this does not read what was delivered."""
    receipts = control.table("receipts")
    counted = f"SELECT COUNT(*) AS n FROM {receipts} WHERE sync = :sync AND status = 'rejected'"
    return bool(control.engine.recall(receipts, counted, {"sync": sync}).column("n")[0].as_py())


def tries(control: Control, sync: str, retries: Retries) -> str:
    """SQL of each trail: the rejections of one change, which is a key, a content (or its removal) and what it builds on (`base`).

    Its `attempts`, the last `code`, `next`: when it is tried again, in microseconds; `spent`: that it is not, which is never true of a
    removal. Cost follows the rejected receipts.
    """
    removal = "(r.op = 'remove')"
    rejections = (
        f"SELECT r.key, {removal} AS removal, r.content, r.base, COUNT(*) AS attempts, MAX_BY(COALESCE(r.code, ''), r.seq) AS code, "
        f"MAX(UNIX_MICROS(r.at)) AS last FROM {control.table('receipts')} AS r "
        f"WHERE r.sync = {literal(sync)} AND r.status = 'rejected' GROUP BY r.key, {removal}, r.content, r.base"
    )
    doubled = f"{_by_code(retries, 'wait')} * POW(2, LEAST(t.attempts - 1, {_DOUBLINGS}))"
    wait = f"CAST(LEAST({doubled}, {_by_code(retries, 'longest_wait')}) AS BIGINT)"  # what is doubled forty times may be no BIGINT
    wait = f"CASE WHEN t.removal THEN LEAST({wait}, {REMOVAL_SECONDS}) ELSE {wait} END"
    never = f"t.code IN ({', '.join(literal(code) for code in retries.never)}) OR " if retries.never else ""
    spent = f"NOT t.removal AND ({never}t.attempts >= {_by_code(retries, 'attempts')})"
    return (
        f"SELECT t.key, t.removal, t.content, t.base, t.attempts, t.code, {spent} AS spent, "
        f"t.last + {wait} * 1000000 AS next FROM ({rejections}) AS t"
    )


def judged(changes: str, holding: Holding, ops: Collection[str], now: int, hashed: HashKey) -> str:
    """SQL of the changes with `op` replaced by why a difference is not sent now; `was` is what it would be.

    Args:
        changes: the table of the changes.
        holding: what holds them back.
        ops: those that the plan sends.
        now: the wall clock, in microseconds.
        hashed: what stands for a key.
    """
    upserts = ", ".join(literal(op) for op in ops if op != "remove")
    rest = ", ".join(f"d.{name}" for name in _COLUMNS)
    held = f"SELECT d.op, d.op AS was, {rest} FROM {changes} AS d"
    if holding.tries is not None:
        # The content of a removal is what is wanted of that key, if anything; its receipts have none.
        key = hashed.matches("t.key", "d")
        same = "t.removal = (d.op = 'remove') AND (t.removal OR t.content = d.content) AND t.base <=> d.link"
        sent = f"d.op IN ({', '.join(map(literal, ops))})"
        op = f"CASE WHEN NOT {sent} THEN d.op WHEN t.spent THEN 'given_up' WHEN t.next > {now} THEN 'waiting' ELSE d.op END"
        held = f"SELECT {op} AS op, d.op AS was, {rest} FROM {changes} AS d LEFT JOIN ({holding.tries}) AS t ON {key} AND {same}"
    if holding.room is None or not upserts:
        return held
    counted = f"d.op IN ({upserts})"
    first = f"SELECT d.h0, d.h1 FROM ({held}) AS d WHERE {counted} ORDER BY {hashed.order('d')}, d.h0, d.h1 LIMIT {holding.room}"
    op = f"CASE WHEN {counted} AND f.h0 IS NULL THEN 'carried_over' ELSE d.op END"
    return f"SELECT {op} AS op, d.was, {rest} FROM ({held}) AS d LEFT JOIN ({first}) AS f ON f.h0 = d.h0 AND f.h1 = d.h1"


def _by_code(retries: Retries, field: Literal["attempts", "wait", "longest_wait"]) -> str:
    """SQL of what holds for the code of a trail `t`, as a number: attempts or seconds."""

    def number(of: Retries | CodeRetries) -> int:
        value = getattr(of, field)
        return int(value if field == "attempts" else value.seconds)

    own = {code: each for code, each in retries.codes.items() if getattr(each, field) is not None}
    if not own:
        return str(number(retries))
    cases = " ".join(f"WHEN {literal(code)} THEN {number(each)}" for code, each in own.items())
    return f"CASE t.code {cases} ELSE {number(retries)} END"
