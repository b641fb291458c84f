"""One event loop: a producer reads chunks ahead, workers send batches, the recorder writes receipts.

Three ways to end early. `stop`: no new batch is taken, those in flight are finished and recorded. A destination
that cannot be used, or does not answer batch after batch: the same. Receipts that cannot be recorded: everything
is cancelled at once, because what is sent now could only be sent again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext
from typing import Any

from cdp.connectors.base import NOT_SENT, Connector, Paced, Receipts, repeats_of
from cdp.errors import CdpError, DataError, DeliveryError, EngineError, GuardError, StaleError
from cdp.profile import step
from cdp.sync.guards import Failing
from cdp.sync.outgoing import Parcel
from cdp.sync.recorder import Recorder, fit
from cdp.sync.stopping import Stop

Refused = Callable[[], DeliveryError | None]
SILENT_BATCHES = 10  # in a row, after the connector's own retries: the destination is down


class Delivery:
    """One run over an open connector; `refused` says whether that has tried to reach where it may not, `failing` counts what is rejected.

    Attributes:
        stopped: a signal asked to stop.
        error: why the destination cannot be used, or too much is rejected, if it turned out so.
    """

    def __init__(
        self, connector: Connector, recorder: Recorder, destination: str, refused: Refused = lambda: None, failing: Failing | None = None
    ) -> None:
        self.connector, self.recorder, self.destination, self.refused = connector, recorder, destination, refused
        self.failing = failing or Failing(None, "")
        self.stopped = False
        self.error: DeliveryError | GuardError | None = None
        self.careful = repeats_of(connector) == "effect"
        self._silent = 0
        self._handed = 0
        self._unread: CdpError | None = None
        self._paced = connector if isinstance(connector, Paced) else None
        self._queue: asyncio.Queue[Parcel | None] = asyncio.Queue(2 * connector.concurrency)

    def stop(self) -> None:
        """Ask for a clean end."""
        self.stopped = True
        if self._paced:
            self._paced.stop()

    async def run(self, parcels: Iterator[list[Parcel]]) -> None:
        """Send everything, or as much as can be.

        Raises:
            StaleError, DataError, EngineError: a chunk is not what was planned, or could not be read or disclosed: what was handed out
                before it is sent and recorded. Or a group of receipts could not be written.
            BusyError: the lease was lost.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.recorder.run())
                group.create_task(self._produce(parcels))
                workers = [group.create_task(self._work()) for _ in range(self.connector.concurrency)]
                await asyncio.wait(workers)
                self.recorder.close()
        except BaseExceptionGroup as failed:
            raise _first(failed) from None
        if self._unread is not None:
            raise self._unread

    @property
    def _ending(self) -> bool:
        return self.stopped or self.error is not None

    def _trouble(self) -> DeliveryError | None:
        """What the connector has learnt of the destination, of this sync or another, that ends this one too."""
        return self.refused() or (self._paced.halted() if self._paced else None)

    async def _produce(self, parcels: Iterator[list[Parcel]]) -> None:
        """Queue all batches, or those that could be read, and let the workers go home."""
        try:
            await self._hand_out(parcels)
        except (StaleError, DataError, EngineError) as error:
            self._unread = error
        for _ in range(self.connector.concurrency):
            await self._queue.put(None)

    async def _hand_out(self, parcels: Iterator[list[Parcel]]) -> None:
        """Queue the batches of one chunk while the next one is read; of those that must not be sent twice one group after the other.

        To read a chunk is to disclose it: so none is read once the end has come, and one that was goes to the workers all the same.
        """
        if self._ending:
            return
        reading = asyncio.create_task(asyncio.to_thread(next, parcels, None))
        while (chunk := await reading) is not None:
            once = any(parcel.once for parcel in chunk)
            ahead = not once and not self._ending
            if ahead:
                reading = asyncio.create_task(asyncio.to_thread(next, parcels, None))
            for parcel in chunk:
                self._handed += len(parcel.batch)
                await self._queue.put(parcel)
            if once:
                await self.recorder.settled(self._handed)
            if not ahead:
                if self._ending:
                    return
                reading = asyncio.create_task(asyncio.to_thread(next, parcels, None))

    async def _work(self) -> None:
        while (parcel := await self._queue.get()) is not None:
            self.error = self.error or self._trouble()
            if self._ending:  # drained, not sent: the next run sends it
                if self.careful:
                    await self.recorder.add(parcel, Receipts.all(len(parcel.batch), "retryable", NOT_SENT))
                continue
            receipts = await self._send(parcel)
            too_many = self.failing.after(parcel.batch.op, receipts.counts)
            self.error = self.error or too_many
            await self.recorder.add(parcel, receipts)

    async def _send(self, parcel: Parcel) -> Receipts:
        try:
            with step("send a batch"):
                receipts = await self.connector.send(parcel.batch)
        except DeliveryError as error:  # nothing more can be sent, and nothing of this batch was applied, if it does not say otherwise
            self.error = self.error or error
            return _in_doubt(parcel, error.doubt) if error.doubt else Receipts.all(len(parcel.batch), "retryable", NOT_SENT)
        except CdpError:
            raise
        except Exception as error:  # a connector may be anyone's; its text may hold a row
            failed = f"the connector of {self.destination} failed ({type(error).__name__})"
            self.error = self.error or self.refused() or DeliveryError(failed, fix="mend the connector")
            return _in_doubt(parcel)
        if not fit(parcel.batch, receipts):
            said = f"the connector of {self.destination} gave receipts that do not fit its batch"
            self.error = self.error or DeliveryError(said, fix="mend the connector")
            return _in_doubt(parcel)
        self.error = self.error or self._trouble()
        silent = receipts.counts.keys() <= {"retryable", "unknown"}
        self._silent = self._silent + 1 if silent else 0
        if self._silent >= max(SILENT_BATCHES, 2 * self.connector.concurrency) and self.error is None:
            self.error = DeliveryError(
                f"destination {self.destination} took nothing of {self._silent} batches in a row", fix="see that it is up, run again"
            )
        return receipts


def _in_doubt(parcel: Parcel, code: str = "connector_failed") -> Receipts:
    """The receipts of a batch that may have been applied, or of which the connector said nothing that can be relied on."""
    return Receipts.all(len(parcel.batch), "unknown" if parcel.once else "retryable", code)


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of ours inside a group, else whatever is there."""
    flat = [e for inner in failed.exceptions for e in ([_first(inner)] if isinstance(inner, BaseExceptionGroup) else [inner])]
    return next((error for error in flat if isinstance(error, CdpError)), flat[0])


async def stoppable(end: Callable[[], object], work: Coroutine[Any, Any, None], stop: Stop | None = None) -> None:
    """Let SIGTERM and Ctrl-C end a delivery cleanly; a second one ends it at once.

    Args:
        end: asks the work to stop.
        work: the run.
        stop: who handles the signals already, for a delivery that is one of several; its own otherwise.
    """
    loop = asyncio.get_running_loop()
    listening = stop or Stop()
    with nullcontext() if stop else listening.on_signals(), listening.heard_by(lambda: loop.call_soon_threadsafe(end)):
        await work


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, also from inside a notebook, whose own event loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:  # raised again where it belongs
            failed.append(error)

    thread = threading.Thread(target=run, name="cdp-delivery")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return None
