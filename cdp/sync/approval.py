"""Approvals of plans: recorded as events of the plan, and verified when it is applied.

An approval binds who, when and until when, the plan's digest, the fingerprint of the decision and all that the requirement
rests on. When one of these changes it is void. 45 CFR 164.312(d).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cdp.errors import ApprovalError, UsageError
from cdp.governance.access import Requirement
from cdp.governance.query import GovernedQuery
from cdp.project import keys
from cdp.sync import signing
from cdp.sync.ledger import Control

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from cdp.sync.plan import Plan

SKEW: Final = dt.timedelta(minutes=2)  # how far the clocks of who approves and of who applies may differ
WHAT: Final = "approval of a plan"  # the kind of thing that is signed


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval as it was recorded.

    Attributes:
        facts: what was approved; what a signature is of.
        signature: in base64; None: self-asserted.
    """

    facts: Mapping[str, Any]
    signature: str | None

    @property
    def by(self) -> str:
        """Who approved."""
        return str(self.facts.get("by"))

    @property
    def at(self) -> dt.datetime:
        """When."""
        return dt.datetime.fromisoformat(self.facts["at"])

    @property
    def expires(self) -> dt.datetime:
        """Until when it holds."""
        return dt.datetime.fromisoformat(self.facts["expires"])

    def as_json(self) -> dict[str, Any]:
        """The approval as a JSON object with stable keys."""
        named = {name: self.facts.get(name) for name in ("by", "at", "expires")}
        return {**named, "signed": self.signature is not None}


def bound(plan: Plan, query: GovernedQuery, needed: Requirement) -> dict[str, Any]:
    """What an approval is of, apart from who gives it and when: everything that makes it void when it changes."""
    decision = query.decision
    return {
        "plan": plan.id,
        "sync": plan.sync,
        "destination": plan.destination,
        "agreement": decision.agreement,
        "purpose": decision.purpose,
        "counts": dict(plan.counts),
        "columns": {name: list(classes) for name, classes in decision.columns.items()},
        "members": list(decision.members),
        "planned_by": plan.planned_by,
        "digest": plan.digest,
        "fingerprint": query.fingerprint,
        "policy": needed.policy,
    }


# -- giving one -------------------------------------------------------------------------------------------------------


def check_approver(plan: Plan, needed: Requirement, by: str, key: Ed25519PrivateKey | None) -> None:
    """Refuse somebody who may not approve this plan, or not with this key.

    Raises:
        ApprovalError: they may not approve at all, planned it themselves, or have no public key where a signature is needed.
        UsageError: their private key is missing, or is not the one of their public key.
    """
    if why := _unfit(needed, by, plan.planned_by):
        raise ApprovalError(f"plan {plan.id}: {by} cannot approve it: {why}", fix=f"ask one who can: {who(needed, plan.planned_by)}")
    if key is None and needed.signed:
        raise UsageError("the approval must be signed", fix="name the file of your private key: --key FILE")
    if key is not None and needed.keys.get(by) and keys.raw(signing.public_of(key)) != keys.raw(needed.keys[by]):
        raise UsageError(f"the key is not the one that governance/roles.yml gives {by}", fix="use the key whose public key stands there")


def give(
    plan: Plan, query: GovernedQuery, needed: Requirement, ledger: Control, *, by: str, now: dt.datetime, key: Ed25519PrivateKey | None
) -> Approved:
    """Approve a plan and record it.

    Args:
        plan: as stored.
        query: governed just now.
        needed: the approval that is asked for.
        ledger: the control tables.
        by: who approves.
        now: the wall clock.
        key: their private key; None where no signature is needed.

    Raises:
        ApprovalError: they may not.
        UsageError: the key is missing, or is not theirs.
    """
    check_approver(plan, needed, by, key)
    facts = {
        **bound(plan, query, needed),
        "by": by,
        "at": now.astimezone(dt.UTC).isoformat(),
        "expires": (now + dt.timedelta(hours=needed.hours)).astimezone(dt.UTC).isoformat(),
    }
    given = Approved(facts, signing.sign(key, WHAT, facts) if key is not None and needed.keys.get(by) else None)
    event = {"sync": plan.sync, "plan": plan.id, "event": "approved", "at": now, "actor": by, "digest": plan.digest}
    ledger.append("plans", [{**event, "body": json.dumps({"facts": facts, "signature": given.signature})}])
    return given


def who(needed: Requirement, planner: str) -> str:
    """The people who may approve a plan, for a message."""
    if needed.approvers is None:
        return "anybody"
    able = [person for person in needed.approvers if _unfit(needed, person.id, planner) is None]
    named = [f"{person.id} ({person.email})" if person.email else person.id for person in able]
    return ", ".join(named) or "nobody; see governance/roles.yml"


def _unfit(needed: Requirement, by: str, planner: str) -> str | None:
    """Why somebody cannot approve what somebody planned; None when they can."""
    if not needed.may(by):
        return "no role of theirs may approve it (governance/roles.yml)"
    if needed.signed and by not in needed.keys:
        return "they have no public_key in governance/roles.yml"
    if not needed.four_eyes:
        return None
    if not needed.signed:
        return "four eyes needs a signature (governance/roles.yml, approval)"
    if by == planner:
        return "they planned it, and four eyes are asked for"
    mine, other = needed.keys.get(by), needed.keys.get(planner)
    return "they have the key of who planned it" if mine and other and keys.raw(mine) == keys.raw(other) else None


# -- asking for one ---------------------------------------------------------------------------------------------------


def on_record(ledger: Control, plan: str) -> tuple[Approved, ...]:
    """The approvals that are on record for a plan, newest first; none of them is verified."""
    table = ledger.table("plans")
    statement = f"SELECT body FROM {table} WHERE plan = :plan AND event = 'approved' ORDER BY at DESC"
    found = ledger.engine.query(statement, {"plan": plan}, what=table).column("body").to_pylist()
    return tuple(map(_read, found))


def _read(body: str) -> Approved:
    """An approval from its event. Whoever can write the table may have written anything; what cannot be read approves nothing."""
    try:
        read = json.loads(body)
        signature = read["signature"]
        return Approved(dict(read["facts"]), signature if isinstance(signature, str) else None)
    except (ValueError, TypeError, KeyError):
        return Approved({}, None)


def approval_of(plan: Plan, query: GovernedQuery, ledger: Control, now: dt.datetime) -> Approved | None:
    """The approval under which a plan may be applied now; None when it needs none.

    A plan that only removes needs none: taking somebody off tells nobody anything new. One that was made under a policy that asks
    for an approval does not lose that need with the policy: whoever runs `cdp` chooses the checkout it is read from.

    Args:
        plan: as stored.
        query: governed just now: it knows what is asked for today, and the keys of today.
        ledger: the control tables.
        now: the wall clock.

    Raises:
        ApprovalError: it needs one, and none on record holds, with the reason of each; or it needed one when it was made, and
            today's policy, which would say whose counts, asks for none.
    """
    needed = query.approval
    if plan.removals_only or (needed is None and not plan.needs_approval):
        return None
    if needed is None:
        asked = ", ".join(plan.needs_approval)
        raise ApprovalError(
            f"plan {plan.id} of {plan.sync} was made under a policy that asks for an approval ({asked}); today's asks for none",
            fix=f"plan again: cdp plan {plan.sync}",
        )
    reasons = []
    for given in on_record(ledger, plan.id):
        reason = void(given, plan, query, needed, now)
        if reason is None:
            return given
        reasons.append(f"that of {given.by} {reason}")
    said = "; ".join(reasons) or "nobody has approved it"
    raise ApprovalError(
        f"plan {plan.id} of {plan.sync} needs an approval ({', '.join(needed.why)}): {said}",
        fix=f"cdp approve {plan.id}, by {who(needed, plan.planned_by)}",
    )


def void(given: Approved, plan: Plan, query: GovernedQuery, needed: Requirement, now: dt.datetime) -> str | None:
    """Why an approval on record does not hold; None when it does."""
    for name, value in bound(plan, query, needed).items():
        if given.facts.get(name) != value:
            return f"was for another {_WORDS.get(name, name)}"
    if why := _unfit(needed, given.by, plan.planned_by):
        return f"does not count: {why}"
    if needed.signed and not _verified(given, needed.keys[given.by]):
        return "is not signed with their key"
    try:
        at, expires = given.at, given.expires
    except (KeyError, TypeError, ValueError):
        return "says no time"
    if at.tzinfo is None or expires.tzinfo is None:
        return "says no time"
    if not plan.created - SKEW <= at <= now + SKEW:
        return f"is of {at.isoformat()}, before the plan or in the future"
    if not now < min(expires, at + dt.timedelta(hours=needed.hours)):
        return f"ended at {expires.isoformat()}"
    return None


_WORDS: Final = {"policy": "policy: it has changed since", "fingerprint": "decision", "digest": "plan", "planned_by": "planner"}


def _verified(given: Approved, public_key: str) -> bool:
    return given.signature is not None and signing.verify(public_key, given.signature, WHAT, given.facts)
