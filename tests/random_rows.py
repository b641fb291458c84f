"""Random rows of the LanguageSuite's tables: few people, related rows, ties, nulls, and days on every boundary."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from tests.slow_calendar import shift
from tests.slow_evaluator import Model

Rows = dict[str, list[dict[str, Any]]]
ZONE = ZoneInfo("America/New_York")
CLOCKS = (
    "2026-07-02T23:59:59.999999",  # a whole day
    "2026-08-31T23:59:59.999999",  # six months back there is no 31st
    "2026-03-08T23:30",  # the day of 23 hours
    "2026-11-01T12:00",  # the day of 25 hours
    "2028-02-29T23:59:59.999999",
    "2026-12-31T19:30",  # in UTC it is next year
)
TIMES = ("00:00", "23:59:59.999999", "12:00", "05:59", "06:00", "01:30", "22:00", "09:00")
DAYS_BACK = (0, 1, 2, 6, 7, 8, 13, 14, 15, 29, 30, 31, 89, 90, 91, 180, -1, -7, -8)
MONTHS_BACK = (1, 2, 3, 6, 12, 13, 24)
BIRTHS = ("1970-05-01", "2008-02-29", "2000-02-29", "1931-11-01", "2026-06-30", "2025-01-31", "1961-07-02", "1960-07-03")
NUMBERS = ("0", "1", "5.5", "6", "6.5", "7", "9", "10", "90", "126", "140", "180", "7.1")
WORDS: Mapping[str, tuple[str, ...]] = {
    "sex": ("female", "male", "Female"),
    "kind": ("office", "telehealth", "inpatient"),
    "direction": ("inbound", "outbound"),
    "city": ("Troy", "troy", "Ithaca"),
    "zip": ("12180", "14850"),
    "status": ("active", "resolved", "entered-in-error"),
    "ingredient": ("simvastatin", "metformin"),
    "family": ("f1", "f2"),
    "languages": ("en", "es", "fr"),
    "unit": ("%", "percent", "mmol/L", "mg/dL", "mm[Hg]", "stone"),
    "code_system": ("SNOMED", "http://snomed.info/sct", "I10", "ICD9"),
}
CODES = {"condition": ("44054006", "08", "E11.9", "E119", "777"), "observation": ("4548-4", "2345-7", "8480-6", "8462-4", "29463-7")}
WHOLE = (0, 1, 2, 7, 14, 30, 90)
KEYS = {"patient": "p", "visit": "v", "clinician": "k", "practice": "g", "drug": "d"}
LEADS_TO = {
    "patient_id": ("p", 4),
    "visit_id": ("v", 4),
    "pcp_id": ("k", 3),
    "group_id": ("g", 3),
    "drug_id": ("d", 4),
    "household_id": ("h", 2),
}
NEVER_NULL = ("patient_id", "reversed")
NULLS = 0.12
PEOPLE, RELATED = 4, 14
FEW = {"clinician": 2, "practice": 2, "drug": 3}


def clocks() -> st.SearchStrategy[dt.datetime]:
    """A clock, in New York."""
    return st.sampled_from(CLOCKS).map(lambda text: dt.datetime.fromisoformat(text).replace(tzinfo=ZONE))


def days(now: dt.datetime) -> list[dt.date]:
    """Days on and beside the bounds of the windows that random segments have."""
    today = now.date()
    near = [today - dt.timedelta(days=n) for n in DAYS_BACK]
    months = [shift(today, -n, "months") + dt.timedelta(days=d) for n in MONTHS_BACK for d in (0, -1, 1)]
    return [*near, *months, dt.date(today.year, 1, 1), dt.date(today.year - 1, 12, 31), dt.date(2024, 2, 29)]


def tables(model: Model, now: dt.datetime) -> st.SearchStrategy[Rows]:
    """Rows of every entity that has a table; keys are unique, foreign keys lead somewhere, nowhere or are null.

    They come of one number: hundreds of rows, value by value, would leave the conditions no choices.
    """
    return st.integers(0, 2**32).map(lambda seed: _tables(Random(seed), model, now))


def _tables(random: Random, model: Model, now: dt.datetime) -> Rows:
    found: Rows = {}
    for entity, spec in model.entities.items():
        if "table" in spec:
            count = PEOPLE if entity == "patient" else random.randint(0, FEW.get(entity, RELATED))
            found[entity] = [_row(random, entity, spec, f"{KEYS.get(entity, '')}{n}", now) for n in range(count)]
    return found


def _row(random: Random, entity: str, spec: Mapping[str, Any], key: str, now: dt.datetime) -> dict[str, Any]:
    others = {name: column for name, column in spec["columns"].items() if name != spec["key"]}
    return {spec["key"]: key, **{name: _value(random, entity, name, column, now) for name, column in others.items()}}


def _value(random: Random, entity: str, name: str, column: Mapping[str, Any], now: dt.datetime) -> Any:
    if name not in NEVER_NULL and random.random() < NULLS:
        return None
    if "fields" in column:
        return {field: _value(random, entity, field, {"type": kind}, now) for field, kind in column["fields"].items()}
    if column.get("array"):
        return [random.choice(WORDS[name]) for _ in range(random.randint(0, 3))]
    if name in LEADS_TO:
        prefix, count = LEADS_TO[name]
        return f"{prefix}{random.randrange(count)}"
    return _known(random, entity, name, column["type"], now)


def _known(random: Random, entity: str, name: str, kind: str, now: dt.datetime) -> Any:
    if kind == "code":
        return random.choice(CODES[entity])
    if kind == "string":
        return random.choice(WORDS[name])
    if kind == "boolean":
        return random.random() < (0.2 if name == "reversed" else 0.5)
    if kind == "integer":
        return random.choice(WHOLE)
    if kind == "decimal":
        return Decimal(random.choice(NUMBERS))
    day = dt.date.fromisoformat(random.choice(BIRTHS)) if name == "birth_date" else random.choice(days(now))
    if kind == "date":
        return day
    return dt.datetime.combine(day, dt.time.fromisoformat(random.choice(TIMES)), ZONE).astimezone(dt.UTC)
