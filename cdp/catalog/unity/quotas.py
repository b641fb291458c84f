"""What Unity Catalog allows of tags and policies, as its documentation says it; one table, so that a change of it is one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_ABAC = "https://docs.databricks.com/aws/en/data-governance/unity-catalog/abac/requirements"
_TAGS = "https://docs.databricks.com/aws/en/database-objects/tags"
_GOVERNED = "https://docs.databricks.com/aws/en/admin/governed-tags/manage-governed-tags"
_TAG_POLICY = "https://docs.databricks.com/api/azure/workspace/tagpolicies/createtagpolicy"
_NAMES = "https://docs.databricks.com/aws/en/sql/language-manual/sql-ref-names"


@dataclass(frozen=True, slots=True)
class Quota:
    """So many at most; `source` is the page that says so."""

    limit: int
    what: str
    source: str


QUOTAS: Final[Mapping[str, Quota]] = {
    "policies_per_catalog": Quota(100, "policies on the catalog", _ABAC),
    "policies_per_table": Quota(50, "policies on one table", _ABAC),
    "principals_per_policy": Quota(20, "principals in TO and EXCEPT of one policy", _ABAC),
    "conditions_per_policy": Quota(3, "column conditions of one policy", _ABAC),
    "tags_per_object": Quota(50, "tags of one object", _TAGS),
    "tag_key_length": Quota(255, "characters of a tag's key", _TAGS),
    "tag_value_length": Quota(256, "characters of a governed tag's value", _GOVERNED),
    "values_per_tag": Quota(500, "allowed values of one governed tag", _TAG_POLICY),
    "name_length": Quota(255, "characters of a name", _NAMES),
}
FORBIDDEN: Final = frozenset("*./<>%&?\\=")  # in a governed tag's key and values: _GOVERNED


@dataclass(frozen=True, slots=True)
class Excess:
    """Something that the catalog would not take."""

    on: str
    quota: Quota
    number: int

    def __str__(self) -> str:
        return f"{self.on}: {self.number} {self.quota.what}; {self.quota.limit} at most ({self.quota.source})"


def over(name: str, on: str, number: int) -> list[Excess]:
    """The excess of one number, if it is one."""
    quota = QUOTAS[name]
    return [Excess(on, quota, number)] if number > quota.limit else []
