from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.errors import DataError, DeliveryError
from cdp.spec.activation import Guards, Secret
from cdp.spec.model import Column
from cdp.sync import encoding, guards, secrets
from cdp.sync.plan import Plan
from cdp.sync.sources import fits


def test_a_plan_is_not_made_by_hand() -> None:
    with pytest.raises(TypeError, match="make_plan"):
        Plan(*[None] * len(fields(Plan)))  # type: ignore[arg-type]


@given(st.lists(st.text(), min_size=2, max_size=4))
def test_a_key_of_several_columns_comes_apart_again(parts: list[str]) -> None:
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    assert encoding.split_key(joined, len(parts)) == parts


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("double", "string", r"key k \(double\)"),
        ("timestamp", "string", "key k"),
        ("string", "array<int>", r"v \(array<int>\)"),
        ("map<string,int>", "binary", "k.*v"),
    ],
)
def test_what_cannot_be_keyed_or_hashed_is_refused(key: str, value: str, named: str) -> None:
    with pytest.raises(DataError, match=named):
        encoding.check_types({"k": key, "v": value}, ["k"])


def test_exact_keys_and_any_scalar_value_are_fine() -> None:
    encoding.check_types({"k": "decimal(20,0)", "d": "date", "v": "double", "t": "timestamp"}, ["k", "d"])


def _broken(limits: Guards, known: int = 100, segment: int = 50, source: int = 1, **counts: int) -> list[str]:
    full = {"add": 0, "change": 0, "remove": 0} | counts
    return [v.guard for v in guards.check(limits, guards.Found(full, known=known, segment=segment, source=source))]


@pytest.mark.parametrize(
    ("limit", "removed", "broken"),
    [(20, 20, []), (20, 21, ["max_remove"]), ("20%", 20, []), ("20%", 21, ["max_remove"]), (0, 1, ["max_remove"]), (None, 100, [])],
)
def test_a_limit_is_rows_or_a_share_of_what_is_held(limit: object, removed: int, broken: list[str]) -> None:
    assert _broken(Guards(max_remove=limit), remove=removed) == broken  # type: ignore[arg-type]


def test_a_share_says_nothing_about_a_first_load_but_rows_do() -> None:
    assert _broken(Guards(max_add="10%"), known=0, add=1000) == []  # type: ignore[arg-type]
    assert _broken(Guards(max_add=10), known=0, add=1000) == ["max_add"]  # type: ignore[arg-type]


def test_empty_sources_and_segments() -> None:
    assert _broken(Guards(), source=0) == ["empty"]
    assert _broken(Guards(), segment=0) == ["empty"]
    assert _broken(Guards(), segment=0, known=0) == []
    assert _broken(Guards(empty="allow"), segment=0, source=0) == []


def test_the_syncs_own_guards_win_over_the_projects() -> None:
    project = Guards(max_add=1, max_remove=1, empty="allow")  # type: ignore[arg-type]
    merged = guards.effective(Guards(max_remove=5), project)  # type: ignore[arg-type]
    assert (merged.max_add, merged.max_remove, merged.empty) == (project.max_add, Guards(max_remove=5).max_remove, "allow")  # type: ignore[arg-type]
    assert guards.effective(Guards(empty="refuse"), project).empty == "refuse"


def test_a_secret_that_is_not_set_is_named_and_a_sandbox_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILER_KEY", raising=False)
    with pytest.raises(DeliveryError, match="destination mailer needs the secret MAILER_KEY"):
        secrets.value(Secret(env="MAILER_KEY"), "destination mailer", sandbox=False)
    assert secrets.value(Secret(env="MAILER_KEY"), "destination mailer", sandbox=True) == "sandbox"
    monkeypatch.setenv("MAILER_KEY", "s3")
    assert secrets.value(Secret(env="MAILER_KEY"), "destination mailer", sandbox=True) == "s3"


# -- are the tables as declared ---------------------------------------------------------------------------------------

TAGS = Column.model_validate({"array": "true", "class": "public"})
DEVICE = Column.model_validate({"fields": {"kind": "string", "size": "decimal"}, "class": "public"})


@pytest.mark.parametrize(
    ("found", "column", "fine"),
    [
        ("string", Column(), True),
        ("decimal(18,6)", Column(type="decimal"), True),
        ("string", Column(type="decimal"), False),
        ("array<string>", TAGS, True),
        ("array<int>", TAGS, False),
        ("string", TAGS, False),
        ("array<string>", Column(), False),
        ("struct<kind:string,size:decimal(9,2)>", DEVICE, True),
        ("struct<Kind:string,size:decimal(9,2),made:struct<by:string,on:date>>", DEVICE, True),
        ("struct<kind:string>", DEVICE, False),
        ("struct<kind:int,size:decimal(9,2)>", DEVICE, False),
        ("string", DEVICE, False),
    ],
)
def test_a_type_of_the_lakehouse_fits_what_is_declared(found: str, column: Column, fine: bool) -> None:
    assert fits(found, column) is fine
