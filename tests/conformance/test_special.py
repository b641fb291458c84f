"""Special rows, on the embedded engine and on Spark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cdp.engine import Engine, connect
from cdp.spec.activation import Environment
from tests.conformance.special import SpecialStory


class TestSpecialOnSail(SpecialStory):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path_factory.mktemp("sail"))
        yield engine
        engine.close()


@pytest.mark.spark
class TestSpecialOnSpark(SpecialStory):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
        engine = connect(Environment(engine="spark", lakehouse="lake"), root=tmp_path_factory.mktemp("spark"))
        yield engine
        engine.close()
