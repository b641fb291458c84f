"""docs/segments.md is true: every example loads, binds and compiles, and no word of the language is missing."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from cdp.catalog.language import AGE_HELP, COVERED, LOGIC_HELP, MODIFIER_HELP, OPERATOR_HELP, VERB_HELP, WINDOW_HELP
from cdp.catalog.schema import schema
from cdp.compile import Clock, compile_segment, compile_trait
from cdp.errors import ProjectError
from cdp.project.load import Project, load
from tests.reference import PAGE, Example, examples, write_project
from tests.unit.test_schema import as_editor

EXAMPLES = list(examples())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    try:
        return load(write_project(tmp_path_factory.mktemp("reference")))
    except ProjectError as error:
        pytest.fail(str(error))


@cache
def validator() -> Draft7Validator:
    return Draft7Validator(schema())


def test_every_example_loads_and_binds(project: Project) -> None:
    assert len(EXAMPLES) > 100
    for example in EXAMPLES:
        if not example.is_document:
            assert example.name in project.bound.segments


def test_every_example_compiles(project: Project) -> None:
    clock = Clock.parse("2026-07-02", project.timezone)
    for name, segment in project.segments.items():
        if not segment.params:
            assert compile_segment(project, name, clock).select.sql("spark")
    for name in project.traits:
        assert compile_trait(project, name, clock).select.sql("spark")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_example_is_valid_for_an_editor(example: Example) -> None:
    for document in as_editor(example.documents()):
        assert [error.message for error in validator().iter_errors(document)] == []


def test_nothing_in_the_examples_is_probably_a_mistake(project: Project) -> None:
    assert [str(w) for w in project.warnings if "nothing uses" not in w.message and "review" not in w.message] == []


@pytest.mark.parametrize("words", [VERB_HELP, LOGIC_HELP, MODIFIER_HELP, WINDOW_HELP, OPERATOR_HELP, AGE_HELP, dict.fromkeys(COVERED)])
def test_every_word_of_the_language_is_explained(words: dict[str, str]) -> None:
    text = PAGE.read_text().partition("<!-- examples -->")[0]
    coded = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`|^```yaml.*?^```", text, re.S | re.M))))
    assert set(words) <= coded


def test_there_are_recipes_enough() -> None:
    recipes = PAGE.read_text().partition("## Recipes")[2].partition("<!-- examples -->")[0]
    assert len(re.findall(r"^```yaml", recipes, re.M)) >= 20


def test_the_page_can_be_read_in_a_quarter_of_an_hour() -> None:
    text = PAGE.read_text().partition("## Recipes")[0]
    prose = re.sub(r"^```.*?^```|`[^`\n]+`", "", text, flags=re.S | re.M)
    assert len(prose.split()) < 15 * 230, "230 words a minute"


def test_the_models_of_the_page_stand_beside_it() -> None:
    assert (Path(PAGE).parent / "models.yml").is_file()
