"""Who may do what: the roles of people, and the approvals that plans need. 45 CFR 164.308(a)(4), 164.312(a)(1), (d)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import BaseModel

from cdp.errors import Refusal
from cdp.project.load import Policy, Project
from cdp.spec.access import Approval, Person, Role
from cdp.spec.activation import Destination, Sync

ROLES = ("roles", "roles")  # the document of governance/roles.yml


# -- verbs ------------------------------------------------------------------------------------------------------------


def permits(role: Role, verb: str, purpose: str | None = None) -> bool:
    """Whether a role lets its people do something, for syncs of a purpose or at all."""
    return (not role.may or verb in role.may) and (purpose is None or not role.purposes or purpose in role.purposes)


def allowed(policy: Policy, person: Person, verb: str, purpose: str | None = None, role: str | None = None) -> bool:
    """Whether one of a person's roles, or the one that they act in, lets them do something."""
    return any(permits(policy.roles[name], verb, purpose) for name in person.roles if role in (None, name) and name in policy.roles)


def refused(project: Project, identity: str, verb: str, purpose: str | None = None, role: str | None = None) -> Refusal | None:
    """Why somebody may not do something; None when they may. Without people everything is anybody's.

    Args:
        project: its governance/roles.yml decides.
        identity: who asks, as the engine's side knows them: `uid:1001`.
        verb: one of `cdp.spec.access.VERBS`.
        purpose: of the sync that it is about.
        role: the role that they act in, where they name one: what another of theirs may do does not count.
    """
    policy = project.policy
    person = next((each for each in policy.people if each.id == identity), None)
    if not policy.people or (person is not None and allowed(policy, person, verb, purpose, role)):
        return None
    roles = [name for name, role in policy.roles.items() if permits(role, verb, purpose)]
    what = f"`{verb}` for purpose {purpose}" if purpose else f"`{verb}`"
    has = "is not among the people" if person is None else f"acts as {role}" if role else f"has {', '.join(person.roles) or 'no role'}"
    missing = f"{has}; {what} is for {', '.join(roles) or 'no role'} ({_place(project, person)})"
    return Refusal("role", identity, "", (), missing, "have the owners of governance/roles.yml add it")


def _place(project: Project, person: Person | None) -> str:
    document, people = project.sources[ROLES], project.policy.people
    path: tuple[str | int, ...] = ("people", people.index(person)) if person else ("people",)
    return f"{document.file}:{document.position(path, key=True)[0]}"


# -- approvals --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Requirement:
    """The approval that a plan of a sync needs today.

    Attributes:
        why: what asks for it: `purpose marketing`, `class sensitive.sud`.
        approvers: the people who may give it; None: anybody, because the project names no people.
        keys: the public key of everybody who has one, by id.
        signed: whether it needs a signature.
        four_eyes: whether who planned may not give it.
        hours: how long it holds.
        policy: SHA-256 of all that it rests on; when that changes, it is void.
    """

    why: tuple[str, ...]
    approvers: tuple[Person, ...] | None
    keys: Mapping[str, str]
    signed: bool
    four_eyes: bool
    hours: int
    policy: str

    def may(self, identity: str) -> bool:
        """Whether somebody may give the approval, leaving aside who planned."""
        return self.approvers is None or any(person.id == identity for person in self.approvers)


def requirement(
    project: Project, sync: Sync, destination: Destination, columns: Mapping[str, tuple[str, ...]], members: tuple[str, ...]
) -> Requirement | None:
    """The approval that plans of a sync need; None when they need none.

    Args:
        project: its policy asks for approvals, and says who may give them.
        sync: what is planned.
        destination: where it goes.
        columns: the classes that each column tells.
        members: the classes that being in the audience tells.
    """
    policy = project.policy
    told = {cls for classes in (members, *columns.values()) for cls in classes}
    why = tuple(_why(policy.approval, sync, destination, told)) if policy.approval else ()
    if policy.approval is None or not why:
        return None
    able = tuple(person for person in policy.people if allowed(policy, person, "approve", sync.purpose))
    return Requirement(
        why=why,
        approvers=able if policy.people else None,
        keys={person.id: person.public_key for person in policy.people if person.public_key},
        signed=policy.approval.signature is not None,
        four_eyes=policy.approval.four_eyes,
        hours=policy.approval.expires.hours,
        policy=_digest(project, sync, destination),
    )


def _why(approval: Approval, sync: Sync, destination: Destination, told: set[str]) -> Iterator[str]:
    """What asks for an approval. A class asks for those below it too, special ones included: more is asked, not less."""
    required = approval.required
    yield from (f"sync {name}" for name in required.syncs if name == sync.name)
    yield from (f"purpose {name}" for name in required.purposes if name == sync.purpose)
    yield from (f"channel {name}" for name in required.channels if name == destination.channel)
    yield from (f"class {cls}" for cls in sorted(told) if any(at_or_below(cls, name) for name in required.classes))


def at_or_below(cls: str, name: str) -> bool:
    """Whether a class is another or stands below it."""
    return cls == name or cls.startswith(f"{name}.")


def _digest(project: Project, sync: Sync, destination: Destination) -> str:
    """SHA-256 over the whole policy, what the tables are declared to say, and the sync: not over files, so comments do not matter.

    Any change voids approvals, not only one that loosens: what somebody signed is then what stands.
    """
    says = {
        name: {
            "rows": entity.rows,
            "columns": {c: [each.cls, each.may_hold, each.contact_of, each.free_text] for c, each in entity.columns.items()},
        }
        for name, entity in project.entities.items()
    }
    parts = {each.name: _plain(getattr(project.policy, each.name)) for each in fields(project.policy)}
    body = {"policy": parts, "says": says, "sync": _plain(sync), "destination": _plain(destination)}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
