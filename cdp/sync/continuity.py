"""Is it the same receiver, and are its rows named by the same keys? What a sync takes off, it takes off by the key that went out.

The acknowledged keys of a sync are of one receiver, and hold what stands behind a pseudonym. Under another destination, or a key that
is a pseudonym no more, a removal would tell them to somebody who never had them: so there is no plan, not even of removals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cdp.errors import DataError
from cdp.governance.query import GovernedQuery
from cdp.sync.ledger import Control

_INTEGERS = ("tinyint", "smallint", "int", "bigint")


@dataclass(frozen=True, slots=True)
class _Went:
    """To whom rows went, and what names them: each key column's name and kind, and whether it left as a pseudonym.

    The name is the channel's: a removal under another one may be answered with success, and take off nobody.
    """

    destination: str
    keys: tuple[tuple[str, str, bool], ...]
    account: str | None = None  # ours at the receiver, where that is declared

    def elsewhere(self, other: _Went) -> bool:
        """Whether what went to one is certainly not what the other has: each account has lists of its own."""
        accounts = {self.account, other.account} - {None}
        return self.destination != other.destination or len(accounts) > 1


def newest(acknowledged: str, last: int) -> str:
    """SQL of the run of the newest delivered receipt, if its row is held: most often it is, and the files' statistics find it."""
    return f"SELECT MAX(a.run) FROM ({acknowledged}) AS a WHERE a.content IS NOT NULL AND a.seq = {last}"


def check(control: Control, query: GovernedQuery, types: Mapping[str, str], acknowledged: str, run: str | None) -> None:
    """Refuse a sync whose destination holds nothing of what was acknowledged, or under other keys.

    All rows that are held went out alike, since no plan is made that would send others: the newest tells of all.

    Args:
        control: the control tables.
        query: from governance.
        types: of its output.
        acknowledged: SQL of the acknowledged state.
        run: what `newest` found.

    Raises:
        DataError: the receiver or the form of the key is another than that of the rows that were delivered.
    """
    last = f"SELECT MAX_BY(a.run, a.seq) FROM ({acknowledged}) AS a WHERE a.content IS NOT NULL"
    run = run or control.engine.value(last, what="the acknowledged state")
    if run is None:
        return
    before, company = _before(control, query.sync.name, run), _company(control, query.sync.name, run)
    now = _now(query, types)
    said = f"sync {query.sync.name}: what it delivered and did not take off"
    fix = "put that back and take everybody off first, by an empty segment; or leave this sync as it was and give the new one another name"
    if before is None or before.elsewhere(now):
        raise DataError(
            f"{said} is at {_at(before, now) if before else 'a receiver that is not on record'}, not at {_at(now, before)}", fix=fix
        )
    if company is not None and query.agreement.name != company[0] and query.agreement.counterparty != company[1]:
        raise DataError(f"{said} went out under {company[0]}, to another company than that of {query.agreement.name}", fix=fix)
    if before.keys != now.keys:
        raise DataError(f"{said} is named by another key ({_said(before)}; now {_said(now)})", fix=fix)


def runs_alike(control: Control, query: GovernedQuery, types: Mapping[str, str]) -> tuple[str, ...]:
    """The runs that put rows where a sync puts them now, named by the same keys."""
    plans, runs = control.table("plans"), control.table("runs")
    applied = f"SELECT r.run, r.plan FROM {runs} AS r WHERE r.sync = :sync AND r.n = 0 AND r.plan IS NOT NULL"
    statement = (
        f"SELECT w.run, p.body FROM ({applied}) AS w JOIN {plans} AS p ON p.plan = w.plan WHERE p.sync = :sync AND p.event = 'created'"
    )
    now = _now(query, types)
    found = control.engine.query(statement, {"sync": query.sync.name}, what=plans).to_pylist()
    went = ((row["run"], _went(json.loads(row["body"]))) for row in found)
    return tuple(sorted(run for run, then in went if then.keys == now.keys and not then.elsewhere(now)))


def _now(query: GovernedQuery, types: Mapping[str, str]) -> _Went:
    masked = {mask.column for mask in query.wire_masks}
    keys = tuple((name, _family(types[name]), name in masked) for name in query.keys)
    return _Went(query.destination.name, keys, query.agreement.account)


def _before(control: Control, sync: str, run: str) -> _Went | None:
    """What the plan of a run says."""
    plans, runs = control.table("plans"), control.table("runs")
    applied = f"SELECT MAX(r.plan) AS plan FROM {runs} AS r WHERE r.sync = :sync AND r.run = :run"
    statement = (
        f"SELECT p.body FROM {plans} AS p JOIN ({applied}) AS r ON p.plan = r.plan WHERE p.sync = :sync AND p.event = 'created' LIMIT 1"
    )
    found = control.engine.query(statement, {"sync": sync, "run": run}, what=plans).column("body").to_pylist()
    return _went(json.loads(found[0])) if found else None


def _went(body: Mapping[str, Any]) -> _Went:
    masked = {column for column, *_ in body["masks"]}
    columns = ((body["names"][stored], _family(body["kinds"][stored])) for stored in body["keys"])
    keys = tuple((name, kind, name in masked) for name, kind in columns)
    return _Went(body["destination"], keys, body.get("account"))


def _company(control: Control, sync: str, run: str) -> tuple[str, str] | None:
    """The agreement and the counterparty of a run, as each of its lines in the disclosure ledger has them; None without lines."""
    table = control.table("disclosures")
    lines = f"SELECT agreement, counterparty FROM {table} WHERE sync = :sync AND run = :run AND kind = 'line' LIMIT 1"
    found = control.engine.recall(table, lines, {"sync": sync, "run": run}).to_pylist()
    return (found[0]["agreement"], found[0]["counterparty"]) if found else None


def _family(kind: str) -> str:
    """Kinds whose texts are each other's."""
    base = kind.partition("(")[0]
    return "integer" if base in _INTEGERS else base


def _at(one: _Went, other: _Went | None) -> str:
    """Where it went: the destination, and the account where that alone tells it from the other."""
    return one.destination if other is None or one.destination != other.destination else f"account {one.account} of {one.destination}"


def _said(went: _Went) -> str:
    return "; ".join(f"{name}, {kind}{' as a pseudonym' if masked else ''}" for name, kind, masked in went.keys)
