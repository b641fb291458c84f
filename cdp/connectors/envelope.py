"""The body around the rows of a request: a list, or an object that holds them beside a notice (42 CFR 2.32)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cdp.spec.activation import Request


def separator(request: Request) -> str:
    """What each row of a request is followed by; `body` takes the last one off where it must not stand."""
    return "\n" if request.body == "ndjson" else ","


def body(request: Request, rows: memoryview, notice: Mapping[str, str]) -> bytes:
    """The body of a request: its rows as declared, in an object together with the notice, if there is one.

    Args:
        request: says how.
        rows: at least one, each as JSON followed by the separator.
        notice: texts by their dotted paths.
    """
    if request.body == "ndjson":
        return bytes(rows)
    if request.body == "array":
        return b"".join((b"[", rows[:-1], b"]"))
    first = "".join(f"{json.dumps(name)}:{json.dumps(value)}," for name, value in tree(notice).items())
    return b"".join((f"{{{first}{json.dumps(request.body['list'])}:[".encode(), rows[:-1], b"]}"))


def tree(notice: Mapping[str, str]) -> dict[str, Any]:
    """Dotted paths as nested objects: `meta.notice` becomes {meta: {notice: ...}}."""
    found: dict[str, Any] = {}
    for path, text in notice.items():
        *above, last = path.split(".")
        at = found
        for name in above:
            at = at.setdefault(name, {})
        at[last] = text
    return found
