"""A search for a learning rate: a few steps with rising rates, and the loss at each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, count, pairwise
from statistics import fmean, median
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
from nnarray.training.faults import naming_both
from nnarray.training.state import TrainingState
from nnarray.training.trainee import Trainee
from nnarray.training.trainer import Finished, Trainer
from nnarray.training.uncounted import refuse_nothing_counted

NEAR = 0.35  # decades of rates on either side, over which losses are averaged
MOST, BEYOND_IT = 0.75, 5.0  # of the fall of the loss; and times the rate at which it has fallen so far
BEYOND = 3.0  # standard errors by which the loss must fall, so that it is no noise of the batches
KEPT = 0.8  # the weight of earlier losses in the running mean that ends the search
TOO_MUCH = 4.0  # times the lowest running mean: then the rate is too high
IN_A_ROW = 5  # steps at which it is, so that no single batch ends the search
FIRST = 10  # steps at which it cannot end: their means are of few losses


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
    >>> RateSearch([1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0], [1.0, 1.0, 0.9, 0.3, 0.4, 1.0]).suggestion
    0.1
    """

    rates: list[float]
    losses: list[float]

    def __repr__(self) -> str:
        try:
            found = f"suggestion={self.suggestion:.3g}"
        except ValueError:
            found = "no suggestion, as the loss does not fall by more than it scatters: more steps, or larger batches"
        return f"RateSearch({len(self.rates)} rates from {self.rates[0]:.3g} to {self.rates[-1]:.3g}, {found})"

    @property
    def smoothed(self) -> list[float]:
        """The mean of the losses at similar rates, up to a factor of about 2 lower and higher."""
        reach, losses = self._reach, self.losses
        return [fmean(losses[max(i - reach, 0) : i + reach + 1]) for i in range(len(losses))]

    @property
    def _reach(self) -> int:
        """How many steps are within `NEAR` decades, at least 1."""
        decades = math.log10(self.rates[-1] / self.rates[0])
        return max(round(NEAR * (len(self.rates) - 1) / decades), 1) if decades > 0.0 else 1

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss is lowest, but at most 5 times the one after three quarters of its fall.

        The lowest loss may lie at the edge where the loss rises [1]_, and may be flat for a factor of many rates. Three
        quarters of the fall are less sensitive to noise. The loss at each rate is that of one batch; so the means over
        similar rates count, if the lowest lies below the first by more than the losses scatter.

        Raises
        ------
        ValueError
            If the loss does not fall.

        References
        ----------
        .. [1] Smith (2017), Cyclical learning rates for training neural networks, section 3.3. WACV.
        .. [2] Gugger (2018), How do you find a good learning rate.
        """
        means = self.smoothed
        lowest = means.index(min(means))
        if not self._falls_to(lowest, means[lowest]):
            raise ValueError(
                "the loss does not fall by more than it scatters between batches. Search with more steps, such as "
                "steps=1000, or with larger batches; where the loss is lowest at the first rate, from a lower one."
            )
        level = means[lowest] + (1.0 - MOST) * (self._start(lowest) - means[lowest])
        fallen = next(i for i, mean in enumerate(means) if mean <= level)
        return min(self.rates[lowest], BEYOND_IT * self.rates[fallen])

    def _start(self, lowest: int) -> float:
        """The mean of the first losses, at rates that change little."""
        return fmean(self.losses[: min(FIRST, lowest)])

    def _falls_to(self, step: int, mean: float) -> bool:
        """Whether the mean loss around a step is lower than before by more than neighbours scatter."""
        if step <= self._reach:  # lowest where it began: all that follows is a rise
            return False
        before = self.losses[: step // 2 + 1]
        jumps = [abs(after - each) for each, after in pairwise(self.losses[: step + 1])]
        deviation = median(jumps) / (0.6745 * math.sqrt(2.0))  # of a normal distribution
        error = deviation * math.sqrt(1.0 / len(before) + 1.0 / (2 * self._reach + 1))
        return fmean(before) - mean > BEYOND * error

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses over the rates, and the suggestion if there is one. Returns the matplotlib axes.

        It needs `nnarray[plot]`.
        """
        try:
            suggestion = self.suggestion
        except ValueError:
            suggestion = None
        return plot_rates(self.rates, self.losses, self.smoothed, suggestion, ax=ax)


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
    named = loss_or_auto(loss)
    rule: Any = optimizer_named(optimizer)
    if not rule.stepwise:
        raise ValueError(
            f"{type(rule).__name__} has no learning rate: it chooses its own steps. Use another optimizer."
        )
    with naming_both(model, X, y, named, check_finite=True):
        X, chosen = decided(named, model, X, y)
        data = prepare(model, X, y, sample_weight, chosen)
        refuse_nothing_counted(chosen, data.weights, "y")
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
    search, done, limit = RateSearch([], []), Finished([], [], [], []), Limit()
    batches = chain.from_iterable(trainer.batches(epoch) for epoch in count())
    for rate, rows in zip(rates, batches, strict=False):
        trainer.one_step(rows, rate, done)
        loss = float(done.losses[-1])
        if not math.isfinite(loss):
            break
        search.rates.append(rate)
        search.losses.append(loss)
        if limit.exceeded(loss):
            break
    if not search.losses:
        raise ValueError("the loss is not finite before the first step. Standardise X, or make a new model.")
    return search


@dataclass
class Limit:
    """Whether the loss has risen for good: its running mean is far above the lowest, several steps in a row."""

    steps: int = 0
    total: float = 0.0
    lowest: float = math.inf
    above: int = 0

    def exceeded(self, loss: float) -> bool:
        """Count one more loss."""
        self.steps += 1
        self.total = KEPT * self.total + (1.0 - KEPT) * loss
        mean = self.total / (1.0 - KEPT**self.steps)  # the first losses weigh as much as they should
        if self.steps > FIRST:
            self.lowest = min(self.lowest, mean)
        self.above = self.above + 1 if mean > TOO_MUCH * self.lowest > 0.0 else 0
        return self.above >= IN_A_ROW
