"""References and names of syncs, destinations and conf/cdp.yml."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from cdp.project.index import Index
from cdp.project.keys import PASSPHRASE
from cdp.project.problems import Path
from cdp.project.project import Project
from cdp.project.source import Document, short
from cdp.spec.access import Agreement
from cdp.spec.activation import Destination, Environment, Output, ProjectConfig, Sync, UnitSpec

FIELD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
CRON: Final = re.compile(r"(?:[0-9A-Za-z*/,-]+ ){4}[0-9A-Za-z*/,-]+")
CREDENTIALS: Final = re.compile(r"authorization|cookie|api[-_]?key|token|secret|password", re.IGNORECASE)
BUILT_IN: Final = ("http", "file")  # the connectors whose options are models of their own, under their own name


def check(project: Project, index: Index, connectors: frozenset[str] | None) -> None:
    """Report what is wrong with the kinds under syncs/ and destinations/, and with conf/cdp.yml."""
    for name, sync in project.syncs.items():
        _sync(sync, index.sources["sync", name], index)
    for name, destination in project.destinations.items():
        _destination(destination, index.sources["destination", name], index, connectors)
        _account(destination, project.policy.agreements.get(destination.baa or ""), index.sources["destination", name], index)
        _keys_kept(destination, project, index.sources["destination", name], index)
        theirs = [sync for sync in project.syncs.values() if sync.destination == name]
        _export(destination, index.sources["destination", name], index)
        _lookup(destination, index.sources["destination", name], index)
        _idempotency(destination, theirs, index.sources["destination", name], index)
        _one_list(destination, theirs, index)
    if (document := index.sources.get(("project", "project"))) is not None and project.config.name:
        _config(project.config, document, index)


# -- syncs ------------------------------------------------------------------------------------------------------------


def _sync(sync: Sync, document: Document, index: Index) -> None:
    index.named(document, ("name",), sync.name, "sync")
    index.refer(document, ("segment",), sync.segment, index.names("segment"), "segment")
    index.refer(document, ("destination",), sync.destination, index.names("destination"), "destination")
    index.refer(document, ("purpose",), sync.purpose, index.inside("purposes", "purposes"), "purpose")
    if sync.schedule is not None and not CRON.fullmatch(sync.schedule):
        index.problems.add(document, ("schedule",), f"{short(sync.schedule)} is not a cron schedule", hint='such as "0 7 * * *"')
    taken: dict[str, str] = {}
    for part, outputs in (("key", sync.key), ("mappings", sync.mappings)):
        for name, output in outputs.items():
            path = (part, name)
            _output(output, path, document, index)
            if not FIELD.fullmatch(name):
                hint = "letters, digits and _, a letter first"
                index.problems.add(document, path, f"field name {short(name)} cannot be a column", hint=hint, key=True)
            elif (first := taken.setdefault(name.lower(), name)) is not name:  # the engines do not tell upper from lower case
                index.problems.add(document, path, f"field {name!r} is there already, as {first!r}", hint="rename one", key=True)


def _output(output: Output, path: Path, document: Document, index: Index) -> None:
    given = [part for part in ("of", "expr", "constant") if getattr(output, part) is not None]
    if len(given) != 1:
        found = f", not {' and '.join(given)}" if given else ""
        index.problems.add(document, path, f"must say exactly one of `of`, `expr`, `constant`{found}")
    index.refer(document, (*path, "mask"), output.mask, index.inside("masks", "masks"), "mask")


# -- destinations -----------------------------------------------------------------------------------------------------


def _destination(destination: Destination, document: Document, index: Index, connectors: frozenset[str] | None) -> None:
    index.named(document, ("name",), destination.name, "destination")
    known = index.refer(document, ("connector",), destination.connector, connectors, "connector")
    index.refer(document, ("baa",), destination.baa, index.names("baa"), "agreement", hint="agreements stand in governance/baa/")
    for name in BUILT_IN:
        given = getattr(destination, name) is not None
        if known and given != (destination.connector == name):
            message = f"`{name}:` is for the connector {name}" if given else f"the connector {name} needs its options"
            index.problems.add(document, (name,), message, hint="" if given else f"write them under `{name}:`", key=True)
    if destination.base_url is not None:
        _url(destination.base_url, ("base_url",), document, index)
    elif destination.connector == "http":
        index.problems.add(document, (), "the connector http needs a `base_url`")
    for name, value in destination.http.headers.items() if destination.http else ():
        _header(name, value, destination, document, index)


def _idempotency(destination: Destination, syncs: Sequence[Sync], document: Document, index: Index) -> None:
    """The key of a change must have a place, and one that nothing else takes."""
    declared = destination.http.idempotency if destination.http else None
    if destination.http is None or declared is None:
        return
    if declared.header is None and declared.field is None and destination.http.repeats == "keys":
        message = "must say how the channel gets the key of a change, by `header` or `field`, where `repeats` is keys"
        index.problems.add(document, ("http", "idempotency"), message, key=True)
    if declared.header is not None and not HEADER.fullmatch(declared.header):
        index.problems.add(document, ("http", "idempotency", "header"), f"{short(declared.header)} is no name of a header")
    if declared.field is None:
        if destination.http.repeats == "keys" and destination.http.upsert.batch > 1:
            # What was not answered goes in the requests of the next run, with others: under another key, which the channel does not know.
            message = "one key for all rows of a request is another one when they go again with other rows: they are applied twice"
            hint = "name the `field` that holds the key of each row, write `batch: 1`, or `repeats: effect`"
            index.problems.warn(document, ("http", "repeats"), message, hint=hint)
        return
    if not FIELD.fullmatch(declared.field):
        hint = "letters, digits and _, a letter first"
        index.problems.add(document, ("http", "idempotency", "field"), f"{short(declared.field)} cannot be a field", hint=hint)
    for sync in syncs:
        if declared.field.lower() in {name.lower() for name in (*sync.key, *sync.mappings)}:
            message = f"field {short(declared.field)} is one that sync {sync.name} fills"
            index.problems.add(document, ("http", "idempotency", "field"), message, hint="name another one")


def _export(destination: Destination, document: Document, index: Index) -> None:
    """What is asked has to be clear, and a credential has no place in a URL."""
    declared = destination.http.export if destination.http else None
    if declared is None:
        return
    for said in declared.unclear():
        index.problems.add(document, ("http", "export"), said, hint="such as {path: /v1/contacts, items: contacts, next: paging.next}")
    for name in declared.query:
        if CREDENTIALS.search(name):
            index.problems.add(
                document, ("http", "export", "query", name), "holds a credential in a URL", hint="put it under `secrets` and use a header"
            )


def _lookup(destination: Destination, document: Document, index: Index) -> None:
    """What is asked has to be clear, and of a channel that knows the keys."""
    for part, said in destination.http.unasked() if destination.http else ():
        path = ("http", "lookup", part) if part else ("http", "lookup")
        index.problems.add(document, path, said, key=not part)


def _one_list(destination: Destination, syncs: Sequence[Sync], index: Index) -> None:
    """Warn of a mirror that takes off what another sync has put into the same list: the other one would not know."""
    requests = [request for request in (destination.http.upsert, destination.http.remove) if request] if destination.http else []
    if destination.connector not in BUILT_IN or (requests and all("{sync" in request.path for request in requests)):
        return
    for sync in syncs:
        others = [other.name for other in syncs if other is not sync and set(other.key) == set(sync.key)]
        if sync.mode == "mirror" and others:
            message = f"takes off people whom {', '.join(sorted(others))} put there: all of them share one list of {destination.name}"
            hint = (
                "give each sync a list of its own, by {sync} or {sync_id} in its paths"
                if requests
                else "give each sync a folder of its own"
            )
            index.problems.warn(index.sources["sync", sync.name], ("mode",), message, hint=hint)


def _account(destination: Destination, agreement: Agreement | None, document: Document, index: Index) -> None:
    """An agreement about an account needs a channel that can be asked; other connectors than ours are asked at plan."""
    whoami = destination.http.whoami if destination.http else None
    if whoami is not None and not re.fullmatch(r"/[^{}?#]*", whoami.path):
        hint = "such as /v3/user/account; it asks about the account, and names no sync"
        index.problems.add(document, ("http", "whoami", "path"), f"{short(whoami.path)} is not a path", hint=hint)
    if agreement is None or agreement.account is None or whoami is not None or destination.connector not in BUILT_IN:
        return
    hint = "write http.whoami: {path: /v3/user/account, account: id}, as the channel's API has it"
    if destination.connector != "http":
        hint = "a folder is no account: let an agreement of its own cover it"
    message = f"agreement {agreement.name} is about account {short(agreement.account)}, and nothing says how to ask whose account this is"
    index.problems.add(document, ("baa",), message, hint=hint)


def _keys_kept(destination: Destination, project: Project, document: Document, index: Index) -> None:
    """What pseudonyms are made with, and what opens the key of an approval, leaves in no header: whoever has it undoes them."""
    ours = {PASSPHRASE: "opens the keys of approvals"}
    for name, mask in project.policy.masks.items():
        if mask.key is not None:
            ours[mask.key.env] = f"is the key of mask {name}"
    known = {env.upper(): (env, what) for env, what in ours.items()}  # some systems do not tell upper from lower case
    for name, secret in destination.secrets.items():
        if secret.env.upper() in known:
            env, what = known[secret.env.upper()]
            hint = "name the variable that holds what the channel itself gave us"
            index.problems.add(document, ("secrets", name, "env"), f"{env} {what}, and no destination is told it", hint=hint)


def _url(url: str, path: Path, document: Document, index: Index) -> None:
    """A URL is repeated in plans and logs, so that it must not hold a credential; nor is it repeated here."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and not (parts.query or parts.fragment)
    except ValueError:
        fine = False
    if not fine:
        index.problems.add(document, path, "is not a base URL", hint="such as https://api.example.org; no query")
    elif parts.username is not None or parts.password is not None:
        index.problems.add(document, path, "holds a user name or password", hint="put it under `secrets` and use a header")


def _header(name: str, value: str, destination: Destination, document: Document, index: Index) -> None:
    path = ("http", "headers", name)
    used = re.findall(r"\{([^{}]*)\}", value)
    for secret in used:
        hint = "secrets stand under `secrets` of the destination"
        index.refer(document, path, secret, frozenset(destination.secrets), "secret", hint=hint)
    if not used and CREDENTIALS.search(name):
        index.problems.add(document, path, "holds a credential in plain text", hint="name it under `secrets` and write {NAME} here")


# -- conf/cdp.yml -----------------------------------------------------------------------------------------------------


def _config(config: ProjectConfig, document: Document, index: Index) -> None:
    index.named(document, ("name",), config.name, "project")
    if not config.environments:
        index.problems.add(document, ("environments",), "must not be empty", hint="such as {dev: {lakehouse: lake}}")
    else:
        index.refer(document, ("default_environment",), config.default_environment, frozenset(config.environments), "environment")
    for name in config.periods:
        index.named(document, ("periods", name), name, "period", key=True, reserved=True)
    for name, environment in config.environments.items():
        _environment(environment, ("environments", name), document, index)
    for name, unit in config.units.items():
        _unit(name, unit, ("units", name), document, index)
    _one_meaning(config.code_systems, "code_systems", document, index)
    _one_meaning({name: unit.same_as for name, unit in config.units.items()}, "units", document, index)


def _unit(name: str, unit: UnitSpec, path: Path, document: Document, index: Index) -> None:
    problems = index.problems
    given = [key for key in ("to", "times") if getattr(unit, key) is not None]
    if len(given) == 1:
        problems.add(document, path, f"`{given[0]}` alone converts nothing", hint="such as {times: 18.016, to: mg/dL}", key=True)
    if unit.of is not None and not given:
        problems.add(document, (*path, "of"), "`of` says for which codes a value is converted", hint="add `times` and `to`", key=True)
    index.refer(document, (*path, "of"), unit.of, index.names("value_set"), "value set")
    if unit.times is not None and unit.times <= 0:
        problems.add(document, (*path, "times"), "must be greater than 0")
    if unit.to is not None and (unit.to in (name, *unit.same_as) or not unit.to.strip()):
        problems.add(document, (*path, "to"), f"{short(unit.to)} is not another unit")


def _environment(environment: Environment, path: tuple[str, ...], document: Document, index: Index) -> None:
    index.named(document, path, path[-1], "environment", key=True)
    index.named(document, (*path, "control"), environment.control, "schema")
    if (environment.lakehouse is None) == (environment.catalog is None):
        hint = "a lakehouse is a folder, a catalog has its tables by name"
        index.problems.add(document, path, "must say either `lakehouse` or `catalog`", hint=hint, key=True)
    for name, override in environment.destinations.items():
        at = (*path, "destinations", name)
        index.refer(document, at, name, index.names("destination"), "destination", key=True)
        if override.base_url is not None:
            _url(override.base_url, (*at, "base_url"), document, index)


def _one_meaning(words: dict[str, tuple[str, ...]], part: str, document: Document, index: Index) -> None:
    """A word that feeds use must not stand for two code systems or units."""
    owner: dict[str, str] = {}
    for name, others in words.items():
        for word in (name, *others):
            if owner.setdefault(word, name) != name:
                message = f"{short(word)} stands for {owner[word]} already"
                index.problems.add(document, (part, name), message, hint="remove it from one", key=True)
