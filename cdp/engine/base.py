"""The engine: a SparkSession, seen through the few operations that this project needs.

Only SQL and the Spark Connect surface are used, so that the embedded engine, Apache Spark and Databricks
run the same code; they differ in how the session is made. A failure of the engine becomes a DataError or an
EngineError that names what was being done: the engine's own text may hold values and is dropped.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from cdp.errors import CdpError, DataError, EngineError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

NAME = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*", re.I)


class Engine:
    """One session over one lakehouse.

    Args:
        session: a Spark session, classic or Connect.
        lakehouse: the root of the Delta folders, `<lakehouse>/<schema>/<table>`; None when `catalog` is given.
        catalog: the catalog whose tables are used by name; None when `lakehouse` is given.
        timezone: IANA name; local days are days there.
    """

    name = "spark"

    def __init__(
        self, session: SparkSession, *, lakehouse: Path | None, catalog: str | None = None, timezone: str = "UTC"
    ) -> None:
        self.session = session
        self.lakehouse = lakehouse
        self._registered: set[str] = set()
        session.conf.set("spark.sql.session.timeZone", timezone)
        if catalog:
            with self._reduced(f"catalog {catalog}"):
                session.sql(f"USE CATALOG {exp.to_identifier(catalog, quoted=True).sql('spark')}")

    # -- tables -----------------------------------------------------------------------------------------------------

    def folder(self, table: str) -> Path | None:
        """The Delta folder of `schema.table`, or None when tables are found by catalog name."""
        if not NAME.fullmatch(table):
            raise DataError(f"table name {table!r} is not schema.table")
        schema, name = table.split(".")
        return self.lakehouse / schema / name if self.lakehouse else None

    def exists(self, table: str) -> bool:
        """Whether the table is there."""
        folder = self.folder(table)
        if folder is not None:
            return (folder / "_delta_log").is_dir()
        return bool(self.session.catalog.tableExists(table))

    def register(self, tables: Sequence[str]) -> None:
        """Make `schema.table` names resolve.

        Raises:
            DataError: a table is not there; all missing ones are named.
        """
        missing = [t for t in tables if t not in self._registered and not self.exists(t)]
        if missing:
            where = f"under {self.lakehouse}" if self.lakehouse else "in the catalog"
            raise DataError(
                f"table{'s' if len(missing) > 1 else ''} {', '.join(sorted(missing))} not found {where}",
                fix="load the tables (`cdp sample` makes example ones), or mend `table:` of the entity or `lakehouse:` in conf/cdp.yml",
            )
        for table in tables:
            if (folder := self.folder(table)) is not None and table not in self._registered:
                self.execute(f"CREATE SCHEMA IF NOT EXISTS {table.split('.')[0]}")
                self.execute(f"CREATE TABLE IF NOT EXISTS {table} USING delta LOCATION {_literal(folder)}", what=table)
            self._registered.add(table)

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a table and their Spark types, as `{"birth_date": "date"}`."""
        self.register([table])
        with self._reduced(f"table {table}"):
            return {f.name: f.dataType.simpleString() for f in self.session.table(table).schema.fields}

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create an empty, plain Delta table of the given Spark types where there is none."""
        if self.exists(table):
            self.register([table])
            return
        spec = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        self._create(table, f"({spec})", "")

    def create_as(self, table: str, query: exp.Expression | str) -> None:
        """Create a table from a query. The table must not be there."""
        self._create(table, "", f" AS {self.sql(query)}")

    def _create(self, table: str, spec: str, source: str) -> None:
        folder = self.folder(table)
        location = f" LOCATION {_literal(folder)}" if folder else ""
        self.execute(f"CREATE SCHEMA IF NOT EXISTS {table.split('.')[0]}")
        self.execute(f"CREATE TABLE {table} {spec} USING delta{location}{source}", what=table)
        self._registered.add(table)

    def drop(self, table: str) -> None:
        """Remove a table and its data; nothing happens when it is not there."""
        folder = self.folder(table)
        if table in self._registered or (folder is None and self.exists(table)):
            self.execute(f"DROP TABLE IF EXISTS {table}", what=table)
        self._registered.discard(table)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def append(self, table: str, rows: pa.Table) -> None:
        """Append rows by column name in one commit."""
        self.register([table])
        with self._reduced(f"appending to {table}"):
            self.session.createDataFrame(rows).writeTo(table).append()

    # -- statements -------------------------------------------------------------------------------------------------

    def sql(self, statement: exp.Expression | str) -> str:
        """The statement as Spark SQL text."""
        return statement if isinstance(statement, str) else statement.sql("spark")

    def query(self, statement: exp.Expression | str, args: Mapping[str, Any] | None = None, *, what: str = "") -> pa.Table:
        """Run a query; all rows as one Arrow table. `args` are named parameters (`:name`)."""
        with self._reduced(what or "a query"):
            return self.frame(statement, args).toArrow()

    def value(self, statement: exp.Expression | str, args: Mapping[str, Any] | None = None, *, what: str = "") -> Any:
        """The first column of the first row, or None without rows."""
        table = self.query(statement, args, what=what)
        return table.column(0)[0].as_py() if table.num_rows else None

    def execute(self, statement: exp.Expression | str, args: Mapping[str, Any] | None = None, *, what: str = "") -> None:
        """Run a statement for its effect."""
        with self._reduced(what or "a statement"):
            self.frame(statement, args).collect()

    def frame(self, statement: exp.Expression | str, args: Mapping[str, Any] | None = None) -> DataFrame:
        """The lazy data frame of a statement; callers inside the engine layer only."""
        return self.session.sql(self.sql(statement), args=dict(args)) if args else self.session.sql(self.sql(statement))

    def view(self, name: str, rows: pa.Table) -> None:
        """Make Arrow rows readable by SQL as a temporary view."""
        with self._reduced(f"view {name}"):
            self.session.createDataFrame(rows).createOrReplaceTempView(name)

    @contextmanager
    def _reduced(self, what: str) -> Iterator[None]:
        """Turn whatever the engine raises into an error of ours that holds none of its text."""
        try:
            yield
        except CdpError:
            raise
        except Exception as error:  # engines raise many unrelated types
            raise reduce_error(error, what) from None


_MISSING = re.compile(r"TABLE_OR_VIEW_NOT_FOUND|Table not found|DELTA_TABLE_NOT_FOUND|PATH_NOT_FOUND", re.I)
_COLUMN = re.compile(r"UNRESOLVED_COLUMN|is missing from the schema|cannot resolve attribute", re.I)
_DISK = re.compile(r"no space left|os error 28|ENOSPC|disk quota", re.I)
_CONFLICT = re.compile(r"concurrent|conflict|Missing commit file|transaction", re.I)


def reduce_error(error: Exception, what: str) -> CdpError:
    """What went wrong in words of our own: the engine's text may quote values and is only matched, never shown."""
    text = f"{type(error).__name__} {error}"
    if _DISK.search(text):
        return EngineError(f"no space left while working on {what}", fix="free space and run again; nothing is lost")
    if _MISSING.search(text):
        return DataError(f"{what}: a table is not there, or is being replaced", fix="check the lakehouse, then run again")
    if _COLUMN.search(text):
        return DataError(f"{what}: a declared column is not in the table", fix="compare the entity's columns with the table")
    if _CONFLICT.search(text):
        return EngineError(f"{what}: another writer was faster", fix="run again")
    return EngineError(f"{what}: the engine failed ({type(error).__name__})", fix="run again with -v; check the types of the columns involved")


def _literal(folder: Path) -> str:
    return exp.Literal.string(str(folder.absolute())).sql("spark")
