"""Batches from a generator function, a loader or a list, epoch by epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sized
from itertools import islice
from typing import Any

from nnarray.checks import integer
from nnarray.names import shown

AGAIN = "Pass the function that makes it, without calling it, or a list"


class Stream:
    """Batches for `Model.fit`, in their own order and with their own sizes; made by `nn.datasets.stream`.

    Attributes
    ----------
    batches : iterable, or function that returns one
    steps_per_epoch : int or None
        How many of them are an epoch; all if None.
    """

    def __init__(
        self, batches: Iterable[Any] | Callable[..., Iterable[Any]], steps_per_epoch: int | None = None
    ) -> None:
        if isinstance(batches, Iterator):
            raise TypeError(
                f"each epoch needs all batches again; got {shown(batches)}, which can be read only once. {AGAIN}."
            )
        if not callable(batches) and not isinstance(batches, Iterable):
            raise TypeError(
                f"batches must be an iterable of (X, y) or (X, y, sample_weight), or a function that returns one; got "
                f"{shown(batches)}."
            )
        self.batches = batches
        self.steps_per_epoch = (
            None if steps_per_epoch is None else integer(steps_per_epoch, "steps_per_epoch", 1, usual=100)
        )

    def __repr__(self) -> str:
        steps = "" if self.steps_per_epoch is None else f", steps_per_epoch={self.steps_per_epoch}"
        return f"Stream({shown(self.batches)}{steps})"

    def epoch(self, number: int) -> Generator[Any]:
        """The batches of an epoch, which is counted from 0, unchanged.

        Raises
        ------
        ValueError
            During iteration, if there are no batches.
        """
        empty = True
        for batch in islice(self._iterable(number), self.steps_per_epoch):
            empty = False
            yield batch
        if empty:
            remedy = f"An iterator can be read only once. {AGAIN}." if number else "Pass at least one batch."
            raise ValueError(f"the stream has no batches in epoch {number + 1}. {remedy}")

    def _iterable(self, number: int) -> Iterable[Any]:
        if not callable(self.batches):
            return self.batches
        given = self.batches(epoch=number) if _takes_epoch(self.batches) else self.batches()
        if not isinstance(given, Iterable):
            raise TypeError(f"the function of a stream must return an iterable of batches; got {shown(given)}.")
        return given


class Begun(Stream):
    """A stream whose first batch was looked at, and is not lost: the first epoch begins with it.

    Attributes
    ----------
    first : tuple
        That batch.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.batches, stream.steps_per_epoch)
        self._rest: Generator[Any] | None = stream.epoch(0)
        self.first = next(self._rest)

    def epoch(self, number: int) -> Generator[Any]:
        """The batches of an epoch; the first one goes on where the look at it ended."""
        rest, self._rest = self._rest, None
        if number or rest is None:
            yield from super().epoch(number)
        else:
            yield self.first
            yield from rest


def as_stream(X: Any) -> Stream | None:
    """A stream of what can be nothing but batches of (X, y): a loader, or a list of pairs of arrays; None else.

    An array, a frame or a mapping is none, and neither is a list of numbers.
    """
    if isinstance(X, Stream):
        return X
    is_one = hasattr(X, "shape") or hasattr(X, "__array__") or isinstance(X, str | bytes | Mapping)
    if is_one or not isinstance(X, Iterable) or (isinstance(X, list | tuple) and not all(map(_is_batch, X))):
        return None
    return None if _is_empty(X) else Stream(X)


def _is_empty(batches: Iterable[Any]) -> bool:
    """Whether there are no batches; what does not know its length is not empty."""
    try:
        return isinstance(batches, Sized) and len(batches) == 0
    except TypeError:  # a loader of a data set without a length has the method, but no length
        return False


def _is_batch(given: Any) -> bool:
    pair = isinstance(given, list | tuple) and len(given) in (2, 3)
    return pair and all(hasattr(each, "shape") or isinstance(each, Mapping) for each in given)


def _takes_epoch(function: Callable[..., Any]) -> bool:
    try:
        return "epoch" in inspect.signature(function).parameters
    except ValueError:  # some functions in C have no signature
        return False


def stream(batches: Iterable[Any] | Callable[..., Iterable[Any]], *, steps_per_epoch: int | None = None) -> Stream:
    """A stream of batches for `fit`, which iterates over them once per epoch and keeps none.

    Parameters
    ----------
    batches : iterable, or function that returns one
        Batches (X, y) or (X, y, sample_weight), as tuples or lists, with arrays of any supported library. Batches may
        have different sizes. It can be a list, a `torch.utils.data.DataLoader`, or a generator function. A function is
        called in each epoch. If it has a parameter `epoch`, it gets the number of the epoch, counted from 0.
    steps_per_epoch : int, optional
        The number of batches of an epoch, at most; all batches if None. A source without an end needs it: otherwise
        the first epoch does not end. A function is called again in the next epoch, so use `epoch` as its seed.

    Returns
    -------
    Stream
        Use it as `model.fit(stream)`, without y.

    Raises
    ------
    TypeError
        If it is not an iterable, or if it is an iterator, which can be iterated over only once.
    ValueError
        If `steps_per_epoch` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> import nnarray as nn
    >>> def batches(epoch):
    ...     draw = np.random.default_rng(epoch)
    ...     for size in (32, 32, 8):
    ...         X = draw.normal(size=(size, 2))
    ...         yield X, (X[:, 0] > X[:, 1]).astype(int)
    >>> model = nn.Network(nn.Dense(2)).init((2,), seed=0)
    >>> history = model.fit(nn.datasets.stream(batches), optimizer=nn.Adam(0.1), epochs=10)
    >>> history.steps, history["loss"][-1] < history["loss"][0]
    (30, True)
    """
    return Stream(batches, steps_per_epoch)
