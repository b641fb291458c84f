"""What the documents declare, malformed ones too: one mistake is reported once, not again by everything that refers to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cdp.project.files import CONFIG
from cdp.project.problems import Path, Problems
from cdp.project.source import Document, short
from cdp.spec.base import Tree
from cdp.spec.model import MeasureSpec

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")
CLASS: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")

# What every project declares, and in which file.
NEEDED: Final = {"project": CONFIG, "classes": "governance/classes.yml", "purposes": "governance/purposes.yml"}

# Words of the language: a column, relation or trait of such a name could not be told from them.
RESERVED: Final = frozenset(
    {
        *(field.alias or name for name, field in MeasureSpec.model_fields.items()),  # the verbs, and what stands beside them
        *("all", "any", "not", "n_of", "segment", "with", "is"),
        *("age", "as_of", "today", "tomorrow", "yesterday"),
    }
)


@dataclass(slots=True)
class Index:
    """The names of a project, and where they stand.

    Attributes:
        sources: the first document that declares each (kind, name).
        problems: where what is wrong goes.
    """

    sources: Mapping[tuple[str, str], Document]
    problems: Problems
    _names: dict[str, frozenset[str]] = field(default_factory=dict)
    _inside: dict[tuple[str, str, str], frozenset[str] | None] = field(default_factory=dict)

    def names(self, kind: str) -> frozenset[str]:
        """The names that documents of a kind declare."""
        if kind not in self._names:
            self._names[kind] = frozenset(name for each, name in self.sources if each == kind)
        return self._names[kind]

    def inside(self, kind: str, key: str, name: str | None = None) -> frozenset[str] | None:
        """The names under `key` of one document; None where that cannot be told: it is broken, or missing though needed.

        `name` is left out for kinds that a project has once. What need not be declared, and is not, holds no names.
        """
        at = (kind, name or kind, key)
        if at not in self._inside:
            document = self.sources.get(at[:2])
            tree: Tree = document.tree.get(key, {}) if document else {}
            known = isinstance(tree, dict) and (kind not in NEEDED if document is None else document.sound)
            self._inside[at] = frozenset(tree) if known else None
        return self._inside[at]

    def grants(self) -> frozenset[str] | None:
        """Every class and every parent of one: what a rule may name."""
        classes = self.inside("classes", "classes")
        return classes and frozenset(name[:end] for name in classes for end in _ends(name))

    def units(self) -> frozenset[str] | None:
        """The units of measure: those that conf/cdp.yml names, and those that they are converted to."""
        names = self.inside("project", "units")
        if not names:
            return names
        specs = self.sources["project", "project"].tree["units"].values()
        return names | {to for spec in specs if isinstance(spec, dict) and isinstance(to := spec.get("to"), str)}

    # -- checks that many kinds share ---------------------------------------------------------------------------------

    def refer(
        self,
        document: Document,
        path: Path,
        value: str | None,
        valid: frozenset[str] | None,
        what: str,
        *,
        hint: str = "",
        key: bool = False,
    ) -> bool:
        """Report a name that does not exist; None as `value` or `valid` leaves nothing to compare. True when all is well."""
        if value is None or valid is None or value in valid:
            return True
        text = f"unknown {what} {short(value)}"
        if not valid:
            text += f": the project declares no {what}"
        self.problems.add(document, path, text, value=value, valid=valid, hint=hint, key=key)
        return False

    def refer_all(
        self, document: Document, path: tuple[str | int, ...], values: Iterable[str], valid: frozenset[str] | None, what: str
    ) -> None:
        """`refer` for each name of a list."""
        for number, value in enumerate(values):
            self.refer(document, (*path, number), value, valid, what)

    def named(self, document: Document, path: Path, value: str, what: str, *, key: bool = False, reserved: bool = False) -> None:
        """Report a name that is not lower snake case, or is a word of the language."""
        if not NAME.fullmatch(value):
            message = f"{what} name {short(value)} is not lower snake case"
            self.problems.add(document, path, message, hint="letters a-z, digits and _, a letter first, at most 100", key=key)
        elif reserved and value in RESERVED:
            self.problems.add(document, path, f"{what} name {value!r} is a word of the language", hint="choose another", key=key)


def _ends(name: str) -> Iterable[int]:
    return (*(m.start() for m in re.finditer(r"\.", name)), len(name))
