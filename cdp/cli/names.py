"""Names that people type, and what they may have meant."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from cdp.errors import UsageError

SHOWN = 12


def unknown(what: str, name: str, known: Collection[str]) -> UsageError:
    """The error for a name that the project does not have: with the nearest one, or with what there is."""
    near = get_close_matches(name, known, n=1)
    listed = ", ".join(sorted(known)[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
    fix = f"did you mean {near[0]}?" if near else f"one of: {listed}" if known else f"the project declares no {what}"
    return UsageError(f"there is no {what} named {name}", fix=fix)


def known(what: str, names: Collection[str], declared: Collection[str]) -> None:
    """Check names that people typed.

    Raises:
        UsageError: one of `names` is not among the declared ones.
    """
    for name in names:
        if name not in declared:
            raise unknown(what, name, declared)
