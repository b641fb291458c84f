"""A plan: what would leave, computed, stored, hashed, and looked at before it is applied.

Only `make_plan` and `load_plan` make a Plan, only from a GovernedQuery or from what was stored of one, and only
a Plan can be applied. A plan is data: nothing of it is computed again when it is applied, except who may be told.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cdp.engine.base import Engine
from cdp.errors import StaleError, UsageError
from cdp.governance.query import GovernedQuery
from cdp.spec.activation import Guards
from cdp.sync import diff, digest, encoding, guards, sources, state
from cdp.sync.digest import Chunk
from cdp.sync.guards import Violation
from cdp.sync.ledger import Control

LIFETIME = dt.timedelta(hours=24)
_TRIES = 3
_SEAL = object()


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying would do. It holds no row: those stand in the table `plan_<id>` of the control schema.

    Attributes:
        counts: `add`, `change`, `remove`; `unchanged`; `invalid` (no key, no subject, or a key that several people
            have); `skipped` (a difference that the sync's mode leaves alone).
        excluded: each rule that was asked, in order, and how many it keeps out.
        size: members of the segment: the sum of excluded, add, change, unchanged, invalid and skipped.
        base_seq: the last acknowledged receipt when the plan was made.
        shape: the stored columns; `masks`: column, version and context of each wire mask.
        guards: the guards that the plan breaks.
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
    model_sha256: str
    shape: diff.Shape
    masks: tuple[tuple[str, int, str], ...]
    chunks: tuple[Chunk, ...]
    digest: str = ""
    _seal: object = field(repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise TypeError("a Plan is made by cdp.sync.plan.make_plan and load_plan only")

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
            "refusals": [],
            "guards": [violation.as_json() for violation in self.guards],
            "as_of": self.as_of.isoformat(),
            "created": self.created.isoformat(),
            "expires": self.expires.isoformat(),
            "fingerprint": self.fingerprint,
            "digest": self.digest,
        }

    def facts(self) -> dict[str, Any]:
        """All but the chunks and the digest: what the digest covers besides the rows, and what is stored."""
        return {
            **{k: v for k, v in self.as_json().items() if k not in ("digest", "refusals", "expires")},
            "base_seq": self.base_seq,
            "model_sha256": self.model_sha256,
            "keys": list(self.shape.keys),
            "names": dict(self.shape.names),
            "kinds": dict(self.shape.kinds),
            "masks": [list(mask) for mask in self.masks],
        }


def make_plan(
    query: GovernedQuery, engine: Engine, control: str, *, now: dt.datetime, as_of: dt.datetime, defaults: Guards | None = None
) -> Plan:
    """Compute, store and hash what a sync would send.

    Args:
        query: from governance.
        engine: of the environment.
        control: the schema of the control tables.
        now: the wall clock.
        as_of: the moment that the query was compiled for.
        defaults: the project's guards.

    Raises:
        DataError: a table is missing, a column cannot be sent, or the consent is too old.
        StaleError: the tables keep changing while the plan is made.
    """
    ledger = Control(engine, control)
    sources.check(engine, query, now)
    sources.check_lookups(engine, query)
    types = engine.types(query.select, what=f"the query of sync {query.sync.name}")
    encoding.check_types({name: types[name] for name in query.columns}, query.keys)
    drop_expired(ledger, now)
    maker = _Maker(query, ledger, types, now, as_of, defaults or Guards())
    for _ in range(_TRIES):
        if plan := maker.attempt():
            ledger.append("plans", [_created(plan)])
            return plan
    raise StaleError(
        f"sync {query.sync.name}: the tables changed {_TRIES} times while the plan was made", fix="run again when loading is done"
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What the diff counted.

    Attributes:
        keys: how many keys of each op.
        excluded: each rule, in order, and how many it keeps out.
        invalid: people without a key, without a subject, or with a key that others have too.
        invalid_held: keys of those that the destination holds.
    """

    keys: Counter[str]
    excluded: tuple[tuple[str, int], ...]
    invalid: int
    invalid_held: int


class _Maker:
    """One plan in the making; `attempt` is its story."""

    def __init__(
        self, query: GovernedQuery, ledger: Control, types: Mapping[str, str], now: dt.datetime, as_of: dt.datetime, defaults: Guards
    ) -> None:
        self.query, self.ledger, self.types, self.now, self.as_of, self.defaults = query, ledger, types, now, as_of, defaults
        self.engine = ledger.engine
        self.shape = diff.Shape.of(query, types)

    def attempt(self) -> Plan | None:
        """The plan, or None when a table changed between the diff and reading the values."""
        plan_id = f"{self.now.astimezone(dt.UTC):%Y%m%d%H%M%S}_{uuid.uuid4().hex[:6]}"
        table = rows_table(self.ledger, plan_id)
        changes = f"{table}_changes"
        try:
            at = state.known(self.ledger, self.query.sync.name)
            acknowledged = state.acknowledged(self.ledger, self.query.sync.name, at)
            self.engine.create_as(changes, diff.changes(diff.members(self.query, self.types), acknowledged))
            found = self._found(changes)
            parts = self._parts(found)
            chunks = self._store(table, changes, acknowledged, parts)
            if sum(c.rows for c in chunks) != sum(found.keys[op] for op in parts):
                self.engine.drop(table)
                return None
        finally:
            self.engine.drop(changes)
        held = self.engine.value(f"SELECT COUNT(content) FROM ({acknowledged}) AS a", what="the acknowledged state") if at.last else 0
        return self._plan(plan_id, at, found, parts, held, chunks)

    def _found(self, changes: str) -> _Found:
        """Counts the changes."""
        statement = f"SELECT op, left_out, COUNT(*) AS keys, SUM(n) AS people, COUNT_IF(held) AS held FROM {changes} GROUP BY op, left_out"
        counted = self.engine.query(statement, what=changes).to_pylist()
        left_out = {row["left_out"]: int(row["people"]) for row in counted if row["op"] == "left_out"}
        ops = [row for row in counted if row["op"] != "left_out"]
        invalid = [row for row in ops if row["op"] == "invalid"]
        return _Found(
            keys=Counter({row["op"]: row["keys"] for row in ops}),
            excluded=tuple((rule, left_out.get(rule, 0)) for rule in self.query.rules),
            invalid=left_out.get("", 0) + sum(int(row["people"]) for row in invalid),
            invalid_held=sum(row["held"] for row in invalid),
        )

    def _parts(self, found: _Found) -> dict[str, int]:
        """The ops that the mode sends, each with the number of chunks of its kind: removals, or all others."""
        sent = {op: found.keys[op] for op in diff.MODES[self.query.sync.mode] if found.keys[op]}
        upserts = sum(count for op, count in sent.items() if op != "remove")
        return {op: -(-(count if op == "remove" else upserts) // diff.CHUNK_ROWS) for op, count in sent.items()}

    def _store(self, table: str, changes: str, acknowledged: str, parts: Mapping[str, int]) -> tuple[Chunk, ...]:
        """Write the rows and hash them. A key that came twice makes a count that does not match."""
        if not parts:
            return ()
        self.engine.create_as(table, diff.rows(self.query, self.shape, self.types, changes, acknowledged, parts), partition="_chunk")
        chunks = digest.chunks(self.engine, table, self.shape.stored, chunk_count(parts))
        keys = self.engine.value(f"SELECT COUNT(DISTINCT _key) FROM {table}", what=table)
        return chunks if keys == sum(c.rows for c in chunks) else ()

    def _counts(self, found: _Found, parts: Mapping[str, int], held: int) -> dict[str, int]:
        """What the plan would do. Of the keys that are held, those that nothing was found about are as they should be."""
        sent = {op: found.keys[op] if op in parts else 0 for op in ("add", "change", "remove")}
        skipped = sum(found.keys[op] for op in ("add", "change") if op not in parts)
        unchanged = held - found.keys["change"] - found.keys["remove"] - found.invalid_held
        return {**sent, "unchanged": unchanged, "invalid": found.invalid, "skipped": skipped}

    def _plan(self, plan_id: str, at: state.Known, found: _Found, parts: Mapping[str, int], held: int, chunks: tuple[Chunk, ...]) -> Plan:
        counts, excluded = self._counts(found, parts, held), found.excluded
        size = sum(n for _, n in excluded) + sum(n for name, n in counts.items() if name != "remove")
        rules = guards.effective(self.query.sync.guards, self.defaults)
        broken = guards.check(rules, counts, known=held, segment=size, source=sources.rows(self.engine, self.query.entity.table))
        facts: dict[str, Any] = {
            "id": plan_id,
            "sync": self.query.sync.name,
            "destination": self.query.destination.name,
            "created": self.now,
            "as_of": self.as_of,
            "counts": counts,
            "excluded": excluded,
            "size": size,
            "guards": broken,
            "base_seq": at.last,
            "fingerprint": self.query.fingerprint,
            "model_sha256": self.query.model_sha256,
            "shape": self.shape,
            "masks": masks_of(self.query),
            "chunks": chunks,
        }
        unsigned = Plan(**facts, _seal=_SEAL)
        return Plan(**facts, digest=digest.total(chunks, unsigned.facts()), _seal=_SEAL)


def masks_of(query: GovernedQuery) -> tuple[tuple[str, int, str], ...]:
    """What is said of the wire masks of a query: column, version and context."""
    return tuple((m.column, m.version, m.context) for m in query.wire_masks)


def chunk_count(parts: Mapping[str, int]) -> int:
    """The number of chunks over both kinds; additions and changes share theirs."""
    return parts.get("remove", 0) + max((n for op, n in parts.items() if op != "remove"), default=0)


def rows_table(ledger: Control, plan_id: str) -> str:
    """The table of a plan's rows."""
    return f"{ledger.schema}.plan_{plan_id}"


def _created(plan: Plan) -> dict[str, Any]:
    body = {**plan.facts(), "chunks": [[c.number, c.rows, c.sha256] for c in plan.chunks]}
    return {
        "sync": plan.sync,
        "plan": plan.id,
        "event": "created",
        "at": plan.created,
        "digest": plan.digest,
        "body": json.dumps(body),  # not sorted: the order of the columns is part of the plan
    }


def load_plan(engine: Engine, control: str, plan_id: str) -> Plan:
    """A plan that was stored.

    Raises:
        UsageError: there is none of this name; the latest ones are named.
    """
    ledger = Control(engine, control)
    table = ledger.table("plans")
    found = engine.query(f"SELECT body, digest FROM {table} WHERE plan = :plan AND event = 'created'", {"plan": plan_id}, what=table)
    if not found.num_rows:
        recent = engine.query(f"SELECT plan, sync FROM {table} WHERE event = 'created' ORDER BY at DESC LIMIT 5", what=table).to_pylist()
        names = ", ".join(f"{row['plan']} ({row['sync']})" for row in recent) or "none yet"
        raise UsageError(f"there is no plan {plan_id!r}; the latest: {names}", fix="make one with `cdp plan SYNC`")
    return _restored(json.loads(found.column("body")[0].as_py()), found.column("digest")[0].as_py())


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
        fingerprint=body["fingerprint"],
        model_sha256=body["model_sha256"],
        shape=diff.Shape(tuple(body["keys"]), body["names"], body["kinds"]),
        masks=tuple((column, version, context) for column, version, context in body["masks"]),
        chunks=tuple(Chunk(*chunk) for chunk in body["chunks"]),
        digest=stored_digest,
        _seal=_SEAL,
    )


def drop_expired(ledger: Control, now: dt.datetime) -> None:
    """Drop the tables of plans that nobody can apply any more; a plan's name begins with when it was made.

    One that is being applied when it expires has as long again to finish.
    """
    limit = (now.astimezone(dt.UTC) - 2 * LIFETIME).strftime("plan_%Y%m%d%H%M%S")
    for name in ledger.engine.tables(ledger.schema):
        if name.startswith("plan_") and name < limit:
            ledger.engine.drop(f"{ledger.schema}.{name}")
