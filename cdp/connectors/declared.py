"""What a destination declares for the `http` connector, checked before anything is sent."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx

from cdp.connectors.base import Batch, Target
from cdp.connectors.egress import check_url
from cdp.errors import DeliveryError
from cdp.spec.activation import HttpOptions, Idempotency

if TYPE_CHECKING:
    import pyarrow as pa

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_OURS = {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "accept-encoding"}
# What some servers take in place of the URL's host or path, which are those of the agreement.
_OURS |= {
    "forwarded",
    "x-host",
    "x-original-host",
    "x-forwarded-host",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-original-url",
    "x-rewrite-url",
}


def options(target: Target, who: str) -> HttpOptions:
    """The destination's `http` part; every mistake in it is told at once."""
    declared, wrong = target.destination.http, []
    if declared is None or target.destination.base_url is None:
        raise DeliveryError(f"{who}: the http connector needs `base_url` and `http`", fix="declare both in the destination")
    for name, request in (("upsert", declared.upsert), ("remove", declared.remove)):
        if request is not None and isinstance(request.body, dict) and set(request.body) != {"list"}:
            wrong.append(f"http.{name}.body: valid: array, ndjson, {{list: NAME}}")
    if (header := declared.idempotency.header) is not None and (not _TOKEN.fullmatch(header) or header.lower() in _OURS):
        wrong.append(f"http.idempotency.header: {header!r} cannot be set here")
    if declared.whoami is not None and "{" in declared.whoami.path:
        wrong.append("http.whoami.path: it asks about the account, and names no sync")
    wrong += [f"http.export: {said}" for said in (declared.export.unclear() if declared.export else ())]
    wrong += [f"http.lookup{part and '.'}{part}: {said}" for part, said in declared.unasked()]
    wrong += declared.without_room(tuple(target.notice))
    if declared.errors is not None and declared.errors.key is None and declared.errors.index is None:
        wrong.append("http.errors: needs `key` or `index`, or no error can be matched with its row")
    if wrong:
        raise DeliveryError(f"{who}: {'; '.join(wrong)}", fix="mend the destination's http part")
    return declared


def urls(target: Target, declared: HttpOptions, who: str) -> dict[str, httpx.URL]:
    """The URL of each kind of change, and of what is asked, checked before anything is sent."""
    base = (target.destination.base_url or "").rstrip("/")
    if "?" in base or "#" in base:
        raise DeliveryError(f"{who}: base_url must not hold a query or a fragment", fix="put the query into http.upsert.path")
    found: dict[str, httpx.URL] = {}
    for name, path in declared.paths.items():
        try:
            found[name] = httpx.URL(f"{base}/{_path(path, target, who).lstrip('/')}")
        except (httpx.InvalidURL, ValueError):
            fix = "write base_url: https://host and path: /path"
            raise DeliveryError(f"{who}: base_url and http.{name}.path make no URL", fix=fix) from None
        check_url(found[name], target.egress, who)
    return found


def _path(template: str, target: Target, who: str) -> str:
    """The path with the sync's name in it, or with what stands for the name where the receiver may not read it.

    A segment is quoted whole: a name never begins another segment or a query.
    """
    if "{sync}" in template and not target.egress.names:
        fix = "write {sync_id}, or have the agreement say `labels: named`"
        raise DeliveryError(f"{who}: a path holds the name of the sync, and the agreement keeps names opaque", fix=fix)
    opaque = hashlib.sha256(target.sync.encode()).hexdigest()[:12]
    return template.replace("{sync}", quote(target.sync, safe="")).replace("{sync_id}", opaque)


def headers(target: Target, declared: HttpOptions, who: str) -> dict[bytes, bytes]:
    """The declared headers with their secrets. Errors name headers and secrets, never what they hold."""
    found: dict[bytes, bytes] = {}
    wrong = []
    for name, template in declared.headers.items():
        unknown = [text for text in re.findall(r"\{[^{}]*\}", template) if text[1:-1] not in target.secrets]
        value = _filled(template, target.secrets)
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS | {(declared.idempotency.header or "").lower()}:
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


def key_header(batch: Batch, declared: Idempotency) -> Mapping[bytes, bytes]:
    """The header with the key of a request, if the channel has one."""
    return {declared.header.lower().encode(): batch.idempotency_key.encode()} if declared.header else {}


def with_ids(batch: Batch, declared: Idempotency) -> pa.Table:
    """The rows, each with the key of its change where the channel asks for it."""
    import pyarrow as pa

    if declared.field is None:
        return batch.rows
    return batch.rows.append_column(declared.field, pa.array(list(batch.change_ids), pa.string()))


def _filled(template: str, secrets: Mapping[str, str]) -> bytes | None:
    """The header's value, or None when a header cannot hold it."""
    value = re.sub(r"\{([^{}]*)\}", lambda match: secrets.get(match[1], ""), template)
    if value != value.strip() or not all(" " <= letter <= "~" or "\xa0" <= letter <= "\xff" for letter in value):
        return None
    return value.encode("latin-1")
