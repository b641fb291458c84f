"""What governance hands on: a query that may leave, and the decision behind it.

Only `cdp.governance.decide.govern` makes a GovernedQuery, and only a GovernedQuery can be planned: the type is
the gate. The seal stops an honest mistake, not a programmer who means to get around it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlglot import exp

from cdp.errors import Refusal
from cdp.governance.access import Requirement
from cdp.spec.access import Agreement
from cdp.spec.activation import Destination, Secret, Sync
from cdp.spec.model import Column, Entity

SUBJECT = "_subject"  # the person's key in the lakehouse: never sent, kept in plans, receipts and the ledger
RULE = "_rule"  # the first rule that keeps the person out, null for who may be told
_SEAL = object()

# Who is taken off by a query that may only remove. `left`: whoever should no longer be there, as in any plan. `kept_out`: only whom
# a rule keeps out, because who left a segment that the receiver may not know of would tell it. `everyone`: all that it holds.
Removals = Literal["left", "kept_out", "everyone"]


@dataclass(frozen=True, slots=True)
class WireMask:
    """A mask that is computed on Arrow columns at apply, so that its key stands in no query.

    HMAC-SHA256 (hex) over a context, a NUL byte and the value as text, with the secret as key: the same person has
    another pseudonym at every receiver and under every version. A null stays null.
    """

    column: str
    secret: Secret
    version: int
    receiver: str

    @property
    def context(self) -> str:
        """What its pseudonyms are for."""
        return self.context_of(self.version)

    def context_of(self, version: int) -> str:
        """What the pseudonyms of a version are for: whoever went out under an old one must be found by it to be taken off."""
        return f"{self.receiver}/{version}"


@dataclass(frozen=True, slots=True)
class Freshness:
    """The consent table must hold a row recorded (`column`, a timestamp) no longer ago than `max_age`."""

    table: str
    column: str
    max_age: dt.timedelta


@dataclass(frozen=True, slots=True)
class Withheld:
    """Special rows of a table that a query does not read, as the receiver is not granted their class.

    `special` is true of them; its columns are of the row `withhold.ROW`.
    """

    cls: str
    table: str
    special: exp.Expr


@dataclass(frozen=True, slots=True)
class Decision:
    """What was allowed: the classes of each output column, and of being in the audience.

    `exempt_under` is the paragraph of 45 CFR 164.528(a)(1) that takes it out of the accounting of disclosures; None: it is listed.
    """

    receiver: str
    agreement: str
    purpose: str
    columns: Mapping[str, tuple[str, ...]]
    members: tuple[str, ...]
    exempt_under: str | None = None


@dataclass(frozen=True, slots=True)
class GovernedQuery:
    """A sync's query that may be planned.

    Attributes:
        select: one row for each member of the segment: SUBJECT, RULE, then the columns of `keys` and `values`,
            masked, except those of `wire_masks`, which hold the value that the wire mask takes.
        eligibility: SUBJECT and RULE of everyone whom a rule keeps out at the wall clock given to `govern`.
        keys, values: names of the columns that leave, in order.
        rules: the names RULE can take, in the order in which they are asked.
        declared: of each of these, its columns as the entities say.
        lookups: (table, columns) that must be unique: to-one relations lead there, or the decision rests on a declared key.
        tables: every `schema.table` that `select` and `eligibility` read.
        fingerprint: SHA-256 over everything the decision rests on: agreement, purpose, masks, classes, rules. It voids plans.
        told: SHA-256 over what a row tells, to whom and why. Rows that went out under another are outdated.
        when_changed: what becomes of those.
        withheld: the special rows that `select` does not read.
        notice: texts that must go with every batch, each by the dotted path of its field (42 CFR 2.32).
        removals: None, or who may be taken off where nothing else may leave.
        refusals: why nothing else may.
        approval: the approval that a plan of it needs; None when it needs none.
    """

    sync: Sync
    destination: Destination
    agreement: Agreement
    entity: Entity
    select: exp.Select
    eligibility: exp.Select
    keys: tuple[str, ...]
    values: tuple[str, ...]
    wire_masks: tuple[WireMask, ...]
    rules: tuple[str, ...]
    tables: tuple[str, ...]
    declared: Mapping[str, Mapping[str, Column]]
    lookups: tuple[tuple[str, tuple[str, ...]], ...]
    freshness: tuple[Freshness, ...]
    decision: Decision
    model_sha256: str
    fingerprint: str
    told: str
    when_changed: Literal["keep", "resend", "remove"] = "keep"
    withheld: tuple[Withheld, ...] = ()
    notice: Mapping[str, str] = field(default_factory=dict)
    removals: Removals | None = None
    refusals: tuple[Refusal, ...] = ()
    approval: Requirement | None = None
    _seal: object = field(repr=False, default=None)

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise TypeError("a GovernedQuery is made by cdp.governance.decide.govern only")

    @property
    def removals_only(self) -> bool:
        """Whether nobody may be added or changed."""
        return self.removals is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that leaves: keys, then values."""
        return self.keys + self.values
