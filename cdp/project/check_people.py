"""Consent and eligibility: references, names and types. Who may be told is the business of `cdp.governance`."""

from __future__ import annotations

from typing import Final

from cdp.project.index import Index
from cdp.project.project import Project
from cdp.spec.model import Entity
from cdp.spec.people import Consent, Eligibility

TAKEN: Final = ("holdout", "one_per")  # counted after every rule, under these names


def check(project: Project, index: Index) -> None:
    """Report what is wrong with consent and eligibility."""
    if project.policy.consent is not None:
        _consent(project.policy.consent, project, index)
    for eligibility in project.policy.eligibility.values():
        _eligibility(eligibility, project, index)
    for entity in project.entities.values():
        _representatives(entity, index)


def _consent(consent: Consent, project: Project, index: Index) -> None:
    document = index.sources["consent", "consent"]
    entity = project.entities.get(consent.entity)
    index.refer(document, ("entity",), consent.entity, index.names("entity"), "entity")
    for field, name in consent.columns.model_dump(exclude_none=True).items():
        path = ("columns", field)
        if entity is None or not index.refer(document, path, name, frozenset(entity.columns), f"column of {entity.name}"):
            continue
        if field in ("effective", "expires", "recorded") and entity.columns[name].type not in ("date", "timestamp"):
            index.problems.add(document, path, f"column {name!r} is a {entity.columns[name].type}, not a date or timestamp")
        if field == "states" and entity.columns[name].type != "string":
            index.problems.add(document, path, f"column {name!r} is a {entity.columns[name].type}, not a text or an array of texts")
    if not consent.granted:
        index.problems.add(document, ("granted",), "must name at least one status that means yes")
    if not (consent.max_age.hours or consent.max_age.days):
        index.problems.add(document, ("max_age",), "must be longer than nothing", hint="such as {hours: 26}")
    semantics, purposes = frozenset(consent.semantics), index.inside("purposes", "purposes")
    columns = frozenset(consent.columns.model_dump(exclude_none=True, include={"purpose", "channel", "receiver"}))
    for name, each in consent.semantics.items():
        index.refer_all(document, ("semantics", name, "per"), each.per, columns, "column")
        if not each.per:
            message = "must name what a consent is for"
            index.problems.add(document, ("semantics", name, "per"), message, hint="else a yes to anything would be a yes to this")
    for channel, needed in consent.channels.items():
        index.refer(document, ("channels", channel, "consent"), needed.consent, semantics, "consent")
    for number, override in enumerate(consent.unknown_overrides):
        index.refer(document, ("unknown_overrides", number, "purpose"), override.purpose, purposes, "purpose")


def _eligibility(eligibility: Eligibility, project: Project, index: Index) -> None:
    document = index.sources["eligibility", eligibility.entity]
    index.refer(document, ("entity",), eligibility.entity, index.names("entity"), "entity")
    first: dict[str, int] = {}
    for number, rule in enumerate(eligibility.rules):
        index.named(document, ("rules", number, "name"), rule.name, "rule")
        if rule.name in TAKEN:
            message = f"{rule.name!r} is what people are counted under by a sync's own `{rule.name}`"
            index.problems.add(document, ("rules", number, "name"), message, hint="choose another")
        if first.setdefault(rule.name, number) != number:
            line, _ = document.position(("rules", first[rule.name], "name"))
            message = f"rule {rule.name!r} stands in line {line} already"
            index.problems.add(document, ("rules", number, "name"), message, hint="people are counted by rule name")
        purposes = index.inside("purposes", "purposes")
        index.refer_all(document, ("rules", number, "unless_purpose"), rule.unless_purpose, purposes, "purpose")
    asking = [number for number, rule in enumerate(eligibility.rules) if rule.replace_contact is not None]
    for number in asking[1:]:
        message = f"rule {eligibility.rules[asking[0]].name} says already where people asked to be written to"
        index.problems.add(document, ("rules", number, "replace_contact"), message, hint="one place holds the requests", key=True)
    index.refer_all(document, ("visible_to",), eligibility.visible_to, frozenset(project.policy.roles), "role")


def _representatives(entity: Entity, index: Index) -> None:
    """What is somebody's `contact_of` is a contact point, by its class."""
    for name, column in entity.columns.items():
        if column.contact_of and column.cls and not f"{column.cls}.".startswith("contact."):
            document, path = index.sources["entity", entity.name], ("columns", name, "contact_of")
            message = f"{name} is of class {column.cls}, which is no contact point"
            index.problems.add(document, path, message, hint="a class below `contact`", key=True)
