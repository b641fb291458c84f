"""Guards that look at more than one plan: invalid rows, the usual size, what a channel rejects while a plan is applied."""

from __future__ import annotations

from typing import Any

import pytest

from cdp.errors import GuardError
from cdp.governance.access.loosened import loosened
from cdp.project.load import load
from cdp.spec.activation import Guards
from cdp.sync import guards
from cdp.sync.guards import Failing, Found, Violation
from tests.projects import FILES, minimal

NOTHING = {"add": 0, "change": 0, "remove": 0}


def broken(limits: dict[str, Any], **facts: Any) -> list[str]:
    found = Found(NOTHING, known=100, source=1, **{"segment": 50, **facts})
    return [str(violation) for violation in guards.check(Guards.model_validate(limits), found)]


@pytest.mark.parametrize(
    ("limit", "invalid", "eligible", "said"),
    [
        ("5%", 5, 100, []),
        ("5%", 6, 100, ["max_invalid: at most 0.05 of the 100 who may be told, found 6"]),
        ("5%", 6, 0, []),  # of nobody nothing is a share
        (5, 6, 100, ["max_invalid: at most 5 rows, found 6"]),
        (0, 0, 100, []),
    ],
)
def test_too_many_invalid_rows(limit: object, invalid: int, eligible: int, said: list[str]) -> None:
    assert broken({"max_invalid": limit}, invalid=invalid, eligible=eligible) == said


@pytest.mark.parametrize(
    ("limit", "size", "past", "said"),
    [
        ("50%", 151, (100,) * 5, ["unusual_size: at most 0.5 from 100, the median of the last 5 runs, found 151"]),
        ("50%", 49, (100,) * 5, ["unusual_size: at most 0.5 from 100, the median of the last 5 runs, found 49"]),
        ("50%", 150, (100,) * 5, []),
        ("50%", 1000, (100,) * 4, []),  # too few runs to say what is usual
        ("50%", 100, (100, 100, 5000, 100, 100), []),  # one odd run does not move the median
        (10, 111, (100, 101, 99, 100, 100, 102), ["unusual_size: at most 10 people from 100, the median of the last 6 runs, found 111"]),
        ("50%", 7, (0,) * 5, ["unusual_size: at most 0.5 from 0, the median of the last 5 runs, found 7"]),
    ],
)
def test_a_segment_of_unusual_size(limit: object, size: int, past: tuple[int, ...], said: list[str]) -> None:
    assert broken({"unusual_size": limit}, segment=size, past=past) == said


def limit(value: object) -> Failing:
    return Failing(Guards.model_validate({"max_failed": value}).max_failed, "letters")


def test_what_a_channel_rejects_ends_a_delivery_once_it_says_something() -> None:
    failing = limit("10%")
    assert failing.after("upsert", {"rejected": 1, "delivered": 2}) is None  # the first row of three
    assert failing.after("upsert", {"rejected": 9, "delivered": 86}) is None  # 98 answered
    assert failing.after("upsert", {"retryable": 50, "unknown": 50}) is None  # no answers
    error = failing.after("upsert", {"rejected": 1, "delivered": 2})
    assert isinstance(error, GuardError)
    assert "delivery of letters stopped: max_failed: at most 0.1 of the 101 rows that the channel answered, found 11" in str(error)
    assert limit(2).after("upsert", {"rejected": 2}) is None
    assert limit(2).after("upsert", {"rejected": 3}) is not None
    assert limit(0).after("remove", {"rejected": 300}) is None  # nothing holds back who is taken off
    assert limit(None).after("upsert", {"rejected": 300}) is None


def test_every_guard_but_quality_is_one_of_the_yaml_and_what_holds_for_removals_is_none_of_them() -> None:
    assert set(guards.NAMES) == {*Guards.model_fields, guards.QUALITY}
    every = Guards.model_validate(dict.fromkeys((name for name in Guards.model_fields if name != "empty"), 0))
    assert guards.holding(every, "kept_out") == Guards(empty="allow")


def test_advice_names_what_can_be_done() -> None:
    said = guards.advice([Violation("quality", "x", 1), Violation("max_add", "y", 2), Violation("max_add", "y", 2)])
    assert said.count("--accept-guard max_add") == 1
    assert "--accept-guard quality" in said


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("max_invalid: 5", "max_invalid: 6", "lets a run go on with more invalid rows"),
        ("unusual_size: 50%", "unusual_size: 60%", "lets a run go on with a segment of another size"),
        ("max_failed: 5%", "max_add: 3", "lets a run go on when more rows are rejected"),
        ("max_failed: 5%", "max_failed: 4%", None),
    ],
)
def test_loosening_a_guard_is_told(tmp_path: Any, was: str, becomes: str, says: str | None) -> None:
    file = "syncs/adults_mail.yml"
    old, new = (
        load(minimal(tmp_path / name, **{file: FILES[file] + f"guards: {{{text}}}\n"})) for name, text in (("old", was), ("new", becomes))
    )
    found = [each.what for each in loosened(old, new)]
    assert found == ([] if says is None else [f"sync adults_mail {says}"])


NAMED = "expect_column_values_to_not_be_null: {column: email}"


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        (f"{{{NAMED}}}", "", ("refuse", "not expected")),
        (f"{{{NAMED}}}", f"{{{NAMED}, otherwise: drop}}", ("refuse", "drop")),
        (f"{{{NAMED}}}", "{expect_column_values_to_not_be_null: {column: email, mostly: 0.5}}", ("refuse", "not expected")),
        (f"{{{NAMED}, otherwise: drop}}", f"{{{NAMED}, otherwise: warn}}", ("drop", "warn")),
        (f"{{{NAMED}, otherwise: drop}}", f"{{{NAMED}}}", None),
        (f"{{{NAMED}, otherwise: warn}}", "", None),
        ("", f"{{{NAMED}}}", None),
    ],
)
def test_expecting_less_is_told(tmp_path: Any, was: str, becomes: str, said: tuple[str, str] | None) -> None:
    file = "syncs/adults_mail.yml"
    old, new = (load(minimal(tmp_path / n, **{file: FILES[file] + f"quality: [{text}]\n"})) for n, text in (("old", was), ("new", becomes)))
    found = loosened(old, new)
    what = "sync adults_mail lets rows leave that fail expect_column_values_to_not_be_null of email"
    assert [each.what for each in found] == ([what] if said else [])
    assert not said or (found[0].before, found[0].after) == said
