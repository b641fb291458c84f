"""Random segments on random rows: what the compiled SQL says on the embedded engine is what the slow evaluator says.

Each example is a world of a few people and several segments, which are columns of one statement. The gate asks the same
hundreds of segments each time; `CDP_RANDOM_EXAMPLES=2000 pytest tests/conformance/test_random_segments.py` asks new ones.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdp.engine import Engine, connect
from cdp.spec.activation import Environment
from tests import random_rows
from tests.random_segments import Grammar, Tree, text
from tests.random_shrink import smallest
from tests.random_worlds import NotValid, Segments, base_model, disagreements

EXAMPLES = int(os.environ.get("CDP_RANDOM_EXAMPLES", "0"))
SEGMENTS = 12  # in one statement
MODEL = base_model()
GRAMMAR = Grammar(MODEL)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path_factory.mktemp("random"))
    yield engine
    engine.close()


@st.composite
def worlds(draw: st.DrawFn) -> Any:
    now = draw(random_rows.clocks())
    trees = draw(st.lists(GRAMMAR.conditions("patient"), min_size=SEGMENTS // 2, max_size=SEGMENTS))
    return now, draw(random_rows.tables(MODEL, now)), trees


@settings(
    max_examples=EXAMPLES or 40,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
    database=None,
)
@given(world=worlds())
def test_compiled_sql_says_what_the_slow_evaluator_says(engine: Engine, world: Any) -> None:
    now, rows, trees = world

    def wrong(trees: list[Tree], rows: random_rows.Rows) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            return disagreements(engine, Segments.written(Path(folder), [text(tree) for tree in trees]), rows, now)

    if not wrong(trees, rows):
        return
    culprit = next((tree for tree in trees if wrong([tree], rows)), trees)  # or all of them together

    def fails(tree: Tree, rows: random_rows.Rows) -> bool:
        try:
            return bool(wrong([tree], rows))
        except (NotValid, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return False  # what is left is not a condition

    tree, rows = smallest(culprit, rows, fails)
    pytest.fail("\n".join(wrong([tree], rows)), pytrace=False)
