"""How a function becomes a verb of the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import typer

from cdp.cli.options import Options, parameters, take, with_signature
from cdp.cli.session import Session
from cdp.errors import UsageError


@dataclass(frozen=True, slots=True)
class Command:
    """A verb: its function takes a Session first, then the command's own arguments.

    The function's docstring is the help text; `examples` are shown below the options. `needs` are the verbs of
    governance/roles.yml that whoever calls it must be permitted: nothing of it runs otherwise.
    """

    function: Callable[..., None]
    examples: tuple[str, ...]
    needs: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """The one way to call it."""
        return ((self.function.__name__,),)

    def add_to(self, app: typer.Typer) -> None:
        """Register the verb under the function's name."""
        app.command(self.function.__name__, help=inspect.getdoc(self.function), epilog=examples(*self.examples))(self._callback())

    def _callback(self) -> Callable[..., Any]:
        signature = inspect.signature(self.function, eval_str=True)
        _, *own = signature.parameters.values()

        def callback(context: typer.Context, **values: Any) -> None:
            options: Options = context.obj
            with Session(options.merged(take(values))) as session:
                session.permit(*self.needs)
                self.function(session, **values)

        return with_signature(callback, [_CONTEXT, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *parameters()])


@dataclass(frozen=True, slots=True)
class Group:
    """Verbs under one word, such as `cdp governance report`; `help` says what they have in common."""

    name: str
    help: str
    commands: tuple[Command, ...]

    @property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """Every way to call it."""
        return tuple((self.name, *words) for command in self.commands for words in command.words)

    def add_to(self, app: typer.Typer) -> None:
        """Register the word with its verbs."""
        inner = typer.Typer(rich_markup_mode=None)
        inner.callback(help=self.help, invoke_without_command=True)(with_signature(_group, [_CONTEXT, *parameters()]))
        for each in self.commands:
            each.add_to(inner)
        app.add_typer(inner, name=self.name)


_CONTEXT = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)


def _group(context: typer.Context, **values: Any) -> None:
    context.obj = context.obj.merged(take(values))
    if context.invoked_subcommand is None:
        nothing_named(context)


def nothing_named(context: typer.Context) -> NoReturn:
    """Show the help of a word that needs another behind it; a program that asks for JSON reads no help.

    Raises:
        UsageError: JSON was asked for.
        Exit: with 2, in any other case.
    """
    if context.obj.json:
        raise UsageError("no command is named", fix=f"see `{context.command_path} --help`")
    print(context.get_help())
    raise typer.Exit(2)


def command(*examples: str, needs: str | tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Command]:
    """Make a verb of a function.

    Args:
        examples: command lines that work in the example project.
        needs: what roles.yml must let its caller do, of `cdp.spec.access.VERBS`; none for what reads no data.
    """
    return lambda function: Command(function, examples, (needs,) if isinstance(needs, str) else needs)


def examples(*lines: str) -> str:
    """An epilog whose lines typer does not wrap."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
