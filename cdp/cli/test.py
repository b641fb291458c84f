"""`cdp test`: the tests that stand in the YAML, and cases to begin with."""
# ruff: noqa: PT028 - the verb is called `test`; it is none of ours

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.command import command
from cdp.cli.names import known
from cdp.cli.session import Session
from cdp.errors import UsageError

if TYPE_CHECKING:
    from cdp.analyst.trials.outcomes import Outcome, Results
    from cdp.analyst.trials.realkeys import RealKey
    from cdp.analyst.trials.test_text import Draft
    from cdp.engine import Engine

MARKS = {"passed": "✓", "failed": "✗", "pending": "?", "error": "!"}
LONGEST = 30  # lines of a case's rows that a failure shows


@command(
    "cdp test",
    "cdp test a1c_overdue",
    "cdp test --changed-since main --junit tests.xml",
    "cdp test --real-keys",
    "cdp test --generate a1c_overdue --write",
    "cdp test a1c_overdue --from KEY --role analyst",
)
def test(
    session: Session,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Segments and traits; default: all that have tests.")] = None,
    changed_since: Annotated[
        str | None, typer.Option(metavar="REF", help="Only what changed since this git revision, and what depends on it.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the outcomes as JUnit XML, too.")] = None,
    real_keys: Annotated[
        bool, typer.Option("--real-keys", help="Also look whether a key in them is one of the lakehouse: no test holds a real person.")
    ] = False,
    generate: Annotated[
        str | None, typer.Option(metavar="SEGMENT", help="Instead: boundary cases of a segment, each pending until somebody fills it in.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="KEY", help="Instead: a de-identified case from a person of the lakehouse.")
    ] = None,
    role: Annotated[str | None, typer.Option(metavar="NAME", help="With --from: a role of governance/roles.yml to look in.")] = None,
    write: Annotated[bool, typer.Option("--write", help="With --generate or --from: append it to the segment's file.")] = False,
) -> None:
    """Run the tests of segments and traits.

    They run all together on the embedded engine, and need no lakehouse. A failure shows what was expected, the condition with a verdict
    on each part, and the rows of the case; it and a case that is still pending make the exit code 1. --generate and --from print a test
    to begin with: a person says what is expected.
    """
    if write and generate is None and from_ is None:
        raise UsageError("--write belongs to --generate and --from", fix="add one of them, or leave it out")
    if generate is not None and from_ is not None:
        raise UsageError("--generate and --from make two different tests", fix="choose one")
    if generate is not None:
        _generate(session, generate, write)
    elif from_ is not None:
        _from(session, names or [], from_, role, write)
    else:
        _run(session, names or [], changed_since, junit, real_keys)


def _run(session: Session, names: Sequence[str], changed_since: str | None, junit: Path | None, look: bool) -> None:
    from cdp.analyst.trials import run
    from cdp.analyst.trials.junit import junit as as_junit
    from cdp.analyst.trials.realkeys import real_keys as find_real_keys
    from cdp.cli.validate import Chosen

    with session.out.progress("reading the project") as say:
        project = session.project
        known("segment or trait", names, {*project.segments, *project.traits})
        chosen = Chosen.of(project, names, changed_since)
        segments = [name for name in chosen.segments if project.segments[name].tests]
        traits = [name for name in chosen.traits if project.sources["trait", name].tree.get("tests")]
        say("running the tests")
        with tempfile.TemporaryDirectory() as folder:
            tested = run(project, _engine(session, Path(folder)), segments, traits)
    if junit is not None:
        junit.write_text(as_junit(tested), encoding="utf-8")
    real = find_real_keys(project, session.engine, segments, traits) if look else ()
    _show(session, tested, real)
    if not tested.ok or real:
        raise typer.Exit(1)


def _engine(session: Session, folder: Path) -> Engine:
    from cdp.spec.activation import Environment

    return session.open(Environment(engine="sail", lakehouse="tests"), folder)


def _show(session: Session, tested: Results, real: Sequence[RealKey]) -> None:
    if session.out.as_json:
        counts = {"passed": tested.count("passed"), "failed": tested.count("failed", "error"), "pending": tested.count("pending")}
        cases = [each.as_json() for each in tested.outcomes]
        keys = [{name: getattr(each, name) for name in each.__slots__} for each in real]
        return session.out.json({**counts, "seconds": round(tested.seconds, 3), "cases": cases, "real_keys": keys})
    if not tested.outcomes:
        return session.out.text("no tests; `cdp test --generate SEGMENT` prints some to begin with")
    for (_, name), outcomes in tested.by_subject().items():
        _subject(session, name, outcomes)
    for each in real:
        session.out.text(f"{MARKS['failed']} {each}")
    failed, pending = tested.count("failed", "error"), tested.count("pending")
    waiting = f", {pending} pending" if pending else ""
    return session.out.text(f"\n{tested.count('passed')} passed, {failed} failed{waiting} in {tested.seconds:.1f} s")


def _subject(session: Session, name: str, outcomes: Sequence[Outcome]) -> None:
    wrong = [outcome for outcome in outcomes if not outcome.ok]
    session.out.text(f"{MARKS['failed' if wrong else 'passed']} {name:40} {len(outcomes) - len(wrong)} of {len(outcomes)}")
    for outcome in wrong:
        session.out.text(
            f"  {MARKS[outcome.status]} {outcome.title}  ({outcome.case.file}:{outcome.case.line}, as of {outcome.case.as_of})"
        )
        for line in outcome.said():
            session.out.text(f"      {line}")
        for part in filter(None, (outcome.tree, _shortened(outcome.rows))):
            session.out.text("".join(f"\n      {line}" for line in part))


def _shortened(rows: Sequence[str]) -> Sequence[str]:
    return [*rows[:LONGEST], f"... and {len(rows) - LONGEST} more rows"] if len(rows) > LONGEST else rows


def _generate(session: Session, name: str, write: bool) -> None:
    from cdp.analyst.trials.boundary_cases import boundary_cases

    project = session.project
    known("segment", [name], project.segments)
    _give(session, name, boundary_cases(project, name, session.clock), write)


def _from(session: Session, names: Sequence[str], key: str, role: str | None, write: bool) -> None:
    from cdp.analyst.trials.deidentify import case_of

    project = session.project
    known("segment", names, project.segments)
    if len(names) != 1:
        raise UsageError("--from makes a case of one segment", fix="name it: cdp test SEGMENT --from KEY")
    sight = session.sight("explain", role)
    with session.out.progress("making a case of a person"), tempfile.TemporaryDirectory() as folder:
        tests = _engine(session, Path(folder))
        made = case_of(project, names[0], key, session.clock, source=session.engine, tests=tests, sight=sight)
    _give(session, names[0], made, write)


def _give(session: Session, name: str, made: Draft, write: bool) -> None:
    """Print a test, or append it to the file that declares the segment."""
    from cdp.analyst.trials.test_text import appended

    document = session.project.sources["segment", name]
    if write:
        path = session.root / document.file
        path.write_text(appended(path.read_text(encoding="utf-8"), document, made.text), encoding="utf-8")
    for note in made.notes:
        session.out.note(note)
    if session.out.as_json:
        session.out.json({"segment": name, "file": document.file, "written": write, "yaml": made.text, "notes": list(made.notes)})
    else:
        session.out.text(f"wrote to {document.file}" if write else made.text.rstrip("\n"))
