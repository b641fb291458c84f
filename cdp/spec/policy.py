"""The kinds under governance/: rules that counsel reads and changes. Code knows mechanisms only."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

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


Mechanism = Literal["null", "constant", "redact", "hmac_sha256", "sha256", "last4", "year", "age_band", "zip3"]
MECHANISMS: tuple[str, ...] = get_args(Mechanism)
CONSTANTS = frozenset({"null", "constant", "redact"})  # the same in every row: they tell nothing and may stand on anything
WIRE = frozenset({"hmac_sha256"})  # computed on Arrow columns at apply, so that no key stands in a query


class Mask(Spec):
    """One way to lower a value: the classes it may be put on and the class of what comes out."""

    of: Names
    gives: str | dict[str, str] = Field(description="a class, `same`, or {class it was: class it becomes}")
    kind: Mechanism | None = Field(None, description="how it works, where its name does not say so")
    key: Secret | None = Field(None, description="`hmac_sha256`: where its key stands")
    key_version: int = Field(1, ge=1, description="`hmac_sha256`: another version gives everyone another pseudonym, with the same key")
    per: Literal["destination"] | None = Field(None, description="`hmac_sha256`: at each destination everyone has another pseudonym")
    value: str | None = Field(None, description="`constant`: the text that stands in every row")
    normalise: Literal["receiver"] | None = Field(None, description="`sha256`: what is hashed is brought into the form that receivers hash")
    without_plus: Literal["north_american"] | None = Field(
        None, description="`sha256` of a phone number without +: taken as one of the North American Numbering Plan; none: null"
    )
    over_89: Literal["null"] | None = Field(None, description="`year`: none where it could tell an age over 89")
    bands: tuple[int, ...] = Field((), description="`age_band`: the first age of each group; the last group has no end")
    zero: tuple[str, ...] = Field((), description="`zip3`: areas of few people, which become 000")
    as_of: str | None = Field(None, description="`zip3`: the census that `zero` comes from")


def mechanism(name: str, mask: Mask) -> str:
    """How a mask works: by its `kind`, or else by its name. The loader sees to it that there is such a mechanism."""
    return mask.kind or name


class Profile(Spec):
    """A form of data with fewer identifiers: 45 CFR 164.514(b)(2), (e)(2). No output may be of a class with one of the letters."""

    forbids_safe_harbor: Names
    needs: Literal["dua"] | None = Field(None, description="the type of agreement that it needs: 164.514(e)(4)")


class Masks(Kind):
    """governance/masks.yml."""

    folder: ClassVar[str] = "governance"
    kind: Literal["masks"] = "masks"
    masks: dict[str, Mask]
    profiles: dict[str, Profile] = {}


Exemption = Literal[
    "164.528(a)(1)(i)",
    "164.528(a)(1)(ii)",
    "164.528(a)(1)(iii)",
    "164.528(a)(1)(iv)",
    "164.528(a)(1)(v)",
    "164.528(a)(1)(vi)",
    "164.528(a)(1)(vii)",
    "164.528(a)(1)(viii)",
]


class Accounting(Spec):
    """Why people need not be told who was told: 45 CFR 164.528(a)(1)."""

    exempt: Exemption = Field(
        description="the paragraph: (i) treatment, payment, operations; (ii) to the person; (iv) authorized; (viii) a limited data set"
    )


class Purpose(Spec):
    """Why something is told: the minimum necessary classes and members, the channels, the consent."""

    basis: str
    classes: Names
    members: Names
    channels: Names
    consent: str = Field(description="a name under `semantics` of consent.yml, or none_needed")
    funded_by: Names = ("none",)
    holdout: bool = Field(False, description="whether people may be left out at random: withholding care for an experiment is for an IRB")
    profile: str | None = Field(None, description="a profile of masks.yml that everything told must keep")
    when_changed: Literal["keep", "resend", "remove"] = Field(
        "keep", description="what becomes of rows that went out under another decision (mask, class, purpose, agreement)"
    )
    accounting: Accounting | None = Field(None, description="none: what is told is listed when a person asks, 45 CFR 164.528")


class Purposes(Kind):
    """governance/purposes.yml."""

    folder: ClassVar[str] = "governance"
    kind: Literal["purposes"] = "purposes"
    purposes: dict[str, Purpose]


class DeclassifyTarget(Spec):
    """The exact output that a declassification is about."""

    segment: str | None = None
    trait: str | None = None
    field: str | None = Field(None, description="of a trait that is a whole row: which of its values")


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
    sha256: str | None = Field(None, description="of the codes that were reviewed; other codes are not reviewed, so nothing is narrowed")

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


class RowRule(Spec):
    """Rows that are special whatever their code: withheld at the scan where the receiver is not granted the class.

    42 CFR 2.11 "records", 2.12(a): every record of a Part 2 program is one, a blood pressure too.
    """

    cls: str = Field(alias="class")
    entities: Names = Field(description="entities with a table, whose rows the rule is about")
    where: Tree = Field(description="a condition over columns of the row")
    unknown: Literal["sensitive", "ordinary"] = Field("sensitive", description="what a row is of which the condition is not known")


class Rows(Kind):
    """governance/rows.yml: rows that are special whatever their code."""

    folder: ClassVar[str] = "governance"
    kind: Literal["rows"] = "rows"
    rules: tuple[RowRule, ...]
