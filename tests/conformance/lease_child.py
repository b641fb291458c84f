"""Another process that wants a lease, on the embedded engine: `python -m tests.conformance.lease_child ROOT SCHEMA MACHINE hold|race`."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from cdp.engine import connect
from cdp.errors import BusyError
from cdp.spec.activation import Environment
from cdp.sync import lease, process
from cdp.sync.ledger import Control
from cdp.testing.engine import MOMENT


def race(control: Control, floor: Path, rounds: int) -> tuple[int, list[int]]:
    """Take and give back the lease; two who hold it at once meet at the file `floor`. Returns how often they met, and the tokens."""
    met, tokens, tries = 0, [], 0
    while len(tokens) < rounds and tries < 400:
        tries += 1
        try:
            held = lease.acquire(control, "letters", lambda: MOMENT)
        except BusyError:
            time.sleep(random.random() * 0.02)
            continue
        try:
            os.close(os.open(floor, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            met += 1
        held.check()
        time.sleep(random.random() * 0.01)
        floor.unlink(missing_ok=True)
        tokens.append(held.token)
        held.release()
    return met, tokens


def main(root: Path, schema: str, machine: str, what: str) -> None:
    if machine != "here":
        process.identity = lambda: f"{machine} another-boot pid:[1] 7 7"
    control = Control(connect(Environment(engine="sail", lakehouse="lake"), root=root), schema)
    if what == "hold":
        held = lease.acquire(control, "letters", lambda: MOMENT)
        print(held.token, flush=True)
        time.sleep(600)  # it is killed before
    else:
        control.table("leases")
        print("ready", flush=True)
        sys.stdin.readline()
        met, tokens = race(control, root / "floor", int(what))
        print(met, *tokens, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:5])
