"""`cdp resync`: the state of a sync held against what is on record, and the rows of which nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cdp.cli.command import command
from cdp.cli.names import known
from cdp.cli.output import moment
from cdp.cli.session import Session
from cdp.errors import UsageError

if TYPE_CHECKING:
    from cdp.cli.output import Output
    from cdp.sync.ledger import Control
    from cdp.sync.reconcile import Compared

Unknown = Literal["list", "delivered", "again"]
Source = Literal["receipts", "channel"]


@command(
    "cdp resync a1c_reminder_email",
    "cdp resync a1c_reminder_email --yes",
    "cdp resync a1c_reminder_email --from channel",
    "cdp resync a1c_reminder_email --from channel --yes",
    "cdp resync a1c_reminder_sms --unknown list",
    "cdp resync a1c_reminder_sms --unknown delivered --yes",
    "cdp resync a1c_reminder_sms --unknown again --key 4711 --yes",
    needs="runs",
)
def resync(
    session: Session,
    sync: Annotated[str, typer.Argument(metavar="SYNC", help="A sync, also one that was renamed or removed.")],
    unknown: Annotated[
        Unknown | None, typer.Option(help="List rows that may have been applied; or say that they were, or are to be sent again.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="Only the unknown row of this key, as the list shows it; may be repeated."),
    ] = None,
    source: Annotated[
        Source, typer.Option("--from", help="What the state is held against: the receipts, or the channel's own list of its rows.")
    ] = "receipts",
    all_lost: Annotated[
        bool,
        typer.Option("--all-lost", help="Believe a channel that lists none of the delivered rows; by a role that may accept."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; otherwise only what would be done is shown.")] = False,
) -> None:
    """Rebuild what is known of a destination, or settle rows.

    It is rebuilt from the receipts; rows that are settled are those of which nobody knows whether they arrived. A plan refuses when the
    synced state is not the one that was folded from the receipts, or receipts are gone. This shows what does not fit and what
    rebuilding would change, and with --yes rebuilds. What it cannot know it says: rows that were put on the wire and whose receipts are
    gone are sent again, or, where sending again has an effect again, become unknown.

    With --from channel the channel is asked which rows it has, where its destination declares `http.export`. Keys that were delivered and
    are not there count as not held, so that the next plan adds them; those that were once sent and are there, though they are not held,
    as perhaps there. Rows that nothing on record speaks of are counted, and left alone. A list that is not whole changes nothing.

    Unknown rows were sent to a channel at which each request has an effect, and no answer came. They are never sent again by themselves:
    ask the channel, then say `--unknown delivered` or `--unknown again`. Who said so is on record in the table `runs`.
    """
    declared = session.project.syncs.get(sync)
    verbs = (("disclosures",) if unknown == "list" else ()) + (("apply",) if yes else ()) + (("accept",) if all_lost else ())
    session.permit(*verbs, purpose=declared.purpose if declared else None)
    if key and unknown in (None, "list"):
        raise UsageError("--key goes with --unknown delivered or --unknown again", fix="such as `--unknown delivered --key KEY`")
    if (unknown and source == "channel") or (all_lost and source != "channel"):
        wrong = "--unknown does not go with --from channel" if unknown else "--all-lost goes with --from channel"
        raise UsageError(wrong, fix=f"such as `cdp resync {sync} --from channel`")
    if source == "channel":
        return _channel(session, sync, yes, all_lost)
    if unknown is None:
        return _state(session, sync, yes)
    return _list(session, sync) if unknown == "list" else _settle(session, sync, unknown, key or [], yes)


def _control(session: Session, sync: str) -> Control:
    """The control tables, where they know the sync."""
    from cdp.sync.ledger import Control

    control = Control(session.engine, session.environment.control)
    table = control.table("runs")
    if not control.engine.value(f"SELECT COUNT(*) FROM {table} WHERE sync = :sync", {"sync": sync}, what=table):
        known("sync", [sync], session.project.syncs)
    return control


def _state(session: Session, sync: str, yes: bool) -> None:
    from cdp.sync import resync as work

    control = _control(session, sync)
    found = work.rebuild(control, sync, lambda: session.now.instant) if yes else work.inspect(control, sync)
    if session.out.as_json:
        return session.out.json({**found.as_json(), "done": yes})
    out = session.out
    out.facts({"sync": sync, "the state": "; ".join(found.wrong) or "is what was folded"})
    out.text()
    rows = [("the state has", found.rows), ("rebuilt it has" if yes else "rebuilt it would have", found.rebuilt)]
    rows += [("only in the rebuilt", found.added), ("otherwise in the rebuilt", found.changed), ("no longer in it", found.dropped)]
    out.table(("", "keys"), rows)
    cannot = [(f"kept, but no receipt says so any more: {found.unproven:,} keys", found.unproven)]
    cannot += [(f"run {run}: {count:,} of its receipts are gone", count) for run, count in found.lost]
    cannot += [(f"put on the wire, and nothing says what came of it: {found.doubtful:,} rows", found.doubtful)]
    if said := [text for text, count in cannot if count]:
        out.text("\nwhat cannot be known")
        for text in said:
            out.text(f"  {text}")
    if found.unknown:
        out.text(f"\n{found.unknown:,} rows are unknown; see them: cdp resync {sync} --unknown list")
    return out.text("\nrebuilt" if yes else f"\nrebuild it: cdp resync {sync} --yes")


def _channel(session: Session, sync: str, yes: bool, all_lost: bool) -> None:
    from cdp import connectors
    from cdp.cli import channel
    from cdp.governance.decide import govern
    from cdp.sync.reconcile import reconcile

    known("sync", [sync], session.project.syncs)
    destination = session.project.destinations[session.project.syncs[sync].destination]
    if destination.http and not destination.http.export:
        document = session.project.sources["destination", destination.name]
        line, _ = document.position(("http",), key=True)
        raise UsageError(f"destination {destination.name} has no export", fix=f"add http.export ({document.file}:{line})")
    query = govern(session.project, sync, clock=session.clock, now=session.now, or_removals=True)
    environment = session.environment
    with channel.sandboxes([destination], environment, session.root, session.out, channel.accounts(session.project, environment)):
        found = reconcile(
            query,
            _control(session, sync),
            connectors.load(query.destination.connector),
            channel.target(query, environment, session.root),
            wall=lambda: session.now.instant,
            sandbox=environment.sandbox,
            write=yes,
            all_lost=all_lost,
        )
    if session.out.as_json:
        return session.out.json({**found.as_json(), "done": yes})
    return _compared(session.out, found, yes)


def _compared(out: Output, found: Compared, yes: bool) -> None:
    out.facts({"sync": found.sync, "destination": found.destination})
    out.text()
    rows = [("the channel lists", found.listed), ("delivered, by the state", found.held), ("of these it lists", found.confirmed)]
    will = "now" if yes else "would be"
    rows += [(f"not there: {will} not held, and added by the next plan", found.lost)]
    rows += [(f"sent once and not held, but there: {will} sent or taken off by the next plan", found.found)]
    out.table(("", "keys"), rows)
    cannot = [
        (f"who these are, and who put them there: {found.foreign:,} rows that nothing on record speaks of", found.foreign),
        ("the content of any row: what the last receipt says is taken for it", found.confirmed),
        (f"what came of {found.doubtful:,} rows without an answer, of which {found.doubtful_there:,} are there", found.doubtful),
        (f"what came of {found.unknown:,} unknown rows, of which {found.unknown_there:,} are there: settle them", found.unknown),
    ]
    if said := [text for text, count in cannot if count]:
        out.text("\nwhat the list does not tell")
        for text in said:
            out.text(f"  {text}")
    out.text("\non record" if yes else f"\nput it on record: cdp resync {found.sync} --from channel --yes")


def _list(session: Session, sync: str) -> None:
    from cdp.sync.resync import unknown

    rows = unknown(_control(session, sync), sync)
    if session.out.as_json:
        shown = [{**{name: row[name] for name in ("key", "op", "run")}, "at": row["at"].isoformat()} for row in rows]
        return session.out.json(shown)
    listed = [[row["key"], row["op"], row["run"], moment(row["at"].isoformat())] for row in rows]
    return session.out.table(("key", "op", "run", "sent (UTC)"), listed, empty="no row is unknown")


def _settle(session: Session, sync: str, verdict: Literal["delivered", "again"], keys: list[str], yes: bool) -> None:
    from cdp.sync import resync as work

    control = _control(session, sync)
    count = work.settle(control, sync, verdict, keys, lambda: session.now.instant) if yes else work.chosen(control, sync, keys)
    if session.out.as_json:
        return session.out.json({"sync": sync, "unknown": verdict, "rows": count, "done": yes})
    meant = "delivered" if verdict == "delivered" else "to be sent again by the next run"
    return session.out.text(f"{count:,} unknown rows {'are' if yes else 'would be'} on record as {meant}{'' if yes else '; do it: --yes'}")
