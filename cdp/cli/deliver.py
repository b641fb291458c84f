"""Planning and delivering one sync for the commands, each decided at the wall clock of its moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cdp.cli import channel
from cdp.cli.bars import Line
from cdp.cli.names import known
from cdp.cli.session import Session
from cdp.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from cdp.compile.clock import Clock
    from cdp.governance.query import GovernedQuery, Removals
    from cdp.profile import Profile
    from cdp.sync.apply import Run
    from cdp.sync.basis import Basis
    from cdp.sync.guards import Violation
    from cdp.sync.plan import Plan
    from cdp.sync.stopping import Stop

WAIT = 150.0  # seconds, longer than a lease: of runs that were killed on another machine a schedule need not know


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
class Ready:
    """A sync that is governed, at which moment, and what a plan of it rests on."""

    query: GovernedQuery
    now: Clock
    basis: Basis | None


def govern_now(session: Session, name: str) -> Ready:
    """Govern a sync, at the session's as_of and the wall clock of this moment."""
    from cdp.governance.decide import govern
    from cdp.profile import phase
    from cdp.sync.basis import basis

    now = session.now
    with phase("govern"):
        query = govern(session.project, name, clock=session.clock, now=now, or_removals=True)
    session.permit("plan", purpose=query.sync.purpose)
    times = {"now": now.instant, "as_of": session.clock.instant}
    with phase("compare"):
        return Ready(query, now, basis(query, session.engine, **times, defaults=session.project.config.guards))


def make(session: Session, name: str, how: How, *, only: Removals | None = None, ready: Ready | None = None) -> tuple[Plan, GovernedQuery]:
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
    ready = ready or govern_now(session, name)
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
