"""What a hospital knows and Synthea does not, made up around the patients that are there: SQL that gives the same on every engine.

Appointments, insurance, the pharmacy, calls, devices and pregnancies have tables of their own. Some events that Synthea has
too seldom (stays, visits to the emergency room, operations, screens) join the tables of the feed; their keys begin with
`adt-`. Everything hangs on the patient's key and lies around `today`, so that a programme of the example finds people whatever
the day. Days are chosen well inside of the windows that ask for them: what was made yesterday still fits.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from cdp.sample.people import CLINICIANS, dice, new_member
from cdp.sample.tables import ENCOUNTERS, OBSERVATIONS, PATIENTS, PRESCRIPTIONS, PROCEDURES

_SCT, _LOINC, _CPT = "http://snomed.info/sct", "http://loinc.org", "http://www.ama-assn.org/go/cpt"
_DRUGS = (  # drug_id, RxNorm, name, ingredient, group of equivalents, on the formulary, unit cost, days that a fill lasts
    ("d01", "312961", "Simvastatin 20 MG Oral Tablet", "simvastatin", "simvastatin-20", True, 0.08, 30),
    ("d02", "104491", "Zocor 20 MG Oral Tablet", "simvastatin", "simvastatin-20", False, 6.40, 30),
    ("d03", "860975", "Metformin ER 500 MG Oral Tablet", "metformin", "metformin-er-500", True, 0.11, 30),
    ("d04", "860977", "Glucophage XR 500 MG Oral Tablet", "metformin", "metformin-er-500", False, 2.90, 30),
    ("d05", "197361", "Amlodipine 5 MG Oral Tablet", "amlodipine", "amlodipine-5", True, 0.05, 90),
    ("d06", "212549", "Norvasc 5 MG Oral Tablet", "amlodipine", "amlodipine-5", False, 7.10, 90),
    ("d07", "309362", "Clopidogrel 75 MG Oral Tablet", "clopidogrel", "clopidogrel-75", True, 0.12, 90),
    ("d08", "897122", "Liraglutide Pen Injector", "liraglutide", "liraglutide-pen", True, 310.00, 30),
    ("d09", "106892", "Insulin Lispro [Humalog]", "insulin lispro", "insulin-lispro", False, 27.50, 30),
    ("d10", "865098", "Insulin Lispro 100 UNT/ML", "insulin lispro", "insulin-lispro", True, 8.20, 30),
)


@dataclass(frozen=True, slots=True)
class Made:
    """A table, or rows for one: its columns with their Spark types, each with its value over the rows of `source`."""

    table: str
    columns: Mapping[str, tuple[str, str]]
    source: str

    @property
    def schema(self) -> dict[str, str]:
        """The columns and their types."""
        return {name: kind for name, (kind, _) in self.columns.items()}

    @property
    def query(self) -> str:
        """The rows."""
        values = ", ".join(f"cast({value} AS {kind}) AS `{name}`" for name, (kind, value) in self.columns.items())
        return f"SELECT {values} FROM {self.source}"


def tables(today: dt.date, zone: str) -> tuple[Made, ...]:
    """The tables that Synthea has nothing of."""
    day = _Day(today, zone)
    return (
        _clinicians(),
        _coverages(day),
        _appointments(day),
        _drugs(),
        _fills(day),
        _contacts(day),
        _pregnancies(day),
        _uploads(day),
        _step_days(day),
    )


def additions(today: dt.date, zone: str) -> tuple[Made, ...]:
    """Events for the tables of the feed."""
    day = _Day(today, zone)
    return (*_stays(day), _emergencies(day), *_screens(day), _mammograms(day), _operations(day))


class _Day:
    """Days and times around `today`, as SQL, and the people who are alive on it."""

    def __init__(self, today: dt.date, zone: str) -> None:
        self.today, self._zone = f"date'{today.isoformat()}'", zone
        columns = "patient_id, birth_date, sex, death_date"
        self.alive = f"(SELECT {columns} FROM {PATIENTS.table} WHERE coalesce(death_date, date'9999-01-01') > {self.today})"

    def ago(self, days: str) -> str:
        """The day so many days ago."""
        return f"date_sub({self.today}, cast({days} AS int))"

    def at(self, day: str, hour: str, minute: str = "0") -> str:
        """The moment of a local time of day."""
        clock = (
            f"concat(cast({day} AS string), ' ', lpad(cast({hour} AS string), 2, '0'), ':', lpad(cast({minute} AS string), 2, '0'), ':00')"
        )
        return f"to_utc_timestamp(cast({clock} AS timestamp), '{self._zone}')"

    def aged(self, low: int, high: int = 120) -> str:
        """That the person's age lies in these years."""
        return f"p.birth_date BETWEEN add_months({self.today}, {-12 * high}) AND add_months({self.today}, {-12 * low})"

    def some(self, what: str, sides: int, where: str = "TRUE") -> str:
        """A FROM clause: one in `sides` of the people `p` alive, of those for whom `where` holds."""
        return f"{self.alive} AS p WHERE {where} AND {_roll(what, sides)} = 0"

    def repeated(self, what: str, sides: int, times: int, where: str = "TRUE") -> str:
        """The same people, each `times` times, with a number `k` from 0."""
        return f"{self.alive} AS p CROSS JOIN {_numbers(times)} WHERE {where} AND {_roll(what, sides)} = 0"


def _roll(what: str, sides: int) -> str:
    return dice("p.patient_id", f"'{what}'", sides=sides)


def _numbers(count: int) -> str:
    return f"(SELECT cast(id AS int) AS k FROM range({count})) AS n"


def _key(prefix: str, *more: str) -> str:
    return f"concat_ws('-', '{prefix}', {', '.join(('p.patient_id', *more))})"


# -- insurance and scheduling -----------------------------------------------------------------------------------------


def _clinicians() -> Made:
    names = ("Adams", "Baker", "Chen", "Diaz", "Evans", "Flores", "Green", "Hall", "Ito", "Jones", "Khan", "Lopez")
    rows = ", ".join(f"({n}, '{name}')" for n, name in enumerate(names[:CLINICIANS]))
    columns = {
        "clinician_id": ("string", "concat('c', lpad(cast(nr AS string), 2, '0'))"),
        "name": ("string", "concat('Dr. ', family)"),
        "specialty": (
            "string",
            "CASE WHEN nr % 4 = 3 THEN 'pediatrics' WHEN nr % 4 = 1 THEN 'internal medicine' ELSE 'family medicine' END",
        ),
        "active": ("boolean", "nr <> 7"),  # one has retired, and still stands in the patients' records
    }
    return Made("plan.clinicians", columns, f"(VALUES {rows}) AS c(nr, family)")


def _coverages(day: _Day) -> Made:
    """One insurance for most, since years or, for new members, since weeks; one in ten had another before, one in twelve has none now."""
    new, before, ended = new_member("p.patient_id"), _roll("insured before", 10), _roll("insurance ended", 12)
    recent, old, gap = _roll("member since", 80), _roll("insured since", 2500), _roll("ended since", 300)
    columns = {
        "coverage_id": ("string", _key("cov", "n.k")),
        "patient_id": ("string", "p.patient_id"),
        "payer": ("string", f"CASE {_roll('payer', 3)} WHEN 0 THEN 'commercial' WHEN 1 THEN 'medicare' ELSE 'medicaid' END"),
        "effective": (
            "date",
            f"CASE WHEN n.k = 1 THEN {day.ago(f'{old} + 3400')} WHEN {new} THEN {day.ago(f'3 + {recent}')} ELSE {day.ago(f'400 + {old}')} END",
        ),
        "terminated": (
            "date",
            f"CASE WHEN n.k = 1 THEN {day.ago(f'3000 + {gap}')} WHEN {ended} = 0 AND NOT {new} THEN {day.ago(f'10 + {gap}')} END",
        ),
    }
    return Made("plan.coverages", columns, f"{day.alive} AS p CROSS JOIN {_numbers(2)} WHERE n.k = 0 OR ({before} = 0 AND NOT {new})")


def _appointments(day: _Day) -> Made:
    """K = 0: one that is to come; 1: one that was kept; 2: one that was missed; 3: what was booked instead."""
    specialties = "element_at(array('cardiology', 'podiatry', 'endocrinology', 'primary care'), cast({} + 1 AS int))"
    ahead, kept, missed, other = _roll("ahead", 21), _roll("kept", 300), _roll("missed", 20), _roll("instead", 3)
    when = f"CASE n.k WHEN 0 THEN {day.ago(f'-1 - {ahead}')} WHEN 1 THEN {day.ago(f'2 + {kept}')} WHEN 2 THEN {day.ago(f'4 + {missed}')} ELSE {day.ago(f'-5 - {missed}')} END"
    of_old, of_new = (
        specialties.format(_roll("specialty", 4)),
        specialties.format(f"pmod({_roll('specialty', 4)} + CASE WHEN {other} = 1 THEN 1 ELSE 0 END, 4)"),
    )
    columns = {
        "appointment_id": ("string", _key("app", "n.k")),
        "patient_id": ("string", "p.patient_id"),
        "start": ("timestamp", day.at(when, f"8 + {_roll('hour', 9)}", f"15 * {_roll('quarter', 4)}")),
        "status": ("string", "CASE n.k WHEN 1 THEN 'fulfilled' WHEN 2 THEN 'noshow' ELSE 'booked' END"),
        "specialty": ("string", f"CASE WHEN n.k = 3 THEN {of_new} ELSE {of_old} END"),
        "confirmed_at": ("timestamp", f"CASE WHEN n.k = 0 AND {_roll('confirmed', 2)} = 0 THEN {day.at(day.ago('1'), '10')} END"),
    }
    wanted = f"CASE n.k WHEN 0 THEN {_roll('has one', 2)} = 0 WHEN 1 THEN {_roll('had one', 2)} = 0 ELSE {_roll('missed one', 8)} = 0 END"
    return Made(
        "scheduling.appointments", columns, f"{day.alive} AS p CROSS JOIN {_numbers(4)} WHERE {wanted} AND (n.k < 3 OR {other} > 0)"
    )


def _contacts(day: _Day) -> Made:
    """Calls. Of one in fifteen, more in every week's nights than in the week before: none, one, two, three; of some others one by day."""
    back, hour = (
        f"7 * pmod(n.k, 3) + 3 + {_roll('called', 2)}",
        "CASE n.k WHEN 0 THEN 23 WHEN 1 THEN 2 WHEN 2 THEN 22 WHEN 3 THEN 4 WHEN 4 THEN 23 ELSE 1 END",
    )
    night = f"{_roll('night', 15)} = 0"
    columns = {
        "contact_id": ("string", _key("con", "n.k")),
        "patient_id": ("string", "p.patient_id"),
        "started_at": (
            "timestamp",
            f"CASE WHEN n.k < 6 THEN {day.at(day.ago(back), hour, '10 + 5 * n.k')} ELSE {day.at(day.ago('1 + ' + _roll('by day', 60)), '14')} END",
        ),
        "direction": ("string", f"CASE WHEN n.k = 6 AND {_roll('outbound', 3)} = 0 THEN 'outbound' ELSE 'inbound' END"),
        "topic": ("string", "CASE WHEN n.k < 6 THEN 'symptoms' ELSE 'billing' END"),
    }
    # k = 0, 3, 5 in the last week, 1 and 4 in the one before, 2 in the one before that.
    wanted = f"(n.k < 6 AND {night}) OR (n.k = 6 AND {_roll('calls', 4)} = 0)"
    return Made("crm.contacts", columns, f"{day.alive} AS p CROSS JOIN {_numbers(7)} WHERE {wanted}")


# -- the pharmacy -----------------------------------------------------------------------------------------------------


def _drugs() -> Made:
    rows = ", ".join(
        f"('{i}', '{code}', '{name}', '{what}', '{group}', {str(on).lower()}, {cost}, {days})"
        for i, code, name, what, group, on, cost, days in _DRUGS
    )
    names = "drug_id, code, name, ingredient, equivalence_group, on_formulary, unit_cost, days_supply"
    kinds = ("string", "string", "string", "string", "string", "boolean", "decimal(18, 2)", "int")
    columns = {name: (kind, f"d.{name}") for name, kind in zip(names.split(", "), kinds, strict=True)}
    return Made("pharmacy.drugs", columns, f"(VALUES {rows}) AS d({names})")


def _fills(day: _Day) -> Made:
    """Who was ever prescribed a drug of the catalogue fills it, most in time and some late; who injects liraglutide began just now or long ago."""
    person, drug = "r.patient_id", "r.drug_id"
    late, first = dice(person, drug, "'late'", sides=3), dice(person, drug, "'first'", sides=25)
    every = f"(r.days_supply + CASE WHEN {late} = 0 THEN cast(r.days_supply * 0.6 AS int) ELSE -2 END)"
    back = f"2 + {first} + n.k * {every}"
    begun = dice(person, "'glp-1 since'", sides=2)
    just_begun = f"r.ingredient = 'liraglutide' AND {begun} = 0"
    columns = {
        "fill_id": ("string", f"concat_ws('-', 'fill', {person}, {drug}, n.k)"),
        "patient_id": ("string", person),
        "drug_id": ("string", drug),
        "filled_on": ("date", day.ago(back)),
        "days_supply": ("int", "r.days_supply"),
        "reversed": ("boolean", f"{dice(person, drug, 'n.k', sides=25)} = 0"),
    }
    pharmacy = "(SELECT drug_id, code, ingredient, equivalence_group, on_formulary, days_supply FROM pharmacy.drugs) AS d"
    branded = dice("s.patient_id", "d.equivalence_group", sides=5)
    which = f"CASE WHEN {branded} = 0 THEN coalesce(b.drug_id, d.drug_id) ELSE d.drug_id END"
    prescribed = f"""(SELECT s.patient_id, d.ingredient, d.days_supply, {which} AS drug_id
        FROM (SELECT DISTINCT patient_id, code FROM {PRESCRIPTIONS.table}) AS s JOIN {pharmacy} ON d.code = s.code
        JOIN {day.alive} AS p ON p.patient_id = s.patient_id
        LEFT JOIN (SELECT drug_id, equivalence_group FROM pharmacy.drugs WHERE NOT on_formulary) AS b ON b.equivalence_group = d.equivalence_group)"""
    kept = f"{back} <= 540 AND (n.k = 0 OR NOT ({just_begun}))"
    return Made("pharmacy.fills", columns, f"{prescribed} AS r CROSS JOIN {_numbers(18)} WHERE {kept}")


# -- women's health and devices ---------------------------------------------------------------------------------------


def _pregnancies(day: _Day) -> Made:
    """One in four women of the age; of some it ended. Synthea's own pregnancies lie in the past and have no last period."""
    lmp = day.ago(f"20 + {_roll('lmp', 255)}")
    columns = {
        "pregnancy_id": ("string", _key("pre")),
        "patient_id": ("string", "p.patient_id"),
        "lmp_date": ("date", lmp),
        "ended_on": ("date", f"CASE WHEN {_roll('ended', 8)} = 0 THEN {day.ago('4')} END"),
    }
    return Made("clinical.pregnancies", columns, day.some("pregnant", 3, f"p.sex = 'female' AND {day.aged(18, 44)}"))


def _uploads(day: _Day) -> Made:
    """Readings sent from home about once in two weeks. Half of those who began have stopped three months ago."""
    stopped, back = _roll("stopped", 2), f"13 * n.k + 2 + {_roll('sends on', 4)}"
    columns = {
        "upload_id": ("string", _key("upl", "n.k")),
        "patient_id": ("string", "p.patient_id"),
        "uploaded_at": ("timestamp", day.at(day.ago(back), f"6 + {_roll('sends at', 14)}")),
        "device": (
            "struct<kind: string, model: string>",
            f"named_struct('kind', CASE WHEN {_roll('device', 2)} = 0 THEN 'cuff' ELSE 'scale' END, 'model', concat('M', cast(1 + {_roll('model', 3)} AS string)))",
        ),
    }
    return Made("devices.uploads", columns, f"{day.repeated('monitored', 6, 16, day.aged(40))} AND ({stopped} > 0 OR n.k > 7)")


def _step_days(day: _Day) -> Made:
    """Six weeks of daily steps; of one in three the last week has less than half of them. A watch is left at home now and then."""
    walks, drops = f"3500 + {_roll('walks', 6000)}", f"{_roll('drops', 3)} = 0 AND n.k < 9"
    noise = dice("p.patient_id", "n.k", sides=900)
    columns = {
        "patient_id": ("string", "p.patient_id"),
        "step_day_id": ("string", _key("stp", "n.k")),
        "day": ("date", day.ago("n.k + 1")),
        "steps": ("int", f"({walks} + {noise}) * CASE WHEN {drops} THEN 0.4 ELSE 1.0 END"),
    }
    worn = dice("p.patient_id", "n.k", "'worn'", sides=11)
    return Made("devices.step_days", columns, f"{day.repeated('watch', 7, 42, day.aged(30))} AND {worn} > 0")


# -- events for the tables of the feed --------------------------------------------------------------------------------


def _encounters(what: str, start: str, end: str, kind: str, code: str, source: str, *, home: str = "NULL", system: str = _SCT) -> Made:
    values = {
        "encounter_id": f"concat_ws('-', 'adt-{what}', p.patient_id, {start})",
        "patient_id": "p.patient_id",
        "start": start,
        "end": end,
        "class": f"'{kind}'",
        "disposition": home,
        "type": f"'{code}'",
        "type_system": f"'{system}'",
        "status": "'finished'",
    }
    return Made(ENCOUNTERS.table, {name: (type_, values[name]) for name, type_ in ENCOUNTERS.schema.items()}, source)


def _stays(day: _Day) -> tuple[Made, ...]:
    """Stays that ended 16 to 43 days ago, most of them at home; every second of those was seen within the two weeks after."""
    ended, nights, old = f"17 + {_roll('discharged', 26)}", _roll("nights", 6), day.aged(80)
    left = day.ago(ended)
    home = f"CASE WHEN {old} AND {_roll('left for', 3)} = 0 THEN '428361000124107' WHEN {_roll('left for', 9)} = 0 THEN '306694006' ELSE '306689006' END"
    stay = _encounters(
        "stay",
        day.at(day.ago(f"{ended} + 1 + {nights}"), "9"),
        day.at(left, "15"),
        "IMP",
        "32485007",
        day.some("stay", 9, day.aged(18)),
        home=home,
    )
    seen = day.at(f"date_add({left}, cast(2 + {_roll('seen', 10)} AS int))", "10")
    visit = _encounters(
        "visit", seen, seen, "AMB", "99213", day.some("stay", 9, f"{day.aged(18)} AND {_roll('is seen', 2)} = 0"), system=_CPT
    )
    return stay, visit


def _emergencies(day: _Day) -> Made:
    """Three to five visits to the emergency room in half a year, the last of them in two rows: triage and treatment."""
    start = day.at(day.ago(f"5 + 28 * (n.k div 2) + {_roll('emergency', 7)}"), "3 + 6 * (n.k % 2)")
    where = f"{day.aged(18)} AND (n.k < 2 OR n.k % 2 = 0) AND n.k < 6 + 2 * {_roll('how often', 3)}"
    return _encounters("ed", start, start, "EMER", "50849002", day.repeated("frequent", 18, 10, where))


def _screens(day: _Day) -> tuple[Made, ...]:
    """Screens for depression, one in three positive; every second of those was followed by a visit. And where some old people live."""
    screened, positive = f"3 + {_roll('screened', 200)}", f"{_roll('positive', 3)} = 0"
    taken = day.at(day.ago(screened), "11")
    screen = _observations(
        "phq",
        taken,
        "73832-8",
        f"CASE WHEN {positive} THEN '428181000124104' ELSE '428171000124102' END",
        day.some("screen", 3, day.aged(18)),
    )
    seen = day.at(f"date_add({day.ago(screened)}, cast(1 + {_roll('followed', 20)} AS int))", "16")
    followed = f"{day.aged(18)} AND {positive} AND {_roll('followed up', 2)} = 0 AND {screened} > 25"
    visit = _encounters("talk", seen, seen, "AMB", "90834", day.some("screen", 3, followed), system=_CPT)
    lives = _observations(
        "lives", day.at(day.ago(f"100 + {_roll('moved', 300)}"), "9"), "71802-3", "'160734000'", day.some("nursing home", 5, day.aged(78))
    )
    return screen, visit, lives


def _observations(what: str, date: str, code: str, answer: str, source: str) -> Made:
    values = {
        "observation_id": _key(f"adt-{what}"),
        "patient_id": "p.patient_id",
        "date": date,
        "code": f"'{code}'",
        "code_system": f"'{_LOINC}'",
        "status": "'final'",
        "value_code": answer,
    }
    return Made(OBSERVATIONS.table, {name: (kind, values.get(name, "NULL")) for name, kind in OBSERVATIONS.schema.items()}, source)


def _procedures(what: str, when: str, code: str, source: str) -> Made:
    values = {
        "procedure_id": _key(f"adt-{what}"),
        "patient_id": "p.patient_id",
        "code": code,
        "code_system": f"'{_SCT}'",
        "status": "'completed'",
        "start": when,
        "end": when,
    }
    return Made(PROCEDURES.table, {name: (kind, values.get(name, "NULL")) for name, kind in PROCEDURES.schema.items()}, source)


def _mammograms(day: _Day) -> Made:
    """Three in five women from 42 on had one in the last three years."""
    when = day.at(day.ago(f"20 + {_roll('mammogram', 1100)}"), "13")
    return _procedures(
        "mam", when, "'24623002'", day.some("no mammogram", 1, f"p.sex = 'female' AND {day.aged(42)} AND {_roll('screens', 5)} < 3")
    )


def _operations(day: _Day) -> Made:
    """Operations four to ten days ago: hips, knees, gall bladders, appendices."""
    codes = "element_at(array('609588000', '52734007', '38102005', '80146002'), cast({} + 1 AS int))".format(_roll("operation", 4))
    when = day.at(day.ago(f"4 + {_roll('operated', 6)}"), "12")
    return _procedures("op", when, codes, day.some("surgery", 8, day.aged(18)))
