"""attack 8: a channel's code says no value of the row, in no spelling."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.connectors.codes import holds, repeats
from cdp.spec.delivery import CODE

VALUES = ["Bartholomew", "p-0012", "(212) 555-0101", 4711, Decimal("12.50"), dt.date(1970, 1, 2), True, None, "", "MA"]


@pytest.mark.parametrize(
    "code", ["bartholomew", "P0012", "212.555.0101", "2125550101", "4711", "04711.0", "12.5", "19700102", "1970-01-02", "true", "ma", "M-A"]
)
def test_a_value_in_another_spelling_is_the_value(code: str) -> None:
    assert repeats(code, VALUES)
    assert holds(code, VALUES)


@pytest.mark.parametrize("code", ["bad_Bartholomew", "Barthol", "no-such-p0012", "5550101", "row_4711"])
def test_a_part_of_a_value_counts_where_the_words_are_the_channels(code: str) -> None:
    assert not repeats(code, VALUES)
    assert holds(code, VALUES)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("bad_smith", "Ann Smith"),
        ("badSmith", "Ann Smith"),
        ("SMITH_ANN", "Ann Smith"),
        ("mailbox_ann.smith_full", "ann.smith@example.org"),
        ("smith-is-full", "ann.smith@example.org"),
        ("invalid_6505551212", "+16505551212"),
        ("invalid_5551212", "+1 (650) 555-1212"),
        ("no_oak", "1 Oak Street"),
    ],
)
def test_a_word_or_a_long_number_of_a_value_counts_too(code: str, value: str) -> None:
    assert holds(code, [value])


@pytest.mark.parametrize(
    ("code", "value"),
    [("invalid_email", "ann@mail.example"), ("http_400", "400 Oak Street"), ("E21211", "+16505551212"), ("too_long", "to")],
)
def test_what_is_no_word_of_a_value_is_kept(code: str, value: str) -> None:
    assert not holds(code, [value])


@pytest.mark.parametrize("code", ["invalid_email", "http_400", "42", "unsubscribed", "sNaN", "Infinity", "_", "MAX"])
def test_other_words_are_kept(code: str) -> None:
    assert not repeats(code, VALUES)
    assert not holds(code, VALUES)


@given(st.text(), st.text(max_size=3))
def test_whatever_the_value_it_is_never_its_own_code(value: str, around: str) -> None:
    code = around + value
    if value.isalnum() and len(value) > 2 and CODE.fullmatch(code):
        assert holds(code, [value])
        assert repeats(value, [value])
