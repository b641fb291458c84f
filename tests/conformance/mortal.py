"""An engine whose process is killed at a statement, in the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cdp.engine.base import Engine
from tests.conformance.doubts import Killed


class Mortal:
    """An engine whose process may be killed: from a statement on, before or after it, nothing is done any more."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.left, self.after, self.dead = engine, None, False, False  # type: ignore[var-annotated]
        for name in ("execute", "append_parts", "_create", "drop", "query", "maintain"):
            setattr(engine, name, self._watched(name, getattr(engine, name)))

    def _watched(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if self.dead:
                raise Killed
            due = False
            if self.left is not None and name in ("execute", "append_parts", "_create"):
                self.left -= 1
                due = self.left < 0
            if due and not self.after:
                self.dead = True
                raise Killed
            found = method(*args, **more)
            if due:
                self.dead = True
                raise Killed
            return found

        return call

    @contextmanager
    def doomed(self, left: int | None, *, after: bool = False) -> Iterator[None]:
        """Dies within, perhaps; lives again then."""
        self.left, self.after, self.dead = left, after, False
        try:
            yield
        finally:
            self.left, self.dead = None, False

    def close(self) -> None:
        """The engine as it was."""
        for name in ("execute", "append_parts", "_create", "drop", "query", "maintain"):
            delattr(self.engine, name)
