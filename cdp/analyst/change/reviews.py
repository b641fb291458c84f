"""Reviews of value sets, as whoever answers for them looks at them: of which codes they are, and what has changed since."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cdp.analyst.change.revisions import introduced, revision
from cdp.errors import ProjectError, UsageError
from cdp.project.codes.reviews import fingerprint, standing
from cdp.project.load import load
from cdp.project.project import Project
from cdp.spec.model import Codes
from cdp.spec.policy import ValueSetReview

State = Literal["reviewed", "other codes", "no fingerprint", "not reviewed"]
Pair = tuple[str, str]  # a code system and a code


@dataclass(frozen=True, slots=True)
class Since:
    """What came and went since a review, as git knows it; `commit` is where the review was written."""

    commit: str
    added: tuple[Pair, ...]
    removed: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """A value set and its review.

    Attributes:
        members: its codes as they are now.
        sha256: their fingerprint.
        state: whether the review is one of these codes.
        since: what has changed since, where that can be told.
    """

    name: str
    members: tuple[Codes, ...]
    sha256: str
    review: ValueSetReview | None
    state: State
    since: Since | None = None

    @property
    def line(self) -> str:
        """What to write into governance/value_sets.yml once all of the codes were looked at."""
        cls, by, on = (self.review.cls, self.review.reviewed.by, "TODAY") if self.review else ("CLASS", "WHO", "TODAY")
        return f"  {self.name}:\n    class: {cls}\n    reviewed: {{by: {by}, on: {on}, sha256: {self.sha256}}}"

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object with stable keys."""
        said = self.review.reviewed if self.review else None
        return {
            "value_set": self.name,
            "state": self.state,
            "class": self.review.cls if self.review else None,
            "by": said.by if said else None,
            "on": said.on.isoformat() if said else None,
            "reviewed_sha256": said.sha256 if said else None,
            "sha256": self.sha256,
            "codes": {part.system: sorted(part.codes) for part in self.members},
            "since": {"commit": self.since.commit, "added": self.since.added, "removed": self.since.removed} if self.since else None,
        }


def look(project: Project, name: str, *, history: bool = True) -> Looked:
    """A value set with its review.

    Args:
        project: it declares the value set.
        name: the value set.
        history: ask git what has changed since the review.
    """
    value_set, review = project.value_sets[name], project.policy.reviews.get(name)
    state = _state(project, name, review)
    since = _since(project, name, review) if history and state == "other codes" and review else None
    return Looked(name, value_set.members, fingerprint(value_set.members), review, state, since)


def _state(project: Project, name: str, review: ValueSetReview | None) -> State:
    if review is None:
        return "not reviewed"
    if review.reviewed.sha256 is None:
        return "no fingerprint"
    return "reviewed" if standing(project, name) else "other codes"


def _since(project: Project, name: str, review: ValueSetReview) -> Since | None:
    """The codes now against those of the commit that brought the review's fingerprint; None where that cannot be told."""
    commit = introduced(project.root, str(review.reviewed.sha256), "governance")
    if commit is None:
        return None
    then = _then(project.root, commit, name)
    if then is None or fingerprint(then) != review.reviewed.sha256:
        return None
    before, now = _pairs(then), _pairs(project.value_sets[name].members)
    return Since(commit, tuple(sorted(now - before)), tuple(sorted(before - now)))


def _then(root: Path, commit: str, name: str) -> tuple[Codes, ...] | None:
    try:
        with revision(root, commit) as then:
            found = load(then.root).value_sets.get(name)
    except (ProjectError, UsageError):  # nobody can say what it held then
        return None
    return found.members if found else None


def _pairs(members: tuple[Codes, ...]) -> frozenset[Pair]:
    return frozenset((part.system, code) for part in members for code in part.codes)
