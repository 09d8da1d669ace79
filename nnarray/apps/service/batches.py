"""Rows of several requests computed together. The outputs of a row do not depend on the others, bit for bit.

In single precision the outputs of a row depend on how many rows a batch has and, for large batches, on where in it the
row stands: products of matrices add up in another order there. So all batches are of one size, filled up with zeros,
and the size is the largest one in which a row's place was found not to matter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from nnarray.apps.workflow.using import outputs_of
from nnarray.backends import backend_of, host_backend
from nnarray.model import Model
from nnarray.random import Key, normal
from nnarray.typing import Shape

SIZES = (64, 32, 16, 8, 4, 2, 1)  # of a batch of rows
IMAGE_SIZES = SIZES[3:]  # an image costs so much that few are ever worth waiting for
TOGETHER = 512  # rows of which the outputs are computed before other requests are looked at

Compute = Callable[[np.ndarray], np.ndarray]


class _Piece(NamedTuple):
    """Some rows of one request, and where their outputs are awaited."""

    X: np.ndarray
    outputs: asyncio.Future[np.ndarray]


def batch_size(compute: Compute, shape: Shape) -> int:
    """The largest size in which the outputs of a row do not depend on its place in the batch, bit for bit."""
    host, sizes = host_backend(), SIZES if len(shape) == 1 else IMAGE_SIZES
    key, kind = Key(0).fold("places"), {"xp": host.xp, "device": host.device, "dtype": host.dtype("float64")}
    drawn = np.asarray(normal(key, (sizes[0], *shape), **kind))
    return next(size for size in sizes if _is_steady(compute, drawn[:size]))  # a single row has one place only


def _is_steady(compute: Compute, X: np.ndarray) -> bool:
    """Whether rows have the same outputs after they have changed places, for all places."""
    wanted = compute(X)
    return all(np.array_equal(compute(np.roll(X, k, axis=0)), np.roll(wanted, k, axis=0)) for k in range(1, len(X)))


def outputs_on_host(model: Model, X: np.ndarray) -> np.ndarray:
    """The outputs of rows that lie on the host."""
    return outputs_of(model, backend_of(model.theta).asarray(X, dtype=model.theta.dtype))


def in_batches(compute: Compute, X: np.ndarray, size: int) -> np.ndarray:
    """The outputs of all rows, computed in batches of this size; the last one is filled up with zeros."""
    empty = np.zeros((-len(X) % size, *X.shape[1:]), X.dtype)
    full = np.concatenate([X, empty]) if len(empty) else X
    parts = [compute(full[start : start + size]) for start in range(0, len(full), size)]
    return np.concatenate(parts)[: len(X)]


class Batcher:
    """Computes in a thread of its own what requests bring; what comes meanwhile is computed together next.

    Nobody waits for company: a lone request is computed at once.
    """

    def __init__(self, model: Model, computed: Callable[[int], object] = lambda rows: None) -> None:
        self._compute: Compute = lambda X: outputs_on_host(model, X)
        self.size = batch_size(self._compute, model.input_shape)
        self._computed = computed
        self._waiting: deque[_Piece] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nnarray-outputs")

    async def outputs(self, X: np.ndarray) -> np.ndarray:
        """The outputs of one request's rows, as `outputs_of` gives them."""
        future = asyncio.get_running_loop().create_future
        pieces = [_Piece(X[start : start + TOGETHER], future()) for start in range(0, len(X), TOGETHER)]
        self._waiting += pieces
        self._arrived.set()
        return np.concatenate([await piece.outputs for piece in pieces])

    async def run(self) -> None:
        """Compute until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            pieces = self._next()
            X = np.concatenate([piece.X for piece in pieces])
            try:
                outputs = await loop.run_in_executor(self._thread, in_batches, self._compute, X, self.size)
            except Exception as error:  # theirs to answer; the next batch may go well
                _fail(pieces, error)
            else:
                _share(pieces, outputs)
                self._computed(len(X))

    def _next(self) -> list[_Piece]:
        """What waits, the first come first, up to so many rows as are computed together."""
        pieces, rows = [self._waiting.popleft()], 0
        while self._waiting and (rows := sum(len(piece.X) for piece in pieces)) < TOGETHER:
            if rows + len(self._waiting[0].X) > TOGETHER:
                break
            pieces.append(self._waiting.popleft())
        if not self._waiting:
            self._arrived.clear()
        return pieces


def _share(pieces: list[_Piece], outputs: np.ndarray) -> None:
    start = 0
    for X, future in pieces:
        if not future.done():  # as of a client that has gone
            future.set_result(outputs[start : start + len(X)])
        start += len(X)


def _fail(pieces: list[_Piece], error: Exception) -> None:
    for piece in pieces:
        if not piece.outputs.done():
            piece.outputs.set_exception(error)
