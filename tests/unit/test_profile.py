"""A profile: off unless asked for, phases in their order, steps of tasks and threads among them."""

from __future__ import annotations

import asyncio

from cdp.profile import Profile, phase, profiling, step


def test_phases_stand_in_their_order_with_their_steps_longest_first() -> None:
    found = Profile()
    found.add("plan", "", 3.0)
    found.add("plan", "read cdp.plan_20260701120000_ab12cd_changes", 1.0)
    found.add("apply", "", 1.0)
    found.add("plan", "create cdp.plan_20260701120000_ab12cd", 1.5)
    found.add("plan", "create cdp.plan_20260702120000_ff0000", 0.25)
    assert [(line["phase"], line["step"], line["times"], line["seconds"]) for line in found.as_json()] == [
        ("plan", "", 1, 3.0),
        ("plan", "create cdp.plan", 2, 1.75),
        ("plan", "read cdp.plan_changes", 1, 1.0),
        ("apply", "", 1, 1.0),
    ]


def test_tasks_and_threads_that_a_run_starts_add_to_its_profile_and_nobody_else() -> None:
    def record() -> None:
        with step("record"):
            pass

    async def deliver() -> None:
        async def send() -> None:
            with step("send"):
                await asyncio.to_thread(record)

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(send())

    found = Profile()
    record()  # nobody asks
    with profiling(found), phase("apply"):
        asyncio.run(deliver())
    record()
    assert {key: times for key, (times, _) in found.spent.items()} == {("apply", ""): 1, ("apply", "send"): 3, ("apply", "record"): 3}


def test_each_sync_goes_on_from_what_all_had_in_common() -> None:
    shared = Profile()
    shared.add("load", "", 1.0)
    one, other = shared.copy(), shared.copy()
    one.add("plan", "", 2.0)
    assert [line["phase"] for line in other.as_json()] == ["load"]
    assert [line["phase"] for line in one.as_json()] == ["load", "plan"]
