"""Writes the parts of docs/ that come from the code: `python docs/generate.py`. A test compares them."""

from __future__ import annotations

import types
import typing
from pathlib import Path

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cdp.cli.app import build
from cdp.spec import Kind
from cdp.sync.ledger.tables import QUERIES, TABLES
from cdp.testing.language import AS_OF, CASES

DOCS = Path(__file__).parent
NOTE = "<!-- made by docs/generate.py from the code; do not edit -->\n"


def cli() -> str:
    """Every command with its help."""
    program = typing.cast(typing.Any, typer.main.get_command(build()))
    context = typer.Context(program, info_name="cdp")
    parts = ["# Commands\n", NOTE, _block(program.get_help(context))]
    return "\n".join([*parts, *_verbs(program, context)])


def _verbs(program: typing.Any, context: typer.Context) -> typing.Iterator[str]:
    """Every verb below a program, a word that holds verbs before them."""
    for name, command in program.commands.items():
        inner = typer.Context(command, info_name=name, parent=context)
        yield from (f"\n## {inner.command_path}\n", _block(command.get_help(inner)))
        if hasattr(command, "commands"):
            yield from _verbs(command, inner)


def _block(text: str) -> str:
    return "```text\n" + "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n```"


def yaml() -> str:
    """Every kind of document, key by key."""
    parts = ["# YAML documents\n", NOTE]
    parts.append("A file may hold several documents (`---`). A key marked * must be there. Names are `lower_snake_case`.\n")
    for kind, model in sorted(Kind.registry.items(), key=lambda item: (item[1].folder, item[0])):
        parts += [f"\n## kind: {kind}\n", f"Stands under `{model.folder}/`. {_summary(model)}\n", *_fields(model, "", set())]
    return "\n".join(parts) + "\n"


def _summary(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _fields(model: type[BaseModel], prefix: str, seen: set[type[BaseModel]]) -> list[str]:
    """A line for each key; the keys of nested parts follow, indented."""
    lines = []
    for name, field in model.model_fields.items():
        if name == "kind":
            continue
        key = f"`{field.alias or name}`" + ("*" if field.is_required() else "")
        lines.append(f"{prefix}- {key}: {_type(field)}{_default(field)}{f'. {field.description}' if field.description else ''}")
        for inner in _models(field.annotation):
            if inner not in seen:
                lines += _fields(inner, prefix + "  ", {*seen, inner})
    return lines


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


WORDS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Any": "text", "NoneType": ""}


def _type(field: FieldInfo) -> str:
    if field.annotation is typing.Any:
        return "a condition, window or list: [segments.md](segments.md)"
    return _words(field.annotation)


def _words(annotation: object) -> str:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in args)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(word for part in args if (word := _words(part)))
    if origin is typing.Annotated:
        return _words(args[0])
    if origin is dict:
        return f"names, each with {_words(args[1])}"
    if origin is tuple:
        return f"one or a list of {_words(args[0])}" if args[0] is str else f"a list of {_words(args[0])}"
    name = getattr(annotation, "__name__", str(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a mapping ({_summary(annotation).rstrip('.').lower()})"
    return WORDS.get(name, name.lower())


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    if field.is_required() or value in (None, "", (), {}) or isinstance(value, BaseModel):
        return ""
    return f" (default `{str(value).lower() if isinstance(value, bool) else value}`)"


def segments() -> str:
    """The cases of the language, each of which the conformance suite runs on every engine."""
    head, mark, _ = (DOCS / "segments.md").read_text().partition("<!-- examples -->\n")
    rows = [f"| {name.replace('_', ' ')} | `{_cell(where)}` |" for name, (where, _) in CASES.items()]
    intro = f"""\
## Cases

Each line is run by the conformance suite on every engine, at `--as-of {AS_OF}`, on a few rows, against answers written down by hand
(`cdp/testing/language_cases.py`): what a word means at its edges.
"""
    return "\n".join([head.rstrip() + "\n", mark + NOTE, intro, "| what | condition |", "|---|---|", *rows]) + "\n"


def _cell(yaml: str) -> str:
    """A condition in one line of a table."""
    return " ".join(yaml.split()).replace("|", "\\|")


def tables() -> str:
    """The control tables, column by column, and questions that they answer."""
    parts = ["# The control tables\n", NOTE]
    parts.append(
        "Plain Delta tables in the `control` schema of the environment (`cdp` in the examples): in a lakehouse of folders\n"
        "`<lakehouse>/cdp/runs` and so on, for whatever reads Delta. People may query them. Only `cdp` writes them. They name people: who\n"
        "may read the lakehouse's folder or schema is who may know of whom each channel was told. How their files are kept few, and when\n"
        "old ones go: [delivery.md](delivery.md#the-control-tables).\n"
    )
    for name, table in TABLES.items():
        apart = ", ".join(f"`{column}`" for column in table.partition)
        parts += [f"\n## {name}\n", f"A row is {table.row}. Partitioned by {apart}.\n", "| column | type | meaning |", "|---|---|---|"]
        parts += [f"| `{name}` | {column.kind} | {column.meaning} |" for name, column in table.columns.items()]
    parts.append("\n## Questions\n")
    parts += [f"{question}\n\n```sql\n{query}\n```\n" for question, query in QUERIES.items()]
    return "\n".join(parts)


PAGES = {"cli.md": cli, "yaml.md": yaml, "segments.md": segments, "tables.md": tables}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make())
