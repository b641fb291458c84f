"""A process that maintains a table again and again, without an engine, to be killed at any moment."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from deltalake.exceptions import CommitFailedError

from cdp.engine import maintenance

maintenance.FILES, maintenance.SECONDS = 2, 0
print("ready", flush=True)
while True:
    with suppress(CommitFailedError):
        maintenance.maintain(Path(sys.argv[1]), {"sync": sys.argv[2]})
