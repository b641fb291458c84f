"""Is the disclosure ledger as it was written? Every block is computed again, and held against the next and the heads.

Without a head that was kept elsewhere a change, a removal and an insertion are found, unless whoever made it rewrote every block
after it; and blocks cut off at the end are missed. With one, everything up to the head is as it was, or it is found.

Blocks come in pages and their lines in windows, so that memory does not grow with the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cdp.engine.base import literal
from cdp.engine.files import typed
from cdp.sync.ledger import Control, chain
from cdp.sync.ledger.heads import Head

if TYPE_CHECKING:
    import pyarrow as pa

PAGE = 5_000  # blocks a query
WINDOW = 1_000_000  # lines a query

Block = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bad:
    """The first place of a sync's ledger that is not as it was written."""

    sync: str
    block: int | None
    run: str | None
    at: str | None
    what: str

    def as_json(self) -> dict[str, Any]:
        """The place as a JSON object with stable keys."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of one sync.

    Attributes:
        heads: its ends: one, unless a run wrote beside another and no later run has named both.
        against: the block of the head that it was held against; None without one.
        bad: the first bad place; None where all is well.
    """

    sync: str
    blocks: int
    lines: int
    heads: tuple[Head, ...]
    against: int | None
    bad: Bad | None

    def as_json(self) -> dict[str, Any]:
        """The finding as a JSON object with stable keys."""
        counts = {"sync": self.sync, "blocks": self.blocks, "lines": self.lines, "against": self.against}
        return {**counts, "heads": [head.as_json() for head in self.heads], "bad": self.bad.as_json() if self.bad else None}


def verify(control: Control, heads: Sequence[Head] = ()) -> Iterator[Checked]:
    """Check the ledger, sync by sync.

    Args:
        control: the control tables.
        heads: what was exported earlier and kept elsewhere.
    """
    table = control.table(chain.TABLE)
    found = control.engine.query(f"SELECT DISTINCT sync FROM {table}", what=table).column("sync").to_pylist()
    kept: dict[str, list[Head]] = {}
    for head in heads:
        kept.setdefault(head.sync, []).append(head)
    for sync in sorted({*found, *kept}, key=lambda name: name or ""):
        yield _Verifier(control, sync, kept.get(sync, [])).run()


class _Broken(Exception):
    """Ends the check of a sync at its first bad place."""

    def __init__(self, what: str, block: Block | None = None, number: int | None = None) -> None:
        super().__init__(what)
        self.what, self.block, self.number = what, block, number


@dataclass(slots=True)
class _Level:
    """The blocks of one number: one, or two of runs that wrote beside each other."""

    number: int = 0
    blocks: list[Block] = field(default_factory=list)


class _Verifier:
    """One sync's chain, from its first block on."""

    def __init__(self, control: Control, sync: str | None, heads: Sequence[Head]) -> None:
        self.control, self.sync, self.kept = control, sync, list(heads)
        self.engine, self.table = control.engine, control.table(chain.TABLE)
        self.types = control.types(chain.TABLE)
        self.blocks = self.lines = 0
        self.ends: dict[str, Block] = {}  # blocks that no later one has named yet
        self.before: dict[str, Block] = {}  # those of the number before
        self.level = _Level()

    def run(self) -> Checked:
        """Check it all, or up to the first bad place."""
        bad = None
        try:
            self._check()
        except _Broken as broken:
            block = broken.block or {}
            at = block["at"].isoformat() if block.get("at") else None
            bad = Bad(self.sync or "", broken.number or block.get("block"), block.get("run"), at, broken.what)
        against = max((head.block for head in self.kept), default=None)
        heads = tuple(Head.of(block) for block in self.ends.values()) if bad is None else ()
        return Checked(self.sync or "", self.blocks, self.lines, heads, against, bad)

    def _check(self) -> None:
        if self.sync is None:
            raise _Broken("rows name no sync")
        last = self._value("MAX(block)", f"kind = '{chain.BLOCK}'") or 0
        for start in range(1, last + 1, PAGE):
            self._page(start, min(start + PAGE - 1, last))
        self._end_level()
        if self.kept:
            self._under_heads(None)
        # COALESCE: a null is outside too.
        inside = f"kind IN ('{chain.LINE}', '{chain.BLOCK}') AND block BETWEEN 1 AND {last}"
        outside = f"NOT COALESCE({inside}, FALSE)"
        if count := self._value("COUNT(*)", outside):
            number = self._value("MIN(block)", f"{outside} AND block > {last}")
            raise _Broken(f"{count} row{'s' if count > 1 else ''} of no block", number=number or None)

    # -- a page of blocks ---------------------------------------------------------------------------------------------

    def _page(self, first: int, last: int) -> None:
        """Blocks in their order, then the lines of those that are well so far: what comes first is told first."""
        blocks = self._blocks(first, last)
        counts = self._counts(first, last)
        broken: _Broken | None = None
        well: list[Block] = []
        try:
            for number in range(first, last + 1):
                found = blocks.get(number, [])
                self._number(number, found)
                for block in found:
                    self._block(block)
                    self._counted(block, counts)
                    well.append(block)
                self._unclaimed(number, counts)
        except _Broken as error:
            broken = error
        for window in _windows(well):
            self._roots(window)
        if broken:
            raise broken
        self.blocks += len(well)
        self.lines += sum(block["lines"] for block in well)

    def _blocks(self, first: int, last: int) -> dict[int, list[Block]]:
        found_hash = chain.block_hash(self.types, of="b")
        statement = f"SELECT b.*, {found_hash} AS found FROM ({self._rows(chain.BLOCK, first, last)}) AS b ORDER BY block, hash"
        found: dict[int, list[Block]] = {}
        for block in self.engine.query(statement, what=self.table).to_pylist():
            found.setdefault(block["block"], []).append(block)
        return found

    def _counts(self, first: int, last: int) -> dict[tuple[int, str, int], int]:
        """How many lines there are of each block, run and chunk."""
        statement = f"SELECT block, run, chunk, COUNT(*) AS n FROM ({self._rows(chain.LINE, first, last)}) AS l GROUP BY block, run, chunk"
        rows = self.engine.query(statement, what=self.table).to_pylist()
        return {(row["block"], row["run"], row["chunk"]): row["n"] for row in rows}

    def _roots(self, blocks: Sequence[Block]) -> None:
        """Compute the roots of a window of blocks whose counts are right."""
        rows = self._rows(chain.LINE, blocks[0]["block"], blocks[-1]["block"])
        shared, own = self._shared(rows), self._own(rows)
        for block in blocks:
            place = _place(block)
            # Lines that differ in what all share have several; a block as it was written has one.
            roots = {chain.root(block["salt"] or "", each, own[place], self.types) for each in shared.get(place, ())}
            if roots != {block["root"]}:
                raise _Broken("its lines are not those that were written", block)

    def _shared(self, rows: str) -> dict[tuple[int, str, int], list[str]]:
        """By block, run and chunk, of lines (SQL): the hash of the fields that all lines of a block share."""
        names = [name for name in self.types if name not in chain.OWN]
        found: dict[tuple[int, str, int], list[str]] = {}
        for line in self.engine.query(f"SELECT DISTINCT {', '.join(names)} FROM ({rows}) AS l", what=self.table).to_pylist():
            found.setdefault(_place(line), []).append(chain.common(tuple(self.types), line))
        return found

    def _own(self, rows: str) -> dict[tuple[int, str, int], pa.Table]:
        """By block, run and chunk, of lines (SQL): what they differ in, by number."""
        kinds = {name: kind for name, kind in self.types.items() if name in (*_PLACE, *chain.OWN)}
        lines = typed(self.engine.query(f"SELECT {', '.join(kinds)} FROM ({rows}) AS l", what=self.table), kinds)
        lines = lines.sort_by([(name, "ascending") for name in (*_PLACE, "number")]).combine_chunks()
        groups = lines.group_by(list(_PLACE)).aggregate([([], "count_all")]).to_pylist()  # in any order
        found, start = {}, 0
        for group in sorted(groups, key=lambda group: [(group[name] is None, group[name]) for name in _PLACE]):  # nulls are sorted last
            found[_place(group)] = lines.slice(start, group["count_all"])
            start += group["count_all"]
        return found

    # -- one block ----------------------------------------------------------------------------------------------------

    def _number(self, number: int, found: Sequence[Block]) -> None:
        """Begin the blocks of a number."""
        self._end_level()
        if not found:
            raise _Broken("the block is gone", number=number)
        if len({_place(block) for block in found}) < len(found):
            raise _Broken("the block is there twice", found[-1])
        self.level = _Level(number, list(found))

    def _block(self, block: Block) -> None:
        if block["found"] != block["hash"]:
            raise _Broken("the block itself was changed", block)
        named = (block["previous"] or "").split()
        known = self.ends | self.before
        if (not named and block["block"] != 1) or any(name not in known for name in named):
            raise _Broken("it names a block before it that is not there: one was changed, taken away or put in", block)
        if named and max(known[name]["block"] for name in named) != block["block"] - 1:
            raise _Broken("its number is not the next one", block)

    def _counted(self, block: Block, counts: dict[tuple[int, str, int], int]) -> None:
        there = counts.pop(_place(block), 0)
        if there != block["lines"]:
            raise _Broken(f"it has {there} lines; {block['lines']} were written", block)

    def _unclaimed(self, number: int, counts: Mapping[tuple[int, str, int], int]) -> None:
        extra = {place: n for place, n in counts.items() if place[0] == number}
        if extra:
            (_, run, _), n = next(iter(extra.items()))
            raise _Broken(f"{n} line{'s' if n > 1 else ''} of run {run} that no block is over", self.level.blocks[0])

    def _end_level(self) -> None:
        """All blocks of a number are known: those that they name are ends no more."""
        level = self.level
        if len(level.blocks) > 1:
            self._beside(level.blocks)
        for block in level.blocks:
            for name in (block["previous"] or "").split():
                self.ends.pop(name, None)
        self.before = {block["hash"]: block for block in level.blocks}
        self.ends |= self.before
        if level.number:
            self._under_heads(level.number)

    def _beside(self, blocks: Sequence[Block]) -> None:
        """Two blocks of a number are well only where one's run lost its lease, and so has no end on record, or failed."""
        runs = self.control.table("runs")
        named = ", ".join(literal(block["run"]) for block in blocks)
        ended = f"SELECT run, MAX_BY(status, n) AS status FROM {runs} WHERE sync = {literal(self.sync)} AND run IN ({named}) GROUP BY run"
        status = {row["run"]: row["status"] for row in self.engine.query(ended, what=runs).to_pylist()}
        whole = [block for block in blocks if status.get(block["run"]) not in ("running", "failed", "killed")]
        if len(whole) > 1 or len(status) < len(blocks):
            raise _Broken("it stands beside another block, and its run never lost the sync to another", blocks[-1])

    def _under_heads(self, number: int | None) -> None:
        """At the number of a head: it is there, and nothing stands beside it. `None`: after the last block."""
        due = [head for head in self.kept if number is None or head.block == number]
        if not due:
            return
        top = max((block["block"] for block in self.ends.values()), default=0)
        for head in due:
            if head.block > top:
                raise _Broken(f"the ledger ends at block {top}; the head is of block {head.block}: the end was cut off", number=top or None)
            if number is not None and head.hash not in self.before:
                raise _Broken("the head is of another block of this number: the ledger was rewritten", self.level.blocks[0])
        # Of several heads of one export the highest knows all ends.
        if number is not None and number == max(head.block for head in self.kept):
            known = {head.hash for head in self.kept}
            if strangers := [block for name, block in self.ends.items() if name not in known]:
                raise _Broken("it was put in after the head was made, before the head's place", strangers[0])

    # -- reading ------------------------------------------------------------------------------------------------------

    def _rows(self, kind: str, first: int, last: int) -> str:
        where = f"sync = {literal(self.sync)} AND kind = '{kind}' AND block BETWEEN {first} AND {last}"
        return f"SELECT * FROM {self.table} WHERE {where}"

    def _value(self, what: str, where: str) -> int:
        found: int = self.engine.value(f"SELECT {what} FROM {self.table} WHERE sync = {literal(self.sync)} AND {where}", what=self.table)
        return found


_PLACE = ("block", "run", "chunk")


def _place(block: Block) -> tuple[int, str, int]:
    return block["block"], block["run"], block["chunk"]


def _windows(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Blocks of so many lines at a time; no number is parted."""
    window: list[Block] = []
    lines = 0
    for block in blocks:
        if window and lines + block["lines"] > WINDOW and window[-1]["block"] != block["block"]:
            yield window
            window, lines = [], 0
        window.append(block)
        lines += block["lines"]
    if window:
        yield window
