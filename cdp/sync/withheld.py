"""Who may no longer be told: asked at apply, of the people of a plan."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdp.engine.base import quoted
from cdp.governance.query import GovernedQuery
from cdp.sync import state
from cdp.sync.basis import basis, same_people
from cdp.sync.ledger import Control
from cdp.sync.people import People, few_of, kept_out
from cdp.sync.plan import Plan, rows_table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Withheld:
    """Subjects, and in how many rows of a plan they would be added or changed."""

    subjects: pa.Array
    rows: int


def from_plan(control: Control, plan: Plan, query: GovernedQuery, now: dt.datetime, last: int) -> Withheld:
    """Who became ineligible since a plan was made, at the query's wall clock, was removed since or is gone.

    Who may be told, and who is there, is not asked again where nothing has changed of what the plan found that in.

    Args:
        control: the control tables; those of the plan's rows are among them.
        plan: about to be applied.
        query: governed just now.
        now: the wall clock that it was governed at.
        last: the last acknowledged receipt.
    """
    import pyarrow as pa

    table, entity = rows_table(control, plan.id), query.entity
    told = f"SELECT p._subject AS subject FROM {table} AS p WHERE p._op <> 'remove'"
    asked = [state.removed_since(control, plan.sync, plan.base_seq)] if last != plan.base_seq else []
    if not same_people(control.engine, plan.basis, basis(query, control.engine, now=now, as_of=plan.as_of, defaults=None)):
        people = People.of(table, "_subject") if few_of(plan.rows, plan.rows + plan.counts["unchanged"]) else None
        there = f"{entity.table} AS e ON t.subject = CAST(e.{quoted(entity.key)} AS STRING)"
        asked.append(f"SELECT k.subject FROM ({kept_out(query, people)}) AS k")
        asked.append(f"SELECT t.subject FROM ({told}) AS t LEFT ANTI JOIN {there}")  # no rule speaks of who is not there
    if not asked:
        return Withheld(pa.array([], pa.string()), 0)
    counted = (
        f"SELECT t.subject, COUNT(*) AS n FROM ({told}) AS t LEFT SEMI JOIN ({' UNION ALL '.join(asked)}) AS w "
        "ON t.subject = w.subject GROUP BY t.subject"
    )
    found = control.engine.query(counted, what="who may no longer be told")
    return Withheld(found.column("subject").combine_chunks(), sum(found.column("n").to_pylist()))
