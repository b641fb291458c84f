"""Names that people type, and what they may have meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import TypeVar

from cdp.errors import UsageError

K = TypeVar("K", bound=str)
SHOWN = 12


def unknown(what: str, name: str, known: Collection[str]) -> UsageError:
    """The error for a name that the project does not have: with the nearest one, or with what there is."""
    near = get_close_matches(name, known, n=1)
    listed = ", ".join(sorted(known)[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
    fix = f"did you mean {near[0]}?" if near else f"one of: {listed}" if known else f"the project declares no {what}"
    return UsageError(f"there is no {what} named {name!r}", fix=fix)


def known(what: str, names: Collection[str], declared: Collection[str]) -> None:
    """Check names that people typed.

    Raises:
        UsageError: one of `names` is not among the declared ones.
    """
    for name in names:
        if name not in declared:
            raise unknown(what, name, declared)


def kind_of(name: str, wanted: K | None, kinds: Mapping[K, Collection[str]]) -> K:
    """The kind of thing that a name that people typed is of.

    Args:
        name: what was typed.
        wanted: the kind that was asked for, if any.
        kinds: the names of each kind.

    Raises:
        UsageError: none has the name, or several have and none was chosen.
    """
    found = [kind for kind, names in kinds.items() if name in names and wanted in (None, kind)]
    if len(found) > 1:
        raise UsageError(f"{name!r} is a {' and a '.join(found)}", fix=f"add --kind {found[0]} or --kind {found[1]}")
    if not found:
        *first, last = kinds
        declared = [other for kind, names in kinds.items() if wanted in (None, kind) for other in names]
        raise unknown(wanted or f"{', '.join(first)} or {last}", name, declared)
    return found[0]
