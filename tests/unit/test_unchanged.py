"""What a plan rests on: every word of governance, the tables, and the moments that its SQL compares columns with."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import sqlglot
from pydantic import BaseModel
from sqlglot import exp

from cdp.compile.clock import Clock
from cdp.engine import Engine
from cdp.errors import Refusal
from cdp.governance.decide import govern
from cdp.governance.query import Freshness, GovernedQuery, Withheld
from cdp.project.load import Project, load
from cdp.spec.activation import Guards
from cdp.sync.basis import Basis, basis
from tests.projects import SEGMENT, minimal

ZONE = "America/New_York"
NOON, LATER, NEXT_DAY = (Clock.parse(text, ZONE) for text in ("2026-07-01T12:00", "2026-07-01T18:30", "2026-07-02T12:00"))


class Tables:
    """What `basis` asks an engine."""

    def __init__(self, states: dict[str, str | None] | None = None, filtered: Sequence[str] = ()) -> None:
        self.states, self.filtered = states or {}, tuple(filtered)

    def state(self, table: str) -> str | None:
        return self.states.get(table, "1:a")

    def filters(self, tables: Sequence[str]) -> tuple[str, ...]:
        return tuple(table for table in tables if table in self.filtered)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return load(minimal(tmp_path_factory.mktemp("project")), connectors=("http",))


@pytest.fixture(scope="module")
def query(project: Project) -> GovernedQuery:
    return govern(project, "adults_mail", clock=NOON, now=NOON)


def rests(query: GovernedQuery, clock: Clock = NOON, now: Clock | None = None, tables: Tables | None = None) -> Basis | None:
    engine = cast(Engine, tables or Tables())
    return basis(query, engine, now=(now or clock).instant, as_of=clock.instant, defaults=Guards())


def at(project: Project, clock: Clock, now: Clock | None = None) -> Basis:
    found = rests(govern(project, "adults_mail", clock=clock, now=now or clock), clock, now)
    assert found is not None
    return found


def test_within_a_day_only_the_moments_differ_and_they_are_compared_with_columns_of_tables(project: Project) -> None:
    noon, later = at(project, NOON, LATER), at(project, LATER, Clock(LATER.instant + dt.timedelta(hours=1)))
    assert (noon.facts, noon.tables, noon.compared) == (later.facts, later.tables, later.compared)
    assert noon.moments != later.moments
    # A consent that takes effect or ends in between decides about people, though no table changes.
    assert noon.compared == (("now", "crm.consents", "effective_at"), ("now", "crm.consents", "expires_at"))


def test_another_day_is_another_question_only_where_days_are_asked_for(project: Project, tmp_path: Path) -> None:
    assert at(project, NOON).facts != at(project, NEXT_DAY).facts  # adults only: a birthday makes one of them
    segment = SEGMENT.replace("age: {gte: 18}", "state: MA")
    assert segment != SEGMENT
    timeless = load(minimal(tmp_path, **{"models/adults.yml": segment}), connectors=("http",))
    assert at(timeless, NOON, LATER).facts == at(timeless, NEXT_DAY, LATER).facts


def test_every_field_of_a_governed_query_is_part_of_it(query: GovernedQuery) -> None:
    before = rests(query)
    for field in dataclasses.fields(query):
        if field.name.startswith("_"):
            continue
        other = dataclasses.replace(query, **{field.name: _another(getattr(query, field.name), field.name)}, _seal=query._seal)
        assert rests(other) != before, field.name


def _another(value: Any, name: str) -> Any:
    """A value of the same kind that says something else."""
    if isinstance(value, exp.Select):
        return value.copy().where("1 = 0")
    if isinstance(value, BaseModel):
        first = next(iter(type(value).model_fields))
        return value.model_copy(update={first: "another"})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{dataclasses.fields(value)[0].name: "another"})
    if isinstance(value, dict):
        return {} if value else {"another": "x"}
    if isinstance(value, str):
        return f"{value}!"
    if name == "removals":
        return "left"
    if name == "approval":
        return ("another",)
    return (*value, *_more(name))


def _more(name: str) -> tuple[Any, ...]:
    if name == "refusals":
        return (Refusal("value", "email", "", (), "is not granted", "leave it out"),)
    if name == "lookups":
        return (("crm.more", ("id",)),)
    if name in ("freshness", "withheld"):
        return _looked_at(name)
    return ("another",)


def _looked_at(name: str) -> tuple[Any, ...]:
    if name == "freshness":
        return (Freshness("crm.more", "recorded_at", dt.timedelta(days=1)),)
    return (Withheld("sensitive.sud", "crm.more", sqlglot.parse_one("one.code = 'x'", dialect="spark")),)


def test_whatever_cannot_be_told_is_never_the_same(query: GovernedQuery) -> None:
    assert rests(query, tables=Tables({"crm.consents": None})) is None  # no version: a view, or being replaced
    assert rests(query, tables=Tables(filtered=["clinical.patients"])) is None
    assert rests(dataclasses.replace(query, removals="left", _seal=query._seal)) is None  # it says on every run that it is refused


def test_each_table_that_is_read_is_looked_at(query: GovernedQuery) -> None:
    found = rests(query)
    assert found is not None
    assert set(found.tables) == {"clinical.patients", "crm.consents"}
    for table in found.tables:
        assert rests(query, tables=Tables({table: "1:b"})) != found


NOW = f"CAST('{NOON.instant.isoformat(sep=' ')}' AS TIMESTAMP)"


@pytest.mark.parametrize(
    ("sql", "compared"),
    [
        ("SELECT p.id FROM a.t AS p WHERE p.seen <= {now}", {("a.t", "seen")}),
        ("SELECT p.id FROM a.t AS p WHERE {now} > p.seen", {("a.t", "seen")}),
        ("WITH k AS (SELECT o.seen AS at FROM a.t AS o) SELECT k.at FROM k WHERE k.at < {now}", {("a.t", "seen")}),
        ("WITH k AS (SELECT o.at FROM a.t AS o WHERE o.at < {now}) SELECT 1 FROM b.u AS u JOIN k ON k.at >= {now}", {("a.t", "at")}),
        # What is computed, grouped, or of a name that means two things cannot be looked up in a table.
        ("SELECT p.id FROM a.t AS p WHERE COALESCE(p.seen, p.at) <= {now}", None),
        ("SELECT p.id FROM a.t AS p WHERE p.seen BETWEEN p.at AND {now}", None),
        ("SELECT p.id, {now} AS at FROM a.t AS p", None),
        ("SELECT p.id FROM a.t AS p WHERE seen <= {now}", None),
        ("WITH k AS (SELECT MAX(o.at) AS at FROM a.t AS o GROUP BY o.id) SELECT 1 FROM k WHERE k.at < {now}", None),
        ("WITH k AS (SELECT o.at FROM a.t AS o GROUP BY o.at) SELECT 1 FROM k WHERE k.at < {now}", None),
        ("WITH k AS (SELECT o.at FROM a.t AS o UNION ALL SELECT o.at FROM a.u AS o) SELECT 1 FROM k WHERE k.at < {now}", None),
        ("SELECT 1 FROM (SELECT o.at FROM a.t AS o) AS k WHERE k.at < {now}", None),
    ],
)
def test_a_moment_counts_only_where_it_is_compared_with_a_column_of_a_table(
    query: GovernedQuery, sql: str, compared: set[tuple[str, str]] | None
) -> None:
    select = sqlglot.parse_one(sql.format(now=NOW), dialect="spark")
    found = rests(dataclasses.replace(query, select=select, eligibility=sqlglot.parse_one("SELECT 1"), _seal=query._seal))
    assert (found and {(table, column) for _, table, column in found.compared}) == compared
