"""The corpus of tests/fixtures/governance: small projects that must be refused, or must pass. Its README says how to write a case."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cdp.compile.clock import Clock
from cdp.errors import ProjectError
from cdp.governance.decide import Governor
from cdp.project.load import load
from tests.projects import FILES, minimal

FIXTURES = Path(__file__).parent / "fixtures" / "governance"
CONNECTORS = ("file", "http")
NOW = "2026-07-02T12:00"
SEGMENT = "models/adults.yml"
PLAIN = "where: {age: {gte: 18}}"


@dataclass(frozen=True)
class Case:
    """One small project: the minimal one with a world's files over it, then the case's own files and edits."""

    file: str
    name: str
    world: str = ""
    attacks: frozenset[int] = frozenset()
    files: dict[str, str | None] = field(default_factory=dict)
    edit: dict[str, dict[str, str]] = field(default_factory=dict)
    where: str = ""
    sync: str = "adults_mail"
    now: str = NOW
    as_of: str = ""
    reasons: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] | None = None
    members: frozenset[str] | None = None

    def overlays(self) -> dict[str, str | None]:
        """The files that differ from the minimal project; None leaves one out."""
        content: dict[str, str | None] = {**FILES, **_world(self.world), **self.files}
        edits = {**self.edit, **({SEGMENT: {PLAIN: f"where: {self.where}"} | self.edit.get(SEGMENT, {})} if self.where else {})}
        for name, changes in edits.items():
            for old, new in changes.items():
                text = content.get(name) or ""
                assert text.count(old) == 1, f"{self.name}: {old!r} stands {text.count(old)} times in {name}"
                content[name] = text.replace(old, new)
        return content

    def found(self, root: Path, governor: Any = Governor.of) -> tuple[list[str], list[str], list[str]]:
        """What governance says of the project written below `root`: problems of the load, reasons of a refusal, warnings.

        Args:
            root: an empty folder.
            governor: makes the governor of a project; a mutant's in place of ours.
        """
        try:
            project = load(minimal(root, **self.overlays()), CONNECTORS)
        except ProjectError as error:
            return [str(problem) for problem in error.problems], [], []
        now = Clock.parse(self.now, project.timezone)
        clock = Clock.parse(self.as_of, project.timezone) if self.as_of else now
        refusals = governor(project).check(self.sync, clock=clock, now=now)
        return [], [str(refusal).splitlines()[0] for refusal in refusals], [str(warning) for warning in project.warnings]


def cases(folder: str) -> list[Case]:
    """The cases of `refused` or `passing`, in order."""
    return [_case(path, raw) for path in sorted((FIXTURES / folder).glob("*.yml")) for raw in _documents(path)]


def _documents(path: Path) -> list[dict[str, Any]]:
    tree = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    shared = {key: value for key, value in tree.items() if key != "cases"}
    return [{**shared, **raw} for raw in tree["cases"]]


def _case(path: Path, raw: dict[str, Any]) -> Case:
    attacks = raw.pop("attack", [])
    members = raw.pop("members", None)
    for key in {"reasons", "problems", "warnings"} & raw.keys():
        raw[key] = tuple(raw[key])
    return Case(
        file=path.stem,
        attacks=frozenset(attacks if isinstance(attacks, list) else [attacks]),
        members=None if members is None else frozenset(members),
        now=str(raw.pop("now", NOW)),
        as_of=str(raw.pop("as_of", "")),
        **raw,
    )


def _world(name: str) -> dict[str, str]:
    root = FIXTURES / "worlds" / name
    assert not name or root.is_dir(), f"no world {name!r} in {FIXTURES / 'worlds'}"
    return {path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*.yml"))} if name else {}
