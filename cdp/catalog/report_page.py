"""The governance report as one page of HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cdp.catalog.document import document
from cdp.catalog.html import Html, Part, join, listed, tag
from cdp.catalog.pieces import chips, facts, folded, table
from cdp.catalog.report import Report, State, Term, Told
from cdp.spec.access import Agreement

ALARMING: frozenset[State] = frozenset({"ended", "ending", "not yet"})
Section = tuple[str, str, str, Part]  # id, title, what it is about, content


def page(report: Report) -> str:
    """The report of a project as a whole page."""
    name = report.project.config.name
    sections = list(_sections(report))
    top = tag("header", tag("h1", tag("a", f"{name}: governance", href="#main")))
    contents = tag("ul", [tag("li", tag("a", title, href=f"#{anchor}")) for anchor, title, _, _ in sections])
    body = [
        tag("section", tag("h2", title), tag("p", about, class_="about") if about else None, content, id=anchor)
        for anchor, title, about, content in sections
    ]
    columns = tag("div", tag("nav", contents, aria_label="Contents"), tag("main", body, id="main"), class_="columns")
    return document(f"{name}: governance report", top, columns)


def _sections(report: Report) -> Iterator[Section]:
    yield "overview", "Overview", "", _overview(report)
    yield "told", "Who is told what", "What leaves for each receiver and purpose, after masks and declassifications.", _told(report)
    yield "receivers", "Receivers", "By field: which column of which sync tells a class.", _receivers(report)
    yield "agreements", "Agreements", "By their end; what ends within 30 days is marked.", _agreements(report)
    yield "refusals", "Refusals", "Nothing leaves with these syncs until every reason is gone.", _refusals(report)
    yield "declassified", "Declassifications", "The one way down for what a list tells; each ends.", _declassified(report)
    yield (
        "reviews",
        "Reviews of value sets",
        "What comparing with a list of codes gives away, as somebody said; oldest first.",
        _reviews(report),
    )
    yield "classes", "Classes to be reviewed", "Classes whose law may change.", _classes(report)
    yield "approvals", "Approvals", "Plans that wait for somebody.", _approvals(report)
    yield (
        "ledger",
        "Disclosure ledger",
        "The last block of each sync. `cdp disclosures --verify` computes every one again.",
        _ledger(report),
    )


# -- parts of the page ------------------------------------------------------------------------------------------------


def _overview(report: Report) -> Part:
    attention = report.attention()
    numbers = "as of now; few people are not shown" if report.numbers else f"missing: {report.without}"
    said: list[Part] = [
        facts({"made": f"{report.made:%Y-%m-%d %H:%M %Z}", "environment": report.environment, "numbers of people": numbers})
    ]
    if attention:
        said += [tag("h3", "To look at"), tag("ul", [tag("li", line) for line in attention], class_="warning")]
    else:
        said.append(tag("p", "Nothing ends soon, nothing is refused, nothing waits."))
    return said


def _told(report: Report) -> Part:
    rows = [
        [
            tag("a", told.receiver, href=f"#receiver-{told.receiver}"),
            told.purpose,
            _people(report, told.receiver, told.purpose),
            chips(told.values),
            chips(told.members),
            _state(told),
        ]
        for told in report.told
    ]
    return table(("receiver", "purpose", "people", "values tell", "being on a list tells", ""), rows, "By receiver and purpose") or _none(
        "Nobody."
    )


def _state(told: Told) -> Part:
    if not told.refused:
        return "by approval" if told.approval else None
    return tag(
        "span", "refused" if len(told.refused) == len(told.syncs) else f"{len(told.refused)} of {len(told.syncs)} refused", class_="alarm"
    )


def _receivers(report: Report) -> Part:
    articles = []
    for name, destination in sorted(report.project.destinations.items()):
        agreement = report.project.policy.agreements.get(destination.baa or "")
        latest = report.numbers.latest.get(name, "never") if report.numbers else ""
        named = (
            tag("a", agreement.name, href=f"#agreement-{agreement.name}")
            if agreement
            else tag("span", "none: nothing may leave", class_="alarm")
        )
        about = facts(
            {
                "channel": destination.channel,
                "agreement": named,
                "people": _people(report, name),
                "last delivery": latest[:16].replace("T", " "),
            }
        )
        told = [_by_field(each) for each in report.told if each.receiver == name]
        articles.append(tag("article", tag("h3", name), about, told or _none("No sync leads here."), id=f"receiver-{name}"))
    return articles or _none("None.")


def _by_field(told: Told) -> Html:
    rows: list[Sequence[Part]] = [[tag("code", cls), _wrapped(fields)] for cls, fields in told.values.items()]
    rows.append(["being on a list", chips(told.members)])
    if told.withheld:
        rows.append(["rows that are not read", listed(f"{cls} of {table}" for cls, table in told.withheld)])
    if told.approval:
        rows.append(["plans need an approval", listed(told.approval)])
    return folded(f"{told.purpose}: {', '.join(told.syncs)}", table(("class", "fields"), rows, f"What is told for {told.purpose}"))


def _agreements(report: Report) -> Part:
    rows = [
        [
            tag("a", each.name, href=f"#agreement-{each.name}"),
            each.counterparty,
            each.type,
            _day(term.start),
            _day(term.end),
            _term(term),
            listed(used),
        ]
        for each, term, used in report.agreements
    ]
    overview = table(("agreement", "with", "type", "from", "until", "", "receivers"), rows, "Agreements by their end")
    details = [
        tag("article", tag("h3", each.name), _agreement(each, term), id=f"agreement-{each.name}") for each, term, _ in report.agreements
    ]
    return [overview, folded("Every agreement in full", details, open_=True)] if rows else _none("None.")


def _agreement(agreement: Agreement, term: Term) -> Html:
    handed = [f"{each.name}{'' if each.flow_down else ' (not bound to the same restrictions)'}" for each in agreement.subprocessors]
    after = agreement.after_end
    return facts(
        {
            "with": agreement.counterparty,
            "type": agreement.type,
            "holds": [f"{_day(term.start) or 'always'} to {_day(term.end) or 'no end'} ", _term(term)],
            "after its end": f"removals ({after.removes}) for {after.days} days" if after else "nothing leaves, removals neither",
            "purposes": listed(agreement.purposes),
            "values may tell": chips(agreement.classes),
            "being on a list may tell": chips(agreement.members),
            "account": tag("code", agreement.account) if agreement.account else "not bound: any account of the host",
            "hosts and folders": listed([*agreement.hosts, *agreement.folders]),
            "paths": listed(agreement.paths),
            "labels": agreement.labels,
            "42 CFR part 2": f"{agreement.part2.basis}; notice in {agreement.part2.notice_field}" if agreement.part2 else "no",
            "subprocessors": listed(handed) if handed else "none",
            "document": agreement.document,
            "its sha256": tag("code", agreement.document_sha256) if agreement.document_sha256 else None,
        }
    )


def _refusals(report: Report) -> Part:
    return [
        tag("div", tag("strong", name), tag("ul", [tag("li", str(each)) for each in found]), class_="refused")
        for name, found in report.refusals.items()
    ] or _none("None.")


def _declassified(report: Report) -> Part:
    rows = [
        [
            entry.name,
            entry.of.segment or ".".join(filter(None, (entry.of.trait, entry.of.field))),
            [chips(entry.from_), " to ", chips([entry.to])],
            entry.owner,
            _day(entry.approved),
            _day(entry.expires),
            _term(term),
            listed(used) if used else tag("span", "nowhere", class_="none"),
        ]
        for entry, term, used in report.declassify
    ]
    columns = ("entry", "of", "lowers", "owner", "approved", "until", "", "counts in")
    return table(columns, rows, "Declassifications by their end") or _none("None.")


def _reviews(report: Report) -> Part:
    rows = [
        [
            name,
            cls,
            by,
            _day(on),
            f"{(report.today - on).days} days",
            None if current else tag("span", "not of its codes of today", class_="alarm"),
        ]
        for name, cls, by, on, current in report.reviews()
    ]
    unreviewed = report.unreviewed()
    return [
        table(("value set", "gives away", "by", "on", "age", ""), rows, "Reviews, oldest first") or _none("None."),
        tag("p", "Nobody reviewed: ", listed(unreviewed)) if unreviewed else None,
    ]


def _classes(report: Report) -> Part:
    rows = [[tag("code", name), law, _day(term.end), _term(term)] for name, law, term in report.classes()]
    return table(("class", "law", "review by", ""), rows, "Classes by the date of their review") or _none("None.")


def _approvals(report: Report) -> Part:
    if report.numbers is None:
        return _none(f"Not known: {report.without}")
    rows = [[tag("code", e.plan), e.sync, listed(e.why), e.planned_by, e.created[:16], e.expires[:16]] for e in report.numbers.waiting]
    columns = ("plan", "sync", "needs it for", "planned by", "made", "can be applied until")
    return table(columns, rows, "Plans that wait for an approval") or _none("None waits.")


def _ledger(report: Report) -> Part:
    if report.numbers is None:
        return _none(f"Not known: {report.without}")
    rows = [[e.sync, f"{e.block:,}", f"{e.lines:,}", e.at[:16].replace("T", " "), tag("code", e.hash)] for e in report.numbers.chains]
    gone = [[name, str(people)] for name, people in report.numbers.undeclared.items()]
    return [
        table(("sync", "block", "lines", "at (UTC)", "hash"), rows, "Ends of the disclosure ledger") or _none("Nothing was sent yet."),
        table(("sync that is declared no more", "people still there"), gone, "Whom nobody would take off"),
    ]


# -- small parts ------------------------------------------------------------------------------------------------------


def _people(report: Report, receiver: str, purpose: str | None = None) -> str:
    people = report.people(receiver, purpose)
    return "" if people is None else f"{people:,}" if isinstance(people, int) else people


def _term(term: Term) -> Html:
    return tag("span", term.state, class_="alarm" if term.state in ALARMING else "none")


def _day(day: object) -> str:
    return str(day) if day is not None else ""


def _wrapped(fields: Sequence[str]) -> Html:
    """Names that may go on in the next line between them."""
    return join([tag("code", field, " ") for field in fields])


def _none(text: str) -> Html:
    return tag("p", text, class_="none")
