"""What engines say is matched and never shown: an error of ours names the table and the fix."""

from __future__ import annotations

import pytest

from cdp.engine.base import reduce_error

MARKER = "Zq7-patient-value"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Generic LocalFileSystem error: Unable to create file: Permission denied (os error 13)", "may not read or write it"),
        ("Read-only file system (os error 30)", "may not read or write it"),
        ("No space left on device (os error 28)", "no space left"),
        ("[TABLE_OR_VIEW_NOT_FOUND] the table cannot be found", "a table is not there"),
        ("commit conflict: version 7 exists", "another writer was faster"),
        ("something that nobody has seen", "the engine failed (RuntimeError)"),
    ],
)
def test_an_engine_s_text_is_reduced_to_words_of_ours(said: str, shown: str) -> None:
    reduced = reduce_error(RuntimeError(f"{said} {MARKER}"), "crm.consents")
    assert shown in reduced.message
    assert "crm.consents" in reduced.message
    assert reduced.fix
    assert MARKER not in str(reduced)
