"""What was told about a person: the accounting of disclosures, 45 CFR 164.528, and how long it is kept.

Lines and blocks are kept for six years, 164.528(a)(1) and (d), 164.530(j)(2), 164.316(b)(2)(i); nothing here deletes any.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

from cdp.sync.ledger import Control, chain
from cdp.sync.ledger.disclosure import ACCOUNTABLE

YEARS = 6
FIELDS = (
    "at",
    "person",
    "key",
    "op",
    "sync",
    "destination",
    "agreement",
    "counterparty",
    "purpose",
    "classes",
    "columns",
    "run",
    "plan",
    "approver",
    "accounting",
    "exempt_under",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about a person.

    Attributes:
        key: the person's key in the lakehouse, or the one that left.
        since, until: moments, both included; None: no bound.
        accountable: only what an accounting must list.
    """

    key: str
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    accountable: bool = False


def disclosures(control: Control, asked: Asked) -> list[dict[str, Any]]:
    """Everything that was told about a person, oldest first."""
    table = control.table(chain.TABLE)
    args: dict[str, Any] = {"key": asked.key}
    tests = [f"kind = '{chain.LINE}'", "(person = :key OR key = :key)"]
    for name, sign in (("since", ">="), ("until", "<=")):
        if (bound := getattr(asked, name)) is not None:
            args[name] = bound
            tests.append(f"at {sign} :{name}")
    if asked.accountable:
        tests.append(f"accounting = '{ACCOUNTABLE}'")
    statement = f"SELECT {', '.join(FIELDS)} FROM {table} WHERE {' AND '.join(tests)} ORDER BY at, run, chunk"
    rows = control.engine.query(statement, args, what="the disclosure ledger").to_pylist()
    return [
        {**row, "at": row["at"].isoformat(), "classes": json.loads(row["classes"]), "columns": json.loads(row["columns"])} for row in rows
    ]


def kept(control: Control) -> list[dict[str, Any]]:
    """What the ledger holds of each sync, and until when its newest line must be kept."""
    table = control.table(chain.TABLE)
    counts = f"COUNT(*) AS lines, COUNT_IF(accounting = '{ACCOUNTABLE}') AS accountable, MIN(at) AS first, MAX(at) AS last"
    statement = f"SELECT sync, {counts} FROM {table} WHERE kind = '{chain.LINE}' GROUP BY sync ORDER BY sync"
    rows = control.engine.query(statement, what="the disclosure ledger").to_pylist()
    return [
        {
            **row,
            "first": row["first"].isoformat(),
            "last": row["last"].isoformat(),
            "keep_until": later(row["last"].date(), YEARS).isoformat(),
        }
        for row in rows
    ]


def later(day: dt.date, years: int) -> dt.date:
    """The same day some years later, or earlier; of 29 February the day after in a year without one."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return dt.date(day.year + years, 3, 1)
