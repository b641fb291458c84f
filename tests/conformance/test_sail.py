from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError

from cdp.engine import Engine, connect
from cdp.errors import ConflictError, UsageError
from cdp.spec.activation import Environment
from cdp.testing.engine import EngineSuite
from cdp.testing.language import LanguageSuite
from tests.conformance.catalog import CatalogStory
from tests.conformance.doubts import WholeDoubtStory
from tests.conformance.example import EXPECTED, ExampleStory
from tests.conformance.functions import FunctionStory
from tests.conformance.leases import LeaseStory
from tests.conformance.lists import WholeListStory
from tests.conformance.masks import MaskStory
from tests.conformance.story import SyncStory


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Engine]:
    warehouse = {"spark.sql.warehouse.dir": str(tmp_path / "warehouse")}
    engine = connect(Environment(engine="sail", catalog="sail", spark=warehouse), root=tmp_path)
    yield engine
    engine.close()


class TestSail(EngineSuite, SyncStory):
    def test_an_append_goes_in_though_others_take_rows_away_meanwhile(
        self, engine: Engine, schema: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What writes it gives up then, though new rows do not mind; who cannot write at all is told."""
        table, tried, write = f"{schema}.t", list[str](), deltalake.write_deltalake
        engine.create(table, {"key": "string"})

        def contended(times: int) -> Any:
            def call(*args: Any, **more: Any) -> None:
                tried.append("again")
                if len(tried) <= times:
                    raise CommitFailedError("a concurrent transaction deleted data this operation read")
                write(*args, **more)

            return call

        monkeypatch.setattr(deltalake, "write_deltalake", contended(3))
        engine.append(table, pa.table({"key": ["a"]}))
        assert (len(tried), engine.value(f"SELECT COUNT(*) FROM {table}")) == (4, 1)
        monkeypatch.setattr("cdp.engine.sail._TRIES", 2)
        monkeypatch.setattr(deltalake, "write_deltalake", contended(1000))
        with pytest.raises(ConflictError, match="another writer was faster"):
            engine.append(table, pa.table({"key": ["b"]}))
        assert engine.value(f"SELECT COUNT(*) FROM {table}") == 1

    def test_a_table_that_is_kept_open_is_up_to_date_at_each_append(self, tmp_path: Path) -> None:
        """Two sessions in turns, one of which takes rows away; then one makes the table anew, which the other has open."""
        one, other = (connect(Environment(lakehouse="lake"), root=tmp_path) for _ in range(2))
        one.create("clinic.t", {"key": "string"})
        for number in range(3):
            for writer in (one, other):
                writer.append("clinic.t", pa.table({"key": [f"{writer is one}{number}"]}))
        other.execute("UPDATE clinic.t SET key = 'changed' WHERE key = 'True0'")
        one.append("clinic.t", pa.table({"key": ["last"]}))
        found = other.query("SELECT key FROM clinic.t ORDER BY key").column("key").to_pylist()
        assert found == ["False0", "False1", "False2", "True1", "True2", "changed", "last"]
        other.drop("clinic.t")
        other.create("clinic.t", {"key": "string"})
        other.append("clinic.t", pa.table({"key": ["new"]}))
        one.append("clinic.t", pa.table({"key": ["after"]}))
        assert deltalake.DeltaTable(tmp_path / "lake" / "clinic" / "t").to_pyarrow_table().column("key").to_pylist() == ["after", "new"]
        one.close()
        other.close()

    def test_a_log_is_summed_up_after_some_appends(self, engine: Engine, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """An append must not cost more with each that was before it; what is read stays the same."""
        monkeypatch.setattr("cdp.engine.sail._APPENDS", 3)
        table = f"{schema}.t"
        engine.create(table, {"key": "string", "part": "string"}, partition=("part",))
        for number in range(11):
            engine.append(table, pa.table({"key": [f"k{number}"], "part": [f"p{number % 2}"]}))
            assert engine.value(f"SELECT COUNT(*) FROM {table}") == number + 1
        folder = engine.folder(table)
        assert folder is not None
        assert len(list((folder / "_delta_log").glob("*.checkpoint.parquet"))) == 3
        other = connect(Environment(lakehouse=str(engine.lakehouse)), root=folder)
        other.register([table])
        assert other.value(f"SELECT COUNT(DISTINCT key) FROM {table}") == 11
        other.close()

    def test_threads_append_to_one_table_at_once(self, engine: Engine, schema: str) -> None:
        table = f"{schema}.t"
        engine.create(table, {"key": "string"})
        with ThreadPoolExecutor(8) as threads:
            for done in [threads.submit(engine.append, table, pa.table({"key": [f"k{n}"]})) for n in range(40)]:
                done.result()
        assert engine.value(f"SELECT COUNT(DISTINCT key) FROM {table}") == 40
        assert engine.version(table) == 40


class TestSailDoubts(WholeDoubtStory):
    pass


class TestSailLists(WholeListStory):
    pass


class TestSailLease(LeaseStory):
    pass


class TestSailLanguage(LanguageSuite):
    pass


class TestSailFunctions(FunctionStory):
    pass


class TestSailMasks(MaskStory):
    pass


class TestSailExample(ExampleStory):
    planned = tuple(EXPECTED)


class TestSailCatalog(CatalogStory):
    pass


@pytest.mark.parametrize("name", ["my clinic", "Ödenburg #1?", "it's {a} *"])
def test_a_lakehouse_stands_where_it_is_said_to_stand(tmp_path: Path, name: str) -> None:
    """Given such a path as it is, the engine wrote to folders beside it, outside of the project."""
    engine = connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path / name)
    engine.create("clinical.patients", {"patient_id": "string"})
    engine.execute("INSERT INTO clinical.patients VALUES ('a')", what="clinical.patients")
    engine.append("clinical.patients", pa.table({"patient_id": ["b"]}))
    engine.close()
    again = connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path / name)
    again.register(["clinical.patients"])
    assert again.query("SELECT * FROM clinical.patients ORDER BY 1").column(0).to_pylist() == ["a", "b"]
    again.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "lake" / "clinical" / "patients" / "_delta_log").is_dir()
    assert again.reached is not None
    assert not again.reached.parent.exists()


@pytest.mark.parametrize("name", ["a[b]", "a%20b", "a|b"])
def test_a_path_that_cannot_be_written_by_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="its path holds") as refused:
        connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path / name)
    assert refused.value.fix
    assert not list(tmp_path.iterdir())
