"""Syncs side by side, and what is said of runs afterwards: lists, waterfalls, pages of HTML, the control tables."""

from __future__ import annotations

import datetime as dt
import json
import re
import signal
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cdp.engine import connect
from cdp.sandbox.server import Sandbox
from cdp.spec.activation import Environment
from cdp.sync.ledger.tables import QUERIES, TABLES
from tests.e2e.conftest import ZONE, Cdp, spawn

MAILS, CALLS, TEXTS, FILES = "a1c_reminder_email", "bp_outreach", "flu_reminder_sms", "panel_reports"
ALL = (CALLS, MAILS, FILES, TEXTS)


class Page(HTMLParser):
    """What a page loads or runs, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {found["id"]} if found.get("id") else set()
        places = [found[name] or "" for name in ("src", "href", "srcset", "action") if name in found]
        self.loads += [tag] if tag in ("script", "iframe", "object") else [place for place in places if not place.startswith("#")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def small_batches(project: Path, destination: str) -> None:
    path = project / "destinations" / f"{destination}.yml"
    text = re.sub(r"batch: \d+", "batch: 1", path.read_text())
    path.write_text(text.replace("concurrency: 4", "concurrency: 1") if "concurrency" in text else text + "  concurrency: 1\n")


def levels(detail: dict[str, Any]) -> list[int]:
    """The numbers of a waterfall that are on record by themselves; what stands between them must lead from one to the next."""
    left, found = 0, []
    for step in detail["waterfall"]:
        assert step["step"] != "unaccounted"
        assert step["why"]
        if step["kind"] == "level":
            assert not found or left == step["count"], step
            left = step["count"]
            found.append(left)
        else:
            left += step["count"] if step["kind"] == "more" else -step["count"]
    return found


@pytest.fixture
def delivered(cdp: Cdp, project: Path, channel: Sandbox) -> tuple[list[dict[str, Any]], str]:
    """Four syncs at once, of which one is rejected row by row; with the page about them."""
    channel.fault("outreach_email", "400", times=None)
    said = cdp("sync", *ALL, "--jobs", "3", "--json", "--report", "out/runs.html")
    assert said.code == 1, said.err  # nothing of one was taken
    return said.json, (project / "out" / "runs.html").read_text()


def test_what_was_done_is_listed_explained_and_asked_for(
    delivered: tuple[list[dict[str, Any]], str], cdp: Cdp, project: Path, channel: Sandbox
) -> None:
    runs, page = delivered
    assert [run["sync"] for run in runs] == list(ALL)  # as asked for, whoever was ready first
    assert [run["status"] for run in runs] == ["succeeded", "failed", "succeeded", "succeeded"]
    mails = runs[1]["run"]

    # the list and what narrows it
    listed = cdp("runs", "--json").json
    assert [run["started"] for run in listed] == sorted((run["started"] for run in listed), reverse=True)
    assert {run["run"] for run in listed} == {run["run"] for run in runs}
    assert [run["run"] for run in cdp("runs", "--status", "failed", "--json").json] == [mails]
    assert [run["sync"] for run in cdp("runs", "--destination", "outreach_sms", "--json").json] == [TEXTS]
    assert cdp("runs", "--until", "2020-01-01", "--json").json == []
    day = dt.datetime.fromisoformat(listed[-1]["started"]).astimezone(ZONE).date()
    assert len(cdp("runs", "--since", str(day), "--limit", "2", "--json").json) == 2
    assert "the latest 2; older ones: --limit" in cdp("runs", "--limit", "2").err
    assert "older ones" not in cdp("runs", "--limit", "50").err
    assert cdp("runs", mails, "--status", "failed").code == 2
    assert "did you mean outreach_sms" in cdp("runs", "--destination", "outreach_smz").err

    # each run from the segment to the channel
    for run in runs:
        detail = cdp("runs", run["run"], "--json").json
        found = levels(detail)
        assert (found[0], found[-1]) == (detail["size"], run["delivered"])
    shown = cdp("runs", mails).out
    assert re.search(r"rejected +-\d+ +0 +the channel refused it: \d+ http_400", shown)
    assert "45 CFR 164.522" in shown  # a rule in its own words

    about_the_page(page, runs)
    about_one(cdp, project, runs)
    about_the_tables(project)


def about_the_page(page: str, runs: list[dict[str, Any]]) -> None:
    """It needs nothing but itself, and shows no number of few people."""
    read = Page(page)
    assert read.loads == []
    assert set(ALL) <= read.ids
    words = " ".join(read.words)
    assert "treatment" in words
    assert "http_400" in words
    assert all(run["run"] in words for run in runs)
    assert "<11" in words
    few = {run["delivered"] for run in runs if 0 < run["delivered"] < 11}
    assert few
    cells = set(re.findall(r"<td>(?:<strong>|<span>)?[-+]?(\d[\d,]*)<", page)) - {"0"}
    assert cells
    assert all(int(cell.replace(",", "")) >= 11 for cell in cells)


def about_one(cdp: Cdp, project: Path, runs: list[dict[str, Any]]) -> None:
    """A role with exact counts sees them; nobody without a file gets one, and who may not see runs gets none."""
    (few,) = (run for run in runs if run["sync"] == FILES)
    assert cdp("runs", few["run"], "--report", "one.html", "--role", "privacy", "-q").code == 0
    assert f">{few['delivered']}<" in (project / "one.html").read_text()
    assert cdp("runs", "--report", "one.html").code == 2
    (project / "taken").touch()
    said = cdp("sync", FILES, "--report", "taken/page.html", "--json")
    assert (said.code, said.json["error"]["kind"]) == (2, "UsageError")
    assert len(cdp("runs", "--sync", FILES, "--json").json) == 1  # said before anything was done


def about_the_tables(project: Path) -> None:
    """The questions of docs/tables.md are answered, and the tables are as it says."""
    engine = connect(Environment(lakehouse="lake"), root=project)
    made = [name for name in TABLES if engine.exists(f"cdp.{name}")]
    assert set(made) >= {"plans", "runs", "receipts", "disclosures", "leases"}
    for name in TABLES:
        if name in made:
            assert engine.columns(f"cdp.{name}") == dict(TABLES[name].kinds)
    last, refused, people, rules = (engine.query(query).to_pylist() for query in QUERIES.values())
    assert {row["sync"] for row in last} == set(ALL)
    assert [(row["sync"], row["code"]) for row in refused] == [(MAILS, "http_400")]
    assert {row["sync"] for row in people} == set(ALL) - {MAILS}
    assert {row["sync"] for row in rules} <= set(ALL)
    assert rules
    engine.close()


def test_one_signal_ends_all_that_runs_side_by_side(channel: Sandbox, project: Path) -> None:
    for destination in ("outreach_email", "care_management"):
        small_batches(project, destination)
        channel.fault(destination, "slow", seconds=0.3, times=None)
    child = spawn("sync", MAILS, CALLS, TEXTS, "--jobs", "2", "--json", cwd=project)
    deadline = time.monotonic() + 90
    while not (channel.rows("outreach_email") and channel.rows("care_management")):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, "Traceback" in err) == (1, False)
    mails, calls, texts = json.loads(out)
    for run, name in ((mails, "outreach_email"), (calls, "care_management")):
        assert run["status"] == "stopped"
        assert 0 < run["delivered"] == len(channel.rows(name))  # what was in flight is finished and on record
        assert run["retryable"] > 0
    assert (texts["status"], texts["run"], texts["delivered"]) == ("stopped", None, 0)
