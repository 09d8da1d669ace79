"""The part of a worker in a training: it computes its grains, and adds up the sums with the other workers.

Each worker has the whole state of the training, and takes every step, so any of them may leave. The client assigns
grains and steps. The vectors are sent between workers, through Dask's own connections.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import operator
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnarray.backends import Backend, backend, backend_of
from nnarray.distributed.blocks import Blocks
from nnarray.distributed.messages import TRAININGS, asked, sendable
from nnarray.kernels.engines import LAYERS, computing
from nnarray.kernels.one_thread import one_thread
from nnarray.persistence.archive import on_host
from nnarray.training.data import Data
from nnarray.training.grains import GrainedTrainer, Nodes, summed
from nnarray.training.inputs import InMemory, Inputs, Named
from nnarray.training.state import TrainingState
from nnarray.training.trainer import Finished
from nnarray.typing import Array

SILENCE = 120.0  # seconds without a heartbeat after which the client is considered lost
SHORT = 2**15  # vectors up to this length are added up by one worker; longer ones are divided


class Abandoned(Exception):
    """The client has cancelled the steps."""


@dataclass(frozen=True)
class Sent:
    """The data that a worker needs for its part in a training."""

    model: Any
    data: Data
    settings: dict[str, Any]
    """The arguments of its trainer."""
    backend: str | None
    """The backend of the worker; None for that of the model."""


@dataclass(frozen=True)
class Report:
    """The report of a worker on the requested steps."""

    step: int
    """The total number of steps taken."""
    losses: list[np.ndarray]
    masses: list[Any]
    outputs: list[np.ndarray]
    cut_off: list[str]
    """The addresses of workers that it could not reach."""
    error: BaseException | None = None
    """Another error."""


def share_of(member: int, members: int, grains: int) -> range:
    """The grains of one of several workers; the numbers differ by at most one."""
    return range(member * grains // members, (member + 1) * grains // members)


def host_state(at: TrainingState) -> TrainingState:
    """A copy with arrays on the host."""
    slots = {name: on_host(slot) for name, slot in at.slots.items()}
    return at._replace(theta=on_host(at.theta), state=on_host(at.state), slots=slots)


def data_on(be: Backend, data: Data, worker: Any) -> Data:
    """The examples on the worker's backend; the worker requests rows that other workers keep."""

    def moved(inputs: Inputs) -> Inputs:
        if isinstance(inputs, InMemory):
            return InMemory(be.asarray(inputs.x))
        if isinstance(inputs, Named):
            return Named({name: moved(each) for name, each in inputs.inputs.items()})
        source = inputs.source.at(worker) if isinstance(inputs.source, Blocks) else inputs.source
        return replace(inputs, source=source, be=be)

    weights = None if data.weights is None else be.asarray(data.weights)
    return Data(moved(data.inputs), be.asarray(data.target), weights, be.asarray(data.y))


class Member:
    """The part of one worker in one training; all but `_computed` runs on the worker's event loop."""

    trainer: GrainedTrainer

    def __init__(self, worker: Any, training: str) -> None:
        self.worker, self.training = worker, training
        self.loop, self.thread = asyncio.get_running_loop(), ThreadPoolExecutor(1, "nnarray-member")
        self.members: list[str] = [worker.address]
        self.attempt, self.abandoned = 0, 0
        self.mail: dict[tuple[Any, ...], asyncio.Future[Any]] = {}
        self.sum: concurrent.futures.Future[Any] | None = None
        self.cut_off: list[str] = []
        self.sending: set[asyncio.Future[None]] = set()
        self.heard = time.monotonic()
        """The time of the client's last heartbeat."""
        self.watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        """Leave if the client is lost."""
        while time.monotonic() < self.heard + SILENCE:
            await asyncio.sleep(SILENCE / 10)
        await self.leave()

    @property
    def me(self) -> int:
        """The position of this worker among the members."""
        return self.members.index(self.worker.address)

    async def _threaded(self, function: Callable[..., Any], *arguments: Any) -> Any:
        def alone() -> Any:
            with computing(LAYERS), one_thread(self.trainer.at.theta):
                return function(*arguments)

        return await self.loop.run_in_executor(self.thread, alone)

    # --- Requests of the client --------------------------------------------------------------------------------

    async def join(self, sent: Sent) -> str:
        """Prepare for the first step; returns its result on this worker, as other processors may round differently."""
        self.trainer = await self.loop.run_in_executor(self.thread, self._made, sent)
        return await self._threaded(proof, self.trainer)

    def _made(self, sent: Sent) -> GrainedTrainer:
        model = sent.model if sent.backend is None else sent.model.to(backend(sent.backend))
        data = data_on(backend_of(model.theta), sent.data, self.worker)
        at, own = sent.settings["at"], {"threads": self.worker.state.nthreads, "together": self._together}
        settings: dict[str, Any] = sent.settings | own | {"at": at.on(backend_of(model.theta), at)}
        return GrainedTrainer.of(model, data, **settings)

    async def run(
        self, attempt: int, members: list[str], step: int, number: int, rate: float, begun: int, limit: int
    ) -> Report:
        """Take some steps of an epoch with other members, after `step` steps in total."""
        if self.trainer.at.step != step:
            raise ConnectionError(
                f"worker {self.worker.address} is {self.trainer.at.step - step} steps ahead of the others"
            )
        self.attempt, self.members, self.cut_off = attempt, members, []
        for sending in self.sending:
            sending.cancel()
        for key in [key for key in self.mail if key[0] < attempt]:
            self.mail.pop(key).cancel()
        return await self._threaded(self._computed, number, rate, begun, limit)

    async def abandon(self, attempt: int) -> None:
        """Take no more steps of this attempt."""
        self.abandoned = max(attempt, self.abandoned)
        if self.attempt <= attempt and self.sum is not None and not self.sum.done():
            self.sum.set_exception(Abandoned())

    async def state(self) -> TrainingState:
        """The state of the training, on the host."""
        return await self._threaded(host_state, self.trainer.at)

    async def adopt(self, at: TrainingState) -> None:
        """Continue from this state."""
        self.trainer.at = at.on(backend_of(self.trainer.at.theta), self.trainer.at)

    async def post(self, key: tuple[Any, ...], value: Any) -> None:
        """Receive data from another member."""
        if key[0] >= self.attempt and not self._mail(key).done():
            self._mail(key).set_result(value)

    async def leave(self) -> None:
        """End the training."""
        self.watching.cancel()
        await self.abandon(self.attempt)
        for waiting in (*self.sending, *self.mail.values()):
            waiting.cancel()
        self.worker.__dict__[TRAININGS].pop(self.training, None)
        if hasattr(self, "trainer"):
            self.thread.submit(self.trainer.release)
        self.thread.shutdown(wait=False)

    # --- Steps, in a thread --------------------------------------------------------------------------------------

    def _computed(self, number: int, rate: float, begun: int, limit: int) -> Report:
        trainer, done, error = self.trainer, Finished([], [], [], []), None
        trainer.share = lambda grains: share_of(self.me, len(self.members), grains)
        try:
            trainer.take_steps(number, rate, self._check, done, begun, limit)
        except Abandoned:
            pass
        except BaseException as wrong:  # every error belongs to the training, not to the worker
            error = None if isinstance(wrong, OSError) and self.cut_off else sendable(wrong)
        taken = [*map(on_host, done.losses)]
        masses = [each if isinstance(each, int) else on_host(each) for each in done.masses]
        return Report(trainer.at.step, taken, masses, [*map(on_host, done.outputs)], self.cut_off, error)

    def _check(self) -> None:
        if self.attempt <= self.abandoned:
            raise Abandoned

    def _together(self, nodes: Nodes, outputs: list[Array], grains: int) -> tuple[Any, list[Array]]:
        """The sum over all grains, and the outputs of all; waits for the others."""
        if len(self.members) == 1:
            return summed(nodes, (0, grains)), outputs
        self._check()
        self.sum = concurrent.futures.Future()
        given = {block: on_host(each) for block, each in nodes.items()}, [*map(on_host, outputs)], grains
        asyncio.run_coroutine_threadsafe(self._exchange(self.sum, *given), self.loop)
        self._check()
        total, outputs = self.sum.result()
        be = backend_of(self.trainer.at.theta)
        return be.asarray(total), [*map(be.asarray, outputs)]

    # --- Between the members -------------------------------------------------------------------------------------

    async def _exchange(
        self, found: concurrent.futures.Future[Any], nodes: Nodes, outputs: list[Any], grains: int
    ) -> None:
        """Add up a part of the vector on each member, and distribute the sums; waiting ones get them or the error."""
        try:
            result: Any = await self._all_summed(nodes, outputs, grains)
        except Exception as error:
            if not found.done():
                found.set_exception(error)
        else:
            if not found.done():
                found.set_result(result)

    async def _all_summed(self, nodes: Nodes, outputs: list[Any], grains: int) -> tuple[Any, list[Any]]:
        """The parts of the vector that the first few members add up: a single one if the vector is short."""
        size = self.trainer.at.theta.shape[0] + self.trainer.at.state.shape[0] + 2
        adders = min(len(self.members), 1 + size // SHORT)
        ends = [i * size // adders for i in range(adders + 1)]
        for i in range(adders):
            part = {block: each[ends[i] : ends[i + 1]] for block, each in nodes.items()}
            self._hand("nodes", (i,), (part, outputs if i == 0 else []))
        if self.me < adders:
            received = await self._handed("nodes", len(self.members))
            own = summed({block: each for part, _ in received for block, each in part.items()}, (0, grains))
            self._hand("sums", range(len(self.members)), (own, [each for _, others in received for each in others]))
        sums = await self._handed("sums", adders)
        return np.concatenate([each for each, _ in sums]), sums[0][1]

    def _hand(self, what: str, to: Iterable[int], value: Any) -> None:
        """Send data to some members, which may include this one."""
        key = self.attempt, self.trainer.at.step, what, self.me
        for i in to:
            if i == self.me:
                self._mail(key).set_result(value)
            else:
                sending = asyncio.ensure_future(self._send(self.members[i], key, value))
                self.sending.add(sending)
                sending.add_done_callback(self.sending.discard)

    async def _handed(self, what: str, givers: int) -> list[Any]:
        """The data of the first few members for this one."""
        keys = [(self.attempt, self.trainer.at.step, what, i) for i in range(givers)]
        received = [await self._mail(key) for key in keys]
        for key in keys:
            del self.mail[key]
        return received

    async def _send(self, address: str, key: tuple[Any, ...], value: Any) -> None:
        try:
            await asked(self.worker.rpc, address, self.training, "post", key, value)
        except (OSError, RuntimeError) as error:  # for example closed connections, when the worker ends
            if key[0] == self.attempt and self.sum is not None and not self.sum.done():
                self.cut_off.append(address)
                self.sum.set_exception(error)

    def _mail(self, key: tuple[Any, ...]) -> asyncio.Future[Any]:
        if key not in self.mail:
            self.mail[key] = self.loop.create_future()
        return self.mail[key]


def proof(trainer: GrainedTrainer) -> str:
    """A checksum of products of fixed numbers and of the gradient of the first few examples."""
    at, digest = trainer.at, hashlib.sha256()
    be = backend_of(at.theta)
    for rows, inner, columns in ((5, 7, 3), (64, 257, 33), (300, 1000, 129)):
        numbers = (np.arange(rows * inner + inner * columns) % 1013 - 506.0) / 509.0
        a, b = numbers[: rows * inner].reshape(rows, inner), numbers[rows * inner :].reshape(inner, columns)
        product = operator.matmul(*(be.asarray(each, dtype=at.theta.dtype) for each in (a, b)))
        digest.update(on_host(product).tobytes())
    few = slice(0, min(trainer.batch_size, trainer.data.examples, 32))
    vector, _ = trainer.grain(at.theta, at.state, *trainer.data.batch(few), trainer.words_of[0], at.step)
    digest.update(on_host(vector).tobytes())
    return digest.hexdigest()
