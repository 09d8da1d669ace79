"""Optimizers: one update of the one vector of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any

from nnarray import kernels
from nnarray.backends import as_data, copy, dtype_name, namespace, same_place
from nnarray.checks import integer
from nnarray.kernels.engines import computing
from nnarray.kernels.standard.numerics import scale_of, wide
from nnarray.kernels.standard.updates import Rule
from nnarray.names import also, named, shown
from nnarray.schedules import Schedule, schedule
from nnarray.typing import Array

Slots = dict[str, Array]


@dataclass(frozen=True)
class Optimizer:
    """Settings of a rule theta <- theta - rate d(g); what it remembers (its slots) goes in and comes out.

    One of your own defines `apply`, and `slot_names` if it remembers vectors.

    Parameters
    ----------
    lr : float or Schedule
        The learning rate.
    weight_decay : float
        Adds `weight_decay * w` to the gradient of weights, not of biases: the gradient of an L2 penalty
        `weight_decay / 2 * sum of w^2`.
    clip_norm : float, optional
        A longer gradient is shortened to this Euclidean norm.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    lr: float | Schedule
    weight_decay: float = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)

    slot_names = ()

    def __post_init__(self) -> None:
        _as_python(self)
        schedule(self.lr)
        _in_range(self.weight_decay, "weight_decay", low=0.0)
        if self.clip_norm is not None:
            _above_zero(self.clip_norm, "clip_norm")

    def slots(self, theta: Array) -> Slots:
        """What the rule remembers, at its start."""
        return {name: namespace(theta).zeros_like(wide(theta)) for name in self.slot_names}

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        """The numbers that change from step to step (counted from 1), computed on the host."""
        return {"rate": rate}

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        """The rule itself. May consume its array arguments."""
        raise NotImplementedError

    def elementwise(self) -> Rule | None:
        """The rule in numbers, if it is one that engines prepare; None, and they leave its steps to `update`."""
        return None

    def update(
        self,
        theta: Array,
        gradient: Array,
        slots: Slots,
        numbers: dict[str, Any],
        *,
        decays: Array | None = None,
        frozen: Array | None = None,
    ) -> tuple[Array, Slots]:
        """One step: freeze, clip, decay, apply. Consumes its array arguments.

        Parameters
        ----------
        theta, gradient : array, shape (size,)
        slots : dict of arrays, from `slots` or the step before
        numbers : dict, from `numbers`
        decays : array of 0 and 1, dtype of theta, shape (size,), optional
            Which entries weight decay shrinks; all if None.
        frozen : array of bool, shape (size,), optional
            Which entries stay as they are, to the last bit.
        """
        xp, before = namespace(theta), theta
        theta, gradient = wide(theta), wide(gradient)  # half precision has no room for squares of gradients
        if frozen is not None:
            gradient = xp.where(frozen, 0.0, gradient)
            theta = xp.where(frozen, 0.0, theta)  # a copy: the rule may write into its argument
        if self.clip_norm is not None and gradient.shape[0]:
            gradient = _clipped(gradient, self.clip_norm)
        if self.weight_decay:
            theta, gradient = self.decayed(theta, gradient, numbers["rate"], decays)
        after, slots = self.apply(theta, gradient, slots, numbers)
        after = xp.astype(after, before.dtype, copy=False)
        return after if frozen is None else xp.where(frozen, before, after), slots

    def step(self, model: Any, gradient: Array, slots: Slots, step: Any, *, rate: Any = None) -> tuple[Array, Slots]:
        """One step of a loop of your own: the new theta and the new slots, as in `Model.fit`; changes nothing.

        Parameters
        ----------
        model : Model
            Whose theta it starts from; what is frozen stays, and biases do not decay.
        gradient : array, shape (size,)
        slots : dict of arrays
            From `slots(model.theta)`, then from the step before.
        step : int or array of an integer, shape ()
            The number of the step, counted from 0.
        rate : float, optional
            The learning rate; `lr` if None.

        Raises
        ------
        TypeError, ValueError
            If `lr` is a schedule and no rate is given, or the gradient is none of this model.
        """
        if not hasattr(model, "wiring"):
            raise TypeError(
                f"a step starts from a model; got {type(model).__name__}. Pass the model itself: "
                f"optimizer.step(model, gradient, slots, step)."
            )
        if rate is None:
            if isinstance(self.lr, Schedule):
                raise ValueError(f"lr is the schedule {self.lr!r}: pass rate=optimizer.lr(epoch).")
            rate = self.lr
        if not isinstance(slots, Mapping) or set(slots) != set(self.slot_names):
            needed = ", ".join(self.slot_names) or "no entries"
            raise (ValueError if isinstance(slots, Mapping) else TypeError)(
                f"slots must be a dict with {needed}; got {shown(slots)}. Begin with slots = "
                f"optimizer.slots(model.theta), and pass on those that each step returns."
            )
        theta, layout = model.theta, model.wiring.params
        xp = same_place(model=theta, gradient=as_data(gradient, "gradient"))
        if gradient.shape != theta.shape or not xp.isdtype(gradient.dtype, "real floating"):
            raise ValueError(
                f"gradient must be real floating of shape {tuple(theta.shape)}, one entry a parameter; got dtype "
                f"{dtype_name(gradient.dtype)} and shape {tuple(gradient.shape)}. Take it from nn.training_step."
            )
        with computing(model.engine):
            return self.update(
                copy(theta),
                copy(gradient),
                {name: copy(slot) for name, slot in slots.items()},
                self.numbers(rate, step + 1),
                decays=layout.decays(theta) if self.weight_decay else None,
                frozen=layout.frozen(model.frozen, theta),
            )

    def decayed(self, theta: Array, gradient: Array, rate: Any, decays: Array | None) -> tuple[Array, Array]:
        """Parameters and gradient after weight decay; coupled: it goes through the gradient."""
        shrunk = theta if decays is None else theta * decays
        return theta, gradient + self.weight_decay * shrunk


def _clipped(gradient: Array, norm: float) -> Array:
    """The gradient, shortened to this Euclidean norm if it is longer; infinity and nan stay, so that they are seen."""
    xp, size = namespace(gradient), scale_of(gradient)
    scaled = gradient / size
    limit = norm / xp.maximum(xp.sqrt(xp.sum(scaled * scaled)), 1.0)  # at least 4, but for a gradient of 0
    return xp.where(size > limit, scaled * limit, gradient)


def _as_python(settings: Any) -> None:
    """NumPy's numbers as Python's: those of another dtype would lend it to the arrays that they meet."""
    for each in fields(settings):
        value = getattr(settings, each.name)
        if isinstance(value, Real) and not isinstance(value, int):
            object.__setattr__(settings, each.name, float(value))


def _in_range(value: object, what: str, *, low: float, high: float = math.inf) -> None:
    if not isinstance(value, Real) or not low <= float(value) < high:
        raise ValueError(f"{what} must satisfy {low:g} <= {what} < {high:g}; got {shown(value)}.")


def _above_zero(value: object, what: str) -> None:
    if not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise ValueError(f"{what} must be a finite number above 0; got {shown(value)}.")


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent: v <- mu v + g;  theta <- theta - lr v, or - lr (g + mu v) with Nesterov's look ahead.

    Parameters
    ----------
    lr : float or Schedule
    momentum : float
        mu, in [0, 1).
    nesterov : bool

    References
    ----------
    .. [1] Robbins & Monro (1951), A stochastic approximation method. Ann. Math. Statist. 22(3), 400-407.
    .. [2] Sutskever, Martens, Dahl & Hinton (2013), ICML.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.SGD(0.1, momentum=0.9).momentum
    0.9
    """

    lr: float | Schedule = 1e-2
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _in_range(self.momentum, "momentum", low=0.0, high=1.0)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True needs momentum above 0.")

    @property
    def slot_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("velocity",) if self.momentum else ()

    def elementwise(self) -> Rule:
        if self.momentum:
            return Rule(momentum=self.momentum, nesterov=self.nesterov, coupled=self.weight_decay)
        return Rule(decoupled=self.weight_decay)  # the same without momentum

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        if not self.momentum:
            return kernels.sgd_update(theta, gradient, **numbers), {}
        theta, velocity = kernels.momentum_update(
            theta, gradient, slots["velocity"], momentum=self.momentum, nesterov=self.nesterov, **numbers
        )
        return theta, {"velocity": velocity}


@dataclass(frozen=True)
class Adam(Optimizer):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  theta <- theta - lr m' / (sqrt(v') + epsilon).

    m' = m / (1 - b1^t), v' = v / (1 - b2^t) in step t, counted from 1.

    Parameters
    ----------
    lr : float or Schedule
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
        Above 0.

    References
    ----------
    .. [1] Kingma & Ba (2015), Adam: a method for stochastic optimization. ICLR.
    """

    lr: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    slot_names = ("mean", "square")

    def __post_init__(self) -> None:
        super().__post_init__()
        _in_range(self.beta1, "beta1", low=0.0, high=1.0)
        _in_range(self.beta2, "beta2", low=0.0, high=1.0)
        _above_zero(self.epsilon, "epsilon")

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        return {
            "rate": rate,
            "correction1": 1.0 - self.beta1**step,
            "correction2": 1.0 - self.beta2**step,
        }

    def elementwise(self) -> Rule:
        return Rule(beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon, coupled=self.weight_decay)

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        theta, mean, square = kernels.adam_update(
            theta,
            gradient,
            slots["mean"],
            slots["square"],
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            **numbers,
        )
        return theta, {"mean": mean, "square": square}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: theta <- (1 - lr weight_decay) theta before the step, weights only.

    References
    ----------
    .. [1] Loshchilov & Hutter (2019), Decoupled weight decay regularization. ICLR.
    """

    weight_decay: float = field(default=0.01, kw_only=True)

    def elementwise(self) -> Rule:
        return super().elementwise()._replace(coupled=0.0, decoupled=self.weight_decay)

    def decayed(self, theta: Array, gradient: Array, rate: Any, decays: Array | None) -> tuple[Array, Array]:
        factor = rate * self.weight_decay
        return (theta - factor * theta if decays is None else theta - theta * (factor * decays)), gradient


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """v <- a v + (1 - a) g^2;  theta <- theta - lr g / (sqrt(v) + epsilon).

    References
    ----------
    .. [1] Tieleman & Hinton (2012), Lecture 6.5, Neural Networks for Machine Learning.
    """

    lr: float | Schedule = 1e-2
    decay: float = 0.99
    epsilon: float = 1e-8

    slot_names = ("square",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _in_range(self.decay, "decay", low=0.0, high=1.0)
        _above_zero(self.epsilon, "epsilon")

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        theta, square = kernels.rmsprop_update(
            theta, gradient, slots["square"], decay=self.decay, epsilon=self.epsilon, **numbers
        )
        return theta, {"square": square}


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """s <- s + g^2;  theta <- theta - lr g / (sqrt(s) + epsilon).

    References
    ----------
    .. [1] Duchi, Hazan & Singer (2011), Adaptive subgradient methods. JMLR 12, 2121-2159.
    """

    lr: float | Schedule = 1e-2
    epsilon: float = 1e-10

    slot_names = ("square",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _above_zero(self.epsilon, "epsilon")

    def apply(self, theta: Array, gradient: Array, slots: Slots, numbers: dict[str, Any]) -> tuple[Array, Slots]:
        theta, square = kernels.adagrad_update(theta, gradient, slots["square"], epsilon=self.epsilon, **numbers)
        return theta, {"square": square}


@dataclass(frozen=True)
class LBFGS:
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "memory", integer(self.memory, "memory", 1, usual=10))
        object.__setattr__(self, "evaluations", integer(self.evaluations, "evaluations", 1, usual=15_000))
        _as_python(self)
        _in_range(self.tolerance, "tolerance", low=0.0)
        _in_range(self.weight_decay, "weight_decay", low=0.0)

    def __getattr__(self, name: str) -> Any:
        if name in ("lr", "slots", "step", "update", "numbers"):
            raise AttributeError(
                f"LBFGS has no {name!r}: it trains by fit only, model.fit(X, y, optimizer=nn.LBFGS(), "
                f"batch_size=None). For a loop of your own, take another optimizer, such as nn.Adam()."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


OPTIMIZERS: dict[str, Any] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "lbfgs": LBFGS,
}


ALSO = also(
    sgd="gd gradient_descent stochastic_gradient_descent",
    lbfgs="l_bfgs_b",
    absent="momentum sgdm nesterov nag asgd adan adadelta adamax nadam nadamw radam amsgrad adafactor adabelief rprop "
    "ftrl lamb lars lion muon shampoo bfgs cg newton newton_cg levenberg_marquardt",
)


def optimizer_named(optimizer: Any) -> Optimizer | LBFGS:
    """The optimizer of that name with its usual settings, or the one given."""
    if isinstance(optimizer, Optimizer | LBFGS):
        return optimizer
    if optimizer in OPTIMIZERS.values():
        return optimizer()
    return named(optimizer, OPTIMIZERS, "optimizer", ALSO)()
