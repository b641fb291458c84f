"""Typed, resolved terms of the segment language: what binding makes of the YAML and what the compiler reads.

A condition is true or false of one row, never unknown. Terms are values: two equal measures are one measure,
which is how a related table is scanned once however many conditions ask of it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from sqlglot import exp

from cdp.spec.model import ColumnType

Value = str | int | Decimal | bool | dt.date | dt.datetime
Unit = Literal["days", "weeks", "months", "years"]
Verb = Literal["exists", "count", "sum", "avg", "min", "max", "latest", "earliest"]
Comparison = Literal["eq", "ne", "gt", "gte", "lt", "lte", "starts_with", "ends_with", "contains"]


@dataclass(frozen=True, slots=True)
class Link:
    """A way from one row to rows of another entity: `on` holds pairs of (their column, my column)."""

    name: str
    entity: str
    on: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """A column of the row itself, or of the row that `hops` over to-one relations lead to."""

    hops: tuple[Link, ...]
    entity: str
    column: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar day that depends on as_of: an anchor, then shifts in order.

    The anchor is `as_of`, a date, or (period, "start" | "end").
    """

    anchor: Literal["as_of"] | dt.date | tuple[str, Literal["start", "end"]]
    shifts: tuple[tuple[Unit, int], ...] = ()

    def plus(self, unit: Unit, count: int) -> Day:
        """This day, shifted once more."""
        return Day(self.anchor, (*self.shifts, (unit, count)))


@dataclass(frozen=True, slots=True)
class Window:
    """A closed span of calendar days; None is open."""

    first: Day | None
    last: Day | None


@dataclass(frozen=True, slots=True)
class Ties:
    """Which of several rows of the same moment is picked: by the lowest or highest value; nulls lose."""

    column: ColumnRef
    lowest: bool


@dataclass(frozen=True, slots=True)
class Measure:
    """A value computed from the related rows of one row.

    Order: the related entity's own `where`, then `where`, then the window, then the pick, then `of`.
    """

    verb: Verb
    link: Link
    where: Condition | None = None
    window: Window | None = None
    by_day: bool = False
    ties: Ties | None = None
    of: ColumnRef | None = None
    label: str = field(default="", compare=False)  # for people who read the SQL


@dataclass(frozen=True, slots=True)
class Picked:
    """A column of the row that a `latest` or `earliest` picks."""

    measure: Measure
    column: ColumnRef


Operand = ColumnRef | Measure | Picked


@dataclass(frozen=True, slots=True)
class Every:
    """All of them hold."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of them holds."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """It does not hold: true also where it is unknown."""

    of: Condition


@dataclass(frozen=True, slots=True)
class InSegment:
    """The row is in another segment of its entity."""

    name: str


@dataclass(frozen=True, slots=True)
class Compare:
    """`operand op value`; a null operand compares false. With `units`, the row's unit must be one of them."""

    operand: Operand
    op: Comparison
    value: Value
    type: ColumnType
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OneOf:
    """The operand is one of the literals, and its code system (if it has one) one of `systems`."""

    operand: Operand
    values: tuple[Value, ...]
    type: ColumnType
    systems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IsNull:
    """The operand has no value."""

    operand: Operand


@dataclass(frozen=True, slots=True)
class InWindow:
    """A date or timestamp lies in the window; a null does not."""

    operand: Operand
    window: Window
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Exists:
    """The measure found a row."""

    measure: Measure


@dataclass(frozen=True, slots=True)
class AgeBetween:
    """Completed years or months since the birth date on a day, both bounds included; None is open."""

    birth_date: ColumnRef
    low: int | None
    high: int | None
    unit: Literal["years", "months"]
    at: Day


@dataclass(frozen=True, slots=True)
class ConsentMissing:
    """What the sync's purpose and channel ask for is not on record. It is a rule of its own."""


Condition = Every | Some | Negation | InSegment | Compare | OneOf | IsNull | InWindow | Exists | AgeBetween


@dataclass(frozen=True, slots=True)
class Constant:
    """The same text for everyone."""

    value: str


@dataclass(frozen=True, slots=True)
class Formula:
    """An SQL expression; each of its columns stands for the operand of that name."""

    tree: exp.Expr
    operands: tuple[tuple[str, Operand], ...]

    def __hash__(self) -> int:
        return hash(self.operands)


Output = Operand | Constant | Formula
