"""Examples in the memory of a cluster's workers: the blocks of a Dask array or dataframe."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from nnarray.backends import backend_of, is_lazy, namespace
from nnarray.datasets.sources import Placed, Source
from nnarray.distributed.cluster import sent
from nnarray.distributed.messages import ROWS, asked, install_everywhere
from nnarray.layers.kinds import REAL, Spec
from nnarray.names import shown
from nnarray.training.inputs import inputs_of, refuse_shape
from nnarray.typing import Shape

WAIT = 60.0  # seconds in which a block that was lost with its worker must be computed again
PAUSE = 0.2


def examples_of(model: Any, client: Any, X: Any, *others: Any, check_finite: bool) -> tuple[Any, ...]:
    """X as a source whose blocks stay on the workers, if it is a Dask collection; labels and weights are moved here.

    Raises
    ------
    TypeError, ValueError
        If the network does not take such examples, or they have NaN or infinity.
    """
    be = backend_of(model.theta)
    here = tuple(be.asarray(client.compute(each).result()) if is_lazy(each) else each for each in others)
    if not is_lazy(X):
        return X, *here
    source = _blocks_of(client, X)
    spec = model.inputs
    if not isinstance(spec, Spec):
        raise TypeError("the network takes inputs by name, but a Dask array is a single input: pass X.compute().")
    refuse_shape(spec.shape, source.shape, "X")
    if check_finite:
        _search(model, client, source)
    dtype = model.theta.dtype if spec.kind == REAL else None
    return Placed(source, be, dtype, checked=check_finite), *here


def _blocks_of(client: Any, X: Any) -> Blocks:
    """Let the workers compute and keep the blocks."""
    X = dask_array_of(X)
    refuse_other_kinds(X)
    X = with_whole_examples(X)
    futures = client.compute([*X.to_delayed().ravel()])
    lengths = client.gather(client.map(len, futures))
    install_everywhere(client)
    ends = tuple(np.cumsum([0, *lengths]).tolist())
    return Blocks(tuple(each.key for each in futures), ends, tuple(X.shape[1:]), X._meta[:0], futures)


def dask_array_of(X: Any) -> Any:
    """A Dask array or dataframe as an array.

    Raises
    ------
    TypeError
        If it is another collection of Dask.
    """
    if hasattr(type(X), "to_dask_array"):
        return X.to_dask_array()
    if not hasattr(type(X), "map_blocks"):
        raise TypeError(f"X must be a Dask array or dataframe, or an array; got {shown(X)}. Pass X.compute().")
    return X


def refuse_other_kinds(X: Any) -> None:
    """Refuse a Dask array of anything but real numbers."""
    if X.dtype.kind not in "fiub":
        raise TypeError(f"X must have real numbers; got dtype {X.dtype}. Choose columns of numbers, or convert them.")


def with_whole_examples(X: Any) -> Any:
    """A Dask array that is divided into blocks along the axis of examples only."""
    return X.rechunk(dict.fromkeys(range(1, X.ndim), -1))


def _search(model: Any, client: Any, source: Blocks) -> None:
    """Refuse NaN and infinity, on the workers."""
    names = [f"X[{first}:{stop}]" for first, stop in pairwise(source.ends)]
    client.gather(client.map(_searched, source.futures, names, model=sent(client, model.copy()), pure=False))


def _searched(block: Any, name: str, model: Any) -> None:
    if len(block):
        inputs_of(model, backend_of(model.theta).asarray(block), name, check_finite=True)


def _picked(block: Any, rows: Any) -> Any:
    return block[rows]


@dataclass(frozen=True)
class Blocks(Source):
    """The rows of blocks that workers keep: each batch is assembled from the blocks with its rows."""

    keys: tuple[str, ...]
    """The keys of the blocks in Dask."""
    ends: tuple[int, ...]
    """The start of each block, and the end of the last one."""
    inner: Shape
    empty: Any = field(repr=False)
    """An empty array with the library and dtype of the blocks."""
    futures: Sequence[Any] = field(default=(), repr=False)
    """The futures that keep the blocks; at the client only."""
    worker: Any = field(default=None, repr=False)
    """The worker that requests rows, if it is not the client."""

    reads_ahead = True

    def __reduce__(self) -> tuple[Any, ...]:
        return Blocks, (self.keys, self.ends, self.inner, self.empty)

    def at(self, worker: Any) -> Blocks:
        """The same blocks, as a worker sees them."""
        return replace(self, worker=worker)

    @property
    def shape(self) -> Shape:
        """The shape of all examples together."""
        return (self.ends[-1], *self.inner)

    def rows(self, indices: Any) -> Any:
        """The examples at `indices`, from the workers that have them."""
        indices = np.arange(len(self))[indices] if isinstance(indices, slice) else np.asarray(indices)
        of = np.searchsorted(self.ends, indices, side="right") - 1
        wanted = {int(i): indices[of == i] - self.ends[i] for i in np.unique(of)}
        found = self._asked_for(wanted) if self.worker is None else self._fetched(wanted)
        if not found:
            return self.empty
        together = found[0] if len(found) == 1 else namespace(found[0]).concat(found, axis=0)
        places = np.concatenate([np.flatnonzero(of == i) for i in wanted])
        return together[np.argsort(places)]

    def _asked_for(self, wanted: dict[int, np.ndarray]) -> list[Any]:
        """The rows, read by the client."""
        client = self.futures[0].client
        return client.gather([client.submit(_picked, self.futures[i], rows, pure=False) for i, rows in wanted.items()])

    def _fetched(self, wanted: dict[int, np.ndarray]) -> list[Any]:
        """The rows, read by a worker: from its own blocks, and from others through Dask's connections."""
        loop = self.worker.loop.asyncio_loop
        return asyncio.run_coroutine_threadsafe(self._from_workers(self.worker, wanted), loop).result()

    async def _from_workers(self, worker: Any, wanted: dict[int, np.ndarray]) -> list[Any]:
        found: dict[int, Any] = {}
        for _ in range(int(WAIT / PAUSE)):
            missing = [i for i in wanted if i not in found]
            if not missing:
                return [found[i] for i in wanted]
            holders = await worker.scheduler.who_has(keys=[self.keys[i] for i in missing])
            calls = [self._from(worker, holders.get(self.keys[i], ()), i, wanted[i]) for i in missing]
            rows = await asyncio.gather(*calls)
            found |= {i: each for i, each in zip(missing, rows, strict=True) if each is not None}
            if len(found) < len(wanted):
                await asyncio.sleep(PAUSE)
        raise ConnectionError(
            f"blocks of X were lost with their workers, and were not computed again within {WAIT:.0f} seconds."
        )

    async def _from(self, worker: Any, holders: Iterable[str], i: int, rows: np.ndarray) -> Any:
        """Rows of a block from a worker that has it; None if there is none."""
        if self.keys[i] in worker.data:
            return worker.data[self.keys[i]][rows]
        for address in holders:
            with suppress(OSError):
                return await asked(worker.rpc, address, "", ROWS, self.keys[i], rows)
        return None
