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
from cdp.sample.load import load as load_sample
from cdp.sync.plan import make_plan

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
            found[name] = (plan.size, plan.counts["add"], dict(plan.excluded), [chunk.sha256[:12] for chunk in plan.chunks])
        assert found == {name: EXPECTED[name] for name in self.planned}


def _digest(rows: list[dict[str, object]]) -> str:
    """Of rows in any order."""
    lines = sorted("|".join(f"{name}={_text(value)}" for name, value in row.items()) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _text(value: object) -> str:
    return value.astimezone(dt.UTC).isoformat() if isinstance(value, dt.datetime) else str(value)


# By sync: members of the segment, additions, who is left out by which rule, and the digest of the rows.
EXPECTED = {
    "a1c_care_managers": (4, 4, {"deceased": 0, "minor": 0, "no_consent": 0}, ["676214e1c928"]),
    "a1c_reminder_email": (22, 17, {"deceased": 0, "minor": 0, "no_consent": 5}, ["148132648e0d"]),
    "appointment_reminder": (4, 4, {"deceased": 0, "minor": 0, "no_consent": 0}, ["de8a2972aa0e"]),
    "bp_outreach": (25, 22, {"deceased": 0, "minor": 0, "no_consent": 3}, ["6dbde6451072"]),
    "mammogram_messages": (9, 5, {"deceased": 0, "minor": 0, "no_consent": 4}, ["31b5ea868283"]),
    "choose_a_pcp": (17, 10, {"deceased": 0, "minor": 5, "no_consent": 1, "one_per": 1}, ["15a2c7f18adb"]),
    "colorectal_calls": (6, 6, {"deceased": 0, "minor": 0, "no_consent": 0}, ["3c8eda1db6e4"]),
    "colorectal_household": (6, 4, {"deceased": 0, "minor": 0, "no_consent": 2, "one_per": 0}, ["2a7ce7a317a7"]),
    "colorectal_letters": (6, 4, {"deceased": 0, "minor": 0, "no_consent": 2}, ["3fa8720e8a00"]),
    "depression_outreach": (3, 2, {"deceased": 0, "minor": 0, "no_consent": 1}, ["cf9ba76dd54e"]),
    "diabetes_registry": (33, 33, {"deceased": 0, "no_consent": 0}, ["fb45590595e8"]),
    "ed_navigator_list": (5, 4, {"deceased": 0, "minor": 0, "no_consent": 1}, ["9a0dc09cd14e"]),
    "flu_reminder_sms": (44, 22, {"deceased": 10, "minor": 0, "no_consent": 12}, ["3d1ec687d21a"]),
    "formulary_switch": (17, 14, {"deceased": 0, "minor": 0, "no_consent": 3}, ["66bf0d7ffd8c"]),
    "glp1_onboarding": (4, 3, {"deceased": 0, "minor": 0, "no_consent": 1}, ["20a4fe97d7b6"]),
    "immunisation_recall": (4, 3, {"deceased": 0, "no_consent": 1, "one_per": 0}, ["2854dac03d46"]),
    "night_contacts_review": (11, 7, {"deceased": 0, "minor": 1, "no_consent": 3}, ["7d53b11a71a0"]),
    "panel_reports": (5, 5, {"retired": 0}, ["1ccb98f43889"]),
    "post_discharge_calls": (4, 4, {"deceased": 0, "minor": 0, "no_consent": 0}, ["77f2cbf56a4e"]),
    "post_op_calls": (3, 2, {"deceased": 0, "minor": 0, "no_consent": 1}, ["c8529a78c405"]),
    "pregnancy_messages": (2, 2, {"deceased": 0, "minor": 0, "no_consent": 0}, ["a0899b089edf"]),
    "rebook_calls": (7, 5, {"deceased": 0, "minor": 2, "no_consent": 0}, ["73052bb45e97"]),
    "refill_reminder": (4, 2, {"deceased": 0, "minor": 0, "no_consent": 2}, ["87f059e0b040"]),
    "statin_outreach": (9, 6, {"deceased": 0, "minor": 0, "no_consent": 3}, ["b22e2b37811d"]),
    "step_drop_calls": (6, 5, {"deceased": 0, "minor": 0, "no_consent": 1}, ["3fa39876f09f"]),
    "uploads_stopped_calls": (5, 3, {"deceased": 0, "minor": 0, "no_consent": 2}, ["3f359db99a40"]),
}

# By sync: the rows that its query selects, whoever may be told, and their digest.
ROWS = {
    "a1c_care_managers": (4, "ec1822d4b6c5"),
    "a1c_reminder_email": (22, "1d7ce3d212a5"),
    "appointment_reminder": (4, "f1ddb70da0dd"),
    "bp_outreach": (25, "5bac06d341e9"),
    "mammogram_messages": (9, "6f51dd7d8f7e"),
    "choose_a_pcp": (17, "201de20db796"),
    "colorectal_calls": (6, "df06531fddcd"),
    "colorectal_household": (6, "c8fc345b4a08"),
    "colorectal_letters": (6, "2ab0e1503ebb"),
    "depression_outreach": (3, "11681fb9e969"),
    "diabetes_registry": (33, "002dcf704c3e"),
    "ed_navigator_list": (5, "cfb6c623e883"),
    "flu_reminder_sms": (44, "e58b45b5f563"),
    "formulary_switch": (17, "a3e71f4c8a71"),
    "glp1_onboarding": (4, "e2d7c8d21484"),
    "immunisation_recall": (4, "c63bf0374c7c"),
    "night_contacts_review": (11, "01eb28e934f7"),
    "panel_reports": (5, "091adc83216d"),
    "post_discharge_calls": (4, "cee50a80f229"),
    "post_op_calls": (3, "ee5ffd6bf2a7"),
    "pregnancy_messages": (2, "57d5eaad839b"),
    "rebook_calls": (7, "f9d1c683421f"),
    "refill_reminder": (4, "90a49d58c780"),
    "statin_outreach": (9, "e7102b2a7ab7"),
    "step_drop_calls": (6, "fd31937eb9d0"),
    "uploads_stopped_calls": (5, "00d5b11d751f"),
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
