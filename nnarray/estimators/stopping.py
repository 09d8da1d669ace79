"""The records of each epoch, and the stopping rules of scikit-learn's networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nnarray.backends import same_place
from nnarray.optimizers import Minimiser
from nnarray.schedules import Schedule, better
from nnarray.training.callbacks import Callback, Run
from nnarray.typing import Array

LOWEST_RATE = 1e-6  # where "adaptive" stops
FLAT = 2.220446049250313e-9  # SciPy's L-BFGS-B stops below this relative decrease of the loss


class Record(Callback):
    """Writes each epoch to the estimator's attributes; does not stop before the last one.

    Parameters
    ----------
    estimator : estimator
    examples : int
        The number of examples per epoch.
    rule : Minimiser
        Its L2 penalty is part of the loss.
    """

    def __init__(self, estimator: Any, examples: int, rule: Minimiser) -> None:
        self.estimator, self.examples = estimator, examples
        self.decay = rule.penalty

    stopped = False
    """Whether the training ended before its last epoch."""

    def on_epoch_end(self, run: Run) -> None:
        """Record the epoch, and decide whether to stop."""
        self.judge(run, self.write(run.model, run.history["loss"][-1], run.epoch))

    def on_fit_end(self, run: Run) -> None:
        """Record whether the training ended early."""
        self.stopped = run.stopped is not None or run.epoch < run.epochs

    def end(self, model: Any) -> None:
        """Called after a training that was not interrupted."""

    def write(self, model: Any, loss: float, epoch: int) -> float:
        """Record an epoch; returns its loss with the penalty."""
        estimator, loss = self.estimator, loss + self.penalty(model)
        estimator.n_iter_, estimator.loss_ = epoch, loss
        estimator.t_ += self.examples
        estimator.loss_curve_.append(loss)
        self.say(f"Iteration {epoch}, loss = {loss:.8f}")
        return loss

    def penalty(self, model: Any) -> float:
        """weight_decay / 2 times the sum of the squares of all weights, without the biases."""
        if not self.decay:
            return 0.0
        theta, decays = model.theta, model.wiring.params.decays(model.theta)
        shrunk = self.decay * theta if decays is None else self.decay * theta * decays
        return 0.5 * float(same_place(theta=theta).sum(shrunk * theta))

    def judge(self, run: Run, loss: float) -> None:
        """Stop the training if this loss is good enough."""
        self.remember(loss)

    def remember(self, loss: float) -> None:
        """Keep the lowest loss so far."""
        best = self.estimator.best_loss_
        if best is not None and better(loss, best):
            self.estimator.best_loss_ = loss

    def say(self, text: str) -> None:
        """Print a line if the estimator is verbose."""
        if self.estimator.verbose:
            print(text)


class Flat(Record):
    """Stops L-BFGS like SciPy's default settings, when the loss hardly decreases."""

    last = math.inf

    def judge(self, run: Run, loss: float) -> None:
        """Stop if the loss has hardly decreased since the last iteration."""
        fall = self.last - loss
        if self.last < math.inf and fall <= FLAT * max(abs(self.last), abs(loss), 1.0):
            run.stop("the loss hardly decreases any more")
        self.last = loss
        self.remember(loss)


class Patience(Record):
    """Stops when the loss or a score has not improved by `tol` for more than `patience` epochs.

    As in scikit-learn, an improvement by exactly `tol` counts. So with `tol=0`, a value equal to the best counts.

    Parameters
    ----------
    tol, patience : float
    score : function of a model, optional
        A score on held-out examples, higher is better; the best parameters are restored. None uses the loss.
    rate : float, optional
        The learning rate, if it is divided by 5 instead of stopping, until it is below 1e-6.
    """

    def __init__(
        self,
        estimator: Any,
        examples: int,
        rule: Minimiser,
        *,
        tol: float,
        patience: float,
        score: Callable[[Any], float] | None = None,
        rate: Rate | None = None,
    ) -> None:
        super().__init__(estimator, examples, rule)
        self.tol, self.patience, self.score, self.rate = tol, patience, score, rate
        self.waited = 0
        self.kept: tuple[Array, Array] | None = None

    def judge(self, run: Run, loss: float) -> None:
        """Stop, or divide the learning rate by 5, after too many epochs without improvement."""
        self.waited = 0 if (self.better_score(run.model) if self.score else self.better_loss(loss)) else self.waited + 1
        if self.waited <= self.patience:
            return
        what = "Validation score" if self.score else "Training loss"
        reason = f"{what} did not improve more than tol={self.tol:f} for {self.patience} consecutive epochs."
        if self.rate is None or self.rate.now <= LOWEST_RATE:
            self.say(f"{reason} Stopping.")
            run.stop(reason)
            return
        self.rate.now /= 5.0
        self.waited = 0
        self.say(f"{reason} Setting learning rate to {self.rate.now:f}")

    def end(self, model: Any) -> None:
        """Restore the parameters with the best score, if there is a score."""
        if self.kept is not None:
            model.restore(self.kept)

    def better_loss(self, loss: float) -> bool:
        """Whether the loss has improved by `tol`; keeps the lowest one."""
        improved = not better(self.estimator.best_loss_ - self.tol, loss)
        self.remember(loss)
        return improved

    def better_score(self, model: Any) -> bool:
        """Whether the score has improved by `tol`; records it, and keeps the best parameters."""
        estimator, score = self.estimator, self.score(model) if self.score else math.nan
        estimator.validation_scores_.append(score)
        self.say(f"Validation score: {score:f}")
        improved = not better(-estimator.best_validation_score_ - self.tol, -score)
        if better(-score, -estimator.best_validation_score_):
            estimator.best_validation_score_ = score
            self.kept = model.snapshot()
        return improved


@dataclass
class Rate:
    """A learning rate that the stopping rule changes."""

    now: float


@dataclass(frozen=True)
class Adaptive(Schedule):
    """A learning rate that `Patience` may divide by 5."""

    current: Rate

    def rate(self, epoch: int, losses: Any) -> float:
        """The present learning rate, for any epoch."""
        return self.current.now


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """lr / (t + 1)^power, with t the number of examples seen at the start of the epoch.

    Parameters
    ----------
    lr, power : float
    examples : int
        The number of examples per epoch.
    seen : int
        The number of examples seen before.
    """

    lr: float
    power: float
    examples: int
    seen: int = 0

    def rate(self, epoch: int, losses: Any) -> float:
        """The learning rate of an epoch."""
        return self.lr / (self.seen + epoch * self.examples + 1) ** self.power
