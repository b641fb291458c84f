"""What `cdp new` writes is valid, in the layout, and never in place of something."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cdp.analyst.change import starters
from cdp.analyst.change.layout import formatted
from cdp.cli.app import main
from cdp.cli.example import copy_example
from cdp.compile.clock import Clock
from cdp.governance.decide import Governor
from cdp.project.load import load
from tests.projects import AGREEMENT, CONSENTS, PATIENT, PURPOSES, SEGMENT, minimal
from tests.repositories import git

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cdp(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = minimal(tmp_path)
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "clinic"
    made.mkdir()
    copy_example(made)
    monkeypatch.chdir(made)
    return made


def written(root: Path, file: str) -> dict[str, object]:
    """The document of a new file, which must be in the layout."""
    text = (root / file).read_text()
    assert formatted(text, file) == text
    return dict(yaml.safe_load(text))


# -- segments -------------------------------------------------------------------------------------------------------------


def test_a_segment_is_valid_owned_and_tested(cdp: Run, root: Path) -> None:
    git(root, "init", "--quiet")
    git(root, "config", "user.email", "ann@clinic.example")
    code, out, _ = cdp("new", "segment", "asthma")
    assert code == 0
    assert out.startswith("wrote models/segments/asthma.yml\nnext:\n  edit models/segments/asthma.yml\n  cdp test asthma\n")
    made = written(root, "models/segments/asthma.yml")
    assert (made["entity"], made["purpose"], made["owner"]) == ("patient", "care_coordination", "ann@clinic.example")
    assert {case["expect"] for case in made["tests"][0]["cases"]} == {"in", "out"}
    assert cdp("validate")[0] == 0


def test_without_git_somebody_is_named_who_can_be_found(cdp: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert cdp("new", "segment", "asthma")[0] == 0
    assert written(root, "models/segments/asthma.yml")["owner"] == starters.NOBODY


def test_a_segment_of_an_entity_without_birthdays(cdp: Run, root: Path) -> None:
    assert cdp("new", "segment", "consents_given", "--entity", "consent", "-q")[0] == 0
    made = written(root, "models/segments/consents_given.yml")
    assert made["where"] == [{"patient_id": {"not_null": True}}]
    assert cdp("validate")[0] == 0


@pytest.mark.parametrize("kind", ["patient", "encounter", "condition", "observation", "consent"])
def test_every_entity_of_the_example_can_be_begun_with(cdp: Run, example: Path, kind: str) -> None:
    code, out, err = cdp("new", "segment", "begun", "--entity", kind, "--json")
    assert code == 0, err
    assert json.loads(out)["file"] == "models/segments/begun.yml"
    load(example)


# -- syncs ----------------------------------------------------------------------------------------------------------------


def test_a_sync_tells_what_may_be_told(cdp: Run, root: Path) -> None:
    code, out, _ = cdp("new", "sync", "second_mail", "--segment", "adults", "--destination", "mail", "--json")
    assert (code, json.loads(out)["refusals"]) == (0, [])
    made = written(root, "syncs/second_mail.yml")
    assert made["key"] == {"external_id": {"of": "patient_id", "mask": "pseudonym"}}
    assert made["mappings"] == {"email": "email"}
    assert made["purpose"] == "care_coordination"
    assert "# allowed too: given_name: given_name" in (root / "syncs/second_mail.yml").read_text()
    assert cdp("validate")[0] == 0


def test_the_only_ones_there_are_need_not_be_named(cdp: Run, root: Path) -> None:
    assert cdp("new", "sync", "second_mail")[0] == 0
    assert written(root, "syncs/second_mail.yml")["segment"] == "adults"


def test_a_key_that_may_be_known_needs_no_mask(cdp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wider = "classes: [identifier, contact.email, name.given]"
    narrow = "classes: [identifier.pseudonym, contact.email, name.given]"
    overlays = {"governance/purposes.yml": PURPOSES.replace(narrow, wider), "governance/baa/mailer.yml": AGREEMENT.replace(narrow, wider)}
    root = minimal(tmp_path, **overlays)
    monkeypatch.chdir(root)
    assert cdp("new", "sync", "second_mail")[0] == 0
    assert written(root, "syncs/second_mail.yml")["key"] == {"patient_id": "patient_id"}
    assert cdp("validate")[0] == 0


def test_what_governance_refuses_is_said_and_the_file_stays(cdp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlays = {"governance/baa/mailer.yml": AGREEMENT.replace("purposes: care_coordination", "purposes: [other]")}
    overlays["governance/purposes.yml"] = PURPOSES + PURPOSES.partition("purposes:\n")[2].replace("care_coordination", "other")
    root = minimal(tmp_path, **overlays, **{"syncs/adults_mail.yml": None})
    monkeypatch.chdir(root)
    code, out, _ = cdp("new", "sync", "first_mail")
    assert code == 0
    assert "governance refuses it as it stands:\n  [agreement] agreement mailer: does not cover purpose care_coordination" in out
    assert (root / "syncs/first_mail.yml").exists()
    assert cdp("new", "sync", "other_mail", "--purpose", "other", "--json")[0] == 0
    assert cdp("validate", "other_mail")[0] == 0


def test_a_sync_of_each_list_of_the_example_that_its_purpose_and_agreement_allow(example: Path) -> None:
    project = load(example)
    for name, sync in project.syncs.items():
        text = starters.sync(project, f"{name}_again", segment=sync.segment, destination=sync.destination, purpose=sync.purpose)
        (example / f"syncs/{name}_again.yml").write_text(text)
        written(example, f"syncs/{name}_again.yml")
    again = load(example)
    governor, now = Governor.of(again), Clock.now(again.timezone)
    assert {name: governor.check(f"{name}_again", clock=now, now=now) for name in project.syncs} == dict.fromkeys(project.syncs, ())


# -- destinations ---------------------------------------------------------------------------------------------------------


def test_a_destination_is_where_its_agreement_says(cdp: Run, example: Path) -> None:
    assert cdp("new", "destination", "nightly", "--connector", "file", "--agreement", "quality_registry")[0] == 0
    assert written(example, "destinations/nightly.yml")["file"] == {"folder": "out/registry", "format": "csv"}
    assert cdp("new", "destination", "letters", "--agreement", "outreach_mail")[0] == 0
    made = written(example, "destinations/letters.yml")
    assert (made["base_url"], made["channel"], made["baa"]) == ("https://api.outreach-mail.example", "email", "outreach_mail")
    assert made["secrets"] == {"api_key": {"env": "LETTERS_KEY"}}
    assert cdp("new", "sync", "letters_a1c", "--segment", "a1c_overdue", "--destination", "letters")[1].startswith("wrote ")
    assert cdp("validate")[0] == 0


def test_a_destination_without_an_agreement_is_valid_and_says_what_is_missing(cdp: Run, root: Path) -> None:
    assert cdp("new", "destination", "somewhere", "--channel", "email")[0] == 0
    assert "# baa: " in (root / "destinations/somewhere.yml").read_text()
    assert cdp("validate")[0] == 0
    _, out, _ = cdp("new", "sync", "to_nobody", "--destination", "somewhere", "--json")
    assert "agreement" in {refusal["rule"] for refusal in json.loads(out)["refusals"]}


# -- what is not written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("segment", "adults"), "segment adults is there already, in models/adults.yml"),
        (("sync", "adults_mail"), "sync adults_mail is there already, in syncs/adults_mail.yml"),
        (("segment", "Adults"), "'Adults' is not lower snake case"),
        (("segment", "../escape"), "is not lower snake case"),
        (("segment", "x", "--entity", "patients"), "there is no entity named 'patients'"),
        (("segment", "x", "--purpose", "fun"), "there is no purpose named 'fun'"),
        (("sync", "x", "--segment", "nobody"), "there is no segment named 'nobody'"),
        (("sync", "x", "--destination", "nowhere"), "there is no destination named 'nowhere'"),
        (("destination", "x", "--connector", "pigeon"), "there is no connector named 'pigeon'"),
        (("destination", "x", "--agreement", "none"), "there is no agreement named 'none'"),
        (("table", "x"), "table"),
    ],
)
def test_a_name_that_is_taken_or_unknown(cdp: Run, root: Path, words: tuple[str, ...], said: str) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    code, out, err = cdp("new", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_file_that_is_there_is_not_overwritten(cdp: Run, root: Path) -> None:
    (root / "models/segments").mkdir()
    (root / "models/segments/mine.yml").write_text("# notes\n")
    code, _, err = cdp("new", "segment", "mine")
    assert code == 2
    assert "models/segments/mine.yml is there already" in err
    assert (root / "models/segments/mine.yml").read_text() == "# notes\n"


def test_several_to_choose_from_are_listed(cdp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = minimal(tmp_path, **{"models/more.yml": SEGMENT.replace("adults", "elders")})
    monkeypatch.chdir(root)
    code, _, err = cdp("new", "sync", "x")
    assert code == 2
    assert "say which segment: --segment NAME\n  fix: one of: adults, elders" in err


def test_what_the_project_cannot_hold_is_taken_away_again(cdp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entity whose only column is always there: the condition would always hold, so the file is refused by the loader."""
    bare = CONSENTS.partition("columns:")[0].replace("name: consent", "name: bare").replace("time: effective_at\n", "")
    overlays = {
        "models/bare.yml": bare + "columns:\n  consent_id: {type: string, class: identifier.internal}\n",
        "models/patient.yml": PATIENT,
    }
    root = minimal(tmp_path, **overlays)
    monkeypatch.chdir(root)
    code, out, err = cdp("new", "segment", "every_bare", "--entity", "bare")
    assert (code == 0) == (root / "models/segments/every_bare.yml").exists(), out + err
    assert cdp("validate")[0] == 0


def test_a_starter_asks_governance_for_its_key(root: Path) -> None:
    project = load(root)
    text = starters.sync(project, "x", segment="adults", destination="mail", purpose="care_coordination")
    assert "mask: pseudonym" in text
    assert Governor.of(project).tree.is_key("identifier.pseudonym")
