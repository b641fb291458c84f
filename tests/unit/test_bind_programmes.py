"""The target programmes of the language: every segment, trait and derived entity of them binds, without a warning."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from cdp.project.load import Project, load
from cdp.project.terms.describe import describe

PROGRAMMES = Path(__file__).parents[2] / "../shared/language/project"
pytestmark = pytest.mark.skipif(not PROGRAMMES.is_dir() and not os.environ.get("CDP_NO_SKIP"), reason="the target programmes are not here")

CONF = "environments: {dev: {engine: sail, lakehouse: lake, control: cdp, sandbox: true}}\n"
GLUCOSE = "kind: value_set\nname: glucose\nsystem: LOINC\ncodes: [2339-0]\n"
UNUSED = {"hba1c", "phq"}  # value sets that the programmes have and do not use


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The programmes without their syncs, with what they leave out: environments, classes, purposes, what a row says."""
    root = tmp_path_factory.mktemp("programmes") / "project"
    shutil.copytree(PROGRAMMES, root)
    (root / "programmes").rename(root / "models/programmes")
    (root / "conf/cdp.yml").write_text((root / "conf/cdp.yml").read_text() + CONF)
    (root / "models/glucose.yml").write_text(GLUCOSE)
    classes, purposes = {"public"}, set()
    for path in [*root.rglob("models/**/*.yml")]:
        text = path.read_text()
        classes |= set(re.findall(r"class: ([a-z_.]+)", text))
        purposes |= set(re.findall(r"^purpose: (\w+)", text, re.MULTILINE))
        kept = [part for part in re.split(r"^---\n", text, flags=re.MULTILINE) if not part.startswith("kind: sync")]
        path.unlink()
        if kept:
            path.write_text("---\n".join(re.sub(r"^(kind: entity\n)", r"\1rows: public\n", part, flags=re.MULTILINE) for part in kept))
    (root / "governance").mkdir()
    purpose = "{basis: law, classes: [public], members: [public], channels: [email], consent: none_needed}"
    (root / "governance/classes.yml").write_text("kind: classes\nclasses:\n" + "".join(f"  {name}: {{phi: true}}\n" for name in classes))
    (root / "governance/purposes.yml").write_text("kind: purposes\npurposes:\n" + "".join(f"  {p}: {purpose}\n" for p in purposes))
    return load(root)


def test_everything_binds(project: Project) -> None:
    templates = {name for name, segment in project.segments.items() if segment.params}
    assert project.bound.segments.keys() == project.segments.keys() - templates
    assert {name for name, _ in project.bound.templates} == templates
    assert len(project.bound.templates) == 7
    assert project.bound.traits.keys() == project.traits.keys()
    assert project.bound.derived.keys() == {"bp_day"}


def test_only_what_is_unused_is_warned_of(project: Project) -> None:
    assert {warning.message.split()[-1] for warning in project.warnings} == UNUSED


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("refill_due", "on_hand_until within the next 7 days"),
        ("pregnant_28_to_36", "pregnancy_band is third_trimester"),
        (
            "cms130_population",
            "age 46 to 75 at the end of measurement_year and (has encounters: type in outpatient_visit, in measurement_year)",
        ),
        (
            "glp1_started",
            "has fills: drug.code in glp1 and (lacks fills: drug.code in glp1, 1 to 180 days before filled_on of the fill), "
            "within the last 30 days",
        ),
    ],
)
def test_said(project: Project, name: str, said: str) -> None:
    found = describe(project.bound.segments[name], project)
    assert found.startswith(said.removesuffix("...")) if said.endswith("...") else found == said
