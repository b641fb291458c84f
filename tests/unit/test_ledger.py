"""The disclosure ledger without an engine: hashes, heads, what is exempt, when a row is outdated, formulas in CSV."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.cli.output import Output
from cdp.compile.clock import Clock
from cdp.errors import ProjectError, UsageError
from cdp.governance.decide import govern
from cdp.governance.query import GovernedQuery
from cdp.project.load import load
from cdp.sync import signing
from cdp.sync.ledger import chain, heads
from cdp.sync.ledger.accounting import later
from cdp.sync.ledger.heads import Head
from tests.projects import FILES, minimal

NOW = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
HEAD = Head("letters", 7, "ab" * 32, NOW.isoformat())


# -- hashes ------------------------------------------------------------------------------------------------------------

VALUES = st.one_of(st.none(), st.text(), st.integers())


@given(st.lists(VALUES, min_size=3, max_size=3), st.lists(VALUES, min_size=3, max_size=3))
def test_other_fields_have_another_hash(one: list[Any], other: list[Any]) -> None:
    names = ("a", "b", "c")
    same = [chain.text(value) for value in one] == [chain.text(value) for value in other]
    hashes = [chain.hashed(names, dict(zip(names, values, strict=True))) for values in (one, other)]
    assert (hashes[0] == hashes[1]) == same


def test_a_moment_is_its_microseconds_in_every_zone() -> None:
    assert chain.text(NOW) == chain.text(NOW.astimezone(dt.timezone(dt.timedelta(hours=5)))) == "1782907200000000"
    assert chain.text(NOW + dt.timedelta(microseconds=1)) == "1782907200000001"


def test_salts_do_not_repeat() -> None:
    assert len({chain.salt() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("day", "years", "then"), [("2026-07-01", 6, "2032-07-01"), ("2028-02-29", 6, "2034-03-01"), ("2026-07-01", -6, "2020-07-01")]
)
def test_six_years(day: str, years: int, then: str) -> None:
    assert later(dt.date.fromisoformat(day), years) == dt.date.fromisoformat(then)


# -- heads -------------------------------------------------------------------------------------------------------------


def test_heads_come_back_as_they_were_written(tmp_path: Path) -> None:
    heads.write(tmp_path / "head.json", [HEAD], NOW, None)
    kept = heads.read(tmp_path / "head.json")
    assert (kept.heads, kept.made, kept.signed_by) == ((HEAD,), NOW.isoformat(), None)


def test_a_head_is_not_written_over(tmp_path: Path) -> None:
    heads.write(tmp_path / "head.json", [HEAD], NOW, None)
    with pytest.raises(UsageError, match="is there already"):
        heads.write(tmp_path / "head.json", [HEAD], NOW, None)


def test_a_signed_head_that_was_changed_is_refused(tmp_path: Path) -> None:
    signing.make_key(tmp_path / "key")
    key = signing.read_key(tmp_path / "key")
    path = tmp_path / "head.json"
    written = heads.write(path, [HEAD], NOW, key)
    assert heads.read(path).signed_by == signing.public_of(key)
    for change in (
        {"made": "2020-01-01T00:00:00+00:00"},
        {"heads": [HEAD.as_json() | {"block": 6}]},
        {"signature": None},
        {"public_key": None},
    ):
        path.write_text(json.dumps(written | change))
        with pytest.raises(UsageError, match="signature"):
            heads.read(path)


@pytest.mark.parametrize("place", ["made", "heads.0.at"])
@pytest.mark.parametrize("moment", ["garbage", "", "2026-07-01", "2026-07-01T12:00:00", "1782907200", "2026-07-01T12:00:00+99:00"])
def test_a_head_whose_moment_is_none_is_refused(tmp_path: Path, place: str, moment: str) -> None:
    path = tmp_path / "head.json"
    written = heads.write(path, [HEAD], NOW, None)
    changed = {"made": moment} if place == "made" else {"heads": [HEAD.as_json() | {"at": moment}]}
    path.write_text(json.dumps(written | changed))
    with pytest.raises(UsageError, match=f"is no file of heads: {place}\n"):
        heads.read(path)


def test_no_head_is_neither_written_nor_held_against_anything(tmp_path: Path) -> None:
    path = tmp_path / "head.json"
    with pytest.raises(UsageError, match="has no head yet"):
        heads.write(path, [], NOW, None)
    assert not path.exists()
    path.write_text(json.dumps({"made": NOW.isoformat(), "heads": []}))
    with pytest.raises(UsageError, match="holds no head"):
        heads.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"made": "x", "heads": [{"sync": "s", "block": 0, "hash": "zz", "at": ""}]}'])
def test_what_is_no_file_of_heads_says_where(tmp_path: Path, text: str) -> None:
    path = tmp_path / "head.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="is no file of heads"):
        heads.read(path)


# -- what is exempt ----------------------------------------------------------------------------------------------------


def purposes(more: str, funded_by: str = "none") -> dict[str, str]:
    """The minimal project's purposes, its first with more keys."""
    text = FILES["governance/purposes.yml"]
    return {
        "governance/purposes.yml": text.replace(
            "    consent: opt_in\n", f"    consent: opt_in\n    funded_by: {funded_by}\n    {more}\n", 1
        )
    }


def decided(root: Path, **files: str) -> GovernedQuery:
    project = load(minimal(root, **{**FILES, **files}))
    now = Clock.parse("2026-07-02T12:00", project.timezone)
    return govern(project, "adults_mail", clock=now, now=now)


def test_what_says_nothing_is_accountable(tmp_path: Path) -> None:
    assert decided(tmp_path / "a").decision.exempt_under is None
    told = decided(tmp_path / "b", **purposes('accounting: {exempt: "164.528(a)(1)(i)"}'))
    assert told.decision.exempt_under == "164.528(a)(1)(i)"


@pytest.mark.parametrize(
    ("paragraph", "funded_by", "said"),
    [
        ("164.528(a)(1)(i)", "[none, third_party]", "paid by third_party, it is marketing"),
        ("164.528(a)(1)(iv)", "none", "is no authorization"),
        ("164.528(a)(1)(viii)", "none", "it tells no limited data set"),
        ("164.528(a)(1)(x)", "none", "164.528"),
    ],
)
def test_what_is_exempt_must_be_what_its_paragraph_speaks_of(tmp_path: Path, paragraph: str, funded_by: str, said: str) -> None:
    with pytest.raises(ProjectError) as caught:
        load(minimal(tmp_path, **{**FILES, **purposes(f'accounting: {{exempt: "{paragraph}"}}', funded_by)}))
    (problem,) = caught.value.problems
    assert problem.file == "governance/purposes.yml"
    assert said in str(problem)


# -- when a row is outdated --------------------------------------------------------------------------------------------


def edited(root: Path, name: str, old: str, new: str) -> GovernedQuery:
    assert old in FILES[name], (name, old)
    return decided(root, **{name: FILES[name].replace(old, new)})


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("governance/baa/mailer.yml", "expires: 2099", "expires: 2098"),
        ("governance/baa/mailer.yml", "kind: baa", "# renewed\nkind: baa"),
        ("governance/purposes.yml", "    consent: opt_in\n", "    consent: opt_in\n    when_changed: resend\n"),
        ("governance/consent.yml", "hours: 26", "hours: 24"),
        ("models/adults.yml", "gte: 18", "gte: 21"),
    ],
)
def test_what_does_not_change_what_a_row_tells_makes_none_outdated(tmp_path: Path, name: str, old: str, new: str) -> None:
    assert edited(tmp_path / "b", name, old, new).told == decided(tmp_path / "a").told


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("governance/masks.yml", "per: destination}", "per: destination, key_version: 2}"),
        ("models/patient.yml", "class: name.given", "class: contact.email"),
        ("models/patient.yml", "class: demographic.birth_date", "class: demographic.state"),
        ("syncs/adults_mail.yml", "first_name: given_name", "given: given_name"),
        ("syncs/adults_mail.yml", "email: email", "email: {of: email, mask: pseudonym}"),
    ],
)
def test_another_class_mask_or_column_makes_every_row_outdated(tmp_path: Path, name: str, old: str, new: str) -> None:
    first, then = decided(tmp_path / "a"), edited(tmp_path / "b", name, old, new)
    assert then.told != first.told
    assert then.fingerprint != first.fingerprint


def test_another_purpose_or_agreement_makes_every_row_outdated(tmp_path: Path) -> None:
    first = decided(tmp_path / "a").told
    renamed = {name: text.replace("care_coordination", "outreach") for name, text in FILES.items()}
    other = {name: text.replace("name: mailer", "name: post").replace("baa: mailer", "baa: post") for name, text in FILES.items()}
    assert len({first, decided(tmp_path / "b", **renamed).told, decided(tmp_path / "c", **other).told}) == 3


# -- formulas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"])
def test_a_cell_that_begins_like_a_formula_is_escaped(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """attack 23"""
    Output().csv(("person", "plan"), [[cell, None], ["p1=1", 'a "b"']])
    assert capsys.readouterr().out == f'"person","plan"\n"\'{cell}",\n"p1=1","a ""b"""\n'
