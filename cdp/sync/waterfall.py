"""A run's waterfall: from the size of the segment to the rows that were delivered, each step with how many and why.

Everything comes from the record: what the plan counted, what the run did, what the receipts say. A level is a number that is on record
by itself; the steps between two levels add up to their difference, and where they should not, `unaccounted` says by how much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cdp.sync.plan import TAKEN_OFF

Kind = Literal["level", "less", "more"]
CHANGES = ("add", "change")
_WHY = {  # the counts of a plan, and what a run did with its rows; a count that is not named here speaks for itself
    "invalid": "no key, nobody's, or a key that several people have",
    "skipped": "the mode of the sync leaves this difference alone",
    "held_back": "a later plan sends it",
    "unknown": "the channel may have it already; it was never sure",
    "waiting": "rejected before, and the time to try again has not come",
    "given_up": "rejected too often, or for good, until it changes",
    "carried_over": "over the destination's cap of the day",
    "dropped": "a quality expectation of the sync fails for it",
    "unchanged": "the destination has it already, as it should be",
    "no_room": "other runs had used up the destination's cap of the day",
    "withheld": "may not be told any more since the plan was made",
    "over_cap": "other runs have used up the destination's cap of the day since the plan was made",
    "rejected": "the channel refused it",
    "unanswered": "the channel may or may not have it: no answer came",
    "retryable": "the next run sends it",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One line.

    Attributes:
        name: stable: `segment`, `rule:deceased`, `invalid`, `to_tell`, `removals`, `planned`, `rejected`, `delivered`.
        kind: a number that holds (`level`), or by how many it becomes less or more.
        count: how many; never negative.
        why: in words.
        parts: what it is made of, each with its number: ops of a level, reasons of what the channel said.
    """

    name: str
    kind: Kind
    count: int
    why: str = ""
    parts: tuple[tuple[str, int], ...] = ()

    @property
    def change(self) -> int:
        """By how much it changes what is left; 0 for a level."""
        return {"level": 0, "less": -self.count, "more": self.count}[self.kind]

    @property
    def title(self) -> str:
        """Its name as people read it."""
        kind, _, rule = self.name.partition(":")
        return f"left out: {rule}" if kind == "rule" else _TITLES.get(self.name, self.name.replace("_", " "))

    def as_json(self) -> dict[str, Any]:
        """The step as a JSON object with stable keys."""
        parts = [{"part": part, "count": count} for part, count in self.parts]
        return {"step": self.name, "title": self.title, "kind": self.kind, "count": self.count, "why": self.why, "parts": parts}


_LOST = {"rejected": "rejected", "unknown": "unanswered", "retryable": "retryable"}  # what became of rows, as a step
_TITLES = {
    "segment": "in the segment",
    "to_tell": "to be told",
    "removals": "to be taken off",
    "removals_waiting": "removals that wait",
    "over_cap": "carried over",
    "unanswered": "unknown",
    "retryable": "left for the next run",
}


def waterfall(run: Mapping[str, Any], why: Mapping[str, str] | None = None) -> tuple[Step, ...]:
    """The steps of a run; none where its plan is not on record, or nothing had changed, so that nothing was planned.

    Args:
        run: from `history.run_detail`.
        why: what each eligibility rule says of itself.
    """
    if run["counts"] is None or run["unchanged_since"]:
        return ()
    return (*_told(run, why or {}), *_removed(run["counts"]), *_sent(run))


def _told(run: Mapping[str, Any], why: Mapping[str, str]) -> Iterator[Step]:
    """From the segment to who is to be told something, where the plan asked the segment."""
    counts: Mapping[str, int] = run["counts"]
    tell = sum(counts[op] for op in CHANGES)
    if not (run["size"] or tell):
        return
    yield Step("segment", "level", run["size"], "everybody whom the segment means")
    first = "the first rule that keeps them out"
    steps = [Step(f"rule:{each['rule']}", "less", each["count"], why.get(each["rule"], first)) for each in run["excluded"]]
    others = [name for name in counts if name not in (*CHANGES, *TAKEN_OFF, "unchanged")]
    steps += [Step(name, "less", counts[name], _WHY.get(name, "")) for name in (*others, "unchanged")]
    kept = [step for step in steps if step.count]
    yield from kept
    yield from _unaccounted(run["size"], kept, tell)
    yield Step("to_tell", "level", tell, "new to the destination, or with changed values", _parts(counts, CHANGES))


def _removed(counts: Mapping[str, int]) -> Iterator[Step]:
    """Who must no longer be there."""
    waiting = counts.get("removals_waiting", 0)
    if due := counts["remove"] + waiting:
        yield Step("removals", "more", due, "the destination has them, and should not any more")
    if waiting:
        yield Step("removals_waiting", "less", waiting, "the channel refused their removal, and is asked again later")


def _sent(run: Mapping[str, Any]) -> Iterator[Step]:
    """From the rows of the plan to those that the channel took."""
    counts: Mapping[str, int] = run["counts"]
    planned = sum(counts[op] for op in (*CHANGES, "remove"))
    yield Step("planned", "level", planned, "rows of the plan", _parts(counts, (*CHANGES, "remove")))
    answers = _answers(run)
    lost = {
        "withheld": run["withheld"],
        "over_cap": run["carried_over"] or 0,
        **{_LOST[name]: count for name, count in answers.items() if name in _LOST},
    }
    steps = [Step(name, "less", count, _WHY[name], _reasons(run["receipts"], name, count)) for name, count in lost.items() if count]
    yield from steps
    yield from _unaccounted(planned, steps, answers["delivered"])
    ops = {op: _sum(run["receipts"], "delivered", op) for op in (*CHANGES, "remove")}
    yield Step("delivered", "level", answers["delivered"], "rows that the channel took", _parts(ops, tuple(ops)))


def _answers(run: Mapping[str, Any]) -> dict[str, int]:
    """What became of the rows. Of a run that has no end (it goes on, or was killed) the receipts know, as far as they go."""
    names = ("delivered", "rejected", "unknown", "retryable")
    if run["status"] != "running":
        return {name: run[name] for name in names}
    found = {name: _sum(run["receipts"], name) for name in names[:3]}
    return {**found, "retryable": run["planned"] - run["withheld"] - (run["carried_over"] or 0) - sum(found.values())}


def _reasons(receipts: Sequence[Mapping[str, Any]], name: str, count: int) -> tuple[tuple[str, int], ...]:
    """Why, by the channel's words, the most frequent first; of rows without a receipt: `not sent`."""
    status = "unknown" if name == "unanswered" else name
    found: dict[str, int] = {}
    for each in receipts:
        if each["status"] == status:
            code = each["code"] or "no reason given"
            found[code] = found.get(code, 0) + each["count"]
    rest = {"not sent": count - sum(found.values())} if name == "retryable" else {}
    return tuple((code, rows) for code, rows in sorted((found | rest).items(), key=lambda item: -item[1]) if rows > 0)


def _unaccounted(start: int, steps: Sequence[Step], end: int) -> Iterator[Step]:
    """What is missing between two levels: nothing, or the record is not whole."""
    if rest := start + sum(step.change for step in steps) - end:
        yield Step("unaccounted", "less" if rest > 0 else "more", abs(rest), "the record does not say")


def _parts(counts: Mapping[str, int], names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    return tuple((name, counts[name]) for name in names if counts[name])


def _sum(receipts: Sequence[Mapping[str, Any]], status: str, op: str | None = None) -> int:
    return sum(each["count"] for each in receipts if each["status"] == status and op in (None, each["op"]))
