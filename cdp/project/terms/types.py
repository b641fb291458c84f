"""What kind of value an operand is: its type, the column it comes from, whether it is a row or an array."""

from __future__ import annotations

from typing import get_args

from cdp.project.terms import Chosen, ColumnRef, Converted, Cover, Covered, DayOf, Formula, Measure, Of, Operand, Picked, SqlValue, Tally
from cdp.spec.model import ColumnType

ROWS = ("latest", "earliest")  # verbs whose value, without `of`, is a row
COVERS: tuple[Cover, ...] = get_args(Cover)
NUMBERS = ("integer", "decimal", "double")
DATES = ("date", "timestamp")
_COVERED: dict[Cover, ColumnType] = {"share": "double", "first_fill": "date", "until": "date"}
_FAMILY = {"code": "string", "integer": "number", "decimal": "number", "double": "number", "timestamp": "date"}


def cover(word: str) -> Cover | None:
    """A word as one of the values of `days_covered`."""
    return next((each for each in COVERS if each == word), None)


def family(kind: ColumnType) -> str:
    """What a type can be compared with: text, numbers, days and moments, booleans."""
    return _FAMILY.get(kind, kind)


def type_of(operand: Operand) -> ColumnType | None:
    """The type of an operand, of an array that of its elements; None for a whole row."""
    match operand:
        case ColumnRef() | Chosen() | SqlValue():
            return operand.type
        case Picked(_, column) | Converted(column):
            return column.type
        case DayOf():
            return "date"
        case Covered(_, value):
            return _COVERED.get(value, "integer")
        case Tally():
            return "integer"
        case Formula():
            return operand.type
        case Measure(verb="count"):
            return "integer"
        case Measure(verb="avg"):
            return "double"
    return _type_of_value(operand.of)


def _type_of_value(of: Of | None) -> ColumnType | None:
    return None if of is None else type_of(of)


def column_of(operand: Operand) -> ColumnRef | None:
    """The column whose unit and code system an operand's value has."""
    match operand:
        case ColumnRef():
            return operand
        case Picked(_, column) | Converted(column):
            return column
        case Measure(verb="count" | "exists" | "days_covered") | Measure(of=None):
            return None
        case Measure(of=of) if of is not None:
            return column_of(of)
    return None


def is_row(operand: Operand) -> bool:
    """Whether the value is a row, or the several values of `days_covered`."""
    return isinstance(operand, Measure) and ((operand.verb in ROWS and operand.of is None) or operand.verb == "days_covered")


def is_array(operand: Operand) -> bool:
    """Whether the value is a list of values."""
    if isinstance(operand, Measure):
        return operand.verb == "list" or (operand.verb in ROWS and isinstance(operand.of, ColumnRef) and operand.of.array)
    column = operand.column if isinstance(operand, Picked) else operand
    return isinstance(column, ColumnRef) and column.array
