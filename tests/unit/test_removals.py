"""What a refused sync may still do: take people off, and after an agreement's end for so many days. attack 39"""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.compile.clock import Clock
from cdp.errors import RefusedError
from cdp.governance.decide import Governor, govern
from cdp.governance.query import GovernedQuery
from cdp.project.load import load
from cdp.spec.activation import Guards
from cdp.sync import guards
from tests.projects import FILES, minimal

NOW = "2026-07-02T12:00"
Edit = tuple[str, str, str]
UPSERT = ("syncs/adults_mail.yml", "mode: mirror", "mode: upsert")
AGREEMENT = "governance/baa/mailer.yml"
PURPOSES = "governance/purposes.yml"
ENDED = (AGREEMENT, "expires: 2099-01-14", "expires: 2026-06-30")
VALUE = (PURPOSES, "classes: [identifier.pseudonym, contact.email, name.given]", "classes: [identifier.pseudonym, contact.email]")
MEMBERSHIP = (PURPOSES, "members: [membership, demographic]", "members: [membership]")


def after_end(removes: str, days: int) -> Edit:
    return (AGREEMENT, "expires: 2099-01-14", f"expires: 2026-06-30\nafter_end: {{removes: {removes}, days: {days}}}")


def governed(tmp_path: Path, *edits: Edit, now: str = NOW) -> GovernedQuery:
    changed = dict(FILES)
    for name, old, new in edits:
        assert old in changed[name], (name, old)
        changed[name] = changed[name].replace(old, new)
    project = load(minimal(tmp_path, **changed))
    clock = Clock.parse(now, project.timezone)
    query = govern(project, "adults_mail", clock=clock, now=clock, or_removals=True)
    if query.removals_only:  # who does not ask for removals is refused
        with pytest.raises(RefusedError) as error:
            govern(project, "adults_mail", clock=clock, now=clock)
        assert query.refusals == error.value.refusals == Governor.of(project).check("adults_mail", clock=clock, now=clock)
    return query


def test_a_sync_that_is_allowed_is_not_held_to_removals(tmp_path: Path) -> None:
    query = governed(tmp_path)
    assert (query.removals_only, query.removals, query.refusals) == (False, None, ())


@pytest.mark.parametrize(("removes", "who"), [("allow", "left"), ("all", "everyone")])
@pytest.mark.parametrize("now", ["2026-07-01T00:01", "2026-07-30T23:59"])
def test_after_the_agreements_end_removals_go_for_so_many_days(tmp_path: Path, removes: str, who: str, now: str) -> None:
    """attack 39: 45 CFR 164.504(e)(2)(ii)(J)"""
    query = governed(tmp_path, after_end(removes, 30), now=now)
    assert (query.removals, [refusal.missing for refusal in query.refusals]) == (who, ["ended on 2026-06-30"])


@pytest.mark.parametrize(
    ("edits", "now"),
    [
        ((ENDED,), NOW),  # the agreement says nothing of its end
        ((after_end("allow", 30),), "2026-07-31T00:01"),  # too late
        ((after_end("all", 1),), NOW),
        ((UPSERT, after_end("all", 30)), NOW),  # an upsert removes nobody
        ((after_end("allow", 30), ("destinations/mail.yml", "https://api.mail.example", "https://other.example")), NOW),
    ],
)
def test_outside_of_the_days_or_where_something_else_stands_in_the_way_all_is_refused(
    tmp_path: Path, edits: tuple[Edit, ...], now: str
) -> None:
    with pytest.raises(RefusedError, match="ended on 2026-06-30"):
        governed(tmp_path, *edits, now=now)


@pytest.mark.parametrize(
    ("edit", "who"),
    [
        (VALUE, "left"),
        (MEMBERSHIP, "kept_out"),
        ((PURPOSES, "channels: [email]", "channels: [sms]"), "left"),
        ((AGREEMENT, "expires: 2099-01-14", "expires: 2099-01-14\nsubprocessors: [{name: Cloud, flow_down: false}]"), "left"),
        ((AGREEMENT, "counterparty: Example Mail", "counterparty: Example Mail\ntype: dua"), "left"),
        (("syncs/adults_mail.yml", "mode: mirror", "mode: mirror\nfunded_by: third_party"), "left"),
    ],
)
def test_who_may_no_longer_be_there_goes_whatever_else_may_not(tmp_path: Path, edit: Edit, who: str) -> None:
    """attack 39: what may not be told keeps nobody on a list who revoked. Who left a segment that may not be known is not told."""
    assert governed(tmp_path, edit).removals == who


@pytest.mark.parametrize(
    "edit",
    [
        ("destinations/mail.yml", "baa: mailer\n", ""),
        (AGREEMENT, "effective: 2026-01-15", "effective: 2026-08-01"),
        ("destinations/mail.yml", "https://api.mail.example", "https://api.mail.example.evil.test"),
        ("governance/eligibility.yml", "  - {name: no_consent, when: {consent: missing}, basis: governance/consent.yml}\n", ""),
    ],
)
def test_a_removal_needs_a_receiver_that_stands_and_rules_that_can_be_asked(tmp_path: Path, edit: Edit) -> None:
    """attack 39"""
    with pytest.raises(RefusedError):
        governed(tmp_path, edit)


def test_the_consent_may_be_stale_when_everyone_goes(tmp_path: Path) -> None:
    assert governed(tmp_path / "some", after_end("allow", 30)).freshness
    assert not governed(tmp_path / "all", after_end("all", 30)).freshness


def test_guards_hold_for_removals_but_not_for_those_that_a_rule_or_the_end_asks_for() -> None:
    limits = Guards(max_remove=1, empty="refuse")  # type: ignore[arg-type]

    def broken(which: str | None) -> list[str]:
        held = guards.holding(limits, which)  # type: ignore[arg-type]
        return [v.guard for v in guards.check(held, guards.Found({"add": 0, "change": 0, "remove": 9}, known=9, segment=0, source=0))]

    assert (broken(None), broken("left")) == (["max_remove", "empty"], ["max_remove", "empty"])
    assert (broken("kept_out"), broken("everyone")) == ([], [])  # what was revoked does not wait for a look
