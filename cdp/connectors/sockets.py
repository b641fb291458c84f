"""While a plan is applied, Python's sockets of this process reach the agreement's hosts and this machine, and nothing else.

A connector that brings a client of its own (a vendor's SDK, its telemetry) does not pass our transport; CPython tells an audit
hook (PEP 578) of every name that is looked up and every address that is connected to. What it does not see: sockets of C
libraries (Sail's and Arrow's object stores, gRPC), names that `connect` itself looks up, child processes, and whoever means to
get around it; see docs/threat-model.md. A hook cannot be taken away again, so it asks first whether anything is being applied.
"""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from cdp.connectors.base import Egress
from cdp.connectors.egress import is_loopback
from cdp.errors import CdpError, DeliveryError

# The place of the host, or of an address that begins with it, in the arguments of each event.
_HOSTS = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0}
_ADDRESSES = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1}
_FIX = "have the connector call the agreement's hosts only, or have the agreement cover the host"


class _Watch:
    """What may be reached now: by the applies that are running, each of which adds its hosts."""

    def __init__(self) -> None:
        self.hosts: Counter[str] = Counter()
        self.addresses: set[str] = set()  # what the names of those hosts were found to be
        self.refused: list[tuple[str, object]] = []  # the host, and of which apply it was, where that is known
        self.running = 0
        self.lock = Lock()
        self.resolve: Callable[..., list[Any]] = socket.getaddrinfo

    def start(self, hosts: Iterable[str]) -> int:
        """Allow these hosts too; how many connections were refused before."""
        with self.lock:
            if not self.running:
                self.addresses.clear()
                self.resolve, socket.getaddrinfo = socket.getaddrinfo, self.look_up
            self.running += 1
            self.hosts.update(hosts)
            return len(self.refused)

    def stop(self, hosts: Iterable[str]) -> None:
        """Allow them no longer; after the last one the process is as it was."""
        with self.lock:
            self.running -= 1
            self.hosts.subtract(hosts)
            self.hosts += Counter()  # without those that nobody needs any more
            if not self.running:
                socket.getaddrinfo = self.resolve

    def look_up(self, *args: Any, **kwargs: Any) -> list[Any]:
        """socket.getaddrinfo, remembering what it found: a hook is told of the question and not of the answer."""
        found = self.resolve(*args, **kwargs)
        self.addresses.update(str(entry[4][0]) for entry in found)
        return found

    def check(self, host: str) -> None:
        """Refuse a host that nobody who runs may reach; it is remembered, for a client may hide it."""
        if not (host in self.hosts or host in self.addresses or is_loopback(host)):
            self.refused.append((host, _apply.get()))
            raise refusal(host)


_watch = _Watch()
# Which apply a connection is of. A thread that a library starts does not know: what it does is held against all that run.
_apply: ContextVar[object] = ContextVar("apply", default=None)
_installed: list[bool] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watch.running or not event.startswith("socket."):
        return
    if event in _HOSTS:
        _watch.check(_text(args[_HOSTS[event]]))
    elif event in _ADDRESSES:
        address = args[_ADDRESSES[event]]
        if isinstance(address, tuple):  # others are of this machine: a path, a netlink socket
            _watch.check(_text(address[0]))


def _text(host: Any) -> str:
    name = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host or "localhost")
    return name.lower().rstrip(".")


def refusal(host: str) -> DeliveryError:
    """The error of a connection that the agreement does not name."""
    return DeliveryError(f"a connection to {host} was refused: the agreement does not name it", fix=_FIX)


@contextmanager
def guarded(egress: Egress) -> Iterator[Callable[[], DeliveryError | None]]:
    """Hold Python's sockets of this process to an agreement's hosts and loopback.

    Yields:
        A function that gives the refusal, if something tried to reach another host, even if it hid that it could not.

    Raises:
        DeliveryError: instead of what a refused connection became on its way up.
    """
    hosts = [host.rpartition(":")[0] if ":" in host else host for host in egress.hosts]
    if not _installed:
        sys.addaudithook(_audit)
        _installed.append(True)
    first, own = _watch.start(hosts), object()
    entered = _apply.set(own)

    def refused() -> DeliveryError | None:
        return next((refusal(host) for host, of in _watch.refused[first:] if of in (own, None)), None)

    try:
        yield refused
    except CdpError:
        raise
    except Exception as error:
        raise refused() or error from None
    finally:
        _apply.reset(entered)
        _watch.stop(hosts)
