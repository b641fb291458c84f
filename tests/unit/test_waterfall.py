"""A run's waterfall: every number is explained, and they add up; what may be shown of it gives no few people away."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.analyst.explore.ran import cell, protected
from cdp.sync.waterfall import Step, waterfall

RUN: dict[str, Any] = {
    "counts": {"add": 40, "change": 12, "remove": 3, "unchanged": 100, "invalid": 2, "waiting": 5, "removals_waiting": 1},
    "excluded": [{"rule": "deceased", "count": 4}, {"rule": "no_phone", "count": 0}, {"rule": "no_consent", "count": 20}],
    "size": 183,
    "unchanged_since": None,
    "status": "partial",
    "planned": 55,
    "withheld": 1,
    "carried_over": 0,
    "delivered": 45,
    "rejected": 5,
    "unknown": 0,
    "retryable": 4,
    "receipts": [
        {"op": "add", "status": "delivered", "code": None, "count": 33},
        {"op": "change", "status": "delivered", "code": None, "count": 9},
        {"op": "remove", "status": "delivered", "code": None, "count": 3},
        {"op": "add", "status": "rejected", "code": "blocked", "count": 4},
        {"op": "change", "status": "rejected", "code": "bad_zip", "count": 1},
        {"op": "add", "status": "retryable", "code": "http_503", "count": 1},
    ],
}


def test_from_the_segment_to_the_channel() -> None:
    steps = waterfall(RUN, {"no_consent": "consent.yml"})
    assert [(step.title, step.kind, step.count) for step in steps] == [
        ("in the segment", "level", 183),
        ("left out: deceased", "less", 4),
        ("left out: no_consent", "less", 20),
        ("invalid", "less", 2),
        ("waiting", "less", 5),
        ("unchanged", "less", 100),
        ("to be told", "level", 52),
        ("to be taken off", "more", 4),
        ("removals that wait", "less", 1),
        ("planned", "level", 55),
        ("withheld", "less", 1),
        ("rejected", "less", 5),
        ("left for the next run", "less", 4),
        ("delivered", "level", 45),
    ]
    said = {step.name: step for step in steps}
    assert said["rule:no_consent"].why == "consent.yml"
    assert said["rejected"].parts == (("blocked", 4), ("bad_zip", 1))
    assert said["retryable"].parts == (("not sent", 3), ("http_503", 1))
    assert said["delivered"].parts == (("add", 33), ("change", 9), ("remove", 3))
    assert all(step.why for step in steps)


def test_a_plan_that_only_removes_begins_with_whom_it_takes_off() -> None:
    counts = dict.fromkeys(RUN["counts"], 0) | {"remove": 7}
    only = {**RUN, "counts": counts, "size": 0, "planned": 7, "withheld": 0, "delivered": 7, "rejected": 0, "retryable": 0, "receipts": []}
    assert [step.name for step in waterfall({**only, "excluded": []})] == ["removals", "planned", "delivered"]


def test_a_run_that_was_killed_is_told_from_its_receipts() -> None:
    killed = {**RUN, "status": "running", "delivered": 0, "rejected": 0, "retryable": 55}
    assert waterfall(killed)[-1].count == 45
    assert "unaccounted" not in {step.name for step in waterfall(killed)}


@pytest.mark.parametrize("missing", [{"counts": None}, {"unchanged_since": "20260701120000_abcdef"}])
def test_where_nothing_was_planned_there_is_nothing_to_explain(missing: dict[str, Any]) -> None:
    assert waterfall({**RUN, **missing}) == ()


def test_a_record_that_does_not_add_up_says_so() -> None:
    assert ("unaccounted", "less", 17) in [(step.name, step.kind, step.count) for step in waterfall({**RUN, "size": 200})]
    assert ("unaccounted", "more", 2) in [(step.name, step.kind, step.count) for step in waterfall({**RUN, "delivered": 47})]


NAMES = ("invalid", "skipped", "held_back", "waiting", "given_up", "carried_over", "unknown", "dropped", "of_tomorrow")
NUMBER = st.one_of(st.just(0), st.integers(0, 30), st.integers(0, 100_000))
ENDS = ("delivered", "rejected", "retryable", "unknown", "withheld", "carried_over", "not_sent")


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """A run as the engine records it: whatever the numbers are, they come from people, each of whom has one fate."""
    counts = {name: draw(NUMBER) for name in ("add", "change", "remove", "unchanged", *sorted(draw(st.sets(st.sampled_from(NAMES)))))}
    excluded = [{"rule": rule, "count": draw(NUMBER)} for rule in draw(st.sets(st.sampled_from(["a", "b", "c"])))]
    size = sum(count for name, count in counts.items() if name != "remove") + sum(each["count"] for each in excluded)
    ended: Counter[str] = Counter()
    receipts = []
    for op in ("add", "change", "remove"):
        left = counts[op]
        for end in ENDS:
            some = left if end == "not_sent" else draw(st.integers(0, left))
            left -= some
            ended[end] += some
            if some and end in ("delivered", "rejected", "retryable", "unknown"):
                code = None if end == "delivered" else draw(st.sampled_from("xy"))
                receipts.append({"op": op, "status": end, "code": code, "count": some})
    numbers = {end: ended[end] for end in ("delivered", "rejected", "unknown", "withheld", "carried_over")}
    return {
        **numbers,
        "counts": counts,
        "excluded": excluded,
        "size": size,
        "planned": sum(counts[op] for op in ("add", "change", "remove")),
        "retryable": ended["retryable"] + ended["not_sent"],
        "status": draw(st.sampled_from(["partial", "succeeded", "running"])),
        "unchanged_since": None,
        "receipts": receipts,
    }


@settings(deadline=None)
@given(runs())
def test_it_always_adds_up(run: dict[str, Any]) -> None:
    steps = waterfall(run)
    assert "unaccounted" not in {step.name for step in steps}
    left = 0
    for step in steps:
        assert step.count >= 0
        assert left + step.change == step.count if step.kind == "level" and step.name not in ("segment",) else True
        left = step.count if step.kind == "level" else left + step.change
        if step.parts:
            assert sum(count for _, count in step.parts) == step.count
    assert left == run["delivered"]


@settings(deadline=None, max_examples=60)
@given(runs())
def test_what_may_be_shown_shows_no_few_people(run: dict[str, Any]) -> None:
    steps = [step.as_json() for step in waterfall(run)]
    shown = protected(steps, 11)
    for name, count in numbers(steps).items():
        assert shown[name].exact in (None, count)
        assert not 1 <= (shown[name].exact or 0) < 11
    assert {name: number.exact for name, number in protected(steps, 1).items()} == numbers(steps)


def test_what_a_level_and_its_losses_leave_is_not_given_away_either() -> None:
    """Five of 55 rows were rejected, the rest was delivered: whoever sees 55 and 50 knows the five."""
    few = {**RUN, "withheld": 0, "retryable": 0, "delivered": 50, "receipts": []}
    shown = protected([step.as_json() for step in waterfall(few)], 11)
    assert str(shown[("rejected",)]) == "<11"
    assert None in (shown[("planned",)].exact, shown[("delivered",)].exact)


def numbers(steps: list[dict[str, Any]]) -> dict[tuple[str, ...], int]:
    own = {(step["step"],): step["count"] for step in steps}
    return own | {cell(step["step"], part["part"]): part["count"] for step in steps for part in step["parts"]}


def test_a_count_that_nobody_has_a_word_for_is_shown_under_its_own_name() -> None:
    assert Step("of_tomorrow", "less", 3).title == "of tomorrow"
