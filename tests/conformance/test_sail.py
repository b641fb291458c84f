from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp.engine import Engine, connect
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
    pass


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
