"""What masks make of values: for the unit tests and for those on every engine."""

from __future__ import annotations

import datetime as dt
import hashlib

from cdp.spec.policy import Mask

DAY = dt.date(2026, 7, 1)


def mask(of: str, gives: str | dict[str, str], **more: object) -> Mask:
    return Mask.model_validate({"of": of.split(), "gives": gives, **more})


NULL = mask("*", "public")
LAST4 = mask("identifier.mrn contact.phone", "same")
YEAR = mask(
    "demographic.birth_date clinical.date",
    {"demographic.birth_date": "demographic.year", "clinical.date": "demographic.year"},
    over_89="null",
)
ZIP3 = mask("demographic.zip", "demographic.zip3", zero=["036", "059"])
AGE_BAND = mask("demographic.birth_date", "demographic.age_band", bands=[0, 18, 30, 45, 65, 75, 90])
CONSTANT = mask("*", "public", value="a test that is due")
SHA256 = mask("contact.email contact.phone name", "identifier.linkable", normalise="receiver", without_plus="north_american")


def digest(text: str) -> str:
    """SHA-256 as hex."""
    return hashlib.sha256(text.encode()).hexdigest()


LAST4_CASES = [
    ("MRN-0012345", "identifier.mrn", "2345"),
    ("12-34a", "identifier.mrn", "-34a"),
    ("12345", "identifier.mrn", "2345"),
    ("1234", "identifier.mrn", None),  # it would be shown whole
    ("12", "identifier.mrn", None),
    ("", "identifier.mrn", None),
    (None, "identifier.mrn", None),
    ("+1 (555) 010-1 234", "contact.phone", "1234"),
    ("555-0199 ext.", "contact.phone", "0199"),
    ("12-34", "contact.phone", None),
    ("unknown", "contact.phone", None),
    ("éèêëñ", "identifier.mrn", "èêëñ"),
]

YEAR_CASES = [
    (dt.date(1970, 5, 1), 1970),
    (dt.date(1937, 1, 1), 1937),  # 89 at most until the year is over
    (dt.date(1936, 12, 31), None),  # 89 or 90 this year: the year alone may say over 89
    (dt.date(1936, 1, 1), None),
    (dt.date(1900, 1, 1), None),
    (dt.date(2026, 7, 1), 2026),
    (None, None),
]

ZIP3_CASES = [
    ("02139", "021"),
    ("02139-4307", "021"),
    ("03601", "000"),
    ("05901-1234", "000"),
    ("00036", "000"),
    ("0213", None),
    ("021394307", None),  # nine digits are as well a social security number
    ("02139-", None),
    ("02139 4307", None),
    ("ABCDE", None),
    ("K1A 0B1", None),
    (" 02139", None),
    ("x02139", None),
    ("", None),
    (None, None),
]

BAND_CASES = [
    (dt.date(2026, 7, 1), "0-17"),
    (dt.date(2026, 7, 2), None),  # not born yet
    (dt.date(2008, 7, 2), "0-17"),
    (dt.date(2008, 7, 1), "18-29"),  # eighteen today
    (dt.date(1996, 7, 2), "18-29"),
    (dt.date(1996, 7, 1), "30-44"),
    (dt.date(1936, 7, 2), "75-89"),
    (dt.date(1936, 7, 1), "90+"),
    (dt.date(1915, 1, 1), "90+"),  # one group, whatever the age: 164.514(b)(2)(i)(C)
    (dt.datetime(1996, 7, 1, 23, 59), "30-44"),
    (None, None),
]

FORM_CASES = [
    ("contact.email", " \tAna@Example.ORG \n", "ana@example.org"),
    ("contact.email.work", "ana@example.org", "ana@example.org"),
    ("contact.email", "ana.b+c@example.org", "ana.b+c@example.org"),
    ("contact.email", "ana@example", None),
    ("contact.email", "a na@example.org", None),
    ("contact.email", "a@b@example.org", None),
    ("contact.email", "ana@example.org\nx", None),
    ("contact.email", "none", None),
    ("contact.email", "", None),
    ("contact.email", None, None),
    ("name.family", " O'Brien-Smith ", "obriensmith"),
    ("name", "Mary Ann", "mary ann"),
    ("name.given", "-", None),
    ("name.given", "", None),
    ("contact.phone", "+1 (650) 555-1212", "+16505551212"),
    ("contact.phone", "650.555.1212", "+16505551212"),
    ("contact.phone", "1-650-555-1212", "+16505551212"),
    ("contact.phone", "+44 20 7946 0958", "+442079460958"),
    ("contact.phone", "020 7946 0958", None),  # no country can be told
    ("contact.phone", "0650 555 1212", None),
    ("contact.phone", "555-0101", None),
    ("contact.phone", "650-155-1212", None),  # no exchange begins with 1
    ("contact.phone", "650-555-1212 ext. 4", None),
    ("contact.phone", "+1650555121234567", None),  # E.164 has 15 digits at most
    ("contact.phone", "+0123456789", None),
    ("contact.phone", "unknown", None),
    ("contact.phone", None, None),
]
