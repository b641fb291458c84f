"""A connection that is kept open: an answer is one to the request before it, and nothing of an answer goes back with the next request."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from cdp.testing.connectors import batch
from tests.unit.test_http_connector import make_target, outcome, read_request, send

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
REFUSED = b"HTTP/1.1 422 Unprocessable\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def kept_open(answer: Callable[[int], list[bytes]]) -> Iterator[tuple[str, list[bytes], list[socket.socket]]]:
    """A server that answers the n-th request with these pieces, a moment apart, and closes nothing; what it saw, and its connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            while request := read_request(connection):
                seen.append(request)
                first, *others = answer(len(seen))
                connection.sendall(first)
                for piece in others:
                    time.sleep(0.05)
                    connection.sendall(piece)

    def run() -> None:
        with suppress(OSError):
            while True:
                connections.append(listener.accept()[0])
                threading.Thread(target=serve, args=(connections[-1],), daemon=True).start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen, connections
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        for each in (listener, *connections):
            each.close()
        thread.join(5)


@pytest.mark.parametrize("answer", [OK, CHUNKED, EMPTY])
@pytest.mark.parametrize("more", [OK, CHUNKED, OK[:10]])
def test_an_answer_that_was_there_before_its_question_is_none(answer: bytes, more: bytes) -> None:
    """The second row is refused: what was left over of the first answer must not say that it was delivered."""
    with kept_open(lambda number: [answer + more if number == 1 else REFUSED]) as (url, seen, connections):
        receipts = send(make_target(url, repeats="effect"), batch(["p1"]), batch(["p2"]))
        assert [outcome(each) for each in receipts] == [{("delivered", None)}, {("rejected", "http_422")}]
        assert (len(seen), len(connections)) == (2, 2)


def test_a_length_that_counts_letters_and_not_bytes_costs_a_connection_and_no_row() -> None:
    short = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + '"gesch\u00fctzt"'.encode()
    with kept_open(lambda _: [short]) as (url, seen, connections):
        receipts = send(make_target(url, repeats="effect"), *(batch([f"p{n}"]) for n in range(4)))
        assert [outcome(each) for each in receipts] == [{("delivered", None)}] * 4
        assert (len(seen), len(connections)) == (4, 4)


def test_a_connection_that_has_said_all_is_used_again() -> None:
    with kept_open(
        lambda number: [(OK, CHUNKED, EMPTY, CHUNKED[:50], OK)[number - 1], *((CHUNKED[50:],) if number == 4 else ())]
    ) as served:
        url, seen, connections = served
        receipts = send(make_target(url, repeats="effect"), *(batch([f"p{n}"]) for n in range(5)))
        assert [outcome(each) for each in receipts] == [{("delivered", None)}] * 5
        assert (len(seen), len(connections)) == (5, 1)


def test_no_cookie_goes_back() -> None:
    """One for each answer made requests longer until the channel refused them (400), and rows with them."""
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: session%d=x; Path=/\r\nContent-Length: 2\r\n\r\n{}"
    with kept_open(lambda number: [cookie % number]) as (url, seen, _):
        send(make_target(url), batch(["p1"]), batch(["p2"]))
    assert len(seen) == 2
    assert b"cookie" not in seen[1].lower()
