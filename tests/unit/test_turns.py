"""Which syncs run side by side, and in which order those of a destination with a cap a day follow each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.project.load import load
from cdp.sync.turns import lanes
from tests.projects import DESTINATION, SYNC, minimal

NAMES = ("adults_mail", "birthday", "recall", "survey")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("{}", (("survey",), ("adults_mail",), ("recall",), ("birthday",))),
        ("{rows_per_day: 10}", (("survey", "adults_mail", "recall", "birthday"),)),
        ("{rows_per_day: 10, order: [recall, birthday]}", (("recall", "birthday", "survey", "adults_mail"),)),
        ("{requests_per_second: 100}", (("survey",), ("adults_mail",), ("recall",), ("birthday",))),
    ],
)
def test_syncs_under_one_cap_take_turns_in_the_declared_order(tmp_path: Path, limits: str, expected: tuple[tuple[str, ...], ...]) -> None:
    destination = DESTINATION.replace("channel: email\n", f"channel: email\nlimits: {limits}\n")
    syncs = {f"syncs/{name}.yml": SYNC.replace("name: adults_mail", f"name: {name}") for name in NAMES}
    project = load(minimal(tmp_path, **{"destinations/mail.yml": destination, **syncs}), ("http", "file"))
    assert lanes(project, ("survey", "adults_mail", "recall", "birthday")) == expected


def test_a_lane_of_one_destination_leaves_the_others_alone(tmp_path: Path) -> None:
    capped = DESTINATION.replace("channel: email\n", "channel: email\nlimits: {rows_per_day: 10, order: [recall]}\n")
    free = DESTINATION.replace("name: mail\n", "name: other\n")
    other = SYNC.replace("name: adults_mail", "name: birthday").replace("destination: mail", "destination: other")
    files = {"destinations/mail.yml": capped, "destinations/other.yml": free, "syncs/birthday.yml": other}
    agreement = {"syncs/recall.yml": SYNC.replace("name: adults_mail", "name: recall")}
    project = load(minimal(tmp_path, **files, **agreement), ("http", "file"))
    assert lanes(project, sorted(project.syncs)) == (("recall", "adults_mail"), ("birthday",))
