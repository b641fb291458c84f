"""What a Delta folder's log says without an engine."""

from __future__ import annotations

import shutil
from pathlib import Path

from cdp.engine.log import Logs, exists


def commit(folder: Path, number: int, said: str = "{}") -> None:
    log = folder / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    (log / f"{number:020}.json").write_text(said)


def test_the_newest_commit_is_found_however_many_came_since(tmp_path: Path) -> None:
    logs, folder = Logs(), tmp_path / "t"
    assert (logs.newest(folder), logs.state(folder), exists(folder)) == (None, None, False)
    for last in (0, 1, 5):
        for number in range(last + 1):
            commit(folder, number)
        assert (logs.newest(folder), exists(folder)) == (last, True)


def test_what_is_half_written_is_no_commit(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    commit(folder, 0)
    (folder / "_delta_log" / "00000000000000000001.json.tmp").write_text("{}")
    (folder / "_delta_log" / "_last_checkpoint").write_text("{}")
    assert Logs().newest(folder) == 0


def test_a_log_that_was_cleaned_up_is_looked_through_again(tmp_path: Path) -> None:
    logs, folder = Logs(), tmp_path / "t"
    for number in range(3):
        commit(folder, number)
    assert logs.newest(folder) == 2
    for number in range(3, 12):
        commit(folder, number)
    for number in range(10):
        (folder / "_delta_log" / f"{number:020}.json").unlink()
    assert logs.newest(folder) == 11


def test_a_table_that_was_made_anew_is_in_another_state(tmp_path: Path) -> None:
    logs, folder = Logs(), tmp_path / "t"
    for number in range(4):
        commit(folder, number, "first")
    before = logs.state(folder)
    assert logs.state(folder) == before
    shutil.rmtree(folder)
    assert logs.state(folder) is None
    commit(folder, 0, "second")
    assert (logs.newest(folder), logs.state(folder) != before) == (0, True)
    for number in range(1, 4):
        commit(folder, number, "second")
    assert (logs.newest(folder), logs.state(folder) != before) == (3, True)
