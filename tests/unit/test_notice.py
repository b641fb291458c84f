"""The notice of 42 CFR 2.32 goes from the agreement into every batch of records of substance use, and into no other. attack 30"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from cdp.cli.channel import target
from cdp.compile.clock import Clock
from cdp.connectors.base import Egress, Target
from cdp.connectors.file import FileConnector
from cdp.connectors.http import HttpConnector
from cdp.errors import DeliveryError
from cdp.governance.decide import govern
from cdp.governance.query import GovernedQuery
from cdp.project.load import load
from cdp.sandbox import Sandbox
from cdp.spec.activation import Destination, Environment, FileOptions, HttpOptions
from cdp.testing.connectors import batch, deliver
from tests.governance_corpus import Case, cases
from tests.projects import minimal

NOTICE = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."
TEXTS = {"meta.notice": NOTICE, "meta.scope": 'what the "consent" covers'}


def governed(tmp_path: Path, case: Case) -> GovernedQuery:
    project = load(minimal(tmp_path, **case.overlays()))
    now = Clock.parse("2026-07-02T12:00", project.timezone)
    return govern(project, case.sync, clock=now, now=now)


def test_the_agreements_texts_go_with_what_tells_substance_use_and_with_nothing_else(tmp_path: Path) -> None:
    told = next(case for case in cases("passing") if case.name == "substance use, told to somebody who agreed to part 2")
    query = governed(tmp_path / "told", told)
    assert query.notice == {"notice": NOTICE, "scope": "treatment"}
    assert target(query, Environment(lakehouse="lake"), tmp_path).notice == query.notice
    assert governed(tmp_path / "other", replace(told, where="{state: NY}")).notice == {}


def of_http(url: str, upsert: object, remove: object) -> Target:
    http = HttpOptions.model_validate({"upsert": {"path": "/sms/rows", "body": upsert}, "remove": {"path": "/sms/remove", "body": remove}})
    destination = Destination(name="recovery", connector="http", channel="sms", base_url=url, http=http)
    return Target(destination, Egress(plaintext_loopback=True), "r1", Path(), notice=TEXTS)


def test_every_request_carries_the_notice_removals_too() -> None:
    with Sandbox() as sandbox:
        given = of_http(sandbox.url, {"list": "rows"}, {"list": "meta2"})
        asyncio.run(deliver(HttpConnector(given), batch(["p1", "p2"]), batch(["p3"]), batch(["p1"], op="remove")))
        assert [seen["beside"] for seen in sandbox.requests("sms")] == [
            {"meta": {"notice": NOTICE, "scope": 'what the "consent" covers'}}
        ] * 3
        assert sorted(row["external_id"] for row in sandbox.rows("sms")) == ["p2", "p3"]


def test_a_batch_that_is_split_carries_it_in_each_part() -> None:
    with Sandbox() as sandbox:
        sandbox.options("sms", max_rows=1)
        asyncio.run(deliver(HttpConnector(of_http(sandbox.url, {"list": "rows"}, {"list": "rows"})), batch(["p1", "p2"])))
        assert len(sandbox.requests("sms")) == 3
        assert all(seen["beside"]["meta"]["notice"] == NOTICE for seen in sandbox.requests("sms"))


@pytest.mark.parametrize(
    ("upsert", "remove", "said"),
    [
        ("array", {"list": "rows"}, "http.upsert.body: array has no room for meta.notice, meta.scope"),
        ({"list": "rows"}, "ndjson", "http.remove.body: ndjson has no room"),
        ({"list": "meta"}, {"list": "rows"}, "http.upsert.body: two things would stand in meta.notice"),
        ({"list": "rows"}, {"list": "meta.notice"}, "http.remove.body: two things would stand in meta.notice"),
    ],
)
def test_a_body_without_room_is_refused_on_the_wire_too(upsert: object, remove: object, said: str) -> None:
    with pytest.raises(DeliveryError, match=said.replace(".", r"\.")):
        HttpConnector(of_http("http://127.0.0.1:9", upsert, remove))


def test_files_are_never_there_without_it(tmp_path: Path) -> None:
    folder = Destination(name="lab", connector="file", channel="file", file=FileOptions(folder="out"))

    async def run() -> list[str]:
        given = Target(folder, Egress(folders=(tmp_path / "out",)), "r1", tmp_path, notice=TEXTS)
        async with FileConnector(given) as connector:
            before = sorted(path.name for path in (tmp_path / "out").iterdir())
            await connector.send(batch(["p1"]))
        return before

    assert asyncio.run(run()) == ["r1.notice.json"]
    notice = {"meta": {"notice": NOTICE, "scope": 'what the "consent" covers'}}
    assert json.loads((tmp_path / "out/r1.notice.json").read_text()) == notice
    assert json.loads((tmp_path / "out/r1.manifest.json").read_text())["notice"] == notice
