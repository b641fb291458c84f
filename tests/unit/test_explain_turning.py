"""The days on which a verdict may turn: what moves with the clock, and which days it passes."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest

from cdp.analyst.explore.turning import EVERY_DAY, HORIZON, Clockwork, turning_days
from cdp.compile.windows import shift
from cdp.project.terms import Unit
from tests.language_world import asked

TODAY = dt.date(2026, 7, 2)


def _clockwork(where: str) -> Clockwork:
    project = asked(where)
    return Clockwork.of(project.bound.segments["asked"], project, project.entities["patient"])


@pytest.mark.parametrize(
    ("where", "column", "shifts"),
    [
        ("{age: {gte: 18}}", "birth_date", {(("years", -18),)}),
        ("{age: {between: [18, 75]}}", "birth_date", {(("years", -18),), (("years", -76),)}),
        ("{has: observations, within: {months: 6}}", "date", {(("months", -6),), ()}),
        ("{sex: female}", "birth_date", set()),
    ],
)
def test_bounds_move_past_the_days_they_are_compared_with(where: str, column: str, shifts: set[object]) -> None:
    clockwork = _clockwork(where)
    assert {move.shifts for move in clockwork.moves if move.column == column} == shifts
    assert not clockwork.always


def test_only_rows_that_a_measure_looks_at_matter() -> None:
    clockwork = _clockwork("{has: observations, where: {code: {in: glucose}}, within: {months: 6}}")
    assert all(move.filter is not None for move in clockwork.moves)


@pytest.mark.parametrize(
    ("where", "spans"),
    [
        ("{has: observations, during: measurement_year}", {"year"}),
        ("{has: observations, during: this_week}", {"week"}),
        ("{age: {gte: 18, at: last_quarter.end}}", {"quarter"}),
    ],
)
def test_periods_begin(where: str, spans: set[str]) -> None:
    clockwork = _clockwork(where)
    assert clockwork.spans == spans
    days = turning_days(clockwork, {}, TODAY)
    first = {"year": dt.date(2027, 1, 1), "week": dt.date(2026, 7, 6), "quarter": dt.date(2026, 10, 1)}
    assert days[0] == first[next(iter(spans))]


@pytest.mark.parametrize(
    "shifts", [(("months", -6),), (("years", -1),), (("days", 30),), (), (("months", -1), ("days", 3)), (("weeks", -2),)]
)
@pytest.mark.parametrize(
    "recorded", [dt.date(2026, 2, 28), dt.date(2026, 7, 3), dt.date(2025, 8, 31), dt.date(2026, 12, 31), dt.date(2028, 2, 29)]
)
def test_between_two_of_the_days_no_bound_passes_the_day(shifts: tuple[tuple[Unit, int], ...], recorded: dt.date) -> None:
    clockwork = _clockwork("{age: {gte: 18}}")
    move = next(iter(clockwork.moves))
    days = turning_days(clockwork, {type(move)(move.rows, move.column, shifts): [recorded]}, TODAY)

    def compared(day: dt.date) -> tuple[bool, bool]:
        bound = day
        for unit, count in shifts:
            bound = shift(bound, unit, count)
        return bound >= recorded, bound > recorded

    ahead = [TODAY + dt.timedelta(days=n) for n in range(HORIZON + 1)]
    turned = {day for before, day in pairwise(ahead) if compared(before) != compared(day)}
    assert turned == set(days)


def test_where_the_day_itself_is_computed_with_every_day_is_asked() -> None:
    clockwork = _clockwork("{age: {gte: 18}}")
    clockwork.always = True
    days = turning_days(clockwork, {}, TODAY)
    assert days == tuple(TODAY + dt.timedelta(days=n) for n in range(1, EVERY_DAY + 1))
    assert clockwork.horizon == EVERY_DAY
