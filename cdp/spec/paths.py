"""Paths of requests: what may stand in braces."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator


def _holding(*names: str) -> Callable[[str], str]:
    def check(path: str) -> str:
        if unknown := set(re.findall(r"\{[^{}]*\}", path)) - {f"{{{name}}}" for name in names}:
            valid = ", ".join(f"{{{name}}}" for name in names)
            raise ValueError(f"holds {', '.join(sorted(unknown))}; valid: {valid}; a path never holds a value of a row")
        return path

    return check


SyncPath = Annotated[str, AfterValidator(_holding("sync", "sync_id"))]
ChangePath = Annotated[str, AfterValidator(_holding("sync", "sync_id", "change"))]
