"""`cdp plan`, `cdp apply` and `cdp sync`: compute what would leave, look at it, deliver it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.bars import lines
from cdp.cli.channel import accounts, sandboxes
from cdp.cli.command import command
from cdp.cli.deliver import WAIT, How, chosen
from cdp.cli.names import known
from cdp.cli.outcome import Outcome, noted
from cdp.cli.report import ReportFile, prepare
from cdp.cli.report import report as write_report
from cdp.cli.results import show_plan, show_runs
from cdp.cli.session import Session
from cdp.cli.synced import applied, planned
from cdp.cli.together import JOBS, run

if TYPE_CHECKING:
    from cdp.spec.activation import Destination

Syncs = Annotated[list[str] | None, typer.Argument(metavar="SYNC", help="Syncs by name.")]
Every = Annotated[bool, typer.Option("--all", help="Every sync of the project; one that fails does not stop the others.")]
Jobs = Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="How many syncs run side by side, each on its own.")]
WhereTo = Annotated[bool, typer.Option("--profile", help="Show where the time went.")]
Wait = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for another run of the same sync; 0 refuses at once."),
]
Accept = Annotated[
    list[str] | None,
    typer.Option("--accept-guard", metavar="NAME", help="Accept what this guard finds, on record; by a role that may. May be repeated."),
]
NoSkip = Annotated[bool, typer.Option("--no-skip", help="Plan also what nothing has changed of since its last run.")]


@command("cdp plan a1c_reminder_email", "cdp plan --all --json", "cdp plan a1c_reminder_email --as-of 2026-07-01", needs="plan")
def plan(session: Session, syncs: Syncs = None, every: Every = False, accept_guard: Accept = None) -> None:
    """Compute, store and show what a sync would send.

    Nothing leaves. Where the agreement names an account, the channel is asked whose account it is. A plan can be applied for
    24 hours, unless something moves. With --json one sync gives an object
    and several a list. The exit code is 1 when a sync is refused, fails, or has a plan that a guard or an expectation stops.
    """
    names, accept, outcomes = chosen(session, syncs, every), _accepted(session, accept_guard), []
    with _channels(session, [destination for destination in _destinations(session, names) if _asked(session, destination)]):
        for name in names:
            with lines(session.out, [name]) as line_of:
                outcomes.append(planned(session, name, How(line_of(name), accept=accept)))
            if not session.out.as_json:
                if len(outcomes) > 1:
                    session.out.text()
                show_plan(session.out, outcomes[-1])
    outcomes = noted(session, outcomes)
    if session.out.as_json:
        found = [outcome.as_json() for outcome in outcomes]
        session.out.json(found[0] if len(found) == 1 and not every else found)
    if any(outcome.fault or outcome.facts.get("stopped_by") for outcome in outcomes):
        raise typer.Exit(1)


@command("cdp apply PLAN", "cdp apply PLAN --json", needs="apply")
def apply(
    session: Session,
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="As `cdp plan` names it.")],
    accept_guard: Accept = None,
    report: ReportFile = None,
) -> None:
    """Deliver a stored plan.

    Who may be told is asked again, now. A plan that no longer holds, or that breaks a guard that nobody has accepted, is
    refused. The exit code is 1 when rows are left to send; rows that the channel rejects are reported, and do not make it 1.
    """
    from cdp.sync.plan import load_plan

    accept = _accepted(session, accept_guard)
    prepare(session, report)
    stored = load_plan(session.engine, session.environment.control, plan)
    destination = session.project.destinations.get(stored.destination)
    with _channels(session, [destination] if destination else []):
        with lines(session.out, [stored.sync]) as line_of:
            outcome = applied(session, stored, How(line_of(stored.sync), accept=accept))
        _told(session, [outcome], report)


@command("cdp sync --all", "cdp sync a1c_reminder_email", "cdp sync --all --jobs 8 --json --quiet", needs=("plan", "apply"))
def sync(
    session: Session,
    syncs: Syncs = None,
    every: Every = False,
    jobs: Jobs = JOBS,
    wait: Wait = WAIT,
    no_skip: NoSkip = False,
    profile: WhereTo = False,
    accept_guard: Accept = None,
    report: ReportFile = None,
) -> None:
    """Plan, check the guards, apply: what a schedule runs.

    Where an approval is needed, who must no longer be there is taken off at once and the rest is stored as a plan that
    awaits its approval. A sync of which nothing has changed since its last run is not planned.
    Of two runs of one sync the second waits for the first; then it sends what is left to send. What a run leaves that was killed on
    this machine goes on at once.
    In a sandbox environment whose channel does not listen, one is started for the run. The exit code is 1 when a sync
    is refused, fails, awaits an approval, or leaves rows to send; rows that the channel rejects are reported, and do not make it 1.
    """
    names, accept = chosen(session, syncs, every), _accepted(session, accept_guard)
    prepare(session, report)
    how = How(wait=wait, skip=not no_skip, profile=session.profile if profile else None, accept=accept)
    with _channels(session, _destinations(session, names)):
        outcomes = run(session, names, how, jobs)
    _told(session, outcomes, report)


def _accepted(session: Session, names: Sequence[str] | None) -> tuple[str, ...]:
    """The guards that are accepted, by somebody who may.

    Raises:
        UsageError: there is no such guard.
        RefusedError: they may not accept any.
    """
    if not names:
        return ()
    from cdp.sync.guards import NAMES

    known("guard", names, NAMES)
    session.permit("accept")
    return tuple(dict.fromkeys(names))


def _told(session: Session, outcomes: Sequence[Outcome], report: Path | None) -> None:
    """Show what came of syncs, and write the page about it if one was asked for."""
    try:
        show_runs(session.out, noted(session, outcomes))
    finally:
        write_report(session, outcomes, report)


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
