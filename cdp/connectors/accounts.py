"""Whose account do the credentials open? One host serves every customer, so that a host alone says little."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from cdp.connectors.base import Connector
from cdp.connectors.codes import contains
from cdp.errors import CdpError, DeliveryError

_SECRET = 8  # letters of what may only be a secret, wherever it stands
_SHOWN = re.compile(r"[A-Za-z0-9 @._:/-]{1,100}")  # an answer that looks otherwise is not repeated


async def check(connector: Connector, account: str | None, who: str) -> None:
    """Ask an open connector whose account it writes to, before the first row leaves.

    Args:
        connector: open.
        account: what the agreement says; None asks nothing.
        who: names the destination in errors.

    Raises:
        DeliveryError: it is another account, or the channel cannot tell.
    """
    if account is None:
        return
    fix = "use the credentials of that account, or mend `account` in the agreement"
    try:
        found = await connector.whoami()
    except CdpError:
        raise
    except Exception as error:  # a connector may be anyone's
        raise DeliveryError(f"{who}: its connector failed to say whose account it opens ({type(error).__name__})", fix=fix) from None
    if found is None:
        fix = "declare http.whoami in the destination; of a connector without it, take `account` out of the agreement"
        raise DeliveryError(f"{who}: the agreement is about account {account!r}, and the channel cannot tell whose it opens", fix=fix)
    if found != account:
        said = f"account {found!r}" if _SHOWN.fullmatch(found) else "another account"
        raise DeliveryError(f"{who}: the credentials open {said}, the agreement is about {account!r}", fix=fix)


def read(body: bytes | None, path: str, secrets: Collection[str]) -> str | None:
    """The account in a response: text, or a whole number as its text. None when there is none.

    Args:
        body: JSON; None when it was too long to read.
        path: dotted.
        secrets: an answer that repeats one of these, or holds one, names no account: it would be shown.
    """
    try:
        found = json.loads(body or b"", parse_int=str, parse_float=lambda _: None)
        for name in path.split("."):
            found = found[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(found, str) or not found or found in secrets:
        return None
    return None if contains(found, (secret for secret in secrets if len(secret) >= _SECRET)) else found
