"""The kinds under models/: what the lakehouse holds and what is asked of it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from cdp.spec.base import Kind, Spec, Tree

ColumnType = Literal["string", "code", "integer", "decimal", "double", "boolean", "date", "timestamp"]


def _listed(value: object) -> object:
    return value if isinstance(value, list) or value is None else [value]


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]  # one name or a list of names


class Column(Spec):
    """A column: its type, its class, and what a value of it may say besides (`may_hold`)."""

    type: ColumnType
    cls: str = Field(alias="class", description="the class of governance/classes.yml")
    may_hold: Names = ()
    role: Literal["birth_date", "death_date"] | None = None
    system: str | None = Field(None, description="of a code: the column that holds its code system, or the system's name")
    unit: str | None = Field(None, description="of a number: the column that holds its unit")
    description: str = ""


class Relation(Spec):
    """A way to another entity: `one` row of it or `many`, over `via`.

    `via: patient_id` joins the named column: for `many` theirs to my key, for `one` mine to their key;
    `via: {theirs: mine}` joins any columns.
    """

    one: str | None = None
    many: str | None = None
    via: str | dict[str, str]


class Interval(Spec):
    """The columns that say when a row began and ended; no end means still going on."""

    start: str
    end: str


class Entity(Kind):
    """A table of the lakehouse, declared once."""

    folder: ClassVar[str] = "models"
    kind: Literal["entity"] = "entity"
    name: str
    table: str = Field(description="schema.table: a catalog name, or the Delta folder <lakehouse>/schema/table")
    key: str
    time: str | Interval | None = None
    where: Tree = None
    future: Literal["visible", "hidden"] = "hidden"
    rows: Names = Field(description="the classes of being in this table at all")
    columns: dict[str, Column]
    relations: dict[str, Relation] = {}
    description: str = ""


class ValueSet(Kind):
    """A named list of codes of one code system."""

    folder: ClassVar[str] = "models"
    kind: Literal["value_set"] = "value_set"
    name: str
    system: str
    codes: tuple[str, ...] = ()
    file: str | None = Field(None, description="a CSV beside this file whose column `code` holds the codes")
    description: str = ""


VERBS = ("has", "lacks", "count", "sum", "avg", "min", "max", "latest", "earliest")


class MeasureSpec(Spec):
    """The keys of a measure; exactly one verb names the relation."""

    has: str | None = None
    lacks: str | None = None
    count: str | None = None
    sum: str | None = None
    avg: str | None = None
    min: str | None = None
    max: str | None = None
    latest: str | None = None
    earliest: str | None = None
    where: Tree = None
    within: Tree = None
    upcoming: Tree = None
    older_than: Tree = None
    during: Tree = None
    before: Tree = None
    after: Tree = None
    since: Tree = None
    until: Tree = None
    by: Literal["day"] | None = None
    ties: Tree = None
    of: str | None = None


class Trait(Kind, MeasureSpec):
    """A named measure without `is`: a value of each row of an entity."""

    folder: ClassVar[str] = "models"
    kind: Literal["trait"] = "trait"
    name: str
    entity: str
    description: str = ""
    owner: str | None = None


class Segment(Kind):
    """A named population: the rows of an entity for which `where` is true."""

    folder: ClassVar[str] = "models"
    kind: Literal["segment"] = "segment"
    name: str
    entity: str
    where: Tree
    owner: str
    purpose: str
    description: str = ""
    tests: Tree = None
