"""The example project on any engine: the sample loaded, every sync governed, run and planned. The numbers are written down."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from pathlib import Path
from typing import ClassVar

import pytest

from cdp.compile import compile_segment
from cdp.compile.clock import Clock
from cdp.engine import Engine
from cdp.governance.decide import Governor
from cdp.project.load import Project, load
from cdp.sample.load import EVERY_TABLE
from cdp.sample.load import load as load_sample
from cdp.sync.planning import make_plan

ROOT = Path(__file__).parents[2]
NOW = "2026-07-01T12:00"


class ExampleStory:
    """What the example does on an engine.

    Attributes:
        planned: the syncs whose plans are made too; a plan is a dozen statements, of which Spark takes a second each.
    """

    project: ClassVar[Project]
    planned: ClassVar[tuple[str, ...]]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _sample(cls, engine: Engine) -> None:
        for table in EVERY_TABLE:  # a process has one Spark session, and others of its stories left tables of these names
            engine.drop(table)
        load_sample(engine, shift_to=dt.date(2026, 6, 30), timezone="America/New_York")
        engine.execute("UPDATE crm.consents SET recorded_at = TIMESTAMP '2026-07-01 00:00:00'")
        cls.project = load(ROOT)

    def test_every_sync_selects_the_same_rows(self, engine: Engine) -> None:
        clock = Clock.parse(NOW, self.project.timezone)
        governor, found = Governor.of(self.project), {}
        for name in sorted(self.project.syncs):
            query = governor.govern(name, clock=clock, now=clock)
            engine.register(query.tables)
            rows = engine.query(query.select.sql("spark"), what=name).to_pylist()
            found[name] = (len(rows), _digest(rows))
        assert found == ROWS

    def test_segments_that_others_rest_on_find_people(self, engine: Engine) -> None:
        clock = Clock.parse(NOW, self.project.timezone)
        used = {sync.segment for sync in self.project.syncs.values()}
        found = {}
        for name in sorted(name for name, segment in self.project.segments.items() if name not in used and not segment.params):
            query = compile_segment(self.project, name, clock)
            engine.register(query.tables)
            found[name] = engine.query(query.select.sql("spark"), what=name).num_rows
        assert found == SHARED

    def test_plans_are_of_the_same_people(self, engine: Engine) -> None:
        clock = Clock.parse(NOW, self.project.timezone)
        governor, control = Governor.of(self.project), f"cdp_{uuid.uuid4().hex[:8]}"
        found = {}
        for name in self.planned:
            plan = make_plan(governor.govern(name, clock=clock, now=clock), engine, control, now=clock.instant, as_of=clock.instant)
            found[name] = (
                plan.size,
                plan.counts["add"],
                {rule: n for rule, n in plan.excluded if n},
                [chunk.sha256[:12] for chunk in plan.chunks],
            )
        assert found == {name: EXPECTED[name] for name in self.planned}


def _digest(rows: list[dict[str, object]]) -> str:
    """Of rows in any order."""
    lines = sorted("|".join(f"{name}={_text(value)}" for name, value in row.items()) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _text(value: object) -> str:
    return value.astimezone(dt.UTC).isoformat() if isinstance(value, dt.datetime) else str(value)


# By sync: members of the segment, additions, who is left out by which rules, and the digest of the rows.
EXPECTED = {
    "a1c_care_managers": (4, 4, {}, ["897ca915fe75"]),
    "a1c_reminder_email": (
        22,
        13,
        {"restricted": 1, "confidential_channel": 1, "no_consent": 4, "suppressed": 1, "unreachable": 2},
        ["f276e9d159ef"],
    ),
    "appointment_reminder": (4, 4, {}, ["e7263ec13c0a"]),
    "bp_outreach": (25, 20, {"restricted": 1, "no_consent": 3, "suppressed": 1}, ["71acf202d890"]),
    "mammogram_messages": (9, 3, {"restricted": 1, "confidential_channel": 1, "no_consent": 4}, ["01bcdf232abd"]),
    "choose_a_pcp": (17, 9, {"minor": 5, "no_consent": 1, "suppressed": 1, "one_per": 1}, ["a99beb13554b"]),
    "choose_a_pcp_for_a_child": (17, 3, {"turned_adult": 12, "no_consent": 2}, ["2f77444baaef"]),
    "colorectal_calls": (6, 5, {"restricted": 1}, ["a2a93a14fd79"]),
    "colorectal_household": (6, 4, {"restricted": 1, "no_consent": 1}, ["891e4fc9108a"]),
    "colorectal_letters": (6, 4, {"restricted": 1, "no_consent": 1}, ["7ed762f3f6e7"]),
    "depression_outreach": (3, 1, {"special_consent": 1, "no_consent": 1}, ["18ba1fd67c31"]),
    "diabetes_registry": (33, 31, {"restricted": 2}, ["0f4d8cdffe48"]),
    "ed_navigator_list": (5, 4, {"no_consent": 1}, ["b2fb4bd1b16f"]),
    "flu_reminder_sms": (44, 20, {"deceased": 10, "confidential_channel": 1, "no_consent": 12, "suppressed": 1}, ["5bb35573aa3c"]),
    "formulary_switch": (17, 14, {"no_consent": 3}, ["6ef2d7653e87"]),
    "glp1_onboarding": (4, 3, {"no_consent": 1}, ["f5488753a89e"]),
    "immunisation_recall": (5, 4, {"no_consent": 1}, ["4b2054eb7514"]),  # a dose that was given at a Part 2 program is not read
    "night_contacts_review": (11, 7, {"minor": 1, "no_consent": 3}, ["6273732d2f79"]),
    "panel_reports": (5, 5, {}, ["1c0d9c2f93fe"]),
    "post_discharge_calls": (4, 4, {}, ["cec1df283a35"]),
    "post_op_calls": (3, 2, {"no_consent": 1}, ["1c3fc17b2c31"]),
    "pregnancy_messages": (2, 2, {}, ["c108bb99d452"]),
    "rebook_calls": (7, 5, {"minor": 2}, ["fa66cf5781e0"]),
    "refill_reminder": (4, 2, {"no_consent": 2}, ["754fb3e7d4e6"]),
    "statin_outreach": (9, 5, {"restricted": 1, "no_consent": 3}, ["5ee0bf5975f7"]),
    "step_drop_calls": (6, 4, {"no_consent": 1, "suppressed": 1}, ["495a04abc8fe"]),
    "uploads_stopped_calls": (5, 3, {"no_consent": 2}, ["1e8adaa16989"]),
}

# By sync: the rows that its query selects, whoever may be told, and their digest.
ROWS = {
    "a1c_care_managers": (4, "ec1822d4b6c5"),
    "a1c_reminder_email": (22, "17765a466202"),
    "appointment_reminder": (4, "f1ddb70da0dd"),
    "bp_outreach": (25, "3390b061596d"),
    "mammogram_messages": (9, "e209d48c72d3"),
    "choose_a_pcp": (17, "a9e3e5a5e6da"),
    "choose_a_pcp_for_a_child": (17, "39a6ac46bf6f"),
    "colorectal_calls": (6, "dcb8be6b447e"),
    "colorectal_household": (6, "7443f177c264"),
    "colorectal_letters": (6, "5151fae27fec"),
    "depression_outreach": (3, "ff59f55c386f"),
    "diabetes_registry": (33, "e6dce351a702"),
    "ed_navigator_list": (5, "cfb6c623e883"),
    "flu_reminder_sms": (44, "16489b8ef75d"),
    "formulary_switch": (17, "b569968af07e"),
    "glp1_onboarding": (4, "e2d7c8d21484"),
    "immunisation_recall": (5, "e4f020fddfbb"),
    "night_contacts_review": (11, "01eb28e934f7"),
    "panel_reports": (5, "091adc83216d"),
    "post_discharge_calls": (4, "cee50a80f229"),
    "post_op_calls": (3, "ee5ffd6bf2a7"),
    "pregnancy_messages": (2, "57d5eaad839b"),
    "rebook_calls": (7, "f9d1c683421f"),
    "refill_reminder": (4, "90a49d58c780"),
    "statin_outreach": (9, "6a21a2ade5d8"),
    "step_drop_calls": (6, "d013c8611b89"),
    "uploads_stopped_calls": (5, "d72d629b8008"),
}

# One of each kind: everyday; a derived entity; one a household; days covered; a template; clinicians.
SOME = ("a1c_reminder_email", "bp_outreach", "choose_a_pcp", "refill_reminder", "immunisation_recall", "panel_reports")

# By segment that no sync sends: its members. Synthea has neither frailty nor palliative care.
SHARED = {
    "advanced_illness": 2,
    "cms130_population": 27,
    "cms130_screened": 43,
    "cms165_excluded": 4,
    "cms165_population": 28,
    "frail": 0,
    "in_hospice": 3,
    "in_nursing_home": 1,
    "in_palliative_care": 0,
    "measure_excluded": 4,
    "seen_this_year": 63,
}
