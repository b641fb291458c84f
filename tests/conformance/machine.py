"""A random walk of one sync: the clinic, the channel, the clock, the rules and the process itself do what they may, step after step.

A walk is drawn before it begins, as a list of steps, each with a seed of its own: so it is the same each time, and a walk that fails is
made small by leaving steps out (`smallest`). What the channel is sent is held against the model as it arrives, what is on record after each
run; and when the disturbances end, a few runs make the channel what the model says.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdp.connectors.base import Egress, Target
from cdp.engine.base import Engine
from cdp.errors import CdpError, DataError
from cdp.spec.activation import Guards
from cdp.spec.delivery import Limits, Retries, Wait
from cdp.sync import acceptance, resync, state, unchanged
from cdp.sync.basis import basis
from cdp.sync.changes import changed
from cdp.sync.ledger import Control
from cdp.sync.ledger.verify import verify
from cdp.sync.plan import TAKEN_OFF
from cdp.sync.reconcile import reconcile
from cdp.sync.revocations import revocations
from tests.conformance.doubts import Killed
from tests.conformance.machine_drawn import PEOPLE, SHAPES, TEXTS, Drawn
from tests.conformance.machine_model import ANYTHING, CALM, WEATHERS, Book, Key, Made, Row, Wanted, Weather, spelled
from tests.conformance.mortal import Mortal
from tests.conformance.world import World, patient

RUNS = 5  # within so many, undisturbed, the channel is as it should be
GENEROUS = Retries(attempts=1000, wait=Wait())
OPEN = Guards(empty="allow")


@dataclass
class Walk:
    """One walk under way."""

    world: World
    book: Book
    mortal: Mortal
    drawn: Drawn
    clinic: dict[int, Row]
    made: list[Made] = field(default_factory=list)
    decisions: int = 1
    step: str = ""

    @classmethod
    def begin(cls, engine: Engine, root: Path, mortal: Mortal, drawn: Drawn) -> Walk:
        """An empty clinic, and a channel of a kind that the seed says."""
        by = random.Random(drawn.seed)
        keys, values = by.choice(SHAPES)
        world = World.fresh(engine, root, keys=keys, values=values)
        repeats = by.choice(["keys", "keys", "state", "effect", "effect"])
        asks, lists = (repeats == "effect" and by.random() < 0.3), by.random() < 0.4
        book = world.channel = Book(engine, world.control, repeats=repeats, size=by.choice([1, 2, 3, 50]), concurrency=by.choice([1, 1, 2]))
        book.asks, book.lists = asks and not lists, lists
        walk = cls(world, book, mortal, drawn, {n: patient(n) for n in range(1, by.randint(2, PEOPLE))})
        walk._load()
        return walk

    def run(self) -> None:
        """All steps, then calm.

        Raises:
            AssertionError: what is wrong, and after which step.
        """
        for place, (name, seed) in enumerate(self.drawn.steps):
            self.step = f"step {place}, {name}"
            getattr(self, f"_{name}")(random.Random(seed))
            assert not self.book.wrong, f"{self.step}: {self.book.wrong}"
        self.step = "calm"
        self._converge()

    # -- the clinic -------------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> list[Row]:
        return list(self.clinic.values())

    @property
    def wanted(self) -> Wanted:
        return Wanted.of(self.rows, self.world.keys, self.world.values)

    def _load(self) -> None:
        self.world.load(self.rows, recorded=self.world.now)

    def _change(self, by: random.Random) -> None:
        for _ in range(by.randint(1, 4)):
            number = by.randint(1, PEOPLE)
            if number not in self.clinic:
                self.clinic[number] = patient(number)
            elif by.random() < 0.15:
                del self.clinic[number]
            else:
                self.clinic[number] = {**self.clinic[number], **self._other(number, by)}
        self._load()

    def _other(self, number: int, by: random.Random) -> Row:
        """What changes of a person."""
        row = self.clinic[number]
        name = by.choice(["consent", "consent", "deceased", "member", "value", "value", "value", "null", "text", "twin", "back", "person"])
        if name in ("consent", "deceased", "member"):
            return {name: not row[name]}
        told = [*self.world.keys, *self.world.values]
        if name == "value":
            return {"balance": by.randint(0, 2), "email": f"new{by.randint(0, 2)}@example.org", "visits": by.randint(0, 30)}
        if name == "null":
            return {by.choice([each for each in told if each != "patient_id"]): None}
        if name == "text":
            return {by.choice(["given_name", "email"]): by.choice(TEXTS)}
        if name == "twin":
            other = self.clinic[by.choice(list(self.clinic))]
            return {each: other[each] for each in self.world.keys if each != "patient_id"}
        if name == "person":
            return {"patient_id": by.choice([None, *TEXTS, f"p{number:03}"])} if by.random() < 0.5 else {}
        return patient(number)

    # -- what runs --------------------------------------------------------------------------------------------------------

    def _plan(self, by: random.Random, *, left: int | None = None, **options: Any) -> Made | None:
        """A plan that is kept; what it counts is what the model does. `left`: in how many statements the process dies."""
        world = self.world
        found = self._skipped()
        if by.random() < 0.9:
            world.load_consent(world.now)
        try:
            with self.mortal.doomed(left, after=by.random() < 0.5):
                plan = world.plan(**options)
        except DataError as error:
            if "consent" not in error.message:
                raise
            return None
        wanted = self.wanted
        if plan.removals is None:
            counts = (plan.size, plan.excluded, plan.counts["invalid"])
            assert counts == (wanted.size, wanted.excluded, wanted.invalid), (
                f"{counts}, not {(wanted.size, wanted.excluded, wanted.invalid)}: {plan.counts}"
            )
            assert plan.size == sum(n for name, n in plan.counts.items() if name not in TAKEN_OFF) + sum(n for _, n in plan.excluded)
        assert not (found and plan.rows), f"{self.step}: would have been skipped, and sends {plan.counts}"
        made = Made(plan, wanted, world.mode, world.retries)
        self.made.append(made)
        if plan.removals is None:
            self._revocations(made)
        return made

    def _skipped(self) -> object:
        """Since which run nothing has changed, for `cdp sync`."""
        world = self.world
        query, now = world.governed(), world.now + dt.timedelta(minutes=1)
        today = basis(query, world.engine, now=now, as_of=now, defaults=None)
        return unchanged.since(self.control, query, today)

    def _revocations(self, made: Made) -> None:
        """Who is there and must not be is on record as open."""
        if self.world.mode != "mirror":
            return
        opened = {each["person"] for each in revocations(self.control, only_open=True)}
        people = {self.book.people[key] for key in self.book.rows if not self._may_stay(made.wanted, key)}
        assert people <= opened, f"{self.step}: {people - opened} must go, and nobody says so"

    def _may_stay(self, wanted: Wanted, key: Key) -> bool:
        """Whether what is at the channel under a key may be there."""
        return key in wanted.rows or (key in wanted.disputed and self.book.people[key] not in wanted.barred)

    def _sync(self, by: random.Random) -> None:
        if made := self._plan(by):
            self._deliver(made, by, by.choice(WEATHERS))

    def _revoke(self, by: random.Random) -> None:
        """Whom a rule keeps out is taken off first."""
        if made := self._plan(by, only="kept_out"):
            self._deliver(made, by, by.choice(WEATHERS))

    def _apply(self, by: random.Random) -> None:
        if self.made:
            self._deliver(by.choice(self.made[-3:]), by, by.choice(WEATHERS))

    def _die(self, by: random.Random) -> None:
        """The process is killed at some statement of a plan or of its application."""
        left = by.randint(0, 12)
        try:
            made = self._plan(by, left=left if by.random() < 0.3 else None)
        except Killed:
            self._after_a_kill()
            return
        if made:
            self._deliver(made, by, by.choice(WEATHERS), left=left, after=by.random() < 0.5)

    def _after_a_kill(self) -> None:
        self.world.now += dt.timedelta(minutes=3)  # its lease ends by itself: the process of the test lives

    def _deliver(self, made: Made, by: random.Random, weather: Weather, *, left: int | None = None, after: bool = False) -> None:
        world, book, plan = self.world, self.book, made.plan
        if plan.guards and by.random() < 0.5:
            acceptance.accept(self.control, plan, plan.guards, world.now)
        opened = len(book.targets)
        book.begin(made, self.wanted, weather, by, world.now)
        error: BaseException | None = None
        try:
            with self.mortal.doomed(left, after=after):
                world.apply(plan)
        except (Killed, CdpError) as caught:
            error = caught
        run = book.targets[-1].run if len(book.targets) > opened else None
        if isinstance(error, Killed):
            self._after_a_kill()
            for op, key, row, _ in book.answered:
                book.doubt[key] = row if op == "upsert" else ANYTHING
                book.rejections.pop(key, None)
        if run is not None:
            self._recorded(run, died=isinstance(error, Killed))
        elif book.answered:
            book.wrong.append("something was sent without a run")
        assert plan.rows or not book.answered
        cap, today = world.limits.rows_per_day, book.day[book.now.date()]
        told = sum(op == "upsert" for op, _, _, _ in book.answered)
        assert cap is None or today <= max(cap, today - told), f"{self.step}: {today} of {cap}"

    def _recorded(self, run: str, *, died: bool) -> None:
        """What the tables say of a run is what the channel said."""
        engine, control = self.world.engine, self.control
        found = engine.query(f"SELECT key, op, status FROM {control.table('receipts')} WHERE run = '{run}'").to_pylist()
        kept = Counter((row["op"] == "remove", row["key"], row["status"]) for row in found)
        said = Counter((op == "remove", spelled(key), status) for op, key, _, status in self.book.answered)
        if died:
            assert kept <= said, f"{self.step}: {kept - said} was never said"
            return
        assert said <= kept, f"{self.step}: {said - kept} is not on record"
        assert all(status == "retryable" for _, _, status in kept - said), f"{self.step}: {kept - said} was never said"
        rows = engine.query(f"SELECT * FROM {control.table('runs')} WHERE run = '{run}' ORDER BY n").to_pylist()
        if rows:
            last, statuses = rows[-1], Counter(status for _, _, _, status in self.book.answered)
            parts = ("delivered", "rejected", "retryable", "unknown", "withheld", "carried_over")
            assert sum(last[name] for name in parts) == last["planned"], f"{self.step}: {last}"
            counted = {name: last[name] for name in ("delivered", "rejected", "unknown")}
            assert counted == {name: statuses[name] for name in counted}, f"{self.step}: {last}, {statuses}"

    # -- what else happens -----------------------------------------------------------------------------------------------

    @property
    def control(self) -> Control:
        return Control(self.world.engine, self.world.control)

    def _jump(self, by: random.Random) -> None:
        self.world.now += by.choice([dt.timedelta(hours=1), dt.timedelta(hours=7), dt.timedelta(days=2), dt.timedelta(seconds=-50)])

    def _decide(self, by: random.Random) -> None:
        """Governance, or the YAML, says something else."""
        world = self.world
        what = by.choice(["told", "told", "fingerprint", "when_changed", "mode", "guards", "limits", "retries"])
        self.decisions += 1
        if what == "told":
            world.told = f"t{by.randint(1, 3)}"
        elif what == "when_changed":
            world.when_changed = by.choice(["keep", "resend", "remove"])
        elif what == "mode":
            world.mode = by.choice(["mirror", "mirror", "mirror", "upsert", "update", "insert"])
        elif what == "guards":
            world.guards = by.choice([OPEN, OPEN, Guards(max_remove={"rows": 1}), Guards(max_add="20%", max_failed=1, empty="refuse")])
        elif what == "limits":
            world.limits = by.choice([Limits(), Limits(), Limits(rows_per_day=by.randint(1, 12))])
        elif what == "retries":
            world.retries = by.choice([GENEROUS, Retries(attempts=by.randint(1, 3), wait=Wait(hours=by.randint(0, 3)))])
        if what in ("told", "fingerprint", "when_changed", "mode"):
            world.fingerprint = f"f{self.decisions}"

    def _fold(self, by: random.Random) -> None:
        """The next run would; here it is asked to, after a calm run, or killed on the way."""
        if not state.known(self.control, self.world.name).open:
            with self.mortal.doomed(by.randint(0, 3) if by.random() < 0.5 else None, after=by.random() < 0.5), suppress(Killed):
                state.fold(self.control, self.world.name, rows=0, share=0)

    def _rebuild(self, _: random.Random) -> None:
        resync.rebuild(self.control, self.world.name, lambda: self.world.now)

    def _harm(self, by: random.Random) -> None:
        """Something of the state is lost: a plan refuses until it is rebuilt."""
        control, sync = self.control, self.world.name
        at = state.known(control, sync)
        if at.rows and by.random() < 0.6:
            harm = by.choice(["sync = '{}'", "sync = '{}' AND seq % 2 = 0"]).format(sync)
            self.world.engine.execute(f"DELETE FROM {control.table('synced')} WHERE {harm}")
        elif at.newest > at.folded:
            receipts = control.table("receipts")
            newest = self.world.engine.value(f"SELECT MAX_BY(run, seq) FROM {receipts}")
            self.world.engine.execute(f"DELETE FROM {receipts} WHERE run = '{newest}'")
            self.book.rejections.clear()
            if self.book.repeats != "effect":
                self.book.doubt.update(dict.fromkeys(self.book.rows, ANYTHING))
        with suppress(DataError):
            self.world.plan()
        self._rebuild(by)

    def _settle(self, _: random.Random) -> None:
        """A person says of what is unknown what the channel says."""
        control, sync = self.control, self.world.name
        if state.known(control, sync).open:
            return
        unknown = resync.unknown(control, sync)
        there: list[str] = []
        there_now = {spelled(key) for key in self.book.rows}
        for row in unknown:
            content, base = (str(row["content"]) if row["content"] is not None else "NULL", row["base"])
            sql = changed(sync, "upsert", content, "NULL" if base is None else str(base), ":key")
            change = self.world.engine.value(f"SELECT {sql}", {"key": row["key"]})
            if change in self.book.applied and row["key"] in there_now:
                there.append(row["key"])
        if there:
            resync.settle(control, sync, "delivered", there, lambda: self.world.now)
        if len(unknown) > len(there):
            resync.settle(control, sync, "again", [], lambda: self.world.now)

    def _reconcile(self, by: random.Random) -> None:
        """The channel loses rows, and is asked which it has."""
        world, book = self.world, self.book
        if not book.lists or state.known(self.control, world.name).open:
            return
        for key in list(book.rows):
            if by.random() < 0.3:
                del book.rows[key]
        query = world.governed()
        target = Target(query.destination, Egress(), "", world.root)
        how: dict[str, Any] = {"wall": lambda: world.now, "sandbox": True, "write": True, "all_lost": True}
        reconcile(query, self.control, book.connector(), target, **how)
        book.doubt.update(dict.fromkeys([*book.decided], ANYTHING))
        book.rejections.clear()

    # -- the end ----------------------------------------------------------------------------------------------------------

    def _converge(self) -> None:
        """Without disturbances a few runs make the channel what the model says, and then there is nothing to do."""
        world, book = self.world, self.book
        world.mode, world.guards, world.limits, world.retries = "mirror", OPEN, Limits(), GENEROUS
        world.fingerprint = "the last"
        world.now += dt.timedelta(days=2)
        by = random.Random(1)
        for number in range(RUNS):
            self.step = f"calm run {number}"
            world.load_consent(world.now)
            made = self._plan(random.Random(0))
            assert made is not None
            if not made.plan.rows and not made.plan.counts["unknown"] and not state.known(self.control, world.name).open:
                break
            book.begin(made, self.wanted, CALM, by, world.now)
            run = world.apply(made.plan)
            assert not book.wrong, f"{self.step}: {book.wrong}"
            assert run.rejected == run.retryable == run.unknown == 0, f"{self.step}: {run}"
            self._settle(by)
        else:
            raise AssertionError(f"{self.step}: no end: {made.plan.counts}")
        self._as_the_model_says()

    def _as_the_model_says(self) -> None:
        wanted, book = self.wanted, self.book
        wrong = {key: row for key, row in book.rows.items() if not self._may_stay(wanted, key) or wanted.rows.get(key, row) != row}
        missing = {key: row for key, row in wanted.rows.items() if key not in book.rows}
        assert not wrong, f"{wrong} is there, and should be { {key: wanted.rows.get(key) for key in wrong} }"
        assert not missing, f"{missing} is not there"
        if self.world.when_changed != "keep":
            old = {key for key in wanted.rows if book.decided[key] != self.world.told}
            assert not old, f"{old} are there under another decision"
        assert self._run_is_clean()
        opened = revocations(self.control, only_open=True)
        assert not opened, f"{opened} are open"
        assert all(checked.bad is None for checked in verify(self.control))
        assert self._skipped() is not None or self.drawn.steps == ()

    def _run_is_clean(self) -> bool:
        """One more run says that there is nothing to do."""
        self.world.load_consent(self.world.now)
        made = self._plan(random.Random(0))
        assert made is not None
        return self.world.apply(made.plan).status == "nothing"


def walked(engine: Engine, root: Path, drawn: Drawn) -> str | None:
    """Walk; what was wrong."""
    mortal = Mortal(engine)
    walk = Walk.begin(engine, root, mortal, drawn)
    try:
        walk.run()
    except (AssertionError, CdpError) as error:
        return f"{walk.step}: {type(error).__name__}: {error}"
    finally:
        mortal.close()
        for schema in (walk.world.schema, walk.world.control):
            for table in engine.tables(schema):
                engine.drop(f"{schema}.{table}")
    return None
