"""SIGTERM and Ctrl-C ask every delivery of this process to end cleanly, whichever threads they run in; a second one ends it at once."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Pause:
    """Waiting, on an event loop, that ends when somebody asks to stop."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether somebody asked."""
        return self._ended.is_set()

    def end(self) -> None:
        """Wait no longer, neither now nor later; called on the loop."""
        self._ended.set()

    async def wait(self, seconds: float) -> bool:
        """Whether so many seconds have passed and nobody asked."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return not self.ended


class Stop:
    """Asked for once, and heard by all who listen, also by those who begin to listen later."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._listeners: set[Callable[[], object]] = set()
        # Of the main thread too while a signal handler runs in it, so it must be one that may be taken twice.
        self._lock = threading.RLock()

    @property
    def asked(self) -> bool:
        """Whether somebody asked."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask everybody to stop."""
        with self._lock:
            self._asked.set()
            for listener in tuple(self._listeners):
                listener()

    @contextmanager
    def heard_by(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call `listener`, from any thread, when it is asked for; at once if it was."""
        with self._lock:
            self._listeners.add(listener)
            if self.asked:
                listener()
        try:
            yield
        finally:
            with self._lock:
                self._listeners.discard(listener)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let the first signal ask, as long as this lasts; the second one does what it did before. Only the main thread gets signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def first(_number: int, _frame: FrameType | None) -> None:
            restore()
            self.ask()

        for number in SIGNALS:
            signal.signal(number, first)
        try:
            yield
        finally:
            restore()
