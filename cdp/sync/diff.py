"""The difference between what a destination should have and what it has acknowledged, as SQL.

Keys and hashes are compared first; columns are joined for what changed only. Two tables of a plan: `changes` (keys
that differ, and who is left out), and the rows that will leave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.early import early
from cdp.engine.base import literal, quoted
from cdp.governance.query import RULE, SUBJECT, GovernedQuery, Removals
from cdp.sync import encoding, state
from cdp.sync.hash_key import HashKey
from cdp.sync.people import People, kept_out

CHUNK_ROWS = 100_000
_HASH = "_cdp_content"

# The columns of a plan's rows besides those that leave, which are called k0, k1, ..., v0, v1, ...: a name of a
# channel may hold what a Delta column's may not.
OWN = {
    "_chunk": "int",
    "_place": "int",
    "_op": "string",
    "_key": "string",
    "_subject": "string",
    "_content": "bigint",
    "_base": "bigint",
}

# What each mode may do.
MODES: Mapping[str, tuple[str, ...]] = {
    "upsert": ("add", "change"),
    "update": ("change",),
    "insert": ("add",),
    "mirror": ("add", "change", "remove"),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns that leave: `names` by their stored names, `kinds` are their Spark types."""

    keys: tuple[str, ...]
    names: Mapping[str, str]
    kinds: Mapping[str, str]

    @classmethod
    def of(cls, query: GovernedQuery, types: Mapping[str, str]) -> Shape:
        """The shape of a query whose output has these types."""
        keys = {f"k{i}": name for i, name in enumerate(query.keys)}
        values = {f"v{i}": name for i, name in enumerate(query.values)}
        names = keys | values
        return cls(tuple(keys), names, {stored: types[name] for stored, name in names.items()})

    @property
    def stored(self) -> Mapping[str, str]:
        """Every column of the plan's rows and its type."""
        return {**OWN, **self.kinds}


def members(query: GovernedQuery, types: Mapping[str, str]) -> str:
    """One row a member of the segment: key, content hash, the rule that keeps the person out, and whether nobody is named."""
    return _members(query, types, encoding.key(query, types))


def _members(query: GovernedQuery, types: Mapping[str, str], key: str) -> str:
    named = f"g.{quoted(RULE)} AS rule, g.{quoted(SUBJECT)} IS NULL AS nobody"
    select, content = _hashed(query, types)
    return f"SELECT {key} AS key, {content} AS content, {named} FROM ({select.sql('spark')}) AS g"


def _hashed(query: GovernedQuery, types: Mapping[str, str]) -> tuple[exp.Select, str]:
    """A query of members, and in its terms the hash of what they are told. What is told as it stands is hashed where it is read."""
    told = {each.alias_or_name: each.unalias() for each in query.select.expressions}
    if all(isinstance(told.get(name), exp.Column) for name in query.values):
        hashed = encoding.content(query, types, told)
        if (select := early(query.select, query.entity.name, (SUBJECT, RULE, *query.keys), _HASH, hashed)) is not None:
            return select, f"g.{_HASH}"
    return query.select, encoding.content(query, types).sql("spark")


Changed = Literal["keep", "resend", "remove"]


def changes(members: str, acknowledged: str, outdated: str, changed: Changed, hashed: HashKey) -> str:
    """Every key that is not as it should be, and who is left out: all that a plan counts, from one look at the sources.

    `op` is add, change, remove, `unknown`, `invalid` or `left_out`. Unknown is what was sent to a channel where each request has an
    effect, and may have had it: the same is not sent again. A key that several people have, or a row without a
    subject, is invalid: not sent, and what was acknowledged under that key stays as it is, but see `freed`. People who are left out are
    one row for each rule (`left_out`), those without a key one row for the empty word; `n` counts them: of a removal it is 1
    where the person is still to be told, and comes again in the next plan. `base` is the receipt that put the key there; `link` what the
    change builds on: that receipt, or the last attempt since, and for the same change again whatever that attempt built on.

    Args:
        members: SQL of the segment's members, from `members`.
        acknowledged: SQL of what the destination holds or may hold.
        outdated: SQL, of a row `a` of it: whether it went out under another decision.
        changed: what becomes of such rows.
        hashed: what stands for a key in what this gives (`h0`, `h1`).
    """
    tried = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in state.ATTEMPT.items())
    last = ", ".join(f"{'BOOL_OR' if kind == 'boolean' else 'MAX'}({name}) AS {name}" for name, kind in state.ATTEMPT.items())
    again = {"keep": "", "resend": "WHEN n = 1 AND outdated THEN 'change'", "remove": "WHEN n = 1 AND outdated THEN 'remove'"}[changed]
    return f"""
WITH both AS (
  SELECT CASE WHEN m.rule IS NULL THEN m.key END AS key,
    CASE WHEN m.key IS NULL OR m.rule IS NOT NULL THEN COALESCE(m.rule, '') END AS left_out,
    m.content AS want, 1 AS n, m.nobody, CAST(NULL AS BIGINT) AS have, CAST(NULL AS BIGINT) AS base, FALSE AS outdated,
    {tried}
  FROM ({members}) AS m
  UNION ALL
  SELECT a.key, CAST(NULL AS STRING), CAST(NULL AS BIGINT), 0, FALSE, a.content, a.seq, {outdated},
    {", ".join(f"a.{name}" for name in state.ATTEMPT)}
  FROM ({acknowledged}) AS a
), keys AS (
  SELECT key, left_out, MAX(want) AS want, SUM(n) AS n, BOOL_OR(nobody) AS nobody, MAX(have) AS have, MAX(base) AS base,
    BOOL_OR(outdated) AS outdated, {last}
  FROM both GROUP BY key, left_out
), named AS (
  SELECT key, left_out, want AS content, base, link, tried_op, tried, tried_base, n, have IS NOT NULL AS held, CASE
      WHEN left_out IS NOT NULL THEN 'left_out'
      WHEN n > 1 OR (n = 1 AND nobody) THEN 'invalid'
      WHEN n = 1 AND doubt = 'unknown' AND want = tried THEN 'unknown'
      WHEN n = 1 AND NOT COALESCE(acked, FALSE) THEN 'add'
      {again}
      WHEN n = 1 AND (want <> have OR doubt IS NOT NULL) THEN 'change'
      WHEN n = 0 AND have IS NOT NULL THEN 'remove' END AS op
  FROM keys
)
SELECT op, {hashed.listed("key", known="key IS NOT NULL")}{hashed.rest},
  left_out, content, base, {_link("content", "op = 'remove'")} AS link, n, held FROM named WHERE op IS NOT NULL"""


def joined(query: GovernedQuery, types: Mapping[str, str], acknowledged: str, outdated: str, changed: Changed) -> str:
    """What `changes` gives where nothing is in doubt, by one join: several times as fast where most keys are as they should be.

    Those are in one row more, of op `same`: `n` says how many pairs of a member and an acknowledged row there are. Each acknowledged key is
    in one pair at least; so the pairs of all rows are as many as the acknowledged rows, unless several people have one of their
    keys. Then what this gives does not count, for one of them may be as acknowledged and another not.

    Args:
        query: from governance.
        types: of its output.
        acknowledged: SQL of the acknowledged state.
        outdated: as in `changes`.
        changed: as in `changes`.
    """
    hashed = HashKey.of(query, types)
    kept = "FALSE" if changed == "keep" else outdated
    again = {"keep": "", "resend": "WHEN n = 1 AND outdated THEN 'change'", "remove": "WHEN n = 1 AND outdated THEN 'remove'"}[changed]
    member = quoted(query.keys[0]) if hashed.number else encoding.key(query, types)
    paired = ", ".join(f"COALESCE(w.{name}, h.{name}) AS {name}" for name in hashed.names)
    alike = " AND ".join(f"w.{name} = h.{name}" for name in hashed.names)
    other = ", ".join(f"CASE WHEN NOT same THEN {name} END AS {name}" for name in hashed.names)
    grouped = ", ".join(str(i + 1) for i in range(len(hashed.names) + 1))
    # What goes through the join is small: of a rule its number, and no flag that a hash says as well, which is never null.
    rules = list(enumerate(map(literal, query.rules), 1))
    numbered = " ".join(("CASE m.rule", *(f"WHEN {rule} THEN {i}" for i, rule in rules), "ELSE 0 END")) if rules else "0"
    named = " ".join(("CASE left_out", *(f"WHEN {i} THEN {rule}" for i, rule in rules), "WHEN 0 THEN '' END"))
    return f"""
WITH wanted AS (
  SELECT {hashed.listed("m.key", known="m.rule IS NULL AND m.key IS NOT NULL")},
    CAST(CASE WHEN m.rule IS NOT NULL THEN {numbered} WHEN m.key IS NULL THEN 0 END AS SMALLINT) AS left_out, m.content AS want, m.nobody
  FROM ({_members(query, types, member)}) AS m
), there AS (
  SELECT {hashed.listed("a.key")}, a.content AS have, a.seq AS base, {kept} AS outdated
  FROM ({acknowledged}) AS a WHERE CASE WHEN a.content IS NULL THEN {hashed.fits("a.key")} ELSE TRUE END
), pairs AS (
  SELECT {paired}, w.left_out, w.want, w.nobody, CASE WHEN w.want IS NULL THEN 0 ELSE 1 END AS n,
    h.have, h.base, h.outdated, COALESCE(w.want = h.have AND NOT w.nobody AND NOT h.outdated, FALSE) AS same
  FROM wanted AS w FULL OUTER JOIN there AS h ON {alike}
), keys AS (
  SELECT {other}, left_out, MAX(want) AS want, SUM(n) AS n, BOOL_OR(nobody) AS nobody, MAX(have) AS have,
    MAX(base) AS base, BOOL_OR(outdated) AS outdated
  FROM pairs WHERE n = 1 OR have IS NOT NULL GROUP BY {grouped}
), named AS (
  SELECT {", ".join(hashed.names)}{hashed.rest}, {named} AS left_out, want AS content, base, base AS link, n,
    have IS NOT NULL AS held, CASE
      WHEN left_out IS NOT NULL THEN 'left_out'
      WHEN h0 IS NULL THEN 'same'
      WHEN n > 1 OR (n = 1 AND nobody) THEN 'invalid'
      WHEN n = 1 AND have IS NULL THEN 'add'
      {again}
      WHEN n = 1 THEN 'change'
      ELSE 'remove' END AS op
  FROM keys
)
SELECT op, h0, h1, left_out, content, base, link, n, held FROM named"""


def _link(want: str, removed: str) -> str:
    """SQL of what a change builds on: on the last attempt, or, where it is that once more, on whatever that built on."""
    return f"CASE WHEN {state.once_more(want, removed)} THEN tried_base ELSE COALESCE(link, base) END"


def asks_segment(which: Removals | None) -> bool:
    """Whether the plan of a query depends on who is in the segment; see `Removals`."""
    return which in (None, "left")


def removals(query: GovernedQuery, which: Removals, acknowledged: str, hashed: HashKey) -> str:
    """The keys to take off without looking at the segment: of everyone, or of whom a rule keeps out. Columns as in `changes`."""
    nothing = "CAST(NULL AS STRING) AS left_out, CAST(NULL AS BIGINT) AS content"
    taken = f"SELECT a.*, a.seq AS base FROM ({acknowledged}) AS a"
    link = _link("content", "TRUE")
    keys = f"{hashed.listed('a.key')}{hashed.rest}"
    listed = f"SELECT 'remove' AS op, {keys}, {nothing}, a.base, {link} AS link, 0 AS n, TRUE AS held FROM ({taken}) AS a"
    if which == "kept_out":
        listed += f" LEFT SEMI JOIN ({kept_out(query)}) AS k ON a.subject = k.subject"
    return f"{listed} WHERE a.content IS NOT NULL"


def freed(query: GovernedQuery, changes_table: str, acknowledged: str, hashed: HashKey) -> str:
    """SQL of the keys to take off although several people have them: who was told about under one is kept out now. Columns as in `changes`.

    The key's other row says how many people have it, and that it is held.
    """
    same = " AND ".join(f"r.{name} = d.{name}" for name in hashed.names)
    shown = "r.op, r.h0, r.h1, r.left_out, r.content, r.base, r.link, r.n, FALSE AS held"
    return (
        f"SELECT {shown} FROM ({removals(query, 'kept_out', acknowledged, hashed)}) AS r "
        f"LEFT SEMI JOIN (SELECT * FROM {changes_table} WHERE op = 'invalid' AND held) AS d ON {same}"
    )


def sent(mode: str, which: Removals | None) -> tuple[str, ...]:
    """The ops that leave: those of the mode, of a plan that only removes no other than removals."""
    return tuple(op for op in MODES[mode] if which is None or op == "remove")


def taken_off(changes_table: str, acknowledged: str, hashed: HashKey, *, sure: bool) -> str:
    """SQL of the keys to take off and whose they are: the columns of `changes`, `key` and `subject`.

    Args:
        changes_table: what `changes` gave.
        acknowledged: SQL of the acknowledged state, or of what may be held besides.
        hashed: what stands for a key.
        sure: nothing is in doubt, so that each row has a receipt's number, which is found faster than its key; an open intent
            has that of its block.
    """
    same = "a.seq = d.base" if sure else hashed.matches("a.key", "d")
    return f"SELECT d.*, a.key, a.subject FROM {changes_table} AS d JOIN ({acknowledged}) AS a ON {same} WHERE d.op = 'remove'"


def rows(
    query: GovernedQuery,
    shape: Shape,
    types: Mapping[str, str],
    changes_table: str,
    removed: str,
    parts: Mapping[str, int],
    *,
    few: bool = False,
) -> str:
    """The rows that will leave, in numbered chunks: removals first, then additions and changes, each in key order.

    Args:
        query: the governed query.
        shape: its stored columns.
        types: the types of its output.
        changes_table: what `changes` gave.
        removed: SQL of its removals, from `taken_off`.
        parts: the ops that are sent, each with the number of chunks of its kind.
        few: it pays to ask the query about those people only, where their keys say who they are.
    """
    upserts = [op for op in ("add", "change") if op in parts]
    outputs = ", ".join(f"g.{quoted(name)} AS {stored}" for stored, name in shape.names.items())
    hashed = HashKey.of(query, types)
    key = quoted(query.keys[0]) if hashed.number else encoding.key(query, types)
    people = _subjects(query, hashed, changes_table, upserts) if few else None
    select = people.narrowed(query.select, query) if people else query.select
    named = f"g.{quoted(SUBJECT)} AS subject, g.{quoted(RULE)} AS rule, {key} AS key, {hashed.values(key)[0]} AS h0"
    wide = f"SELECT {named}, {outputs} FROM ({select.sql('spark')}) AS g"
    # Texts and hashes of those rows only that the join finds: of two that are compared by `=` an engine would hash every row to join by it.
    content = encoding.content(query, types, {name: exp.column(stored, "w") for stored, name in shape.names.items()}).sql("spark")
    same = f"({content} ^ d.content) = 0 AND {hashed.surely('w.key', 'd')}"
    order = hashed.order("d")
    sources = []
    if "remove" in parts:
        nothing = ", ".join(f"CAST(NULL AS {kind})" for kind in shape.kinds.values())
        sources.append(
            f"SELECT {_chunk(order, parts['remove'], 0)} AS _chunk, {_place(order)} AS _place, "
            f"d.op AS _op, d.key AS _key, d.subject AS _subject, "
            f"CAST(NULL AS BIGINT) AS _content, d.link AS _base, {nothing} FROM ({removed}) AS d"
        )
    if upserts:
        listed = ", ".join(f"'{op}'" for op in upserts)
        sources.append(
            f"SELECT {_chunk(order, parts[upserts[0]], parts.get('remove', 0))} AS _chunk, {_place(order)} AS _place, "
            f"d.op AS _op, CAST(w.key AS STRING) AS _key, "
            f"CAST(w.subject AS STRING) AS _subject, d.content AS _content, d.link AS _base, {', '.join(f'w.{c}' for c in shape.names)} "
            f"FROM {changes_table} AS d JOIN ({wide}) AS w ON w.h0 = d.h0 "
            f"WHERE d.op IN ({listed}) AND w.rule IS NULL AND {same}"
        )
    named = ", ".join(shape.stored)
    bodies = " UNION ALL ".join(f"SELECT * FROM ({source}) AS r{i} ({named})" for i, source in enumerate(sources))
    return f"SELECT {named} FROM ({bodies}) AS p"


def _subjects(query: GovernedQuery, hashed: HashKey, changes_table: str, ops: Sequence[str]) -> People | None:
    """Who is added or changed, where the key of a row at the channel, or what stands behind its pseudonym, is the person's."""
    values = {each.alias_or_name: each.unalias() for each in query.select.expressions}
    if len(query.keys) != 1 or values.get(query.keys[0]) != values.get(SUBJECT):
        return None
    key: exp.Expr = sql.column("d", "h0")
    of = sql.one_of(sql.column("d", "op"), [sql.string(op) for op in ops])
    if hashed.number:
        return People(exp.select(sql.alias(exp.Cast(this=key, to=sql.TEXT), "key")).from_(sql.table(changes_table, "d")).where(of))
    ends = "".join(encoding.version_text(mask) for mask in query.wire_masks if mask.column in query.keys)
    return People(exp.select(sql.alias(key, "key")).from_(sql.table(changes_table, "d")).where(of), hashed=ends)


def _place(order: str) -> str:
    """By which the rows of a plan are in order, and after it by their keys."""
    return f"CAST({order} AS INT)"


def _chunk(order: str, parts: int, offset: int) -> str:
    """A chunk is a range of key order, so its number follows from the key and chunks need no sort to be in order."""
    return f"CAST({offset} + ({order} * {parts}) DIV 2147483648 AS INT)"
