"""Whether a project says who may be told by a sync, and enough of it: the reasons to refuse that no row can change."""

from __future__ import annotations

from collections.abc import Iterator

from cdp.errors import Refusal
from cdp.governance.people.audience import Audience
from cdp.governance.people.contact import OWN
from cdp.governance.people.eligibility import asked_by, settled
from cdp.project.project import Project
from cdp.project.terms import ContactOf
from cdp.project.terms.people import ConsentMissing, ContactInvalid, Rule
from cdp.project.terms.uses import within
from cdp.spec.access import Agreement
from cdp.spec.model import Entity
from cdp.spec.people import Consent


def refusals(project: Project, entity: Entity, audience: Audience, agreement: Agreement | None) -> Iterator[Refusal]:
    """Every reason why nobody can say who of an entity may be told by a sync."""
    what, eligibility = f"sync {audience.sync.name}", project.policy.eligibility.get(entity.name)
    if eligibility is None:
        fix = f"declare `kind: eligibility` with entity: {entity.name} under governance/"
        yield Refusal("eligibility", what, "", (), f"nothing says who of {entity.name} may be told", fix)
        return
    rules = tuple(rule for _, rule in audience.rules(project, eligibility))
    yield from _consents(project, entity, audience, rules)
    yield from _authorization(project, audience, agreement)
    yield from _contacts(audience, rules)


# -- consent ------------------------------------------------------------------------------------------------------------


def _consents(project: Project, entity: Entity, audience: Audience, rules: tuple[Rule, ...]) -> Iterator[Refusal]:
    what, consent = f"sync {audience.sync.name}", project.policy.consent
    semantics = consent.semantics if consent else {}
    for kind in audience.kinds:
        if kind not in semantics:
            yield Refusal("consent", what, "", (), f"the consent {kind!r} is not defined", "define it under `semantics` of consent.yml")
    asked = {kind for rule in rules if isinstance(rule.when, ConsentMissing) for kind in asked_by(rule.when, rules, audience)}
    if unasked := [kind for kind in audience.kinds if kind not in asked]:
        of_classes = asked and all(kind in audience.special for kind in unasked)
        fix = f"add a rule `when: {{{'class_consent' if of_classes else 'consent'}: missing}}` to the eligibility"
        yield Refusal("consent", what, "", (), f"consent {', '.join(unasked)} is needed, but no rule asks for it", fix)
    if audience.kinds and consent and not _consents_for(project, entity, consent):
        fix = f"declare the relation between {consent.entity}.{consent.columns.person} and {entity.name}"
        yield Refusal("consent", what, "", (), f"nothing says that {consent.entity} holds the consent of {entity.name}", fix)


def _consents_for(project: Project, entity: Entity, consent: Consent) -> bool:
    """Whether a declared relation leads from the consent's person to this entity: another's keys may look the same."""
    person, entities = consent.columns.person, project.entities
    there = [r for r in entities[consent.entity].relations.values() if r.one == entity.name and r.via in (person, {entity.key: person})]
    back = [r for r in entity.relations.values() if r.many == consent.entity and r.via in (person, {person: entity.key})]
    return bool(there or back)


def _authorization(project: Project, audience: Audience, agreement: Agreement | None) -> Iterator[Refusal]:
    """45 CFR 164.508: who is no business associate is told of those who signed for it; who pays is stated in what they sign."""
    what, consent = f"sync {audience.sync.name}", project.policy.consent
    semantics = consent.semantics if consent else {}
    signed = any("receiver" in semantics[kind].per for kind in audience.kinds if kind in semantics)
    if agreement is not None and agreement.type == "authorization" and not signed:
        missing = f"agreement {agreement.name} is no BAA: only people who signed for this receiver may be told (45 CFR 164.508)"
        yield Refusal("authorization", what, "", (), missing, "use a purpose whose consent is an authorization per receiver")
    may_be_paid = audience.sync.funded_by in project.policy.purposes[audience.sync.purpose].funded_by
    if audience.sponsored and may_be_paid and consent is not None and consent.columns.states is None and audience.authorization:
        missing = "a third party pays, and nothing says which authorizations state that: 45 CFR 164.508(a)(3)(ii)"
        yield Refusal("authorization", what, "", (), missing, "name the column under `columns: {states: ...}` of consent.yml")


# -- contact points -----------------------------------------------------------------------------------------------------


def _contacts(audience: Audience, rules: tuple[Rule, ...]) -> Iterator[Refusal]:
    """45 CFR 164.502(g)(2)-(3): a representative's address is not the person's, and ends at majority."""
    what, others = f"sync {audience.sync.name}", sorted(audience.contacts.whose - {OWN})
    mapped = ", ".join(audience.contacts.outputs)
    if others and len(audience.contacts.whose) > 1:
        missing = f"{mapped}: contact points of the person and of the {_said(others)} in one sync"
        yield Refusal("contact", what, "", (), missing, "make two syncs of it: rules decide by whom a sync reaches")
    elif others and not any(_ends(rule, audience) for rule in rules):
        missing = f"{mapped}: nothing keeps out people whose {_said(others)} may no longer be written to"
        fix = f"add a rule `when: {{all: [{{age: {{gte: 18}}}}, {{contact_of: {others[0]}}}]}}` to the eligibility"
        yield Refusal("contact", what, "", (), missing, fix)


def _ends(rule: Rule, audience: Audience) -> bool:
    """Whether a rule keeps people out of a sync because of whom it reaches."""
    if isinstance(rule.when, (ConsentMissing, ContactInvalid)) or settled(rule.when, audience) is False:
        return False
    return any(isinstance(part, ContactOf) for part in within(rule.when))


def _said(others: list[str]) -> str:
    return " and ".join(other.replace("_", " ") for other in others)
