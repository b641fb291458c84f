"""A term seen from another row: what a trait computes of its own row, asked of a row around or over to-one relations."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from cdp.project.terms import ColumnRef, InSegment, InSql, Link, Measure, Operand, Picked, Satisfies, SqlValue

T = TypeVar("T")


class _Fixed(Exception):
    """The term holds only of the row at hand."""


def rebase(term: Operand, up: int, hops: tuple[Link, ...]) -> Operand | None:
    """The same value of another row: the one `up` rows outwards, or where `hops` lead from there.

    Returns:
        None where a segment or a SELECT decides it, which know the row at hand only.
    """
    if not up and not hops:
        return term
    try:
        return _moved(term, 0, up, hops)
    except _Fixed:
        return None


def _moved(term: T, depth: int, up: int, hops: tuple[Link, ...]) -> T:
    """The term with everything that speaks of the row `depth` outwards speaking of the other one."""
    result: Any = term
    if isinstance(term, tuple):
        result = tuple(_moved(part, depth, up, hops) for part in term)
    elif isinstance(term, ColumnRef):
        result = replace(term, up=depth + up, hops=(*hops, *term.hops)) if term.up == depth else term
    elif isinstance(term, (InSegment, InSql, SqlValue)):
        if depth == 0:
            raise _Fixed
    elif isinstance(term, (Picked, Satisfies)):
        inner = "column" if isinstance(term, Picked) else "of"
        result = replace(term, measure=_moved(term.measure, depth, up, hops), **{inner: _moved(getattr(term, inner), depth + 1, up, hops)})
    elif isinstance(term, Measure):
        changed: dict[str, Any] = {
            f.name: _moved(getattr(term, f.name), depth + 1, up, hops) for f in fields(term) if f.name not in ("up", "hops", "link")
        }
        at: dict[str, Any] = {"up": depth + up, "hops": (*hops, *term.hops)} if term.up == depth else {}
        result = replace(term, **changed, **at)
    elif is_dataclass(term) and not isinstance(term, (type, Link)):
        result = replace(term, **{f.name: _moved(getattr(term, f.name), depth, up, hops) for f in fields(term)})
    return result  # type: ignore[no-any-return]
