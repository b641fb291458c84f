"""`cdp sandbox`: channel servers on this machine, and the one that a run starts for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdp.cli.command import command
from cdp.cli.session import Session

PORT = 8765


@command("cdp sandbox", "cdp sandbox --port 9000 --store sandbox.jsonl", "curl -s 127.0.0.1:8765/_sandbox")
def sandbox(
    session: Session,
    host: Annotated[str, typer.Option(help="A loopback name or address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = PORT,
    store: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep what is received here, over restarts.")] = None,
) -> None:
    """Serve local channels that store what they get, until Ctrl-C.

    GET /_sandbox counts what each channel holds; POST /_sandbox/CHANNEL/faults stages faults.
    """
    from cdp.sandbox.server import serve

    def ready(url: str) -> None:
        if session.out.as_json:
            session.out.json({"url": url, "store": str(store) if store else None})
        else:
            session.out.text(f"sandbox listens on {url}; Ctrl-C stops it")

    serve(host, port, store, ready)
