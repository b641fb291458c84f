"""What engines say is matched and never shown: an error of ours names the table and the fix."""

from __future__ import annotations

import pytest
from sqlglot import exp

from cdp.compile import sql
from cdp.engine.base import parameters
from cdp.engine.failures import reduce_error

MARKER = "Zq7-patient-value"
STACK = """
\tat org.apache.spark.sql.delta.OptimisticTransactionImpl.commit(OptimisticTransaction.scala:1180)
\tat java.base/java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:1136)
\t... 31 more
"""


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Generic LocalFileSystem error: Unable to create file: Permission denied (os error 13)", "may not read or write it"),
        ("Read-only file system (os error 30)", "may not read or write it"),
        ("No space left on device (os error 28)", "no space left"),
        ("[TABLE_OR_VIEW_NOT_FOUND] the table cannot be found", "a table is not there"),
        ("commit conflict: version 7 exists", "another writer was faster"),
        ("Resources exhausted: Failed to allocate additional 4.0 MB", "not enough memory"),
        (f"Job aborted.{STACK}Caused by: java.lang.OutOfMemoryError: Java heap space{STACK}", "not enough memory"),
        (f"io.delta.exceptions.ConcurrentAppendException: files were added{STACK}", "another writer was faster"),
        (f"Job aborted.{STACK}Caused by: java.lang.ArithmeticException: overflow{STACK}", "the engine failed (RuntimeError)"),
        (f"java.util.concurrent.ExecutionException: boxed{STACK}", "the engine failed (RuntimeError)"),
        ("something that nobody has seen", "the engine failed (RuntimeError)"),
    ],
)
def test_an_engine_s_text_is_reduced_to_words_of_ours(said: str, shown: str) -> None:
    """attack 9"""
    reduced = reduce_error(RuntimeError(f"{said} {MARKER}"), "crm.consents")
    assert shown in reduced.message
    assert "crm.consents" in reduced.message
    assert reduced.fix
    assert MARKER not in str(reduced)


def test_who_somebody_is_stands_in_no_query() -> None:
    """attack 42: as a parameter, wherever it stands; other literals stay where they are."""
    key, number = sql.private(sql.string(f"{MARKER}'; --")), sql.private(sql.number(-4711))
    mine = exp.and_(sql.equal(sql.column("p", "patient_id"), key), sql.equal(sql.column("p", "chart"), number))
    inner = exp.select("1").from_("clinical.patients AS p").where(exp.or_(mine, "p.state = 'MA'"))
    statement = exp.select("*").from_(inner.subquery("q"))
    found, args = parameters(statement)
    assert not isinstance(found, str)
    assert args == {"private_0": f"{MARKER}'; --", "private_1": 4711}
    text = found.sql("spark")
    assert ":private_0" in text
    assert "-:private_1" in text
    assert "'MA'" in text
    assert MARKER not in text
    assert MARKER in statement.sql("spark")  # the tree of the caller is left alone
    assert parameters("SELECT 1") == ("SELECT 1", {})
    assert parameters(exp.select("1"))[1] == {}
