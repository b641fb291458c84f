"""What is said of rows that stand here: what was ignored, the rows that counted, how far it was, when it turns. On both engines."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlglot import exp

from cdp.analyst.explore.explain import explain
from cdp.analyst.explore.preview import Asked, preview
from cdp.analyst.explore.sight import Sight
from cdp.compile.clock import Clock
from cdp.engine import Engine
from cdp.errors import UsageError
from cdp.project.load import Project
from cdp.spec.access import Role
from tests.random_rows import Rows
from tests.random_worlds import Segments, arrow


@dataclass
class OnRows:
    """An engine whose tables are rows of this test, as temporary views."""

    engine: Engine
    project: Project
    rows: Rows
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = {entity.table: name for name, entity in self.project.entities.items() if entity.table}
        for name in self.names.values():
            self.engine.view(f"random_{name}", arrow(self.project, name, self.rows.get(name) or [{}]))

    def register(self, tables: Sequence[str]) -> None:
        assert {*tables} <= {*self.names}, "a statement says which tables it reads"

    def exists(self, table: str) -> bool:
        return table in self.names

    def query(self, statement: exp.Expression, *_: object, what: str = "") -> Any:
        return self.engine.query(statement.copy().transform(self._replaced), what=what)

    def _replaced(self, node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Table) or not node.db:
            return node
        name = self.names[f"{node.db}.{node.name}"]
        view = exp.select("*").from_(f"random_{name}")
        return exp.Subquery(this=view if self.rows.get(name) else view.where("FALSE"), alias=node.args.get("alias") or node.name)


NOW = dt.datetime(2026, 7, 2, 12, tzinfo=ZoneInfo("America/New_York"))
SYSTEM = "http://snomed.info/sct"


def _person(key: str, **values: Any) -> dict[str, Any]:
    return {"patient_id": key, "birth_date": dt.date(1970, 5, 1), **values}


def _reading(number: int, day: str, value: float | None, unit: str | None, **values: Any) -> dict[str, Any]:
    when = dt.datetime.fromisoformat(f"{day}T15:00+00:00") if day else None
    reading = {"observation_id": f"o{number}", "patient_id": "p1", "code": "4548-4", "date": when, "unit": unit}
    return {**reading, "value": None if value is None else Decimal(str(value)), **values}


def _world(engine: Engine, where: str, rows: Rows) -> tuple[Project, OnRows]:
    with tempfile.TemporaryDirectory() as folder:
        project = Segments.written(Path(folder), [where]).project
    return project, OnRows(engine, project, rows)


def _ignored(engine: Engine, where: str, **rows: Any) -> dict[tuple[str, str], str]:
    project, on = _world(engine, where, {"patient": [_person(f"p{n}") for n in range(1, 15)], **rows})
    exact = Sight(Sight.of(project, None, "uid:0").governor, "exact", Role(exact_counts=True))
    asked = Asked(["s0"])
    found = preview(project, on, asked, clock=Clock(NOW), sight=exact, control="cdp").populations[0]  # type: ignore[arg-type]
    return {(each.why, each.counted): str(each.number) for each in found.ignored}


VISIT = {"visit_id": "v", "patient_id": "p1", "day": dt.date(2026, 8, 1)}


def _told(engine: Engine, where: str, **rows: Any) -> list[tuple[str, bool, list[str], int]]:
    project, on = _world(engine, where, {"patient": [_person("p1")], **rows})
    seeing = Sight(Sight.of(project, None, "uid:0").governor, "all", Role(use="*", see="*"))
    told = explain(project, on, "s0", "p1", clock=Clock(NOW), sight=seeing)  # type: ignore[arg-type]
    return [
        (each.node.label, each.holds, [miss.text for miss in each.misses], sum(len(e.counted) for e in each.evidence)) for each in told.tree
    ]


class ExploreStory:
    def test_rows_of_unknown_units_and_without_a_date_are_counted(self, engine: Engine) -> None:
        readings = [
            _reading(1, "2026-06-01", 9.5, "%"),
            _reading(2, "2026-06-02", 9.5, "percent"),
            _reading(3, "2026-06-03", 80, "mmol/mol"),
            _reading(4, "2026-06-04", 9.5, None),
            _reading(5, "2026-06-05", None, None),  # no value, so its unit does not matter
            _reading(6, "2026-06-06", 80, "mmol/mol", code="29463-7"),  # another code
            _reading(7, "", 9.5, "%"),
        ]
        where = "{has: observations, where: {code: {in: hba1c}, value: {gt: 9 %}}, within: {months: 6}}"
        assert _ignored(engine, where, observation=readings) == {("unknown unit", "rows"): "2", ("no date", "rows"): "1"}

    def test_the_unit_of_the_value_that_is_compared_counts_too(self, engine: Engine) -> None:
        readings = [_reading(1, "2026-06-01", 80, "mmol/mol"), _reading(2, "2026-06-02", 9.5, "%")]
        where = "{latest: observations, where: {code: {in: hba1c}}, of: value, is: {gt: 9 %}}"
        assert _ignored(engine, where, observation=readings) == {("unknown unit", "rows"): "1"}

    def test_rows_without_a_code_system_are_counted(self, engine: Engine) -> None:
        conditions = [
            {"condition_id": f"c{n}", "patient_id": f"p{n}", "code": code, "code_system": system, "status": "active"}
            for n, (code, system) in enumerate([("44054006", SYSTEM), ("44054006", None), ("44054006", "other"), ("1", None)], 1)
        ]
        where = "{has: conditions, where: {code: {in: diabetes}}}"
        assert _ignored(engine, where, condition=conditions) == {("no code system", "rows"): "1"}

    def test_people_whose_row_was_picked_by_its_key_alone_are_counted(self, engine: Engine) -> None:
        readings = [
            _reading(1, "2026-06-01", 7, "%"),
            _reading(2, "2026-06-01", 8, "%"),  # p1: the same moment
            _reading(3, "2026-06-01", 7, "%", patient_id="p2"),
            _reading(4, "2026-06-02", 8, "%", patient_id="p2"),  # p2: a later one
            _reading(5, "2026-05-01", 7, "%", patient_id="p3"),
            _reading(6, "2026-05-01", 7, "%", patient_id="p3"),
            _reading(7, "2026-06-02", 8, "%", patient_id="p3"),  # p3: the tie is not the latest
        ]
        tied = "{latest: observations, where: {code: {in: hba1c}}, is: {value: {gt: 9 %}}}"
        assert _ignored(engine, tied, observation=readings)[("picked by the key alone", "people")] == "1"
        settled = "{latest: observations, where: {code: {in: hba1c}}, ties: {value: lowest}, is: {value: {gt: 9 %}}}"
        assert ("picked by the key alone", "people") not in _ignored(engine, settled, observation=readings)
        earliest = "{earliest: observations, where: {code: {in: hba1c}}, is: {value: {gt: 9 %}}}"
        assert _ignored(engine, earliest, observation=readings)[("picked by the key alone", "people")] == "2"

    @pytest.mark.parametrize(
        ("where", "readings", "misses"),
        [
            (
                "{has: observations, where: {code: {in: hba1c}}, within: {months: 6}}",
                [_reading(1, "2025-12-30", 7, "%"), _reading(2, "2025-10-01", 7, "%")],
                ["2 rows but for: date within the last 6 months; the nearest 3 days too early"],
            ),
            (
                "{has: observations, where: {code: {in: hba1c}}, older_than: {months: 6}}",
                [_reading(1, "2026-01-02", 7, "%")],
                ["1 row but for: date more than 6 months ago; 1 day too late"],
            ),
            (
                "{has: observations, where: {code: {in: hba1c}, value: {gt: 9 %}}, within: {months: 6}}",
                [_reading(1, "2026-06-01", 8.5, "%")],
                ["1 row but for: value above 9 %"],
            ),
            ("{count: observations, where: {code: {in: hba1c}}, is: {gte: 3}}", [_reading(1, "2026-06-01", 8.5, "%")], ["2 too few"]),
            (
                "{latest: observations, of: value, is: {gt: 9 %}}",
                [_reading(1, "2026-06-01", 8.5, "%")],
                ["0.5 % too little for more than 9 %"],
            ),
            ("{has: observations, where: {code: {in: hba1c}}}", [], []),
        ],
    )
    def test_how_far_a_person_was_from_it(self, engine: Engine, where: str, readings: list[dict[str, Any]], misses: list[str]) -> None:
        ((_, holds, texts, _),) = _told(engine, where, observation=readings)
        assert not holds
        assert texts == misses

    def test_under_not_stands_what_held(self, engine: Engine) -> None:
        where = "{lacks: observations, where: {code: {in: hba1c}}, within: {months: 6}}"
        ((label, holds, misses, counted),) = _told(engine, where, observation=[_reading(1, "2026-06-01", 7, "%")])
        assert (label.startswith("lacks observations"), holds, misses, counted) == (True, False, [], 1)

    def test_what_looks_at_the_row_around_is_asked_of_a_row_alone(self, engine: Engine) -> None:
        """The birth date is the person's, asked of each reading over a relation back."""
        where = "{has: observations, where: {code: {in: hba1c}}, after: birth_date + 55 years}"
        readings = [_reading(1, "2025-05-02", 7, "%"), _reading(2, "2025-05-01", 7, "%")]
        ((_, holds, misses, counted),) = _told(engine, where, observation=readings)
        assert (holds, counted, len(misses)) == (True, 1, 0)
        ((_, holds, misses, counted),) = _told(engine, where, observation=readings[1:])
        assert (holds, counted) == (False, 0)
        assert misses[0].startswith("1 row but for: ")

    @pytest.mark.parametrize(
        ("where", "rows", "day"),
        [
            ("{age: {gte: 57}}", {}, "2027-05-01"),
            ("{age: {lt: 57}}", {}, "2027-05-01"),
            ("{age: {gte: 58}}", {}, None),
            (
                "{lacks: observations, within: {months: 6}}",
                {"observation": [_reading(1, "2026-06-30", 7, "%")]},
                "2027-01-01",
            ),
            (
                "{has: visits, upcoming: {days: 7}}",
                {"visit": [{"visit_id": "v", "patient_id": "p1", "day": dt.date(2026, 8, 1)}]},
                "2026-07-25",
            ),
            ("{birth_date: {anniversary: {upcoming: {days: 7}}}}", {}, "2027-04-24"),
            ("{has: observations, during: measurement_year}", {"observation": [_reading(1, "2026-06-30", 7, "%")]}, "2027-01-01"),
        ],
    )
    def test_the_day_on_which_it_turns_by_itself(self, engine: Engine, where: str, rows: Any, day: str | None) -> None:
        project, on = _world(engine, where, {"patient": [_person("p1")], **rows})
        told = explain(project, on, "s0", "p1", clock=Clock(NOW), sight=Sight.of(project, None, "uid:0"))  # type: ignore[arg-type]
        assert told.turn.day == (dt.date.fromisoformat(day) if day else None)

    def test_nobody_has_this_key(self, engine: Engine) -> None:
        project, on = _world(engine, "{age: {gte: 57}}", {"patient": [_person("p1")]})
        with pytest.raises(UsageError, match="there is no patient with this key"):
            explain(project, on, "s0", "p2", clock=Clock(NOW), sight=Sight.of(project, None, "uid:0"))  # type: ignore[arg-type]

    def test_members_are_counted_by_values_in_the_same_statement(self, engine: Engine) -> None:
        people = [_person(f"p{n}", sex="female" if n % 3 else "male", doses=n % 2) for n in range(30)]
        project, on = _world(engine, "{doses: {lt: 1}}", {"patient": people})
        asked = Asked(["s0"], by=["sex", "age", "doses"])
        seeing = Sight(Sight.of(project, None, "uid:0").governor, "all", Role(see="*", exact_counts=True))
        found = preview(project, on, asked, clock=Clock(NOW), sight=seeing, control="cdp")  # type: ignore[arg-type]
        lines = {each.by: {name: str(number) for name, (number,) in each.lines} for each in found.breakdowns}
        assert lines == {"sex": {"female": "10", "male": "5"}, "age": {"50-59": "15"}, "doses": {"0": "15"}}
        blind = Sight(seeing.governor)
        found = preview(project, on, asked, clock=Clock(NOW), sight=blind, control="cdp")  # type: ignore[arg-type]
        lines = {each.by: {name: str(number) for name, (number,) in each.lines} for each in found.breakdowns}
        assert lines == {"sex": {"(others)": "15"}, "age": {"50-59": "15"}, "doses": {"0": "15"}}  # 10 and 5 are one line
