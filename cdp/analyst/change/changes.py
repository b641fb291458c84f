"""What was written anew since a git revision, and what depends on it: documents compared as trees, not as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cdp.analyst.change.lineage import Part, Uses, inverse, parts, reached, uses
from cdp.analyst.change.revisions import revision
from cdp.errors import ProjectError
from cdp.governance.access.loosened import Loosening, loosened
from cdp.project.files import files
from cdp.project.load import identity, load
from cdp.project.problems import Problems
from cdp.project.project import Project
from cdp.project.source import Document, read
from cdp.spec.base import Text, Tree

Names = Mapping[str, frozenset[str]]  # by kind
Sources = Mapping[Part, Document]
_BESIDE = ("file", "hierarchy")  # keys of a value set that name a file beside it


@dataclass(frozen=True, slots=True)
class Affected:
    """What a change touches, by kind.

    The kinds are segment, trait, value_set, entity, sync, destination; of the policy eligibility, classes, consent,
    declassify, baa, mask, purpose and review (of a value set); and project (a key of conf/cdp.yml).

    Attributes:
        changed: written anew, or in other words; comments and layout do not count.
        removed: what there was and is no more.
        dependent: what means, or is governed by, something that has changed.
    """

    changed: Names
    removed: Names
    dependent: Names

    def names(self, kind: str) -> frozenset[str]:
        """What is to be looked at again, of one kind."""
        return self.changed.get(kind, frozenset()) | self.dependent.get(kind, frozenset())


def affected(project: Project, ref: str) -> Affected:
    """What has changed in a project since a git revision, and what depends on it.

    The revision need not be a valid project: what cannot be read there counts as changed.

    Args:
        project: as it stands in the working tree; what is not committed counts.
        ref: a commit, branch or tag.

    Raises:
        UsageError: there is no git, no repository, no such revision, or no project in it.
    """
    with revision(project.root, ref) as then:
        return compared(documents(then.root), then.root, project, uses(project))


def loosened_since(project: Project, ref: str) -> tuple[Loosening, ...]:
    """In what a project's policy is looser than at a git revision. Where that one cannot be read, that is what is said.

    Args:
        project: as it stands in the working tree.
        ref: a commit, branch or tag.

    Raises:
        UsageError: there is no git, no repository, no such revision, or no project in it.
    """
    with revision(project.root, ref) as then:
        try:
            before = load(then.root)
        except ProjectError as error:
            what = f"the policy of {ref} cannot be compared: {len(error.problems)} problems keep that project from loading"
            return (Loosening("governance/", 0, 0, what, "unknown", "as it stands"),)
        return loosened(before, project)


def compared(before: Sources, then: Path, project: Project, used: Uses) -> Affected:
    """`affected`, of documents that have been read.

    Args:
        before: the documents of then.
        then: the folder in which they stand, with the files that they name.
        project: as it stands.
        used: what its parts rest on.
    """
    after = project.sources
    old, new = trees(before), trees(after)
    changed = {part for part, tree in new.items() if part not in old or _frozen(tree) != _frozen(old[part])}
    changed |= {part for part in after if part in before and _other_files(before[part], then, after[part], project.root)}
    removed = old.keys() - new.keys()
    return Affected(_by_kind(changed), _by_kind(removed), _by_kind(reached(inverse(used), *changed, *removed)))


def documents(root: Path) -> dict[Part, Document]:
    """The documents of a project that can be read, whatever is wrong with the others."""
    found: dict[Part, Document] = {}
    ignored = Problems()
    for path in files(root, ignored):
        for document in read(path, root, ignored):
            if document.sound and isinstance(document.tree.get("kind"), str) and (at := identity(document)) is not None:
                found.setdefault(at, document)
    return found


def trees(sources: Sources) -> dict[Part, Tree]:
    """What documents declare, part by part."""
    return {part: tree for at, document in sources.items() for part, tree in parts(at, document).items()}


def _frozen(tree: Tree) -> object:
    """A tree to compare.

    The order of keys counts: it orders the SQL, and so changes its fingerprint. Quotes tell a text from a parameter only.
    """
    if isinstance(tree, dict):
        return dict, tuple((key, _frozen(value)) for key, value in tree.items())
    if isinstance(tree, list):
        return list, tuple(_frozen(value) for value in tree)
    return tree, isinstance(tree, Text) and tree.quoted and tree.startswith("$")


def _other_files(before: Document, then: Path, after: Document, now: Path) -> bool:
    """Whether a file that a value set names holds something else."""
    for key in _BESIDE:
        name = after.tree.get(key)
        if after.tree.get("kind") != "value_set" or not isinstance(name, str):
            continue
        if _lines((then / before.file).parent / name, then) != _lines((now / after.file).parent / name, now):
            return True
    return False


def _lines(path: Path, root: Path) -> list[bytes] | None:
    resolved = path.resolve()
    return resolved.read_bytes().splitlines() if resolved.is_relative_to(root) and resolved.is_file() else None


def _by_kind(found: set[Part] | frozenset[Part]) -> dict[str, frozenset[str]]:
    return {kind: frozenset(name for each, name in found if each == kind) for kind in sorted({kind for kind, _ in found})}
