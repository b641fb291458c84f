"""Reviews that would have narrowed what a query tells, were they of the codes that it compares with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlglot import exp

from cdp.errors import Refusal
from cdp.governance.classes import ClassTree
from cdp.project.codes.reviews import outdated, standing
from cdp.project.project import Project


def unreviewed(project: Project, select: exp.Expr, told: Iterable[Refusal], tree: ClassTree) -> Iterator[Refusal]:
    """A reason for each review of other codes, where a query compares with a code of its value set and is refused for what that may say.

    Args:
        project: its value sets and their reviews.
        select: the query that is refused.
        told: the reasons for which it is; only special classes are ever narrowed by a review.
        tree: the classes.
    """
    if not any(reason.cls and tree.is_special(reason.cls) for reason in told):
        return
    literals = {literal.this for literal in select.find_all(exp.Literal) if literal.is_string}
    for name, review in project.policy.reviews.items():
        value_set = project.value_sets[name]
        if standing(project, name) is None and not literals.isdisjoint(value_set.all_codes):
            missing, fix = outdated(review, value_set)
            yield Refusal("review", f"value set {name}", "", (), missing, fix)
