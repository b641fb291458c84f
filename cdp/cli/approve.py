"""`cdp approve`: look at what a plan tells, and sign that it may."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdp.cli.command import command
from cdp.cli.deliver import again
from cdp.cli.output import moment
from cdp.cli.session import Session
from cdp.errors import UsageError

if TYPE_CHECKING:
    from cdp.governance.access import Requirement
    from cdp.governance.query import GovernedQuery
    from cdp.sync.plan import Plan


@command(
    "cdp approve",
    "cdp approve PLAN --key ~/.ssh/id_ed25519",
    "cdp approve PLAN --key approvals.pem --yes",
    "cdp approve --make-key approvals.pem",
)
def approve(
    session: Session,
    plan: Annotated[str | None, typer.Argument(metavar="PLAN", help="As `cdp plan` names it; default: a list of those that wait.")] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", readable=False, help="Your Ed25519 private key: PEM, or of ssh-keygen.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve without being asked again.")] = False,
    make_key: Annotated[Path | None, typer.Option(metavar="FILE", readable=False, help="Only make a private key, in a new file.")] = None,
) -> None:
    """Approve a stored plan, so that it can be applied.

    Shows what the plan tells, to whom, for what and who made it. The approval binds the plan, the decision and the policy:
    when one of them changes it is void. Who may approve what, and by which public key, stands in governance/roles.yml.
    The passphrase of a key comes from the environment variable CDP_KEY_PASSPHRASE.
    """
    if make_key is not None:
        return _make_key(session, make_key)
    session.permit("approve")
    return _approve(session, plan, key, yes) if plan else _list(session)


def _make_key(session: Session, path: Path) -> None:
    from cdp.sync import signing

    public = signing.make_key(path)
    if session.out.as_json:
        return session.out.json({"file": str(path), "public_key": public})
    session.out.text(f'public_key: "{public}"')
    return session.out.note(f"that line goes to your entry under `people` of governance/roles.yml; keep {path} to yourself")


def _list(session: Session) -> None:
    """The plans that wait for an approval."""
    from cdp.sync.holdings import waiting

    found = waiting(session.engine, session.environment.control, session.now.instant)
    if session.out.as_json:
        return session.out.json([asdict(each) for each in found])
    rows = [(each.plan, each.sync, each.planned_by, moment(each.created), ", ".join(each.why)) for each in found]
    return session.out.table(("plan", "sync", "planned by", "planned", "for"), rows, empty="no plan waits for an approval")


def _approve(session: Session, name: str, key: Path | None, yes: bool) -> None:
    from cdp.sync import approval, signing
    from cdp.sync.apply import check_plan, check_unmoved
    from cdp.sync.ledger import Control
    from cdp.sync.plan import load_plan

    ledger = Control(session.engine, session.environment.control)
    plan, now = load_plan(session.engine, session.environment.control, name), session.now
    query = again(session, plan, now)
    session.permit("approve", purpose=query.sync.purpose)
    check_plan(plan, query, ledger, now.instant)
    check_unmoved(plan, ledger)
    needed = query.approval
    if needed is None or plan.removals_only or not plan.rows:
        raise UsageError(f"plan {plan.id} needs no approval", fix=f"deliver it: cdp apply {plan.id}" if plan.rows else "nothing is in it")
    private = signing.read_key(key) if key else None
    approval.check_approver(plan, needed, session.identity, private)
    if not session.out.as_json:
        _show(session, plan, query, needed)
    _confirm(session, yes)
    given = approval.give(plan, query, needed, ledger, by=session.identity, now=session.now.instant, key=private)
    if session.out.as_json:
        return session.out.json({"plan": plan.id, "sync": plan.sync, "needs_approval": list(needed.why), "approved": given.as_json()})
    how = "signed" if given.signature else "self-asserted, not signed"
    session.out.text(f"\napproved by {given.by} ({how}), until {_time(min(given.expires, plan.expires))}")
    return session.out.text(f"deliver it: cdp apply {plan.id}")


def _show(session: Session, plan: Plan, query: GovernedQuery, needed: Requirement) -> None:
    out, decision, agreement = session.out, query.decision, query.agreement
    ends = f", until {agreement.expires}" if agreement.expires else ""
    out.facts(
        {
            "plan": plan.id,
            "sync": plan.sync,
            "planned": f"by {plan.planned_by}, {_time(plan.created)}; can be applied until {_time(plan.expires)}",
            "receiver": f"{plan.destination}, {query.destination.channel}",
            "agreement": f"{agreement.name} with {agreement.counterparty}{ends}",
            "purpose": f"{decision.purpose}, funded by {query.sync.funded_by}",
            "needs approval": ", ".join(needed.why),
            "holds": f"{needed.hours} hours, while neither the plan nor the policy changes",
        }
    )
    out.text()
    counts: list[tuple[Any, ...]] = [(name.replace("_", " "), count) for name, count in plan.counts.items() if count]
    out.table(("people", ""), [*counts, *((f"left out: {rule}", count) for rule, count in plan.excluded if count)], empty="nobody")
    out.text()
    told = [(name, ", ".join(classes)) for name, classes in decision.columns.items()]
    out.table(("what is told", "classes"), [*told, ("being in the audience", ", ".join(decision.members))])


def _confirm(session: Session, yes: bool) -> None:
    """Ask, where somebody can answer.

    Raises:
        UsageError: nobody can be asked, and --yes is not given.
    """
    if yes:
        return
    if session.out.as_json or not sys.stdin.isatty():
        raise UsageError("an approval must be meant", fix="look at the plan without --json, on a terminal; or say --yes")
    if not typer.confirm("approve this?", err=True):
        raise typer.Exit(1)


def _time(at: dt.datetime) -> str:
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
