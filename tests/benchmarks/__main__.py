"""`python -m tests.benchmarks [NAME...]`: run, print, write build/benchmarks.json; exit 1 when a bar does not hold."""

from __future__ import annotations

import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cdp.__main__ import keep_memory
from tests.benchmarks.ratio import Ratio

BENCHMARKS = (
    "validate_1000",
    "decide_sync",
    "trials_500",
    "language_20m",
    "diff_1m",
    "plan_10m",
    "plan_spark",
    "noop",
    "delivery_1m",
    "second_1m",
    "latency_100k",
    "failing_100k",
    "receipts",
    "scale",
    "ledger_1m",
    "eligibility",
)
RESULT = Path(__file__).parents[2] / "build" / "benchmarks.json"


def main(names: list[str]) -> int:
    """Run the benchmarks of these names, or all of them; the exit code."""
    if unknown := [name for name in names if name not in BENCHMARKS]:
        print(f"unknown: {', '.join(unknown)}; valid: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    keep_memory()  # as the command does
    ratios = []
    for name in names or BENCHMARKS:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="cdp-bench-") as folder:
            ratios += import_module(f"tests.benchmarks.{name}").run(Path(folder))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps([ratio.as_json() for ratio in ratios], indent=2) + "\n")
    Console(width=100).print(_table(ratios))
    return 0 if all(ratio.holds for ratio in ratios) else 1


def _table(ratios: list[Ratio]) -> Table:
    table = Table("name", *(head for head in ("ours s", "theirs s", "ratio", "bar", "holds")))
    for ratio in ratios:
        numbers = (f"{ratio.ours:.3f}", f"{ratio.theirs:.3f}", f"{ratio.ratio:.2f}", f"{ratio.bar:.2f}")
        table.add_row(ratio.name, *numbers, "yes" if ratio.holds else "NO")
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
