"""The kinds under models/: what the lakehouse holds and what is asked of it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from cdp.spec.base import Kind, Spec, Tree

ColumnType = Literal["string", "code", "integer", "decimal", "double", "boolean", "date", "timestamp"]
ParamType = Literal["value_set", "string", "integer", "decimal", "boolean", "date"]


def _listed(value: object) -> object:
    return value if isinstance(value, list) or value is None else [value]


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]  # one name or a list of names


class Column(Spec):
    """A column: its type, its class, and what a value of it may say besides (`may_hold`).

    A column of a table or an `sql` needs `class`, and `type` or (a struct) `fields`. A column of a derived entity (`from`) is
    one aggregate over the rows of its group instead: `{min: value, where: {code: 8480-6}}`; its type follows from that.
    """

    type: ColumnType = Field("string", description="the type of a value; of an array, of its elements")
    cls: str = Field("", alias="class", description="the class of governance/classes.yml")
    may_hold: Names = ()
    array: bool = Field(False, description="the column holds a list of values of this type")
    fields: dict[str, ColumnType] = Field({}, description="of a struct: its fields, each with its type; named by a path: address.city")
    role: Literal["birth_date", "death_date"] | None = None
    system: str | None = Field(None, description="of a code: the column that holds its code system, or the system's name")
    strip: str | None = Field(None, description='of a code: what some feeds leave out of it, such as "." in ICD-10-CM')
    contact_of: Literal["personal_representative"] | None = Field(
        None, description="of a contact: whose it is when it is not the person's own; it ends at majority"
    )
    unit: str | None = Field(None, description="of a number: the column that holds its unit, or the unit's name")
    free_text: bool = Field(False, description="what somebody typed: it may name anybody, whatever its class")
    count: bool | None = Field(None, description="of a derived column: how many rows the group has")
    sum: str | None = None
    avg: str | None = None
    min: str | None = None
    max: str | None = None
    where: Tree = Field(None, description="of a derived column: the rows of the group that it is taken over")
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
    """What there are many of: a table of the lakehouse, rows of another entity grouped (`from`), or a SELECT (`sql`)."""

    folder: ClassVar[str] = "models"
    kind: Literal["entity"] = "entity"
    name: str
    table: str = Field("", description="schema.table: a catalog name, or the Delta folder <lakehouse>/schema/table")
    from_: str | None = Field(None, alias="from", description="a derived entity: the entity whose rows are grouped")
    group_by: dict[str, str] = Field({}, description="of a derived entity: its key columns, by the path they come from")
    sql: str | None = Field(None, description="one SELECT over other entities, segments and traits by name")
    key: str = Field("", description="the column that tells the rows apart; of a derived entity those of group_by do")
    time: str | Interval | None = None
    where: Tree = None
    future: Literal["visible", "hidden"] = "hidden"
    rows: Names = Field((), description="the classes of being in this table at all")
    columns: dict[str, Column] = {}
    relations: dict[str, Relation] = {}
    description: str = ""


class Codes(Spec):
    """Codes of one code system."""

    system: str
    codes: tuple[str, ...]


class ValueSet(Kind):
    """A named set of codes: listed here, in a CSV, in a FHIR R4 ValueSet, made of other value sets, or a branch of a hierarchy.

    All of these add up; `members` is what they come to.
    """

    folder: ClassVar[str] = "models"
    kind: Literal["value_set"] = "value_set"
    name: str
    system: str = Field("", description="the code system; a FHIR ValueSet and one made of others bring their own")
    codes: tuple[str, ...] = ()
    file: str | None = Field(None, description="beside this file: a CSV with a column `code`, or a FHIR R4 ValueSet as JSON")
    include: Names = Field((), description="value sets whose codes are members too")
    exclude: Names = Field((), description="value sets whose codes are not members, whatever else says they are")
    descendants_of: Names = Field((), description="codes that are members together with all that stands below them in `hierarchy`")
    hierarchy: str | None = Field(None, description="beside this file: a CSV of edges with the columns `child` and `parent`")
    description: str = ""
    _members: tuple[Codes, ...] = PrivateAttr(())

    @property
    def members(self) -> tuple[Codes, ...]:
        """What the set comes to, each system once and by its name in conf/cdp.yml; the loader finds it out."""
        return self._members

    def holding(self, members: tuple[Codes, ...]) -> ValueSet:
        """The same value set with its members."""
        found = self.model_copy()
        found._members = members
        return found

    @property
    def all_codes(self) -> frozenset[str]:
        """Every code, whatever its system."""
        return frozenset(code for part in self.members for code in part.codes)


VERBS = (
    "has", "lacks", "count", "sum", "avg", "min", "max", "latest", "earliest", "most_frequent", "list", "days_covered",
)  # fmt: skip


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
    most_frequent: str | None = None
    list: str | None = None
    days_covered: str | None = None
    as_: str | None = Field(None, alias="as", description="a name for the row, for conditions further inside")
    where: Tree = None
    within: Tree = None
    upcoming: Tree = None
    older_than: Tree = None
    during: Tree = None
    before: Tree = None
    after: Tree = None
    since: Tree = None
    until: Tree = None
    each: Tree = Field(None, description="a series of windows, back from as_of: {weeks: [1, 4]}")
    distinct: str | None = Field(None, description="of count and list: `day`, or a column; equal ones count once")
    spaced: Tree = Field(None, description="of count: days that lie at least so far apart, from the earliest on: {days: 28}")
    by: Literal["day"] | None = None
    ties: Tree = None
    of: str | None = None
    limit: int | None = Field(None, ge=1, description="of list: at most so many, from the first on")
    supply: str | None = Field(None, description="of days_covered: the column that says for how many days a fill lasts")
    same: str | None = Field(None, description="of days_covered: fills that share this follow each other, others overlap")
    even_if_open: bool = Field(False, description="of lacks: its window after an event may still be running")


class Case(Spec):
    """One branch of a `case`: the first whose `when` holds gives the value."""

    when: Tree = None
    then: Tree = None
    else_: Tree = Field(None, alias="else")


class Trait(Kind, MeasureSpec):
    """A named value of each row of an entity: a measure without `is`, a `case`, an `expr` or a SELECT (`sql`)."""

    folder: ClassVar[str] = "models"
    kind: Literal["trait"] = "trait"
    name: str
    entity: str
    case: tuple[Case, ...] = ()
    expr: str | None = Field(None, description="an SQL expression over columns and traits by name")
    sql: str | None = Field(None, description="one SELECT of the entity's key and a column with the trait's name")
    type: ColumnType | None = Field(None, description="of `expr` and `sql`, and of a `case` whose values do not tell: the type")
    description: str = ""
    owner: str | None = None
    tests: Tree = None


class Segment(Kind):
    """A named population: the rows of an entity for which `where` is true, or whose key a SELECT (`sql`) returns."""

    folder: ClassVar[str] = "models"
    kind: Literal["segment"] = "segment"
    name: str
    entity: str
    where: Tree = None
    sql: str | None = Field(None, description="one SELECT of the entity's key, over entities, segments and traits by name")
    params: dict[str, ParamType] = Field({}, description="makes it a template: {segment: NAME, with: {...}} fills in $NAME")
    owner: str
    purpose: str
    description: str = ""
    tests: Tree = None
