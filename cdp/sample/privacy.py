"""What people asked of us about themselves: restrictions, other addresses, to be left alone; and who speaks for a minor."""

from __future__ import annotations

from cdp.sample.made import Made, Value
from cdp.sample.people import AREA_CODES

_AREAS = ", ".join(f"'{code}'" for code in AREA_CODES)


def _text(sql: str) -> Value:
    return Value("string", sql)


def _number(area: str, line: str) -> str:
    """A number that rings nowhere."""
    return f"concat('+1-', element_at(array({_AREAS}), 1 + {area}), '-555-01', lpad(cast({line} AS string), 2, '0'))"


# One in twenty asked for a restriction, half of them towards every receiver; one in five has let it go.
RESTRICTION = Made(
    "crm.restrictions",
    {
        "restriction_id": _text("concat_ws('-', 'res', patient_id)"),
        "patient_id": _text("patient_id"),
        "receiver": _text("CASE WHEN wide = 0 THEN 'all' ELSE 'outreach_mail' END"),
        "active": Value("boolean", "lifted > 0"),
    },
    dice={"restricts": 20, "wide": 2, "lifted": 5},
    where="restricts = 0",
)

# One in eighteen asked to be written to elsewhere, some of them twice: k = 1 is the later request, which counts.
REQUEST = Made(
    "crm.confidential_requests",
    {
        "request_id": _text("concat_ws('-', 'req', patient_id, k)"),
        "patient_id": _text("patient_id"),
        "requested_on": Value("date", "date_sub(today, 20 + ago * (2 - k))"),
        "ends_on": Value("date", "CASE WHEN age < 18 THEN date_add(today, 365 * (18 - age)) END"),
        "channel": _text("channel"),
        "value": _text(f"CASE WHEN channel = 'email' THEN concat('private.', line, '@example.com') ELSE {_number('area', 'line')} END"),
        "active": Value("boolean", "ended > 0"),
    },
    times=2,
    dice={"asks": 18, "again": 3, "ended": 6, "ago": 300},
    noise={"which": 5, "area": len(AREA_CODES), "line": 100},
    let={"channel": "element_at(array('email', 'email', 'phone', 'phone', 'sms'), 1 + which)"},
    where="asks = 0 AND (k = 0 OR again = 0)",
)

# Of each channel that reaches a pocket: who unsubscribed, sent STOP, or whose address is dead.
SUPPRESSION = Made(
    "crm.suppressions",
    {
        "suppression_id": _text("concat_ws('-', 'sup', patient_id, channel)"),
        "patient_id": _text("patient_id"),
        "channel": _text("channel"),
        "reason": _text("CASE WHEN why = 0 THEN 'undeliverable' WHEN channel = 'sms' THEN 'stop' ELSE 'unsubscribed' END"),
    },
    times=3,
    noise={"suppressed": 16, "why": 3},
    let={"channel": "element_at(array('email', 'sms', 'phone'), 1 + k)"},
    where="suppressed = 0",
)

# Registration keeps representatives on file for some years too long, as registrations do.
GUARDIAN = Made(
    "crm.guardians",
    {
        "patient_id": _text("patient_id"),
        "email": _text("CASE WHEN none > 0 THEN concat('parent.', name, '@example.org') END"),
        "phone": _text(_number("area", "line")),
    },
    dice={"none": 4, "name": 10_000, "area": len(AREA_CODES), "line": 100},
    where="age < 22",
)

TABLES = (RESTRICTION, REQUEST, SUPPRESSION, GUARDIAN)
