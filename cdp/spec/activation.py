"""The kinds under syncs/ and destinations/, and conf/cdp.yml: what goes where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator

from cdp.spec.base import Kind, Spec
from cdp.spec.delivery import Limits, Retries
from cdp.spec.lookup import Lookup
from cdp.spec.model import Names
from cdp.spec.paths import SyncPath
from cdp.spec.quality import Expectation


def _mask(value: object) -> object:
    if value is None:  # plain `null` is nothing at all, and the value would leave as it is
        raise ValueError('names no mask; write "null" in quotes for the mask of that name, or leave `mask` out')
    return value


class Output(Spec):
    """One field that leaves: exactly one of a column or trait (`of`), an SQL expression, or a constant."""

    of: str | None = Field(None, description="a column, a path over to-one relations, or a trait (with a field)")
    expr: str | None = Field(None, description="an SQL expression over columns and traits by name")
    constant: str | None = None
    mask: Annotated[str | None, BeforeValidator(_mask)] = None


def _output(value: object) -> object:
    if value is None or isinstance(value, list):
        raise ValueError("must be a column, such as `email`, or a mapping with one of `of`, `expr`, `constant`")
    return {"of": value} if isinstance(value, str) else value


OutputField = Annotated[Output, BeforeValidator(_output)]


def _limit(value: object) -> object:
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value)):
        return {"share": float(match[1]) / 100}
    if isinstance(value, list) or (isinstance(value, str) and not re.fullmatch(r"[0-9_]+", value)):
        raise ValueError("must be a number of rows, such as 200, or a share, such as 20%")
    return {"rows": value} if isinstance(value, (str, int)) else value


class Limit(Spec):
    """A bound of a guard: `200` rows, or a share such as `20%`."""

    rows: int | None = Field(None, ge=0)
    share: float | None = Field(None, ge=0)


GuardLimit = Annotated[Limit, BeforeValidator(_limit)]


class Guards(Spec):
    """What a run of the sync may not exceed; `empty` decides on a segment with no people."""

    max_add: GuardLimit | None = Field(None, description="rows, or a share of what the destination holds")
    max_change: GuardLimit | None = Field(None, description="the same of rows that are changed")
    max_remove: GuardLimit | None = Field(None, description="the same of rows that are removed")
    empty: Literal["refuse", "allow"] = "refuse"
    max_invalid: GuardLimit | None = Field(
        None, description="people without a key or whose key others have, and those dropped by `quality`; a share is one of who may be told"
    )
    unusual_size: GuardLimit | None = Field(
        None, description="by how many people, or by which share, the segment may differ from the median of the last ten runs; from five on"
    )
    max_failed: GuardLimit | None = Field(
        None, description="while applying: rows that the channel rejects, or a share of those it answered, from a hundred on; then it stops"
    )


class Holdout(Spec):
    """A share of the people that is not told, so that the effect can be measured: by sha2(salt || key), the same in every run."""

    share: float = Field(gt=0, lt=1)
    salt: str


class Sync(Kind):
    """A segment's people, some of their columns, a destination, a purpose."""

    folder: ClassVar[str] = "syncs"
    kind: Literal["sync"] = "sync"
    name: str
    segment: str
    destination: str
    purpose: str
    mode: Literal["upsert", "update", "insert", "mirror"]
    funded_by: str = "none"
    holdout: Holdout | None = Field(None, description="people who are left out at random, always the same; the purpose must allow it")
    key: dict[str, OutputField] = Field(min_length=1)
    mappings: dict[str, OutputField] = {}
    one_per: str | None = Field(None, description="of those who share this value one is told; who has none is told too")
    prefer: tuple[str, ...] = Field((), description="of one_per, who: columns and traits, each with `asc` (default) or `desc`")
    guards: Guards = Guards()
    quality: tuple[Expectation, ...] = Field((), description="what must hold of the rows that are added or changed")
    stale: Literal["replan", "refuse"] = Field(
        "replan",
        description="what `cdp sync` does when something moved between its plan and applying it: plan once more, or refuse; "
        "`cdp apply` always refuses",
    )
    schedule: str | None = None
    description: str = ""


class Secret(Spec):
    """Where a secret stands; never its value."""

    env: str = Field(description="the name of an environment variable")

    @field_validator("env")
    @classmethod
    def _name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
            raise ValueError("must be the name of an environment variable, such as SENDGRID_API_KEY")
        return value


class Request(Spec):
    """How the `http` connector sends one kind of change."""

    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: SyncPath = Field(
        description="appended to base_url; {sync} stands for the sync's name, {sync_id} for an opaque id of it; holds no value of a row"
    )
    batch: int = Field(500, ge=1, le=10_000, description="rows a request")
    body: Literal["array", "ndjson"] | dict[str, str] = Field(
        "array", description="`array`, `ndjson`, or {list: NAME}: an object with the rows under NAME"
    )


class RowErrors(Spec):
    """Where a success response says which rows it did not take."""

    list: str = Field(description="dotted path to the list of errors")
    key: str | None = Field(None, description="the field of an error that repeats the row's key")
    index: str | None = Field(None, description="the field of an error that holds the row's position, from 0")
    code: str | None = Field(None, description="the field that holds the reason's code")


class Whoami(Spec):
    """A request that names the account behind the credentials: one host serves every customer."""

    path: str = Field(description="appended to base_url")
    account: str = Field(description="dotted path to the account in the response")


class Export(Spec):
    """How the channel is asked which rows it holds now, page by page. Of an item the key is read, and nothing else."""

    path: SyncPath = Field(description="appended to base_url; {sync} and {sync_id} as in `upsert`")
    query: dict[str, str] = Field(
        {}, description="parameters of every page, such as {limit: 500, fields: external_id}; where the channel can, ask it for keys alone"
    )
    items: str = Field(description="dotted path to the list of a page's rows; each has the key under the names by which it leaves")
    next: str = Field(description="dotted path to what leads to the next page: a cursor, or a link")
    last: Literal["null", "absent"] = Field(
        "null", description="what stands at `next` on the last page: `null` (or an empty text), or nothing at all"
    )
    cursor: str | None = Field(None, description="the parameter in which a cursor goes back; none: what stands at `next` is a link")
    pages: int = Field(100_000, ge=1, description="pages at most; a channel that goes on is not believed")

    def unclear(self) -> list[str]:
        """What cannot be asked that way."""
        wrong = [f"{name} is not a dotted path" for name in ("items", "next") if not all(getattr(self, name).split("."))]
        if "?" in self.path or "#" in self.path:
            wrong.append("path holds a query; write it under `query`")
        if self.cursor is not None and self.cursor in self.query:
            wrong.append(f"{self.cursor} is both `cursor` and in `query`")
        return wrong


class Idempotency(Spec):
    """How a channel is given the key of a change; one of `repeats: keys` by at least one of both."""

    header: str | None = Field("Idempotency-Key", description="the header that holds the key of a request; null: none")
    field: str | None = Field(
        None, description="the field of each row that holds the key of its change, where the channel knows rows apart"
    )


class HttpOptions(Spec):
    """The `http` connector: declarative REST."""

    repeats: Literal["keys", "state", "effect"] = Field(
        "effect",
        description="what the same request again does there: `keys`, nothing, by its idempotency key; `state`, nothing, a row is put where "
        "it already is; `effect`, it has an effect again, as a text message has",
    )
    idempotency: Idempotency = Field(Idempotency(), description="how the channel gets the idempotency key")
    headers: dict[str, str] = Field({}, description="templates over the destination's secrets: `Bearer {api_key}`")
    upsert: Request
    whoami: Whoami | None = Field(None, description="how to ask whose account the credentials open; needed where the agreement names one")
    remove: Request | None = None
    export: Export | None = Field(None, description="how to ask which rows it holds now, for `cdp resync SYNC --from channel`")
    lookup: Lookup | None = Field(
        None, description="how to ask, where `repeats` is effect, what became of changes whose receipts were lost, before they are unknown"
    )
    errors: RowErrors | None = None
    concurrency: int = Field(4, ge=1, le=64, description="requests at a time at most, of all syncs; fewer where the channel takes fewer")
    timeout_seconds: float = Field(30, gt=0)
    attempts: int = Field(5, ge=1, le=20, description="tries of one request, the first included")
    max_wait_seconds: float = Field(60, ge=0, description="the longest wait that a channel may ask for; a longer one ends the run")

    @property
    def paths(self) -> dict[str, str]:
        """Every path that is called, by the name of its request."""
        requests = {"upsert": self.upsert, "remove": self.remove, "whoami": self.whoami, "export": self.export, "lookup": self.lookup}
        return {name: request.path for name, request in requests.items() if request is not None}

    def unasked(self) -> list[tuple[str, str]]:
        """Why `lookup` cannot be asked, or need not be: of which of its fields, or of none in particular, and why."""
        if self.lookup is None:
            return []
        wrong = self.lookup.unclear()
        if self.repeats != "effect":
            wrong.append(("", f"nothing is asked where `repeats` is {self.repeats}: what is in doubt is sent again"))
        if self.idempotency.field is None:
            wrong.append(("", "the channel does not know the key of a change: name its `field` under `idempotency`"))
        return wrong

    def without_room(self, fields: Sequence[str]) -> list[str]:
        """Why requests cannot carry texts in these fields (dotted paths) beside their rows; none when they can."""
        wrong = []
        for name, request in (("upsert", self.upsert), ("remove", self.remove)):
            if request is None or not fields:
                continue
            if not isinstance(request.body, dict):
                wrong.append(f"http.{name}.body: {request.body} has no room for {', '.join(fields)}")
            elif clashing := _clash([*fields, request.body.get("list", "")]):
                wrong.append(f"http.{name}.body: two things would stand in {clashing}")
        return wrong


def _clash(paths: Sequence[str]) -> str:
    """The dotted path that is also another, or lies inside of another; empty when there is none."""
    parts = [path.split(".") for path in paths]
    pairs = ((a, b) for at, a in enumerate(parts) for b in parts[at + 1 :])
    return next((".".join(a if len(a) > len(b) else b) for a, b in pairs if all(x == y for x, y in zip(a, b, strict=False))), "")


class FileOptions(Spec):
    """The `file` connector: one file a run in a folder, with a manifest."""

    folder: str = Field(description="relative to the project, or absolute; the agreement names it too")
    format: Literal["csv", "jsonl", "parquet"] = "csv"
    opened_by: Literal["machine", "spreadsheet"] = Field(
        "machine", description="`spreadsheet`: CSV cells that begin like a formula are escaped"
    )


PhoneForm = Literal["e164", "digits"]


class Destination(Kind):
    """Where changes go: a connector, the channel it is, and the agreement that covers it."""

    folder: ClassVar[str] = "destinations"
    kind: Literal["destination"] = "destination"
    name: str
    connector: str
    channel: str = Field(description="email, sms, phone, mail, portal, ads, file: what consent is asked for")
    baa: str | None = Field(None, description="the agreement (kind: baa) that covers it; none: refused")
    base_url: str | None = None
    phone_form: PhoneForm = Field(
        "e164", description="how it writes a phone number before it is hashed: `e164`, +16505551212, or `digits`, 16505551212"
    )
    secrets: dict[str, Secret] = {}
    retries: Retries = Field(Retries(), description="when rows that it rejected are sent again")
    limits: Limits = Limits()
    http: HttpOptions | None = None
    file: FileOptions | None = None
    description: str = ""


class DestinationOverride(Spec):
    """What an environment changes of a destination."""

    base_url: str | None = None
    folder: str | None = None


class Environment(Spec):
    """One place where the project runs."""

    engine: Literal["sail", "spark"] = "sail"
    lakehouse: str | None = Field(None, description="root folder of the Delta tables, relative to the project")
    catalog: str | None = Field(None, description="catalog of the tables instead of a folder")
    control: str = Field("cdp", description="schema of the control tables")
    sandbox: bool = Field(False, description="plaintext HTTP to loopback is allowed; secrets may be unset")
    destinations: dict[str, DestinationOverride] = {}
    spark: dict[str, str] = Field({}, description="settings of the Spark session")


class Period(Spec):
    """A named span of days that depends on as_of."""

    year_of: Literal["as_of"] = "as_of"


class UnitSpec(Spec):
    """A unit of measure: what other feeds call it, and how it becomes another unit."""

    same_as: Names = ()
    to: str | None = Field(None, description="the unit that a value becomes when it is multiplied by `times`")
    times: Decimal | None = None
    of: str | None = Field(None, description="the value set of the codes for which this holds; none: for all")


class ProjectConfig(Kind):
    """conf/cdp.yml: the project's name, clock, words and environments."""

    folder: ClassVar[str] = "conf"
    kind: Literal["project"] = "project"
    name: str
    timezone: str
    default_environment: str = "dev"
    environments: dict[str, Environment]
    periods: dict[str, Period] = {}
    code_systems: dict[str, Names] = {}
    units: dict[str, UnitSpec] = {}
    guards: Guards = Field(Guards(), description="defaults of every sync")

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):  # unknown, not a name, a folder of names
            raise ValueError(f"{value!r} is not a time zone of the IANA database, such as America/New_York") from None
        return value
