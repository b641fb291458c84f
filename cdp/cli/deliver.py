"""Planning and applying for the commands: each sync ends in facts to show, whatever happens to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cdp.cli import boundary, channel
from cdp.cli.boundary import Fault
from cdp.cli.names import known
from cdp.cli.session import Session
from cdp.errors import CdpError, UsageError

if TYPE_CHECKING:
    from cdp.sync.apply import Run
    from cdp.sync.plan import Plan


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


def make(session: Session, name: str) -> Plan:
    """Govern a sync and plan it, at the session's as_of and the wall clock of this moment."""
    from cdp.governance.decide import govern
    from cdp.sync.plan import make_plan

    now = session.now
    with session.out.progress(f"planning {name}"):
        query = govern(session.project, name, clock=session.clock, now=now)
        control, defaults = session.environment.control, session.project.config.guards
        return make_plan(query, session.engine, control, now=now.instant, as_of=session.clock.instant, defaults=defaults)


def deliver(session: Session, plan: Plan) -> Run:
    """Apply a plan; who may be told is decided again, at the wall clock of this moment."""
    from cdp import connectors
    from cdp.compile.clock import Clock
    from cdp.governance.decide import govern
    from cdp.sync.apply import apply_plan

    now, environment = session.now, session.environment
    as_of = Clock(plan.as_of.astimezone(ZoneInfo(session.project.timezone)))
    query = govern(session.project, plan.sync, clock=as_of, now=now)
    with session.out.progress(f"delivering {plan.sync}") as say:
        return apply_plan(
            plan,
            query,
            session.engine,
            environment.control,
            connectors.load(query.destination.connector),
            channel.target(query, environment, session.root),
            now=now.instant,
            sandbox=environment.sandbox,
            progress=lambda tally: say(f"delivering {plan.sync}: {tally.answered:,} of {tally.planned:,} rows answered"),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one sync: facts with stable keys, and the fault that ended it, if one did."""

    facts: dict[str, Any]
    fault: Fault | None = None

    def as_json(self) -> dict[str, Any]:
        """The facts as JSON, with `error` only where there is one."""
        return {**self.facts, "error": self.fault.as_json()} if self.fault else self.facts

    @property
    def undone(self) -> bool:
        """Whether a person or the next run must see to something. Rows that a channel rejects do not make it so."""
        return self.fault is not None or self.facts["retryable"] > 0 or self.facts["status"] in ("failed", "stopped")


def planned(session: Session, name: str) -> Outcome:
    """A sync's plan, or why there is none."""
    try:
        return Outcome(make(session, name).as_json())
    except Exception as error:  # one sync must not stop the others
        fault = boundary.fault(error, session.options.verbose)
        refusals = [refusal.as_json() for refusal in fault.refusals]
        return Outcome({"plan": None, "sync": name, "counts": None, "excluded": [], "refusals": refusals}, fault)


def synced(session: Session, name: str) -> Outcome:
    """A sync planned and applied, or how far it came."""
    try:
        plan = make(session, name)
    except Exception as error:  # one sync must not stop the others
        fault = boundary.fault(error, session.options.verbose)
        return Outcome(_no_run(name, None, "refused" if fault.refusals else "failed"), fault)
    return applied(session, plan)


def applied(session: Session, plan: Plan) -> Outcome:
    """A plan applied, or what was delivered until it failed."""
    try:
        return Outcome(deliver(session, plan).as_json())
    except Exception as error:  # one sync must not stop the others
        return Outcome(_run_of(session, plan), boundary.fault(error, session.options.verbose))


def _run_of(session: Session, plan: Plan) -> dict[str, Any]:
    """What is on record of a run that ended in an error; the lakehouse may be what failed."""
    from cdp.sync.history import list_runs

    try:
        runs = list_runs(session.engine, session.environment.control, sync=plan.sync, limit=1)
    except CdpError:
        runs = []
    empty = _no_run(plan.sync, plan.id, "failed")
    return next(({name: run[name] for name in empty} for run in runs if run["plan"] == plan.id), empty)


def _no_run(sync: str, plan: str | None, status: str) -> dict[str, Any]:
    return {"run": None, "plan": plan, "sync": sync, "delivered": 0, "rejected": 0, "retryable": 0, "withheld": 0, "status": status}
