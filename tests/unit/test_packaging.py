"""What is shipped: dependencies that are declared, a lock file that holds, a wheel that carries the example."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {
    "yaml": "pyyaml",
    "databricks": "databricks-sdk",
    "delta": "delta-spark",
    "great_expectations": "great-expectations",
    "pydantic_core": "pydantic",
}  # import names that are not the distribution's
EXAMPLE = ("conf", "models", "syncs", "destinations", "governance", "notebooks", ".github")


def distribution(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9_.-]+", requirement)[0].lower()


CORE = {distribution(r) for r in PROJECT["dependencies"]}
EXTRA = {distribution(r) for extra in PROJECT["optional-dependencies"].values() for r in extra}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


def test_every_third_party_import_is_a_declared_dependency_and_every_core_dependency_is_used() -> None:
    found = set().union(*(imported(path) for path in (ROOT / "cdp").rglob("*.py"))) - set(sys.stdlib_module_names) - {"cdp"}
    used = {MODULES.get(name, name) for name in found}
    assert used <= CORE | EXTRA
    assert CORE - used <= {"tzdata", "sniffio"}  # data, not code; what httpcore looks for


def test_every_third_party_import_of_the_tests_is_in_the_lock_file() -> None:
    found = set().union(*(imported(path) for path in (ROOT / "tests").rglob("*.py"))) - set(sys.stdlib_module_names) - {"cdp", "tests"}
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert {MODULES.get(name, name) for name in found} <= CORE | EXTRA | {distribution(r) for r in groups["dev"]}


def test_what_keeps_rows_of_a_failed_check_is_imported_in_one_place_and_asked_for_a_boolean_only() -> None:
    """attack 19: results of Great Expectations hold sample rows; tests/conformance/quality.py shows that none comes out."""
    assert [path.name for path in (ROOT / "cdp").rglob("*.py") if "great_expectations" in imported(path)] == ["quality.py"]
    asked = re.findall(r'"result_format": "(\w+)"', (ROOT / "cdp" / "quality.py").read_text())
    assert asked == ["BOOLEAN_ONLY"]


def test_engines_are_imported_by_their_own_module_only_so_that_the_core_installs_without_one() -> None:
    engines = {"pyspark", "pysail", "delta"}
    allowed = {"cdp/engine"}
    for path in (ROOT / "cdp").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                module = (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
                inside = str(path.relative_to(ROOT).parent)
                assert module.split(".")[0] not in engines or inside in allowed, path


def test_the_lock_file_pins_and_hashes_everything_and_names_no_host() -> None:
    text = (ROOT / "requirements.lock").read_text()
    blocks = [block for block in re.split(r"\n(?=\S)", text) if not block.startswith("#")]
    pinned = {distribution(block) for block in blocks}
    unhashed = [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block]
    assert not unhashed
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    extras = PROJECT["optional-dependencies"]
    wanted = {distribution(r) for r in [*PROJECT["dependencies"], *extras["sail"], *extras["spark"], *groups["dev"]]}
    assert wanted <= pinned
    assert not re.search(r"https?://|--index|--find-links", text)


def test_the_connectors_are_found_by_entry_point() -> None:
    ours = {entry.name: entry for entry in entry_points(group="cdp.connectors") if entry.value.startswith("cdp.")}
    assert set(ours) == set(PROJECT["entry-points"]["cdp.connectors"])
    for entry in ours.values():
        assert entry.load().__name__.endswith("Connector")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True, capture_output=True
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_carries_every_file_of_the_example_project(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for folder in EXAMPLE:
        files = [p for p in (ROOT / folder).rglob("*") if p.is_file() and not p.name.startswith(".")]
        assert files, folder
        assert {f"cdp/example/{p.relative_to(ROOT)}" for p in files} <= names


def test_the_wheel_carries_the_sample_data_and_the_licence_and_no_tests(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert any(name.startswith("cdp/sample/data/") and name.endswith(".csv.gz") for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("tests/") or "/__pycache__/" in name]


def test_the_wheel_has_the_version_of_the_package(wheel: zipfile.ZipFile) -> None:
    from cdp import __version__

    assert Path(wheel.filename or "").name.startswith(f"composable_cdp-{__version__}-py3-none-any")


SKIPPING = """
import pytest

def test_skips_itself():
    pytest.skip("no network")

@pytest.mark.skipif(True, reason="too small")
def test_is_skipped(): ...

@pytest.mark.xfail(reason="known")
def test_fails_as_known():
    raise AssertionError
"""


@pytest.mark.parametrize(("forbidden", "code", "summary"), [("", 0, "3 skipped, 1 xfailed"), ("1", 1, "1 failed, 1 xfailed, 2 errors")])
def test_a_skip_is_a_failure_where_ci_forbids_it(tmp_path: Path, forbidden: str, code: int, summary: str) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_some.py").write_text(SKIPPING)
    (tmp_path / "test_all.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    words = [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {**os.environ, "CDP_NO_SKIP": forbidden}
    done = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.splitlines()[-1].split(" in ")[0]) == (code, summary), done.stdout
    for reason in ("no network", "too small", "no_such_module"):
        assert (reason in done.stdout) == bool(forbidden)
