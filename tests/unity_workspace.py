"""A workspace of Databricks at the wire: the statement execution API over HTTP, and a catalog that remembers what statements made.

It understands just the statements that `cdp governance export` sends, by their own syntax, and none of our code: what it does not
know it answers as a warehouse does, with a PARSE_SYNTAX_ERROR.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "dapi-fake-token"
API = "/api/2.0/sql/statements"
NAME = r"`([^`]+)`"
Rows = tuple[list[str], list[list[Any]]]


@dataclass
class Workspace:
    """What the catalog holds, and the statements that it was sent.

    Attributes:
        tables: `schema.table` of every table there is.
        lineage: rows of system.access.column_lineage, or None where that may not be read.
        slow: the state of a statement is PENDING so many times before it is done.
    """

    catalog: str
    tables: list[str]
    slow: int = 0
    lineage: list[list[str]] | None = field(default_factory=list)
    schemas: set[str] = field(default_factory=set)
    functions: dict[str, str] = field(default_factory=dict)
    tags: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    policies: dict[tuple[str, str], str] = field(default_factory=dict)
    grants: set[tuple[str, str, str]] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)
    denied: int = 0
    url: str = ""
    _pending: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    # -- statements -------------------------------------------------------------------------------------------------

    def run(self, statement: str) -> Rows:
        """Do what a statement says.

        Raises:
            LookupError: with the error's class: what it names is not there, or it is no statement.
        """
        self.seen.append(statement)
        for pattern, do in self._grammar().items():
            if match := re.fullmatch(pattern, statement, re.S):
                return do(match) or ([], [])
        raise LookupError("PARSE_SYNTAX_ERROR")

    def _grammar(self) -> dict[str, Callable[[re.Match[str]], Rows | None]]:
        place = rf"({NAME}(?:\.{NAME})*)"
        return {
            rf"CREATE SCHEMA IF NOT EXISTS {NAME}\.{NAME}": lambda m: self.schemas.add(m[2]),
            rf"CREATE OR REPLACE FUNCTION {NAME}\.{NAME}\.{NAME}\(.*\) RETURNS \w+ COMMENT '([^']*)' RETURN .+": self._function,
            rf"ALTER TABLE {NAME}\.{NAME}\.{NAME}(?: ALTER COLUMN {NAME})? SET TAGS \('([^']+)' = '([^']+)'\)": self._tag,
            rf"ALTER TABLE {NAME}\.{NAME}\.{NAME}(?: ALTER COLUMN {NAME})? UNSET TAGS \('([^']+)'\)": self._untag,
            rf"CREATE OR REPLACE POLICY {NAME} ON ((?:CATALOG|TABLE) {place}) COMMENT '[^']*' (?:COLUMN MASK|ROW FILTER) .+": self._policy,
            rf"DROP POLICY {NAME} ON (.+)": lambda m: self.policies.pop((m[2], m[1])) and None,
            rf"DROP FUNCTION IF EXISTS {NAME}\.{NAME}\.{NAME}": lambda m: self.functions.pop(m[3], None) and None,
            rf"GRANT ([A-Z ]+) ON ((?:CATALOG|SCHEMA|TABLE) {place}) TO {NAME}": self._grant,
            r"SHOW POLICIES ON (.+)": self._show,
            r"SELECT .* FROM `\w+`\.`information_schema`\.`(\w+)`(?: WHERE .*)?": lambda m: getattr(self, f"_{m[1]}")(),
            r"SELECT DISTINCT .* FROM system\.access\.column_lineage .*": self._lineage,
        }

    def _function(self, match: re.Match[str]) -> None:
        if match[2] not in self.schemas:
            raise LookupError("SCHEMA_NOT_FOUND")
        self.functions[match[3]] = match[4]

    def _tag(self, match: re.Match[str]) -> None:
        if f"{match[2]}.{match[3]}" not in self.tables:
            raise LookupError("TABLE_OR_VIEW_NOT_FOUND")
        self.tags.setdefault(tuple(filter(None, match.groups()[1:4])), {})[match[5]] = match[6]

    def _untag(self, match: re.Match[str]) -> None:
        del self.tags[tuple(filter(None, match.groups()[1:4]))][match[5]]

    def _policy(self, match: re.Match[str]) -> None:
        needed = re.search(rf"(?:COLUMN MASK|ROW FILTER) {NAME}\.{NAME}\.{NAME}", match[0])
        if needed is None or needed[3] not in self.functions:
            raise LookupError("ROUTINE_NOT_FOUND")
        comment = re.search(r"COMMENT '([^']*)'", match[0])
        self.policies[match[2], match[1]] = comment[1] if comment else ""

    def _grant(self, match: re.Match[str]) -> None:
        who = re.search(rf"TO {NAME}$", match[0])
        assert who is not None
        self.grants.add((match[1], match[2], who[1]))

    # -- what it says -----------------------------------------------------------------------------------------------

    def _show(self, match: re.Match[str]) -> Rows:
        columns = ["Policy Name", "Policy Type", "Catalog", "Schema", "Table", "Comment"]
        return columns, [[name, "", self.catalog, None, None, said] for (on, name), said in self.policies.items() if on == match[1]]

    def _tables(self) -> Rows:
        return ["table_schema", "table_name"], [table.split(".") for table in self.tables]

    def _schemata(self) -> Rows:
        return ["schema_name"], [[name] for name in self.schemas]

    def _routines(self) -> Rows:
        return ["routine_name", "comment"], [[name, comment] for name, comment in self.functions.items()]

    def _column_tags(self) -> Rows:
        columns = ["schema_name", "table_name", "column_name", "tag_name", "tag_value"]
        return columns, [[*on, key, value] for on, tags in self.tags.items() if len(on) == 3 for key, value in tags.items()]

    def _table_tags(self) -> Rows:
        columns = ["schema_name", "table_name", "tag_name", "tag_value"]
        return columns, [[*on, key, value] for on, tags in self.tags.items() if len(on) == 2 for key, value in tags.items()]

    def _catalog_privileges(self) -> Rows:
        return ["grantee", "privilege_type"], [[who, what] for what, on, who in self.grants if on.startswith("CATALOG")]

    def _schema_privileges(self) -> Rows:
        found = [[who, what, on.rpartition(".")[2].strip("`")] for what, on, who in self.grants if on.startswith("SCHEMA")]
        return ["grantee", "privilege_type", "schema_name"], found

    def _table_privileges(self) -> Rows:
        found = [[who, what, *(part.strip("`") for part in on.split(".")[1:])] for what, on, who in self.grants if on.startswith("TABLE")]
        return ["grantee", "privilege_type", "table_schema", "table_name"], found

    def _lineage(self, _: re.Match[str]) -> Rows:
        if self.lineage is None:
            raise LookupError("INSUFFICIENT_PERMISSIONS")
        return [f"{end}_{part}" for end in ("source", "target") for part in ("table_schema", "table_name", "column_name")], self.lineage

    # -- the wire ---------------------------------------------------------------------------------------------------

    def answer(self, statement: str) -> dict[str, Any]:
        """The body of a response to a new statement."""
        number = f"st-{len(self.seen)}"
        try:
            columns, rows = self.run(statement)
        except LookupError as error:
            said = {"error_code": "BAD_REQUEST", "message": f"[{error}] something about zq-a-value-of-a-row"}
            return {"statement_id": number, "status": {"state": "FAILED", "error": said}}
        half = max(1, len(rows) // 2)
        chunks = [rows[:half], rows[half:]] if len(rows) > 1 else [rows]
        done = {
            "statement_id": number,
            "status": {"state": "SUCCEEDED"},
            "manifest": {"schema": {"columns": [{"name": name} for name in columns]}},
            "result": {"chunk_index": 0, "data_array": chunks[0]} | ({"next_chunk_index": 1} if len(chunks) > 1 else {}),
            "_rest": {"chunk_index": 1, "data_array": chunks[-1]},
        }
        self._pending[number] = (self.slow, done)
        return {"statement_id": number, "status": {"state": "PENDING"}} if self.slow else done

    def later(self, number: str, chunk: bool) -> dict[str, Any]:
        """The body of a response to a question about a statement, or for its second chunk."""
        left, done = self._pending[number]
        if chunk:
            found: dict[str, Any] = done["_rest"]
            return found
        self._pending[number] = (left - 1, done)
        return {"statement_id": number, "status": {"state": "RUNNING"}} if left > 1 else done


@contextmanager
def serving(workspace: Workspace) -> Iterator[Workspace]:
    """The workspace behind HTTP on this machine; its address is `url`."""

    class Handler(BaseHTTPRequestHandler):
        def _send(self, code: int, body: dict[str, Any]) -> None:
            data = json.dumps({key: value for key, value in body.items() if key != "_rest"}).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _allowed(self) -> bool:
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                return True
            workspace.denied += 1
            self._send(403, {"error_code": "PERMISSION_DENIED", "message": "Invalid access token."})
            return False

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self._allowed():
                return None
            if self.path.rstrip("/") != API or body.get("warehouse_id") != "wh1":
                return self._send(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such endpoint"})
            return self._send(200, workspace.answer(body["statement"]))

        def do_GET(self) -> None:
            match = re.fullmatch(rf"{API}/([\w-]+)(/result/chunks/1)?", self.path.partition("?")[0])
            if match is None:  # the SDK also looks for /.well-known, without credentials
                return self._send(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such endpoint"})
            if not self._allowed():
                return None
            return self._send(200, workspace.later(match[1], match[2] is not None))

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    workspace.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield workspace
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
