"""The command line: `cdp`. A module for each group of verbs; nothing heavy is imported before a verb runs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cdp import __version__
from cdp.cli import (
    approve,
    boundary,
    compile,
    demo,
    diff,
    disclosures,
    docs,
    explain,
    fmt,
    governance,
    history,
    init,
    lineage,
    new,
    plan,
    preview,
    resync,
    revocations,
    sample,
    sandbox,
    schema,
    test,
    validate,
)
from cdp.cli.command import Command, Group, examples, nothing_named
from cdp.cli.options import parameters, take, with_signature

COMMANDS: tuple[Command | Group, ...] = (
    init.init,
    new.new,
    validate.validate,
    compile.compile,
    test.test,
    preview.preview,
    explain.explain,
    diff.diff,
    fmt.fmt,
    plan.plan,
    approve.approve,
    plan.apply,
    plan.sync,
    history.runs,
    resync.resync,
    disclosures.disclosures,
    revocations.revocations,
    lineage.lineage,
    governance.governance,
    docs.docs,
    schema.schema,
    sample.sample,
    sandbox.sandbox,
    demo.demo,
)
EXAMPLES = ("cdp init mydir && cd mydir", "cdp validate", "cdp sync --all", "cdp COMMAND --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: the arguments after the program's name; the process's own by default.

    Returns:
        0 done, 1 refused or failed, 2 called wrongly.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    program = typer.main.get_command(build())
    return boundary.run(lambda: program.main(args=words, prog_name="cdp", standalone_mode=False), words)


def build() -> typer.Typer:
    """The program with all its verbs."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, pretty_exceptions_show_locals=False)
    app.callback(help=_root.__doc__, epilog=examples(*EXAMPLES), invoke_without_command=True)(with_signature(_root, _root_parameters()))
    for command in COMMANDS:
        command.add_to(app)
    return app


def _root(context: typer.Context, **values: Any) -> None:
    """Segments in YAML become governed audiences in the channels: declare, validate, plan, apply.

    The options below may also stand after the command. Exit codes: 0 done, 1 refused or failed, 2 called wrongly.
    """
    del values["version"]
    context.obj = take(values)
    if context.invoked_subcommand is None:
        nothing_named(context)


def _root_parameters() -> list[inspect.Parameter]:
    named = inspect.Parameter.KEYWORD_ONLY
    version = Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    return [context, *parameters(), inspect.Parameter("version", named, default=False, annotation=version)]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"cdp {__version__}")
        raise typer.Exit
