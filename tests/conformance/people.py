"""Who may be told, on any engine: random people by the compiled rules and by reading their rows one by one."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from cdp.compile.clock import Clock
from cdp.engine import Engine
from cdp.governance.decide import Governor
from cdp.governance.query import RULE, SUBJECT, GovernedQuery
from cdp.project.load import load
from cdp.sync import diff, encoding
from cdp.sync.people import People, kept_out
from tests.people_world import ASKING, NOW, RULES, Person, anybody, project_at, slow, write

CLOCK = Clock(NOW.astimezone(ZoneInfo("America/New_York")))


def asked(engine: Engine, query: GovernedQuery) -> dict[str, dict[str, Any]]:
    """What a governed query says, by person."""
    engine.register(query.tables)
    return {row[SUBJECT]: row for row in engine.query(query.select.sql("spark")).to_pylist()}


def left_out(engine: Engine, query: GovernedQuery) -> dict[str, str]:
    """Whom the query that is asked again at apply keeps out, and by which rule."""
    engine.register(query.tables)
    return {row[SUBJECT]: row[RULE] for row in engine.query(query.eligibility.sql("spark")).to_pylist()}


class PeopleStory:
    """Eligibility on an engine.

    Attributes:
        count: how many people.
    """

    count: ClassVar[int] = 400
    people: ClassVar[dict[str, Person]]
    governor: ClassVar[Governor]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _clinic(cls, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> None:
        dice = random.Random(5)
        cls.people = {f"p{number:04}": anybody(f"p{number:04}", dice) for number in range(cls.count)}
        write(engine, cls.people.values())
        cls.governor = Governor.of(load(project_at(tmp_path_factory.mktemp("people"))))

    @pytest.mark.parametrize("asking", ASKING, ids=lambda each: each.name)
    def test_the_rules_keep_out_whom_they_keep_out_one_by_one(self, engine: Engine, asking: Any) -> None:
        query = self.governor.govern(asking.name, clock=CLOCK, now=CLOCK)
        found, expected = asked(engine, query), {key: slow(person, asking) for key, person in self.people.items()}
        assert {key: row[RULE] for key, row in found.items()} == {key: rule for key, (rule, _) in expected.items()}
        assert left_out(engine, query) == {key: rule for key, (rule, _) in expected.items() if rule is not None}
        told = [key for key, (rule, _) in expected.items() if rule is None]
        for key in told:
            assert {name: found[key][name] for name in asking.mappings} == expected[key][1], key
        assert told, "nobody is told"

    @pytest.mark.parametrize("asking", ASKING, ids=lambda each: each.name)
    def test_of_some_people_the_rules_say_what_they_say_of_all(self, engine: Engine, asking: Any) -> None:
        query = self.governor.govern(asking.name, clock=CLOCK, now=CLOCK)
        some = random.Random(asking.name).sample(sorted(self.people), self.count // 5)
        engine.drop("tmp.some_people")
        engine.create("tmp.some_people", {"who": "string"})
        engine.append("tmp.some_people", pa.table({"who": some}))
        of = People.of("tmp.some_people", "who")
        for select, every in ((query.eligibility, left_out(engine, query)), (query.select, asked(engine, query))):
            few = of.narrowed(select, query)
            assert few.sql("spark").count("tmp.some_people") > 1, "the people and at least one table about them"
            found = {row[SUBJECT]: row for row in engine.query(few.sql("spark")).to_pylist()}
            assert set(found) == set(some) & set(every)
            assert {who: row if select is query.select else row[RULE] for who, row in found.items()} == {who: every[who] for who in found}
        rules = {row["subject"]: row["rule"] for row in engine.query(kept_out(query, of)).to_pylist()}
        assert rules == {who: rule for who, rule in left_out(engine, query).items() if who in some}

    @pytest.mark.parametrize("asking", ASKING, ids=lambda each: each.name)
    def test_a_hash_of_what_is_told_is_the_same_wherever_it_is_computed(self, engine: Engine, asking: Any) -> None:
        query = self.governor.govern(asking.name, clock=CLOCK, now=CLOCK)
        engine.register(query.tables)
        types = engine.types(query.select)
        plain = encoding.content(query, types).sql("spark")
        late = f"SELECT {encoding.key(query, types)} AS key, {plain} AS content FROM ({query.select.sql('spark')}) AS g"
        both = (diff.members(query, types), late)
        assert "AS _cdp_content FROM clinical.patients" in both[0] or asking.name != "ids", "told as it stands: hashed where it is read"
        found = [sorted((str(row["key"]), row["content"]) for row in engine.query(each).to_pylist()) for each in both]
        assert found[0] == found[1]

    def test_every_rule_is_the_first_for_somebody(self) -> None:
        found = Counter(slow(person, asking)[0] for asking in ASKING for person in self.people.values())
        assert set(found) == {*RULES, "holdout", None}
