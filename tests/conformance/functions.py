"""FunctionStory: what an author's SELECT may use gives the same on every engine (fixtures/functions.yml)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from sqlglot import exp

from cdp.engine import Engine
from cdp.project.problems import Problems
from cdp.project.source import Document, Node
from cdp.project.sql.sql_text import Select, parse

EXPECTED: dict[str, dict[str, list[str]]] = yaml.safe_load((Path(__file__).parents[1] / "fixtures" / "functions.yml").read_text())
NIGHT = dt.datetime(2020, 1, 31, 23, 30, tzinfo=dt.UTC)
MIDNIGHT = dt.datetime(2020, 6, 30, 4, tzinfo=dt.UTC)  # in New York
ROWS = pa.table(
    {
        "i": pa.array([1, 2, None], pa.int32()),
        "d": pa.array([Decimal("1.2500"), Decimal("-7.5000"), None], pa.decimal128(18, 4)),
        "f": [1.5, -2.25, None],
        "s": ["abc", " Ab ", None],
        "s2": ["2020-01-31", "x-1", None],
        "s3": ["2020-01-31 10:05", "2020-06-30 00:00", None],
        "b": [True, False, None],
        "t": pa.array([NIGHT, MIDNIGHT, None], pa.timestamp("us", tz="UTC")),
        "dt": [dt.date(2020, 1, 31), dt.date(2024, 2, 29), None],
        "a": pa.array([[3, 1, 1], [2], None], pa.list_(pa.int32())),
    }
)


def select(expressions: list[str], order: str) -> exp.Query:
    """One SELECT of all of them, read as an author's is."""
    problems = Problems()
    columns = ", ".join(f"{expression} AS c{number}" for number, expression in enumerate(expressions))
    at = Select(Document("functions.yml", {}, Node(0, {}, {})), (), problems)
    tree = parse(f"SELECT {columns} FROM rows_of_functions{order}", at)
    problems.raise_if_any()
    assert tree is not None
    return tree


def shown(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    return "null" if value is None else str(value)


class FunctionStory:
    """Mixed into the suite of each engine."""

    @pytest.mark.parametrize("group", EXPECTED)
    def test_functions_give_the_same_on_every_engine(self, engine: Engine, group: str) -> None:
        expected = EXPECTED[group]
        engine.view("rows_of_functions", ROWS)
        found = engine.query(select(list(expected), "" if group == "aggregates" else " ORDER BY i"))
        columns = [[shown(value) for value in column.to_pylist()] for column in found.columns]
        assert dict(zip(expected, columns, strict=True)) == expected
