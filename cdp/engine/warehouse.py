"""A SQL warehouse of Databricks, for statements about the catalog: over the statement execution API, through databricks-sdk.

No patient's data is asked for here. https://docs.databricks.com/api/workspace/statementexecution
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cdp.errors import EngineError, UsageError

if TYPE_CHECKING:
    from databricks.sdk.service.sql import StatementResponse

WAIT = "30s"  # how long the first answer may take; after that it is asked for
PAUSE = 1.0  # seconds between asking


class Warehouse:
    """Runs statements. Host and credentials are those that databricks-sdk finds, such as DATABRICKS_HOST and DATABRICKS_TOKEN.

    Args:
        warehouse: its id.

    Raises:
        UsageError: databricks-sdk is not installed, or finds no credentials.
    """

    def __init__(self, warehouse: str) -> None:
        try:
            from databricks.sdk import WorkspaceClient
        except ImportError:
            raise UsageError("databricks-sdk is not installed", fix="pip install 'composable-cdp[unity]'") from None
        logging.getLogger("databricks.sdk").setLevel(logging.ERROR)  # it tells of every guess at how to log in
        try:
            self._api = WorkspaceClient(product="cdp").statement_execution
        except ValueError:
            fix = "set DATABRICKS_HOST and DATABRICKS_TOKEN, or log in with `databricks auth login`"
            raise UsageError("no way is known to the workspace of Databricks", fix=fix) from None
        self._warehouse = warehouse

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """Run a statement and fetch what it gives, every value as text.

        Raises:
            EngineError: it failed, or the workspace does not answer; with the error's class, never its text.
        """
        from databricks.sdk.errors.base import DatabricksError

        try:
            done = self._finished(statement)
            columns = (
                [column.name or "" for column in (done.manifest.schema.columns or ())] if done.manifest and done.manifest.schema else []
            )
            return [dict(zip(columns, row, strict=True)) for row in self._chunks(done)]
        except DatabricksError as error:
            fix = "look at the warehouse's id, and at the privileges of whoever runs this"
            raise EngineError(f"the workspace answered {type(error).__name__} to {_about(statement)}", fix=fix) from None
        except (OSError, TimeoutError) as error:
            raise EngineError(
                f"the workspace does not answer ({type(error).__name__})", fix="look at DATABRICKS_HOST, then run again"
            ) from None

    def _finished(self, statement: str) -> StatementResponse:
        from databricks.sdk.service.sql import ExecuteStatementRequestOnWaitTimeout as Late
        from databricks.sdk.service.sql import StatementState as State

        found = self._api.execute_statement(statement, self._warehouse, wait_timeout=WAIT, on_wait_timeout=Late.CONTINUE)
        while found.status is not None and found.status.state in (State.PENDING, State.RUNNING):
            time.sleep(PAUSE)
            found = self._api.get_statement(found.statement_id or "")
        status = found.status
        if status is None or status.state is not State.SUCCEEDED:
            said = re.match(r"\[([A-Z0-9_.]+)\]", (status.error.message or "") if status and status.error else "")
            how = said[1] if said else status.state.value if status and status.state else "nothing"
            raise EngineError(f"the warehouse answered {how} to {_about(statement)}", fix="mend that in the catalog, then run again")
        return found

    def _chunks(self, done: StatementResponse) -> Iterator[list[str]]:
        chunk = done.result
        while chunk is not None:
            yield from chunk.data_array or ()
            follows = chunk.next_chunk_index
            chunk = self._api.get_statement_result_chunk_n(done.statement_id or "", follows) if follows is not None else None


def _about(statement: str) -> str:
    """What a statement is about: its first words, up to the first name and its own."""
    words = statement.split()
    return " ".join(words[:6]) + (" ..." if len(words) > 6 else "")
