"""`cdp plan`, `cdp apply` and `cdp sync`: compute what would leave, look at it, deliver it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdp.cli.boundary import Fault
from cdp.cli.channel import accounts, sandboxes
from cdp.cli.command import command
from cdp.cli.deliver import Outcome, applied, chosen, noted, planned, synced
from cdp.cli.output import Output, moment
from cdp.cli.session import Session

if TYPE_CHECKING:
    from cdp.spec.activation import Destination

_SELDOM = ("skipped", "held_back")  # counts that are shown where there are some
_TAKEN_OFF = {
    "left": "whoever should no longer be there",
    "kept_out": "whom a rule keeps out; who else should not be there is not asked, for leaving the segment would tell of it",
    "everyone": "all that the destination holds",
}

OUTDATED = {  # `when_changed` of a purpose
    "keep": "those that nothing else changes stay as they are (when_changed: keep)",
    "resend": "they are sent again, where the mode changes rows (when_changed: resend)",
    "remove": "they are removed, where the mode does, and added anew by the next plan (when_changed: remove)",
}
Syncs = Annotated[list[str] | None, typer.Argument(metavar="SYNC", help="Syncs by name.")]
Every = Annotated[bool, typer.Option("--all", help="Every sync of the project; one that fails does not stop the others.")]


@command("cdp plan a1c_reminder_email", "cdp plan --all --json", "cdp plan a1c_reminder_email --as-of 2026-07-01", needs="plan")
def plan(session: Session, syncs: Syncs = None, every: Every = False) -> None:
    """Compute, store and show what a sync would send.

    Nothing leaves. Where the agreement names an account, the channel is asked whose account it is. A plan can be applied for
    24 hours, unless something moves. With --json one sync gives an object
    and several a list. The exit code is 1 when a sync is refused or fails.
    """
    names, outcomes = chosen(session, syncs, every), []
    with _channels(session, [destination for destination in _destinations(session, names) if _asked(session, destination)]):
        for name in names:
            outcomes.append(planned(session, name))
            if not session.out.as_json:
                if len(outcomes) > 1:
                    session.out.text()
                _show_plan(session.out, outcomes[-1])
    outcomes = noted(session, outcomes)
    if session.out.as_json:
        found = [outcome.as_json() for outcome in outcomes]
        session.out.json(found[0] if len(found) == 1 and not every else found)
    if any(outcome.fault for outcome in outcomes):
        raise typer.Exit(1)


@command("cdp apply PLAN", "cdp apply PLAN --json", needs="apply")
def apply(session: Session, plan: Annotated[str, typer.Argument(metavar="PLAN", help="As `cdp plan` names it.")]) -> None:
    """Deliver a stored plan.

    Who may be told is asked again, now. A plan that no longer holds, or that breaks a guard, is refused. The exit code
    is 1 when rows are left to send; rows that the channel rejects are reported, and do not make it 1.
    """
    from cdp.sync.plan import load_plan

    stored = load_plan(session.engine, session.environment.control, plan)
    destination = session.project.destinations.get(stored.destination)
    with _channels(session, [destination] if destination else []):
        _show_runs(session.out, noted(session, [applied(session, stored)]))


@command("cdp sync --all", "cdp sync a1c_reminder_email", "cdp sync --all --json --quiet", needs=("plan", "apply"))
def sync(session: Session, syncs: Syncs = None, every: Every = False) -> None:
    """Plan, check the guards, apply: what a schedule runs.

    Where an approval is needed, who must no longer be there is taken off at once and the rest is stored as a plan that
    awaits its approval.
    In a sandbox environment whose channel does not listen, one is started for the run. The exit code is 1 when a sync
    is refused, fails, awaits an approval, or leaves rows to send; rows that the channel rejects are reported, and do not make it 1.
    """
    names = chosen(session, syncs, every)
    outcomes: list[Outcome] = []
    with _channels(session, _destinations(session, names)):
        for name in names:
            outcomes.append(synced(session, name))
            if outcomes[-1].facts["status"] == "stopped":
                break
    _show_runs(session.out, noted(session, outcomes))


def _destinations(session: Session, syncs: Sequence[str]) -> list[Destination]:
    return [session.project.destinations[session.project.syncs[name].destination] for name in syncs]


def _asked(session: Session, destination: Destination) -> bool:
    """Whether the channel is asked whose account it is, which a plan does already."""
    agreement = session.project.policy.agreements.get(destination.baa or "")
    return agreement is not None and agreement.account is not None


def _channels(session: Session, destinations: Sequence[Destination]) -> AbstractContextManager[None]:
    """The sandbox channels of a run, which answer as the agreements say."""
    answers = accounts(session.project, session.environment)
    return sandboxes(destinations, session.environment, session.root, session.out, answers)


def _show_plan(out: Output, outcome: Outcome) -> None:
    if outcome.fault:
        outcome.fault.say()
    facts = outcome.facts
    if facts["plan"] is None:
        return None
    out.text(f"plan {facts['plan']}: {facts['sync']} to {facts['destination']}, as of {moment(facts['as_of'])}")
    if facts["removals_only"]:
        out.text(f"it only removes: {_TAKEN_OFF[facts['removals']]}")
    counts = [(name.replace("_", " "), count) for name, count in facts["counts"].items() if count or name not in _SELDOM]
    left_out = [(f"left out: {entry['rule']}", entry["count"]) for entry in facts["excluded"]]
    asked = [*left_out, ("in the segment", facts["size"])] if facts["removals"] in (None, "left") else []
    out.table(("", "people"), [*counts, *asked])
    show_withheld(out, facts["withheld_rows"])
    if outdated := facts["outdated"]:
        out.text(f"{outdated:,} rows went out under an older decision: {OUTDATED[facts['when_changed']]}")
    for guard in facts["guards"]:
        out.text(f"breaks the guard {guard['guard']}: {guard['limit']}, found {guard['found']}")
    changes = sum(facts["counts"][op] for op in ("add", "change", "remove"))
    if facts["guards"]:
        return out.text("so it cannot be applied; if it is right, change the guard in the sync's YAML and plan again")
    if changes and facts["needs_approval"]:
        out.text(f"it needs an approval ({', '.join(facts['needs_approval'])}) of {facts['approvers']}")
        out.text(f"approve it: cdp approve {facts['plan']}")
    return out.text(f"deliver it: cdp apply {facts['plan']}" if changes else "nothing to deliver")


def show_withheld(out: Output, rows: Sequence[Mapping[str, Any]] | None) -> None:
    """The special rows that a sync did not read."""
    if rows:
        out.text("\nnot read, because the receiver may not know of them (governance/rows.yml)")
        out.table(("class", "table", "rows"), [[each["class"], each["table"], each["rows"]] for each in rows])


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
    """What went of a sync that is refused, what a channel did not take, and where its answers stand."""
    if facts["status"] == "refused" and facts["delivered"]:
        out.note(f"{facts['sync']}: is refused; {facts['delivered']:,} removals went all the same: cdp runs {facts['run']}")
    for each in facts["withheld_rows"]:
        out.note(f"{facts['sync']}: {each['rows']:,} rows of {each['table']} were not read: {each['class']}")
    left = {"rejected by the channel": facts["rejected"], "left for the next run": facts["retryable"]}
    said = [f"{count:,} {what}" for what, count in left.items() if count]
    if said:
        out.note(f"{facts['sync']}: {', '.join(said)}; what it answered: cdp runs {facts['run']}")
