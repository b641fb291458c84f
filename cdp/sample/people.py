"""What Synthea has no value for: how to reach somebody, and what they agreed to. SQL that gives the same on every engine."""

from __future__ import annotations

# Every area code has 555-0100 to 555-0199 set aside for examples.
AREA_CODES = ("413", "508", "617", "774", "781", "857", "978", "339")

CLINICIANS = 12  # the clinicians whom patients choose from

# What the example's syncs ask for: (purpose, channel).
CONSENTS = (
    ("care_coordination", "email"),
    ("care_coordination", "sms"),
    ("care_coordination", "phone"),
    ("treatment", "email"),
    ("treatment", "sms"),
    ("treatment", "phone"),
    ("treatment", "portal"),
    ("care_coordination", "portal"),
    ("refill", "sms"),
    ("member_services", "email"),
    ("well_child", "portal"),
    ("maternity", "portal"),
    ("behavioral_health", "phone"),
)

# Special categories ask for a consent that names purpose and receiver: (purpose, receiver).
SIGNED = (("maternity", "maternity_app"), ("behavioral_health", "behavioral_health"))

CONSENT_COLUMNS = {
    "consent_id": "string",
    "patient_id": "string",
    "purpose": "string",
    "channel": "string",
    "receiver": "string",
    "status": "string",
    "effective_at": "timestamp",
    "expires_at": "timestamp",
    "recorded_at": "timestamp",
    "states": "string",
}


def dice(*values: str, sides: int = 100) -> str:
    """A number from 0 to `sides` - 1 that hangs on the values only."""
    return f"pmod(xxhash64({', '.join(values)}), {sides})"


def email(key: str, given: str, family: str, number: str) -> str:
    """An address that nobody can have, or null: one in twelve has none on file, and one in twenty was typed without its end."""
    local = f"concat_ws('.', regexp_replace(lower({given}), '[^a-z]', ''), regexp_replace(lower({family}), '[^a-z]', ''), {number})"
    third, twelfth = dice(key, "'domain'", sides=3), dice(key, "'email'", sides=12)
    cut = dice(key, "'cut'", sides=20)
    domain = f"CASE WHEN {cut} = 0 THEN '@example' WHEN {third} = 0 THEN '@example.com' ELSE '@example.org' END"
    return f"CASE WHEN {twelfth} > 0 THEN concat({local}, {domain}) END"


def phone(key: str) -> str:
    """A number that rings nowhere, or null: one in twelve has none on file."""
    areas = ", ".join(f"'{code}'" for code in AREA_CODES)
    which, line, twelfth = dice(key, "'area'", sides=len(AREA_CODES)), dice(key, "'line'"), dice(key, "'phone'", sides=12)
    area = f"element_at(array({areas}), cast({which} + 1 AS int))"
    return f"CASE WHEN {twelfth} > 0 THEN concat('+1-', {area}, '-555-01', lpad(cast({line} AS string), 2, '0')) END"


def language(key: str) -> str:
    """The language somebody wants to be spoken to in; one in twenty-five never said."""
    roll = dice(key, "'language'")
    return f"CASE WHEN {roll} < 78 THEN 'en' WHEN {roll} < 88 THEN 'es' WHEN {roll} < 93 THEN 'pt' WHEN {roll} < 96 THEN 'zh' END"


def new_member(key: str) -> str:
    """Whether somebody has been insured with us for some weeks only: one in eight."""
    roll = dice(key, "'new member'", sides=8)
    return f"{roll} = 0"


def clinician(key: str) -> str:
    """The key of somebody's primary care clinician; new members have mostly not chosen one, one in fifteen others neither."""
    number, third, fifteenth = dice(key, "'clinician'", sides=CLINICIANS), dice(key, "'chosen'", sides=3), dice(key, "'chosen'", sides=15)
    none = f"({new_member(key)} AND {third} > 0) OR {fifteenth} = 0"
    return f"CASE WHEN {none} THEN NULL ELSE concat('c', lpad(cast({number} AS string), 2, '0')) END"


def tags(key: str) -> str:
    """What the front desk noted, as an array; most people have one note or none."""
    notes = {"portal": 2, "interpreter": 12, "no_reminders": 20, "wheelchair": 25}
    rolls = [(note, dice(key, f"'{note}'", sides=sides)) for note, sides in notes.items()]
    each = ", ".join(f"CASE WHEN {roll} = 0 THEN '{note}' END" for note, roll in rolls)
    return f"filter(array({each}), note -> note IS NOT NULL)"


def consents(patients: str) -> str:
    """A query: the consents of everyone in the view `patients` (patient_id, email, phone, today).

    One in sixteen was never asked, and nobody is asked about a channel without an address. Of the others about 80 in
    100 agreed, some refused, some let it lapse, and some took it back: two rows, of which the later holds. What asks for a
    signature of its own (SIGNED) names its receiver instead of a channel.
    """
    pairs = ", ".join(f"('{purpose}', '{channel}')" for purpose, channel in CONSENTS)
    signed = ", ".join(f"('{purpose}', '{receiver}')" for purpose, receiver in SIGNED)
    signs, signed_days = dice("patient_id", "purpose", "receiver"), dice("patient_id", "receiver", sides=300)
    roll = dice("patient_id", "purpose", "channel")
    age = dice("patient_id", "'asked'", sides=700)
    never = dice("patient_id", "'never asked'", sides=16)
    return f"""
        WITH asked AS (
            SELECT patient_id, purpose, channel, today, {roll} AS roll, 30 + {age} AS days
            FROM {patients} CROSS JOIN (VALUES {pairs}) AS wanted(purpose, channel)
            WHERE {never} > 0
              AND CASE channel WHEN 'email' THEN email WHEN 'portal' THEN patient_id ELSE phone END IS NOT NULL
        ),
        answers AS (
            SELECT *, 1 AS nr, days AS ago,
                CASE WHEN roll < 80 OR roll >= 95 THEN 'active' WHEN roll < 90 THEN 'rejected' ELSE 'inactive' END AS status
            FROM asked
            UNION ALL SELECT *, 2 AS nr, days div 2 AS ago, 'inactive' AS status FROM asked WHERE roll >= 95
        ),
        given AS (
            SELECT patient_id, purpose, channel, cast(NULL AS string) AS receiver, nr, status, today, ago FROM answers
            UNION ALL
            SELECT patient_id, purpose, cast(NULL AS string) AS channel, receiver, 1 AS nr,
                CASE WHEN {signs} < 70 THEN 'active' ELSE 'rejected' END AS status, today,
                30 + {signed_days} AS ago
            FROM {patients} CROSS JOIN (VALUES {signed}) AS signed(purpose, receiver) WHERE {never} > 0
        )
        SELECT concat_ws('-', patient_id, purpose, channel, receiver, nr) AS consent_id, patient_id, purpose, channel, receiver, status,
            cast(date_sub(today, cast(ago AS int)) AS timestamp) AS effective_at,
            cast(NULL AS timestamp) AS expires_at, current_timestamp() AS recorded_at, cast(NULL AS string) AS states
        FROM given"""
