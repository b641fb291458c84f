"""Classes as tags of a catalog, and whether a catalog says more of a column than the project does.

Attack 26: a view hides where its columns come from, and is declared with lower classes. What the catalog knows is held against
what is declared: the tags of the column itself, and, by the catalog's own lineage, those of the columns it was made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from cdp.errors import Refusal
from cdp.governance.classes import ANY, ClassTree

CLASS: Final = "cdp_class"  # of a column: its class, and what a value of it may hold besides
ROWS: Final = "cdp_rows"  # of a table: what being in it tells
COLUMN: Final = "cdp_column"  # of a column that a row filter reads: its name
KEYS: Final = (CLASS, ROWS, COLUMN)

Column = tuple[str, str]  # `schema.table` and a column, in lower case
Classes = Mapping[Column, frozenset[str]]


def value(classes: Iterable[str]) -> str:
    """The value of a tag that says classes: `clinical:condition+sensitive:sud`. A governed tag's value holds no dot.

    https://docs.databricks.com/aws/en/admin/governed-tags/manage-governed-tags, "Requirements for tag keys and values".
    """
    return "+".join(cls.replace(".", ":") for cls in classes)


def classes(tag: str) -> frozenset[str]:
    """The classes that the value of a tag says."""
    return frozenset(cls.strip().replace(":", ".") for cls in tag.split("+") if cls.strip())


def inherited(tags: Classes, lineage: Iterable[tuple[Column, Column]]) -> Classes:
    """What the tags of columns say of those that were made of them.

    Args:
        tags: the classes that each column is tagged with.
        lineage: (from, to) of the catalog's column lineage, over one step each.
    """
    steps: dict[Column, set[Column]] = {}
    for source, target in lineage:
        if source != target:
            steps.setdefault(source, set()).add(target)
    found = {column: set(said) for column, said in tags.items()}
    waiting = list(tags)
    while waiting:
        source = waiting.pop()
        for target in steps.get(source, ()):
            held = found.setdefault(target, set())
            if not found[source] <= held:
                held |= found[source]
                waiting.append(target)
    return {column: frozenset(said) for column, said in found.items()}


def tags_above(declared: Classes, tags: Classes, tree: ClassTree) -> tuple[Refusal, ...]:
    """The columns of which a catalog says more than the project declares. One that is not declared is no concern of ours.

    A tag's class is above if somebody could be granted all that is declared and not that class.

    Args:
        declared: the class of each column and what it may hold besides.
        tags: the classes that the catalog says, those that it inherits included.
        tree: the classes.

    Returns:
        One refusal for each column and class, also for a class that the project does not know.
    """
    return tuple(
        _refusal(column, cls, declared[column], cls in tree)
        for column in sorted(declared.keys() & tags.keys())
        for cls in sorted(tags[column])
        if not any(_implies(own, cls, tree) for own in declared[column])
    )


def _implies(own: str, cls: str, tree: ClassTree) -> bool:
    """Does every grant that covers one class cover the other?"""
    if own == cls:
        return True
    if own not in tree or cls not in tree:
        return False
    words = [word for word in (*tree.line(own), ANY) if tree.covers((word,), own)]
    return all(tree.covers((word,), cls) for word in words)


def _refusal(column: Column, cls: str, declared: Iterable[str], known: bool) -> Refusal:
    name = ".".join(column)
    missing = f"the catalog says so; declared: {', '.join(sorted(declared))}"
    fix = f"declare the class of {name} anew, or have the owner of the catalog correct the tag {CLASS}"
    return Refusal("tag", name, cls, (), missing if known else f"{missing}; governance/classes.yml does not know the class", fix)
