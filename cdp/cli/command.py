"""How a function becomes a verb of the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer

from cdp.cli.options import Options, parameters, take, with_signature
from cdp.cli.session import Session


@dataclass(frozen=True, slots=True)
class Command:
    """A verb: its function takes a Session first, then the command's own arguments.

    The function's docstring is the help text; `examples` are shown below the options.
    """

    function: Callable[..., None]
    examples: tuple[str, ...]

    def add_to(self, app: typer.Typer) -> None:
        """Register the verb under the function's name."""
        app.command(self.function.__name__, help=inspect.getdoc(self.function), epilog=examples(*self.examples))(self._callback())

    def _callback(self) -> Callable[..., Any]:
        signature = inspect.signature(self.function, eval_str=True)
        _, *own = signature.parameters.values()
        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)

        def callback(context: typer.Context, **values: Any) -> None:
            options: Options = context.obj
            with Session(options.merged(take(values))) as session:
                self.function(session, **values)

        return with_signature(callback, [context, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *parameters()])


def command(*examples: str) -> Callable[[Callable[..., None]], Command]:
    """Make a verb of a function; `examples` are command lines that work in the example project."""
    return lambda function: Command(function, examples)


def examples(*lines: str) -> str:
    """An epilog whose lines typer does not wrap."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
