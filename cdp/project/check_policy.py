"""References, names and dates of the kinds under governance/. What they decide is the business of `cdp.governance`."""

from __future__ import annotations

import re
from typing import Final

from cdp.project.index import CLASS, Index
from cdp.project.project import Policy, Project
from cdp.project.source import Document, short
from cdp.spec.policy import Agreement, Consent, DataClass, DeclassifyEntry, Eligibility, Mask, Purpose, Role

HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
SHA256: Final = re.compile(r"[0-9a-f]{64}")
WORDS: Final = frozenset({"none_needed"})  # stands where a consent could


def check(project: Project, index: Index) -> None:
    """Report what is wrong with the kinds under governance/."""
    policy = project.policy
    for name, data_class in policy.classes.items():
        _class(name, data_class, index)
    for name, mask in policy.masks.items():
        _mask(name, mask, index)
    for name, purpose in policy.purposes.items():
        _purpose(name, purpose, index)
    if policy.consent is not None:
        _consent(policy.consent, project, index)
    for eligibility in policy.eligibility.values():
        _eligibility(eligibility, index)
    for name, review in policy.reviews.items():
        document, path = index.sources["value_sets", "value_sets"], ("value_sets", name)
        index.refer(document, path, name, index.names("value_set"), "value set", key=True)
        classes = index.inside("classes", "classes")
        index.refer(document, (*path, "class"), review.cls, classes and classes | {"none"}, "class")
    _declassifications(policy, index)
    for name, agreement in policy.agreements.items():
        _agreement(agreement, index.sources["baa", name], index)
    for name, role in policy.roles.items():
        _role(name, role, index)
    _people(policy, index)


# -- classes, masks, purposes -----------------------------------------------------------------------------------------


def _class(name: str, data_class: DataClass, index: Index) -> None:
    document, path = index.sources["classes", "classes"], ("classes", name)
    if not CLASS.fullmatch(name):
        hint = "lower snake case words joined by dots, such as contact.email"
        index.problems.add(document, path, f"class name {short(name)} is not one", hint=hint, key=True)
    if name == "none":
        index.problems.add(document, path, "`none` is what a review says of codes without a class", hint="choose another name", key=True)
    index.refer(document, (*path, "needs_consent"), data_class.needs_consent, index.inside("consent", "semantics"), "consent")


def _mask(name: str, mask: Mask, index: Index) -> None:
    document, path = index.sources["masks", "masks"], ("masks", name)
    classes, grants = index.inside("classes", "classes"), index.grants()
    index.named(document, path, name, "mask", key=True)
    index.refer_all(document, (*path, "of"), mask.of, grants and grants | {"*"}, "class")
    if isinstance(mask.gives, str):
        index.refer(document, (*path, "gives"), mask.gives, classes and classes | {"same"}, "class")
    else:
        for was, becomes in mask.gives.items():
            index.refer(document, (*path, "gives", was), was, grants, "class", key=True)
            index.refer(document, (*path, "gives", was), becomes, classes and classes | {"same"}, "class")
    if mask.kind is not None and mask.key is None:
        index.problems.add(document, path, f"a mask of kind {mask.kind} needs a key", hint="key: {env: NAME_OF_A_VARIABLE}", key=True)


def _purpose(name: str, purpose: Purpose, index: Index) -> None:
    document, path = index.sources["purposes", "purposes"], ("purposes", name)
    index.named(document, path, name, "purpose", key=True)
    index.refer_all(document, (*path, "classes"), purpose.classes, index.grants(), "class")
    index.refer_all(document, (*path, "members"), purpose.members, index.grants(), "class")
    semantics = index.inside("consent", "semantics")
    hint = "`semantics` of governance/consent.yml says what each consent needs"
    index.refer(document, (*path, "consent"), purpose.consent, None if semantics is None else semantics | WORDS, "consent", hint=hint)


# -- people -----------------------------------------------------------------------------------------------------------


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


def _eligibility(eligibility: Eligibility, index: Index) -> None:
    document = index.sources["eligibility", eligibility.entity]
    index.refer(document, ("entity",), eligibility.entity, index.names("entity"), "entity")
    first: dict[str, int] = {}
    for number, rule in enumerate(eligibility.rules):
        index.named(document, ("rules", number, "name"), rule.name, "rule")
        if first.setdefault(rule.name, number) != number:
            line, _ = document.position(("rules", first[rule.name], "name"))
            message = f"rule {rule.name!r} stands in line {line} already"
            index.problems.add(document, ("rules", number, "name"), message, hint="people are counted by rule name")
        purposes = index.inside("purposes", "purposes")
        index.refer_all(document, ("rules", number, "unless_purpose"), rule.unless_purpose, purposes, "purpose")


# -- the way down, and who has signed ---------------------------------------------------------------------------------


def _declassifications(policy: Policy, index: Index) -> None:
    first: dict[str, int] = {}
    for number, entry in enumerate(policy.declassify):
        document, path = index.sources["declassify", "declassify"], ("entries", number)
        _entry(entry, document, path, policy, index)
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


def _chain(name: str, policy: Policy) -> list[DataClass]:
    """A class and its parents, the nearest first."""
    words = name.split(".")
    return [policy.classes[up] for n in range(len(words), 0, -1) if (up := ".".join(words[:n])) in policy.classes]


def _special(name: str, policy: Policy) -> bool:
    return any(not each.inherit or each.never for each in _chain(name, policy))


def _phi(name: str, policy: Policy) -> bool | None:
    return next((each.phi for each in _chain(name, policy) if each.phi is not None), None)


def _agreement(agreement: Agreement, document: Document, index: Index) -> None:
    problems = index.problems
    index.named(document, ("name",), agreement.name, "agreement")
    index.refer_all(document, ("purposes",), agreement.purposes, index.inside("purposes", "purposes"), "purpose")
    index.refer_all(document, ("classes",), agreement.classes, index.grants(), "class")
    index.refer_all(document, ("members",), agreement.members, index.grants(), "class")
    if agreement.signed > agreement.expires:
        problems.add(document, ("expires",), f"{agreement.expires} is before it was signed, {agreement.signed}")
    if agreement.effective >= agreement.expires:
        problems.add(document, ("expires",), f"{agreement.expires} is not after it takes effect, {agreement.effective}")
    for number, host in enumerate(agreement.hosts):
        if not HOST.fullmatch(host):
            hint = "an exact name in lower case, such as api.example.org; no wildcard, scheme or path"
            problems.add(document, ("hosts", number), f"{short(host)} is not a host", hint=hint)
    for number, prefix in enumerate(agreement.paths):
        if not prefix.startswith("/"):
            problems.add(document, ("paths", number), f"path {short(prefix)} does not begin with /")
    if agreement.document_sha256 is not None and not SHA256.fullmatch(agreement.document_sha256):
        problems.add(document, ("document_sha256",), "is not a SHA-256: 64 digits 0-9 and a-f")


# -- who may look -----------------------------------------------------------------------------------------------------


def _role(name: str, role: Role, index: Index) -> None:
    document, path, grants = index.sources["roles", "roles"], ("roles", name), index.grants()
    index.named(document, path, name, "role", key=True)
    for key, classes in (("use", role.use), ("see", role.see)):
        index.refer_all(document, (*path, key), classes, grants and grants | {"*"}, "class")


def _people(policy: Policy, index: Index) -> None:
    first: dict[str, int] = {}
    for number, person in enumerate(policy.people):
        document, path = index.sources["roles", "roles"], ("people", number)
        index.refer_all(document, (*path, "roles"), person.roles, frozenset(policy.roles), "role")
        if first.setdefault(person.id, number) != number:
            line, _ = document.position(("people", first[person.id], "id"))
            index.problems.add(
                document, (*path, "id"), f"{person.id} stands in line {line} already", hint="list all roles of one person there"
            )
