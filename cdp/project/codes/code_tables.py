"""CSV files beside value sets: lists of codes, and hierarchies as edges."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cdp.project.codes.code_systems import MAX_PROBLEMS, Pairs, Systems
from cdp.project.problems import Problems


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """What stands directly below each code."""

    below: Mapping[str, list[str]]

    def branch(self, tops: Iterable[str]) -> Iterator[str]:
        """The codes and everything below them, each once. A circle in the data ends where it began."""
        waiting = list(dict.fromkeys(tops))
        seen = set(waiting)
        for code in waiting:
            below = [child for child in self.below[code] if child not in seen]
            seen.update(below)
            waiting += dict.fromkeys(below)
        return iter(waiting)


def codes(text: str, file: str, system: str, systems: Systems, problems: Problems) -> Pairs | None:
    """The column `code` of a CSV, each with its column `system`, or with `system` where that says nothing.

    Returns:
        The codes; None after a problem.
    """
    before, found, unsaid = len(problems), Pairs(), False
    for line, (code, word) in _rows(text, file, ("code",), ("system",), problems):
        name = systems.find(word, file, lambda line=line: (line, 1)) if word else system  # type: ignore[misc]
        if not code:
            problems.add(file, (), "a row without a code", at=(line, 1))
        elif word or system:
            found[name, code] = None
        elif not unsaid:
            unsaid, hint = True, "fill in the column `system`, or say `system` in the value set"
            problems.add(file, (), "a row without a code system", hint=hint, at=(line, 1))
    if not found and len(problems) == before:
        problems.add(file, (), "holds no codes", at=(1, 1))
    return found if len(problems) == before else None


def hierarchy(text: str, file: str, problems: Problems) -> Hierarchy | None:
    """The edges of a CSV with the columns `child` and `parent`; None after a problem."""
    before, below = len(problems), dict[str, list[str]]()
    for line, (child, parent) in _rows(text, file, ("child", "parent"), (), problems):
        if not child or not parent:
            problems.add(file, (), f"a row without a {'parent' if child else 'child'}", hint="leave the top out", at=(line, 1))
            continue
        below.setdefault(parent, []).append(child)
        below.setdefault(child, [])
    if not below and len(problems) == before:
        problems.add(file, (), "holds no edges", at=(1, 1))
    return Hierarchy(below) if len(problems) == before else None


def _rows(
    text: str, file: str, needed: tuple[str, ...], optional: tuple[str, ...], problems: Problems
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The cells of the named columns, row by row with its line; an optional column that is not there holds nothing."""
    before, rows = len(problems), csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        if wrong := _header(header, needed, optional):
            problems.add(file, (), wrong, hint="name each column once, in the first line", at=(1, 1))
            return
        columns = [header.index(name) if name in header else None for name in (*needed, *optional)]
        for row in rows:
            if len(row) == len(header):
                if any(map(str.strip, row)):
                    yield rows.line_num, tuple(["" if column is None else row[column].strip() for column in columns])
            elif any(map(str.strip, row)):
                hint = "commas part cells; put text that holds one in quotes"
                problems.add(file, (), f"cells: {len(row)}, under a header of {len(header)}", hint=hint, at=(rows.line_num, 1))
            if len(problems) - before >= MAX_PROBLEMS:
                return
    except csv.Error as error:
        problems.add(file, (), f"not CSV: {error}", at=(max(rows.line_num, 1), 1))


def _header(header: list[str], needed: tuple[str, ...], optional: tuple[str, ...]) -> str:
    """What is wrong with a header; nothing, if all is well."""
    if missing := [name for name in needed if name not in header]:
        return f"has no column {' and '.join(f'`{name}`' for name in missing)}"
    twice = next((name for name in (*needed, *optional) if header.count(name) > 1), None)
    return f"has two columns `{twice}`" if twice else ""
