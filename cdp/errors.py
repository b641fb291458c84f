"""Every error a person can act on, named by what they do next.

    CdpError
    ├── UsageError        call the command differently            (exit 2)
    ├── ProjectError      mend the YAML; carries every Problem of one load
    ├── RefusedError      change the sync or the policy; carries every Refusal
    ├── DataError         mend the lakehouse: a table, column, type or freshness
    ├── GuardError        look at the plan: it changes more than the sync allows
    ├── ApprovalError     have the plan approved
    ├── StaleError        plan again: something moved since the plan was made
    ├── BusyError         wait: another run holds this sync
    ├── EngineError       the engine or the storage failed: mend it, run again
    └── DeliveryError     the destination cannot be used: secret, host, network, contract

All but UsageError exit 1. No message ever holds a value of a patient: an error names files, tables,
columns, rules and counts. Errors of engines and HTTP libraries are therefore never chained (`from None`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class CdpError(Exception):
    """Base of all errors that the command line prints without a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message


class UsageError(CdpError):
    """The command was called in a way that cannot work."""

    exit_code = 2


class DataError(CdpError):
    """The lakehouse does not hold what the project declares."""


class GuardError(CdpError):
    """A plan changes more than the sync's guards allow."""


class ApprovalError(CdpError):
    """A plan needs an approval that it does not have."""


class StaleError(CdpError):
    """What a plan was based on has moved. `mends`: a new plan is all that is needed, which rests on what stands now."""

    def __init__(self, message: str, *, fix: str = "", mends: bool = False) -> None:
        super().__init__(message, fix=fix)
        self.mends = mends


class BusyError(CdpError):
    """Another run holds the lease of this sync. `before`: it was there first, and nothing of this run had begun."""

    def __init__(self, message: str, *, fix: str = "", before: bool = False) -> None:
        super().__init__(message, fix=fix)
        self.before = before


class EngineError(CdpError):
    """The engine or the storage failed."""


class ConflictError(EngineError):
    """Another writer committed to the same table first."""


class DeliveryError(CdpError):
    """A destination cannot be used. `doubt`: a code of why what was being sent may have been applied; None: nothing of it was."""

    def __init__(self, message: str, *, fix: str = "", doubt: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.doubt = doubt


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in one place of the project's files.

    `line` and `col` count from 1; 0 means the file as a whole. `where` is the path of keys inside the
    document (`where.all[0].age`), `valid` what could stand there, `hint` the fix. A `warning` lets the project
    load: it is probably, not certainly, a mistake.
    """

    file: str
    line: int
    col: int
    message: str
    where: str = ""
    valid: tuple[str, ...] = ()
    hint: str = ""
    warning: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        text = f"{place}: {'warning: ' if self.warning else ''}{self.where + ': ' if self.where else ''}{self.message}"
        if self.valid:
            shown = ", ".join(self.valid[:12])
            text += f"; valid: {shown}{', ...' if len(self.valid) > 12 else ''}"
        return f"{text}; {self.hint}" if self.hint else text

    def as_json(self) -> dict[str, Any]:
        """The problem as a JSON object with stable keys."""
        return {
            "file": self.file,
            "line": self.line,
            "col": self.col,
            "where": self.where,
            "message": self.message,
            "valid": list(self.valid),
            "hint": self.hint,
            "severity": "warning" if self.warning else "error",
        }


class ProjectError(CdpError):
    """The project's files hold mistakes; all of them are listed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.col, p.message)))
        count = len(self.problems)
        head = f"{count} problem{'s' if count != 1 else ''} in the project"
        super().__init__("\n".join([head, *(f"  {p}" for p in self.problems)]))


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why something may not leave.

    `rule` is the mechanism (`value`, `membership`, `agreement`, `purpose`, `channel`, ...), `what` the column
    or "being in this audience", `cls` the class in question, `because` the facts that brought it
    (`clinical.observations.code`), `missing` the grant that does not cover it, `fix` the smallest change.
    """

    rule: str
    what: str
    cls: str
    because: tuple[str, ...]
    missing: str
    fix: str

    def __str__(self) -> str:
        what = f"{self.what} says {self.cls}" if self.cls else self.what
        more = f", and {len(self.because) - 4} more" if len(self.because) > 4 else ""
        facts = f"\n      from: {', '.join(self.because[:4])}{more}" if self.because else ""
        return f"[{self.rule}] {what}: {self.missing}{facts}\n      fix: {self.fix}"

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> Refusal:
        """The refusal that `as_json` made this of."""
        named = {name: given[name] for name in ("rule", "what", "missing", "fix")}
        return cls(cls=given["class"], because=tuple(given["because"]), **named)

    def as_json(self) -> dict[str, Any]:
        """The refusal as a JSON object with stable keys."""
        return {
            "rule": self.rule,
            "what": self.what,
            "class": self.cls,
            "because": list(self.because),
            "missing": self.missing,
            "fix": self.fix,
        }


class RefusedError(CdpError):
    """Governance refuses; every reason is listed."""

    def __init__(self, subject: str, refusals: Sequence[Refusal]) -> None:
        self.subject = subject
        self.refusals = tuple(refusals)
        count = len(self.refusals)
        head = f"{subject} is refused for {count} reason{'s' if count != 1 else ''}"
        super().__init__("\n".join([head, *(f"  {r}" for r in self.refusals)]))
