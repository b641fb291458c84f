"""A destination as an environment sees it, and what its agreement lets a run touch."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cdp.cli.output import Output

if TYPE_CHECKING:
    from cdp.connectors.base import Target
    from cdp.governance.query import GovernedQuery
    from cdp.project.load import Project
    from cdp.spec.activation import Destination, Environment

LOOPBACK = ("127.0.0.1", "::1", "localhost")
STORE = Path(".cdp", "sandbox.jsonl")


def placed(destination: Destination, environment: Environment) -> Destination:
    """The destination with what the environment changes of it: another base URL or folder."""
    change = environment.destinations.get(destination.name)
    if change is None:
        return destination
    update: dict[str, object] = {"base_url": change.base_url} if change.base_url else {}
    if change.folder and destination.file:
        update["file"] = destination.file.model_copy(update={"folder": change.folder})
    return destination.model_copy(update=update)


def target(query: GovernedQuery, environment: Environment, root: Path) -> Target:
    """What a connector is opened with: the destination, and the hosts, paths and folders of its agreement.

    Args:
        query: as governed; its agreement is the one that covers the destination.
        environment: where the run takes place.
        root: the project's folder, where relative folders start.
    """
    from cdp.connectors.base import Egress, Target

    agreement = query.agreement
    egress = Egress(
        hosts=frozenset(agreement.hosts),
        paths=tuple(agreement.paths),
        folders=tuple(root / folder for folder in agreement.folders),
        plaintext_loopback=environment.sandbox,
        names=agreement.labels == "named",
    )
    return Target(placed(query.destination, environment), egress, run="", root=root, sync=query.sync.name, notice=query.notice)


def accounts(project: Project, environment: Environment) -> dict[str, Any]:
    """What each sandbox channel answers when it is asked whose account it is: the one that the agreement names.

    Args:
        project: its destinations say how their channels are asked.
        environment: says on which channel of this machine a destination is.
    """
    found: dict[str, Any] = {}
    for destination in project.destinations.values():
        url, agreement = placed(destination, environment).base_url, project.policy.agreements.get(destination.baa or "")
        if _loopback(url) and destination.http and destination.http.whoami and agreement and agreement.account:
            answer: Any = agreement.account
            for name in reversed(destination.http.whoami.account.split(".")):
                answer = {name: answer}
            found[urlsplit(url or "").path.strip("/").partition("/")[0]] = answer
    return found


@contextmanager
def sandboxes(
    destinations: Iterable[Destination], environment: Environment, root: Path, out: Output, answers: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Serve the loopback channels of a sandbox environment that nobody serves, as long as the context lasts.

    What they hold is kept in the project's `.cdp/sandbox.jsonl`, so that the next run finds it again. `answers` are from `accounts`.
    """
    from contextlib import ExitStack

    from cdp.sandbox.server import Sandbox

    ports = {address for d in destinations if environment.sandbox and (address := _loopback(placed(d, environment).base_url))}
    with ExitStack() as stack:
        for host, port in sorted(ports):
            if not _listens(host, port):
                (root / STORE).parent.mkdir(exist_ok=True)
                stack.enter_context(Sandbox(host, port, root / STORE, answers))
                out.note(f"nothing listens on {host}:{port}: a sandbox channel serves there for this run, and keeps its rows in {STORE}")
        yield


def _loopback(url: str | None) -> tuple[str, int] | None:
    parts = urlsplit(url or "")
    if parts.hostname not in LOOPBACK:
        return None
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
