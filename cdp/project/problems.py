"""Collects every mistake of one load, so that a person sees them all at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from cdp.errors import Problem, ProjectError

if TYPE_CHECKING:
    from cdp.project.source import Document

Path = Sequence["str | int"]  # keys and list positions, from the top of a document

_SUGGESTED = 50  # problems that get a suggestion; beyond, comparing names would cost more than it helps
_LISTED = 50  # names that a problem keeps of those that could stand there


class Problems:
    """The mistakes found so far, each once; its length counts those that keep the project from loading."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._warned: list[Problem] = []
        self._said: set[tuple[str, int, int, str, str]] = set()

    def __len__(self) -> int:
        return len(self._found)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is probably a mistake, in the order of files and lines."""
        return tuple(sorted(self._warned, key=lambda p: (p.file, p.line, p.col, p.message)))

    def add(
        self,
        source: Document | str,
        path: Path,
        message: str,
        *,
        value: str | None = None,
        valid: Iterable[str] = (),
        hint: str = "",
        key: bool = False,
        at: tuple[int, int] | None = None,
    ) -> None:
        """Record a mistake.

        Args:
            source: the document, or a file's path relative to the project.
            path: where in the document; the nearest part that exists gives line and column.
            message: what is wrong.
            value: what stands there; compared with `valid` for a "did you mean".
            valid: what could stand there; of very many the first are kept.
            hint: the fix.
            key: the mistake is in the key, not in the value under it.
            at: line and column, where they are known without a document.
        """
        choices = tuple(sorted(set(valid)))
        if value is not None and len(self._found) < _SUGGESTED:
            hint = "; ".join(filter(None, [suggestion(value, choices), hint]))
        if isinstance(source, str):
            file, place = source, at or (0, 0)
        else:
            file, place = source.file, at or source.position(path, key=key)
        self._keep(Problem(file, *place, message, dotted(path), choices[:_LISTED], hint))

    def warn(self, source: Document | str, path: Path, message: str, *, hint: str = "", key: bool = False) -> None:
        """Record what is probably a mistake; the project still loads. The arguments are those of `add`."""
        file, place = (source, (0, 0)) if isinstance(source, str) else (source.file, source.position(path, key=key))
        self._keep(Problem(file, *place, message, dotted(path), hint=hint, warning=True))

    def _keep(self, problem: Problem) -> None:
        """What is bound again for each use (a template) makes its mistakes again."""
        said = (problem.file, problem.line, problem.col, problem.where, problem.message)
        if said not in self._said:
            self._said.add(said)
            (self._warned if problem.warning else self._found).append(problem)

    def raise_if_any(self) -> None:
        """Raise ProjectError with all problems, if there are any."""
        if self._found:
            raise ProjectError(self._found)


def suggestion(value: str, valid: Iterable[str]) -> str:
    """`did you mean 'x'?`, or nothing where no valid name is close."""
    by_case = {name.lower(): name for name in valid}
    close = get_close_matches(value.lower(), by_case, n=1)
    return f"did you mean {by_case[close[0]]!r}?" if close else ""


def dotted(path: Path) -> str:
    """A path as a person writes it: `where.all[0].age`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
