"""MaskStory: a mask makes the same of a value on every engine (tests/mask_cases.py)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp

from cdp.compile import sql
from cdp.engine import Engine
from cdp.governance.masks import apply_mask
from cdp.governance.masks.functions import About
from cdp.spec.policy import Mask
from tests.mask_cases import (
    AGE_BAND,
    BAND_CASES,
    CONSTANT,
    DAY,
    FORM_CASES,
    LAST4,
    LAST4_CASES,
    NULL,
    SHA256,
    YEAR,
    YEAR_CASES,
    ZIP3,
    ZIP3_CASES,
    digest,
)

Case = tuple[str, Any, Any]  # the class of a value, the value, what the mask makes of it
BORN = "demographic.birth_date"
CASES: dict[str, tuple[Mask, list[Case]]] = {
    "null": (NULL, [(BORN, "x", None)]),
    "redact": (NULL, [(BORN, "x", "REDACTED"), (BORN, None, "REDACTED")]),
    "constant": (CONSTANT, [(BORN, "x", CONSTANT.value), (BORN, None, CONSTANT.value)]),
    "last4": (LAST4, [(cls, value, shown) for value, cls, shown in LAST4_CASES]),
    "year": (YEAR, [(BORN, value, shown) for value, shown in YEAR_CASES]),
    "zip3": (ZIP3, [("demographic.zip", value, shown) for value, shown in ZIP3_CASES]),
    "age_band": (AGE_BAND, [(BORN, value, band) for value, band in BAND_CASES if not isinstance(value, dt.datetime)]),
    "sha256": (SHA256, [(cls, value, normal and digest(normal)) for cls, value, normal in FORM_CASES]),
}


class MaskStory:
    """Mixed into the suite of each engine."""

    @pytest.mark.parametrize("name", CASES)
    def test_a_mask_makes_the_same_of_a_value_on_every_engine(self, engine: Engine, name: str) -> None:
        rule, cases = CASES[name]
        kind = pa.date32() if any(isinstance(value, dt.date) for _, value, _ in cases) else pa.string()
        for cls in {cls for cls, _, _ in cases}:
            asked = [(value, expected) for each, value, expected in cases if each == cls]
            numbers = pa.array(range(len(asked)), pa.int32())
            engine.view("values_of_masks", pa.table({"n": numbers, "v": pa.array([value for value, _ in asked], kind)}))
            masked = apply_mask(name, rule, sql.column("t", "v"), About(cls, DAY))
            select = exp.select("t.n", sql.alias(masked, "m")).from_("values_of_masks AS t").order_by("t.n")
            assert engine.query(select, what="masks").column("m").to_pylist() == [expected for _, expected in asked], cls
