"""Planning and applying for the commands: each sync ends in facts to show, whatever happens to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cdp.cli import boundary, channel
from cdp.cli.bars import Line
from cdp.cli.boundary import Fault
from cdp.cli.names import known
from cdp.cli.session import Session
from cdp.errors import ApprovalError, CdpError, RefusedError, StaleError, UsageError

if TYPE_CHECKING:
    from cdp.compile.clock import Clock
    from cdp.governance.query import GovernedQuery, Removals
    from cdp.profile import Profile
    from cdp.sync.apply import Run
    from cdp.sync.guards import Violation
    from cdp.sync.plan import Plan
    from cdp.sync.stopping import Stop
    from cdp.sync.unchanged import Basis

COUNTS = ("delivered", "rejected", "retryable", "unknown", "withheld", "carried_over")  # of a run, in the order in which they are shown
PUT_OFF = {  # counts of a plan that are not sent now, and what is said of them
    "waiting": "rejected before, and tried again later",
    "given_up": "rejected too often or for good, until they change",
    "unknown": "perhaps there already, until cdp resync has settled it",
    "carried_over": "beyond the destination's cap of the day",
    "dropped": "left out because they do not meet what the sync expects (quality)",
    "removals_waiting": "to be removed, rejected before, and tried again within a day",
}
WAIT = 150.0  # seconds, longer than a lease: of runs that were killed on another machine a schedule need not know
AWAITING = "awaiting approval"  # the status of a plan that is stored, and goes out once somebody has approved it


def chosen(session: Session, syncs: Sequence[str] | None, every: bool) -> list[str]:
    """The syncs that a command is about, in the order given.

    Raises:
        UsageError: none is named, one is not declared, or --env or --as-of cannot be.
    """
    declared = session.project.syncs
    if bool(syncs) == every:
        said = "both named syncs and --all are given" if syncs else "no sync is named"
        raise UsageError(said, fix=f"name some of {', '.join(sorted(declared)) or '(none declared)'}; or say --all")
    known("sync", syncs or (), declared)
    _ = session.environment, session.clock  # what --env or --as-of cannot mean is a wrong call, not a failed sync
    return list(dict.fromkeys(syncs)) if syncs else sorted(declared)


@dataclass(frozen=True, slots=True)
class How:
    """How a sync is run: what the command line asks of all of its syncs, and who is told how far one is.

    Attributes:
        line: shows its progress.
        stop: ends the delivery cleanly, for one of several syncs; None where signals do that by themselves.
        wait: seconds to wait for another run of the same sync, or for another process at a destination with limits.
        skip: a sync of which nothing has changed since its last run is not planned.
        profile: where the time went until the syncs began; each goes on from there. None: nobody asks.
        accept: the guards that are accepted, with what is found, where a plan breaks them.
    """

    line: Line = field(default_factory=Line)
    stop: Stop | None = None
    wait: float = WAIT
    skip: bool = True
    profile: Profile | None = None
    accept: tuple[str, ...] = ()

    @property
    def stopped(self) -> bool:
        """Whether nothing new should begin."""
        return self.stop is not None and self.stop.asked


@dataclass(frozen=True, slots=True)
class _Ready:
    """A sync that is governed, at which moment, and what a plan of it rests on."""

    query: GovernedQuery
    now: Clock
    basis: Basis | None


def _ready(session: Session, name: str) -> _Ready:
    """Govern a sync, at the session's as_of and the wall clock of this moment."""
    from cdp.governance.decide import govern
    from cdp.profile import phase
    from cdp.sync.unchanged import basis

    now = session.now
    with phase("govern"):
        query = govern(session.project, name, clock=session.clock, now=now, or_removals=True)
    session.permit("plan", purpose=query.sync.purpose)
    times = {"now": now.instant, "as_of": session.clock.instant}
    with phase("compare"):
        return _Ready(query, now, basis(query, session.engine, **times, defaults=session.project.config.guards))


def make(session: Session, name: str, how: How, *, only: Removals | None = None, ready: _Ready | None = None) -> tuple[Plan, GovernedQuery]:
    """Govern a sync and plan it, at the session's as_of and the wall clock of this moment.

    Of a sync that is refused but may still remove, a plan that says why it does nothing else.

    Args:
        session: of the command.
        name: the sync.
        how: what the command line asks.
        only: hold additions and changes back, and remove no others.
        ready: the sync as it was governed just now, where it was.
    """
    from cdp import connectors
    from cdp.profile import phase
    from cdp.sync.opening import confirm
    from cdp.sync.planning import make_plan

    how.line.say("planning")
    ready = ready or _ready(session, name)
    query, control, defaults = ready.query, session.environment.control, session.project.config.guards
    times = {"now": ready.now.instant, "as_of": session.clock.instant}
    with phase("plan"):
        plan = make_plan(query, session.engine, control, **times, defaults=defaults, only=only, basis=ready.basis)
    if plan.rows:  # before anybody looks at the plan: that it would not go to somebody else
        target = channel.target(query, session.environment, session.root)
        confirm(query, connectors.load(query.destination.connector), target, sandbox=session.environment.sandbox)
    return plan, query


def again(session: Session, plan: Plan, now: Clock) -> GovernedQuery:
    """The sync of a plan, governed anew for the plan's as_of at the wall clock `now`."""
    from cdp.compile.clock import Clock
    from cdp.governance.decide import govern

    as_of = Clock(plan.as_of.astimezone(ZoneInfo(session.project.timezone)))
    return govern(session.project, plan.sync, clock=as_of, now=now, or_removals=True)


def deliver(session: Session, plan: Plan, how: How) -> Run:
    """Apply a plan; who may be told is decided again, at the wall clock of this moment."""
    from cdp import connectors
    from cdp.profile import phase
    from cdp.sync.apply import apply_plan
    from cdp.sync.exclusive import Patience

    now, environment = session.now, session.environment
    query = again(session, plan, now)
    session.permit("apply", purpose=query.sync.purpose)
    how.line.say("delivering")
    accept(session, plan, query, how)
    with phase("apply"):
        return apply_plan(
            plan,
            query,
            session.engine,
            environment.control,
            connectors.load(query.destination.connector),
            channel.target(query, environment, session.root),
            now=now.instant,
            sandbox=environment.sandbox,
            progress=how.line.tally,
            stop=how.stop,
            patience=Patience(how.wait, how.line.say, how.stop),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one sync: facts with stable keys, and the fault that ended it, if one did.

    `stale`: something had moved since the plan, before anything of it went; a new plan mends that.
    """

    facts: dict[str, Any]
    fault: Fault | None = None
    stale: bool = False

    def as_json(self) -> dict[str, Any]:
        """The facts as JSON, with `error` only where there is one."""
        return {**self.facts, "error": self.fault.as_json()} if self.fault else self.facts

    @property
    def undone(self) -> bool:
        """Whether a person or the next run must see to something. Rows that a channel rejects do not make it so."""
        left = self.facts["retryable"] + self.facts["unknown"]
        return self.fault is not None or left > 0 or self.facts["status"] in ("failed", "stopped")


def accept(session: Session, plan: Plan, query: GovernedQuery, how: How) -> tuple[Violation, ...]:
    """Put on record which guards of a plan this command accepts, where it names some and they are open; those that are left.

    Raises:
        RefusedError: whoever runs it may not accept, or somebody may not any more who has accepted.
    """
    from cdp.governance.access import refused
    from cdp.sync import acceptance
    from cdp.sync.ledger import Control

    control = Control(session.engine, session.environment.control)
    if found := acceptance.pending(control, plan, how.accept):
        session.permit("accept", purpose=query.sync.purpose)
        acceptance.accept(control, plan, found, session.now.instant)
    people = acceptance.people(control, plan)
    if lost := [why for person in people if (why := refused(session.project, person, "accept", query.sync.purpose))]:
        raise RefusedError(f"the guards of plan {plan.id} as accepted", lost)
    return acceptance.left(control, plan)


def planned(session: Session, name: str, how: How) -> Outcome:
    """A sync's plan, or why there is none."""
    try:
        plan, query = make(session, name, how)
        stopped_by = [violation.as_json() for violation in accept(session, plan, query, how)]
        return Outcome({**plan.as_json(), "stopped_by": stopped_by, "approvers": _approvers(plan, query)}, _refusal(plan))
    except Exception as error:  # one sync must not stop the others
        fault = boundary.fault(error, session.options.verbose)
        refusals = [refusal.as_json() for refusal in fault.refusals]
        return Outcome({"plan": None, "sync": name, "counts": None, "excluded": [], "refusals": refusals}, fault)


def synced(session: Session, name: str, how: How) -> Outcome:
    """A sync planned and applied, or how far it came; with where the time went, if somebody asks."""
    from cdp.profile import profiling

    if how.profile is None:
        return _synced(session, name, how)
    profile = how.profile.copy()
    with profiling(profile):
        outcome = _synced(session, name, how)
    return replace(outcome, facts={**outcome.facts, "profile": profile.as_json()})


def _synced(session: Session, name: str, how: How) -> Outcome:
    """A sync planned and applied, or how far it came; a plan that went stale in between is made anew once, where the sync says so."""
    taken, rest = _tried(session, name, how)
    if rest.stale and rest.fault is not None and session.project.syncs[name].stale == "replan":
        session.out.note(f"{name}: {rest.fault.message}; it is planned once more (stale: replan)")
        more, rest = _tried(session, name, replace(how, skip=False))
        taken = _both(taken, more) if more else taken
    return _both(taken, rest)


def _tried(session: Session, name: str, how: How) -> tuple[Outcome | None, Outcome]:
    """The removals that went first, and what came of the rest. Of a sync that waits for an approval only the removals go."""
    taken = None
    try:
        ready = _ready(session, name)
        if how.skip and (skipped := _skipped(session, ready)):
            return None, skipped
        if _waited(session, name, how):  # for a run that has changed what the sync is compared with
            ready = _ready(session, name)
        plan, query = make(session, name, how, ready=ready)
        if first := _goes_first(plan, accept(session, plan, query, how)):
            taken = applied(session, make(session, name, how, only=first)[0], how)
            if taken.undone:
                return None, taken
            plan, _ = make(session, name, how)
    except Exception as error:  # one sync must not stop the others
        return taken, failed(name, boundary.fault(error, session.options.verbose))
    return taken, applied(session, plan, how)


def _waited(session: Session, name: str, how: How) -> bool:
    """Wait until no other run applies the sync; whether there was one."""
    from cdp.sync import lease
    from cdp.sync.ledger import Control

    control = Control(session.engine, session.environment.control)
    return lease.wait(control, name, lambda: session.now.instant, how.wait, how.line.say, lambda: how.stopped)


def _skipped(session: Session, ready: _Ready) -> Outcome | None:
    """A sync that has nothing to do since its last run, put on record; None when it has to be planned."""
    from cdp.profile import phase
    from cdp.sync import unchanged
    from cdp.sync.ledger import Control

    control = Control(session.engine, session.environment.control)
    with phase("compare"):
        found = unchanged.since(control, ready.query, ready.basis)
        if found is None:
            return None
        run = unchanged.skip(control, ready.query, found, ready.now.instant)
    facts = {**_no_run(ready.query.sync.name, found.plan, "nothing"), "run": run, "unchanged_since": found.run}
    return Outcome({**facts, "withheld_rows": list(found.withheld_rows), "put_off": {}})


def _goes_first(plan: Plan, stopping: Sequence[Violation]) -> Removals | None:
    """Who is taken off before the rest waits, given the guards that stop the plan.

    For an approval, or for rows that do not meet what the sync expects, whoever should no longer be there; where a guard stops the
    plan, which may have been about that, only whom a rule keeps out.
    """
    from cdp.sync.guards import QUALITY

    if not plan.counts["remove"] or plan.removals in ("everyone", "kept_out"):
        return None
    if any(violation.guard != QUALITY for violation in stopping):
        return "kept_out"
    return "left" if stopping or plan.needs_approval else None


def _both(removals: Outcome | None, rest: Outcome) -> Outcome:
    """Removals that went first, and what came of the rest, as one."""
    if removals is None:
        return rest
    if rest.facts["status"] == "nothing":
        return removals
    added = {name: removals.facts[name] + rest.facts[name] for name in COUNTS}
    return Outcome({**rest.facts, **added, "run": rest.facts["run"] or removals.facts["run"]}, rest.fault)


def noted(session: Session, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes with what each sync rests on that ends soon (`warnings`); a person reads each of them once."""
    from cdp.governance.notices import of_sync

    found = []
    for outcome in outcomes:
        name = outcome.facts["sync"]
        endings = of_sync(session.project, name, session.now.day) if name in session.project.syncs else ()
        found.append(replace(outcome, facts={**outcome.facts, "warnings": [ending.as_json() for ending in endings]}))
    for message in dict.fromkeys(each["message"] for outcome in found for each in outcome.facts["warnings"]):
        session.out.note(f"warning: {message}")
    return found


def _approvers(plan: Plan, query: GovernedQuery) -> str | None:
    """Who may approve a plan; None where it needs no approval."""
    from cdp.sync.approval import who

    return who(query.approval, plan.planned_by) if query.approval and plan.needs_approval else None


def applied(session: Session, plan: Plan, how: How) -> Outcome:
    """A plan applied, or what was delivered until it failed; with the rows that it did not read, and those that it put off."""
    outcome, put_off = _applied(session, plan, how), {why: count for why in PUT_OFF if (count := plan.counts[why])}
    return replace(outcome, facts={**outcome.facts, "withheld_rows": plan.as_json()["withheld_rows"], "put_off": put_off})


def _applied(session: Session, plan: Plan, how: How) -> Outcome:
    """What came of applying. A sync that was refused stays so when its removals went."""
    if how.stopped:
        return Outcome(_no_run(plan.sync, plan.id, "stopped"))
    if plan.refusals and not plan.rows and not plan.guards:
        return Outcome(_no_run(plan.sync, plan.id, "refused"), _refusal(plan))
    try:
        facts = deliver(session, plan, how).as_json()
        done = plan.refusals and facts["status"] == "succeeded"
        return Outcome({**facts, "status": "refused"} if done else facts, _refusal(plan))
    except ApprovalError as error:
        return Outcome(_no_run(plan.sync, plan.id, AWAITING), boundary.fault(error))
    except Exception as error:  # one sync must not stop the others
        stale = isinstance(error, StaleError) and error.mends
        return Outcome(_run_of(session, plan), boundary.fault(error, session.options.verbose), stale)


def _refusal(plan: Plan) -> Fault | None:
    """Why a plan does nothing but remove, where governance says so."""
    return boundary.fault(RefusedError(f"sync {plan.sync}", plan.refusals)) if plan.refusals else None


def _run_of(session: Session, plan: Plan) -> dict[str, Any]:
    """What is on record of a run that ended in an error; the lakehouse may be what failed."""
    from cdp.sync.history import list_runs

    try:
        runs = list_runs(session.engine, session.environment.control, sync=plan.sync, limit=1)
    except CdpError:
        runs = []
    empty = _no_run(plan.sync, plan.id, "failed")
    return next(({name: run[name] for name in empty} for run in runs if run["plan"] == plan.id), empty)


def failed(sync: str, fault: Fault) -> Outcome:
    """Of a sync of which nothing was sent, and why."""
    return Outcome({**_no_run(sync, None, "refused" if fault.refusals else "failed"), "withheld_rows": [], "put_off": {}}, fault)


def not_begun(sync: str) -> Outcome:
    """Of a sync that was to run, before somebody stopped the command."""
    return Outcome({**_no_run(sync, None, "stopped"), "withheld_rows": [], "put_off": {}})


def _no_run(sync: str, plan: str | None, status: str) -> dict[str, Any]:
    counts = dict.fromkeys(COUNTS, 0)
    return {"run": None, "plan": plan, "sync": sync, **counts, "status": status}
