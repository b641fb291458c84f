from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError

from cdp.engine import Engine, connect
from cdp.errors import ConflictError
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
