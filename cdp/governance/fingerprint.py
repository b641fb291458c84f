"""Fingerprints of decisions: what a plan, an approval and an acknowledged row rest on. Not of files: comments and order do not matter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from cdp.governance.query import Decision, Withheld
from cdp.project.project import Policy
from cdp.spec.access import Agreement
from cdp.spec.activation import Sync


def of_decision(policy: Policy, sync: Sync, agreement: Agreement, decision: Decision, withheld: Sequence[Withheld], model: str) -> str:
    """SHA-256 over what the decision on a sync rests on.

    Args:
        policy: of the project.
        sync: that is decided on.
        agreement: its destination's.
        decision: what is allowed.
        withheld: the special rows that are not read.
        model: the fingerprint of what the sync says of whom: a field may hold something else of the same class.
    """
    used = sorted({spec.mask for spec in (*sync.key.values(), *sync.mappings.values()) if spec.mask})
    return _sha256(
        {
            "agreement": agreement.model_dump(mode="json"),
            "purpose": policy.purposes[sync.purpose].model_dump(mode="json"),
            "masks": {name: policy.masks[name].model_dump(mode="json") for name in used},
            "consent": policy.consent.model_dump(mode="json") if policy.consent else None,
            "eligibility": [rule.model_dump(mode="json") for e in policy.eligibility.values() for rule in e.rules],
            "withheld": [(each.cls, each.table, each.special.sql("spark")) for each in withheld],
            "columns": dict(decision.columns),
            "members": decision.members,
            "told": of_told(policy, sync, decision),
            "model": model,
            "picks": [sync.mode, sync.one_per, sync.prefer],
            "holdout": sync.holdout.model_dump(mode="json") if sync.holdout else None,
            "quality": [each.model_dump(mode="json", exclude_none=True) for each in sync.quality],
        }
    )


def of_told(policy: Policy, sync: Sync, decision: Decision) -> str:
    """SHA-256 over what a row tells, to whom and why; dates, documents and who may be told are no part of it.

    Rows that were acknowledged under another one went out under an older decision: see `when_changed` of a purpose.
    """
    outputs = {**sync.key, **sync.mappings}
    used = {name: spec.mask for name, spec in outputs.items() if spec.mask}
    return _sha256(
        {
            "receiver": decision.receiver,
            "agreement": decision.agreement,
            "purpose": decision.purpose,
            "columns": {name: [decision.columns[name], used.get(name)] for name in outputs},
            "masks": {mask: policy.masks[mask].model_dump(mode="json", exclude={"of", "key"}) for mask in used.values()},
            "members": decision.members,
        }
    )


def _sha256(facts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
