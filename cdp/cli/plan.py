"""`cdp plan`, `cdp apply` and `cdp sync`: compute what would leave, look at it, deliver it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from cdp.cli.boundary import Fault
from cdp.cli.channel import sandboxes
from cdp.cli.command import command
from cdp.cli.deliver import Outcome, applied, chosen, planned, synced
from cdp.cli.output import Output, moment
from cdp.cli.session import Session

Syncs = Annotated[list[str] | None, typer.Argument(metavar="SYNC", help="Syncs by name.")]
Every = Annotated[bool, typer.Option("--all", help="Every sync of the project; one that fails does not stop the others.")]


@command("cdp plan a1c_reminder_email", "cdp plan --all --json", "cdp plan a1c_reminder_email --as-of 2026-07-01")
def plan(session: Session, syncs: Syncs = None, every: Every = False) -> None:
    """Compute, store and show what a sync would send.

    Nothing leaves. A plan can be applied for 24 hours, unless something moves. With --json one sync gives an object
    and several a list. The exit code is 1 when a sync is refused or fails.
    """
    outcomes = []
    for name in chosen(session, syncs, every):
        outcomes.append(planned(session, name))
        if not session.out.as_json:
            if len(outcomes) > 1:
                session.out.text()
            _show_plan(session.out, outcomes[-1])
    if session.out.as_json:
        found = [outcome.as_json() for outcome in outcomes]
        session.out.json(found[0] if len(found) == 1 and not every else found)
    if any(outcome.fault for outcome in outcomes):
        raise typer.Exit(1)


@command("cdp apply PLAN", "cdp apply PLAN --json")
def apply(session: Session, plan: Annotated[str, typer.Argument(metavar="PLAN", help="As `cdp plan` names it.")]) -> None:
    """Deliver a stored plan.

    Who may be told is asked again, now. A plan that no longer holds, or that breaks a guard, is refused. The exit code
    is 1 when rows are left to send; rows that the channel rejects are reported, and do not make it 1.
    """
    from cdp.sync.plan import load_plan

    stored = load_plan(session.engine, session.environment.control, plan)
    destination = session.project.destinations.get(stored.destination)
    with sandboxes([destination] if destination else [], session.environment, session.root, session.out):
        _show_runs(session.out, [applied(session, stored)])


@command("cdp sync --all", "cdp sync a1c_reminder_email", "cdp sync --all --json --quiet")
def sync(session: Session, syncs: Syncs = None, every: Every = False) -> None:
    """Plan, check the guards, apply: what a schedule runs.

    In a sandbox environment whose channel does not listen, one is started for the run. The exit code is 1 when a sync
    is refused, fails, or leaves rows to send; rows that the channel rejects are reported, and do not make it 1.
    """
    names = chosen(session, syncs, every)
    destinations = [session.project.destinations[session.project.syncs[name].destination] for name in names]
    outcomes: list[Outcome] = []
    with sandboxes(destinations, session.environment, session.root, session.out):
        for name in names:
            outcomes.append(synced(session, name))
            if outcomes[-1].facts["status"] == "stopped":
                break
    _show_runs(session.out, outcomes)


def _show_plan(out: Output, outcome: Outcome) -> None:
    if outcome.fault:
        return outcome.fault.say()
    facts = outcome.facts
    out.text(f"plan {facts['plan']}: {facts['sync']} to {facts['destination']}, as of {moment(facts['as_of'])}")
    counts = [(name, count) for name, count in facts["counts"].items() if count or name != "skipped"]
    left_out = [(f"left out: {entry['rule']}", entry["count"]) for entry in facts["excluded"]]
    out.table(("", "people"), [*counts, *left_out, ("in the segment", facts["size"])])
    for guard in facts["guards"]:
        out.text(f"breaks the guard {guard['guard']}: {guard['limit']}, found {guard['found']}")
    changes = sum(facts["counts"][op] for op in ("add", "change", "remove"))
    if facts["guards"]:
        return out.text("so it cannot be applied; if it is right, change the guard in the sync's YAML and plan again")
    return out.text(f"deliver it: cdp apply {facts['plan']}" if changes else "nothing to deliver")


def _show_runs(out: Output, outcomes: Sequence[Outcome]) -> None:
    if out.as_json:
        out.json([outcome.as_json() for outcome in outcomes])
    else:
        columns = ("sync", "status", "delivered", "rejected", "retryable", "withheld", "run")
        out.table(columns, [[outcome.facts[column] for column in columns] for outcome in outcomes])
        _show_faults(outcomes)
        for outcome in outcomes:
            _show_rest(out, outcome.facts)
    if any(outcome.undone for outcome in outcomes):
        raise typer.Exit(1)


def _show_faults(outcomes: Sequence[Outcome]) -> None:
    """Each fault once, with the syncs that it ended where there are several."""
    ended: dict[str, tuple[Fault, list[str]]] = {}
    for outcome in outcomes:
        if outcome.fault:
            ended.setdefault(outcome.fault.text, (outcome.fault, []))[1].append(outcome.facts["sync"])
    for fault, syncs in ended.values():
        fault.say(syncs if len(outcomes) > 1 else ())


def _show_rest(out: Output, facts: Mapping[str, Any]) -> None:
    """What a channel did not take, and where its answers stand."""
    left = {"rejected by the channel": facts["rejected"], "left for the next run": facts["retryable"]}
    said = [f"{count:,} {what}" for what, count in left.items() if count]
    if said:
        out.note(f"{facts['sync']}: {', '.join(said)}; what it answered: cdp runs {facts['run']}")
