"""Limits a second over real HTTP: two syncs of one destination, in one process and in two, together keep to them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from cdp.connectors import pace
from cdp.sandbox.server import Sandbox
from tests.e2e.conftest import Cdp, spawn
from tests.e2e.test_faults import EVERYBODY, SYNC, load
from tests.projects import AGREEMENT, CONF, PURPOSES, minimal

REQUESTS, ROWS, BATCH = 5, 40, 8
DESTINATION = f"""\
kind: destination
name: mail
connector: http
channel: email
baa: mailer
base_url: https://api.mail.example
secrets: {{api_key: {{env: MAIL_API_KEY}}}}
limits: {{requests_per_second: {REQUESTS}, rows_per_second: {ROWS}}}
http:
  repeats: keys
  concurrency: 16
  max_wait_seconds: 2
  upsert: {{method: PUT, path: "/lists/{{sync_id}}", batch: {BATCH}}}
"""


@pytest.fixture
def root(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    granted = ("classes: [identifier.pseudonym,", "classes: [identifier.mrn, identifier.pseudonym,")
    place = f"sandbox: true, destinations: {{mail: {{base_url: '{sandbox.url}/mail'}}}}}}"
    syncs = {f"syncs/{name}.yml": SYNC.format(name=name).replace(f"destination: {name}", "destination: mail") for name in ("one", "two")}
    root = minimal(
        tmp_path,
        **{"conf/cdp.yml": CONF.replace("sandbox: true}", place)},
        **{"governance/baa/mailer.yml": AGREEMENT.replace(*granted).replace("paths: [/v1/]\n", "")},
        **{"governance/purposes.yml": PURPOSES.replace(*granted), "destinations/mail.yml": DESTINATION, "syncs/adults_mail.yml": None},
        **{name: text.replace("mode: mirror", "mode: upsert") for name, text in syncs.items()},
    )
    load(root)
    monkeypatch.chdir(root)
    return root


def arrived(sandbox: Sandbox) -> list[tuple[float, str]]:
    """When each request came, and to which list."""
    seen = sandbox.requests("mail")
    return [(dt.datetime.fromisoformat(each["at"]).timestamp(), each["path"]) for each in seen]


def most_in(seconds: float, times: Sequence[float]) -> int:
    return max(sum(begin <= at < begin + seconds for at in times) for begin in times)


def check(sandbox: Sandbox, requests: int) -> None:
    """All rows are there, and never more requests came than are allowed; a tenth of a second is for what a thread comes late."""
    times = [at for at, _ in arrived(sandbox)]
    assert len(times) == requests
    assert most_in(0.9, times) <= REQUESTS
    assert (requests - 1) / REQUESTS <= times[-1] - times[0] + 0.1
    assert len(sandbox.rows("mail")) == 2 * len(EVERYBODY)


def test_syncs_side_by_side_share_one_limit(cdp: Cdp, root: Path, sandbox: Sandbox) -> None:
    sandbox.options("mail", key=["external_id"])
    said = cdp("sync", "one", "two", "--jobs", "2", "--json")
    assert (said.code, [run["delivered"] for run in said.json]) == (0, [len(EVERYBODY)] * 2), (said.out, said.err)
    check(sandbox, 2 * len(EVERYBODY) // BATCH)


def test_two_processes_take_turns(root: Path, sandbox: Sandbox) -> None:
    sandbox.options("mail", key=["external_id"])
    both = [spawn("sync", name, cwd=root) for name in ("one", "two")]
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    check(sandbox, 2 * len(EVERYBODY) // BATCH)
    lists = [path for _, path in arrived(sandbox)]
    assert sum(path != before for before, path in pairwise(lists)) == 1  # the second began when the first was done


def test_a_pause_that_is_too_long_ends_all_syncs_of_the_destination(cdp: Cdp, root: Path, sandbox: Sandbox) -> None:
    sandbox.options("mail", key=["external_id"])
    sandbox.fault("mail", "429", retry_after=3600)
    said = cdp("sync", "one", "two", "--json")
    assert said.code == 1
    first, second = said.json
    assert (first["status"], first["delivered"], second["status"], second["delivered"]) == ("failed", 0, "failed", 0)
    for run in (first, second):
        assert run["error"]["kind"] == "DeliveryError"
        assert "the channel asks to be left alone until" in run["error"]["message"]
        assert "http.max_wait_seconds is 2" in run["error"]["message"]
    assert len(arrived(sandbox)) <= 2 * len(EVERYBODY) // BATCH // 2  # of the first sync what had left by then, of the second nothing
    assert len({path for _, path in arrived(sandbox)}) == 1
    pace.forget()  # as another process would not know of it
    assert [run["delivered"] for run in cdp("sync", "one", "two", "--json").json] == [len(EVERYBODY)] * 2
