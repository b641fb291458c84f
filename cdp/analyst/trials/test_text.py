"""Tests as YAML text, and a segment's file with one more of them. Comments and all else of the file stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cdp.errors import UsageError
from cdp.project.source import Document


@dataclass(frozen=True, slots=True)
class Draft:
    """A test that was made, as YAML, and what its reader should know about it."""

    text: str
    notes: tuple[str, ...] = ()


_PLAIN = re.compile(r"[A-Za-z0-9_+./][A-Za-z0-9_+./@%() :-]*|-[0-9.]+")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def test_text(test: Mapping[str, Any]) -> str:
    """A test as an item of `tests:`; its cases stand in a line each, their values as flow."""
    lines: list[str] = []
    for key, value in test.items():
        if key == "given":
            lines += ["given:", *(f"  {name}: {flow(part)}" for name, part in value.items())]
        elif key == "cases":
            lines += ["cases:", *(f"  - {flow(case)}" for case in value)]
        else:
            lines.append(f"{key}: {flow(value)}")
    return "".join(f"{'- ' if number == 0 else '  '}{line}\n" for number, line in enumerate(lines))


def flow(value: Any) -> str:
    """A value in one line, quoted only where its text would be read as something else."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {flow(part)}' for name, part in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(flow, value))}]"
    return _scalar(str(value))


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text not in _NULLS and not re.search(r": |:$| $|^- |^-$", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def appended(text: str, document: Document, test: str) -> str:
    """A file's text with a test after those that a document of it has.

    Args:
        text: the whole file.
        document: the one that declares the segment, as it was read from this text.
        test: of `test_text`.

    Raises:
        UsageError: the document, or its tests, stand in one line.
    """
    lines = text.split("\n")
    places = {key: document.position((key,), key=True) for key in document.tree}
    if any(col != 1 for _, col in places.values()):
        raise _one_line(document, "the document stands in braces")
    end = _end(lines, max(line for line, _ in places.values()))
    if "tests" in document.tree:
        first, _ = document.position(("tests", 0))
        if not isinstance(document.tree["tests"], list) or not document.tree["tests"] or not _is_block(lines, document):
            raise _one_line(document, "`tests:` is no list of items that begin with `-`")
        indent = " " * (len(lines[first - 1]) - len(lines[first - 1].lstrip()))
        later = [line for line, _ in places.values() if line > first]
        end = min([end, *(line - 1 for line in later)])
        new = _indented(test, indent)
    else:
        new = ["tests:", *_indented(test, "  ")]
    while end > 0 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return "\n".join([*lines[:end], *new, *lines[end:]]) + ("" if lines[end:] else "\n")


def _end(lines: list[str], line: int) -> int:
    """The last line of the document that this line is in."""
    return next((number for number in range(line, len(lines)) if re.match(r"(---|\.\.\.)(\s|$)", lines[number])), len(lines))


def _is_block(lines: list[str], document: Document) -> bool:
    first, _ = document.position(("tests", 0))
    return lines[first - 1].lstrip().startswith("- ")


def _indented(test: str, indent: str) -> list[str]:
    return [indent + line for line in test.rstrip("\n").split("\n")]


def _one_line(document: Document, why: str) -> UsageError:
    line, _ = document.position(())
    return UsageError(f"{document.file}:{line}: {why}, so nothing can be added to it", fix="print the test without --write, and paste it")
