"""Is the secret of a pseudonym still the one under which rows went out?

The state knows what a pseudonym was made of, not the pseudonym. Under another secret a removal would name somebody whom the channel
never had, be taken there, and count as done. So each run says by which secret it told: four hexadecimal digits of an HMAC, by which
all but one in 65,536 other secrets are found, and which tell next to nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from cdp.errors import DataError
from cdp.governance.masks import pseudonyms
from cdp.governance.query import GovernedQuery
from cdp.sync import state
from cdp.sync.ledger import Control

_DIGITS: Final = 4
_CONTEXT: Final = "which secret"  # no receiver and version, so that this is nobody's pseudonym


def marks(query: GovernedQuery, mask_keys: Mapping[str, bytes]) -> dict[str, str]:
    """By which secrets a run tells: of a key column whatever its version, since old pseudonyms are computed with it too.

    Args:
        query: from governance.
        mask_keys: the secret of each wire mask, by column.
    """
    found = {}
    for mask in query.wire_masks:
        name = mask.column if mask.column in query.keys else f"{mask.column}@{mask.version}"
        found[name] = str(pseudonyms(["mark"], mask_keys[mask.column], _CONTEXT)[0])[:_DIGITS]
    return found


def check(control: Control, query: GovernedQuery, at: state.Known, now: Mapping[str, str]) -> None:
    """Refuse to deliver under a secret that is not the one of what the destination holds, or may hold.

    Args:
        control: the control tables.
        query: from governance.
        at: how far the state goes.
        now: what `marks` gives today.

    Raises:
        DataError: names the columns.
    """
    if not now or not at.any:
        return
    table, sync = control.table("runs"), query.sync.name
    told = "n = 0 AND GET_JSON_OBJECT(body, '$.secrets') IS NOT NULL"
    last = f"SELECT MAX_BY(body, run) AS body FROM {table} WHERE sync = :sync AND {told}"
    before = json.loads(control.engine.recall(table, last, {"sync": sync}).column("body")[0].as_py() or "{}").get("secrets", {})
    other = sorted(name.partition("@")[0] for name, mark in now.items() if before.get(name, mark) != mark)
    if not other:
        return
    if control.engine.value(f"SELECT COUNT(a.content) FROM ({state.held(control, sync, at)}) AS a", what="the acknowledged state"):
        said = f"the secret of the mask on {', '.join(other)} is not the one under which rows went out"
        raise DataError(
            f"sync {sync}: {said}: by it nobody would be taken off",
            fix="put the secret back; a key is given another one when everybody was taken off, a value with another key_version",
        )
