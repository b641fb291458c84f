"""`cdp demo`: the main job as a story. Every command is run for real and shown with what it prints."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated, TextIO

import typer

from cdp.cli.channel import accounts
from cdp.cli.command import command
from cdp.cli.session import Session
from cdp.errors import CdpError, UsageError

MARK = ".cdp/demo"  # only a folder with this file is replaced
SYNC = "a1c_reminder_email"
CHANNEL = "outreach_email"

ADS = """\
kind: destination
name: ads_platform
description: An ads platform. Nobody has signed anything with it.
connector: http
channel: ads
base_url: https://ads.example
http: {upsert: {path: /audiences}}
---
kind: sync
name: lookalike_audience
segment: a1c_overdue
destination: ads_platform
purpose: marketing
mode: upsert
funded_by: device_maker
key: {external_id: patient_id}
mappings: {email: email, zip: zip}
"""


@command("cdp demo", "cdp demo /tmp/demo")
def demo(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or one that an earlier demo made.")] = Path("demo"),
) -> None:
    """Tell the main job as a story, on sample patients.

    It takes about half a minute, with a channel on this machine. Each command is shown with what came back. The project
    that it makes stays, to go on with.
    """
    if folder.exists() and not (folder / MARK).exists():
        raise UsageError(f"{folder} is there, and no demo made it", fix="name a new folder")
    shutil.rmtree(folder, ignore_errors=True)
    _tell(_Story(quiet=session.options.quiet), folder)


def _tell(story: _Story, folder: Path) -> None:
    from cdp.project.load import load
    from cdp.sandbox.server import Sandbox

    story.say("A project of your own, with 150 synthetic patients in Delta tables.")
    story.run("init", str(folder))
    (folder / MARK).parent.mkdir(exist_ok=True)
    (folder / MARK).touch()
    with contextlib.chdir(folder):
        story.say("Every file is read, every reference checked, everything compiled and governed. No data is touched.")
        story.run("validate")
        story.say("A segment is YAML. This is the SQL that it becomes.")
        story.run("compile", "a1c_overdue")
        project = load(Path())
        answers = accounts(project, project.environment(None))
        with Sandbox("127.0.0.1", _port(), Path(".cdp", "sandbox.jsonl"), answers) as channel:
            story.say(f"The channel: a mail vendor's API, played by a server on this machine ({channel.url}).")
            _first_delivery(story)
            story.say(f"The channel holds {len(channel.rows(CHANNEL))} rows; it knows people by a pseudonym of its own.")
            withdrew = _next_day(story)
            story.say(f"The channel holds {len(channel.rows(CHANNEL))} rows now.")
        _refusal(story)
        _record(story, withdrew)
    story.say(f"The project stays in {folder}: `cd {folder}` and go on with `cdp --help`.")


def _first_delivery(story: _Story) -> None:
    story.say("What would be sent, and who is left out and why. Nothing leaves yet.")
    plan = _copied(r"cdp apply (\S+)", story.run("plan", SYNC))
    story.say("Deliver exactly this plan. Each row that the channel takes has a receipt.")
    story.run("apply", plan)
    story.say("Again: everything was acknowledged, so there is nothing to do.")
    story.run("sync", SYNC)


def _next_day(story: _Story) -> str:
    story.say("A day passes: new patients, changed addresses, fresh lab results, a death, and one who withdraws consent.")
    withdrew = _copied(r"disclosures --key (\S+)", story.run("sample", "--changes"))
    story.say("The next plan sends only the difference. Whoever may not be told any more is removed.")
    plan = _copied(r"cdp apply (\S+)", story.run("plan", SYNC))
    story.run("apply", plan)
    return withdrew


def _refusal(story: _Story) -> None:
    story.say("Somebody adds a sync to an ads platform: no agreement, paid for by a device maker, record numbers in clear.")
    path = Path("syncs", "lookalike_audience.yml")
    story.write(path, ADS)
    story.run("plan", "lookalike_audience", expect=1)
    path.unlink()


def _record(story: _Story, withdrew: str) -> None:
    story.say("The record: what was done ...")
    story.run("runs")
    story.say("... and what was told about one patient, to whom, when and why. This one has withdrawn consent.")
    story.run("disclosures", "--key", withdrew)


def _port() -> int:
    """The port of the example's channels."""
    from cdp.cli.sandbox import PORT

    return PORT


class _Story:
    """Runs commands in this process, so that they share one engine, and shows them as a person would type them."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet

    def say(self, text: str) -> None:
        """A sentence between two commands."""
        if not self.quiet:
            print("\n" + "\n".join(f"# {line}" for line in textwrap.wrap(text, 96)), flush=True)

    def write(self, path: Path, text: str) -> None:
        """Write a file and show it."""
        path.write_text(text)
        print(f"$ cat {path}\n{text.rstrip()}", flush=True)

    def run(self, *words: str, expect: int = 0) -> str:
        """Run one command, show and return what it prints.

        Raises:
            CdpError: the command ended otherwise than the story says.
        """
        from cdp.cli.app import main

        print(f"$ cdp {shlex.join(words)}", flush=True)
        printed = _Tee(sys.stdout)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = main(words)
        if code != expect:
            raise CdpError(f"`cdp {words[0]}` ended with exit code {code}, the story needs {expect}", fix="see the lines above")
        return printed.getvalue()


class _Tee(io.StringIO):
    """Passes on what is printed and keeps it, to take from it what a person would copy."""

    def __init__(self, to: TextIO) -> None:
        super().__init__()
        self._to = to

    def write(self, text: str) -> int:
        self._to.write(text)
        self._to.flush()
        return super().write(text)

    def isatty(self) -> bool:
        return self._to.isatty()


def _copied(pattern: str, printed: str) -> str:
    """What a person would copy from the lines above for the next command."""
    found = re.search(pattern, printed)
    if found is None:
        raise CdpError("the story cannot go on: nothing above says what the next command needs", fix="see the lines above")
    return found[1]
