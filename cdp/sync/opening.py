"""Opening a destination: its connector, its secrets, and whose account they are."""

from __future__ import annotations

from dataclasses import replace

from cdp.connectors import accounts
from cdp.connectors.base import Connector, Paced, Target
from cdp.connectors.sockets import guarded
from cdp.errors import DeliveryError
from cdp.governance.query import GovernedQuery
from cdp.sync import secrets
from cdp.sync.delivery import run_loop


def connect(connector: type[Connector], target: Target, *, run: str, sandbox: bool) -> Connector:
    """The connector of a destination, not yet open, with its secrets.

    Args:
        connector: the destination's.
        target: without run and secrets.
        run: the run's name.
        sandbox: secrets may be unset.

    Raises:
        DeliveryError: a secret is missing, the options cannot be used, or a notice that must go with every batch, or a limit
            a second, cannot be kept.
    """
    if target.notice and not getattr(connector, "carries_notice", False):
        fix = "use a connector that carries notices, http or file; or leave the records of substance use disorder out"
        raise DeliveryError(f"destination {target.destination.name}: its connector cannot carry the notice of 42 CFR 2.32", fix=fix)
    if target.destination.limits.a_second and not issubclass(connector, Paced):
        fix = "use the connector http, or remove requests_per_second and rows_per_second"
        raise DeliveryError(f"destination {target.destination.name}: its connector keeps no limits a second", fix=fix)
    return connector(replace(target, run=run, secrets=secrets.of_destination(target.destination, sandbox=sandbox)))


def confirm(query: GovernedQuery, connector: type[Connector], target: Target, *, sandbox: bool) -> None:
    """Ask the channel, while a plan is made, whether its account is the agreement's; nothing of a plan is sent.

    Raises:
        DeliveryError: the channel cannot be opened, opens another account, or cannot tell.
    """
    if query.agreement.account is None:
        return
    opened = connect(connector, target, run="plan", sandbox=sandbox)

    async def ask() -> None:
        async with opened:
            await accounts.check(opened, query.agreement.account, f"destination {query.destination.name}")

    with guarded(target.egress):
        run_loop(ask())
