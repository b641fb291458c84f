"""The control tables: what was planned, sent, answered and is held. Plain Delta tables that people may query; see tables.py.

All are append-only but `synced` and `leases`, and `folds` where a state is rebuilt. Columns cannot be added on the embedded engine, so each
table has what later work is known to need. They are partitioned by sync: syncs that run side by side never conflict. Disclosures,
which are only appended to, by kind: blocks are read without their lines. Receipts also by status: what was rejected is read without what
was delivered.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdp.errors import CdpError, ConflictError
from cdp.sync.ledger.tables import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

    from cdp.engine.base import Engine
    from cdp.engine.rows import Rows

_log = logging.getLogger(__name__)


class Control:
    """The control tables of one environment.

    Args:
        engine: the environment's.
        schema: `control:` of the environment.
    """

    def __init__(self, engine: Engine, schema: str) -> None:
        self.engine = engine
        self.schema = schema
        self._made: set[str] = set()

    def table(self, name: str) -> str:
        """The full name of a control table, which is made when it is not there."""
        full = f"{self.schema}.{name}"
        if name not in self._made:
            self._closed()
            self.engine.create(full, TABLES[name].kinds, partition=TABLES[name].partition)
            self._made.add(name)
        return full

    def _closed(self) -> None:
        """Plans and lines are of people: the folder of the tables is made for its owner and group alone."""
        folder = self.engine.folder(f"{self.schema}.plans")
        if folder is not None and not folder.parent.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)  # another sync may be faster
            folder.parent.chmod(0o770)

    def columns(self, name: str) -> tuple[str, ...]:
        """The columns of a control table, in its order."""
        return tuple(TABLES[name].columns)

    def types(self, name: str) -> Mapping[str, str]:
        """The columns of a control table and their Spark types."""
        return TABLES[name].kinds

    def append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append a few rows given as dicts; columns that are not given are null."""
        import pyarrow as pa

        from cdp.engine.files import arrow_type

        fields = [pa.field(column, arrow_type(kind)) for column, kind in self.types(name).items()]
        full = [{field.name: row.get(field.name) for field in fields} for row in rows]
        self.append_parts(name, (pa.Table.from_pylist(full, schema=pa.schema(fields)), {}))

    def append_parts(self, name: str, *parts: tuple[pa.Table, Mapping[str, Any]]) -> None:
        """Append rows in one commit, each part with what is the same in all of its rows; columns that are not given are null."""
        self.engine.append_parts(self.table(name), *(self._rows(name, own, same) for own, same in parts))

    def maintain(self, sync: str) -> None:
        """Keep few the files of the tables that were used, a sync's part of them alone. What cannot be done now is left to the next run."""
        for name in sorted(self._made):
            part = {"sync": sync} if "sync" in TABLES[name].partition else {}
            try:
                self.engine.maintain(self.table(name), part)
            except ConflictError:  # somebody else maintains it
                continue
            except CdpError as error:  # whoever delivered has delivered
                _log.warning("%s", error.message)

    def _rows(self, name: str, own: pa.Table, same: Mapping[str, Any]) -> Rows:
        import pyarrow as pa

        from cdp.engine.files import arrow_type
        from cdp.engine.rows import Rows

        rest = {column: kind for column, kind in self.types(name).items() if column not in own.column_names}
        return Rows(own, {column: pa.scalar(same.get(column), arrow_type(kind)) for column, kind in rest.items()})


def new_name(now: dt.datetime) -> str:
    """A name for a plan or a run that begins with when it was made, in UTC."""
    return f"{now.astimezone(dt.UTC):%Y%m%d%H%M%S}_{uuid.uuid4().hex[:6]}"


def typed(value: Any, kind: str) -> str:
    """A value as SQL of a type, which a null has too: statements that write take no parameters."""
    import pyarrow as pa

    from cdp.engine.files import arrow_type
    from cdp.engine.rows import constant

    return constant(pa.scalar(value, arrow_type(kind)))
