"""Which examples are trained on, which choose the epoch, and which are kept for the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nnarray import random
from nnarray.backends import host_backend


class Parts(NamedTuple):
    """The numbers of the examples in each part, in order."""

    train: np.ndarray
    held_out: np.ndarray
    """For early stopping, and for scores where there is no test part."""
    test: np.ndarray
    """Scored once, at the end."""


@dataclass(frozen=True)
class Split:
    """How examples are dealt into parts. Each class is divided alike, and keeps at least one member to train on.

    Parameters
    ----------
    validation, test : float
        The part of all examples that is held out, and that is kept for the last.
    seed : int
    fold : (int, int), optional
        Hold out the k-th of n parts of equal size instead of `validation`.
    """

    validation: float = 0.2
    test: float = 0.0
    seed: int = 0
    fold: tuple[int, int] | None = None

    def of(self, count: int, groups: np.ndarray | None) -> Parts:
        """The parts of so many examples; `groups` has the number of each one's class.

        Raises
        ------
        ValueError
            If a part would have no examples.
        """
        every = np.arange(count)
        rest, test = every, every[:0]
        if self.test > 0:
            rest, test = _held(every, groups, self.test, self._order("test", count))
            _need(test, "--test", self.test, count)
        of_rest = None if groups is None else groups[rest]
        if self.fold is not None:
            train, held = self._fold(rest, of_rest, *self.fold)
        else:
            order = self._order("held out", len(rest))
            train, held = _held(rest, of_rest, self.validation / (1.0 - self.test), order)
            if self.validation > 0:
                _need(held, "--validation", self.validation, count)
        return Parts(train, held, test)

    def _fold(self, rest: np.ndarray, groups: np.ndarray | None, k: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """All but the k-th of n parts, and that part: of examples sorted by class, each n-th."""
        if len(rest) < n:
            raise ValueError(f"--folds {n} needs at least as many examples; got {len(rest)}.")
        order = self._order("folds", len(rest))
        by_class = order if groups is None else order[np.argsort(groups[order], kind="stable")]
        held = np.zeros(len(rest), dtype=bool)
        held[by_class[k::n]] = True
        if groups is not None:
            held &= np.bincount(groups)[groups] > 1  # the only one of a class is always trained on
        return rest[~held], rest[held]

    def _order(self, what: str, count: int) -> np.ndarray:
        return shuffled(random.Key(self.seed).fold(what), count)


def shuffled(key: random.Key, count: int) -> np.ndarray:
    """The numbers 0 to count - 1 in random order, on the host."""
    host = host_backend()
    return np.asarray(random.permutation(key, count, xp=host.xp, device=host.device))


def _need(held: np.ndarray, option: str, fraction: float, count: int) -> None:
    if len(held) == 0:
        raise ValueError(
            f"{option} {fraction:g} of {count} examples holds out none. Use more examples, a larger fraction, or "
            f"{option} 0."
        )


def _held(
    every: np.ndarray, groups: np.ndarray | None, fraction: float, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The examples dealt into a part that stays and one that is held out, each in order."""
    count = len(every)
    if groups is None:
        held = order[: min(round(fraction * count), count - 1)]
    else:
        in_order = groups[order]
        by_group = np.argsort(in_order, kind="stable")
        sizes = np.bincount(in_order)
        rank = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of each within its group
        wanted = np.minimum(np.floor(fraction * sizes + 0.5), np.maximum(sizes - 1, 0))
        held = order[by_group[rank < np.repeat(wanted, sizes)]]
    is_held = np.zeros(count, dtype=bool)
    is_held[held] = True
    return every[~is_held], every[is_held]
