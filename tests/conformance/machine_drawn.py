"""Walks, as they are drawn: the kinds of sync, the texts that people are given, the steps; and how a walk that fails is made small."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

PEOPLE = 9
SHAPES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("patient_id",), ("email", "given_name", "born", "score", "balance", "visits", "active", "seen")),
    (("email",), ("given_name", "balance")),
    (("email", "given_name"), ("visits", "seen")),
    (("visits",), ("email", "active")),
    (("given_name", "visits"), ("email",)),
)
TEXTS = (
    *(
        "",
        " ",
        "a|b",
        "a'b",
        'q"',
        "\\",
        "x" * 3000,
        "É",
        "E\u0301",
        "é",
        "ß",
        "SS",
        "ss",
        "😀",
        "a\nb",
        "\u200b",
        "1:a",
        "a@1",
        "%_",
        "null",
    ),
    *("NULL", "ПАЦ", "P001", "p001", "p001 ", "-1", "0", "p1@example.org", "P1@example.org"),
)
WEIGHTS = {
    "change": 10,
    "sync": 12,
    "plan": 3,
    "apply": 4,
    "jump": 2,
    "decide": 3,
    "revoke": 1,
    "fold": 2,
    "rebuild": 1,
    "harm": 1,
    "settle": 1,
    "reconcile": 1,
    "die": 3,
}


@dataclass(frozen=True)
class Drawn:
    """A walk: what the sync is, and its steps, each with a seed."""

    seed: int
    steps: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, seed: int, length: int) -> Drawn:
        """The walk of a seed."""
        by = random.Random(seed)
        names = by.choices(list(WEIGHTS), list(WEIGHTS.values()), k=length)
        return cls(seed, (("change", by.randrange(1 << 30)), ("sync", 0), *((name, by.randrange(1 << 30)) for name in names)))


def smallest(drawn: Drawn, fails: Callable[[Drawn], bool]) -> Drawn:
    """Few of its steps that still fail."""
    size = max(1, len(drawn.steps) // 2)
    while True:
        for start in range(0, len(drawn.steps), size):
            less = Drawn(drawn.seed, drawn.steps[:start] + drawn.steps[start + size :])
            if fails(less):
                drawn = less
                break
        else:
            if size == 1:
                return drawn
            size //= 2
