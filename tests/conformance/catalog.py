"""Tables found by their names in a catalog instead of in folders: the same story."""

from __future__ import annotations

import uuid
from pathlib import Path

from cdp.engine import Engine
from tests.conformance.world import World, people


class CatalogStory:
    def test_tables_by_catalog_name(self, catalog: Engine, tmp_path: Path) -> None:
        tag = uuid.uuid4().hex[:8]
        world = World(catalog, f"clinic_{tag}", f"cdp_{tag}", tmp_path)
        clinic = people(5)
        world.load(clinic)
        assert catalog.folder(f"{world.schema}.patients") is None
        plan, run = world.sync()
        assert (plan.counts["add"], run.status) == (5, "succeeded")
        clinic[2]["email"] = "new@example.org"
        del clinic[3]
        world.load(clinic)
        plan, run = world.sync()
        assert (plan.counts["change"], plan.counts["remove"], run.status) == (1, 1, "succeeded")
        assert not [table for table in catalog.tables(world.control) if table.startswith("plan_")]
        for schema in (world.schema, world.control):
            for table in catalog.tables(schema):
                catalog.drop(f"{schema}.{table}")
                assert not catalog.exists(f"{schema}.{table}")
