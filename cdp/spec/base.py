"""What every YAML kind shares."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Text(str):
    """A YAML scalar as its source text: `08`, `no`, `1_000` and `12:30` survive.

    `quoted` tells `"null"` from `null`, and `"$x"` from the parameter `$x`. Plain `null`, `~` and nothing at
    all become None before this class is reached; every other type is given by the field or column it meets.
    """

    __slots__ = ("quoted",)
    quoted: bool

    def __new__(cls, text: str, quoted: bool = False) -> Text:
        """A scalar with its source text."""
        self = super().__new__(cls, text)
        self.quoted = quoted
        return self


# A tree of dict, list, Text and None: a part of a document that the language, not pydantic, reads.
Tree = Any


def _day(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("must be a date such as 2026-07-01")  # pydantic would take 20260701 for seconds since 1970
    return value


Day = Annotated[dt.date, BeforeValidator(_day)]  # a date as people write it


class Spec(BaseModel):
    """A frozen part of a YAML document. Unknown keys are errors; inputs never appear in error texts."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=True,
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
        defer_build=True,  # when a document needs it: not again for each part of one
    )


class Kind(Spec):
    """A whole YAML document: `kind`, and for most kinds a `name`.

    `registry` maps the word after `kind:` to its class; a subclass registers itself by its `kind` literal.
    """

    registry: ClassVar[dict[str, type[Kind]]] = {}
    folder: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        Kind.registry[cls.model_fields["kind"].default] = cls
