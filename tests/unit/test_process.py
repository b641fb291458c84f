"""What a process leaves behind when things go wrong: no memory, no local variables, no inputs."""

from __future__ import annotations

import importlib
import pkgutil
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

import cdp
from cdp.cli.app import build
from cdp.spec.access import Agreement

MARKER = "Zq7-patient-value"


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="no core files are possible here at all")
def test_a_crash_leaves_no_core_file() -> None:
    """attack 21"""
    code = (
        "import os, resource, sys\n"
        "hard = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
        "from cdp.__main__ import run\n"
        "sys.argv = ['cdp', '--version']\n"
        "try:\n    run()\nexcept SystemExit:\n    print(resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split()[-1] == "0"


def test_no_exception_is_printed_with_local_variables() -> None:
    """attack 21"""
    app = build()
    assert (app.pretty_exceptions_enable, app.pretty_exceptions_show_locals) == (False, False)


def models() -> Iterator[type[BaseModel]]:
    """Every pydantic model of ours."""
    for module in pkgutil.walk_packages(cdp.__path__, "cdp."):
        if not module.name.startswith(("cdp.testing", "cdp.__main__")):
            importlib.import_module(module.name)
    waiting: list[type[BaseModel]] = [BaseModel]
    while waiting:
        found = waiting.pop().__subclasses__()
        waiting += found
        yield from (model for model in found if model.__module__.startswith("cdp."))


def test_no_validation_error_repeats_its_input() -> None:
    """attack 20"""
    found = list(models())
    assert len(found) > 30
    assert not [model for model in found if not model.model_config.get("hide_input_in_errors")]
    with pytest.raises(ValidationError) as error:
        Agreement.model_validate({"name": [MARKER], "hosts": {"a": MARKER}})
    assert MARKER not in str(error.value)
