"""How the outcomes of syncs are shown: plans, runs, and why something did not go."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

from cdp.cli.boundary import Fault
from cdp.cli.outcome import COUNTS, PUT_OFF, Outcome
from cdp.cli.output import Output, local

_NAMED = 3  # syncs that a note names of those that it is about
_SELDOM = ("skipped", "held_back", *PUT_OFF)  # counts that are shown where there are some
_TAKEN_OFF = {
    "left": "whoever should no longer be there",
    "kept_out": "whom a rule keeps out; who else should not be there is not asked, for leaving the segment would tell of it",
    "everyone": "all that the destination holds",
}
OUTDATED = {  # `when_changed` of a purpose
    "keep": "those that nothing else changes stay as they are (when_changed: keep)",
    "resend": "they are sent again, where the mode changes rows (when_changed: resend)",
    "remove": "they are removed, where the mode does, and added anew by the next plan (when_changed: remove)",
}


def show_plan(out: Output, outcome: Outcome) -> None:
    """A plan, or why there is none."""
    from cdp.sync.guards import Violation, advice

    if outcome.fault:
        outcome.fault.say()
    facts = outcome.facts
    if facts["plan"] is None:
        return None
    out.text(f"plan {facts['plan']}: {facts['sync']} to {facts['destination']}, as of {local(facts['as_of'])}")
    if facts["removals_only"]:
        out.text(f"it only removes: {_TAKEN_OFF[facts['removals']]}")
    counts = [(name.replace("_", " "), count) for name, count in facts["counts"].items() if count or name not in _SELDOM]
    left_out = [(f"left out: {entry['rule']}", entry["count"]) for entry in facts["excluded"]]
    asked = [*left_out, ("in the segment", facts["size"])] if facts["removals"] in (None, "left") else []
    out.table(("", "people"), [*counts, *asked])
    show_withheld(out, facts["withheld_rows"])
    if outdated := facts["outdated"]:
        out.text(f"{outdated:,} rows went out under an older decision: {OUTDATED[facts['when_changed']]}")
    show_quality(out, facts["quality"])
    for guard in facts["guards"]:
        said = "" if guard in facts["stopped_by"] else " (accepted)"
        out.text(f"breaks the guard {Violation(**guard)}{said}")
    changes = sum(facts["counts"][op] for op in ("add", "change", "remove"))
    if stopping := [Violation(**guard) for guard in facts["stopped_by"]]:
        return out.text(f"so it cannot be applied: {advice(stopping)}")
    if changes and facts["needs_approval"]:
        out.text(f"it needs an approval ({', '.join(facts['needs_approval'])}) of {facts['approvers']}")
        out.text(f"approve it: cdp approve {facts['plan']}")
    return out.text(f"deliver it: cdp apply {facts['plan']}" if changes else "nothing to deliver")


def show_quality(out: Output, results: Sequence[Mapping[str, Any]] | None) -> None:
    """What came of a sync's expectations: counts, and no value of a row."""
    if results:
        out.text("\nwhat the sync expects of the rows that are added or changed")
        shown = ("expectation", "columns", "evaluated", "failed", "verdict")
        rows = [[", ".join(each[name]) if name == "columns" else each[name] for name in shown] for each in results]
        out.table(("expectation", "of", "rows", "fail", "verdict"), rows)


def took(run: Mapping[str, Any]) -> str:
    """How long a run went on; empty for one without an end."""
    if run["status"] == "running":
        return ""
    seconds = (dt.datetime.fromisoformat(run["at"]) - dt.datetime.fromisoformat(run["started"])).total_seconds()
    return f"{seconds:.1f} s" if seconds < 100 else f"{int(seconds) // 60}:{int(seconds) % 60:02} min"


def show_withheld(out: Output, rows: Sequence[Mapping[str, Any]] | None) -> None:
    """The special rows that a sync did not read."""
    if rows:
        out.text("\nnot read, because the receiver may not know of them (governance/rows.yml)")
        out.table(("class", "table", "rows"), [[each["class"], each["table"], each["rows"]] for each in rows])


def show_runs(out: Output, outcomes: Sequence[Outcome]) -> None:
    """What came of syncs.

    Raises:
        typer.Exit: with 1, when a person or the next run must see to something.
    """
    if out.as_json:
        out.json([outcome.as_json() for outcome in outcomes])
    else:
        counts = [name for name in COUNTS if name == "delivered" or any(outcome.facts[name] for outcome in outcomes)]
        columns = ("sync", "status", *counts, "run")
        out.table(columns, [[outcome.facts[column] for column in columns] for outcome in outcomes])
        if len(outcomes) > 1:
            out.text(f"\n{_together(outcomes)}")
        _show_faults(outcomes)
        _show_rest(out, outcomes)
        for outcome in outcomes:
            _show_profile(out, outcome.facts)
    if any(outcome.undone for outcome in outcomes):
        raise typer.Exit(1)


def _together(outcomes: Sequence[Outcome]) -> str:
    """Several syncs in one line: how they ended, and what became of their rows."""
    ended = Counter(outcome.facts["status"] for outcome in outcomes)
    sums = {name: sum(outcome.facts[name] for outcome in outcomes) for name in COUNTS}
    said = ", ".join(f"{count:,} {name}" for name, count in sums.items() if count or name == "delivered")
    return f"{len(outcomes)} syncs: {', '.join(f'{count} {status}' for status, count in ended.most_common())}; rows: {said}"


def _show_faults(outcomes: Sequence[Outcome]) -> None:
    """Each fault once, with the syncs that it ended where there are several."""
    ended: dict[str, tuple[Fault, list[str]]] = {}
    for outcome in outcomes:
        if outcome.fault:
            ended.setdefault(outcome.fault.text, (outcome.fault, []))[1].append(outcome.facts["sync"])
    for fault, syncs in ended.values():
        fault.say(syncs if len(outcomes) > 1 else ())


def _show_profile(out: Output, facts: Mapping[str, Any]) -> None:
    """Where the time of a sync went, if somebody asked."""
    if "profile" in facts:
        out.text(f"\nwhere the time of {facts['sync']} went (of steps side by side the sum)")
        rows = [
            [each["phase"] if not each["step"] else "", each["step"], each["times"], round(each["seconds"] * 1000)]
            for each in facts["profile"]
        ]
        out.table(("phase", "step", "times", "ms"), rows)


def _show_rest(out: Output, outcomes: Sequence[Outcome]) -> None:
    """What else is worth a line, each said once with the syncs that it is about: of thirty syncs nobody would find the one that matters."""
    about: dict[str, list[str]] = {}
    for outcome in outcomes:
        for text in _rest(outcome.facts, alone=len(outcomes) == 1):
            about.setdefault(text, []).append(outcome.facts["sync"])
    for text, syncs in about.items():
        more = f" and {len(syncs) - _NAMED} more" if len(syncs) > _NAMED else ""
        out.note(f"{', '.join(syncs[:_NAMED])}{more}: {text}")


def _rest(facts: Mapping[str, Any], *, alone: bool) -> Iterator[str]:
    """What went of a sync that is refused, what a channel did not take, and where its answers stand."""
    if facts["status"] == "refused" and facts["delivered"]:
        yield f"is refused; {facts['delivered']:,} removals went all the same: cdp runs {facts['run']}"
    if earlier := facts.get("earlier_runs"):
        yield f"its rows went in {len(earlier) + 1} runs; before this one: {', '.join(f'cdp runs {run}' for run in earlier)}"
    hidden: Counter[str] = Counter()
    for each in facts["withheld_rows"]:
        hidden[each["class"]] += each["rows"]
    if unread := [f"{rows:,} of {cls}" for cls, rows in hidden.items() if rows]:
        yield f"rows that the receiver may not know of were not read: {', '.join(unread)}"
    if since := facts.get("unchanged_since"):
        yield f"nothing changed since {f'run {since}' if alone else 'the last run'}; plan all the same: --no-skip"
    if put_off := facts["put_off"]:
        yield f"not sent now: {'; '.join(f'{count:,} {PUT_OFF[why]}' for why, count in put_off.items())}"
    left = {"rejected by the channel": facts["rejected"], "left for the next run": facts["retryable"]}
    if said := [f"{count:,} {what}" for what, count in left.items() if count]:
        yield f"{', '.join(said)}; what it answered: cdp runs {facts['run']}"
