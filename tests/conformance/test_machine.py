"""Random walks of one sync on the embedded engine: see machine.py.

The gate takes the same few walks each time; `CDP_WALKS=200 pytest tests/conformance/test_machine.py` takes so many new ones. What fails is
said as the smallest walk that was found to fail, to be walked again as it stands.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from cdp.engine import Engine
from tests.conformance.machine import walked
from tests.conformance.machine_drawn import Drawn, smallest

WALKS = int(os.environ.get("CDP_WALKS", "0"))
LENGTH = 24 if WALKS else 12
SAME = (2, 14, 30, 36)  # of a channel of each kind
SEEDS = random.SystemRandom().sample(range(1 << 30), WALKS) if WALKS else SAME


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_the_channel_is_told_what_it_may_know_and_in_the_end_is_as_it_should_be(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("MAILER_KEY", "k")
    drawn = Drawn.of(seed, LENGTH)
    if walked(engine, tmp_path, drawn) is None:
        return
    small = smallest(drawn, lambda less: walked(engine, tmp_path, less) is not None)
    pytest.fail(f"{small}: {walked(engine, tmp_path, small)}")
