"""Findings for machines: GitHub's annotations cannot be broken out of, SARIF is SARIF, and both land on the right line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp import __version__
from cdp.cli import formats
from cdp.cli.app import main
from cdp.cli.formats import Note, base, github, sarif
from cdp.errors import Problem
from tests.projects import DESTINATION, SEGMENT, WITH_ACCOUNT, minimal
from tests.repositories import commit

Run = Callable[..., tuple[int, str, str]]
COMMAND = re.compile(r"::(error|warning) ((?:\w+=[^,:\r\n]*)(?:,\w+=[^,:\r\n]*)*)::([^\r\n]*)")


@pytest.fixture
def cdp(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return (code, *capsys.readouterr())

    return run


def read_command(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as GitHub's runner reads it: escapes of properties and data undone, `%25` last."""
    found = COMMAND.fullmatch(line)
    assert found, line
    level, listed, data = found.groups()
    properties = dict(pair.split("=", 1) for pair in listed.split(","))
    return level, {name: _undone(value, True) for name, value in properties.items()}, _undone(data, False)


def _undone(text: str, property_: bool) -> str:
    for code, char in (("%0D", "\r"), ("%0A", "\n"), *((("%3A", ":"), ("%2C", ",")) if property_ else ())):
        text = text.replace(code, char)
    return text.replace("%25", "%")


# -- GitHub ---------------------------------------------------------------------------------------------------------------


def test_an_annotation() -> None:
    note = Note("error", "value", "first\nsecond: 20%, more", "models/a,b:c.yml", 3, 7)
    assert github([note], "clinic/") == (
        "::error file=clinic/models/a%2Cb%3Ac.yml,line=3,col=7,title=cdp%3A value::first%0Asecond: 20%25, more"
    )


def test_a_finding_of_a_whole_file_has_no_line() -> None:
    assert github([Note("warning", "problem", "x", "conf/cdp.yml")], "") == "::warning file=conf/cdp.yml,title=cdp%3A problem::x"


@given(st.text().filter(lambda text: "%" not in text), st.text(min_size=1).filter(lambda text: "%" not in text and "=" not in text))
def test_no_text_breaks_out_of_its_annotation(message: str, file: str) -> None:
    line = github([Note("error", "problem", message, file, 1, 1)], "")
    assert "\n" not in line
    assert "\r" not in line
    assert line.startswith("::error file=")
    if not re.search(r"[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", message + file):
        level, properties, data = read_command(line)
        assert (level, properties["file"], data) == ("error", file, message)


# -- SARIF ----------------------------------------------------------------------------------------------------------------

NOTES = [
    Note("error", "problem", "broken", "models/a b#c.yml", 2, 5),
    Note("warning", "warning", "odd", "conf/cdp.yml"),
    Note("error", "value", "refused", "syncs/é.yml", 9, 1),
    Note("error", "problem", "broken too", "models/x.yml", 1, 1),
]


def check_sarif(log: dict[str, Any]) -> list[dict[str, Any]]:
    """What SARIF 2.1.0 asks of the parts that are used here (sections 3.13, 3.14, 3.18, 3.19, 3.27 to 3.30)."""
    assert log.keys() == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    assert log["$schema"].startswith("https://")
    (run,) = log["runs"]
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    driver = run["tool"]["driver"]
    assert driver["name"]
    rules = driver["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert all(rule.keys() == {"id", "shortDescription"} and rule["shortDescription"]["text"] for rule in rules)
    for result in run["results"]:
        assert result.keys() == {"ruleId", "ruleIndex", "level", "message", "locations"}
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert re.fullmatch(r"[A-Za-z0-9%._~/-]+", physical["artifactLocation"]["uri"])
        assert not physical["artifactLocation"]["uri"].startswith("/")
        region = physical.get("region", {"startLine": 1, "startColumn": 1})
        assert region.keys() == {"startLine", "startColumn"}
        assert all(isinstance(number, int) and number >= 1 for number in region.values())
    return list(run["results"])


def test_a_log_is_sarif_and_says_where() -> None:
    results = check_sarif(sarif(NOTES, "clinic/"))
    places = [result["locations"][0]["physicalLocation"] for result in results]
    assert [unquote(place["artifactLocation"]["uri"]) for place in places] == [f"clinic/{note.file}" for note in NOTES]
    assert [place.get("region", {}).get("startLine", 0) for place in places] == [note.line for note in NOTES]
    assert [(result["ruleId"], result["level"], result["message"]["text"]) for result in results] == [
        (note.rule, note.level, note.message) for note in NOTES
    ]


def test_a_log_without_findings_is_one_too() -> None:
    log = sarif([], "")
    assert check_sarif(log) == []
    assert log["runs"][0]["tool"]["driver"]["version"] == __version__


def test_every_reason_to_refuse_is_described() -> None:
    source = "".join(path.read_text() for path in (Path(formats.__file__).parents[1] / "governance").glob("*.py"))
    rules = set(re.findall(r'Refusal\(\s*"(\w+)"', source))
    assert len(rules) > 10
    assert rules <= formats._RULES.keys()


# -- places ---------------------------------------------------------------------------------------------------------------


def test_paths_begin_at_the_top_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert base(tmp_path / "clinic", "clinic/") == "clinic/"
    assert base(tmp_path, "") == ""
    assert base(tmp_path / "a" / "b", None) == "a/b/"
    assert base(tmp_path, None) == ""


def test_a_problem_is_said_without_its_place() -> None:
    problem = Problem("models/a.yml", 3, 4, "wrong", "where.age", ("b",), "mend it")
    note = formats.of_problem(problem)
    assert (note.level, note.rule, note.file, note.line, note.col) == ("error", "problem", "models/a.yml", 3, 4)
    assert note.message == "where.age: wrong; valid: b; mend it"
    whole = formats.of_problem(Problem("models/a.yml", 0, 0, "wrong", warning=True))
    assert (whole.level, whole.rule, whole.message) == ("warning", "warning", "wrong")


# -- the command ----------------------------------------------------------------------------------------------------------

UNUSED = "kind: trait\nname: never_used\nentity: patient\ncount: consents\n"


def test_problems_as_annotations_of_their_lines(cdp: Run, tmp_path: Path) -> None:
    root = minimal(tmp_path, **{"models/adults.yml": SEGMENT + "colour: red\n"})
    commit(tmp_path)
    code, out, _ = cdp("validate", "--project", str(root), "--format", "github")
    first, summary = out.splitlines()
    level, properties, message = read_command(first)
    assert (code, level) == (1, "error")
    assert (properties["file"], properties["line"], properties["col"]) == ("project/models/adults.yml", "8", "1")
    assert message.startswith("colour: unknown key 'colour'")
    assert summary.endswith("1 problem, 0 refused syncs")


def test_refusals_stand_beside_their_sync_and_warnings_fail_nothing(cdp: Run, tmp_path: Path) -> None:
    root = minimal(tmp_path, **{"destinations/mail.yml": DESTINATION.replace("baa: mailer\n", ""), "models/more.yml": UNUSED})
    code, out, _ = cdp("validate", "--project", str(root), "--format", "sarif")
    results = check_sarif(json.loads(out))
    assert code == 1
    assert {(each["level"], each["ruleId"]) for each in results} >= {("warning", "warning"), ("error", "agreement")}
    refusal = next(each for each in results if each["ruleId"] == "agreement")
    place = refusal["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("syncs/adults_mail.yml")
    assert place["region"] == {"startLine": 2, "startColumn": 7}
    minimal(tmp_path, **WITH_ACCOUNT, **{"models/more.yml": UNUSED})
    code, out, _ = cdp("validate", "--project", str(root), "--json")
    found = json.loads(out)
    assert (code, found["problems"], found["refusals"]) == (0, [], [])
    assert [warning["severity"] for warning in found["warnings"]] == ["warning"]
    code, out, _ = cdp("validate", "--project", str(root))
    assert code == 0
    assert "models/more.yml:1:1: warning: " in out
    assert out.endswith("1 segment, 1 trait and 1 sync checked: all well, 1 warning\n")


def test_json_is_what_json_always_was(cdp: Run, tmp_path: Path) -> None:
    root = str(minimal(tmp_path))
    assert cdp("validate", "--project", root, "--format", "json") == cdp("validate", "--project", root, "--json")
    assert cdp("validate", "--project", root, "--format", "xml")[0] == 2
