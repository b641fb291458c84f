"""A small valid project for tests: one segment of patients, synced by e-mail to a channel with an agreement."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from cdp.project.codes.reviews import fingerprint
from cdp.spec.model import Codes

CONF = """\
kind: project
name: small_clinic
timezone: America/New_York
default_environment: dev
environments:
  dev: {engine: sail, lakehouse: lake, control: cdp, sandbox: true}
code_systems:
  SNOMED: [http://snomed.info/sct, SNOMED-CT]
  LOINC: [http://loinc.org, LN]
"""

PATIENT = """\
kind: entity
name: patient
table: clinical.patients
key: patient_id
rows: membership.patient
columns:
  patient_id: {type: string, class: identifier.mrn}
  birth_date: {type: date, class: demographic.birth_date, role: birth_date}
  death_date: {type: date, class: demographic.death_date, role: death_date}
  given_name: {type: string, class: name.given}
  email: {type: string, class: contact.email}
  state: {type: string, class: demographic.state}
relations:
  consents: {many: consent, via: patient_id}
"""

CONSENTS = """\
kind: entity
name: consent
table: crm.consents
key: consent_id
time: effective_at
rows: consent_state
columns:
  consent_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  purpose: {type: string, class: consent_state}
  channel: {type: string, class: consent_state}
  status: {type: string, class: consent_state}
  effective_at: {type: timestamp, class: consent_state}
  expires_at: {type: timestamp, class: consent_state}
  recorded_at: {type: timestamp, class: consent_state}
relations:
  patient: {one: patient, via: patient_id}
"""

SEGMENT = """\
kind: segment
name: adults
entity: patient
description: Everyone of age.
owner: care@example.org
purpose: care_coordination
where: {age: {gte: 18}}
"""

CLASSES = """\
kind: classes
classes:
  identifier: {phi: true, key: true}
  identifier.internal: {}
  identifier.mrn: {}
  identifier.pseudonym: {}
  contact: {phi: true}
  contact.email: {}
  name: {phi: true}
  name.given: {}
  demographic: {phi: true}
  demographic.birth_date: {}
  demographic.death_date: {}
  demographic.state: {}
  demographic.year: {}
  membership: {phi: true}
  membership.patient: {}
  clinical: {phi: true}
  clinical.condition: {}
  clinical.date: {}
  sensitive: {phi: true, inherit: false}
  sensitive.sud: {law: 42 CFR part 2, needs_consent: part2}
  public: {phi: false}
  consent_state: {phi: true}
"""

MASKS = """\
kind: masks
masks:
  "null": {of: "*", gives: public}
  pseudonym:
    {of: [identifier, contact, name], gives: identifier.pseudonym, kind: hmac_sha256, key: {env: CDP_PSEUDONYM_KEY}, per: destination}
  year: {of: demographic.birth_date, gives: {demographic.birth_date: demographic.year}, over_89: "null"}
"""

PURPOSES = """\
kind: purposes
purposes:
  care_coordination:
    basis: 45 CFR 164.506(c); 164.501
    classes: [identifier.pseudonym, contact.email, name.given]
    members: [membership, demographic]
    channels: [email]
    consent: opt_in
"""

CONSENT = """\
kind: consent
entity: consent
columns:
  person: patient_id
  purpose: purpose
  channel: channel
  status: status
  effective: effective_at
  expires: expires_at
  recorded: recorded_at
granted: active
max_age: {hours: 26}
semantics:
  opt_in: {need: granted}
  part2: {need: granted, per: purpose}
channels:
  email: {consent: opt_in, basis: 15 U.S.C. 7704}
"""

ELIGIBILITY = """\
kind: eligibility
entity: patient
rules:
  - {name: deceased, when: {death_date: {not_null: true}}, basis: 45 CFR 164.502(f)}
  - {name: no_consent, when: {consent: missing}, basis: governance/consent.yml}
"""

AGREEMENT = """\
kind: baa
name: mailer
counterparty: Example Mail
signed: 2026-01-15
effective: 2026-01-15
expires: 2099-01-14
hosts: [api.mail.example]
paths: [/v1/]
purposes: care_coordination
classes: [identifier.pseudonym, contact.email, name.given]
members: [membership.patient, demographic]
"""

DESTINATION = """\
kind: destination
name: mail
connector: http
channel: email
baa: mailer
base_url: https://api.mail.example
secrets: {api_key: {env: MAIL_API_KEY}}
http:
  headers: {Authorization: "Bearer {api_key}"}
  upsert: {method: PUT, path: /v1/contacts, batch: 100, body: {list: contacts}}
  remove: {method: DELETE, path: /v1/contacts, body: array}
  repeats: state
"""

SYNC = """\
kind: sync
name: adults_mail
segment: adults
destination: mail
purpose: care_coordination
mode: mirror
key: {external_id: {of: patient_id, mask: pseudonym}}
mappings: {email: email, first_name: given_name}
"""

FILES = {
    "conf/cdp.yml": CONF,
    "models/patient.yml": PATIENT,
    "models/consents.yml": CONSENTS,
    "models/adults.yml": SEGMENT,
    "governance/classes.yml": CLASSES,
    "governance/masks.yml": MASKS,
    "governance/purposes.yml": PURPOSES,
    "governance/consent.yml": CONSENT,
    "governance/eligibility.yml": ELIGIBILITY,
    "governance/baa/mailer.yml": AGREEMENT,
    "destinations/mail.yml": DESTINATION,
    "syncs/adults_mail.yml": SYNC,
}


# Files of the project that say which account of the channel is ours; without them `cdp validate` warns.
WITH_ACCOUNT = {
    "governance/baa/mailer.yml": f"{AGREEMENT}account: clinic-7\n",
    "destinations/mail.yml": f"{DESTINATION}  whoami: {{path: /v1/account, account: id}}\n",
}


def minimal(tmp_path: Path, **overlays: str | bytes | None) -> Path:
    """Write the project and return its root.

    `overlays` are files by their path (`minimal(tmp, **{"models/x.yml": "..."})`): text or bytes stand in place of
    the file of that path or beside the others; None leaves a file out.
    """
    root = tmp_path / "project"
    for name, content in {**FILES, **overlays}.items():
        path = root / name
        if content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else dedent(content).encode())
    return root


def review(name: str, cls: str, **codes: tuple[str, ...]) -> str:
    """An entry of governance/value_sets.yml: `name` gives away `cls`; `codes` are those reviewed, by code system."""
    sha256 = fingerprint(Codes(system=system, codes=listed) for system, listed in codes.items())
    return f"  {name}: {{class: {cls}, reviewed: {{by: privacy@example.org, on: 2026-06-01, sha256: {sha256}}}}}\n"
