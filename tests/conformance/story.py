"""The main job told on any engine: plan, apply, nothing to do, the source moves, mirror. With the digests written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp.connectors.base import Batch, Receipts
from cdp.engine.base import Engine
from cdp.sync import state
from cdp.sync.history import list_runs, run_detail
from cdp.sync.ledger import Control
from cdp.sync.ledger.verify import verify
from tests.conformance.world import World, nonzero, passing, patient, people, told


class SyncStory:
    @pytest.fixture
    def world(self, engine: Engine, tmp_path: Path) -> Iterator[World]:
        with passing(engine, tmp_path) as world:
            yield world

    def test_the_whole_story(self, world: World) -> None:
        clinic = people(10)
        clinic[2]["consent"] = False
        clinic[3]["deceased"] = True
        world.load(clinic)

        plan, run = world.sync()
        assert nonzero(plan.counts) == {"add": 8}
        assert plan.excluded == (("deceased", 1), ("no_consent", 1))
        assert plan.size == 10
        assert (run.delivered, run.status) == (8, "succeeded")
        assert {key[0] for key in world.channel.rows} == {f"p{n:03}" for n in (1, 4, 5, 6, 7, 8, 9, 10)}
        # The same on every engine: what one acknowledged, the other finds unchanged.
        assert [chunk.sha256 for chunk in plan.chunks] == ["b9405091d2073d106e5381ba4a6d0c60d9a53c2c44a87de9652d3c86bab47535"]

        assert world.sync()[1].status == "nothing"

        clinic[4]["email"] = "new@example.org"
        clinic[5]["consent"] = False
        del clinic[6]
        clinic[11] = patient(11)
        world.load(clinic)
        world.channel.answers = [lambda batch: Receipts.all(len(batch), "delivered"), _poison("p011")]
        plan, run = world.sync()
        assert nonzero(plan.counts) == {"add": 1, "change": 1, "remove": 2, "unchanged": 5}
        assert (run.delivered, run.rejected, run.retryable, run.status) == (3, 1, 0, "partial")
        assert world.channel.batches[-2].op == "remove"
        assert world.channel.batches[-2].rows.column_names == ["patient_id"]
        assert world.channel.rows[("p004",)]["email"] == "new@example.org"

        plan, run = world.sync()
        assert (plan.counts["add"], plan.counts["change"], run.delivered) == (1, 0, 1)
        assert {key[0] for key in world.channel.rows} == {f"p{n:03}" for n in (1, 4, 7, 8, 9, 10, 11)}

        control = Control(world.engine, world.control)
        assert state.fold(control, "letters", rows=0)
        assert not state.fold(control, "letters", rows=0)
        assert world.plan().counts["unchanged"] == 7

        self._history(world, run.run)

    def _history(self, world: World, last: str) -> None:
        runs = list_runs(world.engine, world.control)
        assert [run["status"] for run in runs] == ["succeeded", "partial", "nothing", "succeeded"]
        assert list_runs(world.engine, world.control, sync="other") == []
        detail = run_detail(world.engine, world.control, runs[1]["run"])
        assert detail["receipts"] == [
            {"op": "add", "status": "rejected", "code": "blocked", "count": 1},
            {"op": "change", "status": "delivered", "code": None, "count": 1},
            {"op": "remove", "status": "delivered", "code": None, "count": 2},
        ]
        lines = told(world, "p005")
        assert [(line["op"], line["destination"], line["columns"]) for line in lines] == [
            ("add", "mailer", ["patient_id", *world.values]),
            ("remove", "mailer", ["patient_id"]),
        ]
        assert lines[0]["classes"] == ["contact.email", "member"]
        assert [line["op"] for line in told(world, "p011")] == ["add", "add"]
        assert told(world, "' OR '1' = '1") == []
        self._ledger(world)

    def _ledger(self, world: World) -> None:
        """The same digests on every engine: a chain that one wrote is verified by the other."""
        control = Control(world.engine, world.control)
        (checked,) = verify(control)
        assert (checked.blocks, checked.lines, checked.bad) == (4, 13, None)
        assert [head.block for head in checked.heads] == [4]
        world.engine.execute(f"UPDATE {control.table('disclosures')} SET destination = 'other' WHERE block = 2 AND key = 'p005'")
        (checked,) = verify(control, checked.heads)
        assert checked.bad
        assert (checked.bad.block, checked.bad.what) == (2, "its lines are not those that were written")


def _poison(key: str):  # type: ignore[no-untyped-def]
    def answer(batch: Batch) -> Receipts:
        bad = [row["patient_id"] == key for row in batch.rows.to_pylist()]
        return Receipts(["rejected" if b else "delivered" for b in bad], ["blocked" if b else None for b in bad])

    return answer
