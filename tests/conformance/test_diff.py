"""Who enters and leaves, on Sail and on Spark: counted twice, once in plain Python; nothing small, one version of the data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from cdp.analyst.change.diff import Diff, diff
from cdp.analyst.change.movement import Audience, Counter, Side
from cdp.analyst.change.revisions import revision
from cdp.analyst.explore.cells import Shown
from cdp.compile import Clock
from cdp.engine import Engine, connect
from cdp.errors import RefusedError, UsageError
from cdp.project.load import load
from cdp.spec.activation import Environment
from tests.projects import SEGMENT, SYNC, minimal
from tests.repositories import commit, edit

AS_OF = dt.date(2026, 7, 1)
STATES = ("MA", "MA", "NY", "NY", "NY", "VT", None)


def patient(number: int) -> dict[str, Any]:
    """A hundred people, one of each age from 0 to 99."""
    born = dt.date(AS_OF.year - number, 3, 1)
    base: dict[str, Any] = {"patient_id": f"p{number:03}", "birth_date": born, "death_date": None, "given_name": f"N{number}"}
    return base | {"email": f"p{number}@example.org" if number % 2 else None, "state": STATES[number % len(STATES)]}


PEOPLE = [patient(number) for number in range(100)]
COLUMNS = pa.schema(
    [
        ("patient_id", pa.string()),
        ("birth_date", pa.date32()),
        ("death_date", pa.date32()),
        ("given_name", pa.string()),
        ("email", pa.string()),
        ("state", pa.string()),
    ]
)
CONSENTS = [
    *((name, pa.string()) for name in ("consent_id", "patient_id", "purpose", "channel", "status")),
    *((name, pa.timestamp("us", "UTC")) for name in ("effective_at", "expires_at", "recorded_at")),
]
KINDS = {"birth_date": "date", "death_date": "date"}


def age(person: dict[str, Any]) -> int:
    return AS_OF.year - int(person["birth_date"].year)


def exact(shown: Shown) -> int | None:
    return shown.exact


class DiffStory:
    environment: ClassVar[Environment]

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = connect(cls.environment, root=tmp_path_factory.mktemp(cls.environment.engine))
        engine.create("clinical.patients", {name: KINDS.get(name, "string") for name in COLUMNS.names})
        cls.add(engine, PEOPLE)
        yield engine
        engine.close()

    @staticmethod
    def add(engine: Engine, people: Sequence[dict[str, Any]]) -> None:
        engine.append("clinical.patients", pa.Table.from_pylist(list(people), schema=COLUMNS))

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        made = minimal(tmp_path)
        commit(made)
        return made

    @staticmethod
    def diff(root: Path, engine: Engine | None, *, by: Sequence[str] = (), names: Sequence[str] = (), day: str = "2026-07-01") -> Diff:
        with revision(root, "HEAD") as then:
            after = load(root)
            clock = Clock.parse(day, after.timezone)
            opened = None if engine is None else lambda: engine
            return diff(then, load(then.root), after, clock, by=by, names=names, open_engine=opened)

    # -- who moves ----------------------------------------------------------------------------------------------------

    def test_who_enters_and_leaves_is_what_python_counts(self, root: Path, engine: Engine) -> None:
        edit(root / "models/adults.yml", "{age: {gte: 18}}", "{age: {between: [5, 64]}}")
        found = self.diff(root, engine, by=["state", "age"])
        before = {person["patient_id"] for person in PEOPLE if age(person) >= 18}
        after = {person["patient_id"] for person in PEOPLE if 5 <= age(person) <= 64}
        (move,) = found.segments
        assert move.movement is not None
        assert {name: exact(shown) for name, shown in move.movement.counts.items()} == {
            "before": len(before),
            "after": len(after),
            "stay": len(before & after),
            "enter": len(after - before),
            "leave": len(before - after),
        }
        by_age = [(value, exact(enter), exact(leave)) for value, enter, leave in move.movement.splits[1].rows]
        assert by_age == [("(others)", len(after - before), len(before - after))]  # no decade has eleven people
        assert [sync.name for sync in found.syncs] == ["adults_mail"]
        assert found.syncs[0].movement == move.movement

    def test_related_rows_count_by_the_rule_of_their_own_side(self, tmp_path: Path, engine: Engine) -> None:
        """Both sides scan one table under one name, with conditions of their own."""
        engine.create("crm.consents", {name: "timestamp" if name.endswith("_at") else "string" for name, _ in CONSENTS})
        at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        consents = [
            {
                "consent_id": each["patient_id"],
                "patient_id": each["patient_id"],
                "status": "active" if number < 40 else "ended",
                "effective_at": at,
            }
            for number, each in enumerate(PEOPLE)
        ]
        engine.append("crm.consents", pa.Table.from_pylist(consents, schema=pa.schema(CONSENTS)))
        files = {"models/adults.yml": SEGMENT.replace("{age: {gte: 18}}", "{has: consents, where: {status: active}}")}
        root = minimal(tmp_path, **files)
        commit(root)
        edit(root / "models/adults.yml", "{status: active}", "{status: ended}")
        (move,) = self.diff(root, engine).segments
        assert move.movement is not None
        counted = {name: exact(shown) for name, shown in move.movement.counts.items()}
        assert counted == {"before": 40, "after": 60, "stay": 0, "enter": 60, "leave": 40}

    def test_a_split_counts_the_values_of_those_who_move(self, root: Path, engine: Engine) -> None:
        edit(root / "models/adults.yml", "{age: {gte: 18}}", "{age: {gte: 75}}")
        (move,) = self.diff(root, engine, by=["state"]).segments
        assert move.movement is not None
        leaving = [person["state"] for person in PEOPLE if 18 <= age(person) < 75]
        shown = {value: exact(leave) for value, _, leave in move.movement.splits[0].rows}
        assert shown.pop("NY") in (leaving.count("NY"), None)
        assert shown.pop("MA") in (leaving.count("MA"), None)
        assert shown.keys() == {"(others)", "(none)"}  # eight people each: nobody is told which state the first eight live in

    def test_few_people_are_not_counted_and_nothing_gives_them_away(self, root: Path, engine: Engine) -> None:
        edit(root / "models/adults.yml", "{age: {gte: 18}}", "{age: {gte: 21}}")
        (move,) = self.diff(root, engine, by=["state"]).segments
        assert move.movement is not None
        counts = move.movement.counts
        assert str(counts["leave"]) == "<11"
        assert exact(counts["enter"]) == 0
        assert sum(exact(counts[name]) is not None for name in ("before", "after", "stay")) <= 1
        assert all(exact(leave) in (None, 0) for _, _, leave in move.movement.splits[0].rows)

    def test_nobody_moves_where_the_meaning_is_the_same(self, root: Path, engine: Engine) -> None:
        edit(root / "models/adults.yml", "{age: {gte: 18}}", "{all: [{age: {gte: 18}}]}")
        found = self.diff(root, engine)
        assert [(each.name, each.change) for each in found.models] == [("adults", "reworded")]
        assert (found.segments, found.syncs, found.versions) == ((), (), {})

    def test_a_new_segment_a_removed_one_and_a_sync_that_goes_to_another(self, root: Path, engine: Engine) -> None:
        (root / "models/elders.yml").write_text(SEGMENT.replace("adults", "elders").replace("18", "65"))
        (root / "models/adults.yml").unlink()
        edit(root / "syncs/adults_mail.yml", "segment: adults", "segment: elders")
        found = self.diff(root, engine)
        moves = {(each.was, each.name): each.movement for each in found.segments}
        assert moves.keys() == {("adults", None), (None, "elders")}
        removed, new = moves["adults", None], moves[None, "elders"]
        assert removed is not None
        assert new is not None
        assert (exact(removed.counts["leave"]), exact(removed.counts["after"])) == (82, 0)
        assert (exact(new.counts["enter"]), exact(new.counts["before"])) == (35, 0)
        (sync,) = found.syncs
        assert sync.segments == Audience("adults", "elders")
        assert sync.movement is not None
        assert (exact(sync.movement.counts["leave"]), exact(sync.movement.counts["stay"])) == (47, 35)

    def test_a_renamed_segment_means_the_same(self, root: Path, engine: Engine) -> None:
        edit(root / "models/adults.yml", "name: adults", "name: grown_up")
        edit(root / "syncs/adults_mail.yml", "segment: adults", "segment: grown_up")
        found = self.diff(root, engine)
        first = found.models[0]
        assert (first.kind, first.was, first.name, first.change) == ("segment", "adults", "grown_up", "renamed")
        assert found.segments == ()
        (sync,) = found.syncs
        assert sync.movement is not None
        assert (exact(sync.movement.counts["enter"]), exact(sync.movement.counts["leave"])) == (0, 0)

    def test_a_new_sync_tells_of_everyone_in_its_segment(self, root: Path, engine: Engine) -> None:
        (root / "syncs/second.yml").write_text(SYNC.replace("adults_mail", "second"))
        (sync,) = self.diff(root, engine).syncs
        assert (sync.name, sync.change) == ("second", "added")
        assert sync.movement is not None
        assert exact(sync.movement.counts["enter"]) == 82

    # -- the same data, the same moment ---------------------------------------------------------------------------------

    def test_both_sides_read_the_same_version_and_say_which(self, root: Path, engine: Engine) -> None:
        project = load(root)
        side = Side(project, Clock.parse("2026-07-01", project.timezone))
        counter = Counter(side, side)
        first = counter.movement(engine, Audience("adults", "adults"), ())
        version = engine.version("clinical.patients")
        assert counter.versions == {"clinical.patients": version}
        self.add(engine, [patient(30) | {"patient_id": f"late{number}"} for number in range(20)])
        assert engine.version("clinical.patients") == (version or 0) + 1
        assert counter.movement(engine, Audience("adults", "adults"), ()) == first
        later = Counter(side, side).movement(engine, Audience("adults", "adults"), ())
        assert exact(later.counts["stay"]) == 102
        engine.execute("DELETE FROM clinical.patients WHERE patient_id LIKE 'late%'")

    def test_the_moment_is_the_one_that_was_asked_for_in_both_zones(self, root: Path, engine: Engine) -> None:
        edit(root / "conf/cdp.yml", "America/New_York", "Pacific/Auckland")
        found = self.diff(root, engine, day="2026-02-28T20:00-05:00")
        # In New York it is still the day before the birthday of the eighteen-year-olds; in Auckland it is the day after.
        (move,) = found.segments
        assert move.movement is not None
        assert (str(move.movement.counts["enter"]), exact(move.movement.counts["leave"])) == ("<11", 0)
        assert found.as_of == "2026-03-01T14:00:00+13:00"

    def test_what_was_read_from_a_table_that_is_gone_cannot_be_counted(self, root: Path, engine: Engine) -> None:
        edit(root / "models/patient.yml", "clinical.patients", "clinical.people")
        commit(root)
        edit(root / "models/patient.yml", "clinical.people", "clinical.patients")
        (move,) = self.diff(root, engine).segments
        assert move.movement is not None
        assert move.movement.counts == {}
        assert "clinical.people" in move.movement.note

    # -- what is asked ------------------------------------------------------------------------------------------------

    def test_people_are_not_broken_down_by_what_tells_them_apart(self, root: Path, engine: Engine) -> None:
        edit(root / "models/adults.yml", "18", "40")
        with pytest.raises(RefusedError, match="tells people apart"):
            self.diff(root, engine, by=["patient_id"])
        with pytest.raises(UsageError, match="no such column or trait"):
            self.diff(root, engine, by=["state", "shoe_size"])

    def test_without_an_engine_only_the_meaning_is_compared(self, root: Path) -> None:
        edit(root / "models/adults.yml", "18", "40")
        found = self.diff(root, None)
        assert found.versions is None
        assert [each.movement for each in found.segments] == [None]
        assert any(line.startswith("-") and "2008-07-01" in line for line in found.models[0].sql)


class TestSailDiff(DiffStory):
    environment = Environment(engine="sail", lakehouse="lake")


@pytest.mark.spark
class TestSparkDiff(DiffStory):
    environment = Environment(engine="spark", lakehouse="lake", spark={"spark.sql.codegen.wholeStage": "false"})
