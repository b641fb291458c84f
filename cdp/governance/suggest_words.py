"""What names of tables and columns usually mean: read in order, the first that fits counts. Words are singular and lower case.

Candidates of classes are tried from left to right; the first that the project declares is proposed.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Hint(NamedTuple):
    """One meaning.

    Attributes:
        words: phrases, parted by commas, one of which stands in the name.
        classes: candidates; none: those of the table.
        reason: why, for the reader.
        holds: a value may say what is special, too.
        codes: a value is a code of some code system.
        types: the column must be of one of these; none: of any.
    """

    words: str
    classes: tuple[str, ...]
    reason: str = ""
    holds: bool = False
    codes: bool = False
    types: tuple[str, ...] = ()

    @property
    def phrases(self) -> tuple[str, ...]:
        """The words, one by one."""
        return tuple(phrase.strip() for phrase in self.words.split(","))


SPECIAL: Final = (
    Hint("psychotherapy, therapy note, session note", ("sensitive.psychotherapy",), "psychotherapy notes: 45 CFR 164.501"),
    Hint(
        "sud, substance, opioid, opiate, alcohol, drug use, drug abuse, detox, rehab, methadone, audit c",
        ("sensitive.sud",),
        "substance use",
    ),
    Hint("hiv, cd4, prep, antiretroviral", ("sensitive.hiv",), "HIV"),
    Hint(
        "psychiatric, psychiatry, psych, mental, behavioral, behavioural, depression, suicide, phq9, phq, gad7",
        ("sensitive.mental_health",),
        "mental health",
    ),
    Hint(
        "pregnancy, pregnant, prenatal, obstetric, abortion, contraception, contraceptive, fertility, gravida, lmp, reproductive",
        ("sensitive.reproductive",),
        "reproductive health",
    ),
    Hint("genetic, genomic, gene, variant, brca", ("sensitive.genetic",), "genetic information"),
    Hint("violence, abuse, assault, victim, ipv", ("sensitive.violence",), "violence"),
    Hint("orientation, sexuality, gender identity, pronoun, transgender", ("sensitive.orientation",), "orientation or gender identity"),
)

CODES: Final = (
    Hint("code system, system, vocabulary", ("public",), "the name of a code system", types=("string",)),
    Hint(
        "diagnosis, diagnosis code, dx, icd, icd10, icd9, snomed, problem code, condition code",
        ("clinical.condition", "clinical"),
        "a diagnosis says any disease",
        True,
        True,
        ("string",),
    ),
    Hint(
        "drug code, rxnorm, ndc, medication code, atc",
        ("clinical.medication", "clinical"),
        "a drug says the disease",
        True,
        True,
        ("string",),
    ),
    Hint("procedure code, cpt, hcpcs, px", ("clinical.procedure", "clinical"), "a procedure says the disease", True, True, ("string",)),
    Hint(
        "loinc, lab code, test code, observation code", ("clinical.observation", "clinical"), "what was tested for", True, True, ("string",)
    ),
    Hint("zip code, postal code, postcode", ("demographic.zip", "demographic"), "a place"),
    Hint("code", (), "a code may be of any kind", True, True, ("string",)),
)

TEXTS: Final = (
    Hint(
        "note, comment, remark, text, description, reason, narrative, message, free text, memo, summary, body, title",
        (),
        "free text may say anything",
        True,
        types=("string",),
    ),
    Hint("value, result, answer, response, finding", (), "a value of any kind", True, types=("string",)),
)

COLUMNS: Final = (
    Hint("ssn, social security", ("identifier.ssn", "identifier"), "social security number"),
    Hint("mrn, medical record, patient id, patientid, person id", ("identifier.mrn", "identifier"), "the patient's number"),
    Hint(
        "member id, subscriber, beneficiary, policy number, medicare id, medicaid id",
        ("identifier.member", "identifier"),
        "a health plan's number",
    ),
    Hint("account, account number", ("identifier.account", "identifier"), "an account number"),
    Hint("npi, provider id, practitioner id, clinician id, physician id", ("identifier.provider", "identifier"), "who of our clinicians"),
    Hint("email, mail", ("contact.email", "contact"), "an address of mail", types=("string",)),
    Hint("phone, mobile, cell, telephone, tel, fax", ("contact.phone", "contact"), "a telephone number", types=("string",)),
    Hint(
        "street, address, addr, line1, line2, city, town, county, latitude, longitude",
        ("contact.address", "contact"),
        "a place smaller than a state",
    ),
    Hint("zip, postal, postcode, zip3, zipcode", ("demographic.zip", "demographic"), "a place"),
    Hint("birth, dob, birthdate, birthday, born, age", ("demographic.birth_date", "demographic"), "when somebody was born"),
    Hint("death, deceased, died, dod", ("demographic.death_date", "demographic"), "whether and when somebody died"),
    Hint("first name, given name, given, middle name, nickname, preferred name", ("name.given", "name"), "a given name"),
    Hint("last name, family name, surname, maiden name, family", ("name.family", "name"), "a family name"),
    Hint("full name, patient name, name prefix, name suffix", ("name",), "a name"),
    Hint("sex, gender", ("demographic.sex", "demographic"), "sex"),
    Hint("language, lang, interpreter", ("demographic.language", "demographic"), "a language"),
    Hint("state, province", ("demographic.state", "demographic"), "a state", types=("string",)),
    Hint(
        "ward, department, unit name, facility, clinic, location, specialty, program",
        ("clinical.encounter", "clinical"),
        "where somebody was treated says for what",
        True,
    ),
    Hint(
        "payer, payor, insurance, coverage, premium, copay, balance, amount, charge, cost, price",
        ("financial.coverage", "financial"),
        "who pays, and what",
    ),
    Hint("consent, opt in, opt out, unsubscribed", ("consent_state",), "what somebody agreed to"),
    Hint("dose, dosage, refill, quantity, sig, days supply", ("clinical.medication", "clinical"), "of a drug"),
    Hint(
        "systolic, diastolic, bp, weight, height, bmi, pulse, temperature, spo2",
        ("clinical.vital", "clinical.observation", "clinical"),
        "measured",
    ),
    Hint(
        "date, time, at, on, start, end, started, ended, onset, admitted, discharged, scheduled, created, updated, recorded",
        ("clinical.date", "clinical"),
        "when something happened to somebody: 164.514(b)(2)(i)(C)",
        types=("date", "timestamp"),
    ),
)

TABLES: Final = (
    Hint("condition, diagnosis, problem, comorbidity", ("clinical.condition", "clinical"), "being in it tells of a disease"),
    Hint("encounter, visit, admission, stay", ("clinical.encounter", "clinical"), "being in it tells of a treatment"),
    Hint("observation, lab, result, vital, measurement", ("clinical.observation", "clinical"), "being in it tells of a test"),
    Hint("medication, prescription, drug, dispense, fill, pharmacy", ("clinical.medication", "clinical"), "being in it tells of a drug"),
    Hint("procedure, surgery, operation", ("clinical.procedure", "clinical"), "being in it tells of a treatment"),
    Hint("immunization, vaccination, vaccine", ("clinical.immunization", "clinical"), "being in it tells of a vaccine"),
    Hint("appointment, schedule, booking", ("operations.scheduling", "operations"), "being in it tells of an appointment"),
    Hint("claim, invoice, bill, payment, coverage, eligibility", ("financial.coverage", "financial"), "being in it tells who pays"),
    Hint("consent, preference", ("consent_state",), "being in it tells what somebody agreed to"),
    Hint("patient, person, member, people", ("membership.patient", "membership"), "being in it tells that one is a patient"),
)
