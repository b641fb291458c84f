"""The kinds under governance/ that say who may know what: agreements of receivers, roles of people, approvals."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from cdp.spec.base import Day, Kind, Spec, Tree
from cdp.spec.model import Names


class Part2(Spec):
    """What a receiver of substance use disorder records has agreed to: 42 CFR 2.31-2.33."""

    basis: Literal["consent", "qsoa"]
    notice_field: str = Field(description="dotted path of the body's field that carries the notice: 42 CFR 2.32")
    notice: str
    consent_scope_field: str | None = Field(None, description="the field that carries what the consent covers: 2.32, as amended 2024")
    consent_scope: str | None = None


class Subprocessor(Spec):
    """Whom the receiver hands data on to; 45 CFR 164.502(e)(1)(ii), 164.308(b)(2)."""

    name: str
    flow_down: bool = Field(description="whether it is bound to the same restrictions")


class AfterEnd(Spec):
    """What may still be sent after the agreement's end: removals, of keys that the receiver holds. 45 CFR 164.504(e)(2)(ii)(J)."""

    removes: Literal["allow", "all"] = Field(
        description="`allow`: who must no longer be there is taken off; `all`: everybody is, without regard to max_remove"
    )
    days: int = Field(ge=0, description="for so many days after `expires`")


class Agreement(Kind):
    """governance/baa/*.yml: what a receiver has signed. 45 CFR 164.502(e), 164.504(e).

    `type`: `baa`; `dua`, a data use agreement for a limited data set (164.514(e)(4)); `authorization`, no agreement at all:
    only people who signed for this receiver and purpose may be told (164.508), and the dates may be left out.
    """

    folder: ClassVar[str] = "governance"
    kind: Literal["baa"] = "baa"
    name: str
    counterparty: str
    type: Literal["baa", "dua", "authorization"] = "baa"
    signed: Day | None = None
    effective: Day | None = None
    expires: Day | None = None
    hosts: Names = ()
    folders: Names = Field((), description="for the `file` connector: the folders it may write")
    paths: Names = Field((), description="URL path prefixes the client may call; none: all of the hosts")
    account: str | None = Field(None, description="our account at the receiver: the channel must answer it before the first row leaves")
    channels: Names = Field(
        (), description="what people are reached over by it, so which consents are asked for; none: what a destination says"
    )
    purposes: Names
    classes: Names
    members: Names
    labels: Literal["opaque", "named"] = Field("opaque", description="whether names of audiences may leave")
    part2: Part2 | Literal[False] = False
    subprocessors: tuple[Subprocessor, ...] = ()
    after_end: AfterEnd | None = None
    document: str | None = Field(None, description="the signed document, relative to governance/")
    document_sha256: str | None = None


VERBS = ("preview", "explain", "plan", "approve", "accept", "apply", "runs", "disclosures", "revocations", "report", "export")


class RoleRows(Spec):
    """The rows that a role reads: a condition over columns; it holds of every entity that has all of them."""

    where: Tree = Field(description="a condition; `$facilities` stands for those of the person")


class Role(Spec):
    """What people in a role may know of single people, and do. Counts may be explored by all, small cells suppressed."""

    use: Names = Field((), description="the classes that being in a segment may tell when single members of it are shown")
    see: Names = Field((), description="the classes of values that are shown")
    small_cells: int = Field(11, ge=2, description="how many people a cell must have to be shown")
    exact_counts: bool = Field(False, description="counts are shown as they are")
    rows: RoleRows | None = Field(None, description="the rows that commands which read count; never those of a plan")
    may: Names = Field((), description=f"what people in the role may do: {', '.join(VERBS)}; none: everything")
    purposes: Names = Field((), description="the purposes of the syncs that they may plan, approve and apply; none: all")


class Person(Spec):
    """Somebody who uses the command line, and in which roles."""

    id: str = Field(description="as the engine's side knows them: uid:1001, the operating system's number; user:NAME on Databricks")
    email: str | None = None
    roles: Names
    facilities: Names = ()
    public_key: str | None = Field(None, description="ed25519:BASE64 of the public key that their approvals are signed with")


class Identity(Spec):
    """How it is known who somebody is; never from $USER."""

    embedded: Literal["os_uid"] = "os_uid"
    databricks: Literal["current_user"] = "current_user"


class ApprovalRequired(Spec):
    """What needs an approval: a sync of one of these, or that tells one of the classes."""

    purposes: Names = ()
    classes: Names = ()
    channels: Names = ()
    syncs: Names = ()


class ApprovalLife(Spec):
    """How long an approval holds."""

    hours: int = Field(24, ge=1, le=24 * 31)


class Approval(Spec):
    """Which plans somebody must approve, and how. 45 CFR 164.312(d)."""

    required: ApprovalRequired
    four_eyes: bool = Field(True, description="who approves is not who planned; it needs signatures")
    expires: ApprovalLife = ApprovalLife()
    signature: Literal["ed25519"] | None = Field(None, description="none: an approval is what its author says (self-asserted)")


class Roles(Kind):
    """governance/roles.yml: who may look at what, and do what. Without people every role is anybody's."""

    folder: ClassVar[str] = "governance"
    kind: Literal["roles"] = "roles"
    identity: Identity = Identity()
    roles: dict[str, Role]
    approval: Approval | None = None
    people: tuple[Person, ...] = ()
