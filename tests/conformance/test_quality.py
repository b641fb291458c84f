from __future__ import annotations

from tests.conformance.quality import QualityStory


class TestSailQuality(QualityStory):
    pass
