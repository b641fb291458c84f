"""A few members of a segment, always the same ones, as far as a role may see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from cdp.analyst.explore.sight import Sight, view
from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import SAID, compile_segment, segment_statement
from cdp.engine.base import Engine
from cdp.project.load import Project
from cdp.project.terms import ColumnRef

if TYPE_CHECKING:
    from cdp.analyst.explore.preview import Population

ORDER = "_order"


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of members.

    Attributes:
        masked: by column, the mask it is seen through.
        hidden: by column, the classes that the role does not see.
        withheld: why there are no rows; empty where there are.
    """

    segment: str
    role: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()
    masked: Mapping[str, str] = field(default_factory=dict)
    hidden: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    withheld: str = ""

    def as_json(self) -> dict[str, Any]:
        """The sample as a JSON object with stable keys."""
        return {
            "segment": self.segment,
            "role": self.role,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "masked": dict(self.masked),
            "hidden": {name: list(classes) for name, classes in self.hidden.items()},
            "withheld": self.withheld,
        }


def members(project: Project, engine: Engine, population: Population, size: int, *, clock: Clock, sight: Sight) -> Sample:
    """The members whose keys hash lowest.

    Where the size of the segment is not shown there is no sample either: its rows could be counted. Where cells are, as many
    people as make a cell are left out of it.

    Raises:
        RefusedError: the role may not know of single people that they are in this segment.
    """
    name = population.segment
    if sight.role is None:
        return Sample(name, withheld="single people are shown to roles of governance/roles.yml only: --role NAME")
    most = population.people.exact or 0
    if sight.small > 1:  # so many stay unseen that the rows tell the size of no group
        most -= sight.small
    if most <= 0:
        return Sample(name, sight.name, withheld="too few people to show some of them")
    sight.members(compile_segment(project, name, clock).select, f"segment {name}")
    statement = segment_statement(project, name, clock)
    entity = statement.entity
    plain = {column: spec for column, spec in entity.columns.items() if not spec.array and not spec.fields}
    columns = {column: ColumnRef((), entity.name, column, spec.type) for column, spec in plain.items()}
    for column, ref in columns.items():
        statement.column(column, statement.output(ref, SAID))
    statement.column(ORDER, exp.Anonymous(this="xxhash64", expressions=[statement.key()]))
    query = statement.query(f"sample of {name}")
    seen = view(sight, query.select, columns, clock.day)
    engine.register(query.tables)
    last = exp.Ordered(this=sql.identifier(ORDER))
    select = seen.select.order_by(last, copy=False).limit(min(size, most), copy=False)
    shown = tuple(each.alias_or_name for each in select.expressions if each.alias_or_name != ORDER)
    rows = sight.through(engine).query(select, what=f"the sample of {name}").to_pylist()
    return Sample(name, sight.name, shown, tuple(tuple(row[column] for column in shown) for row in rows), seen.masked, seen.hidden)
