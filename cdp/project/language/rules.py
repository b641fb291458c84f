"""Binding of the rules of governance/eligibility.yml: who may not be told.

A rule's conditions may name the sync that asks, as a template names its parameters: `$receiver` is the agreement's name,
`$channel` the destination's, `$purpose` the sync's. A rule is bound once as it is written, and once for each way in which
the project's syncs fill it in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cdp.project.language import templates
from cdp.project.language.scope import outermost
from cdp.project.terms import ColumnRef, Condition, Exists, Measure, Picked
from cdp.project.terms.people import ConsentMissing, ContactInvalid, Instead, Rule
from cdp.project.terms.uses import plain
from cdp.spec.activation import Destination, Sync
from cdp.spec.model import Entity
from cdp.spec.people import EligibilityRule, ReplaceContact

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place
    from cdp.project.terms.bound import Filled

WORDS: Final = ("receiver", "channel", "purpose")

# What a rule may say of the sync instead of the person, each a rule by itself.
_ALONE: Final[Mapping[tuple[str, str], ConsentMissing | ContactInvalid]] = {
    ("consent", "missing"): ConsentMissing(),
    ("class_consent", "missing"): ConsentMissing(of_classes=True),
    ("contact_point", "invalid"): ContactInvalid(),
}
ALONE: Final[Mapping[str, str]] = dict(_ALONE.keys())


def words_of(sync: Sync, destination: Destination) -> dict[str, str]:
    """What `$receiver`, `$channel` and `$purpose` stand for in a rule that a sync asks."""
    return {"receiver": destination.baa or destination.name, "channel": destination.channel, "purpose": sync.purpose}


def bind_rules(binder: Binder) -> tuple[dict[tuple[str, str], Rule], dict[Filled, Rule]]:
    """The rules by entity and name: as they are written, and filled in with the words of the syncs that ask them."""
    written: dict[tuple[str, str], Rule] = {}
    filled: dict[Filled, Rule] = {}
    for name, eligibility in binder.project.policy.eligibility.items():
        asking = list(_words_of_syncs(binder, name))
        for number, spec in enumerate(eligibility.rules):
            at = binder.place("eligibility", name, "rules", number)
            used = tuple(sorted(set(templates.named(spec.when)) | set(templates.named(spec.unless))))
            rule = _rule(binder, spec, name, {word: f"${word}" for word in WORDS}, at)
            if rule is None:
                continue
            written[name, spec.name] = replace(rule, words=used)
            for given in dict.fromkeys(tuple((word, words[word]) for word in used) for words in asking if used):
                meant = _rule(binder, spec, name, dict(given), at)
                if meant is not None:
                    filled[name, spec.name, given] = meant
    return written, filled


def _words_of_syncs(binder: Binder, entity: str) -> Iterator[dict[str, str]]:
    project = binder.project
    for sync in project.syncs.values():
        segment, destination = project.segments.get(sync.segment), project.destinations.get(sync.destination)
        if segment is not None and destination is not None and segment.entity == entity:
            yield words_of(sync, destination)


def _rule(binder: Binder, spec: EligibilityRule, name: str, given: Mapping[str, str], at: Place) -> Rule | None:
    """A rule with its words filled in; None after a problem was reported."""
    entity = binder.project.entities.get(name)
    if entity is None:
        return None
    when = _when(binder, spec.when, entity, given, at.child("when"))
    if when is None:
        return None
    unless = instead = None
    if spec.unless is not None:
        unless = _unless(binder, spec.unless, entity, given, when, at.child("unless"))
    if spec.replace_contact is not None:
        instead = _instead(binder, spec, spec.replace_contact, when, at.child("replace_contact"))
    if spec.unknown and not isinstance(when, (ConsentMissing, ContactInvalid)) and not plain(when):
        hint = "a measure or path is never unknown"
        return at.child("when").wrong("`unknown: keep_out` needs a test of the person's own columns", hint=hint)
    return Rule(when, unless, instead)


def _when(
    binder: Binder, tree: Any, entity: Entity, given: Mapping[str, str], at: Place
) -> Condition | ConsentMissing | ContactInvalid | None:
    """What keeps a person out; some words say it of the sync, and each of these is a rule of its own."""
    word = next((word for word in ALONE if isinstance(tree, dict) and word in tree and word not in entity.columns), None)
    if word is None:
        return _condition(binder, tree, entity, given, at)
    if len(tree) == 1 and (word, tree[word]) in _ALONE:
        return _ALONE[word, tree[word]]
    return at.wrong(f"{word} is a rule of its own: `when: {{{word}: {ALONE[word]}}}`", hint="make two rules of it")


def _unless(binder: Binder, tree: Any, entity: Entity, given: Mapping[str, str], when: object, at: Place) -> Condition | None:
    if isinstance(when, ConsentMissing):
        hint = "people about whom nothing is recorded: `unknown_overrides` of consent.yml"
        return at.wrong("nobody is told without the consent that they must give", hint=hint, key=True)
    return _condition(binder, tree, entity, given, at)


def _condition(binder: Binder, tree: Any, entity: Entity, given: Mapping[str, str], at: Place) -> Condition | None:
    before = len(binder.problems)
    tree = templates.filled(tree, given, at)
    return binder.condition(tree, entity, at, scope=outermost(entity, of_sync=True)) if len(binder.problems) == before else None


# -- the address that somebody asked for --------------------------------------------------------------------------------


def _instead(binder: Binder, rule: EligibilityRule, spec: ReplaceContact, when: object, at: Place) -> Instead | None:
    """Where to write: two columns of the latest of the rows that `has` finds."""
    if rule.unless is not None:
        return at.wrong("an address that somebody asked for has no `unless`", hint="say in `where` which requests count", key=True)
    if not isinstance(when, Exists) or when.measure.up or when.measure.hops:
        return at.wrong("needs `when: {has: RELATION, ...}`: the rows that say what was asked for", key=True)
    measure, entity = when.measure, binder.project.entities[when.measure.link.entity]
    if entity.time is None:
        return at.wrong(f"the latest request counts, but {entity.name} has no `time`", hint="declare the column that says when", key=True)
    channel, value = _column(measure, entity, spec.channel, at.child("channel")), _column(measure, entity, spec.value, at.child("value"))
    return Instead(channel, value) if channel is not None and value is not None else None


def _column(measure: Measure, entity: Entity, name: str, at: Place) -> Picked | None:
    column = entity.columns.get(name)
    if column is None:
        return at.wrong(f"{entity.name} has no {name!r}", value=name, valid=entity.columns)
    if column.type != "string" or column.array or column.fields:
        return at.wrong(f"{entity.name}.{name} is no text")
    return Picked(replace(measure, verb="latest"), ColumnRef((), entity.name, name, column.type))
