"""`cdp lineage`: from a column of the lakehouse to a receiver's field, both ways."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cdp.cli.command import command
from cdp.cli.names import kind_of
from cdp.cli.output import Branch
from cdp.cli.session import Session
from cdp.errors import UsageError

if TYPE_CHECKING:
    from cdp.catalog.flows import Field, Flow, Flows, Source
    from cdp.project.load import Project

Kind = Literal["sync", "destination", "segment", "trait", "column"]


@command("cdp lineage a1c_reminder_email", "cdp lineage clinical.patients.email", "cdp lineage in_hospice --mermaid")
def lineage(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A sync, destination, segment, trait, schema.table.column or entity.column.")],
    kind: Annotated[Kind | None, typer.Option(help="Which one is meant, when several kinds have the name.")] = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart.")] = False,
    openlineage: Annotated[bool, typer.Option("--openlineage", help="Print OpenLineage events as JSON, one for each sync.")] = False,
    namespace: Annotated[
        str | None,
        typer.Option(metavar="NS", help="With --openlineage: the namespace of the lakehouse's tables; default: the project's name."),
    ] = None,
) -> None:
    """Show where what is told comes from, and who is told. Touches no data.

    Of a sync or destination: each field that leaves, from the columns it is made of over segments and traits, with classes and
    masks; and what being in the audience tells. Of a column, segment or trait: which receivers learn of it, by a value or by
    who is on their list. It is the analysis that decides on syncs, so it never says less than that.
    """
    from cdp.catalog.flows import Flows
    from cdp.governance.decide import Governor

    _check(mermaid, openlineage, namespace, session.out.as_json)
    found = _kind(session.project, name, kind)
    flows = Flows(Governor.of(session.project), session.clock, session.now)
    shown = _flows(flows, found, name)
    if mermaid:
        from cdp.catalog.flows.mermaid import flowchart

        return session.out.text(flowchart(shown))
    if openlineage:
        return _openlineage(session, [flows.of(flow.sync.name) for flow in shown], namespace)
    if found in ("sync", "destination"):
        return _told_by(session, found, name, shown)
    return _told_of(session, flows, found, name, shown)


def _check(mermaid: bool, openlineage: bool, namespace: str | None, as_json: bool) -> None:
    """Which options go together."""
    wrong = [
        (mermaid and openlineage, "--mermaid and --openlineage print two different things"),
        (mermaid and as_json, "--mermaid and --json print two different things"),
        (namespace is not None and not openlineage, "--namespace goes with --openlineage"),
    ]
    for applies, said in wrong:
        if applies:
            raise UsageError(said, fix="leave one out; see `cdp lineage --help`")


def _kind(project: Project, name: str, wanted: Kind | None) -> Kind:
    entities = project.entities.values()
    columns = [f"{place}.{column}" for entity in entities for column in entity.columns for place in (entity.name, entity.table) if place]
    names: dict[Kind, Collection[str]] = {
        "sync": project.syncs,
        "destination": project.destinations,
        "segment": project.segments,
        "trait": project.traits,
        "column": columns,
    }
    return kind_of(name, wanted, names)


def _flows(flows: Flows, kind: Kind, name: str) -> list[Flow]:
    """The flows that NAME has to do with."""
    if kind == "sync":
        return [flows.of(name)]
    if kind == "destination":
        return [flow for flow in flows.all() if flow.sync.destination == name]
    return [flow for flow in (flow.about(flows.part(kind, name)) for flow in flows.all()) if flow is not None]


def _openlineage(session: Session, shown: Sequence[Flow], namespace: str | None) -> None:
    from cdp import __version__
    from cdp.catalog.flows.openlineage import events

    producer = f"https://pypi.org/project/composable-cdp/{__version__}"
    wanted = namespace or session.project.config.name
    session.out.json(events(session.project, shown, session.now, namespace=wanted, producer=producer))


# -- what a sync tells ------------------------------------------------------------------------------------------------


def _told_by(session: Session, kind: Kind, name: str, shown: Sequence[Flow]) -> None:
    if session.out.as_json:
        return session.out.json({"name": name, "kind": kind, "flows": [flow.as_json() for flow in shown]})
    if not shown:
        return session.out.text(f"no sync leads to {name}")
    for number, flow in enumerate(shown):
        if number:
            session.out.text()
        session.out.tree(_flow(flow))
    return None


def _flow(flow: Flow) -> Branch:
    agreement = f"agreement {flow.agreement}" if flow.agreement else "no agreement"
    head = f"sync {flow.sync.name} -> {flow.sync.destination} ({agreement}, purpose {flow.sync.purpose})"
    below = [Branch(_heading(field), tuple(_ways(field.sources))) for field in flow.all] if flow.followed else []
    return Branch(head, (*_refused(flow), *_around(flow), *below))


def _around(flow: Flow) -> list[Branch]:
    """What holds of the sync as a whole."""
    lines = [Branch(f"rows of {cls} are withheld: {', '.join(tables)}") for cls, tables in _by_class(flow.withheld).items()]
    return [*lines, *([Branch(f"its plans need an approval: {', '.join(flow.approval)}")] if flow.approval else [])]


def _by_class(withheld: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for cls, table in withheld:
        found.setdefault(cls, []).append(table)
    return found


def _refused(flow: Flow) -> list[Branch]:
    if not flow.refusals:
        return []
    count = len(flow.refusals)
    how = (
        "nothing leaves" if flow.followed else "its query cannot be followed, so nothing is known of what it would tell, and nothing leaves"
    )
    return [Branch(f"REFUSED for {count} reason{'s' if count != 1 else ''}: {how}; `cdp validate {flow.sync.name}` says why")]


def _heading(field: Field) -> str:
    """What a field tells, and how it came to tell no more than that."""
    after, means = ", ".join(field.after) or "nothing", _means(field)
    return (
        f"{_name(field)}: {', '.join(field.before)} -> {after}{means}" if field.before != field.after else f"{_name(field)}: {after}{means}"
    )


def _name(field: Field) -> str:
    made = f" <- {field.of}" if field.is_value and field.of != field.name else ""
    return f"{field.name}{' (key)' if field.key else ''}{made}"


def _means(field: Field) -> str:
    """What lowers a field."""
    means = [*([f"mask {field.mask}"] if field.mask else []), *(f"declassify {entry}" for entry in field.declassified)]
    return f" [{', '.join(means)}]" if means else ""


def _ways(sources: Iterable[Source], depth: int = 0) -> list[Branch]:
    """The sources, those that come over the same model below it."""
    branches = []
    for model, group in groupby(sources, key=lambda source: source.via[depth] if len(source.via) > depth else None):
        if model is None:
            branches += _facts(group)
        else:
            branches.append(Branch(" ".join(model), tuple(_ways(group, depth + 1))))
    return branches


def _facts(sources: Iterable[Source]) -> list[Branch]:
    """One line for each table and class."""
    columns: dict[tuple[str, str], list[str]] = {}
    for source in sources:
        columns.setdefault((source.fact.table, source.fact.cls), []).append(source.fact.column or "(being there)")
    return [Branch(f"{table}: {', '.join(names)}  {cls}") for (table, cls), names in columns.items()]


# -- who learns of something ------------------------------------------------------------------------------------------


def _told_of(session: Session, flows: Flows, kind: Kind, name: str, shown: Sequence[Flow]) -> None:
    sources = flows.segment(name) if kind == "segment" else flows.trait(name) if kind == "trait" else ()
    classes = sorted({source.fact.cls for source in sources}) if sources else list(flows.declared(name))
    roles = flows.seen_by(classes)
    if session.out.as_json:
        return session.out.json(
            {
                "name": name,
                "kind": kind,
                "tells": classes,
                "sources": [source.as_json() for source in sources],
                "values": [_learned(flow, field) for flow in shown for field in flow.fields],
                "members": [_learned(flow, flow.members) for flow in shown if flow.members.sources],
                "roles": roles,
            }
        )
    below = [
        Branch("made of", tuple(_ways(sources, depth=1))),
        Branch("told in a field to", tuple(_receivers(shown, (kind, name), values=True)) or (Branch("nobody"),)),
        Branch("told by who is on their list to", tuple(_receivers(shown, (kind, name), values=False)) or (Branch("nobody"),)),
        Branch(f"roles that may see single values of these classes: {', '.join(roles) or 'none'}"),
    ]
    return session.out.tree(Branch(f"{kind} {name}: {', '.join(classes)}", tuple(below if sources else below[1:])))


def _learned(flow: Flow, field: Field) -> dict[str, Any]:
    head = {key: value for key, value in flow.as_json().items() if key in ("sync", "receiver", "agreement", "purpose", "refused")}
    return {**head, **field.as_json()}


def _receivers(shown: Sequence[Flow], asked: tuple[str, str], *, values: bool) -> list[Branch]:
    """The receivers, with each of their fields that tells of what is asked, and the models on the way to it."""
    told = [(flow, field) for flow in shown for field in (flow.fields if values else (flow.members,)) if field.sources]
    told.sort(key=lambda pair: pair[0].sync.destination)
    branches = []
    for receiver, group in groupby(told, key=lambda pair: pair[0].sync.destination):
        lines = [Branch(_line(flow, field), tuple(Branch(way) for way in _over(field, asked))) for flow, field in group]
        branches.append(Branch(receiver, tuple(lines)))
    return branches


def _line(flow: Flow, field: Field) -> str:
    told = f": {_heading(field)}" if field.is_value else _means(field)
    return f"sync {flow.sync.name}{_state(flow)}{told}"


def _over(field: Field, asked: tuple[str, str]) -> list[str]:
    """The ways from a field to what is asked."""
    ways = {source.via[: source.via.index(asked) + 1] if asked in source.via else source.via for source in field.sources}
    return [f"over {', '.join(' '.join(part) for part in way)}" for way in sorted(ways) if way]


def _state(flow: Flow) -> str:
    return " (refused: nothing leaves)" if flow.refusals else ""
