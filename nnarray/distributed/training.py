"""Training on a Dask cluster: the client says who computes which grains, and holds what is finished.

Workers come, die, hang and come back. None of that changes a bit: a step counts when one worker has finished it, and
the others take its state over; if nobody has, those who are left take it again.
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
from nnarray.training.callbacks import History
from nnarray.training.data import Data
from nnarray.training.fit import fit
from nnarray.training.grains import GrainedTrainer
from nnarray.training.settings import FitSettings
from nnarray.training.state import TrainingState
from nnarray.training.trainer import Finished

log = logging.getLogger("nnarray")
T = TypeVar("T")

LOOK = 0.5  # seconds after which workers are asked whether they are there
PATIENCE = 4.0  # seconds in which they must say so
SETTLE = 2.0  # seconds for which the first worker that is ready waits for others
BEAT = 10.0  # seconds from one sign of life of the client to the next
LONGEST = 30.0  # seconds after which a worker that was lost is tried again, at most
WAIT = 60.0  # seconds for a worker to come, if none is left
TRIES = 5  # how often all workers may leave before a step is taken
TOGETHER = 0.5  # seconds that the steps of one message to the workers take, about


@dataclass
class ClusterTrainer(GrainedTrainer):
    """A training whose steps the workers take; its own state is that after the last finished epoch."""

    team: Team | None = None

    def begin(self, cluster: Cluster, model: Any, settings: dict[str, Any]) -> None:
        """Give all workers their parts."""
        assert isinstance(self.data, Data)
        own = settings | {"loss": self.loss, "optimizer": self.optimizer, "batch_size": self.batch_size}
        sent = Sent(model.copy(), self.data._replace(y=self.data.target), own, cluster.backend)
        self.team = Team(cluster.client, sent, self.grains, cluster.exact)
        self.team.prove()
        self.shown: TrainingState | None = self.at
        """What the workers know."""
        self.together_steps = 1

    def release(self) -> None:
        """Let go of all memory, here and at the workers."""
        self._dismiss()
        super().release()

    def back_to(self, saved: TrainingState) -> None:
        """Undo what was done since; what is left is taken here."""
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
        """The steps of one epoch, which the workers take."""
        if self.team is None:
            return super().epochs(number, rates, check, limit, begun)
        self.team.assemble(check)
        if self.at is not self.shown:
            self.team.tell(self.at)
        try:
            reports, at = self._taken(number, rates[0], check)
        except BaseException:
            with suppress(ConnectionError):
                self._know(self.team.state())
            raise
        self._know(at)
        return self._finished(number, reports)

    def _taken(self, number: int, rate: float, check: Callable[[], None]) -> tuple[list[Report], TrainingState]:
        """What the workers say of all steps of an epoch, and the state after it."""
        assert self.team is not None
        first, reports, count = self.at.step, list[Report](), self.batches_per_epoch
        while True:
            begun, taken = time.perf_counter(), sum(len(each.losses) for each in reports)
            try:
                if taken == count:
                    return reports, self.team.state()
                limit = min(self.together_steps, count - taken)
                reports.append(self.team.run(number, rate, taken, limit, first + taken))
            except AllLeft as error:  # nobody is left who knows of these steps
                reports.clear()
                self.team.wait_for_others(error, check)
                self.team.tell(self.at)
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
    """`Model.fit` with workers; Dask collections stay where they are, but for labels and weights."""
    with settings.cluster.connected() as cluster:
        held_out = settings.validation if isinstance(settings.validation, tuple) else ()
        X, y, weights, *held_out = examples_of(
            model, cluster.client, X, y, settings.sample_weight, *held_out, check_finite=settings.check_finite
        )
        validation = tuple(held_out) or settings.validation
        return fit(model, X, y, replace(settings, cluster=cluster, sample_weight=weights, validation=validation))


def begun(cluster: Cluster, model: Any, *arguments: Any, **settings: Any) -> ClusterTrainer:
    """What trains a model with the workers of a cluster."""
    made = ClusterTrainer.of(model, *arguments, **settings)
    try:
        made.begin(cluster, model, settings)
    except BaseException:
        made.release()
        raise
    return made


RESUMED = "fit(..., checkpoint=..., resume=True) goes on after the last finished epoch."
OTHERWISE = (
    "its processor or libraries round otherwise than those of the other workers; Cluster(..., exact=False) takes it "
    "nevertheless."
)


class Lost(ConnectionError):
    """A worker does not answer."""


class AllLeft(ConnectionError):
    """There is no worker that knows the state of the training."""


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
    """How often all workers left since a step was taken."""
    left: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Of workers that were lost or refused: when they are tried again, and how often they were lost."""
    known: set[str] = field(default_factory=set)
    """All that were ever given a part."""
    said: list[str] = field(default_factory=list)
    """What the user is to be warned of."""
    beating: asyncio.Future[None] | None = None
    deaf: float = 0.0
    """When a scheduler that did not answer is asked again."""

    def __post_init__(self) -> None:
        self.scheduler = self.client.scheduler.address

    def _sync(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self.client.sync(function, *arguments)
        finally:
            while self.said:
                warnings.warn(self.said.pop(0), RuntimeWarning, stacklevel=3)

    def prove(self) -> None:
        """See that the training can be sent.

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
                f"belongs to this process alone, such as locks and open files."
            ) from error

    def assemble(self, check: Callable[[], None]) -> None:
        """Give all workers that are there a part, unless that is done; who is slow comes later.

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

    def tell(self, at: TrainingState) -> None:
        """Let all go on from this state."""
        self._sync(self._tell, at)

    def state(self) -> TrainingState:
        """Where the training is."""
        return self._sync(self._state)

    def run(self, number: int, rate: float, begun: int, limit: int, step: int) -> Report:
        """Some steps of an epoch after the first few, or as many of them as were taken before somebody left.

        `step` is how many were taken in all.

        Raises
        ------
        AllLeft
            If no worker is left.
        """
        return self._sync(self._run, number, rate, begun, limit, step)

    def wait_for_others(self, why: AllLeft, check: Callable[[], None]) -> None:
        """Wait until a worker comes, which knows the start of the training alone.

        Raises
        ------
        ConnectionError
            If none comes.
        """
        self.fruitless += 1
        if self.fruitless > TRIES:
            raise ConnectionError(
                "workers died again and again at the same steps. Give them more memory (`dask worker "
                "--memory-limit`), or take a smaller batch_size, and look at what they wrote."
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
                raise ConnectionError(f"{why} None came within {WAIT:.0f} seconds. Start workers again; {RESUMED}")
            self._sync(self._look_for_others)

    def dismiss(self) -> None:
        """Let all workers go."""
        self._sync(self._dismiss)

    # --- Asking one worker -------------------------------------------------------------------------------------------

    async def _asked(self, address: str, do: str, *arguments: Any) -> Any:
        """Its answer, for which it has as long as it likes, as long as it says that it is there."""
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

    # --- Who takes part ----------------------------------------------------------------------------------------------

    async def _begin(self) -> dict[str, BaseException]:
        self.beating = asyncio.ensure_future(self._beat())
        await self._invite()
        return await self._wait_for_some()

    async def _wait_for_some(self) -> dict[str, BaseException]:
        """Wait a little for those that get ready; why others may not take part."""
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
        """Let the workers know that the client is there; who has not heard of it for long lets go of everything."""
        while True:
            await asyncio.sleep(BEAT)
            for address in [*self.members]:
                _unheard(self._asked(address, ALIVE))

    async def _invite(self) -> None:
        """Begin to give new workers their parts, if there is room; they train meanwhile who are there."""
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
            raise RuntimeError(f"worker {address} has nnarray {version}, and here is {VERSION}")
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
        """Let those take part who are ready; why others may not."""
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
                log.info("worker %s takes part; they are %d", address, len(self.members))
        return reasons

    def _let_go(self, address: str) -> asyncio.Future[None]:
        """Let a worker forget the training; nobody waits for that."""
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

    # --- What they do ------------------------------------------------------------------------------------------------

    async def _tell(self, at: TrainingState) -> None:
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
        """Ask some of them; those that do not answer are out."""
        calls = [self._asked(address, do, *arguments) for address in addresses]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for address, answer in zip(addresses, answers, strict=True):
            if isinstance(answer, OSError):
                self._lose(address, answer)
            elif isinstance(answer, BaseException):
                raise answer

    async def _run(self, number: int, rate: float, begun: int, limit: int, step: int) -> Report:
        if self.members:  # a new one gets its state from those that are there
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
        """Give some the state of another one, if it is still there: the client sees whichever of them hangs."""
        try:
            at = await self._asked(best, "state")
        except OSError as error:
            self._lose(best, error)
            return False
        await self._each(behind, "adopt", at)
        return True

    async def _attempt(self, step: int, *steps: Any) -> dict[str, Report]:
        """What each of them says who is still there afterwards."""
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
    """Why no worker can train: what all of them say, or what each says."""
    first = next(iter(reasons.values()), None)
    if first is not None and not _is_gone(first) and len({repr(each) for each in reasons.values()}) == 1:
        return first
    said = "; ".join(f"{address}: {error}" for address, error in reasons.items()) or "it has no workers"
    return ConnectionError(
        f"no worker of the Dask scheduler at {scheduler!r} can train: {said}. Start workers where nnarray {VERSION} is "
        f"installed: `dask worker ADDRESS`."
    )


def _is_gone(error: BaseException) -> bool:
    """Whether it says no more than that a worker cannot be reached."""
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError | PermissionError)


def _is_broken(report: Report) -> bool:
    return bool(report.cut_off) or report.error is not None


def _is_good(call: asyncio.Future[Any]) -> bool:
    return call.done() and not call.cancelled() and call.exception() is None


def _unheard(asking: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A call whose error nobody is told of, if nobody asks for it."""
    call = asyncio.ensure_future(asking)
    call.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    return call
