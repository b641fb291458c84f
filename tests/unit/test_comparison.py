"""Two revisions side by side, without data: what means something else and by what, and how a pull request reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cdp.analyst.change.comparison import Difference
from cdp.analyst.change.diff import Diff, SegmentMove, SyncMove, diff
from cdp.analyst.change.markdown import LONGEST, markdown
from cdp.analyst.change.movement import COUNTS, Audience, Movement, Split
from cdp.analyst.change.revisions import revision
from cdp.analyst.explore.cells import Shown
from cdp.compile import Clock
from cdp.project.load import load
from tests.projects import minimal
from tests.repositories import commit, edit
from tests.unit.test_revisions import OVERLAYS

TEMPLATE = """\
kind: segment
name: older_than
entity: patient
owner: care@example.org
purpose: care_coordination
params: {years: integer}
where: {age: {gte: $years}}
---
kind: segment
name: elders
entity: patient
owner: care@example.org
purpose: care_coordination
where: {segment: older_than, with: {years: 65}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = minimal(tmp_path, **OVERLAYS, **{"models/elders.yml": TEMPLATE})
    commit(made)
    return made


def compare(root: Path, *names: str) -> Diff:
    with revision(root, "HEAD") as then:
        after = load(root)
        return diff(then, load(then.root), after, Clock.parse("2026-07-01", after.timezone), names=names)


def models(found: Diff) -> dict[tuple[str, str], Difference]:
    return {(each.kind, each.name): each for each in found.models}


# -- what means something else --------------------------------------------------------------------------------------------


def test_a_segment_brings_its_sql_and_those_that_rest_on_it_say_so(root: Path) -> None:
    edit(root / "models/adults.yml", "18", "21")
    found = models(compare(root))
    assert found.keys() == {("segment", "adults"), ("segment", "often"), ("sync", "adults_mail")}
    own, resting, sync = found.values()
    assert [line for line in own.sql if line[0] in "+-" and line[:3] not in ("+++", "---")] == [
        "-  patient.birth_date <= CAST('2008-07-01' AS DATE)",
        "+  patient.birth_date <= CAST('2005-07-01' AS DATE)",
    ]
    assert own.downstream == ("adults_mail",)
    assert (resting.through, resting.sql) == (("segment adults",), ())
    assert sync.through == ("segment adults",)


def test_what_is_written_in_other_words_and_what_is_only_prose(root: Path) -> None:
    edit(root / "models/adults.yml", "where: {age: {gte: 18}}", "where: {all: [{age: {gte: 18}}]}")
    edit(root / "models/programme.yml", "name: with_copd\nentity: patient\n", "name: with_copd\nentity: patient\ndescription: new words\n")
    found = models(compare(root))
    assert {name: each.change for (_, name), each in found.items()} == {"adults": "reworded", "with_copd": "reworded"}
    assert compare(root).segments == ()


def test_codes_that_came_and_went(root: Path) -> None:
    edit(root / "models/asthma.csv", "195967001\n", "".join(f"{number}\n" for number in range(100, 115)))
    found = models(compare(root))
    details = found["value_set", "asthma"].details
    assert details[:2] == ("+ SNOMED 100", "+ SNOMED 101")
    assert details[12:] == ("+ 3 more codes", "- SNOMED 195967001")
    assert found["segment", "with_asthma"].through == ("value_set asthma",)
    assert ("segment", "with_copd") not in found


@pytest.mark.parametrize(
    ("file", "old", "new", "part", "details"),
    [
        ("syncs/adults_mail.yml", "first_name: given_name", "name: given_name", ("sync", "adults_mail"),
         ("mappings.first_name: given_name -> nothing", "mappings.name: nothing -> given_name")),
        ("syncs/adults_mail.yml", "mode: mirror", "mode: upsert", ("sync", "adults_mail"), ("mode: mirror -> upsert",)),
        ("destinations/mail.yml", "batch: 100", "batch: 50", ("destination", "mail"), ("http.upsert.batch: 100 -> 50",)),
        ("models/patient.yml", "state: {type: string, class: demographic.state}", "state: {type: string, class: demographic.year}",
         ("entity", "patient"), ("columns.state.class: demographic.state -> demographic.year",)),
        ("governance/baa/mailer.yml", "classes: [identifier.pseudonym, contact.email", "classes: [identifier, contact.email",
         ("baa", "mailer"), ("classes[0]: identifier.pseudonym -> identifier",)),
        ("conf/cdp.yml", "control: cdp", "control: other", ("project", "environments"), ("dev.control: cdp -> other",)),
    ],
)  # fmt: skip
def test_settings_before_and_after(root: Path, file: str, old: str, new: str, part: tuple[str, str], details: tuple[str, ...]) -> None:
    edit(root / file, old, new)
    found = models(compare(root))[part]
    assert (found.change, found.details) == ("changed", details)


def test_a_template_has_no_people_and_what_fills_it_in_has(root: Path) -> None:
    edit(root / "models/elders.yml", "where: {age: {gte: $years}}", "where: {age: {gt: $years}}")
    found = compare(root)
    told = models(found)
    assert told["segment", "older_than"].template
    assert told["segment", "older_than"].details == ("where.age.gte: $years -> nothing", "where.age.gt: nothing -> $years")
    assert told["segment", "elders"].through == ("segment older_than",)
    assert [each.name for each in found.segments] == ["elders"]


@pytest.mark.parametrize(
    ("file", "kind", "old", "new"),
    [
        ("models/programme.yml", "segment", "with_copd", "copd_patients"),
        ("models/elders.yml", "segment", "elders", "the_old"),
        ("governance/baa/mailer.yml", "baa", "mailer", "letters"),
        ("destinations/mail.yml", "destination", "mail", "letters"),
    ],
)
def test_what_has_another_name_and_means_the_same_is_renamed(root: Path, file: str, kind: str, old: str, new: str) -> None:
    edit(root / file, f"name: {old}\n", f"name: {new}\n")
    if kind == "baa":
        edit(root / "destinations/mail.yml", "baa: mailer", "baa: letters")
    if kind == "destination":
        edit(root / "syncs/adults_mail.yml", "destination: mail", "destination: letters")
    found = models(compare(root))[kind, new]
    assert (found.change, found.was) == ("renamed", old)


def test_names_show_what_they_are_and_what_rests_on_them(root: Path) -> None:
    edit(root / "models/adults.yml", "18", "21")
    edit(root / "models/sets.yml", "[13645005]", "[13645005, 185086009]")
    assert {name for _, name in models(compare(root, "copd"))} == {"copd", "with_copd"}
    assert {name for _, name in models(compare(root, "with_copd"))} == {"with_copd"}
    assert {name for _, name in models(compare(root, "adults_mail"))} == {"adults", "adults_mail"}


# -- markdown -------------------------------------------------------------------------------------------------------------

HOSTILE = "a|b `c` <img src=x> @team #1 [x](y)\n| d"


def change(*models: Difference, people: bool = True, value: str = "MA") -> Diff:
    shown = {name: Shown(number, number) for name, number in zip(COUNTS, (100, 90, 80, 10, 20), strict=True)} | {"enter": Shown(1, 10)}
    movement = Movement(shown, (Split("state", ((value, Shown(1, 10), Shown(20, 20)),)),))
    sync = SyncMove("adults_mail", "changed", "mail", "care_coordination", Audience("adults", "adults"), movement)
    versions: dict[str, int | None] | None = {"clinical.patients": 3, "crm.view": None} if people else None
    return Diff("main", "0123456789abcdef", "2026-07-01", versions, models, (SegmentMove("adults", "adults", movement),), (sync,))


def test_a_change_reads_well_in_a_pull_request() -> None:
    text = markdown(change(Difference("segment", "adults", "changed", "adults", sql=("-a", "+b"), downstream=("adults_mail",))))
    assert "Compared with commit 0123456789ab, as of 2026-07-01." in text
    assert "Data: clinical.patients at version 3, crm.view (keeps no versions)." in text
    assert "| `adults` | 100 | 90 | 80 | <11 | 20 |" in text
    assert "| MA | <11 | 20 |" in text
    assert "| `adults_mail` | `mail` | care_coordination | changed | <11 | 20 |" in text
    assert "```diff\n-a\n+b\n```" in text
    assert "cdp plan" in text


def test_nobody_is_counted_without_data() -> None:
    text = markdown(change(Difference("segment", "adults", "changed", "adults"), people=False))
    assert "Without data" in text
    assert "People" not in text
    assert "enter" not in text


def test_no_name_value_or_setting_breaks_the_page() -> None:
    model = Difference("sync", "adults_mail", "changed", "adults_mail", details=(f"mappings.x: {HOSTILE}",), sql=("-'```'", "+'````'"))
    text = markdown(change(model, value=HOSTILE))
    body, sql = text.split("<details>")
    assert "<img" not in body
    assert "@team" not in body
    for row in [line for line in body.splitlines() if line.startswith("| ") and "b" in line and "img" in line]:
        assert len(re.findall(r"(?<!\\)\|", row)) in (4, 5)
    assert "`````diff\n" in sql


def test_sql_that_is_too_long_for_a_comment_is_left_out_and_said_to_be() -> None:
    models = [Difference("segment", f"s{number}", "changed", f"s{number}", sql=("+" + "x" * 20_000,)) for number in range(5)]
    text = markdown(change(*models))
    assert len(text) <= LONGEST + 500
    assert "The SQL of 3 more models is too long to stand here" in text
