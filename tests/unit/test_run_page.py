"""The page about runs: well formed, needs nothing else, and says no more than what it is given."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from cdp.catalog.run_page import page
from cdp.catalog.run_report import RunReport, Said, Step, Stretch, stretches
from cdp.cli.app import main
from cdp.cli.report import _why
from cdp.errors import Refusal
from tests.projects import minimal
from tests.unit.test_catalog import parsed, well_formed

MADE = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
STEPS = (
    Step("in the segment", "level", 400, "everybody whom the segment means"),
    Step("left out: deceased", "less", "<11", "the first rule that keeps them out"),
    Step("unchanged", "less", 100, "the destination has it already"),
    Step("to be told", "level", "11+", "new to the destination", (("add", "11+"), ("change", 12))),
    Step("to be taken off", "more", 20, "the destination should not have them"),
    Step("delivered", "level", 300, "rows that the channel took"),
)


def made(*runs: Said) -> str:
    return page(RunReport("clinic <1>", "dev", MADE, 11, runs))


def said(**more: object) -> Said:
    return Said("letters", "partial", {"run": "R1", "took": "3.0 s"}, **more)  # type: ignore[arg-type]


def test_it_is_well_formed_and_what_is_text_is_text() -> None:
    refused = Said(
        "ads", "refused", {}, failed="sync ads is <refused>", refusals=(Refusal("agreement", "ads & co", "", (), "none", "sign"),)
    )
    text = made(said(steps=STEPS, errors=(("rejected", "<b>", 40),)), refused)
    well_formed(text)
    assert "clinic &lt;1&gt;" in text
    assert "&lt;b&gt;" in text
    assert "sync ads is &lt;refused&gt;" in text
    assert "<script" not in text
    assert {"overview", "letters", "ads"} <= set(parsed(text).ids)


def test_bars_float_where_the_step_before_ended_and_a_number_that_is_not_shown_has_none() -> None:
    bars = re.findall(r'<span class="bar (\w+)" style="margin-left:([\d.]+)%;width:([\d.]+)%">', made(said(steps=STEPS)))
    assert bars == [("level", "0.0", "100.0"), ("less", "75.0", "25.0"), ("more", "75.0", "5.0"), ("level", "0.0", "75.0")]


def test_nothing_is_said_of_what_there_is_not() -> None:
    text = made(said())
    assert not re.search("Guards|Quality|Throughput|did not get through|From the segment", text)


@pytest.mark.parametrize(("count", "drawn"), [(2, False), (3, True)])
def test_throughput_is_drawn_where_it_has_a_course(count: int, drawn: bool) -> None:
    text = made(said(stretches=tuple(Stretch(float(n), n + 1.0, 1000 * (n + 1)) for n in range(count))))
    assert ("<svg" in text) is drawn
    assert f"rows in {count}.0 s: " in text


def test_stretches_hold_every_row_and_none_is_of_few_people() -> None:
    commits = [(2.0 * n, 3 if n % 3 else 40) for n in range(1, 400)] + [(810.0, 1)]
    found = stretches(commits, 11)
    assert sum(each.rows for each in found) == sum(rows for _, rows in commits)
    assert len(found) <= 48
    assert min(each.rows for each in found) >= 11
    assert [each.start for each in found[1:]] == [each.end for each in found[:-1]]
    assert (found[0].start, found[-1].end) == (0.0, 810.0)
    assert stretches([(1.0, 4)], 11) == stretches([], 11) == ()


ROLES = """\
kind: roles
roles: {operator: {may: [plan, apply]}}
people: [{id: "uid:%d", roles: [operator]}]
"""


@pytest.mark.parametrize("words", [("sync", "adults_mail"), ("apply", "20260701120000_abcdef")])
def test_who_may_not_see_runs_gets_no_page_and_nothing_is_done(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = minimal(tmp_path, **{"governance/roles.yml": ROLES % 1234})
    monkeypatch.setattr("cdp.engine.base.os.getuid", lambda: 1234)
    monkeypatch.setattr("cdp.engine.connect", lambda *_, **__: pytest.fail("the engine was started"))
    assert main([*words, "--project", str(root), "--report", str(tmp_path / "page.html")]) == 1
    assert "`runs`" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_what_a_guard_found_is_no_reason_to_show_few_people() -> None:
    assert _why("GuardError", "plan P breaks max_add: at most 5 rows, found 7") == "a guard stops it"
    assert _why("BusyError", "sync letters is being applied") == "sync letters is being applied"
