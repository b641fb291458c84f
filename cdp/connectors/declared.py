"""What a destination declares for the `http` connector, checked before anything is sent."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import httpx

from cdp.connectors.base import Target, WireOp
from cdp.connectors.egress import check_url
from cdp.errors import DeliveryError
from cdp.spec.activation import HttpOptions, Request

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_OURS = {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "accept-encoding", "idempotency-key"}


def options(target: Target, who: str) -> HttpOptions:
    """The destination's `http` part; every mistake in it is told at once."""
    declared, wrong = target.destination.http, []
    if declared is None or target.destination.base_url is None:
        raise DeliveryError(f"{who}: the http connector needs `base_url` and `http`", fix="declare both in the destination")
    for name, request in (("upsert", declared.upsert), ("remove", declared.remove)):
        if request is not None and isinstance(request.body, dict) and set(request.body) != {"list"}:
            wrong.append(f"http.{name}.body: valid: array, ndjson, {{list: NAME}}")
    if declared.errors is not None and declared.errors.key is None and declared.errors.index is None:
        wrong.append("http.errors: needs `key` or `index`, or no error can be matched with its row")
    if wrong:
        raise DeliveryError(f"{who}: {'; '.join(wrong)}", fix="mend the destination's http part")
    return declared


def urls(target: Target, declared: HttpOptions, who: str) -> dict[WireOp, httpx.URL]:
    """The URL of each kind of change, checked before anything is sent."""
    base = (target.destination.base_url or "").rstrip("/")
    if "?" in base or "#" in base:
        raise DeliveryError(f"{who}: base_url must not hold a query or a fragment", fix="put the query into http.upsert.path")
    requests: dict[WireOp, Request | None] = {"upsert": declared.upsert, "remove": declared.remove}
    found: dict[WireOp, httpx.URL] = {}
    for op, request in requests.items():
        if request is None:
            continue
        try:
            found[op] = httpx.URL(f"{base}/{_path(request.path, target.sync).lstrip('/')}")
        except (httpx.InvalidURL, ValueError):
            fix = "write base_url: https://host and path: /path"
            raise DeliveryError(f"{who}: base_url and http.{op}.path make no URL", fix=fix) from None
        check_url(found[op], target.egress, who)
    return found


def _path(template: str, sync: str) -> str:
    """The path with the sync's name in it, or with what stands for the name where the receiver may not read it."""
    return template.replace("{sync}", sync).replace("{sync_id}", hashlib.sha256(sync.encode()).hexdigest()[:12])


def headers(target: Target, declared: HttpOptions, who: str) -> dict[bytes, bytes]:
    """The declared headers with their secrets. Errors name headers and secrets, never what they hold."""
    found: dict[bytes, bytes] = {}
    wrong = []
    for name, template in declared.headers.items():
        unknown = [text for text in re.findall(r"\{[^{}]*\}", template) if text[1:-1] not in target.secrets]
        value = _filled(template, target.secrets)
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            wrong.append(f"header {name!r} cannot be set here")
        elif unknown:
            valid = ", ".join(sorted(target.secrets)) or "none"
            wrong.append(f"header {name}: no secret for {', '.join(unknown)}; valid: {valid}")
        elif value is None:
            wrong.append(f"header {name}: after its secrets it holds a line break, a control or another character that no header can hold")
        else:
            found[name.lower().encode()] = value
    if wrong:
        raise DeliveryError(f"{who}: {'; '.join(wrong)}", fix="mend http.headers, or set the secrets in the environment")
    return found


def _filled(template: str, secrets: Mapping[str, str]) -> bytes | None:
    """The header's value, or None when a header cannot hold it."""
    value = re.sub(r"\{([^{}]*)\}", lambda match: secrets.get(match[1], ""), template)
    if value != value.strip() or not all(" " <= letter <= "~" or "\xa0" <= letter <= "\xff" for letter in value):
        return None
    return value.encode("latin-1")
