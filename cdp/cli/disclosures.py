"""`cdp disclosures`: what was told about a person, and whether the ledger that says so is as it was written."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdp.cli.command import command
from cdp.cli.output import moment
from cdp.cli.session import Session
from cdp.errors import Refusal, RefusedError, UsageError

if TYPE_CHECKING:
    from cdp.sync.ledger.accounting import Asked
    from cdp.sync.ledger.heads import Kept
    from cdp.sync.ledger.verify import Checked


@command(
    "cdp disclosures",
    "cdp disclosures --key KEY",
    "cdp disclosures --key KEY --accountable --csv > accounting.csv",
    "cdp disclosures --verify --head head-2026-07-01.json",
    "cdp disclosures --export-head head.json --sign privacy.key",
    needs="disclosures",
)
def disclosures(
    session: Session,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="The person's key in the lakehouse, or the one that left.")] = None,
    since: Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DAY", help="What was told from this day on.")] = None,
    until: Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DAY", help="What was told until this day.")] = None,
    accountable: Annotated[bool, typer.Option("--accountable", help="What 45 CFR 164.528 asks for; six years back by default.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV that a spreadsheet does not run.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check every block and line of the ledger.")] = False,
    head: Annotated[Path | None, typer.Option(metavar="FILE", help="With --verify: heads that were kept elsewhere.")] = None,
    export_head: Annotated[Path | None, typer.Option(metavar="FILE", help="Verify, and write the heads to a new file.")] = None,
    sign: Annotated[Path | None, typer.Option(metavar="KEYFILE", help="With --export-head: an Ed25519 private key.")] = None,
) -> None:
    """Show what was told about a person, or check the ledger.

    To whom, when, what, under which agreement, for which purpose, approved by whom: the accounting that 45 CFR 164.528 asks for.
    Without options: what the ledger holds of each sync, and until when it must be kept.

    --verify names the first block of each sync that is not as it was written; then the exit code is 1. That the end was cut
    off, or all was written anew, shows only against heads that --export-head wrote earlier and that were kept elsewhere.
    """
    if csv and session.out.as_json:
        raise UsageError("--csv and --json are two formats", fix="choose one")
    _check(key, verify or export_head is not None, since or until or accountable or csv, head, verify, sign, export_head)
    if key is not None:
        return _person(session, _asked(session, key, since, until, accountable), csv)
    if verify or export_head is not None:
        return _verified(session, head, export_head, sign)
    return _kept(session)


def _check(
    key: str | None, checks: bool, narrowed: object, head: Path | None, verify: bool, sign: Path | None, export: Path | None
) -> None:
    """Which options go together."""
    wrong = [
        (key is not None and checks, "--key does not go with --verify or --export-head"),
        (key is None and narrowed, "--since, --until, --accountable and --csv go with --key"),
        (head is not None and not verify, "--head goes with --verify"),
        (sign is not None and export is None, "--sign goes with --export-head"),
    ]
    for applies, said in wrong:
        if applies:
            raise UsageError(said, fix="see `cdp disclosures --help`")


# -- about a person ---------------------------------------------------------------------------------------------------


def _asked(session: Session, key: str, since: dt.datetime | None, until: dt.datetime | None, accountable: bool) -> Asked:
    """The question, in days of the project's time zone."""
    from cdp.sync.ledger.accounting import YEARS, Asked, later

    now = session.now
    first = since.date() if since else later(now.day, -YEARS) if accountable else None
    start = now.midnight(first) if first else None
    end = now.midnight(until.date() + dt.timedelta(days=1)) - dt.timedelta(microseconds=1) if until is not None else None
    return Asked(key, start, end, accountable)


def _person(session: Session, asked: Asked, csv: bool) -> None:
    from cdp.sync.ledger import Control
    from cdp.sync.ledger.accounting import FIELDS, disclosures

    with session.out.progress("reading the ledger"):
        found = disclosures(Control(session.engine, session.environment.control), asked)
    if session.out.as_json:
        return session.out.json(found)
    if csv:
        return session.out.csv(FIELDS, [[_cell(row[field]) for field in FIELDS] for row in found])
    columns = ("at (UTC)", "destination", "op", "agreement", "purpose", "what")
    fields = ("destination", "op", "agreement", "purpose")
    rows = [[moment(row["at"]), *(row[field] for field in fields), ", ".join(row["columns"])] for row in found]
    return session.out.table(columns, rows, empty="nothing is on record under this key")


def _cell(value: Any) -> str | None:
    return ", ".join(value) if isinstance(value, list) else value


def _kept(session: Session) -> None:
    from cdp.sync.ledger import Control
    from cdp.sync.ledger.accounting import kept

    found = kept(Control(session.engine, session.environment.control))
    if session.out.as_json:
        return session.out.json(found)
    rows = [[row["sync"], row["lines"], row["accountable"], row["first"][:10], row["last"][:10], row["keep_until"]] for row in found]
    return session.out.table(("sync", "lines", "accountable", "first", "last", "keep until"), rows, empty="nothing was told yet")


# -- the ledger itself ------------------------------------------------------------------------------------------------


def _verified(session: Session, head: Path | None, export: Path | None, sign: Path | None) -> None:
    from cdp.sync import signing
    from cdp.sync.ledger import Control, heads
    from cdp.sync.ledger.verify import verify

    against = heads.read(head) if head else None
    signer = _signer(session, against)
    key = signing.read_key(sign) if sign else None
    found: list[Checked] = []
    with session.out.progress("verifying the ledger") as say:
        for checked in verify(Control(session.engine, session.environment.control), against.heads if against else ()):
            found.append(checked)
            say(f"verifying the ledger: {checked.sync} is checked")
    bad = [checked for checked in found if checked.bad]
    written = None
    if export is not None and not bad:
        written = heads.write(export, [each for checked in found for each in checked.heads], session.now.instant, key)
    if session.out.as_json:
        session.out.json({"verified": not bad, "signed_by": signer, "syncs": [checked.as_json() for checked in found], "exported": written})
    else:
        _show(session, found, against, signer, export if written else None)
    if bad:
        raise typer.Exit(1)


def _signer(session: Session, against: Kept | None) -> str | None:
    """Whose signature the kept heads carry, as governance/roles.yml knows the key.

    Raises:
        RefusedError: people have keys there, and it is of none of them: anybody can make a key and sign heads with it.
    """
    from cdp.project import keys

    if against is None or against.signed_by is None:
        return None
    signed = keys.raw(against.signed_by)
    of = {keys.raw(person.public_key): person for person in session.project.policy.people if person.public_key}
    if of and signed not in of:
        fix = "use heads that somebody there signed; was a key replaced, look at the commit that did"
        refusal = Refusal("signature", "the file of heads", "", (), "signed with a key that nobody has in governance/roles.yml", fix)
        raise RefusedError("--head", [refusal])
    person = of.get(signed)
    return (person.email or person.id) if person else "an unknown key"


def _show(session: Session, found: list[Checked], against: Kept | None, signer: str | None, written: Path | None) -> None:
    out = session.out
    rows = [[c.sync, c.blocks, c.lines, c.against, _verdict(c)] for c in found]
    out.table(("sync", "blocks", "lines", "head", ""), rows, empty="nothing was told yet")
    for bad in (checked.bad for checked in found if checked.bad):
        where = [f"block {bad.block}" if bad.block else "", f"run {bad.run}" if bad.run else "", f"of {moment(bad.at)}" if bad.at else ""]
        out.text(f"{bad.sync or '(no sync)'}, {', '.join(word for word in where if word) or 'no block'}: {bad.what}")
    for open_ends in (checked for checked in found if len(checked.heads) > 1):
        out.note(f"{open_ends.sync}: a run that had lost the sync wrote beside another; the next run's first block names both")
    if against is not None:
        out.text(f"held against the heads of {moment(against.made)} (UTC), {f'signed by {signer}' if signer else 'not signed'}")
    elif not written:
        out.note("a ledger that was cut off at its end, or written anew, shows only against a head: cdp disclosures --export-head FILE")
    if written:
        out.text(f"heads written to {written}: keep them where whoever writes the ledger cannot change them")


def _verdict(checked: Checked) -> str:
    return "not as it was written" if checked.bad else "as it was written"
