"""What a sync expects of the rows about to leave: of columns that leave, of their types, in patterns that every engine reads alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cdp.project.language import patterns
from cdp.project.problems import Path, Problems
from cdp.project.project import Project
from cdp.project.source import Document, short
from cdp.project.terms import Constant
from cdp.project.terms.types import type_of
from cdp.spec.activation import Sync
from cdp.spec.policy import WIRE, mechanism
from cdp.spec.quality import EXPECTATIONS, WORDS, Asked, Distinct, Expectation, NumberBetween, Pair, Several, ValuesBetween, family, literal

BOUNDS = ("min_value", "max_value")


def check(project: Project, problems: Problems) -> None:
    """Report what is wrong with `quality` of the syncs.

    Args:
        project: bound, since the types of what leaves follow from that; what could not be bound has been reported.
        problems: what is wrong is added here, with its place.
    """
    for name, sync in project.syncs.items():
        document = project.sources["sync", name]
        for number, expectation in enumerate(sync.quality):
            _expectation(project, sync, expectation, ("quality", number), document, problems)


def _expectation(project: Project, sync: Sync, expectation: Expectation, at: Path, document: Document, problems: Problems) -> None:
    given = list(expectation.asked())
    if len(given) != 1:
        said = f", not {' and '.join(name for name, _ in given)}" if given else ""
        problems.add(document, at, f"must name exactly one expectation{said}", valid=EXPECTATIONS, hint="one a list item")
        return
    (name, asked), fields = given[0], {**sync.key, **sync.mappings}
    path = (*at, name)
    if expectation.otherwise == "drop":
        _droppable(asked, path, document, problems)
    for argument, column in _columns(asked):
        if column not in fields:
            hint = "a field under `key` or `mappings` of the sync"
            problems.add(document, (*path, *argument), f"{short(column)} does not leave", value=column, valid=fields, hint=hint)
        elif _pseudonym(project, fields[column].mask):
            message = f"{column} leaves as a pseudonym, which is computed when it is sent: its value cannot be looked at before"
            problems.add(document, (*path, *argument), message, hint="expect it of another field, or of the table that it comes from")
    for argument, texts in asked.patterns.items():
        for number, text in enumerate(texts):
            _pattern(text, (*path, argument, number) if len(texts) > 1 else (*path, argument), document, problems)
    for argument, message, hint in misfits(asked, _types(project, sync, asked)):
        problems.add(document, (*path, *argument), message, hint=hint)


def _pseudonym(project: Project, mask: str | None) -> bool:
    return mask in project.policy.masks and mechanism(mask, project.policy.masks[mask]) in WIRE if mask else False


def _droppable(asked: Asked, path: Path, document: Document, problems: Problems) -> None:
    if not asked.by_row:
        message = "is true or false of all rows together: there is none to drop"
        problems.add(document, path, message, hint="say `otherwise: refuse` or `warn`", key=True)
    elif "mostly" in asked.model_fields_set:
        hint = "leave `mostly` out; `guards: {max_invalid: 5%}` bounds how many may be dropped"
        problems.add(document, (*path, "mostly"), "every row that fails is dropped, so `mostly` decides nothing", hint=hint, key=True)


def _columns(asked: Asked) -> Iterator[tuple[Path, str]]:
    """The columns of an expectation, each with the place where it is named."""
    if isinstance(asked, Several):
        yield from ((("column_list", number), column) for number, column in enumerate(asked.column_list))
    elif isinstance(asked, Pair):
        yield from ((("column_A",), asked.column_A), (("column_B",), asked.column_B))
    else:
        yield from ((("column",), column) for column in asked.columns)


def _pattern(text: str, path: Path, document: Document, problems: Problems) -> None:
    try:
        patterns.read(text)
    except patterns.Refused as error:
        problems.add(document, path, f"not in the syntax that all engines share: {error}", hint=patterns.HINT)


def _types(project: Project, sync: Sync, asked: Asked) -> dict[str, str | None]:
    """The type of each column that is known before planning: of what is masked, or could not be bound, it is not."""
    fields, found = {**sync.key, **sync.mappings}, dict.fromkeys(asked.columns)
    for column in found:
        output = project.bound.outputs.get((sync.name, column))
        if column in fields and not fields[column].mask and output is not None:
            found[column] = "string" if isinstance(output, Constant) else type_of(output)
    return found


def misfits(asked: Asked, types: Mapping[str, str | None]) -> Iterator[tuple[Path, str, str]]:
    """What an expectation asks that the types of its columns do not have: the argument, what is wrong, and the fix.

    Args:
        asked: the arguments.
        types: of its columns, in the words of the language or of an engine; None where it is not known.
    """
    yield from _bounds(asked)
    kinds = {column: kind for column, kind in types.items() if kind is not None}
    for argument, column in _columns(asked):
        found = family(kinds[column]) if column in kinds else None
        if column in kinds and found not in asked.of:
            yield argument, f"{column} is {kinds[column]}", f"this is asked of {' or '.join(WORDS[each] for each in asked.of)}"
            return
    families = {family(kind) for kind in kinds.values()}
    if len(families) > 1 and isinstance(asked, Pair | Distinct):
        said = ", ".join(f"{column} is {kind}" for column, kind in kinds.items())
        yield _last(asked), f"values of different kinds cannot be compared: {said}", "bring them to one kind with `expr`"
    elif len(kinds) == 1:
        yield from _values(asked, next(iter(kinds.values())))


def _last(asked: Asked) -> Path:
    return ("column_list",) if isinstance(asked, Several) else ("column_B",)


def _bounds(asked: Asked) -> Iterator[tuple[Path, str, str]]:
    """Bounds that say nothing, or cannot both be met; one column where several are compared."""
    if isinstance(asked, Several) and len(asked.column_list) < 2:
        yield ("column_list",), "names one field, and compares several", "name two, or more"
    if not all(bound in type(asked).model_fields for bound in BOUNDS):
        return
    low, high = (getattr(asked, bound) for bound in BOUNDS)
    if low is None and high is None:
        yield (), "says neither min_value nor max_value", "say one, or both"
    elif low is not None and high is not None and (type(low) is not type(high) or low > high):
        yield ("max_value",), "is less than min_value, or of another kind", "swap them, or say one"


def _values(asked: Asked, kind: str) -> Iterator[tuple[Path, str, str]]:
    """Values that the column cannot hold."""
    words: list[tuple[Path, str]] = []
    if (listed := getattr(asked, "value_set", None)) is not None:
        words = [(("value_set", number) if len(listed) > 1 else ("value_set",), text) for number, text in enumerate(listed)]
    elif isinstance(asked, ValuesBetween | NumberBetween):
        words = [((bound,), str(value)) for bound in BOUNDS if (value := getattr(asked, bound, None)) is not None]
    for argument, text in words:
        try:
            literal(text, kind)
        except (ValueError, ArithmeticError, KeyError):
            wanted = WORDS[found] if (found := family(kind)) else "another kind"
            yield argument, f"{short(text)} is not {wanted}, as {', '.join(asked.columns)} is {kind}", "write it as the column has it"
