"""A change as markdown, for the pull request that makes it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from cdp.analyst.change.comparison import Difference
from cdp.analyst.change.diff import NOT_COUNTED, Diff
from cdp.analyst.change.movement import COUNTS, Movement

LONGEST: Final = 60_000  # characters; GitHub takes 65,536 in a comment

_MEANT: Final = {"reworded": "written anew, means the same", "changed": "means something else"}


def markdown(diff: Diff) -> str:
    """The change as a comment on a pull request; SQL that would make it too long is left out, and said to be."""
    parts = ["\n".join(_head(diff))]
    if diff.models:
        parts.append("### Models\n\n" + _table(("", "kind", "name", "what"), (_model(each) for each in diff.models)))
    if diff.segments and diff.versions is not None:
        rows = [(_code(each.title), *_counts(each.movement)) for each in diff.segments]
        parts.append("### People\n\n" + _table(("segment", *COUNTS), rows, numbers=len(COUNTS)))
        parts += [f"{_code(each.title)}: {_text(each.movement.note)}" for each in diff.segments if each.movement and each.movement.note]
        parts += [block for each in diff.segments for block in _splits(each.title, each.movement)]
    if diff.syncs:
        people = ("enter", "leave") if diff.versions is not None else ()
        syncs = [(_code(s.name), _code(s.destination), s.purpose, s.change, *_entering(s.movement, people)) for s in diff.syncs]
        parts.append("### Syncs it reaches\n\n" + _table(("sync", "destination", "purpose", "", *people), syncs, numbers=len(people)))
        parts.append(NOT_COUNTED)
    if diff.loosened:
        rows = [
            (_code(f"{each.file}:{each.line}" if each.line else each.file), _text(each.what), _text(each.before), _text(each.after))
            for each in diff.loosened
        ]
        parts.append("### What the policy lets through that it did not\n\n" + _table(("where", "what", "before", "after"), rows))
    return _within(parts, [_sql(each) for each in diff.models if each.sql])


def _head(diff: Diff) -> Iterator[str]:
    yield f"## What changes since {_code(diff.ref)}\n"
    yield f"Compared with commit {diff.commit[:12]}, as of {diff.as_of}."
    if diff.versions is None:
        yield "Without data: nobody was counted."
    elif diff.versions:
        yield f"Data: {', '.join(version(table, number) for table, number in diff.versions.items())}."
    for note in diff.partial.notes(""):
        yield f"{_text(note)}."
    if not diff.models:
        yield "\nNothing that means anything else."


def version(table: str, number: int | None) -> str:
    """A table and the commit at which it was read."""
    return f"{table} at version {number}" if number is not None else f"{table} (keeps no versions)"


def _model(model: Difference) -> tuple[str, str, str, str]:
    sign = {"added": "+", "removed": "-", "renamed": "→", "changed": "±", "reworded": "="}[model.change]
    said = [f"was {_code(model.was)}" if model.change == "renamed" and model.was else _MEANT.get(model.change, model.change)]
    said += [f"through {', '.join(map(_code, model.through))}"] if model.through else []
    said += [_code(detail) for detail in model.details]
    said += [f"reaches {', '.join(map(_code, model.downstream))}"] if model.downstream and model.kind != "sync" else []
    return sign, model.kind, _code(model.name), "<br>".join(said)


def _counts(movement: Movement | None) -> tuple[str, ...]:
    return tuple(str(movement.counts[name]) if movement and movement.counts else "?" for name in COUNTS)


def _entering(movement: Movement | None, shown: Sequence[str]) -> tuple[str, ...]:
    """Who enters and leaves a sync; nobody where neither it nor its segment has other people."""
    if movement is None:
        return tuple("0" for _ in shown)
    return tuple(str(movement.counts[name]) if movement.counts else "?" for name in shown)


def _splits(title: str, movement: Movement | None) -> Iterator[str]:
    for each in movement.splits if movement else ():
        rows = [(_text(value), str(enter), str(leave)) for value, enter, leave in each.rows]
        if rows:
            yield f"{_code(title)}, those who move by {_code(each.by)}:\n\n" + _table((_text(each.by), "enter", "leave"), rows, numbers=2)


def _sql(model: Difference) -> str:
    text = "\n".join(model.sql)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    summary = f"SQL of {model.kind} {html.escape(model.name)}"
    return f"<details><summary>{summary}</summary>\n\n{fence}diff\n{text}\n{fence}\n\n</details>"


def _within(parts: list[str], sqls: Sequence[str]) -> str:
    left = LONGEST - sum(len(part) + 2 for part in parts)
    for number, sql in enumerate(sqls):
        left -= len(sql) + 2
        if left < 0:
            parts.append(f"The SQL of {len(sqls) - number} more models is too long to stand here: `cdp diff` shows it.")
            break
        parts.append(sql)
    return "\n\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A table whose last columns hold numbers."""
    rules = ["---"] * (len(heads) - numbers) + ["--:"] * numbers
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rules, *rows))


def _code(text: str) -> str:
    """Text as it stands, in a cell of a table or in a sentence."""
    if text and text == text.strip() and not re.search(r"[`|\n]", text):
        return f"`{text}`"
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    """Text that is neither markdown nor HTML: `@name` would call people, `|` end a cell."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~@#])", lambda found: f"&#{ord(found[1])};", escaped)
