"""`cdp runs`: what was done."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import typer

from cdp.cli.command import command
from cdp.cli.names import known
from cdp.cli.outcome import COUNTS
from cdp.cli.output import Output, local, moment
from cdp.cli.report import ReportFile, explained, report_of
from cdp.cli.results import show_quality, show_withheld, took
from cdp.cli.session import Session
from cdp.errors import UsageError

Status = Literal["running", "nothing", "succeeded", "partial", "failed", "stopped", "killed", "resynced", "settled"]
_MOMENTS = {"formats": ["%Y-%m-%d", "%Y-%m-%dT%H:%M"], "metavar": "DAY[THH:MM]"}
Since = Annotated[dt.datetime | None, typer.Option(help="Only what started then or later.", **_MOMENTS)]
Until = Annotated[dt.datetime | None, typer.Option(help="Only what started before, or on that day.", **_MOMENTS)]
_SIGNS = {"level": "", "less": "-", "more": "+"}


@command(
    "cdp runs",
    "cdp runs --sync a1c_reminder_email --limit 5",
    "cdp runs --status failed --since 2026-07-01",
    "cdp runs RUN",
    "cdp runs RUN --rejected",
    needs="runs",
)
def runs(
    session: Session,
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="A run; default: a list of the latest.")] = None,
    sync: Annotated[str | None, typer.Option(metavar="SYNC", help="Only the runs of this sync.")] = None,
    destination: Annotated[str | None, typer.Option(metavar="NAME", help="Only the runs to this destination.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only the runs that ended so, or did not end.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Of one run: the rows that the channel rejected, and when they go again.")
    ] = False,
    people: Annotated[bool, typer.Option("--people", help="With --rejected: one line a person; needs the verb disclosures too.")] = False,
    report: ReportFile = None,
    role: Annotated[str | None, typer.Option(metavar="NAME", help="The role of governance/roles.yml that --report is for.")] = None,
) -> None:
    """List past runs, newest first, or show one in detail.

    Of one: its waterfall, from the size of the segment to the rows that were delivered, with the reason of each step; its error, and
    what the channel answered. With --report that becomes a page of HTML to hand on, without numbers of 1 to 10 people but for a role
    with `exact_counts`. Days are those of the project's time zone, times are shown in UTC.

    --rejected counts the rows that the channel rejected, by how often the same content was tried: `waiting` until the next try, `due`
    with the next run, `given_up` until the content changes, or `delivered` since; see `retries` of the destination.
    """
    from cdp.sync.history import list_runs, run_detail

    asked = {"sync": sync, "destination": destination, "status": status, "since": since, "until": until}
    if (rejected and run is None) or (people and not rejected):
        raise UsageError("--rejected goes with one run, and --people with --rejected", fix="such as `cdp runs RUN --rejected --people`")
    if run:
        _alone(asked)
        detail = run_detail(session.engine, session.environment.control, run)
        if rejected:
            return _rejected(session, detail, people, limit)
        detail = explained(session, detail)
        if report is not None:
            report_of(session, detail, report, role)
        return session.out.json(detail) if session.out.as_json else _detail(session.out, detail)
    if report is not None or role is not None:
        raise UsageError("--report and --role are about one run", fix="name the run: cdp runs RUN --report FILE")
    times = {"since": _local(session, since), "until": _local(session, until and _after(until))}
    found = list_runs(session.engine, session.environment.control, sync=sync, destination=destination, status=status, **times, limit=limit)
    if not found:  # one that was renamed or removed keeps its history
        known("sync", [sync] if sync else [], session.project.syncs)
        known("destination", [destination] if destination else [], session.project.destinations)
    if session.out.as_json:
        return session.out.json(found)
    _listed(session.out, found, "no such runs" if any(asked.values()) else "no runs yet; `cdp sync SYNC` makes one")
    if len(found) == limit:
        session.out.note(f"the latest {limit:,}; older ones: --limit, --until")
    return None


def _rejected(session: Session, detail: Mapping[str, Any], people: bool, limit: int) -> None:
    """The rows that a channel rejected. Who they are is for those who may ask the ledger what was told about a person."""
    from cdp.spec.delivery import Retries
    from cdp.sync import rejected
    from cdp.sync.ledger import Control

    if people:
        session.permit("disclosures")
    destination = session.project.destinations.get(detail["destination"])
    retries = destination.retries if destination else Retries()
    control = Control(session.engine, session.environment.control)
    found = rejected.rejected(control, detail["sync"], detail["run"], retries, session.now.instant, people=people)
    if session.out.as_json:
        return session.out.json(found)
    shown = ("op", "code", "attempts", "state")
    last = "person" if people else "rows"
    rows = [[*(row[name] for name in shown), moment(row["next_try"]) if row["next_try"] else None, row[last]] for row in found[:limit]]
    session.out.table((*shown, "next try (UTC)", last), rows, empty="the channel rejected nothing")
    if len(found) > limit:
        session.out.note(f"and {len(found) - limit:,} more: --limit, or --json for all")
    return None


def _alone(filters: Mapping[str, object]) -> None:
    """Refuse what narrows a list beside one run.

    Raises:
        UsageError: something does.
    """
    if given := [f"--{name}" for name, value in filters.items() if value is not None]:
        raise UsageError(f"{' and '.join(given)} beside one run", fix="name the run, or narrow the list")


def _after(until: dt.datetime) -> dt.datetime:
    """The first moment that is too late: a day counts to its end."""
    return until + dt.timedelta(days=1) if until.time() == dt.time.min else until


def _local(session: Session, moment: dt.datetime | None) -> dt.datetime | None:
    return moment.replace(tzinfo=ZoneInfo(session.project.config.timezone)) if moment else None


def _listed(out: Output, found: Sequence[Mapping[str, Any]], empty: str) -> None:
    shown = [name for name in COUNTS if name == "delivered" or any(each[name] for each in found)]
    rows = [[each["run"], moment(each["started"]), took(each), *(each[name] for name in ("sync", "status", *shown))] for each in found]
    out.table(("run", "started (UTC)", "took", "sync", "status", *shown), rows, empty=empty)


def _detail(out: Output, detail: Mapping[str, Any]) -> None:
    from cdp.sync.guards import Violation

    ended = detail["at"] if detail["status"] != "running" else None
    times = {"started (UTC)": detail["started"], "ended (UTC)": ended}
    said = {what: moment(text) for what, text in times.items() if text} | {"took": took(detail)}
    if detail["as_of"]:
        said = {"as of": local(detail["as_of"])} | said
    approved = {"approved by": detail["approved"]["by"]} if detail["approved"] else {}
    people = {"planned by": detail["planned_by"], **approved, "applied by": detail["actor"]}
    out.facts({name: detail[name] for name in ("run", "sync", "destination", "plan", "status")} | said | people)
    if since := detail["unchanged_since"]:
        out.text(f"\nnothing has changed since run {since}, so nothing was planned")
    for each in detail["accepted"]:
        found = "; ".join(str(Violation(**guard)) for guard in each["guards"])
        out.text(f"\naccepted by {each['by']} at {moment(each['at'])} (UTC): {found}")
    if error := detail["error"]:
        out.text(f"\nerror: {error['message']}")
    if steps := detail["waterfall"]:
        out.text("\nfrom the segment to the channel")
        out.table(("step", "people", "left", "why"), _steps(steps))
    show_quality(out, detail["quality"])
    show_withheld(out, detail["withheld_rows"])
    out.text("\nwhat the channel answered")
    answers = [[r["op"], r["status"], r["code"], r["count"]] for r in detail["receipts"]]
    out.table(("op", "status", "code", "rows"), answers, empty="nothing was sent")


def _steps(steps: Sequence[Mapping[str, Any]]) -> list[Sequence[object]]:
    """The waterfall as rows: each step with what is left after it, and what it is made of."""
    counts = ["" if step["kind"] == "level" else f"{_SIGNS[step['kind']]}{step['count']:,}" for step in steps]
    width, left = max(map(len, counts)), 0
    rows: list[Sequence[object]] = []
    for step, count in zip(steps, counts, strict=True):
        left = {"level": step["count"], "less": left - step["count"], "more": left + step["count"]}[step["kind"]]
        parts = "; ".join(f"{each['count']:,} {each['part']}" for each in step["parts"])
        rows.append((step["title"], count.rjust(width), left, f"{step['why']}: {parts}" if parts else step["why"]))
    return rows
