"""Apply a plan: check that it still holds, send it, record what came back."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cdp.connectors import accounts
from cdp.connectors.base import Connector, Repeats, Target, WireOp, repeats_of
from cdp.connectors.sockets import guarded
from cdp.engine.base import Engine
from cdp.errors import CdpError, DeliveryError, EngineError, GuardError, RefusedError, StaleError
from cdp.governance.query import GovernedQuery
from cdp.sync import acceptance, digest, guards, intents, lease, opening, same_secret, secrets, sources, state, unsettled, withheld
from cdp.sync.allowance import Allowance
from cdp.sync.approval import Approved, approval_of
from cdp.sync.delivery import Delivery, Refused, run_loop, stoppable
from cdp.sync.exclusive import Patience, leased
from cdp.sync.ledger import Control, new_name
from cdp.sync.ledger.disclosure import Disclosures, check_clock
from cdp.sync.outgoing import OPS, Outgoing, chunks_of
from cdp.sync.plan import Plan, masks_of, rows_table
from cdp.sync.recorder import Recorder, Tally
from cdp.sync.stopping import Stop

Progress = Callable[[Tally], None]
_NONE = Patience()


@dataclass(frozen=True, slots=True)
class Run:
    """What came of applying a plan.

    Attributes:
        delivered: rows that the channel took.
        rejected: rows that it refused.
        retryable: rows that the next run sends: undecided, or not sent at all.
        unknown: rows that may have been applied, at a channel where sending them again would have an effect again: `cdp resync`.
        withheld: rows of people who may no longer be told since the plan was made.
        carried_over: rows for which the destination's cap of the day, which other runs use as well, had no room any more.
        status: `nothing` (the plan was empty), `succeeded`, `partial`, `failed` (nothing was delivered), `stopped` (by a signal).
    """

    run: str
    plan: str
    sync: str
    delivered: int
    rejected: int
    retryable: int
    unknown: int
    withheld: int
    carried_over: int
    status: str

    def as_json(self) -> dict[str, Any]:
        """The run as a JSON object with stable keys."""
        return {name: getattr(self, name) for name in self.__slots__}


def apply_plan(
    plan: Plan,
    query: GovernedQuery,
    engine: Engine,
    control: str,
    connector: type[Connector],
    target: Target,
    *,
    now: dt.datetime,
    sandbox: bool = False,
    progress: Progress | None = None,
    stop: Stop | None = None,
    patience: Patience = _NONE,
) -> Run:
    """Send what a plan holds.

    Args:
        plan: from `make_plan` or `load_plan`.
        query: governed just now, at the wall clock `now`, for the plan's as_of.
        engine: of the environment.
        control: the schema of the control tables.
        connector: the destination's.
        target: for the connector; its `run` and `secrets` are filled in here.
        now: the wall clock.
        sandbox: secrets may be unset.
        progress: told what was answered, after each group of receipts.
        stop: what ends it cleanly, for one of several runs; signals do otherwise.
        patience: how long to wait for a destination with limits a second that another process delivers to.

    Raises:
        GuardError: the plan breaks a guard.
        RefusedError: the sync may by now only remove, or only others than the plan.
        ApprovalError: it needs an approval, and none on record holds.
        StaleError: the plan is too old, was applied, or something moved since it was made.
        DataError: the consent is too old by now.
        BusyError: another run holds the sync, or another process delivers to a destination with limits a second.
        DeliveryError: a secret is missing, or the destination cannot be used; what was taken until then is recorded.
        EngineError: receipts could not be recorded; what they were for is sent again.
    """
    ledger = Control(engine, control)
    wall = _clock(now)
    check_plan(plan, query, ledger, now)
    run = new_name(now)
    left = intents.open_runs(ledger, plan.sync)
    asks = plan.counts["unknown"] > 0 and unsettled.can_be_asked(connector, target.destination)
    if not plan.rows and not left and not asks:
        return _Application(plan, query, ledger, run, now, wall, progress).nothing()
    approved = approval_of(plan, query, ledger, now) if plan.rows else None
    application = _Application(plan, query, ledger, run, now, wall, progress, approved)
    mask_keys = secrets.of_masks(query, sandbox=sandbox)
    opened = opening.connect(connector, target, run=run, sandbox=sandbox)
    sizes = {op: opened.batch_size(op) for op in OPS}
    for op in OPS:
        if chunks_of(plan, op) and sizes[op] < 1:
            fix = "declare how in the destination, or use another mode"
            raise DeliveryError(f"destination {plan.destination} cannot take {op} rows, and the plan has some", fix=fix)
    with leased(ledger, plan.sync, target.destination, opened, wall, patience) as held, guarded(target.egress) as refused:
        settling = intents.Settling(ledger, plan.sync, run, held, wall, opened, mask_keys)
        if not plan.rows:
            return application.settle(opened, settling, stop)
        return application.send(opened, held, mask_keys, sizes, refused, settling, stop)


def _clock(now: dt.datetime) -> Callable[[], dt.datetime]:
    """The wall clock from `now` on; setting the machine's clock while a run lasts does not change it."""
    start, begin = time.monotonic(), now.astimezone(dt.UTC)  # in a zone a sum would be an hour off when its clocks change
    return lambda: (begin + dt.timedelta(seconds=time.monotonic() - start)).astimezone(now.tzinfo)


def check_plan(plan: Plan, query: GovernedQuery, ledger: Control, now: dt.datetime) -> None:
    """Whether a plan still holds, as far as that can be said without the lease and of its approval.

    Args:
        plan: as stored.
        query: governed just now.
        ledger: the control tables.
        now: the wall clock.

    Raises:
        GuardError: it breaks a guard.
        RefusedError: the sync may by now only remove, or only others than the plan.
        StaleError: it is too old, was applied, or what it was decided on has changed.
    """
    again = f"run `cdp plan {plan.sync}` again"
    if stopping := acceptance.left(ledger, plan):
        raise GuardError(f"plan {plan.id} of {plan.sync} breaks {'; '.join(map(str, stopping))}", fix=guards.advice(stopping))
    if (plan.sync, plan.destination) != (query.sync.name, query.destination.name):
        raise StaleError(
            f"plan {plan.id} is one of {plan.sync} to {plan.destination}, not of {query.sync.name} to {query.destination.name}", fix=again
        )
    if not plan.created <= now < plan.expires:
        raise StaleError(f"plan {plan.id} was made {plan.created.isoformat()} and holds for 24 hours", fix=again, mends=True)
    if query.removals is not None and plan.removals not in (query.removals, "kept_out"):
        raise RefusedError(f"plan {plan.id} of {plan.sync}", query.refusals)
    if plan.removals == "everyone" and query.removals is None:
        raise StaleError(f"plan {plan.id} ends an agreement that is in force", fix=again, mends=True)
    if plan.fingerprint != query.fingerprint or plan.masks != masks_of(query):
        raise StaleError(f"plan {plan.id}: the policy has changed since it was made", fix=again, mends=True)
    if plan.model_sha256 != query.model_sha256 or tuple(plan.shape.names.values()) != query.columns:
        raise StaleError(f"plan {plan.id}: the models or the mappings have changed since it was made", fix=again, mends=True)
    _check_ledger(plan, ledger, now, again)


def check_unmoved(plan: Plan, ledger: Control) -> state.Known:
    """Whether nothing but removals was acknowledged since a plan was made; how far the state goes.

    A removal that became necessary while a plan waits for its approval is a plan of its own; it only subtracts from this one.

    Raises:
        StaleError: another run has told the destination something, or removed as this plan would.
    """
    at = state.known(ledger, plan.sync)
    if at.last != plan.base_seq and (plan.counts["remove"] or state.told_since(ledger, plan.sync, plan.base_seq)):
        again = f"run `cdp plan {plan.sync}` again"
        raise StaleError(f"plan {plan.id}: another run of {plan.sync} has delivered since it was made", fix=again, mends=True)
    return at


def _check_ledger(plan: Plan, ledger: Control, now: dt.datetime, again: str) -> None:
    plans = ledger.table("plans")
    statement = f"SELECT MAX(at) FROM {plans} WHERE sync = :sync AND plan = :plan AND event = 'applied'"
    if ledger.engine.value(statement, {"sync": plan.sync, "plan": plan.id}, what=plans):
        raise StaleError(f"plan {plan.id} was applied already", fix=again, mends=True)
    check_clock(ledger, now)


class _Application:
    """One run of a plan, between the checks that need no lease and the end."""

    def __init__(
        self,
        plan: Plan,
        query: GovernedQuery,
        ledger: Control,
        run: str,
        now: dt.datetime,
        wall: Callable[[], dt.datetime],
        progress: Progress | None,
        approved: Approved | None = None,
    ) -> None:
        self.plan, self.query, self.ledger, self.run, self.now, self.wall, self.progress = plan, query, ledger, run, now, wall, progress
        self.approved = approved
        self.table = rows_table(ledger, plan.id)
        self.withheld = 0
        self.outgoing: Outgoing | None = None
        self.secrets: Mapping[str, str] = {}

    def nothing(self, status: str = "nothing") -> Run:
        """An empty plan is done as soon as that is written down."""
        run = self._end(Tally(0), status, seq=self.plan.base_seq)
        if status == "nothing":
            self.ledger.maintain(self.plan.sync)
        return run

    def send(
        self,
        connector: Connector,
        held: lease.Lease,
        mask_keys: Mapping[str, bytes],
        sizes: Mapping[WireOp, int],
        refused: Refused,
        settling: intents.Settling,
        stop: Stop | None = None,
    ) -> Run:
        """Verify under the lease, settle what earlier runs left open, deliver, record the end."""
        at = self._verify()
        self.secrets = same_secret.marks(self.query, mask_keys)
        same_secret.check(self.ledger, self.query, at, self.secrets)
        sources.check(self.ledger.engine, self.query, self.wall())
        people = withheld.from_plan(self.ledger, self.plan, self.query, self.now, at.last)
        self.withheld = people.rows
        repeats = repeats_of(connector)
        self._record(0, "running", Tally(self.plan.rows), repeats=repeats)
        outgoing = self.outgoing = self._outgoing(connector, held, mask_keys, sizes, people)
        recorder = Recorder(self.ledger, held, self.plan, self.run, flush=connector.flush, wall=self.wall, progress=self.progress)
        accepted = acceptance.during(self.plan) in acceptance.accepted(self.ledger, self.plan)
        failing = guards.Failing(None if accepted else self.plan.max_failed, self.plan.sync)
        delivery = Delivery(connector, recorder, self.plan.destination, refused, failing)
        self._show(connector, recorder)

        def end() -> None:
            settling.pause.end()
            delivery.stop()

        async def work() -> None:
            async with connector:
                await accounts.check(connector, self.query.agreement.account, f"destination {self.plan.destination}")
                recorder.after(await self._settled(settling, at.open))
                await delivery.run(outgoing.parcels())

        try:
            run_loop(stoppable(end, work(), stop))
        except CdpError as error:
            with suppress(CdpError):  # the lakehouse may be what failed
                held.check()  # who lost the lease records nothing: who took it says how this run ended
                self._record(1, "failed", recorder.tally, error, open_rows=None, repeats=repeats)
            raise
        delivery.error = delivery.error or refused()
        run = self._end(recorder.tally, self._status(recorder.tally, delivery), delivery.error, recorder.last, repeats)
        with suppress(EngineError):  # folding only saves time; the next run does it as well
            state.fold(self.ledger, self.plan.sync, after=recorder.last, before=at, delivered=recorder.tally.delivered)
        if delivery.error:
            raise delivery.error
        if not delivery.stopped:  # who wants it to end does not wait for more
            self.ledger.maintain(self.plan.sync)
        return run

    def _outgoing(
        self,
        connector: Connector,
        held: lease.Lease,
        mask_keys: Mapping[str, bytes],
        sizes: Mapping[WireOp, int],
        people: withheld.Withheld,
    ) -> Outgoing:
        """What leaves in this run, and the lines of the ledger that are written before it does."""
        approver = self.approved.by if self.approved else None
        return Outgoing(
            self.ledger,
            self.plan,
            self.query,
            withheld=people.subjects,
            mask_keys=mask_keys,
            sizes=sizes,
            disclosures=Disclosures(self.ledger, self.query, self.run, self.plan.id, approver, self.wall),
            lease=held,
            allowance=Allowance.of(self.ledger, self.query, self.wall),
            encoded=getattr(connector, "encoded", None),
            repeats=repeats_of(connector),
            abreast=connector.concurrency,
        )

    def _show(self, connector: Connector, recorder: Recorder) -> None:
        """Let whoever looks see how many rows there are, and ask at any time what the run waits for."""
        asked: Callable[[], str | None] = getattr(connector, "waits", lambda: None)
        recorder.tally.waits = lambda: "receipts to be written" if recorder.full else asked()
        if self.progress:
            self.progress(recorder.tally)

    def settle(self, connector: Connector, settling: intents.Settling, stop: Stop | None = None) -> Run:
        """Settle what earlier runs left open, under a plan that sends nothing."""
        marks = same_secret.marks(self.query, settling.mask_keys)  # the channel is asked by keys in which the secret is
        same_secret.check(self.ledger, self.query, state.known(self.ledger, self.plan.sync), marks)

        async def work() -> None:
            async with connector:
                await accounts.check(connector, self.query.agreement.account, f"destination {self.plan.destination}")
                await self._settled(settling, intents.open_runs(self.ledger, self.plan.sync))

        run_loop(stoppable(settling.pause.end, work(), stop))
        return self.nothing("stopped" if settling.pause.ended else "nothing")

    async def _settled(self, settling: intents.Settling, opened: Sequence[intents.Open]) -> int:
        """Settle what is unknown and can be asked about, and what earlier runs left open; the last `seq` that was given."""
        seq = settling.lease.first_seq
        if self.plan.counts["unknown"]:
            seq = await unsettled.ask(settling)
        return await settling.run(seq, opened)

    def _verify(self) -> state.Known:
        """Nothing but removals was acknowledged since, and the plan is what was made; its rows are held to it when they are read.

        Returns:
            How far the state goes.
        """
        again = f"run `cdp plan {self.plan.sync}` again"
        at = check_unmoved(self.plan, self.ledger)
        if not self.ledger.engine.exists(self.table):
            raise StaleError(f"plan {self.plan.id}: its rows are gone, because it was applied or has expired", fix=again, mends=True)
        self.ledger.engine.register([self.table])
        if state.overtaken(self.ledger, self.plan.sync, at, self.table):
            said = f"plan {self.plan.id}: another run may have sent rows of it, or other changes of their people, since it was made"
            raise StaleError(said, fix=again, mends=True)
        if digest.total(self.plan.chunks, self.plan.facts()) != self.plan.digest:
            raise StaleError(f"plan {self.plan.id}: it is not what was planned", fix=again)
        return at

    def _status(self, tally: Tally, delivery: Delivery) -> str:
        if delivery.stopped:
            return "stopped"
        if tally.delivered + self.withheld + self._carried_over == tally.planned:
            return "succeeded"
        return "partial" if tally.delivered else "failed"

    @property
    def _carried_over(self) -> int:
        return self.outgoing.carried_over if self.outgoing else 0

    def _end(self, tally: Tally, status: str, error: CdpError | None = None, seq: int = 0, repeats: Repeats | None = None) -> Run:
        """Write how the run ended, at which receipt, and let the plan go: what is left is planned anew, from today's data."""
        result = self._record(1, status, tally, error, seq, repeats=repeats)
        body = {"run": self.run, "approved": self.approved.as_json() if self.approved else None}
        event = {"sync": self.plan.sync, "plan": self.plan.id, "event": "applied", "at": self.wall(), "actor": self.ledger.engine.whoami()}
        self.ledger.append("plans", [{**event, "digest": self.plan.digest, "body": json.dumps(body)}])
        with suppress(EngineError):
            self.ledger.engine.drop(self.table)
        return result

    def _record(
        self,
        n: int,
        status: str,
        tally: Tally,
        error: CdpError | None = None,
        seq: int = 0,
        *,
        open_rows: int | None = 0,
        repeats: Repeats | None = None,
    ) -> Run:
        """A row of the run. `open_rows`: put on the wire without a receipt; None where the run cannot tell."""
        left = tally.planned - tally.delivered - tally.rejected - tally.unknown - self.withheld - self._carried_over
        answers = (tally.delivered, tally.rejected, left, tally.unknown)
        result = Run(self.run, self.plan.id, self.plan.sync, *answers, self.withheld, self._carried_over, status)
        begun = {"secrets": self.secrets} if self.secrets else {}
        body = {"error": type(error).__name__, "message": error.message} if error else {"seq": seq} if n else begun
        row = {**result.as_json(), "n": n, "destination": self.plan.destination, "planned": tally.planned, "at": self.wall()}
        row |= {"open": open_rows if n else None, "repeats": repeats, "seq": seq if tally.answered else 0}
        self.ledger.append("runs", [{**row, "actor": self.ledger.engine.whoami(), "body": json.dumps(body)}])
        return result
