"""The kinds under governance/: rules that counsel reads and changes. Code knows mechanisms only."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from cdp.spec.activation import Secret
from cdp.spec.base import Day, Kind, Spec, Tree
from cdp.spec.model import Names


class DataClass(Spec):
    """A class of the tree. A grant on a parent covers its children unless `inherit` is false."""

    phi: bool | None = None
    key: bool = Field(False, description="says who, not what: equality of two keys does not taint membership")
    inherit: bool = Field(True, description="false: children are reached only by their own name")
    never: bool = Field(False, description="no query may read a column of this class")
    safe_harbor: str | None = None
    law: str | None = None
    needs_consent: str | None = None
    review_by: Day | None = None
    description: str = ""


class Classes(Kind):
    """governance/classes.yml: what a value says about a person."""

    folder: ClassVar[str] = "governance"
    kind: Literal["classes"] = "classes"
    classes: dict[str, DataClass]


class Mask(Spec):
    """One way to lower a value: the classes it may be put on and the class of what comes out."""

    of: Names
    gives: str | dict[str, str] = Field(description="a class, `same`, or {class it was: class it becomes}")
    kind: Literal["hmac_sha256"] | None = None
    key: Secret | None = None
    key_version: int = 1
    per: Literal["destination"] | None = None
    over_89: Literal["null"] | None = None
    zero: tuple[str, ...] = ()
    as_of: str | None = None


class Masks(Kind):
    """governance/masks.yml."""

    folder: ClassVar[str] = "governance"
    kind: Literal["masks"] = "masks"
    masks: dict[str, Mask]


class Purpose(Spec):
    """Why something is told: the minimum necessary classes and members, the channels, the consent."""

    basis: str
    classes: Names
    members: Names
    channels: Names
    consent: str = Field(description="a name under `semantics` of consent.yml, or none_needed")
    funded_by: Names = ("none",)


class Purposes(Kind):
    """governance/purposes.yml."""

    folder: ClassVar[str] = "governance"
    kind: Literal["purposes"] = "purposes"
    purposes: dict[str, Purpose]


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


class EligibilityRule(Spec):
    """One reason to keep a person out; `when` is a condition, or {consent: missing}."""

    name: str
    when: Tree
    unless_purpose: Names = ()
    unknown: Literal["keep_out"] | None = None
    basis: str = ""


class Eligibility(Kind):
    """governance/eligibility.yml: who may not be in, in this order."""

    folder: ClassVar[str] = "governance"
    kind: Literal["eligibility"] = "eligibility"
    entity: str = "patient"
    rules: tuple[EligibilityRule, ...]


class DeclassifyTarget(Spec):
    """The exact output that a declassification is about."""

    segment: str | None = None
    trait: str | None = None


class DeclassifyEntry(Spec):
    """The one way down for membership: an exact output of an exact model."""

    name: str
    of: DeclassifyTarget
    from_: Names = Field(alias="from")
    to: str
    model_sha256: str
    reason: str
    owner: str
    approved: Day
    expires: Day


class Declassify(Kind):
    """governance/declassify.yml."""

    folder: ClassVar[str] = "governance"
    kind: Literal["declassify"] = "declassify"
    entries: tuple[DeclassifyEntry, ...] = ()


class Reviewed(Spec):
    """Who reviewed something, and when."""

    by: str = Field(description="the person or office who answers for it")
    on: Day

    @field_validator("by")
    @classmethod
    def _somebody(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must say who reviewed it")
        return value


class ValueSetReview(Spec):
    """What comparing with a value set gives away; `none` is a statement too. Without a review nothing is narrowed."""

    cls: str = Field(alias="class", description="the class of governance/classes.yml that a code of it gives away, or `none`")
    reviewed: Reviewed


class ValueSetReviews(Kind):
    """governance/value_sets.yml."""

    folder: ClassVar[str] = "governance"
    kind: Literal["value_sets"] = "value_sets"
    value_sets: dict[str, ValueSetReview]


class Agreement(Kind):
    """governance/baa/*.yml: what a receiver has signed. 45 CFR 164.502(e), 164.504(e)."""

    folder: ClassVar[str] = "governance"
    kind: Literal["baa"] = "baa"
    name: str
    counterparty: str
    type: Literal["baa", "authorization"] = "baa"
    signed: Day
    effective: Day
    expires: Day
    hosts: Names = ()
    folders: Names = Field((), description="for the `file` connector: the folders it may write")
    paths: Names = Field((), description="URL path prefixes the client may call; none: all of the hosts")
    purposes: Names
    classes: Names
    members: Names
    document: str | None = None
    document_sha256: str | None = None


class Role(Spec):
    """What people in a role may know of single people. Counts may be explored by all, small cells suppressed."""

    use: Names = Field((), description="the classes that being in a segment may tell when single members of it are shown")
    see: Names = Field((), description="the classes of values that are shown")
    small_cells: int = Field(11, ge=2, description="how many people a cell must have to be shown")
    exact_counts: bool = Field(False, description="counts are shown as they are")


class Person(Spec):
    """Somebody who uses the command line, and in which roles."""

    id: str = Field(pattern=r"^uid:[0-9]+$", description="the number that the operating system knows them by, such as uid:1001")
    email: str | None = None
    roles: Names


class Roles(Kind):
    """governance/roles.yml: who may look at what. Without people every role is anybody's."""

    folder: ClassVar[str] = "governance"
    kind: Literal["roles"] = "roles"
    roles: dict[str, Role]
    people: tuple[Person, ...] = ()
