"""What one command works on, opened when it is first asked for and closed at the end."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cdp.cli.options import Options
from cdp.cli.output import Output

if TYPE_CHECKING:
    from cdp.analyst.explore.sight import Sight
    from cdp.compile.clock import Clock
    from cdp.engine import Engine
    from cdp.profile import Profile
    from cdp.project.load import Project
    from cdp.spec.activation import Environment


class Session:
    """The project, its environment, the clocks and the engine of one command.

    Args:
        options: as given on the command line.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.out = Output(as_json=options.json, quiet=options.quiet)
        self._closing = ExitStack()
        self._opening = RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.close()

    @cached_property
    def root(self) -> Path:
        """The project's folder: `--project`, or the nearest one upwards from here."""
        from cdp.project.load import find_root

        return find_root(self.options.project or Path.cwd())

    @cached_property
    def profile(self) -> Profile:
        """Where the time went until the command's own work began."""
        from cdp.profile import Profile

        return Profile()

    @cached_property
    def project(self) -> Project:
        """The project, every file of it checked. What --env or --as-of cannot mean is refused, though the command needs neither."""
        from cdp.profile import phase, profiling

        with profiling(self.profile), phase("load"):
            from cdp import connectors
            from cdp.project.load import load

            loaded = load(self.root, connectors=connectors.names())
        if self.options.env:
            loaded.environment(self.options.env)
        if self.options.as_of:
            from cdp.compile.clock import Clock

            Clock.parse(self.options.as_of, loaded.timezone)
        return loaded

    @cached_property
    def environment(self) -> Environment:
        """The environment of `--env`, or the project's default."""
        return self.project.environment(self.options.env)

    @cached_property
    def clock(self) -> Clock:
        """The one moment that segments are computed for: `--as-of`, or when it was first asked for."""
        from cdp.compile.clock import Clock

        return Clock.parse(self.options.as_of, self.project.timezone)

    @property
    def now(self) -> Clock:
        """The wall clock: consent, eligibility and agreements ask it, whatever `--as-of` says."""
        from cdp.compile.clock import Clock

        return Clock.now(self.project.timezone)

    @property
    def identity(self) -> str:
        """Who runs the command, as people of governance/roles.yml are named; it need not start the engine."""
        from cdp.engine.base import uid

        return uid()  # what `Engine.whoami` says of each engine there is

    def sight(self, verb: str, role: str | None) -> Sight:
        """How whoever runs the command sees people, in the role that they name or in their own.

        Raises:
            UsageError: there is no such role.
            RefusedError: they do not have it, or it does not permit the verb.
        """
        from cdp.analyst.explore.sight import Sight

        found = Sight.of(self.project, role, self.identity)
        self.permit(verb, role=role)
        return found

    def permit(self, *verbs: str, purpose: str | None = None, role: str | None = None) -> None:
        """Refuse whoever may not do this.

        Args:
            verbs: of `cdp.spec.access.VERBS`; all of them must be permitted.
            purpose: of the sync that it is about.
            role: the role that they act in, where they name one.

        Raises:
            RefusedError: with who asks, and the roles that may.
        """
        if not verbs:
            return
        from cdp.errors import RefusedError
        from cdp.governance.access import refused

        refusals = [refusal for verb in verbs if (refusal := refused(self.project, self.identity, verb, purpose, role))]
        if refusals:
            raise RefusedError(f"`{' and '.join(verbs)}`", refusals)

    @property
    def engine(self) -> Engine:
        """The environment's engine over its lakehouse, which must be there. Syncs that run side by side share it.

        Raises:
            DataError: the lakehouse's folder is not there.
        """
        with self._opening:
            return self._engine

    @cached_property
    def _engine(self) -> Engine:
        from cdp.errors import DataError

        lakehouse = self.environment.lakehouse
        if lakehouse is not None and not (self.root / lakehouse).is_dir():
            fix = "`cdp sample` makes one to try things out; or mend `lakehouse:` in conf/cdp.yml"
            raise DataError(f"there is no lakehouse at {self.root / lakehouse}", fix=fix)
        return self.open(self.environment, self.root)

    def open(self, environment: Environment, root: Path) -> Engine:
        """An engine that is closed with the session."""
        from cdp import engine
        from cdp.profile import phase, profiling

        with profiling(self.profile), phase("session"), self.out.progress(f"starting the engine {environment.engine}"):
            opened = engine.connect(environment, root=root)
        self._closing.callback(opened.close)
        return opened
