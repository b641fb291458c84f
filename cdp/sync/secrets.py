"""Secrets come from the environment, at the last moment, and stay out of every record."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cdp.errors import DeliveryError
from cdp.governance.query import GovernedQuery
from cdp.spec.activation import Destination, Secret

SANDBOX = "sandbox"


def value(secret: Secret, owner: str, *, sandbox: bool) -> str:
    """The value of one secret; unset in a sandbox, the text `sandbox`.

    Raises:
        DeliveryError: the environment variable is unset or empty.
    """
    found = os.environ.get(secret.env) or (SANDBOX if sandbox else None)
    if found is None:
        raise DeliveryError(f"{owner} needs the secret {secret.env}, which is not set", fix=f"set the environment variable {secret.env}")
    return found


def of_destination(destination: Destination, *, sandbox: bool) -> Mapping[str, str]:
    """The secrets that a destination names."""
    return {name: value(secret, f"destination {destination.name}", sandbox=sandbox) for name, secret in destination.secrets.items()}


def of_masks(query: GovernedQuery, *, sandbox: bool) -> Mapping[str, bytes]:
    """The key of each wire mask, by column."""
    return {
        mask.column: value(mask.secret, f"the mask on {mask.column} for {query.destination.name}", sandbox=sandbox).encode()
        for mask in query.wire_masks
    }
