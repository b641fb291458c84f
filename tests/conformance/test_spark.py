from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp.engine import Engine, connect
from cdp.spec.activation import Environment
from cdp.testing.engine import EngineSuite
from cdp.testing.language import LanguageSuite
from tests.conformance.catalog import CatalogStory
from tests.conformance.doubts import DoubtStory
from tests.conformance.example import SOME, ExampleStory
from tests.conformance.explore import ExploreStory
from tests.conformance.functions import FunctionStory
from tests.conformance.leases import LeaseStory
from tests.conformance.maintenance import MaintenanceStory
from tests.conformance.masks import MaskStory
from tests.conformance.people import PeopleStory
from tests.conformance.quality import SOME as SOME_EXPECTATIONS
from tests.conformance.quality import QualityStory
from tests.conformance.story import SyncStory

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    root: Path = tmp_path_factory.mktemp("spark")
    # Queries over a handful of rows take longer to generate code for than to run.
    settings = {"spark.sql.warehouse.dir": str(root / "warehouse"), "spark.sql.codegen.wholeStage": "false"}
    engine = connect(Environment(engine="spark", lakehouse="lake", spark=settings), root=root)
    yield engine
    engine.close()


@pytest.fixture
def catalog(engine: Engine) -> Engine:
    return connect(Environment(engine="spark", catalog="spark_catalog"), root=Path.cwd())


class TestSpark(EngineSuite, SyncStory):
    pass


class TestSparkDoubts(DoubtStory):
    pass


class TestSparkMaintenance(MaintenanceStory):
    pass


class TestSparkLease(LeaseStory):
    rounds = 3


class TestSparkLanguage(LanguageSuite):
    pass


class TestSparkFunctions(FunctionStory):
    pass


class TestSparkMasks(MaskStory):
    pass


class TestSparkPeople(PeopleStory):
    pass


class TestSparkExplore(ExploreStory):
    pass


class TestSparkQuality(QualityStory):
    names = SOME_EXPECTATIONS


class TestSparkExample(ExampleStory):
    planned = SOME


class TestSparkCatalog(CatalogStory):
    pass
