"""How a channel is asked what became of a change whose receipt was lost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cdp.spec.base import Spec
from cdp.spec.model import Names
from cdp.spec.paths import ChangePath

CHANGE = "{change}"


class Lookup(Spec):
    """A question about changes, by the keys under which they were sent (`idempotency.field`): one a request, or many."""

    path: ChangePath = Field(
        description="appended to base_url; {change} stands for the key of a change, and each is then asked about by itself; "
        "{sync} and {sync_id} as in `upsert`"
    )
    body: Literal["array"] | dict[str, str] | None = Field(
        None, description="asks about many in one POST, instead of a GET for each: `array` of keys, or {list: NAME}, an object"
    )
    batch: int = Field(100, ge=1, le=1000, description="keys a request, where `body` holds many")
    items: str | None = Field(None, description="dotted path to the answer's list of messages; none: the answer is one message")
    key: str = Field(description="dotted path, in a message, to the key of its change: a message without it says nothing of any")
    status: str | None = Field(None, description="dotted path, in a message, to its state; none: that it is there says that it was applied")
    applied: Names = Field((), description="states that say that the change was applied, delivered to the person or not")
    not_applied: Names = Field((), description="states that say that it was not, and never will be: it is sent again")
    missing: Literal["unknown", "not_applied"] = Field(
        "unknown",
        description="what a change is that the channel does not know (404 with JSON, or not in the list): `not_applied`, it is sent again; "
        "only where the channel knows every message that it ever took",
    )
    known_after: float = Field(
        60, ge=0, le=600, description="seconds after which it knows what it was sent; what is not applied before then is asked about again"
    )

    def unclear(self) -> list[tuple[str, str]]:
        """What cannot be asked, or read, that way: of which field, or of none in particular, and why."""
        wrong = [(name, f"{path!r} is not a dotted path") for name, path in self._dotted() if not all(path.split("."))]
        alone, many = CHANGE in self.path, self.body is not None
        if alone == many:
            said = "both ask about changes" if alone else "no change is asked about"
            wrong.append(("", f"{said}: say {CHANGE} in `path`, for one a request, or `body`, for many"))
        if isinstance(self.body, dict) and (set(self.body) != {"list"} or not self.body["list"]):
            wrong.append(("body", "valid: array, {list: NAME}"))
        if many and self.items is None:
            wrong.append(("items", "must say where the list of answers stands, where `body` asks about many"))
        if "#" in self.path:
            wrong.append(("path", "holds a fragment"))
        if self.status is None and (self.applied or self.not_applied):
            wrong.append(("status", "must say where the states of `applied` and `not_applied` stand"))
        if self.status is not None and not self.applied:
            wrong.append(("applied", "must name the states that say so, where `status` says where they stand"))
        if both := set(self.applied) & set(self.not_applied):
            wrong.append(("not_applied", f"{', '.join(sorted(both))} is among `applied` too"))
        return wrong

    def _dotted(self) -> list[tuple[str, str]]:
        paths = {"items": self.items, "key": self.key, "status": self.status}
        return [(name, path) for name, path in paths.items() if path is not None]
