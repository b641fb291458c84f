"""`cdp resync --from channel` over real HTTP: what a channel lost, what others put there, a state that is lost; under pseudonyms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cdp.engine import connect
from cdp.sandbox.server import Sandbox
from cdp.spec.activation import Environment
from tests.e2e.conftest import Cdp
from tests.e2e.test_faults import PEOPLE, load
from tests.projects import CONF, DESTINATION, SYNC, minimal

NAME = "adults_mail"
EXPORT = "  export: {path: /v1/contacts, query: {limit: 10}, items: rows, next: next, cursor: after}\n"


@pytest.fixture
def root(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = f"sandbox: true, destinations: {{mail: {{base_url: '{sandbox.url}/mail'}}}}}}"
    overlays = {
        "conf/cdp.yml": CONF.replace("sandbox: true}", place),
        "destinations/mail.yml": DESTINATION + EXPORT,
        f"syncs/{NAME}.yml": SYNC.replace(", first_name: given_name", "") + "guards: {max_add: 100%}\n",
    }
    root = minimal(tmp_path, **overlays)
    load(root)
    monkeypatch.chdir(root)
    return root


def said(found: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in found.items() if count and name not in ("sync", "destination", "done")}


def asked(sandbox: Sandbox) -> list[str]:
    return [each["path"] for each in sandbox.requests("mail") if each["method"] == "GET"]


def test_a_channel_that_lost_rows_gets_them_again_and_a_list_that_is_not_whole_changes_nothing(
    cdp: Cdp, root: Path, sandbox: Sandbox
) -> None:
    assert cdp("sync", NAME, "--json").json[0]["delivered"] == PEOPLE
    rows = sandbox.channel("mail").rows
    lost = list(rows)[3:5]
    for key in lost:
        del rows[key]
    rows["", ("somebody",)] = {"external_id": "somebody", "email": "else@example.org"}

    sandbox.fault("mail", "404", on="export", every=3)  # the third page
    failed = cdp("resync", NAME, "--from", "channel", "--yes")
    assert (failed.code, "page 3 is answered http_404" in failed.err, len(asked(sandbox))) == (1, True, 3)
    sandbox.fault("mail", "503", on="export")  # is tried again, like any request
    counts = {"listed": PEOPLE - 1, "held": PEOPLE, "confirmed": PEOPLE - 2, "lost": 2, "foreign": 1}
    shown = cdp("resync", NAME, "--from", "channel")
    assert "1 rows that nothing on record speaks of" in shown.out
    assert "somebody" not in shown.out + shown.err
    assert cdp("plan", NAME, "--json").json["counts"]["unchanged"] == PEOPLE  # neither changed anything
    done = cdp("resync", NAME, "--from", "channel", "--yes", "--json").json
    assert (said(done), done["done"]) == (counts, True)
    assert all("external_id" not in path and path.count("=") <= 2 for path in asked(sandbox))

    assert cdp("sync", NAME, "--json").json[0]["delivered"] == 2
    assert set(rows) >= {*lost, ("", ("somebody",))}
    (last,) = cdp("runs", "--sync", NAME, "--status", "resynced", "--json").json
    assert cdp("runs", last["run"]).code == 0

    rows.clear()
    refused = cdp("resync", NAME, "--from", "channel", "--yes")
    assert (refused.code, f"lists none of the {PEOPLE} rows" in refused.err, "--all-lost" in refused.err) == (1, True, True)
    assert said(cdp("resync", NAME, "--from", "channel", "--all-lost", "--yes", "--json").json) == {"held": PEOPLE, "lost": PEOPLE}
    assert cdp("sync", NAME, "--json").json[0]["delivered"] == PEOPLE


def test_of_a_lost_state_what_is_at_the_channel_may_be_there_and_who_must_go_is_taken_off(cdp: Cdp, root: Path, sandbox: Sandbox) -> None:
    assert cdp("sync", NAME, "--json").json[0]["delivered"] == PEOPLE
    engine = connect(Environment(lakehouse="lake"), root=root)
    engine.register(["cdp.receipts", "cdp.runs", "clinical.patients"])
    engine.execute("DELETE FROM cdp.receipts WHERE TRUE", what="receipts")
    engine.execute("DELETE FROM cdp.runs WHERE n > 0", what="runs")
    engine.execute("UPDATE cdp.runs SET open = 0 WHERE TRUE", what="runs")
    engine.execute("UPDATE clinical.patients SET death_date = DATE '2026-01-01' WHERE patient_id = 'p07'", what="patients")
    engine.close()
    assert said(cdp("resync", NAME, "--from", "channel", "--yes", "--json").json) == {"listed": PEOPLE, "found": PEOPLE}
    counts = cdp("plan", NAME, "--json").json["counts"]
    assert (counts["add"], counts["remove"]) == (PEOPLE - 1, 1)
    assert cdp("sync", NAME).code == 0
    assert len(sandbox.rows("mail")) == PEOPLE - 1


def test_what_cannot_be_asked_says_what_to_declare(cdp: Cdp, root: Path) -> None:
    file = root / "destinations" / "mail.yml"
    declared = file.read_text()
    for wrong, words in (
        (["--from", "channel", "--unknown", "list"], "--unknown does not go with --from channel"),
        (["--all-lost"], "--all-lost goes with --from channel"),
    ):
        said = cdp("resync", NAME, *wrong)
        assert (said.code, words in said.err) == (2, True)
    file.write_text(declared.replace(EXPORT, ""))
    said = cdp("resync", NAME, "--from", "channel")
    line = declared.splitlines().index("http:") + 1
    assert (said.code, f"add http.export (destinations/mail.yml:{line})" in said.err) == (2, True)
    file.write_text(declared.replace("path: /v1/contacts, query", "path: /v2/contacts, query"))
    said = cdp("resync", NAME, "--from", "channel", "--json")
    assert said.code == 1
    assert "http.export calls /v2/contacts, which is not under a path of agreement mailer" in said.out + said.err
    for was, now, words in (
        ("cursor: after", "cursor: limit", "limit is both `cursor` and in `query`"),
        ("query: {", "query: {api_key: abc, ", "holds a credential in a URL"),
    ):
        file.write_text(declared.replace(was, now))
        said = cdp("validate", "--json")
        assert (said.code, words in json.dumps(said.json)) == (1, True)
