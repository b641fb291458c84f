"""The command line: exit codes, options in both places, JSON and nothing else, errors without a traceback or a value."""

from __future__ import annotations

import errno
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from cdp.cli import boundary, synced
from cdp.cli.app import COMMANDS, main
from cdp.cli.channel import placed, sandboxes, target
from cdp.cli.deliver import How
from cdp.cli.example import FOLDERS, example_root
from cdp.cli.outcome import COUNTS, Outcome
from cdp.cli.output import WIDTH, Output, local
from cdp.cli.results import show_runs
from cdp.compile.clock import Clock
from cdp.errors import DataError, StaleError, UsageError
from cdp.governance.decide import govern
from cdp.project.load import load
from cdp.spec.activation import DestinationOverride, Environment
from tests.projects import CONF, DESTINATION, SEGMENT, SYNC, WITH_ACCOUNT, minimal

MARKER = "Zq7-patient-value"


@pytest.fixture
def cdp(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = minimal(tmp_path, **WITH_ACCOUNT)
    monkeypatch.chdir(root)
    return root


# -- the program -----------------------------------------------------------------------------------------------------------


def spawn(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cdp", *words], check=False, capture_output=True, text=True, timeout=60, **options)


def test_without_a_command_it_shows_help_and_says_that_one_is_needed(cdp) -> None:
    code, out, _ = cdp()
    assert code == 2
    assert "Commands:" in out


def test_a_word_with_verbs_of_its_own_shows_them_and_says_that_one_is_needed(cdp) -> None:
    code, out, _ = cdp("governance")
    assert code == 2
    assert "report" in out


def test_the_shared_options_may_stand_before_a_verb_of_a_verb(cdp, project: Path) -> None:
    assert (
        cdp("governance", "--json", "review")[:2] == cdp("--json", "governance", "review")[:2] == cdp("governance", "review", "--json")[:2]
    )


@pytest.mark.parametrize("words", [("--help",), ("governance", "--help")])
def test_a_list_of_commands_cuts_no_sentence(cdp, words: tuple[str, ...]) -> None:
    """`Show why a person is in a segment or not, condition by...`"""
    listed = cdp(*words)[1].partition("Commands:")[2].partition("Examples:")[0]
    assert listed
    assert "..." not in listed


def test_the_version_is_the_package_s(cdp) -> None:
    from cdp import __version__

    assert cdp("--version") == (0, f"cdp {__version__}\n", "")


@pytest.mark.parametrize("words", [words for command in COMMANDS for words in command.words], ids=" ".join)
def test_every_command_has_help_with_examples_and_the_shared_options(cdp, words: tuple[str, ...]) -> None:
    code, out, _ = cdp(*words, "--help")
    assert code == 0
    assert "Examples:\n    cdp" in out
    assert "--json" in out
    assert "--as-of" in out


def test_help_imports_nothing_heavy() -> None:
    heavy = "duckdb httpx pyarrow pydantic pyspark pysail rich sqlglot tenacity yaml"
    code = "import sys; from cdp.cli.app import main; main(['--help']); print([m for m in sys.argv[1].split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, heavy], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_validate_imports_neither_engine_nor_what_compares_revisions(tmp_path: Path) -> None:
    root = minimal(tmp_path, **WITH_ACCOUNT)
    code = "import sys; from cdp.cli.app import main; main(['validate', '--project', sys.argv[1]]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    said, modules = done.stdout.splitlines()
    assert "all well" in said
    lazy = ("cdp.analyst", "cdp.sync", "cdp.engine", "cdp.catalog", "cdp.governance.access.loose", "pyarrow", "duckdb", "httpx")
    assert [module for module in modules.split() if module.startswith(lazy)] == []


def test_help_costs_less_than_300_ms_of_processor_time() -> None:
    def cost() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert spawn("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cost() for _ in range(5)) < 0.3


def test_a_reader_that_leaves_is_no_error_to_talk_about() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        words = [sys.executable, "-m", "cdp", "--help"]
        done = subprocess.run(words, check=False, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")


# -- options ---------------------------------------------------------------------------------------------------------------


def test_ctrl_c_while_the_program_is_read_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    found = spawn("--help", env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{example_root()}"})
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "cdp: interrupted\n")


@pytest.mark.parametrize("words", [("--version",), ("schema",), ("schema", "--json"), ("nope", "--json")])
def test_a_full_disk_behind_standard_output_is_said_without_a_traceback(words: tuple[str, ...]) -> None:
    """With --json the error went where the output could not go, as a traceback."""
    with open("/dev/full", "w") as full:
        found = subprocess.run([sys.executable, "-m", "cdp", *words], check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert "Traceback" not in found.stderr
    assert "internal error" not in found.stderr
    assert found.returncode in (1, 2)
    assert "nope" in words or "No space left on device" in found.stderr


def test_a_standard_output_that_was_closed_is_no_fault() -> None:
    found = subprocess.run(f"{sys.executable} -m cdp schema >&-", shell=True, check=False, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


def test_an_old_code_page_stops_nothing() -> None:
    """A mark that ASCII lacks ended a command that had done its work; JSON says the same value, escaped."""
    code = "from cdp.cli import boundary; from cdp.cli.output import Output; boundary.run(lambda: Output().{}('✓ ö'), [])"
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shown = [
        subprocess.run([sys.executable, "-c", code.format(kind)], check=True, capture_output=True, env=ascii_only)
        for kind in ("text", "json")
    ]
    assert [each.stdout for each in shown] == [b"\\u2713 \\xf6\n", b'"\\u2713 \\u00f6"\n']
    assert [each.stderr for each in shown] == [b"", b""]


def test_the_shared_options_stand_before_or_after_the_command(cdp, tmp_path: Path) -> None:
    root = str(minimal(tmp_path))
    before = cdp("--project", root, "--json", "validate")
    assert before[0] == 0
    assert cdp("validate", "--project", root, "--json") == before
    assert cdp("--json", "validate", "--project", root) == before


def test_what_stands_after_the_command_wins(cdp, project: Path) -> None:
    code, out, _ = cdp("--as-of", "nonsense", "compile", "adults", "--as-of", "2026-07-01", "--json")
    assert code == 0
    assert "2008-07-01" in json.loads(out)["sql"]


@pytest.mark.parametrize(
    "words",
    [
        ("--bogus",),
        ("validat",),
        ("compile",),
        ("compile", "adults", "--dialect", "oracle"),
        ("plan",),
        ("plan", "adults_mail", "--all"),
        ("plan", "adults_mail", "--as-of", "2026-13-45"),
        ("plan", "adults_mail", "--env", "nowhere"),
        ("sync",),
        ("sync", "--all", "--as-of", "soon"),
        ("compile", "adults", "--env", "nowhere"),
        ("lineage", "adults", "--as-of", "soon"),
        ("runs", "--since", "soon"),
        ("runs", "--status", "soon"),
    ],
)
def test_a_wrong_call_exits_2_and_says_what_to_do(cdp, project: Path, words: tuple[str, ...]) -> None:
    code, out, err = cdp(*words)
    assert code == 2
    assert not out
    assert err.startswith("cdp: ")
    assert "\n  fix: " in err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("governance",),
        ("validate", "--format", "github"),
        ("validate", "--format", "text"),
        ("disclosures", "--key", "a", "--csv"),
        ("diff", "HEAD", "--markdown"),
        ("lineage", "adults", "--mermaid"),
    ],
)
def test_with_json_nothing_else_is_printed(cdp, project: Path, words: tuple[str, ...]) -> None:
    """Help, annotations and CSV are no JSON; one of two formats that are asked for cannot simply win."""
    code, out, err = cdp(*words, "--json")
    assert (code, json.loads(out)["error"]["kind"], err) == (2, "UsageError", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("runs", "--since", "soon"),
            "Invalid value for '--since': 'soon' does not match the formats 'YYYY-MM-DD', 'YYYY-MM-DDTHH:MM'.",
        ),
        (("new", "trait"), "Invalid value for 'kind': 'trait' is not one of 'segment', 'sync', 'destination'."),
        (("new",), "Missing argument 'kind'. Choose from: segment, sync, destination"),
    ],
)
def test_a_wrong_value_is_said_in_one_line_of_plain_words(cdp, words: tuple[str, ...], said: str) -> None:
    assert cdp(*words)[2].splitlines()[0] == f"cdp: {said}"


def test_a_wrong_call_with_json_is_json(cdp, project: Path) -> None:
    code, out, err = cdp("compile", "--json", "adults", "--bogus")
    error = json.loads(out)["error"]
    assert (code, err) == (2, "")
    assert error == {
        "kind": "UsageError",
        "message": error["message"],
        "fix": "see `cdp compile --help`",
        "problems": [],
        "refusals": [],
    }
    assert "--bogus" in error["message"]


def test_outside_of_a_project_it_says_how_to_make_one(cdp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = cdp("validate")
    assert code == 2
    assert "cdp init" in err


def test_a_project_is_found_from_a_folder_inside_it(cdp, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "governance" / "baa")
    assert cdp("validate")[0] == 0


def test_an_unknown_environment_is_refused_even_where_no_data_is_touched(cdp, project: Path) -> None:
    code, _, err = cdp("--env", "prod", "validate")
    assert code == 2
    assert "dev" in err


# -- validate --------------------------------------------------------------------------------------------------------------


def test_a_project_in_order(cdp, project: Path) -> None:
    code, out, err = cdp("validate", "--json")
    nothing: dict[str, list[object]] = {"problems": [], "warnings": [], "refusals": [], "loosened": []}
    assert json.loads(out) == {"segments": 1, "traits": 0, "syncs": 1, **nothing}
    assert (code, err) == (0, "")
    assert cdp("validate") == (0, "1 segment, 0 traits and 1 sync checked: all well\n", "")


def test_every_problem_of_every_file_is_reported_at_once(cdp, tmp_path: Path) -> None:
    wrong = {"models/adults.yml": SEGMENT + "colour: red\n", "destinations/mail.yml": DESTINATION.replace("mailer", "nobody")}
    root = minimal(tmp_path, **wrong)
    code, out, _ = cdp("validate", "--project", str(root), "--json")
    found = json.loads(out)
    assert code == 1
    assert {problem["file"] for problem in found["problems"]} == {"models/adults.yml", "destinations/mail.yml"}
    assert all(problem["line"] > 0 and problem["message"] for problem in found["problems"])
    code, out, _ = cdp("validate", "--project", str(root))
    assert code == 1
    assert "models/adults.yml:" in out
    assert "destinations/mail.yml:" in out


def test_problems_stop_other_commands_with_all_of_them(cdp, tmp_path: Path) -> None:
    root = minimal(tmp_path, **{"models/adults.yml": SEGMENT + "colour: red\n"})
    code, out, _ = cdp("compile", "adults", "--project", str(root), "--json")
    error = json.loads(out)["error"]
    assert code == 1
    assert error["kind"] == "ProjectError"
    assert [problem["file"] for problem in error["problems"]] == ["models/adults.yml"]


def refused(tmp_path: Path) -> Path:
    """A project whose only sync goes to a destination without an agreement."""
    return minimal(tmp_path, **{"destinations/mail.yml": DESTINATION.replace("baa: mailer\n", "")})


def test_refusals_are_listed_with_their_sync(cdp, tmp_path: Path) -> None:
    root = str(refused(tmp_path))
    code, out, _ = cdp("validate", "--project", root, "--json")
    found = json.loads(out)
    assert (code, found["problems"]) == (1, [])
    assert {entry["sync"] for entry in found["refusals"]} == {"adults_mail"}
    assert "agreement" in {entry["rule"] for entry in found["refusals"]}
    code, out, _ = cdp("validate", "--project", root)
    assert code == 1
    assert "sync adults_mail is refused:\n  [" in out


def test_names_narrow_what_is_checked(cdp, tmp_path: Path) -> None:
    root = str(refused(tmp_path))
    assert cdp("validate", "adults", "--project", root)[0] == 0
    code, _, err = cdp("validate", "adultz", "--project", root)
    assert code == 2
    assert "did you mean adults?" in err


# -- compile ---------------------------------------------------------------------------------------------------------------


def test_the_sql_of_a_segment_is_printed_and_nothing_else(cdp, project: Path) -> None:
    code, out, err = cdp("compile", "adults", "--as-of", "2026-07-01")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "SELECT"
    assert "clinical.patients" in out


def test_compile_as_json_has_the_fingerprint_that_declassification_names(cdp, project: Path) -> None:
    facts = json.loads(cdp("compile", "adults", "--json")[1])
    assert list(facts) == ["name", "kind", "sql", "model_sha256", "exceptions"]
    assert (facts["name"], facts["kind"], len(facts["model_sha256"])) == ("adults", "segment", 64)
    again = json.loads(cdp("compile", "adults", "--json", "--as-of", "2020-01-01")[1])
    assert again["sql"] != facts["sql"]
    assert again["model_sha256"] == facts["model_sha256"]


def test_a_sync_is_printed_as_it_will_run_or_with_a_note(cdp, project: Path, tmp_path: Path) -> None:
    code, out, err = cdp("compile", "adults_mail")
    assert (code, err) == (0, "")
    assert "THEN 'no_consent'" in out
    code, out, err = cdp("compile", "adults_mail", "--project", str(refused(tmp_path)))
    assert code == 0
    assert "no_consent" not in out
    assert "adults_mail is refused and will not run" in err


def test_a_name_of_two_kinds_needs_to_say_which(cdp, tmp_path: Path) -> None:
    root = str(minimal(tmp_path, **{"syncs/adults_mail.yml": SYNC.replace("adults_mail", "adults")}))
    code, _, err = cdp("compile", "adults", "--project", root)
    assert code == 2
    assert "--kind segment or --kind sync" in err
    for kind in ("segment", "sync"):
        code, out, _ = cdp("compile", "adults", "--kind", kind, "--project", root, "--json")
        assert (code, json.loads(out)["kind"]) == (0, kind)


# -- plan: what governance refuses never reaches an engine -----------------------------------------------------------------


def test_a_refused_sync_has_no_plan_and_every_reason(cdp, tmp_path: Path) -> None:
    root = refused(tmp_path)
    code, out, err = cdp("plan", "adults_mail", "--project", str(root), "--json")
    found = json.loads(out)
    assert (code, err) == (1, "")
    assert {key: found[key] for key in ("plan", "sync", "counts", "excluded")} == {
        "plan": None,
        "sync": "adults_mail",
        "counts": None,
        "excluded": [],
    }
    assert "agreement" in {refusal["rule"] for refusal in found["refusals"]}
    assert not (root / "lake").exists()
    code, _, err = cdp("plan", "adults_mail", "--project", str(root))
    assert code == 1
    assert "[agreement]" in err


def test_a_refused_sync_is_an_entry_of_the_list_that_sync_prints(cdp, tmp_path: Path) -> None:
    code, out, _ = cdp("sync", "--all", "--project", str(refused(tmp_path)), "--json", "--quiet")
    [run] = json.loads(out)
    assert code == 1
    assert (run["run"], run["plan"], run["sync"], run["status"]) == (None, None, "adults_mail", "refused")
    assert run["error"]["refusals"]


def test_several_plans_are_a_list_one_is_an_object(cdp, tmp_path: Path) -> None:
    root = str(refused(tmp_path))
    assert isinstance(json.loads(cdp("plan", "adults_mail", "--project", root, "--json")[1]), dict)
    assert isinstance(json.loads(cdp("plan", "--all", "--project", root, "--json")[1]), list)


@pytest.mark.parametrize(
    ("facts", "undone"),
    [
        ({"retryable": 0, "unknown": 0, "status": "succeeded"}, False),
        ({"retryable": 0, "unknown": 0, "status": "nothing"}, False),
        ({"retryable": 0, "unknown": 0, "status": "partial"}, False),  # the rest was rejected by the channel
        ({"retryable": 3, "unknown": 0, "status": "partial"}, True),
        ({"retryable": 0, "unknown": 0, "status": "failed"}, True),
        ({"retryable": 0, "unknown": 0, "status": "stopped"}, True),
        ({"retryable": 0, "unknown": 1, "status": "partial"}, True),
    ],
)
def test_a_run_fails_when_it_leaves_something_to_do(facts: dict[str, Any], undone: bool) -> None:
    assert Outcome(facts).undone is undone
    assert Outcome(facts, boundary.fault(DataError("x"))).undone


# -- the error boundary ----------------------------------------------------------------------------------------------------


def failing(error: BaseException) -> Callable[[], int]:
    def program() -> int:
        secret = MARKER
        raise error if secret else AssertionError

    return program


RUN: dict[str, Any] = {"withheld_rows": [], "put_off": {}, "run": None, **dict.fromkeys(COUNTS, 0)}


def test_one_fault_of_several_syncs_is_said_once_and_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    fault = boundary.fault(DataError("the table is gone", fix="bring it back"))
    with pytest.raises(typer.Exit):
        show_runs(Output(), [Outcome({**RUN, "sync": name, "status": "failed"}, fault) for name in ("one", "two")])
    assert capsys.readouterr().err == "cdp: one, two: the table is gone\n  fix: bring it back\n"


def test_rows_that_did_not_get_through_lead_to_the_answers(capsys: pytest.CaptureFixture[str]) -> None:
    facts = RUN | {"sync": "one", "status": "partial", "delivered": 5, "rejected": 2, "run": "R1"}
    show_runs(Output(), [Outcome(facts)])
    assert capsys.readouterr().err == "one: 2 rejected by the channel; what it answered: cdp runs R1\n"


def test_a_note_about_many_syncs_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Thirty syncs left sixty lines behind the one that sums them up."""
    hidden = [{"class": "sensitive.sud", "table": "t", "rows": 4}]
    same = {**dict.fromkeys(COUNTS, 0), "status": "nothing", "plan": None, "put_off": {}, "withheld_rows": hidden}
    outcomes = [Outcome({**same, "sync": f"s{n}", "run": f"r{n}", "unchanged_since": f"q{n}"}) for n in range(5)]
    show_runs(Output(), outcomes)
    assert capsys.readouterr().err.splitlines() == [
        "s0, s1, s2 and 2 more: rows that the receiver may not know of were not read: 4 of sensitive.sud",
        "s0, s1, s2 and 2 more: nothing changed since the last run; plan all the same: --no-skip",
    ]
    show_runs(Output(), outcomes[:1])
    assert "s0: nothing changed since run q0; plan all the same: --no-skip" in capsys.readouterr().err


def test_a_local_time_says_that_it_is_none_of_utc() -> None:
    assert local("2026-11-23T02:04:05.123456-05:00") == "2026-11-23 02:04 -05:00"
    assert local("2026-11-23T02:04:05") == "2026-11-23 02:04"


def test_a_stale_plan_is_made_anew_once_and_its_guards_are_not_accepted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[How] = []

    def stale(session: object, name: str, how: How) -> tuple[None, Outcome]:
        tried.append(how)
        return None, Outcome(RUN | {"sync": name, "status": "failed"}, boundary.fault(StaleError("it moved", mends=True)), stale=True)

    monkeypatch.setattr(synced, "_tried", stale)
    project = SimpleNamespace(syncs={"one": SimpleNamespace(stale="replan")})
    outcome = synced._synced(SimpleNamespace(project=project, out=Output()), "one", How(accept=("max_add",)))
    assert ([(how.skip, how.accept) for how in tried], outcome.stale) == ([(True, ("max_add",)), (False, ())], True)


def test_what_is_put_off_is_said_of_a_run_that_sent_nothing_too(capsys: pytest.CaptureFixture[str]) -> None:
    show_runs(Output(), [Outcome(RUN | {"sync": "one", "status": "nothing", "put_off": {"waiting": 1200, "carried_over": 3}})])
    said = "one: not sent now: 1,200 rejected before, and tried again later; 3 beyond the destination's cap of the day\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("argv", [[], ["-v"], ["--json"], ["--json", "-v"]])
def test_an_error_of_ours_without_its_text(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert boundary.run(failing(KeyError(MARKER)), argv) == 1
    out, err = capsys.readouterr()
    assert MARKER not in out + err
    assert "internal error: KeyError in " in (json.loads(out)["error"]["message"] if "--json" in argv else err)
    assert (f"{Path(__file__).name}:" in err) == ("-v" in argv)


def test_a_file_that_cannot_be_written_is_named(cdp, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = cdp("init", str(tmp_path / "file" / "clinic"), "--no-data")
    assert code == 1
    assert str(tmp_path / "file") in err
    assert "Not a directory" in err
    assert "internal error" not in err


def test_a_chained_error_says_nothing_of_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    error = DataError("table x is gone", fix="load it")
    error.__cause__ = ValueError(MARKER)
    assert boundary.run(failing(error), []) == 1
    assert capsys.readouterr() == ("", "cdp: table x is gone\n  fix: load it\n")


@pytest.mark.parametrize(("error", "code"), [(UsageError("no"), 2), (DataError("no"), 1), (KeyboardInterrupt(), 1)])
def test_exit_codes(error: BaseException, code: int) -> None:
    assert boundary.run(failing(error), []) == code


# -- output ----------------------------------------------------------------------------------------------------------------


def test_a_table_fits_100_columns_and_breaks_no_short_name(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("run", "count", "text"), [("20261122003340_6e7158", 1234567, "word " * 60), ("b", 2, "[red]not markup[/red]")])
    out, _ = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= WIDTH
    assert "20261122003340_6e7158  1,234,567  word" in out
    assert "[red]not markup[/red]" in out
    assert "\x1b" not in out


def test_many_columns_share_the_width_rather_than_starve_one(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"a_name_of_twenty_{n:03}" for n in range(6)]
    Output().table(names, [[*names[:5], "external_id, email, first_name, language"]])
    out, _ = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= WIDTH
    assert len(out.splitlines()) <= 8


def test_a_terminal_too_narrow_cuts_no_name(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    Output().table(("run", "sync", "status"), [["20261122014302_5fe23a", "a1c_reminder_email", "succeeded"]])
    assert "20261122014302_5fe23a  a1c_reminder_email  succeeded" in capsys.readouterr().out


def test_lines_of_a_table_end_where_their_text_ends(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("name", "what"), [["a", "x"], ["b", "long"]])
    assert capsys.readouterr().out == "name  what\na     x\nb     long\n"


def test_a_table_without_rows_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("run",), [], empty="no runs yet")
    assert capsys.readouterr().out == "no runs yet\n"


def test_notes_go_to_standard_error_unless_quiet_and_progress_only_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Output().progress("working") as say:
        say("still working")
    Output(quiet=True).note("unheard")
    Output().note("heard")
    assert capsys.readouterr() == ("", "heard\n")


# -- destinations ----------------------------------------------------------------------------------------------------------


def test_an_environment_changes_where_a_destination_is(tmp_path: Path) -> None:
    mail = load(minimal(tmp_path)).destinations["mail"]
    elsewhere = Environment(lakehouse="lake", destinations={"mail": DestinationOverride(base_url="http://127.0.0.1:1/x")})
    assert placed(mail, Environment(lakehouse="lake")) == mail
    assert placed(mail, elsewhere).base_url == "http://127.0.0.1:1/x"
    assert placed(mail, elsewhere).http == mail.http


@pytest.mark.parametrize("sandbox", [True, False])
def test_a_run_may_touch_what_the_agreement_names_and_loopback_only_in_a_sandbox(tmp_path: Path, sandbox: bool) -> None:
    project = load(minimal(tmp_path))
    now = Clock.now(project.timezone)
    query = govern(project, "adults_mail", clock=now, now=now)
    egress = target(query, Environment(lakehouse="lake", sandbox=sandbox), project.root).egress
    assert egress.hosts == {"api.mail.example"}
    assert egress.paths == ("/v1/",)
    assert egress.folders == ()
    assert egress.plaintext_loopback is sandbox


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_sandbox_environment_serves_its_loopback_channels_for_the_run(tmp_path: Path, free_port: int, capsys) -> None:
    conf = CONF.replace("sandbox: true", f"sandbox: true, destinations: {{mail: {{base_url: 'http://127.0.0.1:{free_port}/mail'}}}}")
    project = load(minimal(tmp_path, **{"conf/cdp.yml": conf}))
    destinations, environment = project.destinations.values(), project.environment()
    with sandboxes(destinations, environment, project.root, Output()):
        assert listens(free_port)
        with sandboxes(destinations, environment, project.root, Output()):  # somebody serves: nothing is started
            assert listens(free_port)
        assert listens(free_port)
    assert not listens(free_port)
    assert capsys.readouterr().err.count("nothing listens") == 1
    with sandboxes(destinations, environment.model_copy(update={"sandbox": False}), project.root, Output()):
        assert not listens(free_port)


# -- init ------------------------------------------------------------------------------------------------------------------


def test_a_new_project_is_the_example_and_in_order(cdp, tmp_path: Path) -> None:
    made = tmp_path / "mine"
    assert cdp("init", str(made), "--no-data")[0] == 0
    for folder in FOLDERS:
        files = [path.relative_to(example_root()) for path in (example_root() / folder).rglob("*.*") if path.is_file()]
        assert files
        assert all((made / path).read_bytes() == (example_root() / path).read_bytes() for path in files if not path.name.startswith("."))
    assert "/lake/" in (made / ".gitignore").read_text().splitlines()
    code, out, _ = cdp("validate", "--project", str(made), "--json")
    assert code == 0, out


def test_a_folder_that_holds_something_is_left_alone(cdp, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    code, _, err = cdp("init", str(tmp_path))
    assert code == 2
    assert "not empty" in err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_left_alone(cdp, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert cdp("init", str(tmp_path / "file"))[0] == 2


def test_sample_takes_one_way_of_making_people(cdp, tmp_path: Path) -> None:
    assert cdp("sample", "--patients", "5", "--changes", "--out", str(tmp_path / "lake"))[0] == 2
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("words", [("docs", "--out", "/dev/full"), ("governance", "report", "--no-numbers", "--out", "/dev/full")])
def test_a_full_disk_is_no_wrong_call(cdp, project: Path, words: tuple[str, ...]) -> None:
    """It said that another file should be named, and 2, which a schedule takes for a command that can never work."""
    code, _, err = cdp(*words)
    assert code == 1
    assert err.splitlines()[-2:] == ["cdp: /dev/full: No space left on device", "  fix: free the disk, then run again"]


def test_a_new_project_on_a_full_disk_names_the_file(cdp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str, **_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

    monkeypatch.setattr("shutil.copy2", full)
    code, _, err = cdp("init", str(tmp_path / "new"), "--no-data")
    assert code == 1
    assert err.startswith(f"cdp: {tmp_path / 'new'}")
    assert "No space left on device\n  fix: free the disk" in err
