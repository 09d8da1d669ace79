"""Learning rates that change, as functions of the epoch, of the losses so far, and of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

from nnarray.arguments import attribute_errors, explain_classes
from nnarray.checks import in_range, integer, is_several, number, numbers_of_python, real
from nnarray.names import shown


def _positive(value: object, what: str) -> None:
    wanted = f"{what} must be a finite number above 0; got {shown(value)}. Use for example 0.01."
    number(value, wanted, lambda x: 0 < x < math.inf)


def _refuse_lowest(lowest: float, lr: float) -> None:
    wanted = f"lowest must lie between 0 and the learning rate {lr}; got {shown(lowest)}."
    number(lowest, wanted, lambda x: 0 <= x <= lr)


def better(value: float, best: float, margin: float = 0.0) -> bool:
    """Whether a value is below the best so far by more than the margin. NaN is worse than all numbers."""
    if math.isnan(best):
        return not math.isnan(value)
    return value < best - margin


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each epoch: `schedule(epoch, losses)`, with epochs counted from 0.

    A schedule of your own defines `rate(epoch, losses)`. `losses` has the monitored loss of each finished epoch,
    which is the validation loss if there is one. A schedule that changes within an epoch returns True from `by_step`,
    and also defines `within(rate, step)`: the rate of a step, given the rate of its epoch. Steps are counted from 0
    through all epochs. Both functions depend on their arguments only, so a resumed training has the same rates.
    """

    def __post_init__(self) -> None:
        numbers_of_python(self)

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        raise NotImplementedError

    @property
    def by_step(self) -> bool:
        """Whether the rate changes within an epoch."""
        return False

    def within(self, rate: float, step: int) -> float:
        """The rate in a step of an epoch whose rate is this."""
        return rate

    def of_epoch(self, epoch: int, losses: Sequence[float] = ()) -> float:
        """The rate of an epoch, of which `within` makes that of a step."""
        return float(self.rate(epoch, losses))  # a NumPy number could change the dtype of arrays

    def __call__(self, epoch: int, losses: Sequence[float] = (), *, step: int | None = None) -> float:
        """The learning rate in this epoch, or in a step of it, counted from 0 through all epochs.

        Raises
        ------
        ValueError
            If it changes from step to step, and no step is given.
        """
        rate = self.of_epoch(epoch, losses)
        if step is not None:
            return float(self.within(rate, step))
        if self.by_step:
            raise ValueError(
                f"{type(self).__name__} changes from step to step: pass the step, counted from 0 through all epochs, "
                f"lr(epoch, step=step)."
            )
        return rate


def _refuse_lengths(epochs: int | None, steps: int | None, least: int) -> None:
    """Refuse lengths that are not integers of at least `least`."""
    for name, length, usual in (("epochs", epochs, 50), ("steps", steps, 500)):
        if length is not None:
            integer(length, name, least, usual=usual)


def _need_one_length(schedule: Schedule, epochs: int | None, steps: int | None) -> None:
    """Refuse no length, and two."""
    if (epochs is None) == (steps is None):
        kind = type(schedule).__name__
        raise TypeError(f"{kind} needs epochs or steps, one of the two; got epochs={epochs!r} and steps={steps!r}.")


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate in all epochs."""

    lr: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self.lr, "learning rate")

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        return self.lr


@dataclass(frozen=True)
class Step(Schedule):
    """lr factor^floor(epoch / every).

    Examples
    --------
    >>> import nnarray as nn
    >>> [nn.schedules.Step(1.0, every=2, factor=0.5)(epoch) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self.lr, "learning rate")
        _positive(self.factor, "factor")
        integer(self.every, "every", 1, usual=10)

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        return self.lr * self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class Exponential(Schedule):
    """lr factor^epoch."""

    lr: float
    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self.lr, "learning rate")
        _positive(self.factor, "factor")

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        return self.lr * self.factor**epoch


@dataclass(frozen=True)
class Cosine(Schedule):
    """lowest + (lr - lowest) (1 + cos(pi epoch / epochs)) / 2; `lowest` after `epochs` epochs.

    With `steps=` in the place of `epochs` it falls from step to step, along step / steps.

    References
    ----------
    .. [1] Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts. ICLR.
    """

    lr: float
    epochs: int | None = None
    lowest: float = 0.0
    steps: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self.lr, "learning rate")
        _refuse_lowest(self.lowest, self.lr)
        _refuse_lengths(self.epochs, self.steps, 1)
        _need_one_length(self, self.epochs, self.steps)

    @property
    def by_step(self) -> bool:
        return self.steps is not None

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        return self.lr if self.epochs is None else self._after(epoch / self.epochs)

    def within(self, rate: float, step: int) -> float:
        return rate if self.steps is None else self._after(step / self.steps)

    def _after(self, part: float) -> float:
        return _along_cosine(self.lr, self.lowest, min(part, 1.0))


@dataclass(frozen=True)
class MultiStep(Schedule):
    """lr factor^(number of milestones reached).

    Parameters
    ----------
    lr : float
        The first rate.
    milestones : sequence of int
        Epochs, counted from 0, at which the rate is multiplied by `factor`.
    factor : float

    Examples
    --------
    >>> import nnarray as nn
    >>> [nn.schedules.MultiStep(1.0, milestones=(2, 4), factor=0.5)(epoch) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    lr: float
    milestones: Sequence[int]
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self.lr, "learning rate")
        _positive(self.factor, "factor")
        if not is_several(self.milestones):
            raise TypeError(f"milestones must be epochs, such as (30, 60); got {shown(self.milestones)}.")
        checked = tuple(integer(each, "each of milestones", 1, usual=30) for each in self.milestones)
        object.__setattr__(self, "milestones", checked)

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        return self.lr * self.factor ** sum(each <= epoch for each in self.milestones)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """One cycle of `epochs` epochs: up to lr, then down to almost 0, each along half a cosine.

    The rate rises from lr / div_factor to lr in the first `pct_start` of the epochs. Then it falls to
    lr / div_factor / final_div_factor, and stays there. Names and defaults are those of PyTorch's `OneCycleLR`.

    Parameters
    ----------
    lr : float
        The highest rate; `model.find_lr` suggests one.
    epochs : int, or steps : int
        At least 2. With `steps`, the rate changes in each step, as in PyTorch with `total_steps=`.
    pct_start : float
        The fraction of the epochs in which the rate rises, in [0, 1).
    div_factor, final_div_factor : float

    References
    ----------
    .. [1] Smith & Topin (2019), Super-convergence: very fast training of neural networks using large learning rates.
       Proc. SPIE 11006.
    """

    lr: float
    epochs: int | None = None
    steps: int | None = field(default=None, kw_only=True)
    pct_start: float = field(default=0.3, kw_only=True)
    div_factor: float = field(default=25.0, kw_only=True)
    final_div_factor: float = field(default=1e4, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self.lr, "learning rate")
        real(self.pct_start, "pct_start", least=0.0, below=1.0, usual=0.3)
        _positive(self.div_factor, "div_factor")
        _positive(self.final_div_factor, "final_div_factor")
        _refuse_lengths(self.epochs, self.steps, 2)
        _need_one_length(self, self.epochs, self.steps)

    @property
    def by_step(self) -> bool:
        return self.steps is not None

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        return self.lr if self.epochs is None else self._at(epoch, self.epochs)

    def within(self, rate: float, step: int) -> float:
        return rate if self.steps is None else self._at(step, self.steps)

    def _at(self, now: int, count: int) -> float:
        """The rate after so many epochs or steps of the cycle."""
        first, top, last = self.lr / self.div_factor, self.pct_start * count - 1.0, count - 1.0
        if now <= top:
            return _along_cosine(first, self.lr, now / top if top else 1.0)
        return _along_cosine(self.lr, first / self.final_div_factor, min((now - top) / (last - top), 1.0))


def _along_cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * part)) / 2.0


@dataclass(frozen=True)
class WarmUp(Schedule):
    """(epoch + 1) / epochs times the first rate of `then`, for `epochs` epochs; after that `then`, counted from 0.

    With `steps=` in the place of `epochs` it rises within epochs: (step + 1) / steps of what `then` gives. The epochs
    of `then` are those of the training; its steps, if it changes in them, are counted from the end of the warm-up.

    References
    ----------
    .. [1] Goyal et al. (2017), Accurate, large minibatch SGD, section 2.2. arXiv:1706.02677.

    Examples
    --------
    >>> import nnarray as nn
    >>> rates = nn.schedules.WarmUp(4, then=nn.schedules.Exponential(1.0, 0.5))
    >>> [rates(epoch) for epoch in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.5]
    >>> rates = nn.schedules.WarmUp(steps=4, then=nn.schedules.Exponential(1.0, 0.5))
    >>> [rates(step // 3, step=step) for step in range(6)]  # of 3 steps an epoch
    [0.25, 0.5, 0.75, 0.5, 0.5, 0.5]
    """

    epochs: int | None = None
    then: float | Schedule | None = None
    steps: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_lengths(self.epochs, self.steps, 1)
        object.__setattr__(self, "then", schedule(self.then))
        _need_one_length(self, self.epochs, self.steps)
        if self.epochs is not None and self._then.by_step:
            raise ValueError(f"{self._then!r} changes from step to step: warm up in steps too, WarmUp(steps=500, ...).")

    @property
    def _then(self) -> Schedule:
        return schedule(self.then)

    @property
    def by_step(self) -> bool:
        return self.steps is not None

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        if self.epochs is None:
            return self._then.of_epoch(epoch, losses)
        if epoch < self.epochs:
            return self._then.of_epoch(0) * (epoch + 1) / self.epochs
        return self._then.of_epoch(epoch - self.epochs, losses[self.epochs :])

    def within(self, rate: float, step: int) -> float:
        if self.steps is None:
            return rate
        return self._then.within(rate, max(step - self.steps, 0)) * min((step + 1) / self.steps, 1.0)


@dataclass(frozen=True)
class Plateau(Schedule):
    """lr, multiplied by `factor` each time the loss has not improved for more than `patience` epochs.

    Parameters
    ----------
    lr : float
        The first rate.
    factor : float
        Between 0 and 1.
    patience : int
        The number of epochs in a row without a better loss that do not change the rate. The next one lowers it.
    threshold : float
        A loss is better if it is below the best by more than threshold |best|. NaN is never better.
    lowest : float
        The lowest rate.
    """

    lr: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    lowest: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self.lr, "learning rate")
        _positive(self.factor, "factor")
        in_range(self.factor, "factor", 0, 1, ends="()")
        integer(self.patience, "patience", 0, usual=10)
        real(self.threshold, "threshold", least=0, below=1, usual=1e-4)
        _refuse_lowest(self.lowest, self.lr)

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        if len(losses) < epoch:
            raise ValueError(
                f"Plateau needs the loss of each finished epoch: {epoch} for this one; got {len(losses)}. Pass them as "
                f"the second argument, lr(epoch, losses)."
            )
        rate, best, waited = self.lr, math.nan, 0
        for loss in losses[:epoch]:
            improved = better(loss, best * (1.0 - math.copysign(self.threshold, best)))
            best, waited = (loss, 0) if improved else (best, waited + 1)
            if waited > self.patience:
                rate, waited = max(rate * self.factor, self.lowest), 0
        return rate


def nominal(rate: object) -> float:
    """The rate that a number or a schedule is about: its `lr`, to which rates of groups stand in a fixed ratio.

    Raises
    ------
    TypeError
        If a schedule has none.
    """
    chosen: Any = schedule(rate)
    chosen = chosen.then if isinstance(chosen, WarmUp) else chosen
    lr = getattr(chosen, "lr", None)
    if not isinstance(lr, Real):
        raise TypeError(
            f"rates of groups stand in a fixed ratio to the schedule's lr, and {type(chosen).__name__} has none: give "
            f"it a field lr."
        )
    return float(lr)


def schedule(rate: object) -> Schedule:
    """A schedule, or a number as a constant one."""
    if isinstance(rate, Schedule):
        return rate
    if hasattr(rate, "suggestion"):
        raise TypeError(f"the learning rate must be a number; got {shown(rate)}. Pass its .suggestion.")
    if isinstance(rate, bool) or not isinstance(rate, Real):
        raise TypeError(
            f"the learning rate must be a number or a schedule; got {shown(rate)}. Use for example 0.01, or "
            f"nn.schedules.Cosine(0.01, epochs=50)."
        )
    return Constant(float(rate))


explain_classes(__name__)

if not TYPE_CHECKING:  # a type checker would accept every name
    __getattr__ = attribute_errors(
        __name__,
        ("Constant", "Cosine", "Exponential", "MultiStep", "OneCycle", "Plateau", "Schedule", "Step", "WarmUp"),
        {},
    )
