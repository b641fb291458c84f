"""Lineage as OpenLineage events: what a sync is declared to do, one JobEvent each.

https://openlineage.io/spec/2-0-2/OpenLineage.json; the facet columnLineage in version 1-2-0. A column whose value leaves is
DIRECT; a column that decides who is in is INDIRECT, FILTER, and stands under `dataset`: it concerns every row. What a row tells
by being there at all has no column: such tables stand among the inputs. Classes are tags, before and after masks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from cdp.catalog.flows import Field, Flow
from cdp.compile.clock import Clock
from cdp.project.project import Project
from cdp.spec.activation import Destination

SPEC = "https://openlineage.io/spec"
EVENT = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/JobEvent"
COLUMNS = f"{SPEC}/facets/1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet"
SCHEMA = f"{SPEC}/facets/1-1-1/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet"
TAGS = f"{SPEC}/facets/1-0-0/TagsDatasetFacet.json#/$defs/TagsDatasetFacet"


def events(project: Project, flows: Iterable[Flow], now: Clock, *, namespace: str, producer: str) -> list[dict[str, Any]]:
    """One JobEvent for each flow.

    Args:
        project: the project that declares the syncs.
        flows: what they tell.
        now: when the event occurred.
        namespace: of the lakehouse's tables, as the other producers of lineage name it.
        producer: a URI of this program.
    """
    return [_event(project, flow, now, namespace, producer) for flow in flows]


def _event(project: Project, flow: Flow, now: Clock, namespace: str, producer: str) -> dict[str, Any]:
    destination = project.destinations[flow.sync.destination]
    output = _dataset(_receiver(destination), f"{destination.name}/{flow.sync.name}")
    fields = {field.name: {"inputFields": _inputs(field, namespace)} for field in flow.fields}
    tables = sorted({source.fact.table for field in flow.all for source in field.sources})
    facets = {
        "schema": _facet(producer, SCHEMA, fields=[{"name": field.name} for field in flow.fields]),
        "columnLineage": _facet(producer, COLUMNS, fields=fields, dataset=_inputs(flow.members, namespace)),
        "tags": _facet(producer, TAGS, tags=_tags(flow)),
    }
    return {
        "eventTime": now.instant.isoformat(),
        "producer": producer,
        "schemaURL": EVENT,
        "job": _dataset(f"cdp:{project.config.name}", flow.sync.name),
        "inputs": [_dataset(namespace, table) for table in tables],
        "outputs": [{**output, "facets": facets}],
    }


def _inputs(field: Field, namespace: str) -> list[dict[str, Any]]:
    """The columns that a field, or being in the audience, depends on."""
    columns = sorted({(source.fact.table, source.fact.column) for source in field.sources if source.fact.column})
    how = _transformation(field)
    return [{**_dataset(namespace, table), "field": column, "transformations": [how]} for table, column in columns]


def _transformation(field: Field) -> dict[str, Any]:
    if not field.is_value:
        return {"type": "INDIRECT", "subtype": "FILTER", "description": "decides who is in the audience", "masking": False}
    subtype = "IDENTITY" if field.plain else "TRANSFORMATION"
    return {"type": "DIRECT", "subtype": subtype, "description": _description(field), "masking": field.mask is not None}


def _description(field: Field) -> str:
    return f"{field.of}, masked by {field.mask}" if field.mask else field.of


def _tags(flow: Flow) -> list[dict[str, str]]:
    """The classes of what leaves; those of being in the audience have no field."""
    columns = [{"key": "cdp_class", "value": cls, "source": "cdp", "field": field.name} for field in flow.fields for cls in field.after]
    return [*columns, *({"key": "cdp_members", "value": cls, "source": "cdp"} for cls in flow.members.after)]


def _receiver(destination: Destination) -> str:
    """A namespace for what stands at a receiver: its host, or `file` for a folder."""
    if destination.base_url is None:
        return "file"
    url = urlsplit(destination.base_url)
    return f"{url.scheme}://{url.netloc}"


def _dataset(namespace: str, name: str) -> dict[str, Any]:
    return {"namespace": namespace, "name": name}


def _facet(producer: str, schema: str, **content: Any) -> dict[str, Any]:
    return {"_producer": producer, "_schemaURL": schema, **content}
