"""Which rows somebody who looks reads: no special ones that the role may not use, and of some tables the role's own only.

For commands that read (`cdp preview`, `explain`, samples, `cdp diff`), never for a plan: a filtered mirror would remove everybody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlglot import exp

from cdp.compile import sql
from cdp.governance.rows.special import View, columns_of_table, row_test
from cdp.governance.rows.withhold import Kept, Q, reading
from cdp.project.language.role_rows import bind_role_rows
from cdp.project.project import Project

if TYPE_CHECKING:
    import pyarrow as pa

    from cdp.engine.base import Engine


class Source(Protocol):
    """Where queries are asked: an engine, or one as somebody reads it."""

    def register(self, tables: Sequence[str]) -> None:
        """Make `schema.table` names resolve."""

    def query(self, statement: exp.Select | exp.Union, *, what: str = "") -> pa.Table:
        """Run a query."""


@dataclass(frozen=True, slots=True)
class Partial:
    """What of some tables is not read: (class, table) of special rows, and the tables of which only the role's rows are."""

    withheld: tuple[tuple[str, str], ...] = ()
    filtered: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The tables as a JSON object with stable keys."""
        return {
            "withheld_rows": [{"class": cls, "table": table} for cls, table in self.withheld],
            "role_rows": list(self.filtered),
        }

    def notes(self, role: str) -> list[str]:
        """The same in words."""
        who = f"role {role}" if role else "nobody without a role"
        may = "may not" if role else "may"
        said = [f"rows of {table} that are {cls} are not read: {who} {may} use them" for cls, table in self.withheld]
        return [*said, *([f"only the rows of role {role} are read of {', '.join(self.filtered)}"] if self.filtered else [])]


WHOLE = Partial()


@dataclass(frozen=True, slots=True)
class Reach:
    """What is read of tables. `own` are those of which only the role's rows are."""

    view: View
    kept: Mapping[str, Kept]
    own: frozenset[str]

    @classmethod
    def of(cls, project: Project, view: View, role: str, facilities: Sequence[str]) -> Reach:
        """What somebody reads.

        Args:
            project: as loaded.
            view: without the special rows that the role may not use.
            role: its name; empty for none.
            facilities: those of the person.
        """
        kept, own = dict(view.kept), set()
        for name, term in (bind_role_rows(project, role, facilities) if role in project.policy.roles else {}).items():
            entity = project.entities[name]
            table = entity.table.lower()
            test = row_test(project, entity, term) if term is not None else sql.FALSE
            kept[table] = kept.get(table, Kept(columns_of_table(project, table))).also(test)
            own.add(table)
        return cls(view, kept, frozenset(own))

    def over(self, select: Q) -> Q:
        """The query over these rows."""
        return reading(select, self.kept)

    def partial(self, tables: Iterable[str]) -> Partial:
        """What a query of some tables does not read."""
        read = {table.lower(): table for table in tables}
        withheld = [(each.cls, read[each.table.lower()]) for each in self.view.withheld if each.table.lower() in read]
        return Partial(tuple(withheld), tuple(table for lower, table in sorted(read.items()) if lower in self.own))


@dataclass(frozen=True, slots=True)
class Through:
    """An engine through which somebody reads the rows that are theirs to read, and no others."""

    engine: Engine
    reach: Reach

    def register(self, tables: Sequence[str]) -> None:
        """Make `schema.table` names resolve."""
        self.engine.register(tables)

    def query(self, statement: exp.Select | exp.Union, *, what: str = "") -> pa.Table:
        """Run a query over the rows that are read."""
        return self.engine.query(self.reach.over(statement), what=what)
