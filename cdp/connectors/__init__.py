"""Channels: one file each. `load` finds a connector by the name that destinations use."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdp.connectors.base import Connector

GROUP = "cdp.connectors"


def names() -> tuple[str, ...]:
    """The connectors that are installed, ours and others', by entry point."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def load(name: str) -> type[Connector]:
    """The class of a connector; `name` is one of `names()`."""
    (entry,) = list(entry_points(group=GROUP, name=name))[:1]
    connector: type[Connector] = entry.load()
    return connector
