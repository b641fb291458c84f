"""Tables found by their names in a catalog instead of in folders: the same story."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from cdp.engine import Engine
from cdp.errors import DataError
from tests.conformance.world import World, people


class CatalogStory:
    def test_tables_by_catalog_name(self, catalog: Engine, tmp_path: Path) -> None:
        world = World.fresh(catalog, tmp_path)
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
        self._refuses_what_is_filtered(world, catalog)
        for schema in (world.schema, world.control):
            for table in catalog.tables(schema):
                catalog.drop(f"{schema}.{table}")
                assert not catalog.exists(f"{schema}.{table}")

    @staticmethod
    def _refuses_what_is_filtered(world: World, catalog: Engine) -> None:
        """Attack 40: a row filter or mask that the catalog declares, in the relations that Unity Catalog has, refuses every plan."""
        place = {"schema_name": world.schema, "table_name": "Patients"}
        declared = {
            "information_schema.row_filters": ({"filter_name": "of_my_facility"}, "(row filter of_my_facility)"),
            "information_schema.column_masks": ({"column_name": "email"}, "(mask of column email)"),
        }
        for relation, (row, said) in declared.items():
            catalog.create(relation, dict.fromkeys([*place, *row], "string"))
            catalog.append(relation, pa.Table.from_pylist([{**place, "table_name": "others", **row}]))
            assert catalog.filters([f"{world.schema}.patients"]) == ()
            world.load(people(6))  # so that there is something to deliver
            plan = world.plan()
            assert plan.rows
            catalog.append(relation, pa.Table.from_pylist([{**place, **row}]))
            for refused in (world.plan, lambda plan=plan: world.apply(plan)):
                with pytest.raises(DataError, match=r"the catalog does not show all of .*" + re.escape(said)):
                    refused()
            catalog.drop(relation)
