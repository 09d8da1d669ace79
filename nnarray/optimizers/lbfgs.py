"""The settings of L-BFGS; `training.lbfgs` computes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Self

from nnarray.checks import in_range, integer, numbers_of_python
from nnarray.optimizers.base import Minimiser


@dataclass(frozen=True)
class LBFGS(Minimiser):
    """Limited-memory BFGS on all examples at once, by `scipy.optimize`. An epoch is an iteration.

    It suits small networks, and data that fit into one batch: pass `batch_size=None` to `fit`. Dropout is off. In the
    history, the loss does not include the penalty of `weight_decay`, and "lr" is 1. At each evaluation, theta and its
    gradient are copied between the device and the host, where SciPy runs; nothing else leaves the device. It needs the
    extra `nnarray[scipy]`.

    Parameters
    ----------
    memory : int
        The number of past steps from which the curvature is approximated.
    tolerance : float
        It stops when the largest entry of the gradient is below this.
    weight_decay : float
        Adds `weight_decay / 2 * sum of w^2` to the loss, over weights, not biases.
    evaluations : int
        The largest number of evaluations of loss and gradient.

    References
    ----------
    .. [1] Liu & Nocedal (1989), On the limited memory BFGS method. Mathematical Programming 45, 503-528.
    """

    memory: int = 10
    tolerance: float = 1e-6
    weight_decay: float = 0.0
    evaluations: int = 15_000

    stepwise = False

    def __new__(cls, *values: Any, **settings: Any) -> Self:
        """Refuse the settings that optimizers with steps have."""
        own = [each.name for each in fields(LBFGS)]
        if unknown := [name for name in settings if name not in own]:
            raise TypeError(
                f"LBFGS has no setting {unknown[0]!r}: it chooses its own steps, for all parameters alike. It has "
                f"{', '.join(own)}. For others, use an optimizer with steps, such as nn.Adam()."
            )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        object.__setattr__(self, "memory", integer(self.memory, "memory", 1, usual=10))
        object.__setattr__(self, "evaluations", integer(self.evaluations, "evaluations", 1, usual=15_000))
        numbers_of_python(self)
        in_range(self.tolerance, "tolerance", 0, math.inf)
        in_range(self.weight_decay, "weight_decay", 0, math.inf)

    def __getattr__(self, name: str) -> Any:
        if name in ("lr", "slots", "step", "update", "numbers"):
            raise AttributeError(
                f"LBFGS has no {name!r}: it works with fit only, model.fit(X, y, optimizer=nn.LBFGS(), "
                f"batch_size=None). For a training loop of your own, use another optimizer, such as nn.Adam()."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
