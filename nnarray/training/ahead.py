"""Batches that a thread reads during the steps before them. Their order is the same, and so are all results."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

from nnarray.datasets.sources import Placed
from nnarray.training.data import Data

WAITING = 2  # batches that are read but not yet requested
PATIENCE = 0.05  # seconds after which the thread checks whether the consumer has ended


Batch = tuple[Any, Any, Any]


@contextmanager
def read_ahead(
    data: Data, order: Any, places: Sequence[slice], batches: Sequence[Any]
) -> Generator[Callable[[Any], Batch]]:
    """A function that returns the inputs, the target and the weights of each of these batches, one by one.

    A thread reads them ahead, if their source allows this. The thread has ended when the block ends, also by an error.

    Parameters
    ----------
    data : Data
    order : array of integers, optional
        The order of all examples; None for their own order.
    places : sequence of slices
        The positions of the rows of each batch in the order.
    batches : sequence of slices or arrays of integers
        The rows themselves.
    """
    inputs = data.inputs
    if not isinstance(inputs, Placed) or not inputs.source.reads_ahead or len(batches) < 2:
        yield data.batch
        return
    on_host = None if order is None else inputs.be.to_numpy(order)
    reader = Reader(inputs.read, list(places) if on_host is None else [on_host[place] for place in places])
    expected = iter(batches)

    def batch(rows: Any) -> Batch:
        if rows is not next(expected):
            raise AssertionError("batches must be asked for in the order in which they are read")
        return data.joined(inputs.moved(reader.take()), rows)

    try:
        yield batch
    finally:
        reader.stop()


class Reader:
    """The results of `read` for each place, in order; a thread is a few places ahead of the consumer."""

    def __init__(self, read: Callable[[Any], Any], places: Iterable[Any]) -> None:
        self._stopped = threading.Event()
        self._ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, args=(read, places), name="nnarray-reader", daemon=True)
        self._thread.start()

    def take(self) -> Any:
        """The result for the next place; raises the error of reading it."""
        found, error = self._ready.get()
        if error is not None:
            raise error
        return found

    def stop(self) -> None:
        """Stop reading, and wait for the read in progress."""
        self._stopped.set()
        self._thread.join()

    def _run(self, read: Callable[[Any], Any], places: Iterable[Any]) -> None:
        for place in places:
            try:
                item = read(place), None
            except BaseException as error:  # every error belongs to the step that needs the batch
                item = None, error
            if not self._handed_over(item) or item[1] is not None:
                return

    def _handed_over(self, item: tuple[Any, BaseException | None]) -> bool:
        while not self._stopped.is_set():
            try:
                self._ready.put(item, timeout=PATIENCE)
            except queue.Full:
                continue
            return True
        return False
