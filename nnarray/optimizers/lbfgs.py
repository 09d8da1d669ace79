"""The settings of L-BFGS; `training.lbfgs` computes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnarray.checks import in_range, integer, numbers_of_python
from nnarray.optimizers.base import Minimiser


@dataclass(frozen=True)
class LBFGS(Minimiser):
    """Limited-memory BFGS on all examples at once, by `scipy.optimize`: an epoch is an iteration.

    For small networks and data that fit into one batch: pass `batch_size=None` to `fit`. Dropout is off; in the
    history, the loss is without the penalty of `weight_decay` and "lr" is 1. The vector goes to SciPy, on the host,
    and back at each evaluation; nothing else leaves the device. Needs the extra `nnarray[scipy]`.

    Parameters
    ----------
    memory : int
        How many past steps approximate the curvature.
    tolerance : float
        Stops when the largest entry of the gradient is below.
    weight_decay : float
        Adds `weight_decay / 2 * sum of w^2` to the loss, over weights, not biases.
    evaluations : int
        How often loss and gradient are computed at most.

    References
    ----------
    .. [1] Liu & Nocedal (1989), On the limited memory BFGS method. Mathematical Programming 45, 503-528.
    """

    memory: int = 10
    tolerance: float = 1e-6
    weight_decay: float = 0.0
    evaluations: int = 15_000

    stepwise = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "memory", integer(self.memory, "memory", 1, usual=10))
        object.__setattr__(self, "evaluations", integer(self.evaluations, "evaluations", 1, usual=15_000))
        numbers_of_python(self)
        in_range(self.tolerance, "tolerance", 0, math.inf)
        in_range(self.weight_decay, "weight_decay", 0, math.inf)

    def __getattr__(self, name: str) -> Any:
        if name in ("lr", "slots", "step", "update", "numbers"):
            raise AttributeError(
                f"LBFGS has no {name!r}: it trains by fit only, model.fit(X, y, optimizer=nn.LBFGS(), "
                f"batch_size=None). For a loop of your own, take another optimizer, such as nn.Adam()."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
