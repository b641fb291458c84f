"""What a refused sync may still do: take people off. Removing always may pass, for it names nobody whom the receiver does not hold.

A removal needs a receiver that stands (an agreement, its host or folder), and says that this person must no longer be there.
After an agreement's end its `after_end` says how long removals go (45 CFR 164.504(e)(2)(ii)(J): return or destroy).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cdp.errors import Refusal
from cdp.governance.agreements import ended
from cdp.governance.query import Removals
from cdp.spec.access import Agreement
from cdp.spec.activation import Sync

# The rules that say what a receiver may be told, and for what. Any other stops removals too: they need a receiver that
# stands, a query that can be made, and rules about people that can be asked.
_OF_MEMBERSHIP = frozenset({"membership", "never", "part2", "review"})
_OF_TELLING = _OF_MEMBERSHIP | {
    "value",
    "declassify",
    "agreement",
    "subprocessor",
    "authorization",
    "profile",
    "channel",
    "funding",
    "holdout",
}


def allowed(sync: Sync, agreement: Agreement | None, refusals: Sequence[Refusal], today: dt.date) -> Removals | None:
    """Who may be taken off by a sync that is refused; None when nothing may leave.

    Where the receiver may not know who is in the segment, who left it is not told either: then only those go whom a rule keeps out.

    Args:
        sync: it removes in mode `mirror` only.
        agreement: of its destination.
        refusals: every reason why it is refused.
        today: the wall clock's day.
    """
    if agreement is None or sync.mode != "mirror" or (agreement.effective is not None and today < agreement.effective):
        return None
    if any(refusal.rule not in _OF_TELLING for refusal in refusals):
        return None
    if ended(agreement, today) is not None:
        if not _after_end(agreement, today):
            return None
        if agreement.after_end and agreement.after_end.removes == "all":
            return "everyone"
    return "kept_out" if any(refusal.rule in _OF_MEMBERSHIP for refusal in refusals) else "left"


def _after_end(agreement: Agreement, today: dt.date) -> bool:
    after, expires = agreement.after_end, agreement.expires
    return after is not None and expires is not None and today <= expires + dt.timedelta(days=after.days)
