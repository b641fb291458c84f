"""Roles, people and approvals: references, identities, keys. What they allow is the business of `cdp.governance`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from cdp.project import keys
from cdp.project.index import Index
from cdp.project.project import Policy, Project
from cdp.project.source import Document, short
from cdp.spec.access import VERBS, Approval, Person, Role

ID: Final = re.compile(r"uid:(0|[1-9][0-9]{0,9})|user:\S+")


def check(project: Project, index: Index) -> None:
    """Report what is wrong with roles, people and approvals."""
    policy, before = project.policy, len(index.problems)
    for name, role in policy.roles.items():
        _role(name, role, index)
    _people(policy, index)
    sound = len(index.problems) == before
    if policy.approval is not None:
        _approval(policy.approval, project, index)
        if sound:  # otherwise who may approve cannot be told
            _approvers(policy.approval, policy, index)


def _role(name: str, role: Role, index: Index) -> None:
    document, path, grants = index.sources["roles", "roles"], ("roles", name), index.grants()
    index.named(document, path, name, "role", key=True)
    for key, classes in (("use", role.use), ("see", role.see)):
        index.refer_all(document, (*path, key), classes, grants and grants | {"*"}, "class")
    index.refer_all(document, (*path, "may"), role.may, frozenset(VERBS), "verb")
    index.refer_all(document, (*path, "purposes"), role.purposes, index.inside("purposes", "purposes"), "purpose")


# -- people -----------------------------------------------------------------------------------------------------------


def _people(policy: Policy, index: Index) -> None:
    document = index.sources.get(("roles", "roles"))
    if document is None:
        return
    ids: dict[str, int] = {}
    held: dict[bytes, int] = {}
    for number, person in enumerate(policy.people):
        path = ("people", number)
        index.refer_all(document, (*path, "roles"), person.roles, frozenset(policy.roles), "role")
        if not ID.fullmatch(person.id):
            hint = "uid:1001, the number that `id -u` prints; or user:NAME"
            index.problems.add(document, (*path, "id"), f"{short(person.id)} is not an identity", hint=hint)
        if (first := ids.setdefault(person.id, number)) != number:
            said = f"{person.id} stands in line {_line(document, first, 'id')} already"
            index.problems.add(document, (*path, "id"), said, hint="list all roles of one person there")
        key = _key(person, number, document, index)
        if key is not None and (first := held.setdefault(key, number)) != number:
            said = f"is the key of the person in line {_line(document, first, 'public_key')}"
            index.problems.add(document, (*path, "public_key"), said, hint="each person signs with a key of their own")


def _line(document: Document, number: int, field: str) -> int:
    return document.position(("people", number, field))[0]


def _key(person: Person, number: int, document: Document, index: Index) -> bytes | None:
    if person.public_key is None:
        return None
    try:
        return keys.raw(person.public_key)
    except ValueError as error:
        hint = "`cdp approve --make-key FILE` makes a key and prints what to write here"
        index.problems.add(document, ("people", number, "public_key"), str(error), hint=hint)
        return None


# -- approvals --------------------------------------------------------------------------------------------------------


def _approval(approval: Approval, project: Project, index: Index) -> None:
    document, required = index.sources["roles", "roles"], approval.required
    at = ("approval", "required")
    index.refer_all(document, (*at, "purposes"), required.purposes, index.inside("purposes", "purposes"), "purpose")
    index.refer_all(document, (*at, "classes"), required.classes, index.grants(), "class")
    index.refer_all(document, (*at, "channels"), required.channels, _channels(project), "channel")
    index.refer_all(document, (*at, "syncs"), required.syncs, index.names("sync"), "sync")
    if not (required.purposes or required.classes or required.channels or required.syncs):
        index.problems.add(document, at, "names nothing that needs an approval", hint="purposes, classes, channels or syncs")
    if approval.four_eyes and approval.signature is None:
        message = "four eyes needs an Ed25519 signature, otherwise it is refused"
        index.problems.add(document, ("approval", "four_eyes"), message, hint="signature: ed25519; or four_eyes: false")


def _channels(project: Project) -> frozenset[str]:
    named = {channel for purpose in project.policy.purposes.values() for channel in purpose.channels}
    return frozenset(named | {destination.channel for destination in project.destinations.values()})


def _approvers(approval: Approval, policy: Policy, index: Index) -> None:
    """An approval that nobody can give would stop what it is asked for, for good."""
    document = index.sources["roles", "roles"]
    if approval.signature is None and (approval.four_eyes or not policy.people):
        return  # refused anyway; or, without people, everything is anybody's
    able = {person.id for person in _may(policy, "approve") if person.public_key or approval.signature is None}
    planners = {person.id for person in _may(policy, "plan")}
    if not able:
        key = " and has a public_key" if approval.signature else ""
        message = f"nobody can give an approval: no one of the people may approve{key}"
        index.problems.add(document, ("approval",), message, hint="add one under `people`", key=True)
    elif approval.four_eyes and not any(planners - {one} for one in able):
        message = f"four eyes need two people, and nobody but {', '.join(able)}, who approves, may plan"
        index.problems.add(document, ("approval", "four_eyes"), message, hint="let another one of the people plan")


def _may(policy: Policy, verb: str) -> Iterable[Person]:
    roles = {name for name, role in policy.roles.items() if not role.may or verb in role.may}
    return [person for person in policy.people if not roles.isdisjoint(person.roles)]
