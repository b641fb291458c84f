"""Classes, purposes, declassifications: references and dates. What they decide is the business of `cdp.governance`."""

from __future__ import annotations

from typing import Final

from cdp.project.check_entities import names_of
from cdp.project.index import CLASS, Index
from cdp.project.project import Policy, Project
from cdp.project.source import Document, short
from cdp.project.sql.statements import is_row
from cdp.project.terms.types import COVERS
from cdp.spec.model import Trait
from cdp.spec.policy import DataClass, DeclassifyEntry, Purpose

WORDS: Final = frozenset({"none_needed"})  # stands where a consent could
UNPAID: Final = frozenset({"none", "cost_of_communication"})  # 45 CFR 164.501 "marketing" (2)(i)


def check(project: Project, index: Index) -> None:
    """Report what is wrong with them."""
    policy = project.policy
    for name, data_class in policy.classes.items():
        _class(name, data_class, index)
    for name, purpose in policy.purposes.items():
        _purpose(name, purpose, policy, index)
    _declassifications(project, index)


# -- classes, purposes -----------------------------------------------------------------------------------------------


def _class(name: str, data_class: DataClass, index: Index) -> None:
    document, path = index.sources["classes", "classes"], ("classes", name)
    if not CLASS.fullmatch(name):
        hint = "lower snake case words joined by dots, such as contact.email"
        index.problems.add(document, path, f"class name {short(name)} is not one", hint=hint, key=True)
    if name == "none":
        index.problems.add(document, path, "`none` is what a review says of codes without a class", hint="choose another name", key=True)
    index.refer(document, (*path, "needs_consent"), data_class.needs_consent, index.inside("consent", "semantics"), "consent")


def _purpose(name: str, purpose: Purpose, policy: Policy, index: Index) -> None:
    document, path = index.sources["purposes", "purposes"], ("purposes", name)
    index.named(document, path, name, "purpose", key=True)
    index.refer_all(document, (*path, "classes"), purpose.classes, index.grants(), "class")
    index.refer_all(document, (*path, "members"), purpose.members, index.grants(), "class")
    semantics = index.inside("consent", "semantics")
    hint = "`semantics` of governance/consent.yml says what each consent needs"
    index.refer(document, (*path, "profile"), purpose.profile, index.inside("masks", "profiles"), "profile")
    index.refer(document, (*path, "consent"), purpose.consent, None if semantics is None else semantics | WORDS, "consent", hint=hint)
    if purpose.accounting is not None:
        _exempt(purpose, purpose.accounting.exempt, policy, document, (*path, "accounting", "exempt"), index)


def _exempt(purpose: Purpose, paragraph: str, policy: Policy, document: Document, path: tuple[str | int, ...], index: Index) -> None:
    """What is taken out of the accounting of disclosures must be what its paragraph of 45 CFR 164.528(a)(1) speaks of."""
    consent = policy.consent.semantics.get(purpose.consent) if policy.consent else None
    signed = consent is not None and consent.need == "granted" and {"purpose", "receiver"} <= set(consent.per)
    paid = set(purpose.funded_by) - UNPAID
    if paragraph.endswith("(i)") and paid:
        found = f"paid by {', '.join(sorted(paid))}, it is marketing and no treatment, payment or operations (164.501)"
        index.problems.add(document, path, found, hint='leave `accounting` out, or exempt: "164.528(a)(1)(iv)" with an authorization')
    if paragraph.endswith("(iv)") and not signed:
        hint = "a consent whose `need` is granted, `per` purpose and receiver"
        index.problems.add(document, path, f"consent {purpose.consent} is no authorization (164.508)", hint=hint)
    profile = policy.profiles.get(purpose.profile or "")
    if paragraph.endswith("(viii)") and not (profile and profile.needs == "dua"):
        index.problems.add(document, path, "it tells no limited data set (164.514(e))", hint="`profile:` names one that needs a dua")


# -- the way down -----------------------------------------------------------------------------------------------------


def _declassifications(project: Project, index: Index) -> None:
    policy, first = project.policy, dict[str, int]()
    for number, entry in enumerate(policy.declassify):
        document, path = index.sources["declassify", "declassify"], ("entries", number)
        _entry(entry, document, path, policy, index)
        _value_of(entry, document, (*path, "of"), project, index)
        if first.setdefault(entry.name, number) != number:
            line, _ = document.position(("entries", first[entry.name], "name"))
            index.problems.add(document, (*path, "name"), f"entry {entry.name!r} stands in line {line} already")


def _entry(entry: DeclassifyEntry, document: Document, path: tuple[str | int, ...], policy: Policy, index: Index) -> None:
    problems, classes = index.problems, index.inside("classes", "classes")
    index.named(document, (*path, "name"), entry.name, "entry")
    if (entry.of.segment is None) == (entry.of.trait is None):
        problems.add(document, (*path, "of"), "must name either a segment or a trait")
    else:
        index.refer(document, (*path, "of", "segment"), entry.of.segment, index.names("segment"), "segment")
        index.refer(document, (*path, "of", "trait"), entry.of.trait, index.names("trait"), "trait")
    if not entry.from_:
        problems.add(document, (*path, "from"), "must name the classes that are lowered")
    for number, name in enumerate(entry.from_):
        at = (*path, "from", number)
        if index.refer(document, at, name, classes, "class") and _special(name, policy):
            problems.add(document, at, f"{name} is a special category and cannot be declassified", hint="ask for consent instead")
    if index.refer(document, (*path, "to"), entry.to, classes, "class") and _phi(entry.to, policy) is False:
        problems.add(document, (*path, "to"), f"{entry.to} is no PHI; what was one stays one", hint="name a class with `phi: true`")
    if entry.expires < entry.approved:
        problems.add(document, (*path, "expires"), f"{entry.expires} is before it was approved, {entry.approved}")


def _value_of(entry: DeclassifyEntry, document: Document, path: tuple[str | int, ...], project: Project, index: Index) -> None:
    """A trait that is a whole row has many values: who approved one has not seen the others."""
    trait, field = project.traits.get(entry.of.trait or ""), entry.of.field
    if field is not None and (trait is None or not is_row(trait)):
        index.problems.add(document, (*path, "field"), "only a trait that is a whole row has fields", hint="remove it", key=True)
    elif trait is not None and is_row(trait):
        values = _values(trait, project)
        if field is None:
            hint = f"such as {{trait: {trait.name}, field: {min(values, default='NAME')}}}"
            index.problems.add(document, path, f"trait {trait.name} is a whole row, and `field` says which of its values", hint=hint)
        else:
            index.refer(document, (*path, "field"), field.partition(".")[0], values or None, f"value of {trait.name}")


def _values(trait: Trait, project: Project) -> frozenset[str]:
    """What there is to see of a trait that is a row; nothing where that has a mistake of its own."""
    if trait.days_covered is not None:
        return frozenset(COVERS)
    entity = project.entities.get(trait.entity)
    relation = entity.relations.get(trait.latest or trait.earliest or "") if entity else None
    target = project.entities.get(relation.many or relation.one or "") if relation else None
    return names_of(target) if target else frozenset()


def _chain(name: str, policy: Policy) -> list[DataClass]:
    """A class and its parents, the nearest first."""
    words = name.split(".")
    return [policy.classes[up] for n in range(len(words), 0, -1) if (up := ".".join(words[:n])) in policy.classes]


def _special(name: str, policy: Policy) -> bool:
    return any(not each.inherit or each.never for each in _chain(name, policy))


def _phi(name: str, policy: Policy) -> bool | None:
    return next((each.phi for each in _chain(name, policy) if each.phi is not None), None)
