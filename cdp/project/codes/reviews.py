"""Reviews of value sets: who said what comparing with a list gives away, of exactly which codes.

A review is one of codes, not of a name: it holds the fingerprint of what was looked at. A list that has other codes since,
from whatever source (a CSV, a FHIR ValueSet, a hierarchy, another list), is reviewed by nobody until somebody looks again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from cdp.project.index import Index
from cdp.project.project import Project
from cdp.project.source import short
from cdp.spec.model import Codes, ValueSet
from cdp.spec.policy import ValueSetReview


def fingerprint(members: Iterable[Codes]) -> str:
    """SHA-256, as hex, of a list's codes with their systems; their order and where they come from do not count."""
    pairs = sorted({(part.system, code) for part in members for code in part.codes})
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def standing(project: Project, name: str) -> ValueSetReview | None:
    """The review of a value set, if it is one of the codes that the set holds now."""
    review, value_set = project.policy.reviews.get(name), project.value_sets.get(name)
    if review is None or value_set is None or review.reviewed.sha256 != fingerprint(value_set.members):
        return None
    return review


def line(review: ValueSetReview, value_set: ValueSet) -> str:
    """The review's line of governance/value_sets.yml once somebody has looked at the codes as they are now."""
    said = review.reviewed
    reviewed = f"by: {said.by}, on: {said.on}, sha256: {fingerprint(value_set.members)}"
    return f"{value_set.name}: {{class: {review.cls}, reviewed: {{{reviewed}}}}}"


def check(project: Project, index: Index) -> None:
    """Report reviews of what is not there; warn of value sets whose codes, as they are, nobody has reviewed."""
    classes = index.inside("classes", "classes")
    for name, review in project.policy.reviews.items():
        document, path = index.sources["value_sets", "value_sets"], ("value_sets", name)
        index.refer(document, path, name, index.names("value_set"), "value set", key=True)
        index.refer(document, (*path, "class"), review.cls, classes and classes | {"none"}, "class")
        if name in project.value_sets and standing(project, name) is None:
            message, hint = outdated(review, project.value_sets[name])
            index.problems.warn(document, (*path, "reviewed", "sha256"), message, hint=hint)
    _unreviewed(project, index)


def outdated(review: ValueSetReview, value_set: ValueSet) -> tuple[str, str]:
    """What is wrong with a review that does not stand, and the fix."""
    now, said = fingerprint(value_set.members), review.reviewed
    paste = f"`cdp governance review {value_set.name}` lists them; if {review.cls} holds of all, write sha256: {now}"
    if said.sha256 is None:
        return "the review does not say of which codes it is, so it is one of none", paste
    return f"the codes are others than {short(said.by)} reviewed on {said.on}, so they are not reviewed", paste


def _unreviewed(project: Project, index: Index) -> None:
    """Warn of value sets without a review, where one would narrow what a comparison tells: then syncs are refused for it."""
    reviews = index.inside("value_sets", "value_sets")
    if reviews is None or not any(column.may_hold for entity in project.entities.values() for column in entity.columns.values()):
        return
    for name in project.value_sets.keys() - reviews:
        message = f"nobody has reviewed value set {name}: comparing with it tells all that the column may hold"
        index.problems.warn(index.sources["value_set", name], ("name",), message, hint="state its class in governance/value_sets.yml")
