"""What came of the cases of tests, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cdp.project.trials import Case, matches

Status = Literal["passed", "failed", "pending", "error"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case.

    Attributes:
        member: whether the row is in the segment; None of a trait, and where the case could not be run.
        values: what the expected traits came to, by path.
        tree: of a failure, the condition with a verdict on each part, as lines.
        rows: of a failure, the rows of the case, as lines.
        error: why the case could not be run.
    """

    case: Case
    status: Status
    member: bool | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    tree: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the case came out as expected; one that expects nothing yet does not."""
        return self.status == "passed"

    @property
    def title(self) -> str:
        """The test and the case."""
        return ", ".join(filter(None, (self.case.test, self.case.name)))

    def said(self) -> Iterator[str]:
        """What was expected and what came instead, a line each."""
        if self.error:
            yield self.error
        elif self.case.pending:
            yield "pending: say what is expected, and take `status: pending` away"
        else:
            if self.case.member not in (None, self.member):
                yield f"expected {membership(self.case.member)}, got {membership(self.member)}"
            for expected in self.case.values:
                got = self.values.get(expected.path)
                if not matches(expected, got):
                    yield f"{expected.path}: expected {_text(expected.text)}, got {_text(got)}"

    def as_json(self) -> dict[str, Any]:
        """The outcome as a JSON object with stable keys."""
        case = self.case
        wanted = {} if case.member is None else {"in": case.member}
        got = {} if self.member is None else {"in": self.member}
        return {
            "kind": case.kind,
            "name": case.subject,
            "test": case.test,
            "case": case.name,
            "file": case.file,
            "line": case.line,
            "as_of": case.as_of,
            "status": self.status,
            "expected": wanted | {expected.path: expected.text for expected in case.values},
            "got": got | dict(self.values),
            "said": list(self.said()) if not self.ok else [],
            "tree": list(self.tree),
            "rows": list(self.rows),
        }


@dataclass(frozen=True, slots=True)
class Results:
    """The outcomes in the order of files and lines, and how long they took."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every case came out as expected."""
        return all(outcome.ok for outcome in self.outcomes)

    def count(self, *statuses: Status) -> int:
        """How many cases came out so."""
        return sum(outcome.status in statuses for outcome in self.outcomes)

    def by_subject(self) -> Mapping[tuple[str, str], Sequence[Outcome]]:
        """The outcomes by kind and name of what was tested."""
        found: dict[tuple[str, str], list[Outcome]] = {}
        for outcome in self.outcomes:
            found.setdefault((outcome.case.kind, outcome.case.subject), []).append(outcome)
        return found


def membership(member: bool | None) -> str:
    """Whether somebody is in a segment, in the word of a test."""
    return "in" if member else "out"


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
