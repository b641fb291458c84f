from __future__ import annotations

from tests.conformance.quality import EveryQualityStory


class TestSailQuality(EveryQualityStory):
    pass
