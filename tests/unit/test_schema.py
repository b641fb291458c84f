"""The JSON Schema that editors check and complete YAML with: it takes what the loader takes, and marks what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
import yaml
from jsonschema import Draft7Validator

from cdp.catalog.editor import EXTENSIONS, SCHEMA, SETTINGS, is_wired, text
from cdp.catalog.language import (
    COVERED,
    LOGIC_HELP,
    MODIFIER_HELP,
    OPERATOR_HELP,
    OPERATOR_SHAPES,
    UNITS,
    VERB_HELP,
    WINDOW_HELP,
    WINDOW_SHAPES,
)
from cdp.catalog.names import Known
from cdp.catalog.schema import FILES, project_schema, schema
from cdp.cli.app import main
from cdp.project.files import CONFIG, FOLDERS
from cdp.project.index import RESERVED
from cdp.project.language.operators import OPERATORS
from cdp.project.language.windows import WORDS
from cdp.project.load import load
from cdp.project.terms import Cover, Unit
from cdp.spec import Kind
from cdp.spec.model import VERBS, MeasureSpec
from cdp.testing.language import CASES
from tests.projects import FILES as MINIMAL
from tests.projects import minimal
from tests.reference import write_project

ROOT = Path(__file__).parents[2]
SHARED = ROOT / "../shared/language/project"
WRONG = yaml.safe_load((ROOT / "tests" / "fixtures" / "schema" / "wrong.yml").read_text())
CORE = {  # the types of plain scalars in YAML 1.2, as yaml-language-server reads them: `no` is text, `2026-01-02` is text
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
}


class Editor(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _tag, _pattern in CORE.items():
    Editor.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^({_pattern})$"), None)
Editor.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value, 0) if node.value[:2] in ("0o", "0x") else int(node.value))


def as_editor(text: str) -> list[Any]:
    """The documents as an editor sees them: keys are text."""
    return [_texts(document) for document in yaml.load_all(text, Loader=Editor) if document is not None]


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {"null" if key is None else str(key): _texts(part) for key, part in value.items()}
    return [_texts(part) for part in value] if isinstance(value, list) else value


@cache
def plain() -> Draft7Validator:
    return Draft7Validator(schema())


@cache
def named() -> Draft7Validator:
    return Draft7Validator(project_schema(load(ROOT)))


def mistakes(validator: Draft7Validator, document: Any) -> list[tuple[list[Any], str]]:
    return [(list(error.absolute_path), error.message) for error in validator.iter_errors(document)]


def files(root: Path) -> Iterator[Path]:
    for pattern in FILES if (root / "syncs").is_dir() else ("**/*.yml",):
        yield from sorted(root.glob(pattern))


@pytest.mark.parametrize("path", list(files(ROOT)), ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.parametrize("validator", [plain, named], ids=["plain", "named"])
def test_every_file_of_the_example_is_valid(path: Path, validator: Any) -> None:
    documents = as_editor(path.read_text())
    assert documents
    for document in documents:
        assert mistakes(validator(), document) == [], document.get("name")


def test_every_file_of_the_target_language_is_valid() -> None:
    if not SHARED.is_dir():
        pytest.skip("the target of the language is not beside this checkout")
    documents = [(path, document) for path in files(SHARED) for document in as_editor(path.read_text())]
    assert len(documents) > 60
    for path, document in documents:
        for validator in (plain(), named()):
            found = mistakes(validator, document)
            assert found == [] or found == [([], "'environments' is a required property")], path


def test_every_case_of_the_language_suite_is_valid() -> None:
    head = {"kind": "segment", "name": "x", "entity": "patient", "owner": "a", "purpose": "b"}
    for name, (where, _) in CASES.items():
        [condition] = as_editor(where)
        assert mistakes(plain(), {**head, "where": condition}) == [], name


@pytest.mark.parametrize("content", [c for n, c in MINIMAL.items() if n.endswith(".yml")])
def test_the_smallest_project_is_valid(content: str) -> None:
    for document in as_editor(content):
        assert mistakes(plain(), document) == []


@pytest.mark.parametrize("case", WRONG, ids=[case["why"] for case in WRONG])
@pytest.mark.parametrize("validator", [plain, named], ids=["plain", "named"])
def test_what_is_wrong_is_marked_where_it_stands(case: dict[str, Any], validator: Any) -> None:
    [document] = as_editor(yaml.safe_dump(case["document"], sort_keys=False))
    found = mistakes(validator(), document)
    assert case["at"] in [path for path, _ in found], found
    assert all(path[: len(case["at"])] == case["at"] for path, _ in found), f"marked elsewhere too: {found}"


def test_the_corpus_of_mistakes_is_large_enough() -> None:
    assert len(WRONG) >= 20


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(schema())
    Draft7Validator.check_schema(project_schema(load(ROOT)))
    assert schema() == json.loads(json.dumps(schema()))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (part for key, part in value.items() if key == "$ref")
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


@pytest.mark.parametrize("made", [schema, lambda: project_schema(load(ROOT))], ids=["plain", "named"])
def test_every_reference_leads_somewhere_and_nothing_is_left_over(made: Any) -> None:
    found = made()
    used = {reference.removeprefix("#/definitions/") for reference in references(found)}
    assert used <= set(found["definitions"])
    assert {name for name in found["definitions"] if name not in used and not name.startswith("name.")} == set()


# -- the language cannot drift ----------------------------------------------------------------------------------------


def test_the_words_are_those_of_the_language() -> None:
    assert list(VERB_HELP) == list(VERBS)
    assert set(WINDOW_HELP) == set(WINDOW_SHAPES) == set(WORDS)
    assert set(OPERATOR_HELP) == set(OPERATOR_SHAPES) == {*OPERATORS, "ignore_case"}
    assert set(UNITS) == set(get_args(Unit))
    assert set(COVERED) == set(get_args(Cover))
    spec = {field.alias or name for name, field in MeasureSpec.model_fields.items()}
    assert set(MODIFIER_HELP) == (spec - set(VERBS) - set(WORDS)) | {"is"}
    assert {*LOGIC_HELP, "with"} <= RESERVED


def test_every_kind_has_its_schema() -> None:
    assert set(schema()["properties"]["kind"]["enum"]) == set(Kind.registry)
    for kind, model in Kind.registry.items():
        assert list(schema()["definitions"][kind]["properties"]) == [f.alias or n for n, f in model.model_fields.items()]


def test_every_word_says_what_it_means() -> None:
    for words in (VERB_HELP, LOGIC_HELP, MODIFIER_HELP, WINDOW_HELP, OPERATOR_HELP):
        assert all(text.endswith((".", "`")) and len(text) > 8 for text in words.values())
    assert all(schema()["definitions"][kind]["description"] for kind in Kind.registry)


# -- names ------------------------------------------------------------------------------------------------------------


def test_names_are_completed_and_not_required(tmp_path: Path) -> None:
    found = project_schema(load(write_project(tmp_path)))
    made = found["definitions"]
    assert "diabetes" in made["name.value_set"]["anyOf"][0]["enum"]
    assert "identifier.mrn" in made["name.class"]["anyOf"][0]["enum"]
    assert {"observations", "conditions"} <= set(made["related.patient"]["anyOf"][0]["enum"])
    known = {"birth_date", "age", "latest_a1c", "latest_a1c.value", "statin_cover.share", "weeks_pregnant", "pcp.active", "address.city"}
    assert known <= set(made["tests.patient"]["properties"])
    assert {"code", "encounter.start"} <= set(made["tests.observation"]["properties"])
    assert "latest_a1c" not in made["tests.observation"]["properties"]
    assert {"day", "systolic"} <= set(made["tests.bp_day"]["properties"])
    new = (
        "kind: segment\nname: x\nentity: newcomer\nowner: a\npurpose: of_tomorrow\nwhere: [{has: houses, where: {rooms: 2}}, {segment: y}]"
    )
    [document] = as_editor(new)
    assert mistakes(Draft7Validator(found), document) == []


def test_inside_where_the_names_are_those_of_the_relation() -> None:
    rules = project_schema(load(ROOT))["definitions"]["measure.patient"]["allOf"]
    [rule] = [r for r in rules if {"const": "observations"} in r["if"].get("patternProperties", {}).values()]
    assert rule["then"]["properties"]["where"] == {"$ref": "#/definitions/condition.observation"}


def test_what_a_project_knows(tmp_path: Path) -> None:
    known = Known.of(load(minimal(tmp_path)))
    assert known.names["segment"] == ("adults",)
    assert "consents" in known.scopes["patient"].relations
    assert {"age", "email"} <= set(known.scopes["patient"].operands)
    assert "patient.email" in known.scopes["consent"].operands
    assert "class name.given" in known.scopes["patient"].operands["given_name"]


# -- the command and the editor ---------------------------------------------------------------------------------------


def test_the_example_is_wired_for_the_editor() -> None:
    assert (ROOT / ".vscode" / "settings.json").read_text() == text(SETTINGS)
    assert (ROOT / ".vscode" / "extensions.json").read_text() == text(EXTENSIONS)
    assert SETTINGS["yaml.schemas"][SCHEMA] == [CONFIG, *(f"{name}/**/*.{end}" for name in FOLDERS for end in ("yml", "yaml"))]


def test_the_command_prints_the_schema_without_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()
    assert main(["schema", "--project-names"]) == 2  # there is no project here


def test_the_command_writes_where_the_editor_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = minimal(tmp_path)
    assert main(["schema", "--write", "--project", str(root), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"written": [SCHEMA, ".vscode/settings.json", ".vscode/extensions.json"], "not_wired": []}
    assert json.loads((root / SCHEMA).read_text())["definitions"]["name.segment"]["anyOf"][0]["enum"] == ["adults"]
    assert json.loads((root / ".vscode/settings.json").read_text()) == SETTINGS


def test_somebodys_own_settings_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = minimal(tmp_path)
    own = root / ".vscode" / "settings.json"
    own.parent.mkdir()
    own.write_text('{"editor.fontSize": 30} // mine\n')
    assert main(["schema", "--write", "--project", str(root)]) == 0
    out, err = capsys.readouterr()
    assert own.read_text() == '{"editor.fontSize": 30} // mine\n'
    assert "settings.json" not in out
    assert "names no schema" in err
    assert SCHEMA in err
    own.write_text(f'{{"yaml.schemas": {{"{SCHEMA}": ["**/*.yml"]}}}}')
    assert is_wired(own.read_text())
    assert main(["schema", "--write", "--project", str(root)]) == 0
    assert capsys.readouterr().err == ""


def test_a_new_project_is_wired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "clinic"), "--no-data", "--quiet"]) == 0
    made = json.loads((tmp_path / "clinic" / SCHEMA).read_text())
    assert set(load(ROOT).segments) == set(made["definitions"]["name.segment"]["anyOf"][0]["enum"])
    assert json.loads((tmp_path / "clinic" / ".vscode" / "settings.json").read_text()) == SETTINGS
    assert f"/{SCHEMA}" in (tmp_path / "clinic" / ".gitignore").read_text()
    capsys.readouterr()
