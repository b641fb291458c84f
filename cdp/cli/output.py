"""What a command shows: facts on standard output, progress and notes on standard error."""

from __future__ import annotations

import codecs
import datetime as dt
import errno
import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdp.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100
WHOLE = 24  # a cell up to this length is not broken: a name, a run, a time
FULL = (errno.ENOSPC, errno.EDQUOT)
PATIENCE = 2.0  # seconds before work shows that it goes on


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of a tree, with those below it."""

    text: str
    below: tuple[Branch, ...] = ()


class Output:
    """Prints as the options ask: tables for people, or JSON and nothing else on standard output.

    Args:
        as_json: facts are printed as JSON.
        quiet: no progress and no notes.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def json(self, value: Any) -> None:
        """One JSON value; keys stay in the order in which they are given."""
        plain = codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8"  # what is escaped in JSON's own way is the same value
        self.text(json.dumps(value, indent=2, ensure_ascii=plain, default=str))

    def text(self, text: str = "") -> None:
        """A line as it stands."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """What a person may want to know and a program does not."""
        if not self.quiet:
            sys.stderr.write(text + "\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "") -> None:
        """Rows under headings, at most 100 characters wide; numbers stand to the right. Without rows: `empty`.

        On a terminal too narrow for its short cells a table keeps its width: a name that is cut cannot be copied.
        """
        from rich.table import Table

        cells = [list(row) for row in rows]
        if not cells:
            return self.text(empty)
        widths = [max(len(name), *(len(_cell(row[index])) for row in cells)) for index, name in enumerate(columns)]
        short = [width <= WHOLE for width in widths]
        needed = sum(width + 2 if whole else WHOLE for width, whole in zip(widths, short, strict=True))
        grid = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
        for index, name in enumerate(columns):
            numeric = all(isinstance(row[index], int) for row in cells)
            whole = short[index] and needed <= WIDTH
            grid.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=whole)
        for row in cells:
            grid.add_row(*(_cell(value) for value in row))
        console = _console(sys.stdout)
        console.width = max(console.width, min(needed, WIDTH))
        with console.capture() as printed:
            console.print(grid)
        return self.text("\n".join(line.rstrip() for line in printed.get().splitlines()))

    def facts(self, values: Mapping[str, object]) -> None:
        """Names and values, one pair a line."""
        width = max(map(len, values), default=0)
        for name, value in values.items():
            self.text(f"{name:{width}}  {_cell(value)}")

    def tree(self, root: Branch) -> None:
        """A tree, at most 100 characters wide; a long line goes on below itself."""
        from rich.tree import Tree

        def grown(branch: Branch) -> Tree:
            made = Tree(branch.text)
            for each in branch.below:
                made.children.append(grown(each))
            return made

        console = _console(sys.stdout)
        with console.capture() as printed:
            console.print(grown(root))
        self.text("\n".join(line.rstrip() for line in printed.get().splitlines()))

    def csv(self, columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> None:
        """CSV with a heading, all cells text; a cell that a spreadsheet would run as a formula gets `'` before it."""
        import pyarrow as pa

        from cdp.connectors.bodies import csv_header, csv_rows

        cells = list(rows)
        table = pa.table({name: pa.array([row[index] for row in cells], pa.string()) for index, name in enumerate(columns)})
        self.text("\n".join([csv_header(columns), *csv_rows(table, spreadsheet=True)]))

    def sql(self, text: str) -> None:
        """SQL, in colours on a terminal."""
        if not sys.stdout.isatty():
            return self.text(text)
        from rich.syntax import Syntax

        return _console(sys.stdout).print(Syntax(text, "sql", background_color="default"))

    def watched(self) -> Console | None:
        """Where progress is shown: a terminal somebody sits at, who asked neither for quiet nor for JSON."""
        return None if self.quiet or self.as_json or not sys.stderr.isatty() else _console(sys.stderr)

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show on a terminal that work goes on, once it has gone on for two seconds.

        Yields:
            A function that says what is being done now.
        """
        console = self.watched()
        if console is None:
            yield lambda _: None
            return
        status = console.status(what)
        timer = threading.Timer(PATIENCE, status.start)
        timer.daemon = True
        timer.start()
        try:
            yield status.update
        finally:
            timer.cancel()
            timer.join()
            status.stop()


def write(path: Path, text: str) -> None:
    """Write a file that somebody asked for, and the folder it stands in.

    Raises:
        UsageError: it cannot be written there.
        OSError: the disk is full, which another name does not mend.
    """
    with written(path, "name another file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@contextmanager
def written(path: Path, fix: str) -> Iterator[None]:
    """Say which file could not be written: to a place that cannot be written to with `fix`, on a full disk as what it is."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:  # what was open already names no file
            raise OSError(error.errno, error.strerror, error.filename or str(path)) from None
        raise UsageError(f"{error.filename or path} cannot be written: {error.strerror}", fix=fix) from None


def moment(text: str) -> str:
    """An ISO timestamp to the minute, in the zone that it is given in."""
    return text[:16].replace("T", " ")


def local(text: str) -> str:
    """An ISO timestamp to the minute, with its offset: it stands beside times that are shown in UTC."""
    at = dt.datetime.fromisoformat(text)
    return f"{moment(text)} {at.isoformat()[-6:]}" if at.tzinfo else moment(text)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


def _console(file: Any) -> Console:
    """A console that takes text as it is; rich itself honours NO_COLOR and TERM=dumb."""
    from rich.console import Console

    console = Console(file=file, markup=False, emoji=False, highlight=False)
    console.width = min(console.width, WIDTH) if file.isatty() else WIDTH
    return console
