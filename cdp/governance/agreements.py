"""What a receiver has signed and what a purpose is for: the reasons to refuse that do not depend on what the query tells."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from cdp.errors import Refusal
from cdp.project.project import Policy
from cdp.spec.access import Agreement
from cdp.spec.activation import Destination, Sync
from cdp.spec.people import Semantics
from cdp.spec.policy import Profile

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
UNPAID = frozenset({"none", "cost_of_communication"})  # 45 CFR 164.501 "marketing" (2)(i): payment of the cost is none
NAMED_LABEL = "{sync}"  # in a path: the name of the sync leaves


def contract(policy: Policy, sync: Sync, destination: Destination, today: dt.date) -> Iterator[Refusal]:
    """What does not depend on the query: the channel, who pays, holdouts; the agreement, its dates, type, purposes and places.

    Args:
        policy: the project's.
        sync: what is asked for; its purpose is one of the policy.
        destination: where it goes.
        today: the wall clock's day.
    """
    yield from _purpose(policy, sync, destination)
    agreement = policy.agreements.get(destination.baa or "")
    if agreement is None:
        missing = "no agreement covers it: being a patient is itself protected (45 CFR 160.103, 164.502(e))"
        fix = "sign one, declare it under governance/baa/ and name it in `baa:`"
        yield Refusal("agreement", f"destination {destination.name}", "", (), missing, fix)
        return
    yield from _term(sync, agreement, today)
    yield from _channel(destination, agreement)
    profile = policy.profiles.get(policy.purposes[sync.purpose].profile or "")
    yield from _type(sync, agreement, profile)
    yield from _handing_on(agreement)
    yield from _labels(sync, destination, agreement)
    yield from _place(destination, agreement)


# -- the purpose -----------------------------------------------------------------------------------------------------


def _purpose(policy: Policy, sync: Sync, destination: Destination) -> Iterator[Refusal]:
    purpose, what = policy.purposes[sync.purpose], f"sync {sync.name}"
    if destination.channel not in purpose.channels:
        missing = f"purpose {sync.purpose} is not told over {destination.channel} (it is over {', '.join(purpose.channels)})"
        yield Refusal("channel", f"destination {destination.name}", "", (), missing, "use another purpose or destination")
    if sync.funded_by not in purpose.funded_by:
        missing = f"paid by {sync.funded_by!r}, purpose {sync.purpose} may be paid by: {', '.join(purpose.funded_by)}"
        fix = "what a third party pays for is marketing: 45 CFR 164.501, 164.508(a)(3)"
        yield Refusal("funding", what, "", (), missing, fix)
    semantics = policy.consent.semantics if policy.consent else {}
    if sync.funded_by not in UNPAID and not is_authorization(semantics.get(purpose.consent)):
        missing = f"paid by {sync.funded_by!r}, so it is marketing whatever its purpose (45 CFR 164.501, 164.508(a)(3))"
        fix = "use a purpose whose consent is an authorization: granted per purpose and receiver"
        yield Refusal("funding", what, "", (), missing, fix)
    if sync.holdout is not None and not purpose.holdout:
        missing = f"purpose {sync.purpose} leaves nobody out at random: to withhold care for an experiment is for an IRB (45 CFR 46)"
        yield Refusal("holdout", what, "", (), missing, "leave `holdout` out, or have the purpose say `holdout: true`")


def is_authorization(consent: Semantics | None) -> bool:
    """Is a kind of consent given for one purpose and one receiver, as an authorization is? 45 CFR 164.508(c)(1)(iii)-(iv)."""
    return consent is not None and consent.need == "granted" and {"purpose", "receiver"} <= set(consent.per)


# -- the agreement ---------------------------------------------------------------------------------------------------


def _term(sync: Sync, agreement: Agreement, today: dt.date) -> Iterator[Refusal]:
    signed = f"agreement {agreement.name}"
    if agreement.effective is not None and today < agreement.effective:
        yield Refusal("agreement", signed, "", (), f"not in force before {agreement.effective}", "wait, or correct `effective`")
    if (end := ended(agreement, today)) is not None:
        yield end
    if sync.purpose not in agreement.purposes:
        missing = f"does not cover purpose {sync.purpose} (it covers {', '.join(agreement.purposes)})"
        yield Refusal("agreement", signed, "", (), missing, "have the agreement cover the purpose, or use another")


def _channel(destination: Destination, agreement: Agreement) -> Iterator[Refusal]:
    """What a receiver reaches people over decides which consents are asked for; who writes destinations does not decide it."""
    if agreement.channels and destination.channel not in agreement.channels:
        missing = f"agreement {agreement.name} is not for {destination.channel} (it is for {', '.join(agreement.channels)})"
        fix = "say the channel that it is, or have the agreement cover this one"
        yield Refusal("channel", f"destination {destination.name}", "", (), missing, fix)


def ended(agreement: Agreement, today: dt.date) -> Refusal | None:
    """The refusal of an agreement that has ended; None while it has not."""
    if agreement.expires is None or today <= agreement.expires:
        return None
    return Refusal("agreement", f"agreement {agreement.name}", "", (), f"ended on {agreement.expires}", "renew it and correct `expires`")


def _type(sync: Sync, agreement: Agreement, profile: Profile | None) -> Iterator[Refusal]:
    """A data use agreement covers a limited data set and nothing else, and a limited data set needs one: 45 CFR 164.514(e)."""
    signed, needs_dua = f"agreement {agreement.name}", profile is not None and profile.needs == "dua"
    if agreement.type == "dua" and not needs_dua:
        missing = f"is a data use agreement, and purpose {sync.purpose} has no profile that keeps to a limited data set (45 CFR 164.514(e))"
        yield Refusal("agreement", signed, "", (), missing, "use a purpose with such a profile, or sign a business associate agreement")
    if needs_dua and agreement.type != "dua":
        missing = (
            f"is of type {agreement.type}; purpose {sync.purpose} tells a limited data set, under a data use agreement (164.514(e)(4))"
        )
        yield Refusal("agreement", signed, "", (), missing, "sign one and declare it with `type: dua`")


def _handing_on(agreement: Agreement) -> Iterator[Refusal]:
    for each in agreement.subprocessors:
        if not each.flow_down:
            missing = f"hands data on to {each.name}, which is not bound to the same restrictions (45 CFR 164.502(e)(1)(ii), 164.308(b)(2))"
            fix = "have them sign, then say `flow_down: true`"
            yield Refusal("subprocessor", f"agreement {agreement.name}", "", (), missing, fix)


def _labels(sync: Sync, destination: Destination, agreement: Agreement) -> Iterator[Refusal]:
    """What a list is called says what its people have in common."""
    named = [path for path in destination.http.paths.values() if NAMED_LABEL in path] if destination.http else []
    if named and agreement.labels == "opaque":
        missing = f"the name {sync.name} would leave in {named[0]}; agreement {agreement.name} has opaque labels"
        fix = "write {sync_id} in its paths, or have the agreement say `labels: named`"
        yield Refusal("labels", f"destination {destination.name}", "", (), missing, fix)
    if agreement.labels != "opaque":
        return
    for place, text in _texts(destination):
        for name, kind in {sync.name: "sync", sync.segment: "segment"}.items():
            if _stands_in(name, text):
                missing = f"{place} holds the name of {kind} {name}; agreement {agreement.name} has opaque labels"
                fix = "write {sync_id} in a path, another word elsewhere, or have the agreement say `labels: named`"
                yield Refusal("labels", f"destination {destination.name}", "", (), missing, fix)


def _texts(destination: Destination) -> Iterator[tuple[str, str]]:
    """What is written in a destination and leaves with its requests and files, by where it stands."""
    yield "base_url", destination.base_url or ""
    yield "file.folder", destination.file.folder if destination.file else ""
    if (http := destination.http) is None:
        return
    for header, text in http.headers.items():
        yield f"http.headers.{header}", text
    for name, path in http.paths.items():
        yield f"http.{name}.path", path
    for name, request in (("upsert", http.upsert), ("remove", http.remove)):
        if request is not None:
            yield f"http.{name}.body", request.body.get("list", "") if isinstance(request.body, dict) else ""
    for name, value in http.export.query.items() if http.export else ():
        yield f"http.export.query.{name}", value


def _stands_in(name: str, text: str) -> bool:
    """Does a name stand in a text as a whole word, in any case, with whatever between its parts?"""
    parts = [re.escape(part) for part in re.split(r"[^a-z0-9]+", name.lower()) if part]
    return bool(parts) and re.search(f"(?<![a-z0-9]){'[^a-z0-9]*'.join(parts)}(?![a-z0-9])", text.lower()) is not None


# -- the place -------------------------------------------------------------------------------------------------------


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
    yield from _paths(destination, url.path, agreement)


def _paths(destination: Destination, base: str, agreement: Agreement) -> Iterator[Refusal]:
    """What would be called there: under the agreement's paths, as whole segments."""
    for name, called in destination.http.paths.items() if destination.http else ():
        path = f"{base.rstrip('/')}/{called.partition('?')[0].lstrip('/')}"
        if agreement.paths and not any(_under(path, prefix) for prefix in agreement.paths):
            missing = f"http.{name} calls {path}, which is not under a path of agreement {agreement.name} ({', '.join(agreement.paths)})"
            yield Refusal("path", f"destination {destination.name}", "", (), missing, "correct the path, or have the agreement cover it")


def _under(folder: str, allowed: str) -> bool:
    inside, root = folder.rstrip("/").split("/"), allowed.rstrip("/").split("/")
    return ".." not in inside and inside[: len(root)] == root
