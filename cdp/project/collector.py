"""The garbage collector, paused while many small values are made: it would look through all of them again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Pause the collector, where it is on: loading and compiling make a hundred thousand objects that stay."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()  # and back: what was made is old at once, so that the first collection does not look through all of it
            gc.unfreeze()
            gc.enable()
