"""The synced state, held against the channel's own list of what it has, and corrected by it.

The list tells keys and no content: that a row is there says nothing of what stands in it. So it proves little, and only that is put on
record, as receipts like any other. A row that was delivered and is not there is not held: the next plan adds it. A row that was once put on
the wire and is not held, but is there, may be there: the next plan sends it, or takes it off. What nothing on record says we
put there is counted and left alone. Rows that are `unknown` stay so: a person settles them.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdp.connectors import accounts
from cdp.connectors.base import Connector, Exporting, Target, repeats_of
from cdp.connectors.sockets import guarded
from cdp.engine.base import literal
from cdp.errors import CdpError, DataError, DeliveryError
from cdp.governance.query import GovernedQuery
from cdp.sync import continuity, encoding, intents, opening, resync, secrets, state
from cdp.sync.delivery import run_loop
from cdp.sync.exclusive import Patience, leased
from cdp.sync.lease import Lease
from cdp.sync.leaving import Leaving
from cdp.sync.ledger import Control, new_name, typed
from cdp.sync.ledger.chain import LINE

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = 100_000  # keys that are held in memory, of the channel's list and of ours
_CLAIMS = ("held", "doubtful", "unknown", "once", "foreign")


@dataclass(frozen=True, slots=True)
class Compared:
    """What the channel's list says of the state of a sync.

    Attributes:
        listed: rows that the channel has.
        held: rows that the state says it has, that were delivered; `confirmed` of them are there.
        lost: delivered, and not there: not held from now on.
        found: once put on the wire and not held, but there: perhaps there from now on.
        foreign: there, and nothing on record says that this sync put them there.
        doubtful: put on the wire without an answer; `doubtful_there` of them are there, with which content nobody knows.
        unknown: the same where sending again has an effect again; `unknown_there` likewise.
    """

    sync: str
    destination: str
    listed: int
    held: int
    confirmed: int
    lost: int
    found: int
    foreign: int
    doubtful: int
    doubtful_there: int
    unknown: int
    unknown_there: int

    def as_json(self) -> dict[str, Any]:
        """The comparison as a JSON object with stable keys."""
        return {name: getattr(self, name) for name in self.__slots__}


def reconcile(
    query: GovernedQuery,
    control: Control,
    connector: type[Connector],
    target: Target,
    *,
    wall: Callable[[], dt.datetime],
    sandbox: bool = False,
    write: bool = False,
    all_lost: bool = False,
) -> Compared:
    """Ask the channel which rows it has, compare, and put on record what follows, under the sync's lease.

    Args:
        query: governed just now.
        control: the control tables.
        connector: the destination's.
        target: for it.
        wall: the clock.
        sandbox: secrets may be unset.
        write: otherwise nothing is changed.
        all_lost: believe a channel that has none of the rows that are held.

    Raises:
        DataError: the state is not what was folded, is of another receiver or key, or nothing of it is at the channel.
        DeliveryError: the channel cannot be asked, is of another account, or does not give a whole answer.
        BusyError: a run holds the sync, or another process delivers to a destination with limits a second.
    """
    sync, run = query.sync.name, new_name(wall())
    opened = opening.connect(connector, target, run=run, sandbox=sandbox)
    if not isinstance(opened, Exporting):
        fix = "the connector http has one, where the destination declares http.export"
        raise DeliveryError(f"destination {query.destination.name}: its connector cannot say which rows there are", fix=fix)
    leaving = Leaving.of(query, secrets.of_masks(query, sandbox=sandbox))
    with leased(control, sync, target.destination, opened, wall, Patience(0)) as held, guarded(target.egress) as refused:
        at = state.known(control, sync)
        resync.check(control, sync, at)
        work = _Comparing(control, query, leaving, held, run, at)
        try:
            work.ask(opened, opened.export(query.keys))
            if error := refused():
                raise error
            held.renew()
            work.recall()
            held.renew()
            compared = work.compared()
            _believe(compared, all_lost)
            if write:
                held.renew()
                work.write(wall(), effect=repeats_of(opened) == "effect")
                resync.record(control, sync, wall(), intents.RESYNCED, {"channel": compared.as_json()}, run)
        finally:
            work.drop()
    return compared


def _believe(compared: Compared, all_lost: bool) -> None:
    """A list without a single row that is held is more likely another list, or other names for the same rows, than the truth."""
    if compared.held and not compared.confirmed and not all_lost:
        said = f"lists none of the {compared.held:,} rows that were delivered (others: {compared.listed:,})"
        fix = "see that http.export asks for this sync's list, and names rows as they leave; if they are truly gone: --all-lost"
        raise DataError(f"sync {compared.sync}: {compared.destination} {said}", fix=fix)


@dataclass(slots=True)
class _Comparing:
    """One comparison. Its tables are named like those of plans: what a crash leaves of them goes with plans that have expired."""

    control: Control
    query: GovernedQuery
    leaving: Leaving
    lease: Lease
    run: str
    at: state.Known

    @property
    def _there(self) -> str:
        """The table of the channel's rows: `wire`, the key as it left; one that comes twice stands there twice."""
        return f"{self.control.schema}.plan_{self.run}_there"

    @property
    def _known(self) -> str:
        """The table of ours: `key`, and what is said of it (`claim`)."""
        return f"{self.control.schema}.plan_{self.run}_known"

    @property
    def _wires(self) -> str:
        """The table of `key` and `wire` where keys leave as pseudonyms."""
        return f"{self.control.schema}.plan_{self.run}_wires"

    @property
    def _masked(self) -> bool:
        return any(name in self.leaving.masks for name in self.query.keys)

    # -- the channel's -----------------------------------------------------------------------------------------------

    def ask(self, opened: Connector, listed: AsyncIterator[pa.Table]) -> None:
        """Write down which rows the channel has.

        Args:
            opened: its connector.
            listed: what that exports.

        Raises:
            DeliveryError: it is another account, or a part of the list fails.
        """
        self.control.engine.create(self._there, {"wire": "string"})
        try:
            run_loop(self._listed(opened, listed))
        except CdpError:
            raise
        except Exception as error:  # a connector may be anyone's; its text may hold a row
            said = f"the connector of {self.query.destination.name} failed to say which rows there are ({type(error).__name__})"
            raise DeliveryError(said, fix="mend the connector") from None

    async def _listed(self, opened: Connector, listed: AsyncIterator[pa.Table]) -> None:
        parts: list[pa.Table] = []
        rows, renewed = 0, time.monotonic()
        async with opened:
            await accounts.check(opened, self.query.agreement.account, f"destination {self.query.destination.name}")
            async for part in listed:
                parts.append(part)
                rows += len(part)
                if rows >= GROUP:
                    self._store(parts)
                    parts, rows = [], 0
                if time.monotonic() - renewed > self.lease.seconds / 4:
                    self.lease.renew()
                    renewed = time.monotonic()
        self._store(parts)

    def _store(self, parts: Sequence[pa.Table]) -> None:
        import pyarrow as pa

        if parts:
            keys = pa.concat_tables(parts).select(list(self.query.keys))
            self.control.engine.append(self._there, pa.table({"wire": _wires(keys)}))

    # -- ours --------------------------------------------------------------------------------------------------------

    def recall(self) -> None:
        """Write down what is on record: what is held, or may be, and what was once put on the wire and is not.

        Raises:
            DataError: what was delivered is at another receiver, or named by another key.
        """
        engine, held = self.control.engine, self._held()
        engine.register(self.query.tables)
        types = engine.types(self.query.select, what=f"the query of sync {self.query.sync.name}")
        if self.at.any:
            run = engine.value(continuity.newest(held, self.at.last), what="the acknowledged state")
            continuity.check(self.control, self.query, types, held, run)
        claim = "CASE WHEN h.doubt = 'unknown' THEN 'unknown' WHEN h.acked THEN 'held' ELSE 'doubtful' END"
        now = f"SELECT h.key, {claim} AS claim FROM ({held}) AS h WHERE h.content IS NOT NULL"
        once = f"SELECT l.key, 'once' AS claim FROM ({self._lines(types)}) AS l LEFT ANTI JOIN ({now}) AS n ON l.key = n.key"
        engine.create_as(self._known, f"SELECT * FROM ({now}) AS n UNION ALL {once}")
        if self._masked:
            self._mask()

    def _held(self) -> str:
        return state.held(self.control, self.query.sync.name, self.at)

    def _lines(self, types: Mapping[str, str]) -> str:
        """SQL of each key that went to this receiver under the present form of the key: its last line of the disclosure ledger."""
        alike = continuity.runs_alike(self.control, self.query, types)
        runs = ", ".join(map(literal, alike)) or "NULL"
        last = ", ".join(f"MAX_BY(l.{name}, l.block) AS {name}" for name in ("person", "op", "content", "run"))
        return (
            f"SELECT l.key, {last} FROM {self.control.table('disclosures')} AS l WHERE l.sync = {literal(self.query.sync.name)} "
            f"AND l.kind = '{LINE}' AND l.op <> 'remove' AND l.run IN ({runs}) GROUP BY l.key"
        )

    def _mask(self) -> None:
        """The pseudonyms under which our keys left, a part of them at a time."""
        import pyarrow as pa

        engine, kinds = self.control.engine, dict.fromkeys(self.query.keys, pa.string())
        engine.create(self._wires, {"key": "string", "wire": "string"})
        parts = math.ceil(int(engine.value(f"SELECT COUNT(*) FROM {self._known}", what="our keys")) / GROUP)
        for part in range(parts):
            mine = f"SELECT k.key FROM {self._known} AS k WHERE {encoding.order('k.key')} % {parts} = {part}"
            keys = engine.query(mine, what="our keys").column("key").to_pylist()
            left = pa.table(self.leaving.keys(keys, kinds))
            engine.append(self._wires, pa.table({"key": pa.array(keys, pa.string()), "wire": _wires(left)}))
            self.lease.renew()

    # -- both --------------------------------------------------------------------------------------------------------

    def _ours(self) -> str:
        """SQL of ours: key, claim, wire."""
        if self._masked:
            return f"SELECT k.key, k.claim, w.wire FROM {self._known} AS k JOIN {self._wires} AS w ON w.key = k.key"
        return f"SELECT k.key, k.claim, k.key AS wire FROM {self._known} AS k"

    def compared(self) -> Compared:
        """Count both sides."""
        theirs = f"SELECT DISTINCT d.wire FROM {self._there} AS d"
        statement = (
            "SELECT COALESCE(o.claim, 'foreign') AS claim, t.wire IS NOT NULL AS there, COUNT(*) AS n "
            f"FROM ({self._ours()}) AS o FULL OUTER JOIN ({theirs}) AS t ON o.wire = t.wire GROUP BY 1, 2"
        )
        found = {(row["claim"], row["there"]): row["n"] for row in self.control.engine.query(statement, what="both lists").to_pylist()}
        there, gone = ({claim: found.get((claim, is_there), 0) for claim in _CLAIMS} for is_there in (True, False))
        return Compared(
            sync=self.query.sync.name,
            destination=self.query.destination.name,
            listed=sum(there.values()),
            held=there["held"] + gone["held"],
            confirmed=there["held"],
            lost=gone["held"],
            found=there["once"],
            foreign=there["foreign"],
            doubtful=there["doubtful"] + gone["doubtful"],
            doubtful_there=there["doubtful"],
            unknown=there["unknown"] + gone["unknown"],
            unknown_there=there["unknown"],
        )

    def write(self, moment: dt.datetime, *, effect: bool) -> None:
        """Receipts of what is not there, and of what is there all the same. A crash between leaves half of what is true.

        Args:
            moment: of the receipts.
            effect: whether sending again has an effect again.
        """
        listed = f"SELECT d.wire FROM {self._there} AS d"
        lost = f"SELECT o.key FROM ({self._ours()}) AS o LEFT ANTI JOIN ({listed}) AS t ON o.wire = t.wire WHERE o.claim = 'held'"
        mine = f"FROM ({self._held()}) AS r LEFT SEMI JOIN ({lost}) AS x ON r.key = x.key"
        removed = {"subject": "r.subject", "op": "'remove'", "base": "r.seq"}
        same = {"sync": self.query.sync.name, "at": moment}
        seq = self.lease.first_seq
        seq += self._receipts(mine, removed, {**same, "run": self.run, "status": "delivered", "code": intents.ABSENT}, seq)
        types = self.control.engine.types(self.query.select, what=f"the query of sync {self.query.sync.name}")
        found = f"SELECT o.key FROM ({self._ours()}) AS o LEFT SEMI JOIN ({listed}) AS t ON o.wire = t.wire WHERE o.claim = 'once'"
        mine = f"FROM ({self._lines(types)}) AS r LEFT SEMI JOIN ({found}) AS x ON r.key = x.key"
        # It builds on itself: under the key of the change that it once was a channel would do nothing.
        line = {"subject": "r.person", "op": "r.op", "content": "r.content", "run": "r.run", "base": _number(seq)}
        effect = effect or intents.last_repeats(self.control, self.query.sync.name) == "effect"
        self._receipts(mine, line, {**same, "status": "unknown" if effect else "retryable", "code": state.FOUND}, seq)

    def _receipts(self, rows: str, own: Mapping[str, str], same: Mapping[str, Any], seq: int) -> int:
        """Write receipts: columns of the rows (SQL from FROM on) and what is the same in all of them; how many."""
        engine, table = self.control.engine, self.control.table("receipts")
        if count := int(engine.value(f"SELECT COUNT(*) {rows}", what="what differs")):
            columns = {"key": "r.key", "seq": _number(seq), **own}
            kinds = self.control.types("receipts")
            listed = ", ".join(f"{columns.get(name) or typed(same.get(name), kind)} AS {name}" for name, kind in kinds.items())
            self.lease.check()
            engine.execute(f"INSERT INTO {table} SELECT {listed} {rows}", what=table)
        return count

    def drop(self) -> None:
        """Let the tables go."""
        for table in (self._there, self._known, self._wires):
            with suppress(CdpError):
                self.control.engine.drop(table)


def _number(seq: int) -> str:
    """SQL of the seq of each receipt that is written after another."""
    return f"{seq} + ROW_NUMBER() OVER (ORDER BY r.key)"


def _wires(keys: pa.Table) -> pa.Array:
    """Each row of key columns as one text."""
    import pyarrow as pa

    return pa.array([encoding.joined_key(row) for row in zip(*(column.to_pylist() for column in keys.columns), strict=True)], pa.string())
