"""Planning and applying for the commands: each sync ends in facts to show, whatever happens to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cdp.cli import boundary, channel
from cdp.cli.names import known
from cdp.cli.session import Session
from cdp.errors import UsageError

if TYPE_CHECKING:
    from cdp.sync.apply import Run
    from cdp.sync.plan import Plan


def chosen(session: Session, syncs: Sequence[str] | None, every: bool) -> list[str]:
    """The syncs that a command is about, in the order given.

    Raises:
        UsageError: none is named, or one is not declared.
    """
    declared = session.project.syncs
    if bool(syncs) == every:
        raise UsageError("name syncs, or say --all" if not syncs else "syncs are named, and --all is said", fix=f"one of: {', '.join(sorted(declared))}")
    known("sync", syncs or (), declared)
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


def planned(session: Session, name: str) -> dict[str, Any]:
    """A sync's plan as facts; a refusal or an error is one of them."""
    try:
        return make(session, name).as_json()
    except Exception as error:  # one sync must not stop the others
        fault = boundary.fault(error, session.options.verbose)
        return {"plan": None, "sync": name, "counts": None, "excluded": [], "refusals": fault["refusals"], "error": fault}


def applied(session: Session, plan: Plan) -> dict[str, Any]:
    """What came of a plan as facts; an error is one of them, beside what was delivered until then."""
    try:
        return deliver(session, plan).as_json()
    except Exception as error:  # one sync must not stop the others
        return {**_run_of(session, plan), "error": boundary.fault(error, session.options.verbose)}


def synced(session: Session, name: str) -> dict[str, Any]:
    """A sync planned and applied, as facts."""
    try:
        plan = make(session, name)
    except Exception as error:  # one sync must not stop the others
        fault = boundary.fault(error, session.options.verbose)
        return {**_no_run(name, None, "refused" if fault["refusals"] else "failed"), "error": fault}
    return applied(session, plan)


def failed(facts: dict[str, Any]) -> bool:
    """Whether a run leaves something undone that a person or the next run must see to. Rows that a channel rejects do not."""
    return "error" in facts or facts["retryable"] > 0 or facts["status"] in ("failed", "stopped")


def _run_of(session: Session, plan: Plan) -> dict[str, Any]:
    """What is on record of a run that ended in an error; the lakehouse may be what failed."""
    from cdp.errors import CdpError
    from cdp.sync.history import list_runs

    try:
        runs = list_runs(session.engine, session.environment.control, sync=plan.sync, limit=1)
    except CdpError:
        runs = []
    empty = _no_run(plan.sync, plan.id, "failed")
    return next(({name: run[name] for name in empty} for run in runs if run["plan"] == plan.id), empty)


def _no_run(sync: str, plan: str | None, status: str) -> dict[str, Any]:
    return {"run": None, "plan": plan, "sync": sync, "delivered": 0, "rejected": 0, "retryable": 0, "withheld": 0, "status": status}
