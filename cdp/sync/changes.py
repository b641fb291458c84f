"""The name of a change: stable across retries, reruns and crashes, and another one for every other change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cdp.connectors.base import ChangeIds, WireOp
from cdp.engine.base import literal
from cdp.governance.masks import pseudonyms

if TYPE_CHECKING:
    import pyarrow as pa


def changed(sync: str, op: WireOp, content: str, base: str, key: str) -> str:
    """SQL for the id of a change. It names what it builds on, so that going back to an old value is a new change.

    Args:
        sync: its sync.
        op: as the channel sees it.
        content: SQL of the content's hash.
        base: SQL of what it builds on; the same change, sent again, builds on the same.
        key: SQL of the key.
    """
    numbers = [f"COALESCE(CAST({number} AS STRING), '-')" for number in (content, base)]
    return f"SHA2(CONCAT_WS('|', {', '.join((literal(sync), literal(op), *numbers, key))}), 256)"


def texts(sync: str, op: WireOp, rows: pa.Table) -> pa.ChunkedArray:
    """What `changed` hashes, of a plan's rows: they hold their keys."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = [pc.fill_null(rows.column(name).cast(pa.string()), "-") for name in ("_content", "_base")]
    return pc.binary_join_element_wise(sync, op, *numbers, rows.column("_key"), "|")


def ids(texts: pa.StringArray, mask_keys: Mapping[str, bytes]) -> ChangeIds:
    """The ids of changes as they leave, as `changed` and `sealed` make them."""
    return ChangeIds(texts, lambda change: sealed([change], mask_keys)[0])


def sealed(changes: Sequence[str], mask_keys: Mapping[str, bytes]) -> Sequence[str]:
    """Ids of changes as they leave. Where a pseudonym leaves, its secret is in them: what stands behind a bare hash could be guessed."""
    if not mask_keys:
        return changes
    return [change or "" for change in pseudonyms(changes, mask_keys[min(mask_keys)], "change")]
