"""The code systems of conf/cdp.yml, under all the names that files use for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from cdp.project.problems import Problems

MAX_BYTES: Final = 50_000_000  # of a file of codes: a million of them, or the edges of SNOMED CT
MAX_PROBLEMS: Final = 20  # of one file, before the rest of it is left unread

Pairs = dict[tuple[str, str], None]  # (system, code): in order, each once
Place = Callable[[], tuple[int, int]]  # found only where there is a problem


class Systems:
    """Finds a code system by the URI, OID or word that stands in a file.

    Args:
        names: what files call each system; None where conf/cdp.yml is broken, so that every word stands for itself.
    """

    def __init__(self, names: Mapping[str, tuple[str, ...]] | None, problems: Problems) -> None:
        self._names = None if names is None else {word: name for name, words in names.items() for word in (name, *words)}
        self._valid = tuple(names or ())
        self._problems = problems
        self._unknown: set[tuple[str, str]] = set()

    def find(self, word: str, file: str, place: Place) -> str:
        """The system's name in conf/cdp.yml; an empty text where there is none, which is reported once a file."""
        if self._names is None:
            return word
        name = self._names.get(word, "")
        if not name and (file, word) not in self._unknown:
            self._unknown.add((file, word))
            hint = "add it to `code_systems` of conf/cdp.yml"
            shown = repr(word if len(word) <= 100 else word[:97] + "...")
            self._problems.add(file, (), f"unknown code system {shown}", value=word, valid=self._valid, hint=hint, at=place())
        return name
