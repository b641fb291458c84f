"""The options that every command takes, before or after its name: `cdp --json plan X` is `cdp plan X --json`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer


@dataclass(frozen=True, slots=True)
class Options:
    """What was said besides the command's own arguments. The field's annotation is its option."""

    project: Annotated[Path | None, typer.Option("--project", metavar="DIR", help="The project; default: found upwards from here.")] = None
    env: Annotated[str | None, typer.Option("--env", metavar="NAME", help="The environment of conf/cdp.yml.")] = None
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="DATE|TIMESTAMP", help="The moment segments are computed for; default: now.")
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show where in the code an internal error came up.")] = False

    def merged(self, later: Options) -> Options:
        """These options, overridden by those that were given after the command's name."""
        given = {f.name: value for f in fields(later) if (value := getattr(later, f.name)) != f.default}
        return replace(self, **given)


def parameters() -> list[inspect.Parameter]:
    """The options as keyword parameters of a function."""
    hints = inspect.get_annotations(Options, eval_str=True)
    return [inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name]) for f in fields(Options)]


def take(values: dict[str, Any]) -> Options:
    """Remove the options from a call's keyword arguments."""
    return Options(**{f.name: values.pop(f.name) for f in fields(Options)})


def with_signature(function: Callable[..., Any], signature: list[inspect.Parameter]) -> Callable[..., Any]:
    """Show the function to typer with these parameters."""
    function.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in signature}
    return function
