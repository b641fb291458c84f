"""What must hold of the rows about to leave: expectations of Great Expectations, by its names and with its arguments.

Only those that are here can be asked, since each is code over patients' data: no SQL, no condition on rows, none that brings values to
the driver, none that an engine lacks. A test holds names, arguments and defaults against the library, which is not imported to check
them: docs.greatexpectations.io, gallery of expectations.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field

from cdp.spec.base import Spec
from cdp.spec.model import Names

Family = Literal["text", "number", "day", "moment", "boolean"]
Otherwise = Literal["refuse", "warn", "drop"]
STRICTNESS: Final[tuple[Otherwise, ...]] = ("refuse", "drop", "warn")  # what a failure lets leave: nothing, what does not fail, everything

ANY: Final[tuple[Family, ...]] = ("text", "number", "day", "moment", "boolean")
_FAMILIES: Final[dict[str, Family]] = {
    **dict.fromkeys(("string", "code"), "text"),
    **dict.fromkeys(("integer", "tinyint", "smallint", "int", "bigint", "decimal", "float", "double"), "number"),
    "date": "day",
    **dict.fromkeys(("timestamp", "timestamp_ntz"), "moment"),
    "boolean": "boolean",
}
WORDS: Final[dict[Family, str]] = {
    "text": "a text",
    "number": "a number",
    "day": "a day such as 2026-07-01",
    "moment": "a time",
    "boolean": "true or false",
}

Value = str | int | float | Decimal | bool | dt.date


def family(kind: str) -> Family | None:
    """What kind of value a type of the language, or of an engine, holds; None for what cannot leave."""
    return _FAMILIES.get(kind.partition("(")[0])


def literal(text: str, kind: str) -> Value:
    """A word of an expectation as a value of a column's type.

    Raises:
        ValueError: it is none.
    """
    match family(kind):
        case "number":
            number = Decimal(text)
            if not number.is_finite():
                raise ValueError
            return number if kind.startswith("decimal") else int(number) if number == int(number) else float(number)
        case "day":
            return dt.date.fromisoformat(text)
        case "boolean":
            return {"true": True, "false": False}[text.lower()]
    return text


def _bound(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        number = Decimal(value)
        return number if number.is_finite() else value
    except ArithmeticError:
        pass
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a number, or a date such as 2026-07-01") from None


Bound = Annotated[Decimal | dt.date, BeforeValidator(_bound)]  # of values: each column's own kind


class Asked(Spec):
    """The arguments of one expectation.

    Class attributes:
        of: the kinds of values that it can be asked of.
        by_row: it is true or false of each row, so that the rows that fail can be told.
    """

    of: ClassVar[tuple[Family, ...]] = ANY
    by_row: ClassVar[bool] = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        return ()

    @property
    def patterns(self) -> dict[str, tuple[str, ...]]:
        """Its regular expressions, by argument."""
        return {}


class _Column(Asked):
    column: str = Field(description="a field that leaves")

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)


class _Rows(Asked):
    mostly: float = Field(1, ge=0, le=1, description="the share of the rows that must meet it; a row without a value is not asked")


class ColumnRows(_Rows, _Column):
    """Each value of a column."""


class Regex(ColumnRows):
    """Each value matches, or does not."""

    of = ("text",)
    regex: str = Field(description="in the syntax that all engines share, as in SQL; it may match any part: ^...$ for the whole")

    @property
    def patterns(self) -> dict[str, tuple[str, ...]]:
        """Its regular expressions, by argument."""
        return {"regex": (self.regex,)}


class NoneOfRegexes(ColumnRows):
    """Each value matches none of them."""

    of = ("text",)
    regex_list: Names = Field(min_length=1)

    @property
    def patterns(self) -> dict[str, tuple[str, ...]]:
        """Its regular expressions, by argument."""
        return {"regex_list": self.regex_list}


class Regexes(NoneOfRegexes):
    """Each value matches one of them, or all."""

    match_on: Literal["any", "all"] = "any"


class ValueSet(ColumnRows):
    """Each value is one of these, or is not."""

    of = ("text", "number", "day", "boolean")
    value_set: Names = Field(min_length=1)


class _Between(Asked):
    strict_min: bool = False
    strict_max: bool = False


class ValuesBetween(_Between, ColumnRows):
    """Each value lies between two bounds, which may be met."""

    of = ("number", "day")
    min_value: Bound | None = None
    max_value: Bound | None = None


class LengthBetween(_Between, ColumnRows):
    """The text has so many characters."""

    of = ("text",)
    min_value: int | None = Field(None, ge=0)
    max_value: int | None = Field(None, ge=0)


class Length(ColumnRows):
    """The text has exactly so many characters."""

    of = ("text",)
    value: int = Field(ge=0)


class Pair(_Rows):
    """Two values of a row, compared."""

    column_A: str = Field(description="a field that leaves")
    column_B: str = Field(description="another one")
    ignore_row_if: Literal["both_values_are_missing", "either_value_is_missing", "neither"] = "both_values_are_missing"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        return (self.column_A, self.column_B)


class Greater(Pair):
    """The first is greater than the second."""

    of = ("number", "day", "moment")
    or_equal: bool | None = None


class Several(_Rows):
    """Several values of a row, taken together."""

    column_list: Names = Field(description="two fields that leave, or more")
    ignore_row_if: Literal["all_values_are_missing", "any_value_is_missing", "never"] = "all_values_are_missing"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        return self.column_list


class Distinct(Several):
    """Several values of a row, compared with each other."""


class RowCount(_Between):
    """How many rows leave."""

    by_row = False
    min_value: int | None = Field(None, ge=0)
    max_value: int | None = Field(None, ge=0)


class _OfAll(_Between, _Column):
    by_row = False


class CountBetween(_OfAll):
    """How many different values a column has."""

    of = ("text", "number", "day", "boolean")
    min_value: int | None = Field(None, ge=0)
    max_value: int | None = Field(None, ge=0)


class ShareBetween(_OfAll):
    """Which share of a column's rows has a value, or of its values is different from all others."""

    min_value: float | None = Field(None, ge=0, le=1)
    max_value: float | None = Field(None, ge=0, le=1)


class NumberBetween(_OfAll):
    """What the numbers of a column come to."""

    of = ("number",)
    min_value: Decimal | None = None
    max_value: Decimal | None = None


_REFUSE = (
    "`refuse`: nothing but removals leaves; `warn`: it is shown and recorded, and leaves all the same; "
    "`drop`: the rows that fail do not leave in this plan"
)


class Expectation(Spec):
    """One expectation, by its name, of the rows that are added or changed; `otherwise` says what becomes of a failure."""

    otherwise: Otherwise = Field("refuse", description=_REFUSE)
    expect_column_values_to_not_be_null: ColumnRows | None = None
    expect_column_values_to_be_null: ColumnRows | None = None
    expect_column_values_to_be_unique: ColumnRows | None = None
    expect_column_values_to_match_regex: Regex | None = None
    expect_column_values_to_not_match_regex: Regex | None = None
    expect_column_values_to_match_regex_list: Regexes | None = None
    expect_column_values_to_not_match_regex_list: NoneOfRegexes | None = None
    expect_column_values_to_be_in_set: ValueSet | None = None
    expect_column_values_to_not_be_in_set: ValueSet | None = None
    expect_column_values_to_be_between: ValuesBetween | None = None
    expect_column_value_lengths_to_be_between: LengthBetween | None = None
    expect_column_value_lengths_to_equal: Length | None = None
    expect_column_pair_values_to_be_equal: Pair | None = None
    expect_column_pair_values_a_to_be_greater_than_b: Greater | None = None
    expect_compound_columns_to_be_unique: Several | None = None
    expect_select_column_values_to_be_unique_within_record: Distinct | None = None
    expect_table_row_count_to_be_between: RowCount | None = None
    expect_column_proportion_of_non_null_values_to_be_between: ShareBetween | None = None
    expect_column_proportion_of_unique_values_to_be_between: ShareBetween | None = None
    expect_column_unique_value_count_to_be_between: CountBetween | None = None
    expect_column_min_to_be_between: NumberBetween | None = None
    expect_column_max_to_be_between: NumberBetween | None = None
    expect_column_mean_to_be_between: NumberBetween | None = None
    expect_column_sum_to_be_between: NumberBetween | None = None
    expect_column_stdev_to_be_between: NumberBetween | None = None

    def asked(self) -> Iterator[tuple[str, Asked]]:
        """Each expectation that is named, with its arguments; the loader sees to it that it is one."""
        for name in type(self).model_fields:
            if isinstance(given := getattr(self, name), Asked):
                yield name, given

    @property
    def name(self) -> str:
        """The expectation's name."""
        return next(self.asked())[0]

    @property
    def arguments(self) -> Asked:
        """The expectation's arguments."""
        return next(self.asked())[1]


EXPECTATIONS: Final = tuple(name for name in Expectation.model_fields if name != "otherwise")
