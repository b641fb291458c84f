"""What a channel's response says of each row."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from cdp.connectors.base import Batch
from cdp.connectors.bodies import json_rows
from cdp.connectors.codes import holds
from cdp.spec.activation import RowErrors
from cdp.spec.delivery import CODE

PLAIN = "rejected"  # the code of a row whose reason cannot be repeated


class Unclear(Exception):
    """The response does not say which rows were taken; `code` says how."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


# What a browser would take for one (https://mimesniff.spec.whatwg.org, 7.1), without the tags that an API's own XML may begin with.
_BEFORE = rb"(?:\xef\xbb\xbf)?(?>\s|<\?xml.*?\?>|<!--.*?-->)*"
_TAGS = rb"html|head|title|meta|link|base|script|noscript|style|iframe|body|h1|div|center|table|font|p|br"
_PAGE = re.compile(_BEFORE + rb"<(?:!doctype\s+html|" + _TAGS + rb")[\s>/]", re.IGNORECASE | re.DOTALL)


def check_whole(status: int, body: bytes | None) -> None:
    """Whether a success stands for all rows, where nothing is declared of how it names others.

    A 207 speaks of each row by itself (RFC 4918, 13), and a page was made for a person: of somebody who should sign in, or of a guard
    in front of the channel that took nothing.

    Raises:
        Unclear: `http_207` or `bad_response`.
    """
    if status == 207:
        raise Unclear("http_207")
    if body and _PAGE.match(body):
        raise Unclear("bad_response")


def refused_rows(batch: Batch, body: bytes | None, spec: RowErrors, secrets: Collection[str]) -> dict[int, str]:
    """The positions of the rows that a response names, each with its code.

    Args:
        batch: what was sent.
        body: the response; None when it was too long to read.
        spec: where the errors stand.
        secrets: values that a code may not repeat.

    Raises:
        Unclear: `bad_response` when the body is not what `spec` says, `unmatched_errors` when an error names no row.
    """
    entries = _entries(body, spec.list)
    if not entries:
        return {}
    rows = [json.loads(row, parse_float=str) for row in json_rows(batch.rows)]
    places = {_key_text([row[name] for name in batch.keys]): place for place, row in enumerate(rows)}
    found: dict[int, str] = {}
    for entry in entries:
        place = _place(entry, spec, batch, places)
        found[place] = _safe(entry.get(spec.code) if spec.code else None, rows[place], secrets)
    return found


def _entries(body: bytes | None, path: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(body or b"", parse_float=str)
        for name in path.split("."):
            found = found[name]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        raise Unclear("bad_response") from None
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise Unclear("bad_response")
    return found


def _place(entry: Mapping[str, Any], spec: RowErrors, batch: Batch, places: Mapping[tuple[str, ...], int]) -> int:
    place: int | None = None
    if spec.key is not None and entry.get(spec.key) is not None:  # null: it says which row by its position
        place = places.get(_named_key(entry[spec.key], batch.keys))
    elif spec.index is not None:
        place = _index(entry.get(spec.index), len(batch))
    if place is None:
        raise Unclear("unmatched_errors")
    return place


def _named_key(value: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """A key as an error repeats it: the value alone, a list in order, or an object by name."""
    if isinstance(value, dict):
        return _key_text([value.get(name) for name in names])
    return _key_text(value if isinstance(value, list) else [value])


def _key_text(values: list[Any]) -> tuple[str, ...]:
    return tuple(value if isinstance(value, str) else json.dumps(value) for value in values)


def _index(value: Any, count: int) -> int | None:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", text) or int(text) >= count:
        return None
    return int(text)


def _safe(code: Any, row: Mapping[str, Any], secrets: Collection[str]) -> str:
    """The code when it is one, and repeats neither a value of the row nor a secret."""
    text = str(code) if isinstance(code, (str, int)) and not isinstance(code, bool) else ""
    return text if CODE.fullmatch(text) and not holds(text, (*row.values(), *secrets)) else PLAIN
