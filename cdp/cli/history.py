"""`cdp runs`: what was done."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cdp.cli.command import command
from cdp.cli.names import known
from cdp.cli.output import moment
from cdp.cli.results import COUNTS, show_withheld
from cdp.cli.session import Session


@command("cdp runs", "cdp runs --sync a1c_reminder_email --limit 5", "cdp runs RUN --json", needs="runs")
def runs(
    session: Session,
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="A run; default: a list of the latest.")] = None,
    sync: Annotated[str | None, typer.Option(metavar="SYNC", help="Only the runs of this sync.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
) -> None:
    """List past runs, or show one in detail.

    Of one: its counts, its error, who was left out by which rule, and what the channel answered.
    """
    from cdp.sync.history import list_runs, run_detail

    if run:
        detail = run_detail(session.engine, session.environment.control, run)
        return session.out.json(detail) if session.out.as_json else _detail(session, detail)
    found = list_runs(session.engine, session.environment.control, sync=sync, limit=limit)
    if sync and not found:  # one that was renamed or removed keeps its history
        known("sync", [sync], session.project.syncs)
    if session.out.as_json:
        return session.out.json(found)
    columns = ("run", "sync", "status", *COUNTS)
    return session.out.table(columns, [[row[column] for column in columns] for row in found], empty="no runs yet")


def _detail(session: Session, detail: dict[str, Any]) -> None:
    out = session.out
    shown = ("run", "sync", "destination", "plan", "status")
    ended = detail["at"] if detail["status"] != "running" else None
    times = {"started (UTC)": detail["started"], "ended (UTC)": ended, "as of": detail["as_of"]}
    who = ("planned", *COUNTS)
    said = {what: moment(text) for what, text in times.items() if text}
    approved = {"approved by": detail["approved"]["by"]} if detail["approved"] else {}
    people = {"planned by": detail["planned_by"], **approved, "applied by": detail["actor"]}
    out.facts({name: detail[name] for name in shown} | said | people | {name: detail[name] for name in who})
    if error := detail["error"]:
        out.text(f"\nerror: {error['message']}")
    out.text("\nleft out of the audience, by the first rule that says so")
    out.table(("rule", "people"), [[e["rule"], e["count"]] for e in detail["excluded"] or ()], empty="nobody")
    show_withheld(out, detail["withheld_rows"])
    out.text("\nwhat the channel answered")
    answers = [[r["op"], r["status"], r["code"], r["count"]] for r in detail["receipts"]]
    out.table(("op", "status", "code", "rows"), answers, empty="nothing was sent")
