"""What a receiver has signed and what a purpose is for: the reasons to refuse that do not depend on the data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from urllib.parse import urlsplit

from cdp.errors import Refusal
from cdp.spec.activation import Destination, Sync
from cdp.spec.policy import Agreement, Purpose

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def contract(sync: Sync, destination: Destination, purpose: Purpose, agreement: Agreement | None, today: dt.date) -> Iterator[Refusal]:
    """What does not depend on the data: the agreement, its dates, purposes and hosts, the channel, who pays."""
    what = f"destination {destination.name}"
    if destination.channel not in purpose.channels:
        missing = f"purpose {sync.purpose} is not told over {destination.channel} (it is over {', '.join(purpose.channels)})"
        yield Refusal("channel", what, "", (), missing, "use another purpose or destination")
    if sync.funded_by not in purpose.funded_by:
        missing = f"paid by {sync.funded_by!r}, purpose {sync.purpose} may be paid by: {', '.join(purpose.funded_by)}"
        fix = "what a third party pays for is marketing: 45 CFR 164.501, 164.508(a)(3)"
        yield Refusal("funding", f"sync {sync.name}", "", (), missing, fix)
    if agreement is None:
        missing = "no agreement covers it: being a patient is itself protected (45 CFR 160.103, 164.502(e))"
        yield Refusal("agreement", what, "", (), missing, "sign one, declare it under governance/baa/ and name it in `baa:`")
        return
    signed = f"agreement {agreement.name}"
    if today < agreement.effective:
        yield Refusal("agreement", signed, "", (), f"not in force before {agreement.effective}", "wait, or correct `effective`")
    if today > agreement.expires:
        yield Refusal("agreement", signed, "", (), f"ended on {agreement.expires}", "renew it and correct `expires`")
    if sync.purpose not in agreement.purposes:
        missing = f"does not cover purpose {sync.purpose} (it covers {', '.join(agreement.purposes)})"
        yield Refusal("agreement", signed, "", (), missing, "have the agreement cover the purpose, or use another")
    yield from _place(destination, agreement)


def _place(destination: Destination, agreement: Agreement) -> Iterator[Refusal]:
    """Where rows would go: the host or folder must be the agreement's. The wire checks it again."""
    what = f"destination {destination.name}"
    if destination.file is not None and not any(_under(destination.file.folder, allowed) for allowed in agreement.folders):
        missing = f"folder {destination.file.folder} is not in agreement {agreement.name} ({', '.join(agreement.folders) or 'no folders'})"
        yield Refusal("folder", what, "", (), missing, "a folder is a receiver: name it under `folders:` of the agreement")
    if destination.base_url is None:
        return
    url = urlsplit(destination.base_url)
    if url.hostname in LOOPBACK:
        return  # the wire lets it through in a sandbox environment only
    host = url.hostname if url.port in (None, 443) else f"{url.hostname}:{url.port}"
    if host not in agreement.hosts:
        missing = f"host {host} is not in agreement {agreement.name} ({', '.join(agreement.hosts) or 'no hosts'})"
        yield Refusal("host", what, "", (), missing, "correct base_url, or have the agreement cover the host")
    if url.scheme != "https":
        yield Refusal("host", what, "", (), f"{url.scheme or 'no scheme'} is not encrypted", "use https")


def _under(folder: str, allowed: str) -> bool:
    inside, root = folder.rstrip("/").split("/"), allowed.rstrip("/").split("/")
    return ".." not in inside and inside[: len(root)] == root
