"""The expectations that a sync can ask, held against the library that asks them; and that nothing of it is loaded before."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, get_args

import pytest

from cdp import quality
from cdp.spec.quality import EXPECTATIONS, Asked, Expectation
from tests.projects import FILES, minimal

# What every expectation of the library has besides: its bookkeeping, and conditions on rows, which are code.
OURS = "otherwise"
REST = {"id", "meta", "notes", "result_format", "description", "catch_exceptions", "rendered_content", "severity", "windows", "batch_id"}
CODE = {"row_condition", "condition_parser"}


def asked(name: str) -> type[Asked]:
    return next(each for each in get_args(Expectation.model_fields[name].annotation) if each is not type(None))


@pytest.fixture(scope="module")
def library() -> Any:
    return quality._library()


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_an_expectation_has_the_arguments_of_the_library_and_no_code(library: Any, name: str) -> None:
    theirs, ours = library.expectation(name), asked(name)
    fields = {field: each for field, each in theirs.__fields__.items() if field not in REST | {"library_metadata"}}
    assert set(ours.model_fields) == set(fields) - CODE
    for field, each in ours.model_fields.items():
        if name == "expect_column_values_to_match_regex" and field == "regex":
            continue  # the library's default matches everything
        assert each.is_required() == fields[field].required, field
        assert each.is_required() or each.default == fields[field].default, field
    assert ours.by_row == (getattr(theirs, "map_metric", None) is not None)


def test_importing_the_library_leaves_the_process_as_it_was_and_its_analytics_off(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
    assert "logging" not in warnings.showwarning.__module__
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("great_expectations.validator.metrics_calculator").error("value of a patient")
    assert not caplog.records


def test_a_project_that_expects_something_loads_without_the_library(tmp_path: Path) -> None:
    text = FILES["syncs/adults_mail.yml"] + "quality: [{expect_column_values_to_match_regex: {column: email, regex: '^[^@]+@[^@]+$'}}]\n"
    root = minimal(tmp_path, **{"syncs/adults_mail.yml": text})
    program = (
        "import sys; from pathlib import Path; from cdp.project.load import load; import cdp.quality, cdp.sync.planning\n"
        "project = load(Path(sys.argv[1]))\n"
        "assert project.syncs['adults_mail'].quality[0].name == 'expect_column_values_to_match_regex'\n"
        "assert not {'great_expectations', 'pyspark', 'pandas', 'scipy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(root)], check=False).returncode == 0
