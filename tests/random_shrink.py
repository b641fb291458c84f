"""Makes a failing example small: fewer rows, fewer values, a shorter condition. Greedy, so that it ends in seconds.

Hypothesis would shrink the choices of its strategies, each step through a load and an engine; this cuts the example itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.random_rows import Rows

Tree = Any
Fails = Callable[[Tree, Rows], bool]
STEPS = 400


def smallest(tree: Tree, rows: Rows, fails: Fails) -> tuple[Tree, Rows]:
    """A small condition and few rows that still fail."""
    steps = 0
    progress = True
    while progress and steps < STEPS:
        progress = False
        for less_tree, less_rows in _candidates(tree, rows):
            steps += 1
            if fails(less_tree, less_rows):
                tree, rows, progress = less_tree, less_rows, True
                break
            if steps >= STEPS:
                break
    return tree, rows


def _candidates(tree: Tree, rows: Rows) -> Iterator[tuple[Tree, Rows]]:
    for entity, found in rows.items():
        if len(found) > 1:
            half = len(found) // 2
            yield tree, {**rows, entity: found[:half]}
            yield tree, {**rows, entity: found[half:]}
        elif found and entity != "patient":
            yield tree, {**rows, entity: []}
    for less in smaller(tree):
        yield less, rows
    for entity, found in rows.items():
        for n, row in enumerate(found):
            if len(found) > 2:
                yield tree, {**rows, entity: [*found[:n], *found[n + 1 :]]}
            for name in row:
                if row[name] is not None and not name.endswith("_id"):
                    yield tree, {**rows, entity: [*found[:n], {**row, name: None}, *found[n + 1 :]]}


def smaller(tree: Tree) -> Iterator[Tree]:
    """Trees that are like this one with something taken out; not all of them are conditions."""
    if isinstance(tree, list):
        if len(tree) > 1:
            yield from tree
            yield from ([*tree[:n], *tree[n + 1 :]] for n in range(len(tree)))
        for n, part in enumerate(tree):
            yield from ([*tree[:n], less, *tree[n + 1 :]] for less in smaller(part))
    elif isinstance(tree, dict):
        for key in ("all", "any", "not"):
            if key in tree:
                yield tree[key]
        for key in tree:
            if len(tree) > 1:
                yield {k: v for k, v in tree.items() if k != key}
        for key, value in tree.items():
            yield from ({**tree, key: less} for less in smaller(value))
