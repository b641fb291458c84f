"""`cdp sandbox`: channel servers on this machine, and the one that a run starts for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cdp.cli.command import command
from cdp.cli.session import Session
from cdp.errors import CdpError

PORT = 8765


@command("cdp sandbox", "cdp sandbox --port 9000 --store sandbox.jsonl", "curl -s 127.0.0.1:8765/_sandbox")
def sandbox(
    session: Session,
    host: Annotated[str, typer.Option(help="A loopback name or address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = PORT,
    store: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep what is received here, over restarts.")] = None,
) -> None:
    """Serve local channels that store what they get, until Ctrl-C.

    GET /_sandbox counts what each channel holds; POST /_sandbox/CHANNEL/faults stages faults. Asked whose account they are,
    channels answer what the agreements of the project here say; without a project, their own names.
    """
    from cdp.sandbox.server import serve

    def ready(url: str) -> None:
        if session.out.as_json:
            session.out.json({"url": url, "store": str(store) if store else None})
        else:
            session.out.text(f"sandbox listens on {url}; Ctrl-C stops it")

    serve(host, port, store, ready, _accounts(session))


def _accounts(session: Session) -> dict[str, Any]:
    """What the channels of the project here answer when they are asked whose account they are; nothing is known without a project."""
    from cdp.cli.channel import accounts

    try:
        return accounts(session.project, session.environment)
    except CdpError as error:
        session.out.note(f"channels answer their own names when asked for an account: {error.message.splitlines()[0]}")
        return {}
