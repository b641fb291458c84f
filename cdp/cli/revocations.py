"""`cdp revocations`: who had to be taken off somewhere, since when, and whether they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdp.cli.command import command
from cdp.cli.names import known
from cdp.cli.output import moment
from cdp.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdp.project.project import Project


@command("cdp revocations", "cdp revocations --open", "cdp revocations --sync a1c_reminder_email --json", needs="revocations")
def revocations(
    session: Session,
    sync: Annotated[str | None, typer.Option(metavar="SYNC", help="Only those of this sync.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only people who are still there.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many people a table shows at most; JSON has all.")] = 50,
) -> None:
    """List who may no longer be at a receiver.

    Since when: the first plan that saw it. Why: the rule that keeps the person out, or left_segment, decision_changed (told under
    an older decision), agreement_ended. A person is `open` until a removal was delivered, or a plan saw that they may be there
    again (`lifted`). Of a mode that removes nobody only those are listed whom a rule keeps out.
    """
    from cdp.sync.ledger import Control
    from cdp.sync.revocations import revocations as listed

    found = listed(Control(session.engine, session.environment.control), sync=sync, only_open=only_open)
    if sync and not found:  # one that was renamed or removed keeps its history
        known("sync", [sync], session.project.syncs)
    fixes = {name: _fix(session.project, name) for name in {row["sync"] for row in found}}
    if session.out.as_json:
        return session.out.json([{**row, "fix": fixes[row["sync"]] if row["state"] == "open" else None} for row in found])
    return _show(session, found, fixes, limit)


def _show(session: Session, found: Sequence[dict[str, Any]], fixes: dict[str, str | None], limit: int) -> None:
    out = session.out
    lists: dict[tuple[str, ...], list[list[Any]]] = {}  # a table for each receiver: beside it a key has the room not to be broken
    for row in found[:limit]:
        done = moment(row["done"]) if row["done"] else None
        told = (row["sync"], row["destination"], row["agreement"] or "")
        lists.setdefault(told, []).append([row["person"], row["reason"], moment(row["since"]), row["state"], done])
    if not found:
        out.text("nobody")
    for (sync, destination, agreement), rows in lists.items():
        out.text(f"{sync} to {destination}{f' ({agreement})' if agreement else ''}")
        out.table(("person", "reason", "since (UTC)", "state", "done (UTC)"), rows)
        out.text()
    if len(found) > limit:
        out.note(f"and {len(found) - limit:,} more: --limit, or --json for all")
    waiting = sorted({row["sync"] for row in found if row["state"] == "open"})
    for name in waiting:
        count = sum(row["state"] == "open" for row in found if row["sync"] == name)
        out.text(f"{name}: {count:,} still there; {fixes[name] or f'cdp sync {name} takes them off'}")


def _fix(project: Project, name: str) -> str | None:
    """What a person must do so that people are taken off; None where the next run does it."""
    from cdp.sync.diff import MODES

    sync = project.syncs.get(name)
    if sync is None:
        return "the sync is no longer declared: declare it again with an empty segment, or have the receiver take them off"
    if "remove" not in MODES[sync.mode]:
        return f"mode {sync.mode} removes nobody: use mode mirror, or have {sync.destination} take them off"
    return None
