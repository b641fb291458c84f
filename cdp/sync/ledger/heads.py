"""Heads of the disclosure ledger: a line for each sync's end, to be kept where whoever writes the ledger cannot.

A head says nothing of anybody: the hash is over salted digests. It may be signed, so that it can be kept anywhere.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from cdp.errors import UsageError
from cdp.sync import signing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

WHAT = "heads of a disclosure ledger"  # the kind of thing that is signed
LARGEST = 10_000_000  # bytes of a file of heads
_FIX = "name one that `cdp disclosures --export-head FILE` wrote"


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a sync's chain: its number, its hash, when it was written."""

    sync: str
    block: int
    hash: str
    at: str

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> Head:
        """The head that a block of the ledger is."""
        return cls(block["sync"], block["block"], block["hash"], block["at"].isoformat())

    def as_json(self) -> dict[str, Any]:
        """The head as a JSON object with stable keys."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Kept:
    """What a file of heads holds; `signed_by` is the public key of a signature that fits, None without one."""

    made: str
    heads: tuple[Head, ...]
    signed_by: str | None


def _zoned(text: str) -> str:
    """A moment with its zone, as it stands: a signature is over the text."""
    if dt.datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without a zone")
    return text


_Moment = Annotated[str, AfterValidator(_zoned)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    sync: str
    block: int = Field(ge=1)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    at: _Moment


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    made: _Moment
    heads: list[_Line]
    public_key: str | None = None
    signature: str | None = None


def write(path: Path, heads: Sequence[Head], now: dt.datetime, key: Ed25519PrivateKey | None) -> dict[str, Any]:
    """Write heads to a file, signed when a key is given.

    Returns:
        What was written.

    Raises:
        UsageError: there is no head, or the file is there already: an older head is not to be lost.
        OSError: it cannot be written.
    """
    if not heads:
        raise UsageError("the ledger has no head yet: nothing was told", fix="export heads after the first sync")
    facts = {"made": now.astimezone(dt.UTC).isoformat(), "heads": [head.as_json() for head in heads]}
    signed = {"public_key": signing.public_of(key), "signature": signing.sign(key, WHAT, facts)} if key else {}
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps({**facts, **signed}, indent=2) + "\n")
    except FileExistsError:
        raise UsageError(f"{path} is there already", fix="name another file: an older head may still be asked for") from None
    return {**facts, **signed}


def read(path: Path) -> Kept:
    """Read what `write` wrote.

    Raises:
        UsageError: it is no file of heads, it holds none, or its signature does not fit.
        OSError: it cannot be read.
    """
    with path.open("rb") as opened:
        text = opened.read(LARGEST)
    try:
        found = _File.model_validate_json(text)
    except ValidationError as error:
        where = ", ".join(sorted({".".join(map(str, one["loc"])) or "the text" for one in error.errors()}))
        raise UsageError(f"{path} is no file of heads: {where}", fix=_FIX) from None
    if not found.heads:
        raise UsageError(f"{path} holds no head: nothing can be held against it", fix=_FIX)
    facts = {"made": found.made, "heads": [line.model_dump() for line in found.heads]}
    if (found.signature is None) != (found.public_key is None):
        raise UsageError(f"{path}: a signature needs a public key, and a public key a signature", fix="use the file as it was written")
    if found.signature is not None and not signing.verify(found.public_key or "", found.signature, WHAT, facts):
        raise UsageError(f"{path}: the signature does not fit the heads", fix="use the file as it was written")
    return Kept(found.made, tuple(Head(**line.model_dump()) for line in found.heads), found.public_key)
