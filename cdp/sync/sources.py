"""Are the tables there, is the consent that decides about people fresh enough, and is what must be unique unique?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from cdp.engine.base import Engine, quoted
from cdp.errors import DataError
from cdp.governance.query import Freshness, GovernedQuery
from cdp.governance.rows.special import counting
from cdp.spec.model import Column


def check(engine: Engine, query: GovernedQuery, now: dt.datetime) -> dt.datetime | None:
    """Register what the query reads; refuse tables that are not as declared, and stale consent.

    Returns:
        The moment after which the consent is too old; None where none is asked for.

    Raises:
        DataError: a table or column is missing, filtered, masked or of another type, or the newest row of a consent table is too old or
            not there.
    """
    engine.register(tuple(dict.fromkeys((*query.tables, *(f.table for f in query.freshness), query.entity.table))))
    _check_whole(engine, query)
    _check_columns(engine, query)
    return min((_check_age(engine, freshness, now) for freshness in query.freshness), default=None)


def _check_whole(engine: Engine, query: GovernedQuery) -> None:
    """Refuse tables of which this identity may not see every row as it is: a filtered mirror removes everybody else."""
    if found := engine.filters(query.tables):
        raise DataError(
            f"the catalog does not show all of {', '.join(found)}: who is not seen would be removed, what is masked would be sent",
            fix="plan as a service identity to which no row filter and no column mask applies (`cdp governance export` exempts it)",
        )


# The types of the lakehouse that a declared type may stand for.
_NUMBERS = ("tinyint", "smallint", "int", "bigint")
_FITTING: Mapping[str, tuple[str, ...]] = {
    "string": ("string",),
    "code": ("string",),
    "integer": _NUMBERS,
    "decimal": ("decimal", *_NUMBERS, "float", "double"),
    "double": ("float", "double", "decimal", *_NUMBERS),
    "boolean": ("boolean",),
    "date": ("date",),
    "timestamp": ("timestamp",),
}


def _check_columns(engine: Engine, query: GovernedQuery) -> None:
    wrong = []
    found_in = engine.schemas(tuple(query.declared))
    for table, declared in query.declared.items():
        there = {name.lower(): kind for name, kind in found_in[table].items()}
        for name, column in declared.items():
            found = there.get(name.lower())
            if found is None:
                wrong.append(f"{table}.{name} is not there")
            elif not fits(found, column):
                wrong.append(f"{table}.{name} is {found}, declared as {_said(column)}")
    if wrong:
        raise DataError(f"the lakehouse is not as declared: {'; '.join(wrong)}", fix="mend the table, or `columns:` of the entity")


def fits(found: str, column: Column) -> bool:
    """Whether a type of the lakehouse, as Spark writes it, holds what is declared. Of a struct only the declared fields count."""
    if column.array:
        return found.startswith("array<") and fits(found[6:-1], column.model_copy(update={"array": False}))
    if column.fields:
        fields = dict(part.split(":", 1) for part in _parts(found[7:-1])) if found.startswith("struct<") else {}
        there = {name.strip().lower(): kind.strip() for name, kind in fields.items()}
        return all(there.get(name.lower(), "").partition("(")[0] in _FITTING[kind] for name, kind in column.fields.items())
    return found.partition("(")[0] in _FITTING[column.type]


def _parts(fields: str) -> list[str]:
    """The fields of a struct; commas inside of a field's own type do not part them."""
    parts, depth = [""], 0
    for letter in fields:
        depth += (letter in "<(") - (letter in ">)")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _said(column: Column) -> str:
    kind = f"struct<{', '.join(f'{name}: {kind}' for name, kind in column.fields.items())}>" if column.fields else column.type
    return f"array<{kind}>" if column.array else kind


def _check_age(engine: Engine, freshness: Freshness, now: dt.datetime) -> dt.datetime:
    # A row of the future proves nothing about when the table was loaded.
    column = f"CAST({quoted(freshness.column)} AS TIMESTAMP)"
    newest = f"SELECT MAX({column}) FROM {freshness.table} WHERE {column} <= :now"
    found = engine.value(newest, {"now": now}, what=f"{freshness.table}.{freshness.column}")
    if found is None:
        raise DataError(f"{freshness.table} has no row recorded until now: no consent is known", fix="load the consent table")
    if now - found > freshness.max_age:
        raise DataError(
            f"{freshness.table} was last recorded {_age(now - found)} ago; consent older than {_age(freshness.max_age)} is not used",
            fix="load the consent table, or change max_age in governance/consent.yml",
        )
    return dt.datetime.fromtimestamp((found + freshness.max_age).timestamp(), dt.UTC)


def check_lookups(engine: Engine, query: GovernedQuery) -> None:
    """Refuse a table in which a to-one relation, or a JOIN on a declared key, finds several rows.

    People would be told each other's facts, or more of themselves than was decided on: how many rows there are.

    Raises:
        DataError: columns that must be unique are not; all of them are named.
    """
    found = []
    for table, columns in query.lookups:
        names = ", ".join(quoted(name) for name in columns)
        there = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in columns)
        twice = f"SELECT COUNT(*) FROM (SELECT {names} FROM {table} WHERE {there} GROUP BY {names} HAVING COUNT(*) > 1) AS t"
        if count := engine.value(twice, what=table):
            found.append(f"{table} ({', '.join(columns)}): {count} value{'s' if count > 1 else ''} more than once")
    if found:
        raise DataError(
            f"a to-one relation or a declared key finds several rows in {'; '.join(found)}",
            fix="make the columns unique, declare the relation `many`, or the entity's `key` as it is",
        )


def withheld(engine: Engine, query: GovernedQuery) -> tuple[tuple[str, str, int], ...]:
    """How many special rows the query does not read: class, table and number of each."""
    if not query.withheld:
        return ()
    counted = engine.query(counting(query.withheld), what=f"the rows that are withheld from {query.destination.name}").to_pylist()[0]
    return tuple((each.cls, each.table, int(rows)) for each, rows in zip(query.withheld, counted.values(), strict=True))


def _age(span: dt.timedelta) -> str:
    hours = int(span.total_seconds() // 3600)
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours" if hours else f"{int(span.total_seconds() // 60)} minutes"


def rows(engine: Engine, table: str) -> int:
    """1 when a table has rows, else 0."""
    return len(engine.recall(table, f"SELECT 1 AS one FROM {table} LIMIT 1"))
