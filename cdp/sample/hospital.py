"""What a hospital knows and Synthea does not, made up around the patients that are there.

Appointments, insurance, the pharmacy, calls, devices and pregnancies have tables of their own. Some events that Synthea has
too seldom (stays, visits to the emergency room, operations, screens) join the tables of the feed; their keys begin with
`adt-`. Days are chosen well inside of the windows that the example's programmes ask for: what was made yesterday still fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cdp.sample.made import PEOPLE, Made, Value
from cdp.sample.people import CLINICIANS, new_member
from cdp.sample.tables import ENCOUNTERS, OBSERVATIONS, PRESCRIPTIONS, PROCEDURES, Source

_SCT, _LOINC, _CPT = "http://snomed.info/sct", "http://loinc.org", "http://www.ama-assn.org/go/cpt"


def _text(sql: str) -> Value:
    return Value("string", sql)


def _day(sql: str) -> Value:
    return Value("date", sql)


def _at(day: str, hour: str, minute: str = "0") -> str:
    """A local time on a day."""
    return f"cast({day} AS timestamp) + make_interval(0, 0, 0, 0, {hour}, {minute}, 0)"


# -- insurance --------------------------------------------------------------------------------------------------------

_NAMES = ("Adams", "Baker", "Chen", "Diaz", "Evans", "Flores", "Green", "Hall", "Ito", "Jones", "Khan", "Lopez")
_NUMBERED = ", ".join(f"({number}, '{name}')" for number, name in enumerate(_NAMES[:CLINICIANS]))

CLINICIAN = Made(
    "plan.clinicians",
    {
        "clinician_id": _text("concat('c', lpad(cast(nr AS string), 2, '0'))"),
        "name": _text("concat('Dr. ', family)"),
        "specialty": _text("CASE nr % 4 WHEN 3 THEN 'pediatrics' WHEN 1 THEN 'internal medicine' ELSE 'family medicine' END"),
        "active": Value("boolean", "nr <> 7"),  # one has retired, and still stands in patients' records
    },
    source=f"SELECT * FROM (VALUES {_NUMBERED}) AS c(nr, family)",
    by=("nr",),
)

# Most have one insurance, since years or, new members, since weeks; one in ten had another before, one in twelve has none now.
COVERAGE = Made(
    "plan.coverages",
    {
        "coverage_id": _text("concat_ws('-', 'cov', patient_id, k)"),
        "patient_id": _text("patient_id"),
        "payer": _text("CASE payer WHEN 0 THEN 'commercial' WHEN 1 THEN 'medicare' ELSE 'medicaid' END"),
        "effective": _day("date_sub(today, CASE WHEN k = 1 THEN since + 3400 WHEN is_new THEN 3 + weeks ELSE 400 + since END)"),
        "terminated": _day("CASE WHEN k = 1 THEN date_sub(today, 3000 + gap) WHEN left THEN date_sub(today, 10 + gap) END"),
    },
    times=2,
    dice={"payer": 3, "before": 10, "ended": 12, "weeks": 80, "since": 2500, "gap": 300},
    let={"is_new": new_member("patient_id"), "left": f"ended = 0 AND NOT ({new_member('patient_id')})"},
    where="k = 0 OR (before = 0 AND NOT is_new)",
)

# -- appointments and calls -------------------------------------------------------------------------------------------

# k = 0: one that is to come; 1: one that was kept; 2: one that was missed; 3: what was booked instead, now and then elsewhere.
APPOINTMENT = Made(
    "scheduling.appointments",
    {
        "appointment_id": _text("concat_ws('-', 'app', patient_id, k)"),
        "patient_id": _text("patient_id"),
        "start": Value("timestamp", _at("day", "8 + hour", "15 * quarter")),
        "status": _text("CASE k WHEN 1 THEN 'fulfilled' WHEN 2 THEN 'noshow' ELSE 'booked' END"),
        "specialty": _text("element_at(array('cardiology', 'podiatry', 'endocrinology', 'primary care'), 1 + (place + other) % 4)"),
        "confirmed_at": Value("timestamp", f"CASE WHEN k = 0 AND confirmed = 0 THEN {_at('date_sub(today, 1)', '10')} END"),
    },
    times=4,
    dice={
        "comes": 2,
        "ahead": 8,
        "came": 2,
        "kept": 300,
        "stayed_away": 8,
        "missed": 20,
        "instead": 3,
        "place": 4,
        "hour": 9,
        "quarter": 4,
        "confirmed": 2,
    },
    let={
        "day": "date_add(today, CASE k WHEN 0 THEN 1 + ahead WHEN 1 THEN -2 - kept WHEN 2 THEN -4 - missed ELSE 5 + missed END)",
        "other": "CASE WHEN k = 3 AND instead = 1 THEN 1 ELSE 0 END",
    },
    where="CASE k WHEN 0 THEN comes = 0 WHEN 1 THEN came = 0 WHEN 2 THEN stayed_away = 0 ELSE stayed_away = 0 AND instead > 0 END",
)

# One in fifteen calls at night more often every week: not at all, once, twice, three times. One in four called by day.
CONTACT = Made(
    "crm.contacts",
    {
        "contact_id": _text("concat_ws('-', 'con', patient_id, k)"),
        "patient_id": _text("patient_id"),
        "started_at": Value("timestamp", _at("day", "hour", "10 + 5 * k")),
        "direction": _text("CASE WHEN k = 6 AND ours = 0 THEN 'outbound' ELSE 'inbound' END"),
        "topic": _text("CASE WHEN k < 6 THEN 'symptoms' ELSE 'billing' END"),
    },
    times=7,
    dice={"sleepless": 15, "odd": 2, "calls": 4, "days": 60, "ours": 3},
    let={
        "day": "date_sub(today, CASE WHEN k < 6 THEN element_at(array(3, 10, 17, 3, 10, 3), least(k, 5) + 1) + odd ELSE 1 + days END)",
        "hour": "element_at(array(23, 2, 22, 4, 23, 1, 14), k + 1)",
    },
    where="CASE WHEN k < 6 THEN sleepless = 0 ELSE calls = 0 END",
)

# -- the pharmacy -----------------------------------------------------------------------------------------------------


def _literal(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


_DRUGS: Final = (  # RxNorm, name, number of the ingredient, group of equivalents, on the formulary, unit cost, days that a fill lasts
    ("312961", "Simvastatin 20 MG Oral Tablet", "i1", "simvastatin-20", True, 0.08, 30),
    ("104491", "Zocor 20 MG Oral Tablet", "i1", "simvastatin-20", False, 6.40, 30),
    ("860975", "Metformin ER 500 MG Oral Tablet", "i2", "metformin-er-500", True, 0.11, 30),
    ("860977", "Glucophage XR 500 MG Oral Tablet", "i2", "metformin-er-500", False, 2.90, 30),
    ("197361", "Amlodipine 5 MG Oral Tablet", "i3", "amlodipine-5", True, 0.05, 90),
    ("212549", "Norvasc 5 MG Oral Tablet", "i3", "amlodipine-5", False, 7.10, 90),
    ("309362", "Clopidogrel 75 MG Oral Tablet", "i4", "clopidogrel-75", True, 0.12, 90),
    ("897122", "Liraglutide Pen Injector", "i5", "liraglutide-pen", True, 310.00, 30),
    ("106892", "Insulin Lispro [Humalog]", "i6", "insulin-lispro", False, 27.50, 30),
    ("865098", "Insulin Lispro 100 UNT/ML", "i6", "insulin-lispro", True, 8.20, 30),
)
_ROWS = ", ".join(f"('d{number:02}', {', '.join(map(_literal, drug))})" for number, drug in enumerate(_DRUGS))
_CATALOGUE = f"""SELECT * FROM (VALUES {_ROWS})
    AS d(drug_id, code, name, ingredient, equivalence_group, on_formulary, unit_cost, days_supply)"""

DRUG = Made(
    "pharmacy.drugs",
    {
        **{name: _text(name) for name in ("drug_id", "code", "name", "ingredient", "equivalence_group")},
        "on_formulary": Value("boolean", "on_formulary"),
        "unit_cost": Value("decimal(18, 2)", "unit_cost"),
    },
    source=_CATALOGUE,
    by=("drug_id",),
)

# Who was ever prescribed a drug of the catalogue fills it: two in three in time, the others late; one in five the brand.
# Of those who inject liraglutide, every second began this month.
FILL = Made(
    "pharmacy.fills",
    {
        "fill_id": _text("concat_ws('-', 'fill', patient_id, drug_id, k)"),
        "patient_id": _text("patient_id"),
        "drug_id": _text("CASE WHEN brand = 0 THEN coalesce(brand_id, drug_id) ELSE drug_id END"),
        "filled_on": _day("date_sub(today, back)"),
        "days_supply": Value("int", "days_supply"),
        "reversed": Value("boolean", "reversed = 0"),
    },
    source=f"""SELECT r.patient_id, d.drug_id, b.drug_id AS brand_id, d.ingredient, d.days_supply
        FROM (SELECT DISTINCT patient_id, code FROM {PRESCRIPTIONS.table}) AS r JOIN ({_CATALOGUE}) AS d ON d.code = r.code
        JOIN ({PEOPLE}) AS p ON p.patient_id = r.patient_id
        LEFT JOIN ({_CATALOGUE}) AS b ON b.equivalence_group = d.equivalence_group AND NOT b.on_formulary""",
    by=("patient_id", "drug_id"),
    times=18,
    dice={"late": 3, "first": 25, "brand": 5, "begun": 2},
    noise={"reversed": 25},
    let={"back": "2 + first + k * (days_supply + CASE WHEN late = 0 THEN cast(days_supply * 0.6 AS int) ELSE -2 END)"},
    where="back <= 540 AND (k = 0 OR ingredient <> 'i5' OR begun > 0)",
)

# -- pregnancies, screens and devices ------------------------------------------------------------------------------------------

# One in three women of the age; one in eight has ended. Synthea's own pregnancies lie in the past and have no last period.
PREGNANCY = Made(
    "clinical.pregnancies",
    {
        "pregnancy_id": _text("concat_ws('-', 'pre', patient_id)"),
        "patient_id": _text("patient_id"),
        "lmp_date": _day("date_sub(today, 20 + lmp)"),
        "ended_on": _day("CASE WHEN ended = 0 THEN date_sub(today, 4) END"),
    },
    dice={"pregnant": 3, "lmp": 255, "ended": 8},
    where="sex = 'female' AND age BETWEEN 18 AND 44 AND pregnant = 0",
)

# Readings sent from home about every second week. Every second of those who do has stopped three months ago.
UPLOAD = Made(
    "devices.uploads",
    {
        "upload_id": _text("concat_ws('-', 'upl', patient_id, k)"),
        "patient_id": _text("patient_id"),
        "uploaded_at": Value("timestamp", _at("date_sub(today, 13 * k + 2 + day)", "6 + hour")),
        "device": Value("struct<kind: string, model: string>", "named_struct('kind', kind, 'model', concat('M', model))"),
    },
    times=16,
    dice={"monitored": 5, "stopped": 2, "day": 4, "hour": 14, "weighs": 4, "model": 3},
    let={"kind": "CASE WHEN weighs = 0 THEN 'scale' ELSE 'cuff' END"},
    where="age >= 40 AND monitored = 0 AND (stopped > 0 OR k > 7)",
)

# Six weeks of daily steps; of every third the last days have less than half of them. A watch is left at home now and then.
STEP_DAY = Made(
    "devices.step_days",
    {
        "step_day_id": _text("concat_ws('-', 'stp', patient_id, k)"),
        "patient_id": _text("patient_id"),
        "day": _day("date_sub(today, k + 1)"),
        "steps": Value("int", "(3500 + walks + more) * CASE WHEN drops = 0 AND k < 9 THEN 4 ELSE 10 END div 10"),
    },
    times=42,
    dice={"watch": 7, "walks": 6000, "drops": 3},
    noise={"more": 900, "worn": 11},
    where="age >= 30 AND watch = 0 AND worn > 0",
)

# Screens for depression, one in three positive, some not read yet.
_SCREENED: Final = {"screened": 3, "ago": 200, "positive": 3, "followed": 2, "days": 20}
SCREEN = Made(
    "behavioral.screens",
    {
        "screen_id": _text("concat_ws('-', 'phq', patient_id)"),
        "patient_id": _text("patient_id"),
        "code": _text("'73832-8'"),
        "code_system": _text(f"'{_LOINC}'"),
        "date": Value("timestamp", _at("date_sub(today, 3 + ago)", "11")),
        "status": _text("'final'"),
        "value_code": _text("CASE WHEN positive = 0 THEN '428181000124104' WHEN unread > 0 THEN '428171000124102' END"),
    },
    dice={**_SCREENED, "unread": 20},
    where="age >= 18 AND screened = 0",
)

TABLES = (CLINICIAN, COVERAGE, APPOINTMENT, CONTACT, DRUG, FILL, PREGNANCY, SCREEN, UPLOAD, STEP_DAY)

# -- events for the tables of the feed --------------------------------------------------------------------------------


def _columns(table: Source, values: Mapping[str, str]) -> dict[str, Value]:
    """All columns of a table of the feed; those that are not named are null."""
    unknown = values.keys() - table.schema.keys()
    assert not unknown, unknown
    return {name: Value(kind, values.get(name, "NULL")) for name, kind in table.schema.items()}


def _visit(
    what: str, start: str, code: str = "99213", system: str = _CPT, *, cls: str = "AMB", end: str = "", left_for: str = "NULL"
) -> dict[str, Value]:
    values = {
        "encounter_id": f"concat_ws('-', 'adt-{what}', patient_id, k)",
        "patient_id": "patient_id",
        "facility_id": "'north'",
        "start": start,
        "end": end or start,
        "class": f"'{cls}'",
        "type": f"'{code}'",
        "type_system": f"'{system}'",
        "disposition": left_for,
        "status": "'finished'",
    }
    return _columns(ENCOUNTERS, values)


def _answer(what: str, date: str, code: str, answer: str) -> dict[str, Value]:
    values = {
        "observation_id": f"concat_ws('-', 'adt-{what}', patient_id)",
        "patient_id": "patient_id",
        "facility_id": "'north'",
        "date": date,
        "code": f"'{code}'",
        "code_system": f"'{_LOINC}'",
        "status": "'final'",
        "value_code": answer,
    }
    return _columns(OBSERVATIONS, values)


def _done(what: str, when: str, code: str) -> dict[str, Value]:
    values = {
        "procedure_id": f"concat_ws('-', 'adt-{what}', patient_id)",
        "patient_id": "patient_id",
        "facility_id": "'north'",
        "code": code,
        "code_system": f"'{_SCT}'",
        "status": "'completed'",
        "start": when,
        "end": when,
    }
    return _columns(PROCEDURES, values)


# Stays that ended 17 to 42 days ago, most of them at home; every second of those people was seen within two weeks.
_STAY: Final = {"stay": 5, "discharged": 26, "nights": 6, "goes": 9, "is_seen": 2, "seen": 10}
_STAYS = Made(
    ENCOUNTERS.table,
    _visit(
        "stay",
        _at("date_sub(today, 18 + discharged + nights)", "9"),
        "32485007",
        _SCT,
        cls="IMP",
        end=_at("date_sub(today, 17 + discharged)", "15"),
        left_for="CASE WHEN age >= 70 AND goes < 2 THEN '428361000124107' WHEN goes = 8 THEN '306694006' ELSE '306689006' END",
    ),
    dice=_STAY,
    where="age >= 18 AND stay = 0",
)
_SEEN_AFTER = Made(
    ENCOUNTERS.table,
    _visit("seen", _at("date_sub(today, 15 + discharged - seen)", "10")),
    dice=_STAY,
    where="age >= 18 AND stay = 0 AND is_seen = 0",
)

# Two to four visits to the emergency room in half a year, of the last two in two rows each: triage and treatment.
_EMERGENCIES = Made(
    ENCOUNTERS.table,
    _visit("ed", _at("date_sub(today, 5 + 28 * cast(k / 2 AS int) + day)", "3 + 6 * (k % 2)"), "50849002", _SCT, cls="EMER"),
    times=8,
    dice={"frequent": 15, "day": 7, "often": 3},
    where="age >= 18 AND frequent = 0 AND (k < 4 OR k % 2 = 0) AND cast(k / 2 AS int) < 2 + often",
)

# Every second positive screen was followed by a visit.
_TALKS = Made(
    ENCOUNTERS.table,
    _visit("talk", _at("date_sub(today, 2 + ago - days)", "16"), "90834"),
    dice=_SCREENED,
    where="age >= 18 AND screened = 0 AND positive = 0 AND followed = 0 AND ago > days",
)

_NURSING_HOMES = Made(
    OBSERVATIONS.table,
    _answer("lives", _at("date_sub(today, 100 + moved)", "9"), "71802-3", "'160734000'"),
    dice={"lives": 5, "moved": 300},
    where="age >= 78 AND lives = 0",
)

# Three in five women from 42 on had a mammogram in the last three years.
_MAMMOGRAMS = Made(
    PROCEDURES.table,
    _done("mam", _at("date_sub(today, 20 + ago)", "13"), "'24623002'"),
    dice={"screens": 5, "ago": 1100},
    where="sex = 'female' AND age >= 42 AND screens < 3",
)

# Operations four to nine days ago: knees, hips, gall bladders, appendices.
_OPERATIONS = Made(
    PROCEDURES.table,
    _done("op", _at("date_sub(today, 4 + ago)", "12"), "element_at(array('609588000', '52734007', '38102005', '80146002'), 1 + part)"),
    dice={"operated": 4, "ago": 6, "part": 4},
    where="age >= 18 AND operated = 0",
)

ADDITIONS = (_STAYS, _SEEN_AFTER, _EMERGENCIES, _TALKS, _NURSING_HOMES, _MAMMOGRAMS, _OPERATIONS)
