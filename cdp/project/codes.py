"""Value sets whose codes stand in a CSV beside the YAML."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Final

from cdp.project.problems import Problems
from cdp.project.source import Document, read_text
from cdp.spec.model import Codes, ValueSet

MAX_BYTES: Final = 20_000_000  # a million codes
MAX_PROBLEMS: Final = 20  # of one file, before the rest of it is left unread


def filled(value_set: ValueSet, document: Document, root: Path, problems: Problems) -> ValueSet | None:
    """The value set with the codes of its file; None where a problem was added."""
    if bool(value_set.codes) == bool(value_set.file):
        problems.add(document, (), "a value set has either `codes` or a `file`, and codes in it")
        return None
    if not value_set.file:
        return _complete(value_set, value_set.codes)
    beside = (root / document.file).parent / value_set.file
    path = beside.resolve()
    if not path.is_relative_to(root):
        problems.add(document, ("file",), "the file lies outside the project", hint="copy it beside this file")
    elif not path.is_file():
        problems.add(document, ("file",), f"{value_set.file}: no such file", hint="the path starts at this file's folder")
    else:
        found = _codes(path, path.relative_to(root).as_posix(), problems)
        return None if found is None else _complete(value_set, found)
    return None


def _complete(value_set: ValueSet, codes: tuple[str, ...]) -> ValueSet:
    return value_set.model_copy(update={"codes": codes, "members": (Codes(system=value_set.system, codes=codes),)})


def _codes(path: Path, file: str, problems: Problems) -> tuple[str, ...] | None:
    """The column `code` of a CSV, without repetitions."""
    text = read_text(path, file, problems, MAX_BYTES)
    if text is None:
        return None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    before, found = len(problems), dict[str, None]()
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        if "code" not in header:
            problems.add(file, (), "has no column `code`", hint="name it in the first line", at=(1, 1))
            return None
        column = header.index("code")
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            code = row[column].strip() if len(row) > column else ""
            if len(row) != len(header):
                hint = "commas part cells; put text that holds one in quotes"
                problems.add(file, (), f"cells: {len(row)}, under a header of {len(header)}", hint=hint, at=(rows.line_num, 1))
            elif code:
                found[code] = None
            else:
                problems.add(file, (), "a row without a code", at=(rows.line_num, 1))
            if len(problems) - before == MAX_PROBLEMS:
                break
    except csv.Error as error:
        problems.add(file, (), f"not CSV: {error}", at=(max(rows.line_num, 1), 1))
    if not found and len(problems) == before:
        problems.add(file, (), "holds no codes", at=(1, 1))
    return tuple(found) if len(problems) == before else None
