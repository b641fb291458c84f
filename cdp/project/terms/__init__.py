"""Typed, resolved terms of the segment language: what binding makes of the YAML and what the compiler reads.

A condition is true or false of one row, never unknown. Terms are values: two equal measures are one measure,
which is how a related table is scanned once however many conditions ask of it.

Rows stand inside of each other: `where` of a measure speaks of a related row, and a measure in there of a row related to
that one. `up` counts outwards from the row at hand: 0 is that row itself, 1 the row that asked the measure whose row it
is. So a term means the same wherever it stands, and equal terms stay equal whatever the author called the rows.
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
Verb = Literal["exists", "count", "sum", "avg", "min", "max", "latest", "earliest", "most_frequent", "list", "days_covered"]
Comparison = Literal["eq", "ne", "gt", "gte", "lt", "lte", "starts_with", "ends_with", "contains", "matches"]
Cover = Literal["share", "days", "of_days", "first_fill", "fill_days", "until", "longest_gap"]


@dataclass(frozen=True, slots=True)
class Link:
    """A way from one row to rows of another entity: `on` holds pairs of (their column, my column)."""

    name: str
    entity: str
    on: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """A column of the row `up` rows outwards, or of the row that `hops` over to-one relations lead to from there.

    `field` is the path inside of a struct; `type` is that of the value, of an `array` that of its elements.
    """

    hops: tuple[Link, ...]
    entity: str
    column: str
    type: ColumnType
    up: int = 0
    field: tuple[str, ...] = ()
    array: bool = False


@dataclass(frozen=True, slots=True)
class DayOf:
    """The local calendar day of a timestamp (`date.day`)."""

    column: ColumnRef


@dataclass(frozen=True, slots=True)
class Factor:
    """How a number in a unit of these names becomes one in another: `value * times / over`. Two numbers, so that both ways are exact."""

    names: tuple[str, ...]
    times: Decimal = Decimal(1)
    over: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Converted:
    """A number in one unit: the column by the factor of the unit that its unit column names; null for any other unit."""

    column: ColumnRef
    unit: ColumnRef
    factors: tuple[Factor, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar day: an anchor, then shifts in order.

    The anchor is `as_of`, a date, (period, "start" | "end"), or a column, whose local day it is: of no value, no day.
    """

    anchor: Literal["as_of"] | dt.date | tuple[str, Literal["start", "end"]] | ColumnRef
    shifts: tuple[tuple[Unit, int], ...] = ()

    def plus(self, unit: Unit, count: int) -> Day:
        """This day, shifted once more."""
        return Day(self.anchor, (*self.shifts, (unit, count))) if count else self


@dataclass(frozen=True, slots=True)
class Window:
    """A closed span of calendar days; None is open. A window with a day that a row has no value for holds nothing.

    `ongoing`: `last` is the end of an interval, so no value there means that it still goes on.
    """

    first: Day | None
    last: Day | None
    ongoing: bool = False


@dataclass(frozen=True, slots=True)
class Ties:
    """Which of several rows of the same moment is picked: by the lowest or highest value; nulls lose."""

    column: ColumnRef
    lowest: bool


@dataclass(frozen=True, slots=True)
class Measure:
    """A value computed from the rows related to one row: the row `up` rows outwards, or where `hops` lead from there.

    Order: the related entity's own `where`, then `where`, then the window, then `distinct` or `spaced`, then the pick,
    then `of`. In all of these the related row is the row at hand, and the row that the measure is written on is 1 outwards,
    whatever `up` says of where the related rows are looked for.
    """

    verb: Verb
    link: Link
    where: Condition | None = None
    window: Window | None = None
    by_day: bool = False
    ties: Ties | None = None
    of: Of | None = None
    up: int = 0
    hops: tuple[Link, ...] = ()
    distinct: Literal["day"] | ColumnRef | None = None
    spaced: int | None = None  # days
    limit: int | None = None
    supply: ColumnRef | None = None
    same: ColumnRef | None = None
    label: str = field(default="", compare=False)  # for people who read the SQL


@dataclass(frozen=True, slots=True)
class Picked:
    """A column of the row that a `latest` or `earliest` picks."""

    measure: Measure
    column: ColumnRef


@dataclass(frozen=True, slots=True)
class Covered:
    """One of the values that `days_covered` yields."""

    measure: Measure
    value: Cover


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of the conditions hold."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The value of the first branch whose condition holds; `otherwise` where none does."""

    branches: tuple[tuple[Condition, Value | None], ...]
    otherwise: Value | None
    type: ColumnType


@dataclass(frozen=True, slots=True)
class SqlValue:
    """The value that the SELECT of a trait gives for the row's key; null where it has no row."""

    trait: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Formula:
    """An SQL expression; each of its columns stands for the operand of that name. `as_of` is the day of the clock."""

    tree: exp.Expr
    operands: tuple[tuple[str, Operand], ...]
    type: ColumnType | None = None

    def __hash__(self) -> int:
        return hash(self.operands)


Operand = ColumnRef | DayOf | Converted | Measure | Picked | Covered | Tally | Chosen | SqlValue | Formula
Of = ColumnRef | DayOf | Converted | Formula


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
    """The row is in another segment of its entity; `given` are the values of a template's parameters, as written."""

    name: str
    given: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class InSql:
    """The SELECT of a segment returns the row's key."""

    segment: str


@dataclass(frozen=True, slots=True)
class Compare:
    """`operand op value`; a null operand compares false. With `units`, the row's unit must be one of them."""

    operand: Operand
    op: Comparison
    value: Value
    type: ColumnType
    units: tuple[str, ...] = ()
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class CompareTo:
    """`operand op other`; false where either is null."""

    operand: Operand
    op: Comparison
    other: Operand
    type: ColumnType


@dataclass(frozen=True, slots=True)
class OneOf:
    """The operand is one of the literals, and its code system (if it has one) one of `systems`.

    `named` is the value set, for people who read it.
    """

    operand: Operand
    values: tuple[Value, ...]
    type: ColumnType
    systems: tuple[str, ...] = ()
    ignore_case: bool = False
    named: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Holds:
    """An array (a column or a `list`) holds at least one of the literals, or `all` of them."""

    operand: ColumnRef | Measure
    values: tuple[Value, ...]
    type: ColumnType
    all: bool
    named: str = field(default="", compare=False)


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
class AtTime:
    """A timestamp's local time of day lies in [start, end), in minutes from midnight; the span may pass midnight."""

    operand: Operand
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class OnWeekday:
    """The local calendar day is one of these days of the week, 1 for Monday to 7 for Sunday."""

    operand: Operand
    days: tuple[int, ...]
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Anniversary:
    """Some year's return of the day lies in the window; 29 February returns on 1 March where there is none."""

    operand: Operand
    window: Window
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Exists:
    """The measure found a row."""

    measure: Measure


@dataclass(frozen=True, slots=True)
class Satisfies:
    """There is a row that `latest` or `earliest` picks, and the condition holds of it: it is the row at hand in there."""

    measure: Measure
    of: Condition


@dataclass(frozen=True, slots=True)
class AgeBetween:
    """Completed years or months since the birth date on a day, both bounds included; None is open."""

    birth_date: ColumnRef
    low: int | None
    high: int | None
    unit: Literal["years", "months"]
    at: Day


@dataclass(frozen=True, slots=True)
class ContactOf:
    """The contact points that the asking sync maps are somebody else's: known once of a sync, the same of every person."""

    whose: str


Condition = (
    Every | Some | Negation | InSegment | InSql | Compare | CompareTo | OneOf | Holds | IsNull | InWindow | AtTime | OnWeekday
    | Anniversary | Exists | Satisfies | AgeBetween | ContactOf
)  # fmt: skip


# -- what leaves ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Constant:
    """The same text for everyone."""

    value: str


Output = Operand | Constant
