"""The engine: a SparkSession, seen through the few operations that this project needs.

Only SQL and the Spark Connect surface are used, so that the embedded engine, Apache Spark and Databricks
run the same code; they differ in how the session is made. A failure of the engine becomes a DataError or an
EngineError that names what was being done: the engine's own text may hold values and is dropped.

Named parameters (`:name`) work in queries only: neither engine takes them in INSERT or UPDATE, where values
therefore stand as literals of sqlglot (`literal`).
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlglot import exp

from cdp.compile.sql import PRIVATE
from cdp.engine import files, log, maintenance
from cdp.engine.failures import reduce_error
from cdp.engine.rows import Rows, constant
from cdp.errors import CdpError, DataError
from cdp.profile import step

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

T = TypeVar("T")
NAME = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*", re.I)
_FILTERS = (
    ("information_schema.row_filters", "filter_name", "row filter"),
    ("information_schema.column_masks", "column_name", "mask of column"),
)
_ANSWERS = 256  # that are remembered: a few for each sync


def literal(value: str | int | None) -> str:
    """A value as a Spark SQL literal, for the statements that take no named parameters."""
    if value is None:
        return "NULL"
    made = exp.Literal.string(value) if isinstance(value, str) else exp.Literal.number(value)
    return made.sql("spark")


def quoted(name: str) -> str:
    """A column name as a quoted Spark SQL identifier."""
    return exp.to_identifier(name, quoted=True).sql("spark")


def uid() -> str:
    """Who runs this process: `uid:1001`, from the operating system. $USER and the like say what their owner wants."""
    return f"uid:{os.getuid()}"


class Engine:
    """One session over one lakehouse.

    Args:
        session: a Spark session, classic or Connect.
        lakehouse: the root of the Delta folders, `<lakehouse>/<schema>/<table>`; None when `catalog` is given.
        catalog: the catalog whose tables are used by name; None when `lakehouse` is given.
    """

    name = "spark"
    brief = "delta"  # the format of tables in folders that are dropped before long

    def __init__(self, session: SparkSession, *, lakehouse: Path | None, catalog: str | None = None) -> None:
        self.session = session
        self.lakehouse = lakehouse
        self.reached = lakehouse and lakehouse.absolute()  # the path by which the session reaches it
        self._registered: set[str] = set()
        self._schemas: set[str] = set()
        self._logs = log.Logs()
        self._answers: dict[tuple[Any, ...], tuple[str | None, pa.Table]] = {}
        self._naming = threading.RLock()  # syncs that run side by side share the session, and so its names
        # Sail reads a stored timestamp in UTC whatever the session says, so every session is in UTC and
        # compiled SQL names the project's zone where a local day is meant.
        session.conf.set("spark.sql.session.timeZone", "UTC")
        if catalog:
            with self._reduced(f"catalog {catalog}"):
                session.catalog.setCurrentCatalog(catalog)

    def close(self) -> None:
        """End the session; the engine cannot be used any more."""
        with self._reduced("closing the session"):
            self.session.stop()

    def whoami(self) -> str:
        """Who uses the engine, as people of governance/roles.yml are named; an engine with users of its own says theirs."""
        return uid()

    # -- tables -----------------------------------------------------------------------------------------------------

    def folder(self, table: str) -> Path | None:
        """The Delta folder of `schema.table`, or None when tables are found by catalog name."""
        if not NAME.fullmatch(table):
            raise DataError(f"table name {table!r} is not schema.table")
        schema, name = table.split(".")
        return self.lakehouse / schema / name if self.lakehouse else None

    def exists(self, table: str) -> bool:
        """Whether the table is there; one whose first commit is not written is not."""
        folder = self.folder(table)
        if folder is not None:
            return log.exists(folder)
        with self._reduced(f"table {table}"):
            return bool(self.session.catalog.tableExists(table))

    def tables(self, schema: str) -> tuple[str, ...]:
        """The names of the tables of a schema, without it; none when it is not there. In folders also what was begun only."""
        if self.lakehouse is not None:
            folders = (folder.name for folder in (self.lakehouse / schema).glob("*/"))
            return tuple(sorted(name for name in folders if NAME.fullmatch(f"{schema}.{name}")))
        with self._reduced(f"schema {schema}"):
            if not self.session.catalog.databaseExists(schema):
                return ()
            return tuple(sorted(table.name for table in self.session.catalog.listTables(schema)))

    def version(self, table: str) -> int | None:
        """The number of a Delta table's newest commit; None where the table keeps none, or the engine does not tell."""
        folder = self.folder(table)
        if folder is not None:
            return self._logs.newest(folder)
        try:
            return int(self.session.sql(f"DESCRIBE HISTORY {table} LIMIT 1").collect()[0]["version"])
        except Exception:  # a view, another format, or an engine without histories
            return None

    def state(self, table: str) -> str | None:
        """Which state a table is in: another word after every change of it; None where that cannot be told.

        Of a Delta folder see `Logs.state`; of a catalog's table its id, and the number and time of the newest commit.
        """
        folder = self.folder(table)
        return self._logs.state(folder) if folder is not None else self._catalog_state(table)

    def _catalog_state(self, table: str) -> str | None:
        try:
            identity = self.session.sql(f"DESCRIBE DETAIL {table}").collect()[0]["id"]
            newest = self.session.sql(f"DESCRIBE HISTORY {table} LIMIT 1").collect()[0]
            return f"{identity}:{newest['version']}:{newest['timestamp'].isoformat()}" if identity else None
        except Exception:  # a view, another format, or an engine without histories
            return None

    def filters(self, tables: Sequence[str]) -> tuple[str, ...]:
        """What the catalog declares to stand between a query and what tables hold: row filters and column masks.

        Tables in folders can have none, nor can those of a catalog without these relations. Of Unity Catalog they are
        INFORMATION_SCHEMA.ROW_FILTERS and COLUMN_MASKS (docs.databricks.com/sql/language-manual/information-schema), which do not
        hold what policies on tags apply.

        Raises:
            EngineError: the catalog has the relations and does not show them.
        """
        if self.lakehouse is not None:
            return ()
        wanted = {table.lower() for table in tables}
        found = []
        for relation, name, kind in _FILTERS:
            if self.exists(relation):
                columns = ("schema_name", "table_name", name)
                rows = self.query(f"SELECT {', '.join(columns)} FROM {relation}", what=relation).to_pylist()
                places = ((f"{row['schema_name']}.{row['table_name']}", row[name]) for row in rows)
                found += [f"{table} ({kind} {what})" for table, what in places if table.lower() in wanted]
        return tuple(sorted(found))

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
            if table not in self._registered:
                self._register(table)

    def _register(self, table: str) -> None:
        with self._naming:
            if (location := self._location(table)) and table not in self._registered:
                self._make_schema(table)
                self._forget(table)
                self.execute(f"CREATE TABLE IF NOT EXISTS {table} USING delta{location}", what=table)
            self._registered.add(table)

    def _location(self, table: str) -> str:
        """The clause that says where a table's folder is; nothing when tables are found by catalog name."""
        folder = self.folder(table)
        return f" LOCATION {literal(str(self.reached / folder.parent.name / folder.name))}" if folder and self.reached else ""

    def _make_schema(self, table: str) -> None:
        schema = table.partition(".")[0]
        if schema not in self._schemas:
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}", what=f"schema {schema}")
            self._schemas.add(schema)

    def _forget(self, table: str) -> None:
        """Drop a name that this session does not know but its catalog does: it may point to another lakehouse."""
        if self.session.catalog.tableExists(table):
            self.execute(f"DROP TABLE IF EXISTS {table}", what=table)

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a table and their Spark types, as `{"birth_date": "date"}`."""
        return self.schemas([table])[table]

    def schemas(self, tables: Sequence[str]) -> dict[str, dict[str, str]]:
        """The columns of several tables, by table, in one question."""
        if not tables:
            return {}
        self.register(tables)
        rows = ", ".join(f"STRUCT(t{i}.*) AS t{i}" for i in range(len(tables)))
        named = ", ".join(f"{table} AS t{i}" for i, table in enumerate(tables))
        with step("types of the tables"), self._reduced(f"table {', '.join(tables)}"):
            found: Any = [row.dataType for row in self.frame(f"SELECT {rows} FROM {named}").schema.fields]
            return {t: {f.name: f.dataType.simpleString() for f in row.fields} for t, row in zip(tables, found, strict=True)}

    def types(self, query: exp.Expression | str, *, what: str = "") -> dict[str, str]:
        """The columns that a query gives and their Spark types, without running it."""
        with step(f"types of {what or 'a query'}"), self._reduced(what or "a query"):
            return {f.name: f.dataType.simpleString() for f in self.frame(query).schema.fields}

    def create(self, table: str, columns: Mapping[str, str], *, partition: Sequence[str] = ()) -> None:
        """Create an empty, plain Delta table of the given Spark types where there is none, whoever else makes it at the same time."""
        with self._naming:
            if not self.exists(table):
                spec = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
                try:
                    self._create(table, f"({spec})", partition, "")
                except CdpError:
                    if not self.exists(table):  # another process was not faster
                        raise
            self.register([table])

    def create_as(self, table: str, query: exp.Expression | str, *, partition: Sequence[str] = (), brief: bool = False) -> None:
        """Create a table from a query. The table must not be there. One that is `brief` is dropped before long and never written to."""
        self._create(table, "", partition, f" AS {self.sql(query)}", brief)

    def _create(self, table: str, spec: str, partition: Sequence[str], source: str, brief: bool = False) -> None:
        folder = self.folder(table)
        kind = self.brief if brief and folder else "delta"
        partitioned = f" PARTITIONED BY ({', '.join(map(quoted, partition))})" if partition else ""
        self._make_schema(table)
        if folder is not None:
            self._forget(table)
        try:
            self.execute(f"CREATE TABLE {table} {spec} USING {kind}{partitioned}{self._location(table)}{source}", what=table)
        except CdpError:
            if folder is not None:  # the embedded engine keeps the name of a table that it could not fill
                with suppress(CdpError):
                    self.execute(f"DROP TABLE IF EXISTS {table}", what=table)
            raise
        self._registered.add(table)

    def drop(self, table: str) -> None:
        """Remove a table and its data; nothing happens when it is not there."""
        folder = self.folder(table)
        if table in self._registered or (folder is None and self.exists(table)):
            self.execute(f"DROP TABLE IF EXISTS {table}", what=table)
        self._registered.discard(table)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def maintain(self, table: str, part: Mapping[str, str]) -> None:
        """Merge a partition's small files (`{"sync": "letters"}`) and delete old ones, once a day. A catalog's platform does it."""
        folder = self.folder(table)
        with self._reduced(f"maintaining {table}"):
            if folder is not None and maintenance.due(folder, part):
                with step(f"maintain {table}"):
                    maintenance.maintain(folder, part)

    def append(self, table: str, rows: pa.Table) -> None:
        """Append rows by column name in one commit; no rows, no commit."""
        self.append_parts(table, Rows(rows))

    def append_parts(self, table: str, *parts: Rows) -> None:
        """Append rows by column name, all parts in one commit; no rows, no commit. Each part has every column."""
        self.register([table])
        if some := [each for each in parts if each.own.num_rows]:
            with step(f"append {table}"), self._reduced(f"appending to {table}"):
                self._append(table, some)

    def _append(self, table: str, parts: Sequence[Rows]) -> None:
        """What is the same in each row is not handed over with each."""
        frames = []
        for each in parts:
            same = (f"{constant(value)} AS {quoted(name)}" for name, value in each.same.items())
            frames.append(self.session.createDataFrame(each.own).selectExpr("*", *same))
        reduce(lambda one, other: one.unionByName(other), frames).writeTo(table).append()

    # -- statements -------------------------------------------------------------------------------------------------

    def sql(self, statement: exp.Expression | str) -> str:
        """The statement as Spark SQL text."""
        return statement if isinstance(statement, str) else statement.sql("spark")

    def query(self, statement: exp.Expression | str, args: Mapping[str, Any] | None = None, *, what: str = "") -> pa.Table:
        """Run a query; all rows as one Arrow table. `args` are named parameters (`:name`), none of them None."""
        with step(f"read {what or 'rows'}"), self._reduced(what or "a query"):
            return self.frame(statement, args).toArrow()

    def recall(self, table: str, statement: str, args: Mapping[str, Any] | None = None) -> pa.Table:
        """A query of one table whose answer is small. In each state of the table it is asked once, where a folder shows that state."""
        folder, asked = self.folder(table), (statement, *sorted((args or {}).items()))
        at = self._logs.state(folder) if folder is not None else None  # before the query: what it sees is of that state or later
        known = self._answers.get(asked)
        if at is not None and known is not None and known[0] == at:
            return known[1]
        found = self.query(statement, args, what=table)
        if len(self._answers) >= _ANSWERS:
            self._answers.clear()
        self._answers[asked] = (at, found)
        return found

    def part(self, table: str, column: str, value: int, kinds: Mapping[str, str]) -> pa.Table:
        """One partition of a table that was written once: the columns of these names and Spark types, in no order.

        Raises:
            DataError, EngineError: it cannot be read.
        """
        folder, what = self.folder(table), f"table {table}"
        with step(f"read {table}"), self._reduced(what):
            if folder is not None and (found := files.of_part(folder, column, value)) is not None:
                return files.read(found, kinds)
        columns = ", ".join(map(quoted, kinds))
        rows = self.query(f"SELECT {columns} FROM {table} WHERE {quoted(column)} = {value}", what=what)
        return files.typed(rows, kinds).combine_chunks()

    def value(self, statement: exp.Expression | str, args: Mapping[str, Any] | None = None, *, what: str = "") -> Any:
        """The first column of the first row, or None without rows."""
        table = self.query(statement, args, what=what)
        return table.column(0)[0].as_py() if table.num_rows else None

    def execute(self, statement: exp.Expression | str, *, what: str = "") -> None:
        """Run a statement for its effect."""
        with step(_done(statement, what)), self._reduced(what or "a statement"):
            self.frame(statement).collect()

    def frame(self, statement: exp.Expression | str, args: Mapping[str, Any] | None = None) -> DataFrame:
        """The lazy data frame of a statement; callers inside the engine layer only."""
        statement, hidden = parameters(statement)
        args = {**(args or {}), **hidden}
        return self.session.sql(self.sql(statement), args=args) if args else self.session.sql(self.sql(statement))

    def view(self, name: str, rows: pa.Table) -> None:
        """Make Arrow rows readable by SQL as a temporary view."""
        with self._reduced(f"view {name}"):
            self.session.createDataFrame(rows).createOrReplaceTempView(name)

    def lend(self, statement: exp.Expression | str, use: Callable[[DataFrame], T], *, what: str) -> T:
        """Let a library that speaks Spark work on the rows of a query, and reduce what it raises."""
        with self._reduced(what):
            return use(self.frame(statement))

    @contextmanager
    def _reduced(self, what: str) -> Iterator[None]:
        """Turn whatever the engine raises into an error of ours that holds none of its text."""
        try:
            yield
        except CdpError:
            raise
        except Exception as error:  # engines raise many unrelated types
            raise reduce_error(error, what, self.reached) from None


def _done(statement: exp.Expression | str, what: str) -> str:
    """A statement's step in a profile: its verb, and what it is about."""
    verb = statement.partition(" ")[0] if isinstance(statement, str) else statement.key
    return f"{verb.lower()} {what}".strip()


def parameters(statement: exp.Expression | str) -> tuple[exp.Expression | str, dict[str, Any]]:
    """A statement without the literals that say who somebody is (`cdp.compile.sql.private`), and these as named parameters."""
    if isinstance(statement, str) or not any(node.meta.get(PRIVATE) for node in statement.find_all(exp.Literal)):
        return statement, {}
    args: dict[str, Any] = {}

    def marked(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Literal) or not node.meta.get(PRIVATE):
            return node
        name = f"private_{len(args)}"
        args[name] = node.this if node.is_string else (int(node.this) if node.is_int else Decimal(node.this))
        return exp.Placeholder(this=name)

    return statement.transform(marked), args
