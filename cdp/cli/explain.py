"""`cdp explain`: why one person is in a segment, or told by a sync, or not."""

from __future__ import annotations

import datetime as dt
import io
import textwrap
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cdp.cli.command import command
from cdp.cli.names import kind_of
from cdp.cli.output import WIDTH, local, moment
from cdp.cli.session import Session

if TYPE_CHECKING:
    from rich.tree import Tree

    from cdp.analyst.explore.evidence import Evidence, Row
    from cdp.analyst.explore.explain import Explanation, Told
    from cdp.analyst.explore.keptout import Addressed
    from cdp.compile.clock import Clock

Kind = Literal["segment", "sync"]
ROWS = 5  # rows of a measure that a person is shown; --json has them all


@command(
    "cdp explain a1c_overdue KEY",
    "cdp explain a1c_reminder_email KEY --role care_manager",
    "cdp explain a1c_overdue KEY --json",
    needs="explain",
)
def explain(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A segment or a sync.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="The person's key in the lakehouse.")],
    kind: Annotated[Kind | None, typer.Option(help="Which one is meant, when both have the name.")] = None,
    role: Annotated[str | None, typer.Option(metavar="NAME", help="A role of governance/roles.yml to look in.")] = None,
) -> None:
    """Show, by condition, why a person is in a segment or not.

    With the rows that counted and those that nearly did, as far as the role sees them; what alone would change it; and the day
    on which it changes by itself. Of a sync, also each rule that keeps the person out.
    """
    from cdp.analyst.explore.explain import explain as of_segment
    from cdp.analyst.explore.keptout import explain_sync

    project = session.project
    models: dict[Kind, Collection[str]] = {"segment": project.segments, "sync": project.syncs}
    found = kind_of(name, kind, models)
    sight = session.sight("explain", role)
    with session.out.progress("asking"):
        if found == "segment":
            told = of_segment(project, session.engine, name, key, clock=session.clock, sight=sight)
            return session.out.json(_segment_json(told)) if session.out.as_json else _segment(session, told)
        addressed = explain_sync(project, session.engine, name, key, clock=session.clock, now=session.now, sight=sight)
    return session.out.json(_sync_json(addressed)) if session.out.as_json else _sync(session, addressed)


# -- for people ----------------------------------------------------------------------------------------------------------


def _segment(session: Session, told: Explanation) -> None:
    out = session.out
    out.text(f"{told.segment}: {'in' if told.member else 'out'}, as of {local(told.clock.instant.isoformat())}\n")
    out.text(_drawn(told))
    alone = [each for each in told.tree if each.decides]
    if alone:
        out.text(f"\nwould {'take the person out' if told.member else 'be enough to be in'} if it were the other way round")
        for each in alone:
            out.text(textwrap.fill(each.node.label, WIDTH, initial_indent="  ", subsequent_indent="    "))
    word, turn = "leaves" if told.member else "enters", told.turn
    out.text(f"\nif nothing new is recorded: {f'{word} on {turn.day}' if turn.day else f'nothing changes within {turn.within} days'}")
    for note in told.partial.notes(told.role):
        out.note(note)


def _drawn(told: Explanation) -> str:
    """The tree as text of at most 100 columns."""
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    places: dict[tuple[int, ...], Tree] = {}
    for each in told.tree:
        made = Tree(Text(f"{'✓' if each.holds else '✗'} {each.node.label}"))
        for line, further in dict(_lines(each, told.clock)).items():
            below = made.add(Text(line))
            for row in further:
                below.add(Text(row))
        places[each.node.path] = made
        if each.node.path:
            places[each.node.path[:-1]].children.append(made)
    file = io.StringIO()
    Console(file=file, width=WIDTH, color_system=None).print(places[()])
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _lines(told: Told, clock: Clock) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What stands under a condition, each line with what stands under it in turn."""
    for value in told.values:
        yield f"{value.label}: {_hidden(value.hidden) if value.hidden else _cell(value.value, clock)}", ()
    for evidence in told.evidence:
        counted = len(evidence.counted)
        yield f"{evidence.title}: {counted} {'row' if counted == 1 else 'rows'} counted", tuple(_rows(evidence, clock))
    yield from ((miss.text, ()) for miss in told.misses)


def _rows(evidence: Evidence, clock: Clock) -> Iterator[str]:
    seen = [row for row in evidence.counted if row.values]
    yield from (_row(row, evidence, clock) for row in seen[:ROWS])
    if len(seen) > ROWS:
        yield f"and {len(seen) - ROWS} more"
    if evidence.counted and evidence.hidden:
        yield ", ".join(f"{name} {_hidden(classes)}" for name, classes in evidence.hidden.items())


def _row(row: Row, evidence: Evidence, clock: Clock) -> str:
    names = {name: f"{name} ({evidence.masked[name]})" if name in evidence.masked else name for name in row.values}
    return ", ".join(f"{names[name]} {_cell(value, clock)}" for name, value in row.values.items() if value is not None)


def _hidden(classes: tuple[str, ...]) -> str:
    return f"(hidden: {', '.join(classes)})"


def _cell(value: object, clock: Clock) -> str:
    """A value as people read it: a moment in the project's time zone, a number without needless zeros."""
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(_cell(each, clock) for each in value)
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return moment(value.astimezone(clock.instant.tzinfo).isoformat())
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)


def _sync(session: Session, addressed: Addressed) -> None:
    out = session.out
    _segment(session, addressed.segment)
    if addressed.shown_to:
        out.text(f"\nrules of sync {addressed.sync}: shown to --role {' or '.join(addressed.shown_to)}")
    else:
        out.text(f"\nrules of sync {addressed.sync}")
        rows = [[rule.name, "keeps out" if rule.keeps_out else "", rule.label, rule.basis] for rule in addressed.rules]
        out.table(("rule", "", "when", "basis"), rows, empty="none")
    if addressed.refusals:
        out.text("\nthe sync is refused, so nobody is told:")
        for refusal in addressed.refusals:
            out.text(f"  {refusal}")
        return
    outside = f": {'not in the segment' if not addressed.segment.member else 'a rule keeps the person out'}"
    why = "" if addressed.told else f": rule {addressed.by}" if addressed.by else outside
    out.text(f"\n{'is' if addressed.told else 'is not'} among those who are told{why}")


# -- for programs --------------------------------------------------------------------------------------------------------


def _segment_json(told: Explanation) -> dict[str, Any]:
    return {
        "segment": told.segment,
        "entity": told.entity,
        "as_of": told.clock.instant.isoformat(),
        "role": told.role,
        "member": told.member,
        "turns": told.turn.day,
        "looked_ahead_days": told.turn.within,
        "tree": [_node(each) for each in told.tree],
        **told.partial.as_json(),
    }


def _node(told: Told) -> dict[str, Any]:
    return {
        "path": list(told.node.path),
        "kind": told.node.kind,
        "condition": told.node.label,
        "holds": told.holds,
        "decides": told.decides,
        "values": [{"of": value.label, "value": value.value, "hidden": list(value.hidden)} for value in told.values],
        "evidence": [
            {
                "measure": each.title,
                "counted": len(each.counted),
                "rows": [dict(row.values) for row in each.counted if row.values],
                "hidden": {name: list(classes) for name, classes in each.hidden.items()},
                "masked": dict(each.masked),
            }
            for each in told.evidence
        ],
        "misses": [{"text": miss.text, "rows": miss.rows, "days": miss.days, "amount": miss.amount} for miss in told.misses],
    }


def _sync_json(addressed: Addressed) -> dict[str, Any]:
    return {
        "sync": addressed.sync,
        "told": addressed.told,
        "rule": addressed.by,
        "rules": [{"rule": rule.name, "keeps_out": rule.keeps_out, "when": rule.label, "basis": rule.basis} for rule in addressed.rules],
        "rules_shown_to": list(addressed.shown_to),
        "refusals": [refusal.as_json() for refusal in addressed.refusals],
        "segment": _segment_json(addressed.segment),
    }
