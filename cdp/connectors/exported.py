"""The rows that a channel says it holds, page by page: a list of items, of which the key is read and all else is dropped.

Whoever reads only a part takes the rest for lost; so the end has to be said, not guessed, and whatever is not as declared is an error.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import httpx

from cdp.connectors.wire import Answer
from cdp.errors import DeliveryError
from cdp.spec.activation import Export

if TYPE_CHECKING:
    import pyarrow as pa

Ask = Callable[[httpx.URL], Awaitable[Answer]]
EMPTY_PAGES = 100  # in a row: a channel that only filters slowly has ended by then
_FIX = "mend http.export, or run again"


async def pages(ask: Ask, url: httpx.URL, spec: Export, keys: Sequence[str], who: str) -> AsyncIterator[pa.Table]:
    """The keys of each page.

    Args:
        ask: sends a GET, with all retries.
        url: of the list, without its parameters.
        spec: how it is asked.
        keys: names of the key columns.
        who: names the destination in errors.

    Raises:
        DeliveryError: a page is refused or not as declared, leads elsewhere or to one that was there before, or there is no end.
    """
    import pyarrow as pa

    at, first = url.copy_merge_params(spec.query), url
    mark, power, empty = None, 1, 0  # Brent's cycle detection: a page is compared with the last one whose number is a power of two
    for number in range(1, spec.pages + 1):
        page = _parsed(await ask(at), number, who)
        rows = [_key(item, keys, number, who) for item in _items(page, spec, number, who)]
        if rows:
            yield pa.table({name: pa.array(texts, pa.string()) for name, texts in zip(keys, zip(*rows, strict=True), strict=True)})
        empty = 0 if rows else empty + 1
        lead = _lead(page, spec, number, who)
        if lead is None:
            return
        if lead == mark or empty == EMPTY_PAGES:
            raise DeliveryError(f"{who}: the pages of http.export lead in a circle (seen at page {number})", fix=_FIX)
        if number == power:
            mark, power = lead, 2 * power
        at = _link(at, first, lead, who) if spec.cursor is None else first.copy_merge_params({**spec.query, spec.cursor: lead})
    raise DeliveryError(f"{who}: after {spec.pages:,} pages http.export has no end", fix="raise http.export.pages, or the rows of a page")


def _parsed(answer: Answer, number: int, who: str) -> Any:
    if not 200 <= answer.status < 300 or answer.status == 207:
        raise DeliveryError(f"{who}: the channel does not say which rows it has: page {number} is answered {answer.code}", fix=_FIX)
    if answer.body is None:
        raise DeliveryError(
            f"{who}: page {number} of http.export is too long to read", fix="ask for fewer rows a page, in http.export.query"
        )
    try:
        # Numbers stay the text that they are, as a key's text does.
        return json.loads(answer.body, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise DeliveryError(f"{who}: page {number} of http.export is not JSON", fix=_FIX) from None


def _no_constant(_: str) -> Any:
    raise ValueError


def _items(page: Any, spec: Export, number: int, who: str) -> list[Any]:
    found = page
    for name in spec.items.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, list):
        raise DeliveryError(f"{who}: page {number} of http.export has no list at {spec.items}", fix="mend http.export.items")
    return found


def _key(item: Any, keys: Sequence[str], number: int, who: str) -> tuple[str, ...]:
    """The texts of an item's key columns, as `encoding.key` has them of the same values."""
    values = [item.get(name) if isinstance(item, Mapping) else None for name in keys]
    texts = tuple(json.dumps(value) if isinstance(value, bool) else value for value in values if isinstance(value, str | bool))
    if len(texts) < len(keys):
        wrong = [name for name, value in zip(keys, values, strict=True) if not isinstance(value, str | bool)]
        fix = "the export has to name rows by the key that the sync sends; see http.export.query"
        raise DeliveryError(f"{who}: an item of page {number} of http.export has no key in {', '.join(wrong)}", fix=fix)
    return texts


def _lead(page: Any, spec: Export, number: int, who: str) -> str | None:
    """What leads to the next page; None on the last one."""
    found, there = page, True
    for name in spec.next.split("."):
        there = there and isinstance(found, Mapping) and name in found
        found = found[name] if there else None
    said = f"{who}: page {number} of http.export has"
    if not there and spec.last == "null":
        fix = "mend http.export.next, or write `last: absent` if that is how the channel says that there is no further page"
        raise DeliveryError(f"{said} nothing at {spec.next}: whether it is the last cannot be told", fix=fix)
    if found is None or found is False or found == "":
        return None
    if not isinstance(found, str):
        raise DeliveryError(f"{said} no cursor and no link at {spec.next}", fix="mend http.export.next")
    return found


def _link(at: httpx.URL, first: httpx.URL, lead: str, who: str) -> httpx.URL:
    """Where a link leads: to another part of the same list, for our credentials go with it."""
    try:
        found = at.join(lead)
    except (httpx.InvalidURL, ValueError):
        raise DeliveryError(f"{who}: a link of http.export is no URL", fix="mend http.export.next, or name its `cursor`") from None
    if (found.scheme, found.netloc, found.path) != (first.scheme, first.netloc, first.path) or found.userinfo or found.fragment:
        raise DeliveryError(f"{who}: a link of http.export leads away from {first.path}", fix="name its `cursor`, or have the path mended")
    return found
