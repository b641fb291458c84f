"""Ratios, each taken in one run on one machine: ours against the bare thing, or against a budget.

    python -m tests.benchmarks [NAME...]

One module a benchmark; `main` prints each ratio beside its bar and writes build/benchmarks.json.
"""
