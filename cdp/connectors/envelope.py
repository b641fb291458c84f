"""The body around the rows of a request: a list, or an object that holds them beside a notice (42 CFR 2.32)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cdp.spec.activation import Request


def body(request: Request, rows: list[str], notice: Mapping[str, str]) -> bytes:
    """The body of a request: its rows as declared, in an object together with the notice, if there is one."""
    if request.body == "ndjson":
        text = "\n".join(rows) + "\n"
    elif request.body == "array":
        text = f"[{','.join(rows)}]"
    else:
        first = "".join(f"{json.dumps(name)}:{json.dumps(value)}," for name, value in tree(notice).items())
        text = f"{{{first}{json.dumps(request.body['list'])}:[{','.join(rows)}]}}"
    return text.encode()


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
