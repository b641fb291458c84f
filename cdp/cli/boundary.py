"""The one place where an exception becomes an exit code and words. No traceback, no value of a patient."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import typer

from cdp.cli.output import Output
from cdp.errors import CdpError, ProjectError, RefusedError

INTERRUPTED = 130  # what typer makes of Ctrl-C


def run(program: Callable[[], int | None], argv: Sequence[str]) -> int:
    """Run a command line to its exit code: 0 done, 1 refused or failed, 2 called wrongly.

    Args:
        program: what to run; it returns None or an exit code.
        argv: the arguments, which say how an error is printed (`--json`, `-v`).
    """
    try:
        code = program() or 0
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has left: nobody is there to be told. Python flushes once more when it ends, into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except typer.TyperException as error:
        return report(error.exit_code, _fault("UsageError", error.format_message(), _help(error)), argv)
    except CdpError as error:
        return report(error.exit_code, describe(error), argv)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:  # whatever it is, its text may quote a row
        return report(1, _internal(error, trace="-v" in argv or "--verbose" in argv), argv)
    if code == INTERRUPTED:
        return report(1, _fault("Interrupted", "interrupted", "run again: it continues where this run stopped"), argv)
    return code


def describe(error: CdpError) -> dict[str, Any]:
    """An error as a JSON object with stable keys."""
    lists = {
        "problems": [problem.as_json() for problem in error.problems] if isinstance(error, ProjectError) else [],
        "refusals": [refusal.as_json() for refusal in error.refusals] if isinstance(error, RefusedError) else [],
    }
    return _fault(type(error).__name__, error.message, error.fix) | lists


def report(code: int, fault: dict[str, Any], argv: Sequence[str]) -> int:
    """Print a fault, as JSON on standard output where JSON was asked for, and give back the exit code."""
    if "--json" in argv:
        Output(as_json=True).json({"error": fault})
    else:
        fix = f"\n  fix: {fault['fix']}" if fault["fix"] else ""
        print(f"cdp: {fault['message']}{fix}", file=sys.stderr)
    return code


def _fault(kind: str, message: str, fix: str) -> dict[str, Any]:
    return {"kind": kind, "message": message, "fix": fix, "problems": [], "refusals": []}


def _internal(error: Exception, *, trace: bool) -> dict[str, Any]:
    """A fault of this program by type and place; never its message, never a local variable."""
    frames = list(traceback.walk_tb(error.__traceback__))
    places = [f"{frame.f_globals.get('__name__', '?')}:{line}" for frame, line in frames]
    ours = [place for place in places if place.startswith("cdp.")] or places
    if trace:
        print("\n".join(f"  {frame.f_code.co_filename}:{line}" for frame, line in frames), file=sys.stderr)
    fix = "report this line and the places above" if trace else "run again with -v and report the places it lists"
    return _fault("InternalError", f"internal error: {type(error).__name__} in {ours[-1]}", fix)


def _help(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"see `{context.command_path} --help`" if context else "see `cdp --help`"
