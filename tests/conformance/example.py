"""The example project on any engine: the sample loaded, every sync governed and planned. The numbers are written down."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path
from typing import ClassVar

import pytest

from cdp.compile.clock import Clock
from cdp.engine import Engine
from cdp.governance.decide import Governor
from cdp.project.load import Project, load
from cdp.sample.load import load as load_sample
from cdp.sync.plan import make_plan

ROOT = Path(__file__).parents[2]
NOW = "2026-07-01T12:00"


class ExampleStory:
    project: ClassVar[Project]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _sample(cls, engine: Engine) -> None:
        load_sample(engine, shift_to=dt.date(2026, 6, 30), timezone="America/New_York")
        engine.execute("UPDATE crm.consents SET recorded_at = TIMESTAMP '2026-07-01 00:00:00'")
        cls.project = load(ROOT)

    def test_every_sync_plans_the_same_people(self, engine: Engine) -> None:
        clock = Clock.parse(NOW, self.project.timezone)
        governor, control = Governor.of(self.project), f"cdp_{uuid.uuid4().hex[:8]}"
        found = {}
        for name in sorted(self.project.syncs):
            plan = make_plan(governor.govern(name, clock=clock, now=clock), engine, control, now=clock.instant, as_of=clock.instant)
            found[name] = (plan.size, plan.counts["add"], dict(plan.excluded), [chunk.sha256[:12] for chunk in plan.chunks])
        assert found == EXPECTED


# By sync: members of the segment, additions, who is left out by which rule, and the digest of the rows.
EXPECTED = {
    "a1c_reminder_email": (22, 17, {"deceased": 0, "minor": 0, "no_consent": 5}, ["148132648e0d"]),
    "bp_outreach": (24, 20, {"deceased": 0, "minor": 0, "no_consent": 4}, ["1ab9276a09ca"]),
    "colorectal_calls": (6, 6, {"deceased": 0, "minor": 0, "no_consent": 0}, ["3c8eda1db6e4"]),
    "diabetes_registry": (33, 33, {"deceased": 0, "no_consent": 0}, ["fb45590595e8"]),
    "flu_reminder_sms": (49, 28, {"deceased": 12, "minor": 0, "no_consent": 9}, ["de75402f08ba"]),
}
