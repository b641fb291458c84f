"""What a new segment, sync or destination begins with: small, valid, and made of the project's own names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from cdp.governance.classes import ClassTree
from cdp.governance.masks import is_constant, lower
from cdp.governance.masks.held import fitting
from cdp.governance.taint import Fact
from cdp.project.project import Project
from cdp.project.terms import ColumnRef
from cdp.spec.access import Agreement
from cdp.spec.activation import Destination
from cdp.spec.model import Column, Entity
from cdp.spec.policy import Purpose

NOBODY: Final = "owner@example.org"  # who owns what nobody signs for yet
OFFERED: Final = 6  # further columns that a new sync names in a comment

# What the columns that a channel needs are called, in their names or classes.
_REACHES: Final = {"email": ("email",), "sms": ("phone",), "phone": ("phone",), "mail": ("address", "zip")}


def segment(project: Project, name: str, *, entity: str, purpose: str, owner: str) -> str:
    """The text of a new segment: a condition that its entity's columns allow, and tests of it that pass."""
    where, tests = _condition(project.entities[entity])
    return f"""\
kind: segment
name: {name}
entity: {entity}
description: Say here in a sentence who this is.
owner: {owner}
purpose: {purpose}
where:
  - {where}
tests:
{tests}"""


def _condition(entity: Entity) -> tuple[str, str]:
    """A first condition on an entity, and its tests."""
    born = next((name for name, column in entity.columns.items() if column.role == "birth_date"), None)
    if born is not None:
        cases = (f"{{{born}: 2008-07-01, expect: in}}", f"{{{born}: 2008-07-02, expect: out}}", f"{{{born}: null, expect: out}}")
        lines = ["  - name: eighteen today, and tomorrow", "    as_of: 2026-07-01", "    cases:", *(f"      - {case}" for case in cases)]
        return "age: {gte: 18}", "\n".join(lines) + "\n"
    plain = [name for name, column in entity.columns.items() if name != entity.key and not column.array and not column.fields]
    column = plain[0] if plain else entity.key
    case = f"      - {{{column}: null, expect: out}}\n"
    return f"{column}: {{not_null: true}}", f"  - name: without a value\n    as_of: 2026-07-01\n    cases:\n{case}"


def sync(project: Project, name: str, *, segment: str, destination: str, purpose: str) -> str:
    """The text of a new sync: a key that its receiver may know, the column that the channel needs, others to choose from."""
    to = project.destinations[destination]
    entity = project.entities[project.segments[segment].entity]
    allowed = Allowed(project, project.policy.purposes[purpose], project.policy.agreements.get(to.baa or ""))
    keys = [entity.key] if entity.key else list(entity.group_by)
    needed, offered = _columns(entity, to, allowed, keys)
    mapped = ", ".join(f"{column}: {column}" for column in needed)
    more = [f"# allowed too: {column}: {column}" for column in offered]
    paid = project.policy.purposes[purpose].funded_by
    lines = [
        "kind: sync",
        f"name: {name}",
        f"segment: {segment}",
        f"destination: {destination}",
        f"purpose: {purpose}",
        "mode: upsert  # or mirror: who leaves the segment is taken off the list too",
        *([f"funded_by: {paid[0]}"] if "none" not in paid else []),
        f"key: {{{', '.join(_key(entity, column, allowed) for column in keys)}}}",
        *([f"mappings: {{{mapped}}}"] if mapped else []),
        *more,
    ]
    return "\n".join(lines) + "\n"


class Allowed:
    """What a purpose and an agreement both let a receiver know."""

    def __init__(self, project: Project, purpose: Purpose, agreement: Agreement | None) -> None:
        self.tree = ClassTree(project.policy.classes)
        self.project = project
        self.grants = [frozenset(purpose.classes), frozenset(agreement.classes if agreement else ())]

    def covers(self, cls: str) -> bool:
        """Whether a column of a class may leave as it is."""
        return bool(cls) and not self.tree.never(cls) and all(self.tree.covers(grant, cls) for grant in self.grants)

    def mask(self, entity: Entity, name: str) -> str | None:
        """A mask under which a column may leave, and still tells people apart."""
        fact = frozenset({Fact(entity.table, name, entity.columns[name].cls)})
        for mask, spec in fitting(self.project, ColumnRef((), entity.name, name, entity.columns[name].type)).items():
            if is_constant(mask, spec):  # it leaves nobody to tell apart
                continue
            lowered = lower(self.tree, mask, spec, fact)
            if lowered != fact and all(self.covers(each.cls) and self.tree.is_key(each.cls) for each in lowered):
                return mask
        return None


def _key(entity: Entity, column: str, allowed: Allowed) -> str:
    """A key as it may leave; as it is where nothing may, so that validation says why."""
    if column not in entity.columns or allowed.covers(entity.columns[column].cls):
        return f"{column}: {column}"
    mask = allowed.mask(entity, column)
    return f"external_id: {{of: {column}, mask: {mask}}}" if mask else f"{column}: {column}"


def _columns(entity: Entity, to: Destination, allowed: Allowed, keys: list[str]) -> tuple[list[str], list[str]]:
    """The columns that the channel needs, and some of the others that may be told."""
    words = _REACHES.get(to.channel, ())
    told = [name for name, column in entity.columns.items() if name not in keys and allowed.covers(column.cls)]
    reaching = [name for name in told if _speaks_of(name, entity.columns[name], words)]
    return reaching, [name for name in told if name not in reaching][:OFFERED]


def _speaks_of(name: str, column: Column, words: Iterable[str]) -> bool:
    return any(word in name or word in column.cls for word in words)


def destination(project: Project, name: str, *, connector: str, channel: str, agreement: str | None) -> str:
    """The text of a new destination: where its agreement allows it to be, with a secret that the environment holds."""
    signed = project.policy.agreements.get(agreement or "")
    return "\n".join(_destination(name, connector, channel, signed)) + "\n"


def _destination(name: str, connector: str, channel: str, signed: Agreement | None) -> Iterator[str]:
    yield from ("kind: destination", f"name: {name}", "description: Say here who receives it, and what for.")
    yield from (f"connector: {connector}", f"channel: {channel}")
    yield (
        f"baa: {signed.name}"
        if signed
        else "# baa: the agreement of governance/baa/ that covers it; without one every sync to it is refused"
    )
    if connector == "file":
        folder = signed.folders[0] if signed and signed.folders else f"out/{name}"
        yield f"file: {{folder: {folder}, format: csv}}"
    elif connector == "http":
        host = signed.hosts[0] if signed and signed.hosts else "api.example.org"
        path = signed.paths[0].rstrip("/") if signed and signed.paths else f"/{name}"
        yield f"base_url: https://{host}"
        yield f"secrets: {{api_key: {{env: {name.upper()}_KEY}}}}"
        yield from ("http:", "  repeats: effect  # or keys, state: what the same request again does there")
        yield '  headers: {Authorization: "Bearer {api_key}"}'
        if signed and signed.account:
            asked = signed.paths[-1].rstrip("/") if signed.paths else "/account"
            yield f"  whoami: {{path: {asked or '/'}, account: id}}  # as the channel's API has it: it must answer the agreement's account"
        yield f"  upsert: {{method: POST, path: {path or '/'}, batch: 100, body: array}}"


def usual(names: Iterable[str], otherwise: Iterable[str]) -> str | None:
    """The name that is used most, or the first of the others."""
    counted = Counter(names).most_common(1)
    return counted[0][0] if counted else next(iter(otherwise), None)
