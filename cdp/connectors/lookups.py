"""What a channel says became of changes, when it is asked by their keys.

A wrong `True` loses a message, a wrong `False` sends one twice; so whatever is not as declared says nothing. An answer counts for a
change only if it repeats its key. That a change is missing is believed of an answer that names none of those asked, and nothing else:
a list may be one page of several, or all that the channel has because it did not understand the question.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from cdp.connectors.wire import Answer
from cdp.spec.lookup import CHANGE, Lookup

Ask = Callable[[httpx.URL, bytes], Awaitable[Answer]]
_HOLES = (quote(CHANGE).encode(), CHANGE.encode())  # as it stands in a URL's path, and in its query


@dataclass(frozen=True, slots=True)
class _Said:
    """What an answer says of the changes that it names; `whole`: of those that it does not name, that they are missing."""

    found: Mapping[str, bool | None]
    whole: bool = False


_NOTHING = _Said({})


async def applied(ask: Ask, url: httpx.URL, spec: Lookup, changes: Sequence[str], abreast: int) -> list[bool | None]:
    """For each change whether the channel applied it; None where it does not say.

    Args:
        ask: sends a question, with all retries.
        url: where to, with a hole for the key of a change where each is asked about by itself.
        spec: how it is asked.
        changes: their keys.
        abreast: questions at a time.

    Raises:
        DeliveryError: `ask` cannot ask any further.
    """
    size = 1 if spec.body is None else spec.batch
    waiting = deque(changes[start : start + size] for start in range(0, len(changes), size))
    found: dict[str, bool | None] = {}

    async def work() -> None:
        while waiting:
            found.update(await _settled(ask, url, spec, waiting.popleft()))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(abreast, len(waiting))):
                group.create_task(work())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [found.get(change) for change in changes]


async def _settled(ask: Ask, url: httpx.URL, spec: Lookup, changes: Sequence[str]) -> dict[str, bool | None]:
    """What is said of these. What an answer does not name is asked for once more without the others, until one names none."""
    found: dict[str, bool | None] = {}
    left = list(changes)
    while left:
        said = _read(await ask(_url(url, left), _body(spec, left)), spec, left)
        found.update(said.found)
        left = [change for change in left if change not in said.found]
        if not said.whole:
            break
        if not said.found:
            found.update(dict.fromkeys(left, False if spec.missing == "not_applied" else None))
            break
    return found


def _url(url: httpx.URL, changes: Sequence[str]) -> httpx.URL:
    path, key = url.raw_path, quote(changes[0], safe="").encode()
    for hole in _HOLES:
        path = path.replace(hole, key)
    return url.copy_with(raw_path=path)


def _body(spec: Lookup, changes: Sequence[str]) -> bytes:
    if spec.body is None:
        return b""
    return json.dumps(changes if spec.body == "array" else {spec.body["list"]: changes}).encode()


def _read(answer: Answer, spec: Lookup, asked: Sequence[str]) -> _Said:
    missing = answer.status == 404 and spec.body is None
    if not (missing or 200 <= answer.status < 300) or answer.status == 207:
        return _NOTHING
    try:
        said = json.loads(answer.body or b"")
    except (ValueError, RecursionError):  # also a 404 that is a page: of a guard in front of the channel, or of a path that is not there
        return _NOTHING
    if missing:
        return _Said({}, whole=True)
    messages = [said] if spec.items is None else _at(said, spec.items)
    if not isinstance(messages, list):
        return _NOTHING
    found: dict[str, bool | None] = {}
    strangers = False
    for message in messages:
        change = _at(message, spec.key)
        if not isinstance(change, str) or change not in asked:
            strangers = True
        elif found.get(change) is not True:  # of two messages under one key one that was applied is enough
            state = _state(message, spec)
            found[change] = state if change not in found or state is True or state is found[change] else None
    return _Said(found, whole=spec.items is not None and not strangers)


def _state(message: Any, spec: Lookup) -> bool | None:
    if spec.status is None:
        return True
    value = _at(message, spec.status)
    text = value if isinstance(value, str) else json.dumps(value)
    return True if text in spec.applied else False if text in spec.not_applied else None


def _at(value: Any, path: str) -> Any:
    """What stands at a dotted path; None where nothing does."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
