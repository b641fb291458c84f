"""`cdp validate` as a person runs it, on 1,000 segments and 200 syncs: a new process, imports included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks import programmes
from tests.benchmarks.ratio import Ratio, best, cpu

BUDGET_SECONDS = 2.0
PROGRAMMES = 200


def run(folder: Path) -> list[Ratio]:
    """Time the command against its budget."""
    root = folder / "programmes"
    programmes.write(root, PROGRAMMES)
    command = [sys.executable, "-m", "cdp", "validate", "--json", "--project", str(root)]
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # modules are compiled once

    def validate() -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=usual)
        found = json.loads(done.stdout)
        assert done.returncode == 0, done.stdout[:2000]
        assert found["segments"] >= PROGRAMMES * programmes.SEGMENTS_EACH, found
        assert found["syncs"] >= PROGRAMMES, found

    (seconds,) = best(4, validate, clock=cpu)
    return [Ratio("validate_1000", seconds, BUDGET_SECONDS, 1.0)]
