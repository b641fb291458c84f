"""`--report FILE` of `cdp sync`, `cdp apply` and `cdp runs RUN`: what was done, as a page to hand on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdp.cli.boundary import Fault
from cdp.cli.output import local, moment, write
from cdp.cli.results import took
from cdp.cli.session import Session

if TYPE_CHECKING:
    from cdp.catalog.run_report import Number, Said, Step, Stretch
    from cdp.cli.outcome import Outcome

ReportFile = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write a page of HTML about it: needs `runs`; small numbers are not shown.")
]


def prepare(session: Session, file: Path | None) -> None:
    """Make sure that the page may be seen and can be written, before anything is done.

    Raises:
        RefusedError: whoever runs the command may not see runs.
        UsageError: the file cannot be written.
    """
    if file is not None:
        session.permit("runs")
        write(file, "")


def report(session: Session, outcomes: Sequence[Outcome], file: Path | None) -> None:
    """Write the page about what came of syncs, if it was asked for."""
    if file is None:
        return
    small = _small(session)
    said = [_one(session, outcome.facts, outcome.fault, small) for outcome in outcomes]
    _write(session, said, small, file)


def report_of(session: Session, detail: Mapping[str, Any], file: Path, role: str | None) -> None:
    """Write the page about one run, as somebody in a role may see it."""
    small = session.sight("runs", role).small
    _write(session, [_said(session, detail, small)], small, file)


def explained(session: Session, detail: Mapping[str, Any]) -> dict[str, Any]:
    """A run with its waterfall, in which each rule is said in the words of governance/eligibility.yml."""
    from cdp.sync.waterfall import waterfall

    rules = {rule.name: rule.basis for each in session.project.policy.eligibility.values() for rule in each.rules if rule.basis}
    return {**detail, "waterfall": [step.as_json() for step in waterfall(detail, rules)]}


def _small(session: Session) -> int:
    """How many people a number must count to be shown to whoever runs the command; what nobody says is the usual."""
    from cdp.analyst.explore.cells import SMALL
    from cdp.errors import UsageError

    try:
        return session.sight("runs", None).small
    except UsageError:  # several roles, and none was named
        return SMALL


def _write(session: Session, said: Sequence[Said], small: int, file: Path) -> None:
    from cdp.catalog.run_page import page
    from cdp.catalog.run_report import RunReport

    name = session.options.env or session.project.config.default_environment
    text = page(RunReport(session.project.config.name, name, session.now.instant, small, tuple(said)))
    write(file, text)
    session.out.note(f"wrote {file}, {len(text.encode()) // 1000 + 1:,} kB; open it in a browser")


def _one(session: Session, facts: Mapping[str, Any], fault: Fault | None, small: int) -> Said:
    """What came of a sync: its run as it is on record, or why there was none."""
    from cdp.catalog.run_report import Said
    from cdp.sync.history import run_detail

    failed, refusals = (_why(fault.kind, fault.message), fault.refusals) if fault else ("", ())
    if facts["run"] is None:
        return Said(facts["sync"], facts["status"], {"plan": facts["plan"]}, failed=failed, refusals=refusals)
    detail = explained(session, run_detail(session.engine, session.environment.control, facts["run"]))
    return replace(_said(session, detail, small), status=facts["status"], failed=failed, refusals=refusals)


def _said(session: Session, detail: Mapping[str, Any], small: int) -> Said:
    """A run as the page shows it."""
    from cdp.analyst.explore.ran import protected
    from cdp.catalog.run_report import Said

    steps = detail["waterfall"]
    numbers = {name: shown.as_json() for name, shown in protected(steps, small).items()}
    approved, error = detail["approved"] or {}, detail["error"] or {}
    ended = moment(detail["at"]) if detail["status"] != "running" else None
    named = {"run": detail["run"], "plan": detail["plan"], "destination": detail["destination"]}
    ends = {"started": f"{moment(detail['started'])} UTC", "ended": ended and f"{ended} UTC", "took": took(detail)}
    return Said(
        sync=detail["sync"],
        status=detail["status"],
        facts={**named, **ends, "as of": detail["as_of"] and local(detail["as_of"]), "unchanged since": detail["unchanged_since"]},
        people={"planned by": detail["planned_by"], "approved by": approved.get("by"), "applied by": detail["actor"]},
        rests_on=_rests_on(session, detail),
        steps=tuple(_step(step, numbers) for step in steps),
        errors=_errors(steps, numbers),
        guards=_guards(detail),
        quality=tuple(_quality(each, small) for each in detail["quality"] or ()),
        withheld=tuple((each["class"], each["table"]) for each in detail["withheld_rows"] or ()),
        stretches=_pace(session, detail, small) if isinstance(numbers.get(("delivered",)), int) else (),
        failed=_why(error["error"], error["message"]) if error else "",
    )


def _why(kind: str, message: str) -> str:
    """Why something failed. What a guard says holds numbers of people, which stand in the plan and not here."""
    return "a guard stops it" if kind == "GuardError" else message


def _guards(detail: Mapping[str, Any]) -> tuple[str, ...]:
    """Which guards stopped the plan, and who let it pass; what they found is a number of people, and is not said."""
    by = {guard["guard"]: each for each in detail["accepted"] for guard in each["guards"]}
    said = {name: f"accepted by {each['by']} at {moment(each['at'])} UTC" for name, each in by.items()}
    return tuple(f"{each['guard']}: {said.get(each['guard'], 'stops it')}" for each in detail["guards"] or ())


def _step(step: Mapping[str, Any], numbers: Mapping[tuple[str, ...], Number]) -> Step:
    from cdp.analyst.explore.ran import cell
    from cdp.catalog.run_report import Step

    parts = tuple((each["part"], numbers[cell(step["step"], each["part"])]) for each in step["parts"])
    return Step(step["title"], step["kind"], numbers[(step["step"],)], step["why"], parts)


def _errors(steps: Sequence[Mapping[str, Any]], numbers: Mapping[tuple[str, ...], Number]) -> tuple[tuple[str, str, Number], ...]:
    """What the channel did not take, by reason."""
    lost = [step for step in steps if step["step"] in ("rejected", "unanswered", "retryable")]
    return tuple((step["title"], each["part"], numbers[step["step"], each["part"]]) for step in lost for each in step["parts"])


def _rests_on(session: Session, detail: Mapping[str, Any]) -> dict[str, str | None]:
    """What was told for what, as the ledger says; and the policy under which the plan was made."""
    from cdp.sync.history import told

    found = told(session.engine, session.environment.control, detail["sync"], detail["run"])
    names = {"purpose": "purpose", "agreement": "agreement", "counterparty": "with", "classes": "classes told", "columns": "columns"}
    said = {shown: "; ".join(dict.fromkeys(_listed(each[name]) for each in found)) for name, shown in names.items()}
    needed = ", ".join(detail["needs_approval"] or ())
    return {**said, "needed an approval": needed, "policy fingerprint": detail["fingerprint"], "plan digest": detail["digest"]}


def _listed(value: str | None) -> str:
    """A list of the ledger, which stands there as JSON; other texts as they are."""
    import json

    return ", ".join(json.loads(value)) if value and value.startswith("[") else value or ""


def _quality(result: Mapping[str, Any], small: int) -> tuple[str, str, Number, Number]:
    from cdp.analyst.explore.cells import Shown

    failed = result["failed"]
    return (
        f"{result['expectation']} of {', '.join(result['columns'])}" if result["columns"] else result["expectation"],
        result["verdict"],
        Shown.of(result["evaluated"], small).as_json(),
        "" if failed is None else Shown.of(failed, small).as_json(),
    )


def _pace(session: Session, detail: Mapping[str, Any], small: int) -> tuple[Stretch, ...]:
    """How fast rows were taken."""
    from cdp.catalog.run_report import stretches
    from cdp.sync.history import commits

    start = dt.datetime.fromisoformat(detail["started"])
    found = commits(session.engine, session.environment.control, detail["sync"], detail["run"])
    return stretches([((at - start).total_seconds(), rows) for at, rows in found], small)
