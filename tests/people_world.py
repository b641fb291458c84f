"""A clinic in which every rule of the eligibility keeps somebody out, its tables, and who may be told, found out the slow way.

`slow` reads the rows of one person in plain Python and shares nothing with the compiler.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cdp.engine import Engine
from tests.projects import minimal

NOW = dt.datetime(2026, 7, 2, 16, tzinfo=dt.UTC)  # noon in New York
TODAY = dt.date(2026, 7, 2)

WORLD = Path(__file__).parent / "fixtures" / "governance" / "worlds" / "people"
_ELIGIBILITY = (WORLD / "governance" / "eligibility.yml").read_text()
_HEAD, *_LINES = re.split(r"(?m)^(?=  - )", _ELIGIBILITY)
_RULE = {match[1]: line for line in _LINES if (match := re.match(r"  - \{name: (\w+)", line))}
RULES = tuple(_RULE)


def project_at(root: Path, order: Iterable[str] = RULES) -> Path:
    """Write the project, with the rules in an order."""
    files: dict[str, str | bytes | None] = {str(path.relative_to(WORLD)): path.read_text() for path in sorted(WORLD.rglob("*.yml"))}
    files["governance/eligibility.yml"] = _HEAD + "".join(_RULE[name] for name in order)
    return minimal(root, **files)


@dataclass(frozen=True)
class Asking:
    """A sync as the slow way sees it: what it asks for, and the columns that it writes to."""

    name: str
    channel: str
    purpose: str
    mappings: Mapping[str, str]
    needs: tuple[str, ...]
    special: tuple[str, ...] = ()
    guardian: bool = False
    stated: bool = False
    share: float = 0.0


ASKING = (
    Asking("mails", "email", "care", {"email": "email", "phone": "phone", "first_name": "given_name"}, ("opt_in",)),
    Asking("texts", "sms", "news", {"phone": "phone"}, ("opt_in", "opt_out")),
    Asking("letters", "mail", "care", {"line": "line"}, ("opt_in",)),
    Asking("parents", "email", "care", {"email": "guardian.guardian_email"}, ("opt_in",), guardian=True),
    Asking("posts", "portal", "news", {"first_name": "given_name"}, ("opt_out",)),
    Asking("ids", "email", "care", {"first_name": "given_name"}, ("opt_in",)),
    Asking("offers", "email", "marketing", {"email": "email"}, ("authorization",), stated=True),
    Asking("clinic", "portal", "news", {"program": "program"}, ("opt_out",), special=("part2",)),
    Asking("trial", "email", "care", {"email": "email"}, ("opt_in",), share=0.25),
)


# -- people ---------------------------------------------------------------------------------------------------------------


@dataclass
class Person:
    """Somebody, and the rows that are about them."""

    row: dict[str, Any]
    consents: list[dict[str, Any]] = field(default_factory=list)
    restrictions: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    suppressions: list[dict[str, Any]] = field(default_factory=list)
    guardian_email: str | None = None
    has_guardian: bool = False


_TEXT, _TIME = pa.string(), pa.timestamp("us", "UTC")
_TABLES = {
    "clinical.patients": {
        **dict.fromkeys(("patient_id", "given_name", "email", "phone", "line", "program", "state"), _TEXT),
        **dict.fromkeys(("birth_date", "death_date"), pa.date32()),
    },
    "crm.consents": {
        **dict.fromkeys(("consent_id", "patient_id", "purpose", "channel", "receiver", "states", "status"), _TEXT),
        **dict.fromkeys(("effective_at", "expires_at", "recorded_at"), _TIME),
    },
    "crm.restrictions": {**dict.fromkeys(("id", "patient_id", "receiver"), _TEXT), "active": pa.bool_()},
    "crm.requests": {**dict.fromkeys(("id", "patient_id", "channel", "value"), _TEXT), "asked_at": _TIME, "active": pa.bool_()},
    "crm.suppressions": dict.fromkeys(("id", "patient_id", "channel"), _TEXT),
    "crm.guardians": dict.fromkeys(("patient_id", "guardian_email"), _TEXT),
}
_SPARK = {_TEXT: "string", _TIME: "timestamp", pa.date32(): "date", pa.bool_(): "boolean"}


def write(engine: Engine, people: Iterable[Person], recorded: dt.datetime = NOW) -> None:
    """Put people into the tables, in place of who was there."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in _TABLES}
    for person in people:
        key = {"patient_id": person.row["patient_id"]}
        rows["clinical.patients"].append(person.row)
        rows["crm.consents"] += [{"recorded_at": recorded, **each, **key} for each in person.consents]
        for name in ("restrictions", "requests", "suppressions"):
            rows[f"crm.{name}"] += [{**each, **key} for each in getattr(person, name)]
        if person.has_guardian:
            rows["crm.guardians"].append({"guardian_email": person.guardian_email, **key})
    rows["crm.consents"].append({"consent_id": "load", "patient_id": "nobody", "recorded_at": recorded})  # the table is never empty
    for name, columns in _TABLES.items():
        engine.drop(name)
        engine.create(name, {column: _SPARK[kind] for column, kind in columns.items()})
        engine.append(name, pa.Table.from_pylist(rows[name], schema=pa.schema(list(columns.items()))))


GOOD = {"email": "ann@example.org", "phone": "+1-617-555-0100", "line": "1 High St"}


def somebody(key: str = "p1", **changes: Any) -> Person:
    """A person whom every sync may tell: of age, signed for everything, with every contact point."""
    row = {"patient_id": key, "given_name": "Ann", "birth_date": dt.date(1980, 1, 1), **GOOD, "program": "a", "state": "MA"} | changes
    pairs = [(a.purpose, a.channel, None) for a in ASKING] + [("marketing", None, "mailer"), ("news", None, "mailer")]
    past = NOW - dt.timedelta(days=90)
    signed = [consent(f"{key}-{number}", *pair, effective=past) for number, pair in enumerate(dict.fromkeys(pairs))]
    return Person(row, signed)


def consent(
    number: str, purpose: str | None, channel: str | None, receiver: str | None, *, effective: dt.datetime | None, **more: Any
) -> dict[str, Any]:
    """A record of consent; it states what an authorization must."""
    base = {"consent_id": number, "purpose": purpose, "channel": channel, "receiver": receiver, "status": "active"}
    return {**base, "effective_at": effective, "expires_at": None, "states": "purpose, remuneration right_to_revoke", **more}


_MOMENTS = (None, NOW - dt.timedelta(days=30), NOW - dt.timedelta(days=30), NOW - dt.timedelta(days=3), NOW, NOW + dt.timedelta(seconds=1))


def anybody(key: str, dice: random.Random) -> Person:
    """Somebody with a few things that may keep them out, on the bounds of every rule."""

    def maybe(chance: float, *values: Any) -> Any:
        return dice.choice(values) if dice.random() < chance else None

    person = somebody(key)
    row = person.row
    row["birth_date"] = dice.choice([None, dt.date(2008, 7, 2), dt.date(2008, 7, 3), dt.date(2020, 1, 1), *[dt.date(1980, 1, 1)] * 6])
    row["death_date"] = maybe(0.08, dt.date(2020, 1, 1))
    row["email"] = dice.choice([None, "", "ann", "ann@example", "a@b@example.org", "ann@example.org\n", *["ann@example.org"] * 6])
    row["phone"] = dice.choice([None, "555-0100", "+1 (017) 555-0100", "+44 20 7946 0000", "6175550100x", *["(617) 555-0100"] * 5])
    row["line"] = dice.choice([None, " ", "", *["1 High St"] * 5])
    row["program"] = maybe(0.5, "a")
    person.has_guardian = dice.random() < 0.8
    person.guardian_email = dice.choice([None, "parent", "parent@example.org", "parent@example.org"])
    person.consents = [_any_consent(f"{key}-{n}", dice) for n in range(dice.randrange(3))] + [
        each for each in person.consents if dice.random() < 0.85
    ]
    if dice.random() < 0.2:
        person.restrictions = [
            {"id": f"{key}-{n}", "receiver": receiver, "active": dice.choice([True, False, None])}
            for n, receiver in enumerate(dice.choices(["all", "mailer", "Mailer", "other", "other", "ALL", "", None], k=2))
        ]
    if dice.random() < 0.3:
        person.requests = [_any_request(f"{key}-{n}", dice) for n in range(1 + dice.randrange(2))]
    if dice.random() < 0.25:
        person.suppressions = [{"id": key, "channel": dice.choice(["email", "sms", "portal", "mail", None])}]
    return person


def _any_consent(number: str, dice: random.Random) -> dict[str, Any]:
    return consent(
        number,
        dice.choice(["care", "news", "marketing", "other", None, " "]),
        dice.choice(["email", "sms", "portal", None, ""]),
        dice.choice(["mailer", "other", None, ""]),
        effective=dice.choice(_MOMENTS),
        status=dice.choice(["active", "active", "rejected", "inactive", "ACTIVE", "proposed", None]),
        expires_at=dice.choice([None, None, *_MOMENTS]),
        states=dice.choice([None, "remuneration", "remunerations", "purpose;remuneration", "no_remuneration"]),
    )


def _any_request(number: str, dice: random.Random) -> dict[str, Any]:
    channel = dice.choice(["email", "sms", "mail", "portal", None])
    value = {"email": "private@example.org", "sms": "+1-508-555-0111", "mail": "PO Box 1"}.get(channel or "")
    return {
        "id": number,
        "channel": channel,
        "value": dice.choice([value, value, value, "", None, "?"]),
        "asked_at": dice.choice(_MOMENTS),
        "active": dice.choice([True, True, True, False, None]),
    }


# -- the slow way ---------------------------------------------------------------------------------------------------------


def slow(person: Person, asking: Asking, order: Iterable[str] = RULES) -> tuple[str | None, dict[str, Any]]:
    """The first rule that keeps a person out of a sync, and what the sync would say of them."""
    sent = _sent(person, asking)
    for rule in order:
        if _KEEPS_OUT[rule](person, asking, sent):
            return rule, sent
    if asking.share and int(hashlib.sha256(f"first{person.row['patient_id']}".encode()).hexdigest(), 16) < asking.share * 16**64:
        return "holdout", sent
    return None, sent


def _sent(person: Person, asking: Asking) -> dict[str, Any]:
    read = {**person.row, "guardian.guardian_email": person.guardian_email if person.has_guardian else None}
    values = {name: read[column] for name, column in asking.mappings.items()}
    request = _latest(person)
    if request is not None and request["channel"] == asking.channel:
        for name in values:
            if name in ("email", "phone", "line"):
                values[name] = request["value"] if name == _POINT.get(asking.channel) else None
    return values


_POINT = {"email": "email", "sms": "phone", "mail": "line"}


def _latest(person: Person) -> dict[str, Any] | None:
    there = [each for each in person.requests if each["active"] and each["asked_at"] is not None and each["asked_at"] <= NOW]
    return max(there, key=lambda each: (each["asked_at"], each["id"]), default=None)


def _restricted(person: Person, asking: Asking, sent: Mapping[str, Any]) -> bool:
    return any(each["active"] and (each["receiver"] or "all").lower() in ("all", "mailer") for each in person.restrictions)


def _of_age(person: Person) -> bool | None:
    born = person.row["birth_date"]
    return None if born is None else (TODAY.year - born.year - ((TODAY.month, TODAY.day) < (born.month, born.day))) >= 18


def _elsewhere(person: Person, asking: Asking, sent: Mapping[str, Any]) -> bool:
    if not any(each["active"] and (each["asked_at"] is None or each["asked_at"] <= NOW) for each in person.requests):
        return False
    request = _latest(person)
    if request is None or request["channel"] != asking.channel:
        return True
    if asking.channel not in _POINT:
        return False
    return _POINT[asking.channel] not in asking.mappings or not (request["value"] or "").strip()


def _unreachable(person: Person, asking: Asking, sent: Mapping[str, Any]) -> bool:
    point = _POINT.get(asking.channel)
    if point not in asking.mappings:
        return False
    value = sent[point] or ""
    if point == "email":
        name, _, host = value.partition("@")
        labels = host.split(".")
        return not (re.fullmatch(r"[\w.+-]+", name) and len(labels) > 1 and all(re.fullmatch(r"[A-Za-z0-9-]+", label) for label in labels))
    if point == "phone":
        digits = re.sub(r"[ ().-]", "", value)
        return not (re.fullmatch(r"(\+?1)?[2-9]\d\d[2-9]\d{6}", digits) or re.fullmatch(r"\+[2-9]\d{6,14}", digits))
    return not value.strip()


def _missing(person: Person, asking: Asking, kind: str) -> bool:
    """One kind of consent: the newest yes must be newer than every no."""
    if kind in ("authorization", "part2"):
        asked = {"purpose": asking.purpose, "receiver": "mailer"}
    else:
        asked = {"purpose": asking.purpose, "channel": asking.channel}
    yes: list[dt.datetime] = []
    no: list[dt.datetime | None] = []
    for each in person.consents:
        at = each["effective_at"]
        if at is not None and at > NOW:
            continue
        if not all((each[word] or "").strip() in ("", value) for word, value in asked.items()):
            continue
        good = each["status"] == "active" and (each["expires_at"] is None or each["expires_at"] > NOW)
        if asking.stated and kind == "authorization":
            good = good and "remuneration" in re.split(r"[\s,;]+", each["states"] or "")
        if not good:
            no.append(at)
        elif at is not None and all(each[word] == value for word, value in asked.items()):
            yes.append(at)
    if None in no:
        return True
    if not yes and not no:
        return kind != "opt_out"
    return not yes or any(at is None or at >= max(yes) for at in no)


_KEEPS_OUT = {
    "restricted": _restricted,
    "deceased": lambda person, asking, sent: person.row.get("death_date") is not None,
    "minor": lambda person, asking, sent: not asking.guardian and not _of_age(person),
    "turned_adult": lambda person, asking, sent: asking.guardian and bool(_of_age(person)),
    "elsewhere": _elsewhere,
    "special_consent": lambda person, asking, sent: any(_missing(person, asking, kind) for kind in asking.special),
    "no_consent": lambda person, asking, sent: any(_missing(person, asking, kind) for kind in asking.needs),
    "suppressed": lambda person, asking, sent: any(each["channel"] == asking.channel for each in person.suppressions),
    "unreachable": _unreachable,
}
