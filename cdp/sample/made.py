"""Rows that are made up around people: declared as plain SQL over each person, a few throws of dice and the day `today`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cdp.sample.people import dice
from cdp.sample.tables import PATIENTS


class Value(NamedTuple):
    """A column: its Spark type and its SQL; that of a timestamp is a local time."""

    type: str
    sql: str


# Who is alive `today`; the age is that of the day.
PEOPLE = f"""SELECT patient_id, sex, cast(floor(months_between(today, birth_date) / 12) AS int) AS age
    FROM (SELECT *, {{today}} AS today FROM {PATIENTS.table}) WHERE coalesce(death_date, date'9999-01-01') > today"""


@dataclass(frozen=True, slots=True)
class Made:
    """A table, or rows for one.

    The SQL of `let`, `where` and `columns` may name: the columns of `source`; `k`, the number of the copy; `today`; every
    throw of `dice`; and `let` what `columns` and `where` name besides. Nothing hangs on anything else, so that every engine
    and every run make the same rows.

    Attributes:
        table: where the rows stand.
        columns: of the table, its key first.
        source: a query, one row for each person (or what else `by` tells apart); `{today}` in it is the day.
        by: the columns of `source` that the dice hang on.
        times: how often each row of the source is taken, with `k` from 0.
        dice: by name, a number from 0 to below the sides, the same for all copies.
        noise: the same, but another number for each copy.
        let: names for SQL that is used more than once.
        where: which rows there are.
    """

    table: str
    columns: Mapping[str, Value]
    source: str = PEOPLE
    by: tuple[str, ...] = ("patient_id",)
    times: int = 1
    dice: Mapping[str, int] = field(default_factory=dict)
    noise: Mapping[str, int] = field(default_factory=dict)
    let: Mapping[str, str] = field(default_factory=dict)
    where: str = "TRUE"

    @property
    def schema(self) -> dict[str, str]:
        """The columns and their types."""
        return {name: value.type for name, value in self.columns.items()}

    def query(self, today: dt.date, zone: str) -> str:
        """The rows, as SQL."""
        day = f"date'{today.isoformat()}'"
        thrown = {name: dice(*self.by, f"'{name}'", sides=sides) for name, sides in self.dice.items()}
        thrown |= {name: dice(*self.by, "k", f"'{name}'", sides=sides) for name, sides in self.noise.items()}
        rows = f"""SELECT *, {_named({"today": day, **{n: f"cast({sql} AS int)" for n, sql in thrown.items()}})}
            FROM ({self.source.replace("{today}", day)}) CROSS JOIN (SELECT cast(id AS int) AS k FROM range({self.times}))"""
        if self.let:
            rows = f"SELECT *, {_named(self.let)} FROM ({rows})"
        values = {name: f"cast({_instant(value, zone)} AS {value.type})" for name, value in self.columns.items()}
        return f"SELECT {_named(values)} FROM ({rows}) WHERE {self.where}"


def _named(values: Mapping[str, str]) -> str:
    return ", ".join(f"{sql} AS `{name}`" for name, sql in values.items())


def _instant(value: Value, zone: str) -> str:
    return f"to_utc_timestamp({value.sql}, '{zone}')" if value.type == "timestamp" else value.sql
