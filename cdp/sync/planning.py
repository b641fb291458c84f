"""How a plan is made: the desired rows compared with the acknowledged ones, the difference stored, counted and hashed."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cdp.engine.base import Engine, literal
from cdp.errors import ConflictError, StaleError
from cdp.governance.query import GovernedQuery, Removals
from cdp.quality import Result
from cdp.spec.activation import Guards
from cdp.sync import continuity, diff, digest, encoding, gates, guards, pending, resync, revocations, sources, state, usual
from cdp.sync.allowance import Allowance
from cdp.sync.digest import Chunk
from cdp.sync.hash_key import HashKey
from cdp.sync.ledger import Control, new_name
from cdp.sync.ledger.disclosure import check_clock
from cdp.sync.people import People, few_of
from cdp.sync.plan import _SEAL, LIFETIME, TAKEN_OFF, Plan, created, masks_of, rows_table
from cdp.sync.unfinished import unfinished

if TYPE_CHECKING:
    from cdp.sync.basis import Basis

_TRIES = 3


def make_plan(
    query: GovernedQuery,
    engine: Engine,
    control: str,
    *,
    now: dt.datetime,
    as_of: dt.datetime,
    defaults: Guards | None = None,
    only: Removals | None = None,
    basis: Basis | None = None,
) -> Plan:
    """Compute, store and hash what a sync would send.

    Args:
        query: from governance.
        engine: of the environment.
        control: the schema of the control tables.
        now: the wall clock.
        as_of: the moment that the query was compiled for.
        defaults: the project's guards.
        only: hold additions and changes back, as a query does that may only remove.
        basis: what the plan rests on, found out before this call; without it the next run is not skipped, and apply asks who may be told.

    Raises:
        DataError: a table is missing, a column cannot be sent, the consent is too old, or what was delivered is at another receiver
            or named by another key.
        StaleError: the tables keep changing while the plan is made, or the clock was set back.
    """
    ledger = Control(engine, control)
    check_clock(ledger, now)
    fresh_until = sources.check(engine, query, now)
    removals = "kept_out" if only == "kept_out" else query.removals or only
    if diff.asks_segment(removals):
        sources.check_lookups(engine, query)
    types = engine.types(query.select, what=f"the query of sync {query.sync.name}")
    encoding.check_types({name: types[name] for name in query.columns}, query.keys)
    if removals is None:
        gates.check(query.sync, {name: types[name] for name in query.columns})
    drop_expired(ledger, now)
    maker = _Maker(query, ledger, types, now, as_of, defaults or Guards(), removals, basis)
    for _ in range(_TRIES):
        if plan := maker.attempt():
            ledger.append("plans", [created(plan, fresh_until)])
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
        held: of all of these, the keys that the destination holds or may hold; `disputed` of them are invalid.
        again: people who are removed and, in the next plan, added as they should be told now.
        kept: keys that are not sent now, by why and what they would be: see pending.py.
        pairs: of a member and a row that is held, and rows that are held alone: see `diff.joined`.
    """

    keys: Counter[str]
    excluded: tuple[tuple[str, int], ...]
    invalid: int
    held: int
    disputed: int
    again: int
    kept: Counter[tuple[str, str]]
    pairs: int

    def due(self, op: str) -> int:
        """How many keys of an op are to be sent now."""
        return self.keys[op] - sum(n for (_, was), n in self.kept.items() if was == op)

    def put_off(self, why: str) -> int:
        """How many additions and changes are not, for a reason."""
        return self.kept[why, "add"] + self.kept[why, "change"]


@dataclass(frozen=True, slots=True)
class _Held:
    """What the destination holds.

    Attributes:
        rows: how many.
        outdated: those of them that went out under another decision.
        run: that of the newest receipt, where its row is one of them.
    """

    rows: int = 0
    outdated: int = 0
    run: str | None = None


class _Maker:
    """One plan in the making; `attempt` is its story."""

    def __init__(
        self,
        query: GovernedQuery,
        ledger: Control,
        types: Mapping[str, str],
        now: dt.datetime,
        as_of: dt.datetime,
        defaults: Guards,
        removals: Removals | None,
        basis: Basis | None,
    ) -> None:
        self.query, self.ledger, self.types, self.now, self.as_of, self.defaults = query, ledger, types, now, as_of, defaults
        self.removals, self.basis = removals, basis
        self.engine = ledger.engine
        self.shape, self.hashed = diff.Shape.of(query, types), HashKey.of(query, types)

    def attempt(self) -> Plan | None:
        """The plan, or None when a table changed while it was made: between the diff and reading the values, or under a statement."""
        plan_id = new_name(self.now)
        table = rows_table(self.ledger, plan_id)
        compared, freed, judged = f"{table}_changes", f"{table}_freed", f"{table}_judged"
        try:
            at = state.known(self.ledger, self.query.sync.name)
            resync.check(self.ledger, self.query.sync.name, at)
            acknowledged = state.held(self.ledger, self.query.sync.name, at)
            holds = self._held(acknowledged, at)
            if holds.rows:
                continuity.check(self.ledger, self.query, self.types, acknowledged, holds.run)
            found = self._compare(compared, acknowledged, at, holds)
            changes, found = self._freed(compared, freed, acknowledged, found)
            due, found = self._judge(changes, judged, found)
            parts = self._parts(found)
            sure = not at.doubtful
            few = few_of(sum(found.due(op) for op in parts), found.pairs)
            chunks, passed = self._store(table, due, diff.taken_off(due, acknowledged, self.hashed, sure=sure), parts, few=few)
            found = replace(found, kept=found.kept + Counter({("dropped", op): n for op, n in passed.dropped.items()}))
            if sum(c.rows for c in chunks) != sum(found.due(op) for op in parts):
                self.engine.drop(table)
                return None
            removed, people = diff.taken_off(changes, acknowledged, self.hashed, sure=sure), None
            if parts.get("remove") and found.due("remove") == found.keys["remove"]:
                removed = diff.taken_off(changes, f"SELECT _key AS key, _subject AS subject FROM {table}", self.hashed, sure=False)
                people = People.of(table, "_subject") if few else None
            seen = revocations.Seen(plan_id, removed, acknowledged, self.removals, found.keys["remove"], sure, people)
            revocations.record(self.ledger, self.query, seen, self.now)
        except ConflictError:  # a table was replaced while it was read
            self.engine.drop(table)
            return None
        finally:
            for made in (compared, freed, judged):
                self.engine.drop(made)
        return self._plan(plan_id, at, found, parts, holds, chunks, passed.results)

    def _held(self, acknowledged: str, at: state.Known) -> _Held:
        if not at.any:
            return _Held()
        # Each apart: what a row was told under, and its run, are read only where the files' statistics say that it may be one of these.
        other = f"a.acked AND a.content IS NOT NULL AND (a.told IS NULL OR a.told <> {literal(self.query.told)})"
        asked = {
            "rows": f"SELECT COUNT(a.content) FROM ({acknowledged}) AS a",
            "outdated": f"SELECT COUNT(*) FROM ({acknowledged}) AS a WHERE {other}",
            "run": continuity.newest(acknowledged, at.last),
        }
        statement = f"SELECT {', '.join(f'({each}) AS {name}' for name, each in asked.items())}"
        (row,) = self.engine.query(statement, what="the acknowledged state").to_pylist()
        return _Held(**row)

    @property
    def _outdated(self) -> str:
        return state.outdated(self.query.told)

    def _compare(self, changes: str, acknowledged: str, at: state.Known, holds: _Held) -> _Found:
        """Write what differs, and count it. What `_held` has counted says whether the short way will do."""
        if diff.asks_segment(self.removals) and not at.doubtful:
            sure = state.acknowledged(self.ledger, self.query.sync.name, at)
            joined = diff.joined(self.query, self.types, sure, self._outdated, self._changed if holds.outdated else "keep")
            self.engine.create_as(changes, joined, brief=True)
            found = self._found(changes)
            if found.pairs == holds.rows:
                return found
            self.engine.drop(changes)  # several people have one acknowledged key
        self.engine.create_as(changes, self._changes(acknowledged), brief=True)
        return self._found(changes)

    def _freed(self, changes: str, freed: str, acknowledged: str, found: _Found) -> tuple[str, _Found]:
        """The changes, with those held keys to take off that others dispute. Whoever may no longer be told does not stay for that."""
        if not found.disputed:
            return changes, found
        statement = f"SELECT * FROM {changes} UNION ALL {diff.freed(self.query, changes, acknowledged, self.hashed)}"
        self.engine.create_as(freed, statement, brief=True)
        return freed, self._found(freed)

    def _changes(self, acknowledged: str) -> str:
        if self.removals is None or diff.asks_segment(self.removals):
            members = diff.members(self.query, self.types)
            return diff.changes(members, acknowledged, self._outdated, self._changed, self.hashed)
        return diff.removals(self.query, self.removals, acknowledged, self.hashed)

    @property
    def _changed(self) -> diff.Changed:
        """What becomes of outdated rows; what a mode cannot do, it leaves alone."""
        asked = self.query.when_changed
        return asked if asked != "remove" or "remove" in diff.MODES[self.query.sync.mode] else "keep"

    def _found(self, changes: str) -> _Found:
        """Counts the changes."""
        sums = "COUNT(*) AS keys, SUM(n) AS people, COUNT_IF(held) AS held, SUM(CASE WHEN held THEN GREATEST(n, 1) ELSE 0 END) AS pairs"
        statement = f"SELECT op, left_out, {sums} FROM {changes} GROUP BY op, left_out"
        counted = self.engine.query(statement, what=changes).to_pylist()
        pairs = sum(int(row["pairs"]) for row in counted)
        counted = [row for row in counted if row["op"] != "same"]
        left_out = {row["left_out"]: int(row["people"]) for row in counted if row["op"] == "left_out"}
        ops = [row for row in counted if row["op"] != "left_out"]
        invalid = [row for row in ops if row["op"] == "invalid"]
        return _Found(
            keys=Counter({row["op"]: row["keys"] for row in ops}),
            excluded=tuple((rule, left_out.get(rule, 0)) for rule in self.query.rules),
            invalid=left_out.get("", 0) + sum(int(row["people"]) for row in invalid),
            held=sum(row["held"] for row in ops),
            disputed=sum(row["held"] for row in invalid),
            again=sum(int(row["people"]) for row in ops if row["op"] == "remove"),
            kept=Counter(),
            pairs=pairs,
        )

    def _judge(self, changes: str, judged: str, found: _Found) -> tuple[str, _Found]:
        """What is not sent now: a table that says so, made only where something is put off. Nothing to send costs nothing."""
        ops = [op for op in diff.sent(self.query.sync.mode, self.removals) if found.keys[op]]
        if not ops:
            return changes, found
        upserts = sum(found.keys[op] for op in ops if op != "remove")
        some = pending.rejected(self.ledger, self.query.sync.name)
        tries = pending.tries(self.ledger, self.query.sync.name, self.query.destination.retries) if some else None
        holding = pending.Holding(tries, Allowance.of(self.ledger, self.query, lambda: self.now).room() if upserts else None)
        if not holding.binds(upserts):
            return changes, found
        self.engine.create_as(judged, pending.judged(changes, holding, ops, int(self.now.timestamp() * 1e6), self.hashed), brief=True)
        counted = self.engine.query(f"SELECT op, was, COUNT(*) AS keys FROM {judged} WHERE op <> was GROUP BY op, was", what=judged)
        return judged, replace(found, kept=Counter({(row["op"], row["was"]): row["keys"] for row in counted.to_pylist()}))

    def _parts(self, found: _Found) -> dict[str, int]:
        """The ops that are sent, each with the number of chunks of its kind: removals, or all others."""
        sent = {op: found.due(op) for op in diff.sent(self.query.sync.mode, self.removals) if found.due(op)}
        upserts = sum(count for op, count in sent.items() if op != "remove")
        return {op: -(-(count if op == "remove" else upserts) // diff.CHUNK_ROWS) for op, count in sent.items()}

    def _store(
        self, table: str, changes: str, removed: str, parts: Mapping[str, int], *, few: bool
    ) -> tuple[tuple[Chunk, ...], gates.Passed]:
        """Write the rows, ask the sync's expectations of them, hash them. A key that came twice makes a count that does not match."""
        if not parts:
            return (), gates.Passed()
        rows = diff.rows(self.query, self.shape, self.types, changes, removed, parts, few=few)
        passed = gates.store(self.engine, self.query.sync, self.shape, table, rows, upserts=any(op != "remove" for op in parts))
        return digest.chunks(self.engine, table, self.shape.stored, chunk_count(parts)) or (), passed

    def _counts(self, found: _Found, parts: Mapping[str, int], held: int) -> dict[str, int]:
        """What the plan would do. Of the keys that are held, those that nothing was found about are as they should be."""
        sent = {op: found.due(op) if op in parts else 0 for op in ("add", "change", "remove")}
        put_off = {why: found.put_off(why) for why in (*pending.REASONS, "dropped")}
        wanted = sum(found.keys[op] for op in diff.MODES[self.query.sync.mode] if op != "remove")
        skipped = found.keys["add"] + found.keys["change"] - wanted
        unchanged = held - found.held
        held_back = wanted - sent["add"] - sent["change"] - sum(put_off.values()) + found.again
        left = {"invalid": found.invalid, "skipped": skipped, "held_back": held_back, "unknown": found.keys["unknown"]}
        return {**sent, "unchanged": unchanged, **left, **put_off, "removals_waiting": found.kept["waiting", "remove"]}

    def _plan(
        self,
        plan_id: str,
        at: state.Known,
        found: _Found,
        parts: Mapping[str, int],
        holds: _Held,
        chunks: tuple[Chunk, ...],
        results: tuple[Result, ...],
    ) -> Plan:
        counts, excluded = self._counts(found, parts, holds.rows), found.excluded
        asked = diff.asks_segment(self.removals)
        size = sum(n for _, n in excluded) + sum(n for name, n in counts.items() if name not in TAKEN_OFF) if asked else 0
        rules = guards.holding(guards.effective(self.query.sync.guards, self.defaults), self.removals)
        weighed = self._weighed(found)
        broken = self._broken(rules, self._looked_at(rules, weighed, counts, holds.rows, size, size - sum(n for _, n in excluded)))
        facts: dict[str, Any] = {
            "id": plan_id,
            "sync": self.query.sync.name,
            "destination": self.query.destination.name,
            "created": self.now,
            "as_of": self.as_of,
            "counts": counts,
            "excluded": excluded,
            "size": size,
            "weighed": weighed,
            "max_failed": rules.max_failed,
            "guards": (*broken, *gates.violations(results)),
            "quality": results,
            "base_seq": at.last,
            "fingerprint": self.query.fingerprint,
            "told": self.query.told,
            "outdated": holds.outdated,
            "when_changed": self.query.when_changed,
            "model_sha256": self.query.model_sha256,
            "shape": self.shape,
            "masks": masks_of(self.query),
            "chunks": chunks,
            "removals": self.removals,
            "refusals": self.query.refusals,
            "planned_by": self.engine.whoami(),
            "needs_approval": self.query.approval.why if self.query.approval and self.removals is None and chunks else (),
            "withheld_rows": sources.withheld(self.engine, self.query) if asked else (),
            "basis": self.basis,
            "account": self.query.agreement.account,
        }
        unsigned = Plan(**facts, _seal=_SEAL)
        return Plan(**facts, digest=digest.total(chunks, unsigned.facts()), _seal=_SEAL)

    def _weighed(self, found: _Found) -> dict[str, int]:
        """The rows that guards look at: with those that are put off, so that a cap or a back-off hides none."""
        ops = diff.sent(self.query.sync.mode, self.removals)
        return {op: found.keys[op] - found.kept["dropped", op] if op in ops else 0 for op in ("add", "change", "remove")}

    def _broken(self, rules: Guards, looked_at: guards.Found) -> tuple[guards.Violation, ...]:
        """The guards that the plan breaks. What an earlier run was let send is asked for only where it could matter."""
        broken = guards.check(rules, looked_at)
        if not any(violation.guard in guards.BOUNDS.values() for violation in broken):
            return broken
        left = unfinished(self.ledger, self.query.sync.name)
        return guards.check(rules, replace(looked_at, counts={op: max(0, n - left[op]) for op, n in looked_at.counts.items()}))

    def _looked_at(
        self, rules: Guards, weighed: Mapping[str, int], counts: Mapping[str, int], held: int, size: int, eligible: int
    ) -> guards.Found:
        """What the guards look at; how large the segment usually is only where one asks."""
        asked = rules.unusual_size is not None and diff.asks_segment(self.removals)
        return guards.Found(
            weighed,
            known=held,
            segment=size,
            source=sources.rows(self.engine, self.query.entity.table),
            invalid=counts["invalid"] + counts["dropped"],
            eligible=eligible,
            past=usual.sizes(self.ledger, self.query.sync.name) if asked else (),
        )


def chunk_count(parts: Mapping[str, int]) -> int:
    """The number of chunks over both kinds; additions and changes share theirs."""
    return parts.get("remove", 0) + max((n for op, n in parts.items() if op != "remove"), default=0)


def drop_expired(ledger: Control, now: dt.datetime) -> None:
    """Drop the tables of plans that nobody can apply any more; a plan's name begins with when it was made.

    One that is being applied when it expires has as long again to finish.
    """
    limit = (now.astimezone(dt.UTC) - 2 * LIFETIME).strftime("plan_%Y%m%d%H%M%S")
    for name in ledger.engine.tables(ledger.schema):
        if name.startswith("plan_") and name < limit:
            ledger.engine.drop(f"{ledger.schema}.{name}")
