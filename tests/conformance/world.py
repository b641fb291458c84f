"""A tiny clinic in Delta tables, and queries over it governed by hand. Only tests may use the seal."""

from __future__ import annotations

import datetime as dt
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import sqlglot
from sqlglot import exp

from cdp.connectors.base import Egress, Target
from cdp.engine.base import Engine
from cdp.errors import Refusal
from cdp.governance.access import Requirement
from cdp.governance.query import _SEAL, Decision, Freshness, GovernedQuery, Removals, WireMask
from cdp.spec.access import Agreement
from cdp.spec.activation import Destination, Guards, Secret, Sync
from cdp.spec.delivery import Limits, Retries, Wait
from cdp.spec.model import Entity
from cdp.sync.apply import Run, apply_plan
from cdp.sync.basis import basis
from cdp.sync.ledger import Control
from cdp.sync.ledger.accounting import Asked, disclosures
from cdp.sync.plan import Plan
from cdp.sync.planning import make_plan
from cdp.testing.channel import Channel

NOW = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
COLUMNS = pa.schema(
    [
        ("patient_id", pa.string()),
        ("email", pa.string()),
        ("given_name", pa.string()),
        ("born", pa.date32()),
        ("score", pa.float64()),
        ("balance", pa.decimal128(20, 2)),
        ("visits", pa.int64()),
        ("active", pa.bool_()),
        ("seen", pa.timestamp("us", "UTC")),
        ("consent", pa.bool_()),
        ("deceased", pa.bool_()),
        ("member", pa.bool_()),
    ]
)
REFUSALS = (Refusal("agreement", "agreement mailer_baa", "", (), "ended on 2026-06-30", "renew it"),)
VALUES = ("email", "given_name", "born", "score", "balance", "visits", "active", "seen")


def patient(number: int, **changes: Any) -> dict[str, Any]:
    """A patient who may be told."""
    base = {
        "patient_id": f"p{number:03}",
        "email": f"p{number}@example.org",
        "given_name": f"N{number}",
        "born": dt.date(1970, 1, 1) + dt.timedelta(days=number),
        "score": number / 7,
        "balance": number,
        "visits": number,
        "active": number % 2 == 0,
        "seen": dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=number),
        "consent": True,
        "deceased": False,
        "member": True,
    }
    return base | changes


def nonzero(counts: Mapping[str, int]) -> dict[str, int]:
    """A plan's counts without those of which there are none."""
    return {name: count for name, count in counts.items() if count}


def people(count: int) -> dict[int, dict[str, Any]]:
    return {number: patient(number) for number in range(1, count + 1)}


@dataclass
class World:
    """One engine, one clinic, one channel."""

    engine: Engine
    schema: str
    control: str
    root: Path
    channel: Channel = field(default_factory=Channel)
    now: dt.datetime = NOW
    mode: str = "mirror"
    keys: tuple[str, ...] = ("patient_id",)
    values: tuple[str, ...] = VALUES
    masks: tuple[WireMask, ...] = ()
    guards: Guards = field(default_factory=lambda: Guards(empty="allow"))
    fingerprint: str = "f1"
    told: str = "t1"
    exempt_under: str | None = None
    when_changed: Literal["keep", "resend", "remove"] = "keep"
    name: str = "letters"
    select: str = ""
    lookups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    removals: Removals | None = None  # who may be taken off, where the sync is refused
    consented: bool = True  # whether the consent's age is asked for
    account: str | None = None
    approval: Requirement | None = None  # what its plans need
    retries: Retries = field(default_factory=lambda: Retries(wait=Wait()))  # at once, unless a test says otherwise
    limits: Limits = field(default_factory=Limits)
    quality: tuple[dict[str, Any], ...] = ()  # what is expected of the rows, as YAML says it

    @classmethod
    def fresh(cls, engine: Engine, root: Path, **facts: Any) -> World:
        """An empty clinic and control tables that nobody else on this engine has."""
        tag = uuid.uuid4().hex[:8]
        return cls(engine, f"clinic_{tag}", f"cdp_{tag}", root, **facts)

    def load(self, rows: dict[int, dict[str, Any]] | list[dict[str, Any]], recorded: dt.datetime = NOW) -> None:
        """Replace the clinic's tables."""
        listed = list(rows.values()) if isinstance(rows, dict) else rows
        self._replace("patients", pa.Table.from_pylist(listed, schema=COLUMNS))
        self.load_consent(recorded)

    def load_consent(self, recorded: dt.datetime | None = None) -> None:
        """Replace the table whose newest row says how old the consent is; by default it is of this moment."""
        self._replace("consent", pa.table({"recorded": pa.array([recorded or self.now], pa.timestamp("us", "UTC"))}))

    def _replace(self, name: str, data: pa.Table) -> None:
        full = f"{self.schema}.{name}"
        self.engine.drop(full)
        self.engine.create(full, {f.name: _kind(f.type) for f in data.schema})
        self.engine.append(full, data)

    def governed(self) -> GovernedQuery:
        rule = "CASE WHEN deceased THEN 'deceased' WHEN NOT consent THEN 'no_consent' END AS _rule"
        table = f"{self.schema}.patients"
        columns = ", ".join(f"{c} AS `{c}`" for c in (*self.keys, *self.values))
        select = self.select or f"SELECT patient_id AS _subject, {rule}, {columns} FROM {table} WHERE member"
        eligibility = f"SELECT patient_id AS _subject, {rule} FROM {table} WHERE deceased OR NOT consent"
        destination = Destination(
            name="mailer",
            connector="memory",
            channel="email",
            secrets={"api_key": Secret(env="MAILER_KEY")},
            retries=self.retries,
            limits=self.limits,
        )
        return GovernedQuery(
            sync=Sync(
                name=self.name,
                segment="members",
                destination="mailer",
                purpose="care",
                mode=self.mode,
                key={"k": "k"},
                guards=self.guards,
                quality=self.quality,
            ),
            destination=destination,
            agreement=Agreement(
                name="mailer_baa",
                counterparty="Mailer",
                account=self.account,
                signed=dt.date(2026, 1, 1),
                effective=dt.date(2026, 1, 1),
                expires=dt.date(2027, 1, 1),
                purposes="care",
                classes="contact",
                members="member",
            ),
            entity=Entity(name="patient", table=table, key="patient_id", rows="member", columns={}),
            select=_parse(select),
            eligibility=_parse(eligibility),
            keys=self.keys,
            values=self.values,
            wire_masks=self.masks,
            rules=("deceased", "no_consent"),
            tables=(table,),
            declared={},
            lookups=self.lookups,
            freshness=(Freshness(f"{self.schema}.consent", "recorded", dt.timedelta(hours=36)),) if self.consented else (),
            decision=Decision("mailer", "mailer_baa", "care", {"email": ("contact.email",)}, ("member",), self.exempt_under),
            model_sha256="m1",
            fingerprint=self.fingerprint,
            removals=self.removals,
            refusals=REFUSALS if self.removals else (),
            told=self.told,
            when_changed=self.when_changed,
            approval=self.approval,
            _seal=_SEAL,
        )

    def plan(self, **options: Any) -> Plan:
        self.now += dt.timedelta(minutes=1)
        query, times = self.governed(), {"now": self.now, "as_of": self.now}
        rests = {"basis": basis(query, self.engine, **times, defaults=None)}
        return make_plan(query, self.engine, self.control, **times, **(rests | options))

    def apply(self, plan: Plan, **options: Any) -> Run:
        os.environ.setdefault("MAILER_KEY", "k")
        query = self.governed()
        target = Target(query.destination, Egress(), "", self.root)
        self.now += dt.timedelta(minutes=1)
        return apply_plan(plan, query, self.engine, self.control, self.channel.connector(), target, now=self.now, **options)

    def sync(self) -> tuple[Plan, Run]:
        plan = self.plan()
        return plan, self.apply(plan)


@contextmanager
def passing(engine: Engine, root: Path, **facts: Any) -> Iterator[World]:
    """A world of which no table stays behind."""
    world = World.fresh(engine, root, **facts)
    yield world
    for schema in (world.schema, world.control):
        for table in engine.tables(schema):
            engine.drop(f"{schema}.{table}")


def told(world: World, key: str) -> list[dict[str, Any]]:
    """What the ledger says that was told about a person."""
    return disclosures(Control(world.engine, world.control), Asked(key))


def _parse(text: str) -> exp.Select:
    parsed = sqlglot.parse_one(text, dialect="spark")
    assert isinstance(parsed, exp.Select)
    return parsed


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    names = {"string": "string", "date32[day]": "date", "double": "double", "int64": "bigint", "bool": "boolean"}
    return names.get(str(kind), "timestamp")
