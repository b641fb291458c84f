"""`cdp test` as a person runs it, on 500 cases in 125 segments: a new process, imports and the engine's start included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.benchmarks import programmes
from tests.benchmarks.ratio import Ratio, best

BUDGET_SECONDS = 30.0
PROGRAMMES, CASES_EACH = 125, 4


def run(folder: Path) -> list[Ratio]:
    """Time the command against its budget."""
    root = folder / "programmes"
    programmes.write(root, PROGRAMMES, tests=True)
    names = [f"p{n}_poor_control" for n in range(PROGRAMMES)]
    command = [sys.executable, "-m", "cdp", "test", *names, "--json", "--project", str(root)]

    def test() -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = json.loads(done.stdout)
        assert done.returncode == 0, done.stdout[:2000]
        assert found["passed"] == PROGRAMMES * CASES_EACH, {key: value for key, value in found.items() if key != "cases"}

    (seconds,) = best(2, test)
    return [Ratio("trials_500", seconds, BUDGET_SECONDS, 1.0)]
