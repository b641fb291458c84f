"""What ends soon is said before it ends: by `cdp validate` at its place, by `cdp plan` and `cdp sync` of each sync."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from cdp.cli.app import main
from cdp.governance.notices import ending, of_sync, warnings
from cdp.project.load import load
from cdp.spec.access import Agreement
from tests.projects import FILES, minimal

TODAY = dt.date(2026, 7, 2)
ENTRY = """\
kind: declassify
entries:
  - name: due_only
    of: {segment: adults}
    from: [clinical.condition]
    to: demographic.state
    model_sha256: "0000000000000000000000000000000000000000000000000000000000000000"
    reason: approved wording
    owner: privacy@example.org
    approved: 2026-06-01
    expires: 2026-07-12
"""


def agreement(expires: dt.date | None) -> Agreement:
    return Agreement(name="mailer", counterparty="Mail", expires=expires, purposes="care", classes="name", members="membership")


@pytest.mark.parametrize(
    ("expires", "said"),
    [
        (dt.date(2026, 8, 2), None),  # 31 days
        (dt.date(2026, 8, 1), "agreement mailer ends on 2026-08-01, in 30 days"),
        (dt.date(2026, 7, 3), "agreement mailer ends on 2026-07-03, in 1 day"),
        (dt.date(2026, 7, 2), "agreement mailer ends on 2026-07-02, today"),
        (dt.date(2026, 7, 1), "agreement mailer ended on 2026-07-01, 1 day ago"),
        (None, None),
    ],
)
def test_an_agreement_that_ends_within_thirty_days(expires: dt.date | None, said: str | None) -> None:
    found = ending(agreement(expires), TODAY)
    assert (found and str(found)) == said


def test_each_warning_stands_where_the_date_stands(tmp_path: Path) -> None:
    agreed = FILES["governance/baa/mailer.yml"].replace("expires: 2099-01-14", "expires: 2026-07-20")
    project = load(minimal(tmp_path, **{"governance/baa/mailer.yml": agreed, "governance/declassify.yml": ENTRY}))
    assert [str(problem).partition(";")[0] for problem in warnings(project, TODAY) if problem.where != "hosts"] == [
        "governance/baa/mailer.yml:6:10: warning: expires: agreement mailer ends on 2026-07-20, in 18 days",
        "governance/declassify.yml:11:14: warning: entries[0].expires: declassification due_only ends on 2026-07-12, in 10 days",
    ]
    assert [each.as_json()["what"] for each in of_sync(project, "adults_mail", TODAY)] == ["agreement mailer", "declassification due_only"]
    assert not of_sync(project, "adults_mail", dt.date(2026, 6, 1))


def test_a_host_without_an_account_is_warned_of(tmp_path: Path) -> None:
    """Attack 18: one host serves every customer."""
    agreed = FILES["governance/baa/mailer.yml"]
    without = "\n".join(line for line in agreed.splitlines() if not line.startswith("account:"))
    project = load(minimal(tmp_path / "a", **{"governance/baa/mailer.yml": without}))
    assert [problem.message for problem in warnings(project, TODAY)] == ["nothing says which account of the receiver is ours"]
    asked = FILES["destinations/mail.yml"].replace("http:\n", "http:\n  whoami: {path: /v1/account, account: id}\n")
    files = {"governance/baa/mailer.yml": f"{without}\naccount: clinic-7\n", "destinations/mail.yml": asked}
    project = load(minimal(tmp_path / "b", **files))
    assert not warnings(project, TODAY)


def test_validate_warns_and_still_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soon = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=7)
    agreed = FILES["governance/baa/mailer.yml"].replace("2099-01-14", soon.isoformat())
    root = minimal(tmp_path, **{"governance/baa/mailer.yml": agreed})
    assert main(["validate", "--json", "--project", str(root)]) == 0
    found = json.loads(capsys.readouterr().out)["warnings"]
    assert any(f"agreement mailer ends on {soon}" in warning["message"] for warning in found)


@pytest.mark.parametrize(
    ("due", "said"),
    [
        ("2026-08-02", []),
        ("2026-08-01", ["class sensitive.sud is due for review by 2026-08-01"]),
        ("2026-07-02", ["class sensitive.sud is due for review by 2026-07-02"]),
        ("2026-07-01", ["class sensitive.sud was due for review on 2026-07-01"]),
    ],
)
def test_a_class_is_reviewed_again_when_its_law_may_have_changed(tmp_path: Path, due: str, said: list[str]) -> None:
    """Attack 36: state law on special categories changes, and a federal rule on it was vacated."""
    classes = FILES["governance/classes.yml"].replace("needs_consent: part2}", f"needs_consent: part2, review_by: {due}}}")
    found = warnings(load(minimal(tmp_path, **{"governance/classes.yml": classes})), TODAY)
    due_classes = [problem for problem in found if problem.where == "classes.sensitive.sud.review_by"]
    assert [problem.message for problem in due_classes] == said
    assert {(problem.file, problem.line) for problem in due_classes} <= {("governance/classes.yml", 22)}
