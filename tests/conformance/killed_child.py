"""A run that a test kills: the channel is a file of lines, one a request, written before the answer."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

from cdp.connectors.base import Batch, Receipts
from cdp.engine import connect
from cdp.errors import BusyError
from cdp.spec.activation import Environment
from cdp.sync import diff, lease, recorder
from tests.conformance.world import NOW, World

PAST_LEASES = dt.timedelta(seconds=lease.SECONDS + 180)


def replay(path: Path) -> tuple[dict[str, str], int]:
    """What the channel holds after its requests, and how many changes it took twice."""
    rows: dict[str, str] = {}
    seen: set[str] = set()
    again = 0
    for line in path.read_text().splitlines() if path.exists() else ():
        for op, change, key, email in json.loads(line):
            again += change in seen
            seen.add(change)
            if op == "remove":
                rows.pop(key, None)
            else:
                rows[key] = email
    return rows, again


def main(root: Path, turn: int) -> int:
    recorder.GROUP_SECONDS, diff.CHUNK_ROWS = 0.05, 40  # many commits: to be killed in the middle of one
    engine = connect(Environment(engine="sail", lakehouse="lake"), root=root)
    world = World(engine, "clinic", "cdp", root, now=NOW + turn * PAST_LEASES)
    world.values = ("email",)
    world.channel.size, world.channel.delay = 10, 0.02

    def write(batch: Batch) -> Receipts:
        rows = batch.rows.to_pylist()
        line = [[batch.op, change, row["patient_id"], row.get("email")] for change, row in zip(batch.change_ids, rows, strict=True)]
        with (root / "channel").open("a") as file:
            file.write(json.dumps(line) + "\n")
        return Receipts.all(len(batch), "delivered")

    world.channel.answers = [write] * 10_000
    print("ready", flush=True)
    try:
        print(json.dumps(world.sync()[1].as_json()), flush=True)
    except BusyError:
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
