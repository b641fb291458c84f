"""HTTP/1.1 on loopback for the sandbox: sockets, headers, and the manners in which an answer goes wrong."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from cdp.sandbox.channel import Call, Reply, reply

BODY_LIMIT = 64_000_000


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class Listener(ThreadingHTTPServer):
    """A threading server that knows its open connections, so that stopping really stops.

    Args:
        host, port: where to listen.
        answer: what to say to a request; called from many threads.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, answer: Callable[[Call], Reply]) -> None:
        self.answer = answer
        self.stopping = Event()
        self._open: set[socket.socket] = set()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without the reverse look-up of the host's name that the standard library does."""
        socket.socket.bind(self.socket, self.server_address)
        self.server_address = self.socket.getsockname()
        host, port = self.socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection, then serve it on a thread."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and close it."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a peer that goes away is not news, and a traceback could hold a row."""

    def close_all(self) -> None:
        """Stop listening and cut what is open."""
        self.stopping.set()
        self.server_close()
        for connection in tuple(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, asks the sandbox, writes the answer in the manner it says."""

    server: Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit() or int(length) > BODY_LIMIT:
            self.close_connection = True
            self._write(reply(411 if not length.isdigit() or "Transfer-Encoding" in self.headers else 413, {"error": "length"}))
            return
        call = Call(self.command, self.path, tuple(self.headers.keys()), self.headers.get("Idempotency-Key"), self.rfile.read(int(length)))
        if not is_loopback(_name(self.headers.get("Host", ""))):
            self._write(reply(403, {"error": "host"}))  # a browser led here by a name that it does not own
            return
        self._write(self.server.answer(call))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _write(self, answer: Reply) -> None:
        slow = answer.manner == "slow"
        if answer.manner == "reset" or (slow and self.server.stopping.wait(answer.seconds)):
            self._cut()
            return
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.manner == "drip":
            self._drip(answer)
        elif answer.manner == "half_reset":
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.wfile.flush()
            self._cut()
        else:
            self.wfile.write(answer.body)

    def _drip(self, answer: Reply) -> None:
        for place in range(len(answer.body)):
            if self.server.stopping.wait(answer.seconds / len(answer.body)):
                return
            self.wfile.write(answer.body[place : place + 1])
            self.wfile.flush()

    def _cut(self) -> None:
        """Close with RST: what a balancer does that loses its backend."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a path is the caller's business."""
