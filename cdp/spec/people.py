"""The kinds under governance/ that say who may be told: consent and eligibility."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from cdp.spec.base import Day, Kind, Spec, Tree
from cdp.spec.model import Names


class ConsentColumns(Spec):
    """The columns of the consent table."""

    person: str
    purpose: str
    channel: str
    receiver: str | None = None
    status: str
    effective: str
    expires: str | None = None
    recorded: str
    states: str | None = Field(None, description="what the text of an authorization states: words such as `remuneration`")


class Semantics(Spec):
    """What one kind of consent needs."""

    need: Literal["granted", "not_refused"]
    unknown: Literal["refuse", "allow"] = "refuse"
    per: Names = ("purpose", "channel")
    valid: str | None = None


class ChannelConsent(Spec):
    """The consent that a channel needs whatever the purpose."""

    consent: str
    basis: str


class UnknownOverride(Spec):
    """A signed exception: people about whom nothing is recorded may be told."""

    purpose: str
    channel: str
    unknown: Literal["allow"]
    by: str
    on: Day
    reason: str


class MaxAge(Spec):
    """The age at which the consent load counts as stale."""

    hours: int | None = None
    days: int | None = None


class Consent(Kind):
    """governance/consent.yml: where consent stands and how it reads."""

    folder: ClassVar[str] = "governance"
    kind: Literal["consent"] = "consent"
    entity: str = Field("consent", description="the entity that holds the consents")
    columns: ConsentColumns
    granted: Names
    evaluate_at: Literal["now"] = "now"
    max_age: MaxAge
    semantics: dict[str, Semantics]
    channels: dict[str, ChannelConsent] = {}
    unknown_overrides: tuple[UnknownOverride, ...] = ()


class ReplaceContact(Spec):
    """Which columns of a request for confidential communications (45 CFR 164.522(b)) say where to write instead.

    The request is the relation that the rule's `has` names. Whoever asked for another channel than the sync's is kept out.
    """

    channel: str = Field(description="the column that holds the channel asked for")
    value: str = Field(description="the column that holds the address or number asked for")


class EligibilityRule(Spec):
    """One reason to keep a person out.

    `when` is a condition over the person, in which `$receiver`, `$channel` and `$purpose` stand for the sync's, or one of
    {consent: missing}, {class_consent: missing}, {contact_point: invalid}. {contact_of: personal_representative} may stand
    in any of its conditions: whether the sync writes to somebody else is known before there is any row.
    """

    name: str
    when: Tree
    unless_purpose: Names = ()
    unless: Tree | None = Field(None, description="a condition like `when`: whom the rule does not keep out after all")
    unknown: Literal["keep_out"] | None = None
    replace_contact: ReplaceContact | None = Field(None, description="the address that they asked for takes the place of the one on file")
    basis: str = ""


class Eligibility(Kind):
    """governance/eligibility.yml: who may not be in, in this order."""

    folder: ClassVar[str] = "governance"
    kind: Literal["eligibility"] = "eligibility"
    entity: str = "patient"
    rules: tuple[EligibilityRule, ...]
    visible_to: Names = Field(
        (), description="the roles that may see which rule keeps a single person out (cdp explain SYNC KEY); none: whoever may explain"
    )
