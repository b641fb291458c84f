"""A line of progress for each sync: bars on a terminal once work has gone on for two seconds, plain lines on one that cannot draw."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cdp.cli.output import PATIENCE, Output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task, TaskID

    from cdp.sync.recorder import Tally

NAME = 26  # characters of a sync's name that stand beside its bar
EVERY = 10.0  # seconds between the plain lines of a sync


class Line:
    """The progress of one sync; this one is silent."""

    def say(self, phase: str) -> None:
        """What is being done now."""

    def tally(self, tally: Tally) -> None:
        """How many rows were answered."""

    def done(self, status: str) -> None:
        """It has ended."""


@contextmanager
def lines(out: Output, syncs: Sequence[str]) -> Iterator[Callable[[str], Line]]:
    """Show the progress of syncs for as long as the context lasts.

    Yields:
        A function that gives the line of a sync.
    """
    console = out.watched()
    if console is None:
        yield lambda _: Line()
    elif console.is_dumb_terminal:
        yield lambda name: _Plain(name, console)
    else:
        with _bars(console, syncs) as bars:
            yield bars


@contextmanager
def _bars(console: Console, syncs: Sequence[str]) -> Iterator[Callable[[str], Line]]:
    board = _board(console, syncs)
    whole = board.add_task(f"{len(syncs)} syncs", total=len(syncs), kind="whole") if len(syncs) > 1 else None
    timer = threading.Timer(PATIENCE, board.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda name: _Bar(board, name, whole)
    finally:
        timer.cancel()
        timer.join()
        board.stop()


def _board(console: Console, syncs: Sequence[str]) -> Progress:
    """Rows that are aligned with each other; what a sync waits for and what went wrong stands below its own."""
    from rich.progress import BarColumn, Progress
    from rich.table import Table
    from rich.text import Text

    class Board(Progress):
        def get_renderables(self) -> Iterator[Table | Text]:
            said = [(task, _cells(task)) for task in sorted(self.tasks, key=lambda task: task.fields["kind"] == "whole")]
            widths = [max([len(cells[place]) for _, cells in said], default=0) for place in range(len(_STYLES))]
            widths[0] = widest  # of all syncs, so that bars stay where they are while syncs come and go
            for task, cells in said:
                row = Table.grid(padding=(0, 2, 0, 0), expand=True)
                texts = [Text(cell, style) for cell, style in zip(cells, _STYLES, strict=True)]
                for place, width in enumerate(widths):
                    row.add_column(width=width, no_wrap=True, justify="right" if place else "left")
                    if place == 0:
                        row.add_column(ratio=1, min_width=8)
                row.add_row(texts[0], bar.render(task), *texts[1:])
                yield row
                if note := _note(task):
                    yield Text(f"  {note}", "yellow", no_wrap=True, overflow="ellipsis")

    bar = BarColumn(bar_width=None)
    widest = max(len(shortened(name, NAME)) for name in (*syncs, f"{len(syncs)} syncs"))
    return Board(console=console, transient=True, expand=True, refresh_per_second=8)


_STYLES = ("bold", "", "cyan", "green")  # of the cells


def _cells(task: Task) -> tuple[str, str, str, str]:
    """What stands around a bar: the name, rows, rows a second, how long it will go on."""
    return shortened(task.description, NAME), _rows(task), _rate(task), _left(task)


def shortened(name: str, length: int) -> str:
    """A name of at most so many characters; of a longer one both ends, which tell names apart."""
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[head - length + 1 :]}"


def _rows(task: Task) -> str:
    return f"{int(task.completed):,}/{int(task.total):,}" if task.total else ""


def _rate(task: Task) -> str:
    """Rows a second; of the line over all syncs nothing, for syncs are of any size."""
    speed = task.finished_speed or task.speed
    if not speed or task.fields["kind"] == "whole":
        return ""
    return f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s"


def _left(task: Task) -> str:
    """How long it will go on: minutes and seconds."""
    seconds = task.time_remaining if task.total and task.fields["kind"] != "whole" else None
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _note(task: Task) -> str:
    """What it does or waits for, and what went wrong so far."""
    line: _Bar | None = task.fields.get("line")
    return line.note if line else ""


def _wrong(tally: Tally) -> list[str]:
    """What did not get through."""
    counts = {"rejected": tally.rejected, "for later": tally.retryable, "unknown": tally.unknown}
    return [f"{count:,} {what}" for what, count in counts.items() if count]


class _Bar(Line):
    """A bar; it comes when work on its sync begins, and goes when that ends."""

    def __init__(self, board: Progress, name: str, whole: TaskID | None) -> None:
        self.board, self.whole = board, whole
        self.phase = ""
        self.answers: Tally | None = None
        self.task: TaskID = board.add_task(name, total=None, kind="sync", line=self)

    @property
    def note(self) -> str:
        if self.answers is None:
            return self.phase
        return " · ".join([*filter(None, [self.answers.waits()]), *_wrong(self.answers)])

    def say(self, phase: str) -> None:
        self.phase, self.answers = phase, None
        self.board.reset(self.task, total=None, start=True)

    def tally(self, tally: Tally) -> None:
        self.answers = tally
        self.board.update(self.task, total=tally.planned, completed=tally.answered)

    def done(self, status: str) -> None:
        self.board.remove_task(self.task)
        if self.whole is not None:
            self.board.advance(self.whole)


class _Plain(Line):
    """Lines of text, a few of them: when a phase that takes long begins to, how far it is now and then, and how it ended."""

    def __init__(self, name: str, console: Console) -> None:
        self.name, self.console = name, console
        self.begun = time.monotonic()
        self.said = self.begun + PATIENCE - EVERY  # the first line after two seconds

    def say(self, phase: str) -> None:
        self._now_and_then(phase)

    def tally(self, tally: Tally) -> None:
        said = [f"{tally.answered:,} of {tally.planned:,} rows", *_wrong(tally), *filter(None, [tally.waits()])]
        self._now_and_then(", ".join(said))

    def done(self, status: str) -> None:
        if (took := time.monotonic() - self.begun) >= PATIENCE:
            self.console.print(f"{self.name}: {status} after {took:.0f} s", soft_wrap=True)

    def _now_and_then(self, text: str) -> None:
        if time.monotonic() - self.said >= EVERY:
            self.said = time.monotonic()
            self.console.print(f"{self.name}: {text}", soft_wrap=True)
