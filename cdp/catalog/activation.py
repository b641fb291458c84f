"""What the catalog says of syncs and destinations: what leaves, where to, why, and who is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cdp.catalog.html import Html, Part, join, listed, tag
from cdp.catalog.models import Catalog
from cdp.catalog.pieces import Entry, chips, code, facts, folded, link, table
from cdp.compile import Clock
from cdp.errors import RefusedError
from cdp.governance.decide import Governor
from cdp.governance.query import GovernedQuery
from cdp.project.terms.describe import describe_rule
from cdp.spec.activation import Guards, Limit, Output, Sync

# -- syncs ------------------------------------------------------------------------------------------------------------


def syncs(catalog: Catalog, now: Clock) -> Iterator[Entry]:
    """Every sync as governance decides on it now."""
    governor = Governor.of(catalog.project)
    for name, sync in sorted(catalog.project.syncs.items()):
        yield Entry(
            ("sync", name), join(_sync(catalog, governor, sync, now)), sync.description, f"{sync.purpose} {' '.join(sync.mappings)}"
        )


def _sync(catalog: Catalog, governor: Governor, sync: Sync, now: Clock) -> Iterator[Part]:
    project = catalog.project
    destination = project.destinations[sync.destination]
    yield tag("p", sync.description) if sync.description else None
    yield catalog.warnings("sync", sync.name)
    governed: GovernedQuery | None = None
    try:
        governed = governor.govern(sync.name, clock=catalog.clock, now=now)
    except RefusedError as error:
        yield tag(
            "div", tag("strong", "Refused: nothing leaves."), tag("ul", [tag("li", str(r)) for r in error.refusals]), class_="refused"
        )
    yield facts(
        {
            "segment": link(("segment", sync.segment)),
            "destination": [link(("destination", sync.destination)), f", by {destination.channel}"],
            "agreement": destination.baa,
            "purpose": sync.purpose,
            "mode": sync.mode,
            "schedule": tag("code", sync.schedule) if sync.schedule else None,
            "one per": f"{sync.one_per}, {', '.join(sync.prefer)} first" if sync.one_per and sync.prefer else sync.one_per,
            "guards": _guards(sync.guards, project.config.guards),
            "being on it tells": chips(governed.decision.members) if governed else None,
            "left out": listed(governed.rules) if governed else None,
        }
    )
    told = governed.decision.columns if governed else {}
    yield table(("field", "from", "mask", "tells"), _fields(sync, told), f"What leaves with {sync.name}")
    yield catalog.yaml("sync", sync.name)
    if governed:
        yield folded("SQL", code(governed.select.sql("spark", pretty=True), "sql"))


def _fields(sync: Sync, told: Mapping[str, Sequence[str]]) -> Iterator[Sequence[Part]]:
    for part, fields in (("key", sync.key), ("", sync.mappings)):
        for name, output in fields.items():
            yield [tag("code", name), f" ({part})" if part else None], _from(output), output.mask or None, chips(told.get(name, ()))


def _from(output: Output) -> Html:
    if output.constant is not None:
        return join(["always ", tag("code", output.constant)])
    return tag("code", output.expr or output.of or "")


def _guards(own: Guards, defaults: Guards) -> str:
    """The limits that hold: the sync's, or the project's."""
    said = []
    for name in (field for field in Guards.model_fields if field != "empty"):
        limit = getattr(own, name) or getattr(defaults, name)
        if isinstance(limit, Limit):
            said.append(f"{name} {limit.rows if limit.rows is not None else f'{limit.share or 0:.0%}'}")
    return ", ".join([*said, f"empty: {own.empty}"])


# -- destinations -----------------------------------------------------------------------------------------------------


def destinations(catalog: Catalog) -> Iterator[Entry]:
    """Every destination with its agreement."""
    for name, destination in sorted(catalog.project.destinations.items()):
        agreement = catalog.project.policy.agreements.get(destination.baa or "")
        body: list[Part] = [
            tag("p", destination.description) if destination.description else None,
            catalog.warnings("destination", name),
            facts(
                {
                    "connector": destination.connector,
                    "channel": destination.channel,
                    "address": tag("code", destination.base_url) if destination.base_url else None,
                    "folder": tag("code", destination.file.folder) if destination.file else None,
                    "used by": catalog.used_by("destination", name),
                }
            ),
        ]
        if agreement is None:
            body.append(tag("p", "No agreement covers it: nothing may leave.", class_="refused"))
        else:
            until = f"{agreement.effective} to {agreement.expires}"
            body += [
                tag("h4", f"Agreement {agreement.name}"),
                facts(
                    {
                        "with": agreement.counterparty,
                        "type": agreement.type,
                        "holds": until,
                        "purposes": listed(agreement.purposes),
                        "values may tell": chips(agreement.classes),
                        "being on a list may tell": chips(agreement.members),
                    }
                ),
            ]
        body.append(catalog.yaml("destination", name))
        yield Entry(("destination", name), join(body), destination.description, destination.channel)


def rules(catalog: Catalog) -> Html:
    """Who may not be told about, in the order in which it is asked."""
    bound, rows = catalog.project.bound.rules, []
    for entity, eligibility in sorted(catalog.project.policy.eligibility.items()):
        for rule in eligibility.rules:
            term = bound.get((entity, rule.name))
            when = describe_rule(term, catalog.project) if term is not None else ""
            rows.append((tag("code", rule.name), link(("entity", entity)), when, ", ".join(rule.unless_purpose), rule.basis))
    return table(("rule", "of", "keeps out when", "not for", "basis"), rows, "Who is left out of every sync")
