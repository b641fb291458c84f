from __future__ import annotations

from collections.abc import Iterator

import pytest

from cdp.engine import Engine, connect
from cdp.spec.activation import Environment
from tests.conformance.sample import SampleSuite


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path_factory.mktemp("sample"))
    yield engine
    engine.close()


class TestSampleSail(SampleSuite):
    pass
