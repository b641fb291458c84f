"""The compiler: golden SQL for every construct of the language, and its date arithmetic against slow counting."""

from __future__ import annotations

import datetime as dt
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.compile.clock import Clock
from cdp.compile.statement import compile_segment, compile_trait, model_sha256
from cdp.compile.windows import add_months, shift
from cdp.errors import UsageError
from cdp.project.load import Project, load
from cdp.testing.language import AS_OF, CASES, write_project

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden" / "language.sql"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return load(write_project(tmp_path_factory.mktemp("language")))


@pytest.fixture(scope="module")
def clock(project: Project) -> Clock:
    return Clock.parse(AS_OF, project.timezone)


def golden() -> dict[str, str]:
    blocks = re.split(r"^-- (\w+): .*\n", GOLDEN.read_text(), flags=re.M)
    return {name: text.strip() for name, text in zip(blocks[1::2], blocks[2::2], strict=True)}


def printed(project: Project, name: str, clock: Clock) -> str:
    return compile_segment(project, name, clock).select.sql("spark", pretty=True)


def test_golden_file_is_complete(project: Project, clock: Clock) -> None:
    if os.environ.get("CDP_UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text("".join(f"-- {n}: {w}\n{printed(project, n, clock)}\n\n" for n, (w, _) in CASES.items()))
    assert set(golden()) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_sql_is_the_golden_one(project: Project, clock: Clock, name: str) -> None:
    assert printed(project, name, clock) == golden()[name]


def test_a_related_table_is_scanned_once(project: Project, clock: Clock) -> None:
    """Ten conditions on one table, two traits on it and a nested segment: one scan."""
    text = compile_segment(project, "latest_by_day_ties_lowest", clock).select.sql("spark")
    assert text.count("lang.observations") == 1


def test_literals_never_become_sql_text(project: Project, clock: Clock, tmp_path: Path) -> None:
    hostile = "x' OR '1'='1"
    root = write_project(tmp_path)
    about = "kind: segment, name: hostile, entity: patient, owner: a@example.org, purpose: treatment"
    document = f'---\n{{{about}, where: {{sex: "{hostile}"}}}}\n'
    with (root / "models" / "all.yml").open("a") as file:
        file.write(document)
    select = compile_segment(load(root), "hostile", clock).select
    assert "patient.sex = 'x\\' OR \\'1\\'=\\'1'" in select.sql("spark")


def test_model_fingerprint_ignores_the_day_and_sees_the_rule(project: Project) -> None:
    assert model_sha256(project, "within_is_closed") == model_sha256(project, "within_is_closed")
    assert model_sha256(project, "within_is_closed") != model_sha256(project, "within_from_to")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("within: {months: 1}", "within: {days: 31}"),
        ("since: as_of", "since: measurement_year.start"),
        ("since: as_of", "since: 2000-01-01"),
        ("during: last_month", "during: last_quarter"),
    ],
)
def test_model_fingerprint_tells_rules_apart_that_agree_on_some_days(tmp_path: Path, one: str, other: str) -> None:
    root = write_project(tmp_path)
    about = "kind: segment, entity: patient, owner: a@example.org, purpose: treatment"
    rules = [f"---\n{{{about}, name: rule_{i}, where: {{has: visits, {each}}}}}\n" for i, each in enumerate((one, other))]
    (root / "models" / "rules.yml").write_text("".join(rules))
    loaded = load(root)
    assert model_sha256(loaded, "rule_0") != model_sha256(loaded, "rule_1")


ALIKE = """\
kind: entity
name: from_calls
table: lang.calls
key: call_id
time: day
rows: public
columns: {call_id: {type: string, class: public}, has_calls: {type: string, class: public}, day: {type: date, class: public}}
relations:
  calls: {many: from_calls, via: has_calls}
  from_calls: {one: from_calls, via: has_calls}
---
{kind: segment, name: alike, entity: from_calls, owner: a@example.org, purpose: treatment, where: [{has: calls}, {from_calls.day: null}]}
"""


def test_names_that_look_like_the_compilers_own_stay_apart(tmp_path: Path, clock: Clock) -> None:
    root = write_project(tmp_path)
    (root / "models" / "alike.yml").write_text(ALIKE)
    select = compile_segment(load(root), "alike", clock).select
    sources = [select.args["from_"].this.alias_or_name, *(join.alias_or_name for join in select.args["joins"])]
    assert sources == ["from_calls", "from_calls_", "from_calls_2"]
    assert select.ctes[0].this.named_selects == ["has_calls", "has_calls_2"]


def test_unknown_names_are_refused(project: Project, clock: Clock) -> None:
    with pytest.raises(UsageError, match="did you mean within_is_closed"):
        compile_segment(project, "within_is_close", clock)
    with pytest.raises(UsageError, match="no trait is named"):
        compile_trait(project, "zzz", clock)


def test_as_of_is_a_day_a_local_time_or_a_moment() -> None:
    zone = "America/New_York"
    assert Clock.parse("2026-07-02", zone).instant.isoformat() == "2026-07-02T23:59:59.999999-04:00"
    assert Clock.parse("2026-07-02T23:30", zone).instant.isoformat() == "2026-07-02T23:30:00-04:00"
    assert Clock.parse("2026-07-03T02:30:00Z", zone).day == dt.date(2026, 7, 2)
    with pytest.raises(UsageError, match="neither a date nor a timestamp"):
        Clock.parse("02.07.2026", zone)


# -- dates, against counting by hand --------------------------------------------------------------------------------

days = st.dates(dt.date(1901, 1, 1), dt.date(2199, 12, 31))


def completed_years(born: dt.date, day: dt.date) -> int:
    """Birthdays lived: who is born on 29 February has them on 1 March of other years."""
    years = 0
    while True:
        year = born.year + years + 1
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        birthday = dt.date(year, 3, 1) if (born.month, born.day) == (2, 29) and not leap else born.replace(year=year)
        if birthday > day:
            return years
        years += 1


@given(born=days, day=days, age=st.integers(0, 110))
def test_age_is_a_bound_on_the_birth_date(born: dt.date, day: dt.date, age: int) -> None:
    if born <= day:
        assert (born <= shift(day, "years", -age)) == (completed_years(born, day) >= age)


@given(day=days, count=st.integers(-600, 600))
def test_months_clamp_and_never_skip(day: dt.date, count: int) -> None:
    moved = add_months(day, count)
    assert (moved.year * 12 + moved.month) - (day.year * 12 + day.month) == count
    assert moved.day == day.day or (moved.day < day.day and (moved + dt.timedelta(days=1)).day == 1)


@given(day=days, unit=st.sampled_from(["days", "weeks", "months", "years"]), count=st.integers(-(10**5), 10**5))
def test_shifts_never_leave_the_calendar(day: dt.date, unit: str, count: int) -> None:
    moved = shift(day, unit, count)  # type: ignore[arg-type]
    assert (moved >= day) == (count >= 0)
