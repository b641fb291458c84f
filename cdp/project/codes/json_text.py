"""JSON whose parts can be found again: read by the standard parser, places looked up only where a problem needs one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from cdp.project.problems import Problems

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()


class _Twice(ValueError):
    """One key stands twice in an object: readers differ about which one counts."""


def read(text: str, file: str, problems: Problems) -> Any:
    """The value that a JSON text holds; None where a problem was added."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        problems.add(file, (), f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}", at=(error.lineno, error.colno))
    except _Twice as error:
        problems.add(file, (), str(error), hint="remove one", at=(1, 1))
    except (ValueError, RecursionError) as error:
        what = "nested too deep" if isinstance(error, RecursionError) else "a number that is none"
        problems.add(file, (), f"not JSON: {what}", at=(1, 1))
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(f"duplicate key {next(name for name in names if names.count(name) > 1)!r}")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def place(text: str, path: Sequence[str | int]) -> tuple[int, int]:
    """Line and column, from 1, of the value at a path of a valid JSON text, or of the nearest part above that exists."""
    at = _skip(text, 0)
    for part in path:
        found = _member(text, at, part) if text[at] == "{" else _item(text, at, part) if text[at] == "[" else None
        if found is None:
            break
        at = found
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None, "the pattern matches nothing, too"
    return match.end()


def _member(text: str, at: int, key: str | int) -> int | None:
    """Where the value under a key of the object at `at` begins."""
    at = _skip(text, at + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # past the colon
        if name == key:
            return at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at
    return None


def _item(text: str, at: int, index: str | int) -> int | None:
    """Where an item of the list at `at` begins."""
    at, number = _skip(text, at + 1), 0
    while text[at] != "]":
        if number == index:
            return at
        _, at = _DECODER.raw_decode(text, at)
        at, number = _skip(text, at), number + 1
        at = _skip(text, at + 1) if text[at] == "," else at
    return None
