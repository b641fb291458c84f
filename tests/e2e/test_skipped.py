"""A sync that has nothing to do says so, says where its time went, and plans all the same when it is told to."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import Cdp

SYNC = ("sync", "a1c_reminder_email")


def test_nothing_changed_since(cdp: Cdp, project: Path) -> None:
    (first,) = cdp(*SYNC, "--json").json
    assert first["status"] == "succeeded"
    (second,) = cdp(*SYNC, "--json", "--profile").json
    assert (second["status"], second["unchanged_since"], second["delivered"]) == ("nothing", first["run"], 0)
    phases = [line["phase"] for line in second["profile"] if not line["step"]]
    assert phases == ["load", "session", "govern", "compare"]  # neither planned nor applied
    said = cdp(*SYNC)
    assert f"nothing changed since run {first['run']}; plan all the same: --no-skip" in said.err
    planned = cdp(*SYNC, "--no-skip", "--profile")
    assert "nothing changed since" not in planned.err
    shown = planned.out.partition("where the time of a1c_reminder_email went")[2].splitlines()
    assert {"plan", "apply"} <= {line.split(" ")[0] for line in shown}
    assert max(map(len, shown)) <= 100
