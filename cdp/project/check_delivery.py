"""What a destination says of retries and limits."""

from __future__ import annotations

from cdp.project.index import Index
from cdp.project.problems import Path
from cdp.project.project import Project
from cdp.project.source import Document, short
from cdp.spec.activation import Destination
from cdp.spec.delivery import CODE, Limits, Retries, Wait


def check(project: Project, index: Index) -> None:
    """Report what is wrong with `retries` and `limits` of the destinations."""
    for name, destination in project.destinations.items():
        document = index.sources["destination", name]
        _retries(destination.retries, document, index)
        theirs = frozenset(sync.name for sync in project.syncs.values() if sync.destination == name)
        _limits(destination.limits, theirs, document, index)
        _a_second(destination, document, index)


def _retries(retries: Retries, document: Document, index: Index) -> None:
    problems, codes = index.problems, retries.codes
    for number, code in enumerate(retries.never):
        path = ("retries", "never", number) if len(retries.never) > 1 else ("retries", "never")
        _code(code, path, document, index)
        if code in codes:
            problems.add(document, ("retries", "codes", code), f"code {short(code)} is never tried again", hint="say it once", key=True)
    for code in codes:
        _code(code, ("retries", "codes", code), document, index)
    _waits(("retries",), retries.wait, retries.longest_wait, document, index)
    for code, own in codes.items():
        _waits(("retries", "codes", code), own.wait or retries.wait, own.longest_wait or retries.longest_wait, document, index)


def _waits(path: tuple[str, ...], wait: Wait, longest: Wait, document: Document, index: Index) -> None:
    if not longest.seconds:
        index.problems.add(document, (*path, "longest_wait"), "must be longer than nothing", hint="such as {days: 7}")
    elif wait.seconds > longest.seconds:
        hint = "say a shorter `wait`, or a longer `longest_wait`"
        index.problems.add(document, path, "waits longer than `longest_wait` already after the first rejection", hint=hint, key=True)


def _code(code: str, path: Path, document: Document, index: Index) -> None:
    if not CODE.fullmatch(code):
        hint = "as `cdp runs RUN` shows it: letters, digits and ._-, at most 64"
        index.problems.add(document, path, f"{short(code)} is no code of a receipt", hint=hint)


def _a_second(destination: Destination, document: Document, index: Index) -> None:
    """Limits a second are kept on the wire, and a request is not torn apart to keep one."""
    limits = destination.limits
    for name in ("requests_per_second", "rows_per_second"):
        if getattr(limits, name) is not None and destination.file is not None:
            index.problems.add(document, ("limits", name), "a folder is written as fast as it can be", hint="remove it", key=True)
    if limits.rows_per_second is None or destination.http is None:
        return
    for name, request in (("upsert", destination.http.upsert), ("remove", destination.http.remove)):
        if request is not None and request.batch > limits.rows_per_second:
            message = f"{limits.rows_per_second:g} is less than the {request.batch} rows of one request of http.{name}"
            hint = f"write http.{name}.batch: {max(1, int(limits.rows_per_second))}"
            if limits.rows_per_second < 1:
                hint = "write requests_per_second for less than one a second"
            index.problems.add(document, ("limits", "rows_per_second"), message, hint=hint)


def _limits(limits: Limits, syncs: frozenset[str], document: Document, index: Index) -> None:
    for number, name in enumerate(limits.order):
        path = ("limits", "order", number)
        index.refer(document, path, name, syncs, "sync of this destination")
        if name in limits.order[:number]:
            index.problems.add(document, path, f"sync {short(name)} stands there already", hint="remove one")
    if limits.order and limits.rows_per_day is None:
        hint = "add `rows_per_day`; without a cap nothing is carried over"
        index.problems.add(document, ("limits", "order"), "`order` says who comes first under a cap", hint=hint, key=True)
