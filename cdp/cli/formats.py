"""What is wrong, in the formats of the machines that show it beside the code: GitHub's annotations, and SARIF."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

from cdp import __version__
from cdp.errors import Problem, Refusal

if TYPE_CHECKING:
    from cdp.governance.access.loosened import Loosening

Format = Literal["text", "json", "github", "sarif"]

SARIF_VERSION: Final = "2.1.0"
SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"

# The kinds of findings, as a reader of a list of them knows them. Refusals have one for each rule that refuses.
_RULES: Final = {
    "problem": "A mistake that keeps the project from loading",
    "warning": "Probably, not certainly, a mistake",
    "agreement": "What the receiver has signed does not cover it",
    "authorization": "It needs a signed authorization of the person",
    "channel": "The purpose is not told over this channel",
    "consent": "The consent that it needs is not asked for",
    "contact": "Whose contact points it maps is not settled",
    "declassify": "A declassification does not fit its model any more",
    "eligibility": "Nothing says who may be told",
    "folder": "The folder is not in the agreement",
    "funding": "Who pays for it makes it marketing",
    "holdout": "The purpose leaves nobody out at random",
    "host": "The host is not in the agreement",
    "labels": "The name of the sync would leave",
    "loosened": "The policy lets more through than before",
    "mask": "The mask cannot be computed",
    "membership": "Being in the audience says more than the receiver may know",
    "never": "No query may read a column of this class",
    "notice": "The notice of 42 CFR part 2 has no place in the batches",
    "part2": "The receiver has not agreed to 42 CFR part 2",
    "path": "A path is not in the agreement",
    "profile": "An identifier that the purpose's profile lets nobody know",
    "review": "The codes are others than were reviewed",
    "role": "The role does not allow it",
    "subprocessor": "The receiver hands data on to somebody who is bound to nothing",
    "syntax": "What the query tells cannot be analysed",
    "tag": "A tag of the catalog says more than the declared class",
    "value": "A column says more than the receiver may know",
}


@dataclass(frozen=True, slots=True)
class Note:
    """One finding at its place; `line` and `col` count from 1, and 0 is the file as a whole."""

    level: Literal["error", "warning"]
    rule: str
    message: str
    file: str
    line: int = 0
    col: int = 0


def of_problem(problem: Problem) -> Note:
    """A mistake in the project's files."""
    message = str(problem).removeprefix(f"{problem.file}:{problem.line}:{problem.col}: ").removeprefix(f"{problem.file}: ")
    level: Literal["error", "warning"] = "warning" if problem.warning else "error"
    rule = "warning" if problem.warning else "problem"
    return Note(level, rule, message.removeprefix("warning: "), problem.file, problem.line, problem.col)


def of_loosening(loosening: Loosening) -> Note:
    """Something in which the policy lets more through than before."""
    return Note("warning", "loosened", loosening.message, loosening.file, loosening.line, loosening.col)


def of_refusal(sync: str, refusal: Refusal, place: tuple[str, int, int]) -> Note:
    """A reason why a sync is refused, at the place where the sync is declared."""
    return Note("error", refusal.rule, f"sync {sync} is refused: {refusal}", *place)


def base(root: Path, top: str | None) -> str:
    """What stands before a path of the project so that it begins at the top of the repository.

    Args:
        root: the project's folder.
        top: where the project stands in its repository; None without one: then paths begin at the current folder.
    """
    within = Path(os.path.relpath(root)).as_posix() if top is None else top.rstrip("/")
    return "" if within in ("", ".") else f"{within}/"


def github(notes: Iterable[Note], base: str) -> str:
    """Workflow commands: each becomes an annotation of its line in the pull request (of one step GitHub shows ten of a level)."""
    return "\n".join(_command(note, base) for note in notes)


def _command(note: Note, base: str) -> str:
    place = {"line": note.line, "col": note.col} if note.line else {}
    properties = {"file": f"{base}{note.file}", **place, "title": f"cdp: {note.rule}"}
    listed = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::{note.level} {listed}::{_data(note.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def sarif(notes: Sequence[Note], base: str) -> dict[str, Any]:
    """A SARIF 2.1.0 log of one run (OASIS, sarif-v2.1.0)."""
    rules = sorted({note.rule for note in notes})
    described = [{"id": rule, "shortDescription": {"text": _RULES.get(rule, rule)}} for rule in rules]
    driver = {"name": "cdp", "version": __version__, "semanticVersion": __version__, "rules": described}
    return {
        "$schema": SARIF_SCHEMA,
        "version": SARIF_VERSION,
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(note, rules.index(note.rule), base) for note in notes],
            }
        ],
    }


def _result(note: Note, index: int, base: str) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(f"{base}{note.file}"), "uriBaseId": "%SRCROOT%"}}
    if note.line:
        physical["region"] = {"startLine": note.line, "startColumn": note.col}
    return {
        "ruleId": note.rule,
        "ruleIndex": index,
        "level": note.level,
        "message": {"text": note.message},
        "locations": [{"physicalLocation": physical}],
    }
