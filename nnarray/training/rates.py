"""A search for a learning rate: a few steps with rising rates, and the loss at each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from nnarray.backends import is_traced
from nnarray.checks import integer, real
from nnarray.datasets.streams import Stream
from nnarray.drawing.curves import plot_rates
from nnarray.kernels.compilation import quiet
from nnarray.kernels.engines import LAYERS, computing
from nnarray.layers.kinds import arrays_in
from nnarray.optimizers import optimizer_named
from nnarray.random import Key
from nnarray.training.automatic import decided, loss_or_auto
from nnarray.training.data import prepare
from nnarray.training.state import TrainingState
from nnarray.training.trainee import Trainee
from nnarray.training.trainer import Finished, Trainer

KEPT = 0.8  # the weight of earlier losses in their running mean
TOO_MUCH = 4.0  # times the lowest loss: then the rate is too high, and the search is over


@dataclass(frozen=True, repr=False)
class RateSearch:
    """The result of `Model.find_lr`.

    Attributes
    ----------
    rates : list of float
        The learning rate of each step.
    losses : list of float
        The loss before each step, on its batch.

    Examples
    --------
    >>> from nnarray.training.rates import RateSearch
    >>> RateSearch([1e-3, 1e-2, 1e-1, 1.0, 10.0], [1.0, 0.9, 0.4, 0.3, 1.0]).suggestion
    0.1
    """

    rates: list[float]
    losses: list[float]

    def __repr__(self) -> str:
        return f"RateSearch({len(self.rates)} rates from {self.rates[0]:.3g} to {self.rates[-1]:.3g})"

    @property
    def smoothed(self) -> list[float]:
        """The running mean of the losses so far."""
        total, averages = 0.0, []
        for step, loss in enumerate(self.losses, start=1):
            total = KEPT * total + (1.0 - KEPT) * loss
            averages.append(total / (1.0 - KEPT**step))
        return averages

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss falls most steeply, over the logarithm of the rate.

        Raises
        ------
        ValueError
            If the loss does not fall.
        """
        means = self.smoothed
        lowest = means.index(min(means))
        falls = [(means[i + 1] - means[i - 1], self.rates[i]) for i in range(1, min(lowest + 1, len(means) - 1))]
        if not falls or min(falls)[0] >= 0.0:
            raise ValueError(
                "the loss does not fall at any of these learning rates. Search from a lower one, with more steps, or "
                "larger batches."
            )
        return min(falls)[1]

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses over the rates, and the suggestion; needs `nnarray[plot]`. Returns the matplotlib axes."""
        return plot_rates(self.rates, self.losses, self.smoothed, self.suggestion, ax=ax)


@quiet  # the last step may overflow
def search(
    model: Trainee,
    X: Any,
    y: Any,
    *,
    loss: Any,
    optimizer: Any,
    batch_size: int | None,
    lowest: float,
    highest: float,
    steps: int,
    sample_weight: Any,
    seed: int,
) -> RateSearch:
    """`Model.find_lr`."""
    if any(map(is_traced, (*arrays_in(X), model.theta))):
        raise ValueError("find_lr cannot run inside jax.jit: it reads values. Call it outside.")
    steps = integer(steps, "steps", 10, usual=100)
    lowest = real(lowest, "lowest", least=1e-30, usual=1e-6)
    highest = real(highest, "highest", least=lowest, usual=10.0)
    if isinstance(X, Stream):
        raise TypeError("find_lr needs examples in an array or a source; got a Stream. Pass those of some batches.")
    X, chosen = decided(loss_or_auto(loss), model, X, y)
    rule: Any = optimizer_named(optimizer)
    if not rule.stepwise:
        raise ValueError(
            f"{type(rule).__name__} has no learning rate: it chooses its own steps. Use another optimizer."
        )
    data = prepare(model, X, y, sample_weight, chosen)
    start = TrainingState(model.theta, model.state, rule.slots(model.theta, model.wiring.params))
    trainer = Trainer.of(
        model,
        data,
        chosen,
        rule,
        batch_size=None if batch_size is None else integer(batch_size, "batch_size", 1, usual=32),
        shuffle=True,
        key=Key(seed),
        at=start.copied(slots=False),
        engine=LAYERS,
    )
    with computing(LAYERS):
        trainer.prove()
        factor = (highest / lowest) ** (1.0 / (steps - 1))
        return _risen(trainer, [lowest * factor**i for i in range(steps)])


def _risen(trainer: Trainer, rates: list[float]) -> RateSearch:
    """Steps with these rates, over as many epochs as needed, until the loss is out of bounds."""
    search, done = RateSearch([], []), Finished([], [], [], [])
    batches = chain.from_iterable(trainer.batches(epoch) for epoch in count())
    for rate, rows in zip(rates, batches, strict=False):
        trainer.one_step(rows, rate, done)
        loss = float(done.losses[-1])
        if not math.isfinite(loss):
            break
        search.rates.append(rate)
        search.losses.append(loss)
        means = search.smoothed
        if means[-1] > TOO_MUCH * min(means) > 0.0:
            break
    if not search.losses:
        raise ValueError("the loss is not finite before the first step. Standardise X, or make a new model.")
    return search
