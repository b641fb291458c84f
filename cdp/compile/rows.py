"""Rows: the places where operands have values.

A condition is compiled on a row. Most rows stand in the FROM of a SELECT (`SelectRow`). The rows of a scan may also be seen
from outside of it: as an element of an array that the scan collects, or as the one row that `latest` picks. Whatever
such a row can say by itself is computed where it is read, and carried to where it is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.reach import Term, reach
from cdp.project.terms import ColumnRef, Condition, Covered, DayOf, Exists, InSegment, InSql, Measure, Picked, Satisfies, SqlValue
from cdp.spec.model import Entity

if TYPE_CHECKING:
    from cdp.compile.clock import Clock
    from cdp.compile.conditions import Compiler
    from cdp.compile.scans import Collection, Scan, SelectRow


CONDITIONS = get_args(Condition)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a value is asked for: at which clock, and in which role. Scans of different roles stay apart."""

    clock: Clock
    role: str = ""


@dataclass(slots=True)
class Row(ABC):
    """A place where the operands of an entity have values.

    Attributes:
        parent: the row around this one, of whose related rows this is one; None for a row that stands by itself.
        depth: the number of lambda functions around it.
    """

    compiler: Compiler
    entity: Entity
    parent: Row | None
    depth: int

    def out(self, up: int) -> Row:
        """The row so many rows outwards."""
        row: Row = self
        for _ in range(up):
            assert row.parent is not None, "what looks outwards is compiled where the row around it is"
            row = row.parent
        return row

    @abstractmethod
    def column(self, ref: ColumnRef, asked: Asked) -> exp.Expr:
        """A column of this row, or over to-one relations."""

    @abstractmethod
    def carried(self, term: Term, asked: Asked) -> exp.Expr | None:
        """A condition or operand that is better computed where the row is read; None where it is computed here."""

    @abstractmethod
    def array(self, measure: Measure, asked: Asked) -> tuple[exp.Expr, Collection]:
        """The related rows that a measure's own conditions leave, as an array of structs."""


@dataclass(slots=True)
class Carrier(Row):
    """A row of a scan, seen from outside of it."""

    scan: Scan

    @abstractmethod
    def carry(self, key: object, label: str, make: Callable[[SelectRow], exp.Expr]) -> exp.Expr:
        """A value of the row where it is read, brought here. One for each key."""

    def column(self, ref: ColumnRef, asked: Asked) -> exp.Expr:
        """A column, read where the row is."""
        return self.carry(ref, ref.column, lambda row: row.column(ref, asked))

    def array(self, measure: Measure, asked: Asked) -> tuple[exp.Expr, Collection]:
        """The array, collected where the row is."""
        array, collection = self.scan.row.array(measure, asked)
        return self.carry(("array", collection.name), collection.name, lambda _: array), collection

    def _computed(self, term: Term, asked: Asked) -> exp.Expr:
        return self.carry(term, _label(term), lambda row: self.compiler.expression(term, row, asked))


@dataclass(slots=True)
class Element(Carrier):
    """An element of an array that a scan collects: a lambda's variable, or an expression that gives one element."""

    value: exp.Expr
    collection: Collection

    def carry(self, key: object, label: str, make: Callable[[SelectRow], exp.Expr]) -> exp.Expr:
        """A field of the struct that is collected."""
        return sql.field(self.value, self.collection.field(key, label, make))

    def carried(self, term: Term, asked: Asked) -> exp.Expr | None:
        """Whatever the row can say by itself, so that little is left to do for each element."""
        if reach(term):
            return None
        return self.carry(term, _label(term), lambda row: self._nullable(self.compiler.expression(term, row, asked), term))

    def _nullable(self, value: exp.Expr, term: Term) -> exp.Expr:
        """A test as true or null: Sail may plan one as never null and compute it as nullable, which a struct in an array cannot be."""
        return exp.Nullif(this=value, expression=sql.FALSE) if isinstance(term, CONDITIONS) else value


@dataclass(slots=True)
class PickedRow(Carrier):
    """The row that a `latest` or `earliest` picks; all of its values are null where there is none."""

    measure: Measure

    def carry(self, key: object, label: str, make: Callable[[SelectRow], exp.Expr]) -> exp.Expr:
        """A column of the scan: the value of the row that is picked."""
        return self.scan.picked(self.measure, key, label, make(self.scan.row))

    def carried(self, term: Term, asked: Asked) -> exp.Expr | None:
        """Columns are compared here, which shares them between conditions; what asks other tables is asked there."""
        asks = (Measure, Picked, Covered, SqlValue, Exists, Satisfies, InSegment, InSql)
        return self._computed(term, asked) if isinstance(term, asks) and not reach(term) else None


def _label(term: Term) -> str:
    match term:
        case ColumnRef(column=column):
            return column
        case DayOf(column):
            return f"{column.column}_day"
        case InSegment(name):
            return name
        case Exists(measure) | Satisfies(measure) | Picked(measure) | Covered(measure):
            return measure.label
        case Measure(label=label):
            return label
        case _:
            return "test"
