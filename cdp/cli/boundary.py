"""The one place where an exception becomes an exit code and words. No traceback, no value of a patient."""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from cdp.cli.output import FULL, Output
from cdp.errors import CdpError, Problem, ProjectError, Refusal, RefusedError

_DIRECTIVES = {"%Y": "YYYY", "%m": "MM", "%d": "DD", "%H": "HH", "%M": "MM"}
INTERRUPTED = 130  # what typer makes of Ctrl-C


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as it is shown. `text` is all that a person reads: with every problem or refusal, and the fix."""

    kind: str
    message: str
    fix: str
    text: str
    problems: tuple[Problem, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    def say(self, about: Sequence[str] = ()) -> None:
        """Print it for a person; `about` names the syncs that it ended, where the text does not."""
        words = re.findall(r"\w+", self.message)
        names = ", ".join(name for name in about if name not in words)
        print(f"cdp: {names}: {self.text}" if names else f"cdp: {self.text}", file=sys.stderr)

    def as_json(self) -> dict[str, Any]:
        """The fault as a JSON object with stable keys."""
        return {
            "kind": self.kind,
            "message": self.message,
            "fix": self.fix,
            "problems": [problem.as_json() for problem in self.problems],
            "refusals": [refusal.as_json() for refusal in self.refusals],
        }


def run(program: Callable[[], int | None], argv: Sequence[str]) -> int:
    """Run a command line to its exit code: 0 done, 1 refused or failed, 2 called wrongly.

    Args:
        program: what to run; it returns None or an exit code.
        argv: the arguments, which say how an error is printed (`--json`, `-v`).
    """
    _streams()
    try:
        code = program() or 0
        sys.stdout.flush()
    except BrokenPipeError:
        _into_nothing()  # the reader has left: nobody is there to be told
        return 1
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:  # whatever it is, its text may quote a row
        code = error.exit_code if isinstance(error, (CdpError, typer.TyperException)) else 1
        return _report(code, fault(error, "-v" in argv or "--verbose" in argv), argv)
    if code == INTERRUPTED:
        return _report(1, _fault("Interrupted", "interrupted", "run again: it continues where this run stopped"), argv)
    return code


def fault(error: Exception, trace: bool = False) -> Fault:
    """What is shown of an error. Only errors of ours and of the command line keep their text; of a file, its path.

    Args:
        error: any exception.
        trace: list on standard error the places that an internal error came through.
    """
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        return _fault("UsageError", _plain(error.format_message()), f"see `{context.command_path if context else 'cdp'} --help`")
    if isinstance(error, OSError) and error.errno and isinstance(error.filename, str | os.PathLike):
        fix = "free the disk" if error.errno in FULL else "check that the path is there and may be read and written"
        return _fault("FileError", f"{error.filename}: {os.strerror(error.errno)}", f"{fix}, then run again")
    if isinstance(error, OSError) and error.errno in FULL:  # of what is open already, such as standard output, no name is known
        return _fault("FileError", os.strerror(error.errno), "free the disk, then run again")
    if not isinstance(error, CdpError):
        return _internal(error, trace)
    problems = error.problems if isinstance(error, ProjectError) else ()
    refusals = error.refusals if isinstance(error, RefusedError) else ()
    headline = error.message.splitlines()[0] if problems or refusals else error.message
    return Fault(type(error).__name__, headline, error.fix, str(error), problems, refusals)


def _plain(message: str) -> str:
    """What the library of the command line says, in one line and without its own terms."""
    text = " ".join(message.split()).replace("Value error, ", "")
    for directive, said in _DIRECTIVES.items():
        text = text.replace(directive, said)
    return text


def _report(code: int, found: Fault, argv: Sequence[str]) -> int:
    if "--json" in argv:
        try:
            Output(as_json=True).json({"error": found.as_json()})
        except OSError:  # what could not be printed may be the error itself
            found.say()
            _into_nothing()
    else:
        found.say()
    return code


def _into_nothing() -> None:
    """Let standard output end in nothing: Python flushes once more when it ends, and would talk about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _streams() -> None:
    """Standard streams that take any text: one that was closed swallows it, and what an old code page lacks is escaped."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _fault(kind: str, message: str, fix: str) -> Fault:
    return Fault(kind, message, fix, f"{message}\n  fix: {fix}")


def _internal(error: Exception, trace: bool) -> Fault:
    """A fault of this program by type and place; never its message, never a local variable."""
    frames = list(traceback.walk_tb(error.__traceback__))
    places = [f"{frame.f_globals.get('__name__', '?')}:{line}" for frame, line in frames]
    ours = [place for place in places if place.startswith("cdp.")] or places
    if trace:
        print("\n".join(f"  {frame.f_code.co_filename}:{line}" for frame, line in frames), file=sys.stderr)
    fix = "report this line and the places above" if trace else "run again with -v and report the places it lists"
    return _fault("InternalError", f"internal error: {type(error).__name__} in {ours[-1]}", fix)
