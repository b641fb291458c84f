"""A plan: what would leave, computed, stored, hashed, and looked at before it is applied.

Only `planning.make_plan` and `load_plan` make a Plan, only from a GovernedQuery or from what was stored of one, and only
a Plan can be applied. A plan is data: nothing of it is computed again when it is applied, except who may be told.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cdp.engine.base import Engine
from cdp.errors import Refusal, StaleError, UsageError
from cdp.governance.query import GovernedQuery, Removals
from cdp.quality import Result
from cdp.spec.activation import Limit
from cdp.sync import diff
from cdp.sync.basis import Basis
from cdp.sync.digest import Chunk
from cdp.sync.guards import Violation
from cdp.sync.ledger import Control

LIFETIME = dt.timedelta(hours=24)
TAKEN_OFF = ("remove", "removals_waiting")  # counts of people who are no members of the segment, or are counted as such already
_SEAL = object()


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying would do. It holds no row: those stand in the table `plan_<id>` of the control schema.

    Attributes:
        counts: `add`, `change`, `remove`; `unchanged`; `invalid` (no key, no subject, or a key that several people
            have); `skipped` (a difference that the sync's mode leaves alone); `held_back` (one that a later plan
            sends: in a plan that only removes, and of people who are removed to be told anew); `unknown` (sent before, where
            sending again has an effect again, and nobody knows whether it was applied); `waiting`, `given_up` (the channel
            rejected them before) and `carried_over` (beyond the day's cap): see pending.py; `dropped` (an expectation that drops
            is not met). `removals_waiting` were rejected too.
        excluded: each rule that was asked, in order, and how many it keeps out.
        size: members of the segment: the sum of excluded and of all counts but `remove` and `removals_waiting`; 0 where the segment was
            not asked.
        base_seq: the last acknowledged receipt when the plan was made.
        shape: the stored columns; `masks`: column, version and context of each wire mask.
        guards: the guards that the plan breaks, `quality` for an expectation that refuses; `quality`: what came of each expectation.
        weighed: the additions, changes and removals that guards look at, those that are put off included.
        max_failed: the guard that is asked while it is applied.
        told: what the rows tell, as a hash; `outdated`: how many rows the destination holds under another one, and `when_changed`
            what becomes of them: keep, resend, remove.
        removals: None, or who is taken off by a plan that only removes.
        refusals: why it does, where governance says so.
        planned_by: who made it, as the engine knows them.
        needs_approval: what asked for an approval when it was made: `purpose marketing`.
        withheld_rows: class, table and number of the special rows that were not read, since the receiver may not know of them.
        basis: what it rests on, as that was before the plan looked at it; None where nobody asked, or it cannot be told.
        account: ours at the receiver, as its agreement says.
    """

    id: str
    sync: str
    destination: str
    created: dt.datetime
    as_of: dt.datetime
    counts: Mapping[str, int]
    excluded: tuple[tuple[str, int], ...]
    size: int
    guards: tuple[Violation, ...]
    base_seq: int
    fingerprint: str
    told: str
    model_sha256: str
    shape: diff.Shape
    masks: tuple[tuple[str, int, str], ...]
    chunks: tuple[Chunk, ...]
    outdated: int = 0
    when_changed: diff.Changed = "keep"
    removals: Removals | None = None
    refusals: tuple[Refusal, ...] = ()
    planned_by: str = ""
    needs_approval: tuple[str, ...] = ()
    withheld_rows: tuple[tuple[str, str, int], ...] = ()
    quality: tuple[Result, ...] = ()
    weighed: Mapping[str, int] = field(default_factory=dict)
    max_failed: Limit | None = None
    basis: Basis | None = None
    account: str | None = None
    digest: str = ""
    _seal: object = field(repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise TypeError("a Plan is made by cdp.sync.planning.make_plan and cdp.sync.plan.load_plan only")

    @property
    def removals_only(self) -> bool:
        """Whether it adds and changes nobody."""
        return self.removals is not None

    @property
    def rows(self) -> int:
        """How many rows would leave."""
        return sum(chunk.rows for chunk in self.chunks)

    @property
    def expires(self) -> dt.datetime:
        """When it can no longer be applied."""
        return self.created + LIFETIME

    def as_json(self) -> dict[str, Any]:
        """What people and programs are shown: stable keys, no value of a row."""
        return {
            "plan": self.id,
            "sync": self.sync,
            "destination": self.destination,
            "counts": dict(self.counts),
            "excluded": [{"rule": rule, "count": count} for rule, count in self.excluded],
            "size": self.size,
            "removals_only": self.removals_only,
            "removals": self.removals,
            "refusals": [refusal.as_json() for refusal in self.refusals],
            "guards": [violation.as_json() for violation in self.guards],
            "quality": [result.as_json() for result in self.quality],
            "max_failed": self.max_failed.model_dump(exclude_none=True) if self.max_failed else None,
            "planned_by": self.planned_by,
            "needs_approval": list(self.needs_approval),
            "withheld_rows": [{"class": cls, "table": table, "rows": rows} for cls, table, rows in self.withheld_rows],
            "as_of": self.as_of.isoformat(),
            "created": self.created.isoformat(),
            "expires": self.expires.isoformat(),
            "fingerprint": self.fingerprint,
            "outdated": self.outdated,
            "when_changed": self.when_changed,
            "digest": self.digest,
        }

    def facts(self) -> dict[str, Any]:
        """All but the chunks and the digest: what the digest covers besides the rows, and what is stored."""
        return {
            **{k: v for k, v in self.as_json().items() if k not in ("digest", "expires")},
            "base_seq": self.base_seq,
            "weighed": dict(self.weighed),
            "model_sha256": self.model_sha256,
            "told": self.told,
            "keys": list(self.shape.keys),
            "names": dict(self.shape.names),
            "kinds": dict(self.shape.kinds),
            "masks": [list(mask) for mask in self.masks],
            "basis": self.basis.as_json() if self.basis else None,
            "account": self.account,
        }


def masks_of(query: GovernedQuery) -> tuple[tuple[str, int, str], ...]:
    """What is said of the wire masks of a query: column, version and context."""
    return tuple((m.column, m.version, m.context) for m in query.wire_masks)


def rows_table(ledger: Control, plan_id: str) -> str:
    """The table of a plan's rows."""
    return f"{ledger.schema}.plan_{plan_id}"


def created(plan: Plan, fresh_until: dt.datetime | None) -> dict[str, Any]:
    """The event of its making, as a row of the table `plans`: the plan, and when the consent is too old for it."""
    body = {
        **plan.facts(),
        "chunks": [[c.number, c.rows, c.sha256] for c in plan.chunks],
        "fresh_until": int(fresh_until.timestamp() * 1e6) if fresh_until else None,
    }
    return {
        "sync": plan.sync,
        "plan": plan.id,
        "event": "created",
        "at": plan.created,
        "actor": plan.planned_by,
        "digest": plan.digest,
        "body": json.dumps(body),  # not sorted: the order of the columns is part of the plan
    }


def load_plan(engine: Engine, control: str, plan_id: str) -> Plan:
    """A plan that was stored.

    Raises:
        UsageError: there is none of this name; the latest ones are named.
        StaleError: another version of the program has made it, or its record was changed.
    """
    ledger = Control(engine, control)
    table = ledger.table("plans")
    found = engine.query(f"SELECT body, digest FROM {table} WHERE plan = :plan AND event = 'created'", {"plan": plan_id}, what=table)
    if not found.num_rows:
        recent = engine.query(f"SELECT plan, sync FROM {table} WHERE event = 'created' ORDER BY at DESC LIMIT 5", what=table).to_pylist()
        names = ", ".join(f"{row['plan']} ({row['sync']})" for row in recent) or "none yet"
        raise UsageError(f"there is no plan {plan_id!r}; the latest: {names}", fix="make one with `cdp plan SYNC`")
    try:
        return _restored(json.loads(found.column("body")[0].as_py()), found.column("digest")[0].as_py())
    except (KeyError, TypeError, ValueError):  # each of them may quote what stands there
        raise StaleError(f"plan {plan_id} is not one that this version of cdp makes", fix="plan the sync again with `cdp plan`") from None


def _restored(body: Mapping[str, Any], stored_digest: str) -> Plan:
    return Plan(
        id=body["plan"],
        sync=body["sync"],
        destination=body["destination"],
        created=dt.datetime.fromisoformat(body["created"]),
        as_of=dt.datetime.fromisoformat(body["as_of"]),
        counts=body["counts"],
        excluded=tuple((e["rule"], e["count"]) for e in body["excluded"]),
        size=body["size"],
        guards=tuple(Violation(**violation) for violation in body["guards"]),
        base_seq=body["base_seq"],
        weighed=body["weighed"],
        fingerprint=body["fingerprint"],
        told=body["told"],
        outdated=body["outdated"],
        when_changed=body["when_changed"],
        model_sha256=body["model_sha256"],
        shape=diff.Shape(tuple(body["keys"]), body["names"], body["kinds"]),
        masks=tuple((column, version, context) for column, version, context in body["masks"]),
        chunks=tuple(Chunk(*chunk) for chunk in body["chunks"]),
        removals=body["removals"],
        refusals=tuple(Refusal.of_json(refusal) for refusal in body["refusals"]),
        planned_by=body["planned_by"],
        needs_approval=tuple(body["needs_approval"]),
        quality=tuple(Result.of_json(result) for result in body["quality"]),
        max_failed=Limit(**body["max_failed"]) if body["max_failed"] else None,
        withheld_rows=tuple((each["class"], each["table"], each["rows"]) for each in body["withheld_rows"]),
        basis=Basis.of_json(body["basis"]) if body["basis"] else None,
        account=body["account"],
        digest=stored_digest,
        _seal=_SEAL,
    )
