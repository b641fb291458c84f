"""Several syncs in one command: side by side up to `--jobs`, one that fails does not stop the others, and one signal stops all."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cdp.cli import boundary
from cdp.cli.bars import Line, lines
from cdp.cli.deliver import How
from cdp.cli.outcome import Outcome, failed, not_begun
from cdp.cli.session import Session
from cdp.cli.synced import synced
from cdp.errors import CdpError

if TYPE_CHECKING:
    from cdp.sync.stopping import Stop

JOBS: Final = 4  # at most so many at once, where nothing else is asked for


def run(session: Session, names: Sequence[str], how: How, jobs: int) -> list[Outcome]:
    """Run syncs, each to its end or until a signal stops all of them.

    Args:
        session: of the command; they share its engine.
        names: the syncs.
        how: what the command line asks of each.
        jobs: how many at once.

    Returns:
        What came of each: in the order of `names`, but those that share a daily cap in the order in which they take turns.
    """
    from cdp.sync.stopping import Stop
    from cdp.sync.turns import lanes

    stop = Stop()
    with suppress(CdpError):  # here, for an engine that starts in another thread takes the signals; each sync says why there is none
        _ = session.engine
    with lines(session.out, names) as line_of:
        turns = lanes(session.project, names)
        if min(jobs, len(turns)) == 1:
            found = _one_after_another(session, [name for turn in turns for name in turn], how, line_of)
        else:
            with stop.on_signals():
                found = _Workers(session, replace(how, stop=stop), line_of, stop).work(turns, jobs)
    return [found.get(name) or not_begun(name) for turn in turns for name in turn]


def _one_after_another(session: Session, names: Sequence[str], how: How, line_of: Callable[[str], Line]) -> dict[str, Outcome]:
    """In this thread, where a signal that comes between two deliveries ends the command at once."""
    found: dict[str, Outcome] = {}
    for name in names:
        found[name] = _shown(session, name, replace(how, line=line_of(name)))
        if found[name].facts["status"] == "stopped":
            break
    return found


def _shown(session: Session, name: str, how: How) -> Outcome:
    """A sync, with its line from its beginning to its end."""
    outcome = synced(session, name, how)
    how.line.done(outcome.facts["status"])
    return outcome


class _Workers:
    """Threads that take syncs until none is left; those that share a daily cap take turns, in one thread."""

    def __init__(self, session: Session, how: How, line_of: Callable[[str], Line], stop: Stop) -> None:
        self.session, self.how, self.line_of, self.stop = session, how, line_of, stop
        self.found: dict[str, Outcome] = {}
        self._waiting: deque[Sequence[str]] = deque()

    def work(self, turns: Sequence[Sequence[str]], jobs: int) -> dict[str, Outcome]:
        """Run all; what is not in the answer was not begun."""
        self._waiting.extend(turns)
        # Daemons: a second Ctrl-C ends the process, and does not wait for them.
        threads = [threading.Thread(target=self._run, name=f"cdp-sync-{n}", daemon=True) for n in range(min(jobs, len(turns)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.found

    def _run(self) -> None:
        with suppress(IndexError):
            while True:
                for name in self._waiting.popleft():
                    if self.stop.asked:
                        return
                    self.found[name] = self._one(name)

    def _one(self, name: str) -> Outcome:
        try:
            return _shown(self.session, name, replace(self.how, line=self.line_of(name)))
        except Exception as error:  # nobody else would see it
            return failed(name, boundary.fault(error, self.session.options.verbose))
