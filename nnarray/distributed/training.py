"""Training on a Dask cluster: the client assigns grains to workers, and keeps finished epochs.

Workers may join, die, hang and return. This does not change the result in any bit. A step counts when one worker has
finished it; the others then take its state. If no worker has finished it, the remaining workers repeat it.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from nnarray.backends import backend_of
from nnarray.distributed.blocks import examples_of
from nnarray.distributed.cluster import Cluster
from nnarray.distributed.member import Member, Report, Sent
from nnarray.distributed.messages import ALIVE, JOIN, LEAVE, VERSION, asked, install
from nnarray.kernels.compilation import quiet
from nnarray.training.data import Data
from nnarray.training.fit import fit
from nnarray.training.grains import GrainedTrainer
from nnarray.training.history import History
from nnarray.training.settings import FitSettings
from nnarray.training.state import TrainingState
from nnarray.training.trainer import Finished

log = logging.getLogger("nnarray")
T = TypeVar("T")

LOOK = 0.5  # seconds between two checks of the workers
PATIENCE = 4.0  # seconds in which they must answer
SETTLE = 2.0  # seconds for which the first ready worker waits for others
BEAT = 10.0  # seconds between two heartbeats of the client
LONGEST = 30.0  # longest time in seconds until a lost worker is tried again
WAIT = 60.0  # seconds to wait for a worker, if none is left
TRIES = 5  # number of times that all workers may leave without a finished step
TOGETHER = 0.5  # approximate seconds that the steps of one message to the workers take


@dataclass
class ClusterTrainer(GrainedTrainer):
    """A training whose steps are taken by the workers; its own state is that after the last finished epoch."""

    team: Team | None = None

    def begin(self, cluster: Cluster, model: Any, settings: dict[str, Any]) -> None:
        """Assign parts to all workers."""
        assert isinstance(self.data, Data)
        own = settings | {"loss": self.loss, "optimizer": self.optimizer, "batch_size": self.batch_size}
        sent = Sent(model.copy(), self.data._replace(y=self.data.target), own, cluster.backend)
        self.team = Team(cluster.client, sent, self.grains, cluster.exact)
        self.team.prove()
        self.shown: TrainingState | None = self.at
        """The state of the training on the workers."""
        self.together_steps = 1

    def release(self) -> None:
        """Free all memory, here and on the workers."""
        self._dismiss()
        super().release()

    def back_to(self, saved: TrainingState) -> None:
        """Return to an earlier state; the remaining steps are taken here."""
        super().back_to(saved)
        self._dismiss()

    def _dismiss(self) -> None:
        if self.team is not None:
            self.team.dismiss()
            self.team = None

    @quiet
    def epochs(
        self, number: int, rates: list[float], check: Callable[[], None], limit: int | None = None, begun: int = 0
    ) -> Finished:
        """The steps of one epoch, taken by the workers."""
        if self.team is None:
            return super().epochs(number, rates, check, limit, begun)
        self.team.assemble(check)
        if self.at is not self.shown:
            self.team.share(self.at)
        try:
            reports, at = self._taken(number, rates[0], check)
        except BaseException:
            with suppress(ConnectionError):
                self._know(self.team.state())
            raise
        self._know(at)
        return self._finished(number, reports)

    def _taken(self, number: int, rate: float, check: Callable[[], None]) -> tuple[list[Report], TrainingState]:
        """The workers' reports on all steps of an epoch, and the state after it."""
        assert self.team is not None
        first, reports, count = self.at.step, list[Report](), self.batches_per_epoch
        while True:
            begun, taken = time.perf_counter(), sum(len(each.losses) for each in reports)
            try:
                if taken == count:
                    return reports, self.team.state()
                limit = min(self.together_steps, count - taken)
                reports.append(self.team.run(number, rate, taken, limit, first + taken))
            except AllLeft as error:  # no worker is left that has these steps
                reports.clear()
                self.team.wait_for_others(error, check)
                self.team.share(self.at)
            spent = time.perf_counter() - begun
            self.together_steps = max(int(self.together_steps * min(TOGETHER / spent, 2.0)), 1)
            check()

    def _know(self, at: TrainingState) -> None:
        self.at = self.shown = at.on(backend_of(self.at.theta), self.at)

    def _finished(self, number: int, reports: Iterable[Report]) -> Finished:
        be, order = backend_of(self.at.theta), self._order(number)
        losses = [be.asarray(each) for report in reports for each in report.losses]
        masses = [each if isinstance(each, int) else be.asarray(each) for report in reports for each in report.masses]
        outputs = [be.asarray(each) for report in reports for each in report.outputs]
        rows = [self._rows(order, place) for place in self._places()] if self.keep_outputs else []
        return Finished(losses, masses, rows, outputs)


def fit_on_cluster(model: Any, X: Any, y: Any, settings: FitSettings) -> History:
    """`Model.fit` with workers; Dask collections stay on the workers, except for labels and weights."""
    with settings.cluster.connected() as cluster:
        held_out = settings.validation if isinstance(settings.validation, tuple) else ()
        X, y, weights, *held_out = examples_of(
            model, cluster.client, X, y, settings.sample_weight, *held_out, check_finite=settings.check_finite
        )
        validation = tuple(held_out) or settings.validation
        return fit(model, X, y, replace(settings, cluster=cluster, sample_weight=weights, validation=validation))


def begun(cluster: Cluster, model: Any, *arguments: Any, **settings: Any) -> ClusterTrainer:
    """The object that trains a model with the workers of a cluster."""
    made = ClusterTrainer.of(model, *arguments, **settings)
    try:
        made.begin(cluster, model, settings)
    except BaseException:
        made.release()
        raise
    return made


RESUMED = "fit(..., checkpoint=..., resume=True) continues after the last finished epoch."
OTHERWISE = (
    "its processor or libraries round differently from those of the other workers; Cluster(..., exact=False) takes it "
    "nevertheless."
)


class Lost(ConnectionError):
    """A worker does not answer."""


class AllLeft(ConnectionError):
    """No worker has the state of the training."""


@dataclass
class Team:
    """The workers of one training."""

    client: Any
    sent: Sent
    most: int
    exact: bool
    training: str = field(default_factory=lambda: uuid.uuid4().hex)
    members: list[str] = field(default_factory=list)
    attempt: int = 0
    proof: str | None = None
    joining: dict[str, asyncio.Future[str]] = field(default_factory=dict)
    fruitless: int = 0
    """The number of times that all workers left since the last step."""
    left: dict[str, tuple[float, int]] = field(default_factory=dict)
    """For lost or refused workers: the time of the next try, and the number of losses."""
    known: set[str] = field(default_factory=set)
    """All workers that ever got a part."""
    said: list[str] = field(default_factory=list)
    """Warnings for the user."""
    beating: asyncio.Future[None] | None = None
    deaf: float = 0.0
    """The time when a scheduler that did not answer is asked again."""

    def __post_init__(self) -> None:
        self.scheduler = self.client.scheduler.address

    def _sync(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self.client.sync(function, *arguments)
        finally:
            while self.said:
                warnings.warn(self.said.pop(0), RuntimeWarning, stacklevel=3)

    def prove(self) -> None:
        """Check that the training can be serialised.

        Raises
        ------
        TypeError
            If it cannot.
        """
        from distributed.protocol import pickle

        try:
            pickle.dumps(self.sent, buffer_callback=lambda buffer: None)
        except Exception as error:
            raise TypeError(
                f"the network or the source of the examples cannot be sent to the workers: {error} Leave out what "
                f"belongs to this process only, such as locks and open files."
            ) from error

    def assemble(self, check: Callable[[], None]) -> None:
        """Assign a part to all present workers that have none; slow workers join later.

        Raises
        ------
        ConnectionError
            If none can train.
        """
        if self.beating is not None:
            return
        reasons = self._sync(self._begin)
        while not self.members:
            check()
            if not self.joining:
                raise _reason_of(reasons, self.scheduler)
            reasons |= self._sync(self._wait_for_some)

    def share(self, at: TrainingState) -> None:
        """Let all workers continue from this state."""
        self._sync(self._share, at)

    def state(self) -> TrainingState:
        """The state of the training."""
        return self._sync(self._state)

    def run(self, number: int, rate: float, begun: int, limit: int, step: int) -> Report:
        """Some steps of an epoch after the first few, or those that were taken before a worker left.

        `step` is the total number of steps taken.

        Raises
        ------
        AllLeft
            If no worker is left.
        """
        return self._sync(self._run, number, rate, begun, limit, step)

    def wait_for_others(self, why: AllLeft, check: Callable[[], None]) -> None:
        """Wait for a worker to join, which then has only the start of the training.

        Raises
        ------
        ConnectionError
            If none joins.
        """
        self.fruitless += 1
        if self.fruitless > TRIES:
            raise ConnectionError(
                "workers died repeatedly at the same steps. Give them more memory (`dask worker "
                "--memory-limit`), or use a smaller batch_size, and check their logs."
            ) from why
        warnings.warn(f"{why} Waiting for others.", RuntimeWarning, stacklevel=2)
        connected = begun = time.monotonic()
        while not self.members:
            check()
            now = time.monotonic()
            connected = now if self.client.status == "running" else connected
            if now > connected + PATIENCE:
                raise ConnectionError(f"{why} The scheduler is gone, too. Start it again, and workers; {RESUMED}")
            if now > begun + WAIT and not self.joining:
                raise ConnectionError(f"{why} None joined within {WAIT:.0f} seconds. Start workers again; {RESUMED}")
            self._sync(self._look_for_others)

    def dismiss(self) -> None:
        """Release all workers."""
        self._sync(self._dismiss)

    # --- Asking one worker -------------------------------------------------------------------------------------------

    async def _asked(self, address: str, do: str, *arguments: Any) -> Any:
        """Its reply; there is no time limit as long as the worker responds to checks."""
        if self.client.status != "running":
            raise Lost("the client of Dask is closed")
        call = _unheard(asked(self.client.rpc, address, self.training, do, *arguments))
        try:
            while not (await asyncio.wait({call}, timeout=LOOK))[0]:
                alive = _unheard(asked(self.client.rpc, address, self.training, ALIVE))
                answered, _ = await asyncio.wait({alive, call}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
                is_gone = not answered or (alive in answered and alive.exception() is not None and not call.done())
                alive.cancel()
                if is_gone:
                    raise Lost(f"worker {address} does not answer")
            return call.result()
        finally:
            call.cancel()

    def _lose(self, address: str, why: BaseException) -> None:
        if address in self.members:
            self.members.remove(address)
            log.warning("worker %s left the training (%s); %d are left", address, why, len(self.members))
        _, times = self.left.get(address, (0.0, 0))
        self.left[address] = time.monotonic() + min(2.0**times, LONGEST), times + 1

    # --- Members ----------------------------------------------------------------------------------------------

    async def _begin(self) -> dict[str, BaseException]:
        self.beating = asyncio.ensure_future(self._beat())
        await self._invite()
        return await self._wait_for_some()

    async def _wait_for_some(self) -> dict[str, BaseException]:
        """Wait a short time for workers that are starting; returns the reasons why others may not take part."""
        coming = [*self.joining.values()]
        if coming:
            done, pending = await asyncio.wait(coming, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
            if done and pending:
                await asyncio.wait(pending, timeout=SETTLE)
        proofs = [call.result() for call in coming if _is_good(call)]
        if self.proof is None and proofs:
            self.proof = Counter(sorted(proofs)).most_common(1)[0][0]
        return await self._admit()

    async def _look_for_others(self) -> None:
        await self._invite()
        await self._wait_for_some()
        if not self.members and not self.joining:
            await asyncio.sleep(LOOK)

    async def _beat(self) -> None:
        """Send heartbeats to the workers; a worker without one for long frees everything."""
        while True:
            await asyncio.sleep(BEAT)
            for address in [*self.members]:
                _unheard(self._asked(address, ALIVE))

    async def _invite(self) -> None:
        """Start to assign parts to new workers, if there are grains for them; the others train meanwhile."""
        now, there = time.monotonic(), sorted(await self._there())
        for address in there:
            known = address in self.members or address in self.joining
            if known or len(self.members) + len(self.joining) >= self.most or now < self.left.get(address, (0.0, 0))[0]:
                continue
            self.joining[address] = _unheard(self._join(address))

    async def _there(self) -> Iterable[str]:
        """The workers that the scheduler knows; one that is gone or hangs sends nobody, and who trains goes on."""
        scheduler, now = self.client.scheduler, time.monotonic()
        if scheduler is None or now < self.deaf:
            return ()
        call = _unheard(scheduler.ncores())
        if not (await asyncio.wait({call}, timeout=PATIENCE))[0]:
            call.cancel()
            self.deaf = now + LONGEST
            return ()
        try:
            return call.result().keys()
        except OSError:
            return ()

    async def _join(self, address: str) -> str:
        self.known.add(address)
        version = await self._installed(address)
        if version != VERSION:
            raise RuntimeError(f"worker {address} has nnarray {version}, but the client has {VERSION}")
        return await self._asked(address, JOIN, Member, self.sent)

    async def _installed(self, address: str) -> str:
        call = _unheard(self.client._run(install, workers=[address], on_error="return"))
        if not (await asyncio.wait({call}, timeout=WAIT))[0]:
            call.cancel()
            raise Lost("it does not answer")
        answer = call.result().get(address)
        if isinstance(answer, str):
            return answer
        raise Lost(f"{answer}") from (answer if isinstance(answer, BaseException) else None)

    async def _admit(self) -> dict[str, BaseException]:
        """Add the workers that are ready; returns the reasons why others may not take part."""
        reasons: dict[str, BaseException] = {}
        ready = [each for each in self.joining.items() if each[1].done()]
        at = await self._state() if ready and self.members else None
        for address, call in ready:
            del self.joining[address]
            try:
                if call.result() != self.proof and self.exact:
                    raise ArithmeticError(OTHERWISE)
                if at is not None:
                    await self._asked(address, "adopt", at)
            except Exception as error:
                reasons[address] = error
                self._lose(address, error)
                if not _is_gone(error):
                    self.left[address] = float("inf"), 0
                    self.said.append(f"worker {address} takes no part in the training: {error}")
                    self._let_go(address)
            else:
                self.members.append(address)
                log.info("worker %s takes part; there are %d now", address, len(self.members))
        return reasons

    def _let_go(self, address: str) -> asyncio.Future[None]:
        """Let a worker drop the training, without waiting for it."""
        return _unheard(self._asked(address, LEAVE))

    async def _dismiss(self) -> None:
        if self.beating is not None:
            self.beating.cancel()
        for call in self.joining.values():
            call.cancel()
        self.members.clear()
        calls = [self._let_go(address) for address in self.known]
        if calls:
            await asyncio.wait(calls, timeout=PATIENCE)

    # --- Requests to the members -----------------------------------------------------------------------------------

    async def _share(self, at: TrainingState) -> None:
        await self._each([*self.members], "adopt", at)

    async def _state(self) -> TrainingState:
        while self.members:
            try:
                return await self._asked(self.members[0], "state")
            except OSError as error:
                self._lose(self.members[0], error)
        raise self._all_left

    @property
    def _all_left(self) -> AllLeft:
        return AllLeft(f"all workers of the Dask scheduler at {self.scheduler!r} left the training.")

    async def _each(self, addresses: list[str], do: str, *arguments: Any) -> None:
        """Send a request to some members; those that do not answer are removed."""
        calls = [self._asked(address, do, *arguments) for address in addresses]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for address, answer in zip(addresses, answers, strict=True):
            if isinstance(answer, OSError):
                self._lose(address, answer)
            elif isinstance(answer, BaseException):
                raise answer

    async def _run(self, number: int, rate: float, begun: int, limit: int, step: int) -> Report:
        if self.members:  # a new one gets its state from the others
            await self._invite()
            await self._admit()
        while self.members:
            reports = await self._attempt(step, number, rate, begun, limit)
            if error := next((each.error for each in reports.values() if each.error is not None), None):
                raise error
            best = max(reports, key=lambda address: reports[address].step, default="")
            if best and reports[best].step > step:
                behind = [each for each in reports if reports[each].step < reports[best].step]
                if not behind or await self._caught_up(behind, best):
                    self.fruitless = 0
                    return reports[best]
        raise self._all_left

    async def _caught_up(self, behind: list[str], best: str) -> bool:
        """Copy the state of one member to others; the client detects whichever hangs."""
        try:
            at = await self._asked(best, "state")
        except OSError as error:
            self._lose(best, error)
            return False
        await self._each(behind, "adopt", at)
        return True

    async def _attempt(self, step: int, *steps: Any) -> dict[str, Report]:
        """The replies of the members that are still present afterwards."""
        self.attempt += 1
        order = self.attempt, [*self.members], step, *steps
        calls = {asyncio.ensure_future(self._asked(address, "run", *order)): address for address in self.members}
        reports: dict[str, Report] = {}
        pending, abandoned = set(calls), False
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for call in done:
                self._note(calls[call], call, reports)
            broken = len(reports) + len(pending) < len(calls) or any(_is_broken(each) for each in reports.values())
            if broken and pending and not abandoned:
                abandoned = True
                for call in pending:
                    _unheard(self._asked(calls[call], "abandon", self.attempt))
        for report in [*reports.values()]:
            for address in report.cut_off:
                self._lose(address, Lost("another worker cannot reach it"))
        return {address: each for address, each in reports.items() if address in self.members}

    def _note(self, address: str, call: asyncio.Future[Report], reports: dict[str, Report]) -> None:
        try:
            reports[address] = call.result()
        except OSError as error:
            self._lose(address, error)
        except Exception as error:
            reports[address] = Report(0, [], [], [], [], error)


def _reason_of(reasons: dict[str, BaseException], scheduler: str) -> BaseException:
    """Why no worker can train: the common reason, or the reason of each."""
    first = next(iter(reasons.values()), None)
    if first is not None and not _is_gone(first) and len({repr(each) for each in reasons.values()}) == 1:
        return first
    said = "; ".join(f"{address}: {error}" for address, error in reasons.items()) or "it has no workers"
    return ConnectionError(
        f"no worker of the Dask scheduler at {scheduler!r} can train: {said}. Start workers where nnarray {VERSION} is "
        f"installed: `dask worker ADDRESS`."
    )


def _is_gone(error: BaseException) -> bool:
    """Whether the error only says that a worker cannot be reached."""
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError | PermissionError)


def _is_broken(report: Report) -> bool:
    return bool(report.cut_off) or report.error is not None


def _is_good(call: asyncio.Future[Any]) -> bool:
    return call.done() and not call.cancelled() and call.exception() is None


def _unheard(asking: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A call whose error is ignored unless it is awaited."""
    call = asyncio.ensure_future(asking)
    call.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    return call
