"""What governance hands on: a query that may leave, and the decision behind it.

Only `cdp.governance.decide.govern` makes a GovernedQuery, and only a GovernedQuery can be planned: the type is
the gate. The seal stops an honest mistake, not a programmer who means to get around it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from cdp.spec.activation import Destination, Secret, Sync
from cdp.spec.model import Column, Entity
from cdp.spec.policy import Agreement

SUBJECT = "_subject"  # the person's key in the lakehouse: never sent, kept in plans, receipts and the ledger
RULE = "_rule"  # the first rule that keeps the person out, null for who may be told
_SEAL = object()


@dataclass(frozen=True, slots=True)
class WireMask:
    """A mask that is computed on Arrow columns at apply, so that its key stands in no query.

    HMAC-SHA256 (hex) over `context`, a NUL byte and the value as text, with the secret as key: the same person has
    another pseudonym at every destination. A null stays null.
    """

    column: str
    secret: Secret
    version: int
    context: str


@dataclass(frozen=True, slots=True)
class Freshness:
    """The consent table must hold a row recorded (`column`, a timestamp) no longer ago than `max_age`."""

    table: str
    column: str
    max_age: dt.timedelta


@dataclass(frozen=True, slots=True)
class Decision:
    """What was allowed: the classes of each output column, and of being in the audience."""

    receiver: str
    agreement: str
    purpose: str
    columns: Mapping[str, tuple[str, ...]]
    members: tuple[str, ...]


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
        lookups: (table, columns) that must be unique, because to-one relations lead there.
        tables: every `schema.table` that `select` and `eligibility` read.
        fingerprint: SHA-256 over everything the decision rests on: agreement, purpose, masks, classes, rules.
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
    _seal: object = field(repr=False, default=None)

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise TypeError("a GovernedQuery is made by cdp.governance.decide.govern only")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that leaves: keys, then values."""
        return self.keys + self.values
