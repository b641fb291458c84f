"""Runs as one page of HTML, with no script and nothing from outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from cdp.catalog.document import document
from cdp.catalog.html import Html, Part, listed, tag
from cdp.catalog.pieces import facts, folded, table
from cdp.catalog.run_report import Number, RunReport, Said, Step, Stretch

BAD: Final = frozenset({"failed", "stopped", "killed", "refused", "awaiting approval"})
WIDTH, HEIGHT, LEFT, BOTTOM = 720, 150, 46, 22  # of the picture of throughput
_SIGNS = {"level": "", "less": "-", "more": "+"}


def page(report: RunReport) -> str:
    """The report as a whole page."""
    title = report.runs[0].sync if len(report.runs) == 1 else f"{len(report.runs)} syncs"
    top = tag("header", tag("h1", tag("a", f"{report.project}: {title}", href="#main")))
    contents = tag("nav", tag("ul", [tag("li", tag("a", run.sync, href=f"#{run.sync}")) for run in report.runs]), aria_label="Contents")
    body = tag("main", _overview(report), [_run(run) for run in report.runs], id="main")
    return document(f"{report.project}: {title}", top, tag("div", contents, body, class_="columns"))


def _overview(report: RunReport) -> Html:
    shown = "as they are" if report.small <= 1 else f"below {report.small} people not shown, nor any that it follows from"
    made = facts({"made": f"{report.made:%Y-%m-%d %H:%M %Z}", "environment": report.environment, "numbers": shown})
    rows = [[tag("a", run.sync, href=f"#{run.sync}"), _status(run), _count(_delivered(run)), run.facts.get("took")] for run in report.runs]
    several = table(("sync", "status", "delivered", "took"), rows, "Syncs") if len(report.runs) > 1 else None
    return tag("section", tag("h2", "Overview"), made, several, id="overview")


def _delivered(run: Said) -> Number:
    return next((step.count for step in reversed(run.steps) if step.title == "delivered"), 0)


def _status(run: Said) -> Html:
    return tag("strong", run.status, class_="alarm" if run.status in BAD else "good" if run.status == "succeeded" else None)


def _run(run: Said) -> Html:
    return tag("section", tag("h2", run.sync), tag("p", _status(run), class_="about"), list(_parts(run)), id=run.sync)


def _parts(run: Said) -> Iterator[Part]:
    """What is said of a run; nothing is said of what there is not."""
    if run.failed:
        reasons = tag("ul", [tag("li", str(each)) for each in run.refusals]) if run.refusals else None
        yield tag("div", run.failed, reasons, class_="refused")
    yield facts(run.facts)
    yield _titled("From the segment to the channel", _waterfall(run.steps))
    errors = [[what, reason, _count(rows)] for what, reason, rows in run.errors]
    yield _titled("What did not get through", table(("what", "reason", "rows"), errors, "By reason, the most frequent first"))
    yield _titled("Throughput", _throughput(run.stretches))
    yield _titled("Guards", tag("ul", [tag("li", said) for said in run.guards]) if run.guards else None)
    quality = [[name, verdict, _count(asked), _count(failed)] for name, verdict, asked, failed in run.quality]
    yield _titled("Quality", table(("expectation", "verdict", "asked", "failed"), quality, "What the rows were expected to be"))
    yield _titled("What it rests on", facts(dict(run.rests_on)))
    yield _titled("Who", facts(dict(run.people)))
    if run.withheld:
        hidden = listed(f"{cls} of {name}" for cls, name in run.withheld)
        yield folded("Rows that were not read, for the receiver may not know of them", hidden, open_=True)


def _titled(title: str, content: Part) -> Part:
    return [tag("h3", title), content] if content else None


# -- the waterfall ------------------------------------------------------------------------------------------------------------


def _waterfall(steps: Sequence[Step]) -> Part:
    """A table with a bar in each row, floating where the step before ended; of a number that is not shown there is none."""
    if not steps:
        return None
    largest = max((step.count for step in steps if isinstance(step.count, int)), default=0)
    rows: list[Sequence[Part]] = []
    left = 0
    for step in steps:
        known = step.count if isinstance(step.count, int) else 0
        before, left = left, _after(step, left)
        start = {"level": 0, "less": max(left, 0), "more": before}[step.kind]
        rows.append((step.title, _number(step), _bar(step.kind, start, known, largest), [step.why, _made_of(step)]))
    return tag("div", table(("step", "people", "", "why"), rows, "Each step, and how many people it is of"), class_="waterfall")


def _after(step: Step, left: int) -> int:
    """What is left after a step, as far as the numbers on display say."""
    if not isinstance(step.count, int):
        return left
    return {"level": step.count, "less": left - step.count, "more": left + step.count}[step.kind]


def _number(step: Step) -> Html:
    apart = "" if isinstance(step.count, int) or step.kind == "level" else " "
    return tag("strong" if step.kind == "level" else "span", f"{_SIGNS[step.kind]}{apart}{_count(step.count)}")


def _bar(kind: str, start: int, count: int, largest: int) -> Html:
    """A picture of numbers that stand beside it, so there is nothing to be read out."""
    if not largest or not count:
        return tag("span", class_="track")
    at, long = (round(100 * value / largest, 2) for value in (start, count))
    return tag("span", tag("span", class_=f"bar {kind}", style=f"margin-left:{at}%;width:{max(min(long, 100 - at), 0.4)}%"), class_="track")


def _made_of(step: Step) -> Part:
    return tag("span", [": ", listed(f"{_count(count)} {part}" for part, count in step.parts)], class_="none") if step.parts else None


def _count(number: Number) -> str:
    return f"{number:,}" if isinstance(number, int) else number


# -- throughput -----------------------------------------------------------------------------------------------------------------


def _throughput(stretches: Sequence[Stretch]) -> Part:
    """Rows a second over time, from when receipts were committed. Numbers are rounded: the picture is of the pace."""
    if not stretches:
        return None
    seconds, rows = stretches[-1].end, sum(each.rows for each in stretches)
    said = f"{rows:,} rows in {seconds:,.1f} s: {_rounded(rows / max(seconds, 1e-3))} rows a second"
    if len(stretches) < 3:
        return tag("p", said)
    top = max(each.rate for each in stretches)
    bars = [_column(each, seconds, top) for each in stretches]
    base = HEIGHT - BOTTOM
    axis = tag("line", x1=LEFT, y1=base, x2=WIDTH, y2=base, class_="axis")
    labels = [
        tag("text", f"{_rounded(top)}/s", x=LEFT - 6, y=12, text_anchor="end"),
        tag("text", "0", x=LEFT - 6, y=base, text_anchor="end"),
        tag("text", "0 s", x=LEFT, y=HEIGHT - 6),
        tag("text", f"{seconds:,.0f} s", x=WIDTH, y=HEIGHT - 6, text_anchor="end"),
    ]
    picture = tag("svg", bars, axis, labels, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="pace", role="img", aria_label=said)
    return [tag("p", said), picture]


def _column(stretch: Stretch, seconds: float, top: float) -> Html:
    scale = (WIDTH - LEFT) / seconds
    high = (HEIGHT - BOTTOM - 4) * stretch.rate / top
    x, width = LEFT + stretch.start * scale, max((stretch.end - stretch.start) * scale - 1, 0.5)
    return tag("rect", x=round(x, 1), y=round(HEIGHT - BOTTOM - high, 1), width=round(width, 1), height=round(high, 1))


def _rounded(rate: float) -> str:
    """Two digits that count."""
    if rate >= 10:
        digits = len(str(int(rate))) - 2
        return f"{round(rate, -digits):,.0f}"
    return f"{rate:.1f}"
