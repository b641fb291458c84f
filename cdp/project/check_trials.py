"""The tests of segments and traits: every name and value in them, and that nobody real can be reached through them."""

from __future__ import annotations

from cdp.project.language.bind import Binder
from cdp.project.problems import Problems
from cdp.project.project import Project
from cdp.project.trials import trials


def check(project: Project, problems: Problems) -> None:
    """Report what is wrong with the tests of a project.

    Args:
        project: bound; what could not be bound has been reported, and is not tested.
        problems: what is wrong is added here, with its place.
    """
    binder = Binder(project, problems)
    for name, segment in project.segments.items():
        if segment.tests is None:
            continue
        if segment.params:
            hint = "test a segment that fills them in"
            binder.place("segment", name, "tests").wrong("a segment with parameters is no population yet", hint=hint, key=True)
        elif name in project.bound.segments:
            trials(binder, "segment", name)
    for name in project.bound.traits:
        trials(binder, "trait", name)
