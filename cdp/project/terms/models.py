"""Terms of models without a table: derived entities, and the SELECTs of authors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from cdp.project.terms import ColumnRef, Condition, Converted, DayOf


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A column of a derived entity: an aggregate over the rows of a group that pass `where`."""

    verb: Literal["count", "sum", "avg", "min", "max"]
    where: Condition | None
    of: ColumnRef | Converted | None


@dataclass(frozen=True, slots=True)
class Derived:
    """A derived entity: the rows of `source` that pass `where`, grouped. In the conditions the row at hand is one of `source`."""

    source: str
    where: Condition | None
    group: tuple[tuple[str, ColumnRef | DayOf], ...]
    columns: tuple[tuple[str, Aggregate], ...]


@dataclass(frozen=True, slots=True)
class SqlModel:
    """A checked SELECT; its tables are entities, segments and traits by name."""

    tree: exp.Expr
    entities: tuple[str, ...]
    segments: tuple[str, ...]
    traits: tuple[str, ...]

    def __hash__(self) -> int:
        return id(self.tree)
