"""The control tables: their columns, and what each of them means. docs/tables.md is made of this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its Spark type, and what it holds."""

    kind: str
    meaning: str


@dataclass(frozen=True, slots=True)
class ControlTable:
    """A control table: what a row is, its columns, and by which of them its files are apart."""

    row: str
    columns: Mapping[str, Column]
    partition: tuple[str, ...] = ("sync",)

    @property
    def kinds(self) -> Mapping[str, str]:
        """The columns and their Spark types."""
        return {name: column.kind for name, column in self.columns.items()}


_SYNC = Column("string", "the sync")
_RUN = Column("string", "the run")
_PLAN = Column("string", "the plan")
_KEY = Column("string", "the key of the row at the channel, as its columns were sent; of a pseudonym what it is made of and its version")
_SUBJECT = Column("string", "the person, as the entity's key names them")
_CONTENT = Column("bigint", "64-bit hash of the columns that were sent; null for a removal")
_AT = Column("timestamp", "when it was committed")
_TOLD = Column("string", "hash of what a row of the plan told: which columns, of which classes, under which masks")
_ENDS = (
    "`running`, or how it ended: `nothing`, `succeeded`, `partial`, `failed`, `stopped`, `killed`; `resynced` or `settled` by `cdp resync`"
)

TABLES: Final[Mapping[str, ControlTable]] = {
    "plans": ControlTable(
        "an event in the life of a plan",
        {
            "sync": _SYNC,
            "plan": _PLAN,
            "event": Column("string", "`created`, `approved`, `accepted` (guards) or `applied`"),
            "at": Column("timestamp", "when"),
            "actor": Column("string", "who: `uid:1001`"),
            "digest": Column("string", "SHA-256 over the plan's rows and facts"),
            "body": Column(
                "string",
                "JSON: of `created` what `cdp plan --json` shows and more, of `accepted` guards and what they found, of `applied` its run "
                "and approval",
            ),
        },
    ),
    "runs": ControlTable(
        "the start (`n` 0) or an end of a run; its state is the row of the highest `n`",
        {
            "sync": _SYNC,
            "run": _RUN,
            "n": Column("int", "0 when it starts; 1 when it ends; more when a later run found out what became of its rows"),
            "plan": Column("string", "the plan that it applied"),
            "destination": Column("string", "where to"),
            "status": Column("string", _ENDS),
            "at": Column("timestamp", "when this row was written"),
            "planned": Column("bigint", "rows of the plan: the sum of the six numbers that follow"),
            "delivered": Column("bigint", "rows that the channel took"),
            "rejected": Column("bigint", "rows that it refused"),
            "retryable": Column("bigint", "rows that the next run sends: no answer, or not sent at all"),
            "unknown": Column("bigint", "rows that the channel may have or not: they are not sent again by themselves"),
            "withheld": Column("bigint", "rows of people who may no longer be told since the plan was made"),
            "carried_over": Column("bigint", "rows for which the destination's cap of the day had no room any more"),
            "open": Column("bigint", "rows that were put on the wire and have no receipt yet"),
            "seq": Column("bigint", "the last receipt of the run; 0 where it wrote none"),
            "repeats": Column("string", "what sending a row again does at the channel: `keys`, `state` or `effect`"),
            "actor": Column("string", "who ran it"),
            "body": Column(
                "string",
                "JSON: `error` and `message` of a run that failed, `unchanged_since` of one that had nothing to plan; `secrets` of one "
                "that begins: four digits by which another secret of a pseudonym is found",
            ),
        },
    ),
    "receipts": ControlTable(
        "what a channel said of a row; these are the state, `synced` is only a summary of them",
        {
            "sync": _SYNC,
            "key": _KEY,
            "subject": _SUBJECT,
            "op": Column("string", "`add`, `change` or `remove`"),
            "content": _CONTENT,
            "base": Column("bigint", "the receipt that the change builds on; null for a key that the channel did not have"),
            "status": Column("string", "`delivered`, `rejected`, `retryable` or `unknown`"),
            "code": Column("string", "the channel's short reason; `http_503` and the like where it gave none"),
            "run": _RUN,
            "plan": _PLAN,
            "seq": Column("bigint", "grows within a sync: the delivered receipt of the highest `seq` is what the channel has of a key"),
            "at": _AT,
            "told": _TOLD,
        },
        partition=("sync", "status"),
    ),
    "synced": ControlTable(
        "the last delivered receipt of a key, of those that were folded together so far; a removal stays as one",
        {
            "sync": _SYNC,
            "key": _KEY,
            "subject": _SUBJECT,
            "op": Column("string", "`add`, `change` or `remove`"),
            "content": _CONTENT,
            "run": _RUN,
            "seq": Column("bigint", "of the receipt"),
            "at": _AT,
            "told": _TOLD,
        },
    ),
    "folds": ControlTable(
        "a folding of receipts into `synced`, so that a state that lost rows is found",
        {
            "sync": _SYNC,
            "event": Column("string", "whether it began or was done"),
            "seq": Column("bigint", "the highest `seq` of `synced` after it"),
            "rows": Column("bigint", "how many rows `synced` has after it"),
            "mark": Column("bigint", "a sum over them"),
        },
    ),
    "disclosures": ControlTable(
        "a row that was put on the wire (`line`), or a `block` over the lines of one commit; governance.md says what they are for",
        {
            "sync": _SYNC,
            "kind": Column("string", "`line` or `block`"),
            "block": Column("bigint", "its number in the chain of the sync"),
            "run": _RUN,
            "chunk": Column("int", "the chunk of the plan"),
            "number": Column("int", "of a line: its number in the block, from 0"),
            "person": Column("string", "who was told about"),
            "key": _KEY,
            "op": Column("string", "`add`, `change` or `remove`"),
            "destination": Column("string", "who was told"),
            "agreement": Column("string", "under which agreement"),
            "counterparty": Column("string", "with whom that is"),
            "purpose": Column("string", "for what"),
            "classes": Column("string", "JSON: the classes of data that the row tells"),
            "columns": Column("string", "JSON: the columns that left"),
            "plan": _PLAN,
            "approver": Column("string", "who approved the plan, where it needed that"),
            "accounting": Column("string", "whether it belongs into the accounting of disclosures, 45 CFR 164.528"),
            "exempt_under": Column("string", "the paragraph under which it does not"),
            "content": _CONTENT,
            "base": Column("bigint", "the receipt that the change builds on"),
            "at": Column("timestamp", "when it was written, before the row left"),
            "lines": Column("bigint", "of a block: how many lines it is over"),
            "salt": Column("string", "of a block: random, so that nobody can try out what its lines say"),
            "root": Column("string", "of a block: SHA-256 over its lines and the salt"),
            "previous": Column("string", "of a block: the hashes of the blocks before it"),
            "hash": Column("string", "of a block: SHA-256 over its own fields"),
        },
        partition=("kind",),
    ),
    "revocations": ControlTable(
        "somebody who has to be taken off, or does not any more",
        {
            "sync": _SYNC,
            "event": Column("string", "`due`, or `lifted`: they may be there again"),
            "key": _KEY,
            "person": _SUBJECT,
            "destination": Column("string", "where they are"),
            "agreement": Column("string", "under which they were told about"),
            "reason": Column("string", "the rule that keeps them out; or `left_segment`, `decision_changed`, `agreement_ended`"),
            "base": Column("bigint", "the receipt with which they came"),
            "plan": Column("string", "the plan that saw it"),
            "at": Column("timestamp", "since when it is known"),
        },
    ),
    "leases": ControlTable(
        "who may write the receipts of a sync, deliver to a destination with limits a second (`pace:NAME`), or use its cap (`cap:NAME`)",
        {
            "sync": Column("string", "the sync, or what else is held"),
            "owner": Column("string", "an id of the holder; null when it is free"),
            "token": Column("bigint", "grows with every holder; receipts begin with it (`seq` >> 32)"),
            "since": Column("bigint", "since when, in microseconds"),
            "expires": Column("bigint", "until when, in microseconds"),
            "holder": Column("string", "which process on which machine"),
            "process": Column("string", "the process, told from a later one of the same number on the same machine"),
        },
    ),
}

QUERIES: Final[Mapping[str, str]] = {
    "How did the last run of each sync end?": """\
SELECT sync, MAX_BY(status, STRUCT(run, n)) AS status, MAX_BY(delivered, STRUCT(run, n)) AS delivered, MAX(at) AS at
FROM cdp.runs GROUP BY sync ORDER BY at DESC""",
    "Why did a channel refuse rows, this week?": """\
SELECT sync, code, COUNT(*) AS rows, COUNT(DISTINCT subject) AS people
FROM cdp.receipts WHERE status = 'rejected' AND at >= CURRENT_TIMESTAMP() - INTERVAL 7 DAYS
GROUP BY sync, code ORDER BY rows DESC""",
    "How many people does each channel hold now, by sync?": """\
WITH last AS (
  SELECT sync, key, MAX_BY(op, seq) AS op, MAX_BY(subject, seq) AS subject FROM (
    SELECT sync, key, subject, op, seq FROM cdp.synced
    UNION ALL SELECT sync, key, subject, op, seq FROM cdp.receipts WHERE status = 'delivered'
  ) AS r GROUP BY sync, key
)
SELECT sync, COUNT(DISTINCT subject) AS people FROM last WHERE op <> 'remove' GROUP BY sync ORDER BY sync""",
    "Which rules kept how many people out, plan by plan?": """\
SELECT plan, sync, left_out.rule, left_out.count FROM (
  SELECT plan, sync, at, EXPLODE(FROM_JSON(GET_JSON_OBJECT(body, '$.excluded'), 'ARRAY<STRUCT<rule: STRING, count: BIGINT>>')) AS left_out
  FROM cdp.plans WHERE event = 'created'
) AS p WHERE left_out.count > 0 ORDER BY at DESC, left_out.count DESC""",
}
