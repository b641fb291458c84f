"""One sync from its plan to its end: whatever happens to it, it ends in an outcome, and others go on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cdp.cli import boundary
from cdp.cli.deliver import How, Ready, accept, deliver, govern_now, make
from cdp.cli.outcome import AWAITING, COUNTS, PUT_OFF, Outcome, failed, no_run, refusal
from cdp.cli.session import Session
from cdp.errors import ApprovalError, BusyError, CdpError, StaleError

if TYPE_CHECKING:
    from cdp.governance.query import GovernedQuery, Removals
    from cdp.sync.guards import Violation
    from cdp.sync.plan import Plan


def planned(session: Session, name: str, how: How) -> Outcome:
    """A sync's plan, or why there is none."""
    try:
        plan, query = make(session, name, how)
        stopped_by = [violation.as_json() for violation in accept(session, plan, query, how)]
        return Outcome({**plan.as_json(), "stopped_by": stopped_by, "approvers": _approvers(plan, query)}, refusal(plan))
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
    taken, rest = _in_turn(session, name, how)
    if rest.stale and rest.fault is not None and session.project.syncs[name].stale == "replan":
        session.out.note(f"{name}: {rest.fault.message}; it is planned once more (stale: replan)")
        more, rest = _in_turn(session, name, replace(how, skip=False, accept=()))  # guards are accepted of one plan
        taken = _both(taken, more) if more else taken
    return _both(taken, rest)


def _in_turn(session: Session, name: str, how: How) -> tuple[Outcome | None, Outcome]:
    """What came of trying, again and again while other runs take the sync between our wait for it and our turn, until the time is over.

    Whoever was first has delivered: what is left is planned anew.
    """
    end = time.monotonic() + how.wait
    taken, rest = _tried(session, name, how)
    while rest.busy and not how.stopped and (left := end - time.monotonic()) > 0:
        more, rest = _tried(session, name, replace(how, wait=left, accept=()))
        taken = _both(taken, more) if more else taken
    return taken, rest


def _tried(session: Session, name: str, how: How) -> tuple[Outcome | None, Outcome]:
    """The removals that went first, and what came of the rest. Of a sync that waits for an approval only the removals go."""
    taken = None
    try:
        ready = govern_now(session, name)
        if how.skip and (skipped := _skipped(session, ready)):
            return None, skipped
        if _waited(session, name, how):  # for a run that has changed what the sync is compared with
            ready = govern_now(session, name)
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


def _skipped(session: Session, ready: Ready) -> Outcome | None:
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
    facts = {**no_run(ready.query.sync.name, found.plan, "nothing"), "run": run, "unchanged_since": found.run}
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
    """Removals that went first, and what came of the rest, as one: the counts of both, the last run, and those before it."""
    if removals is None:
        return rest
    if rest.facts["status"] == "nothing":
        return removals
    added = {name: removals.facts[name] + rest.facts[name] for name in COUNTS}
    runs = [run for each in (removals, rest) for run in (*each.facts.get("earlier_runs", ()), each.facts["run"]) if run]
    earlier = {"earlier_runs": runs[:-1]} if runs[:-1] else {}
    return Outcome({**rest.facts, **added, **earlier, "run": runs[-1] if runs else None}, rest.fault)


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
        return Outcome(no_run(plan.sync, plan.id, "stopped"))
    if plan.refusals and not plan.rows and not plan.guards:
        return Outcome(no_run(plan.sync, plan.id, "refused"), refusal(plan))
    try:
        facts = deliver(session, plan, how).as_json()
        done = plan.refusals and facts["status"] == "succeeded"
        return Outcome({**facts, "status": "refused"} if done else facts, refusal(plan))
    except ApprovalError as error:
        return Outcome(no_run(plan.sync, plan.id, AWAITING), boundary.fault(error))
    except Exception as error:  # one sync must not stop the others
        stale = isinstance(error, StaleError) and error.mends
        busy = isinstance(error, BusyError) and error.before
        return Outcome(_run_of(session, plan), boundary.fault(error, session.options.verbose), stale, busy)


def _run_of(session: Session, plan: Plan) -> dict[str, Any]:
    """What is on record of a run that ended in an error; the lakehouse may be what failed."""
    from cdp.sync.history import list_runs

    try:
        runs = list_runs(session.engine, session.environment.control, sync=plan.sync, limit=1)
    except CdpError:
        runs = []
    empty = no_run(plan.sync, plan.id, "failed")
    return next(({name: run[name] for name in empty} for run in runs if run["plan"] == plan.id), empty)
