"""One step of each optimizer over the one vector of parameters.

All of them consume their array arguments: a fast version may write the results into them. The numbers that change
from step to step (`rate`, the corrections) come as Python floats or arrays of shape (), computed by the caller.

Where squares are remembered, a finite gradient leaves them finite: it counts as the largest one that does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nnarray.backends import namespace
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.numerics import clamp, most
from nnarray.typing import Array


class Rule(NamedTuple):
    """Gradient descent, with momentum or without, or Adam (`epsilon` above 0), and both kinds of weight decay."""

    momentum: float = 0.0
    nesterov: bool = False
    beta1: float = 0.0
    beta2: float = 0.0
    epsilon: float = 0.0
    coupled: float = 0.0
    decoupled: float = 0.0


@kernel
def drawn_in(gradient: Array, square: Array, *, decay: float) -> Array:
    """The gradient, no larger than leaves a v + (1 - a) g^2 finite; infinity and nan stay, so that they are seen."""
    xp = namespace(gradient)
    room = xp.sqrt(most(gradient) - decay * square) / (1.0 - decay) ** 0.5
    return xp.where(xp.isfinite(gradient), clamp(gradient, -room, room), gradient)


def _mean_square(gradient: Array, square: Array, decay: float) -> Array:
    """a v + (1 - a) g^2, of a gradient whose square alone may be too large."""
    share = (1.0 - decay) ** 0.5 * gradient
    return decay * square + share * share


@kernel
def sgd_update(theta: Array, gradient: Array, *, rate: Any) -> Array:
    """theta <- theta - rate g."""
    return theta - rate * gradient


@kernel
def momentum_update(
    theta: Array, gradient: Array, velocity: Array, *, rate: Any, momentum: float, nesterov: bool
) -> tuple[Array, Array]:
    """v <- mu v + g;  theta <- theta - rate v, or - rate (g + mu v) with Nesterov's look ahead.

    References
    ----------
    .. [1] Sutskever, Martens, Dahl & Hinton (2013), On the importance of initialization and momentum. ICML.
    """
    velocity = momentum * velocity + gradient
    return theta - rate * (gradient + momentum * velocity if nesterov else velocity), velocity


@kernel
def adam_update(
    theta: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    *,
    rate: Any,
    beta1: float,
    beta2: float,
    epsilon: float,
    correction1: Any,
    correction2: Any,
) -> tuple[Array, Array, Array]:
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  theta <- theta - rate m' / (sqrt(v') + epsilon).

    m' = m / correction1 and v' = v / correction2 with correction_i = 1 - b_i^t undo the start from zero.

    References
    ----------
    .. [1] Kingma & Ba (2015), Adam: a method for stochastic optimization. ICLR.
    """
    gradient = drawn_in(gradient, square, decay=beta2)
    mean = beta1 * mean + (1.0 - beta1) * gradient
    square = _mean_square(gradient, square, beta2)
    root = namespace(theta).sqrt(square) / correction2**0.5 + epsilon
    return theta - (rate / correction1) * (mean / root), mean, square


@kernel
def rmsprop_update(
    theta: Array, gradient: Array, square: Array, *, rate: Any, decay: float, epsilon: float
) -> tuple[Array, Array]:
    """v <- a v + (1 - a) g^2;  theta <- theta - rate g / (sqrt(v) + epsilon).

    References
    ----------
    .. [1] Tieleman & Hinton (2012), Lecture 6.5, Neural Networks for Machine Learning.
    """
    gradient = drawn_in(gradient, square, decay=decay)
    square = _mean_square(gradient, square, decay)
    return theta - rate * (gradient / (namespace(theta).sqrt(square) + epsilon)), square


@kernel
def adagrad_update(theta: Array, gradient: Array, square: Array, *, rate: Any, epsilon: float) -> tuple[Array, Array]:
    """s <- s + g^2;  theta <- theta - rate g / (sqrt(s) + epsilon).

    References
    ----------
    .. [1] Duchi, Hazan & Singer (2011), JMLR 12, 2121-2159.
    """
    xp = namespace(theta)
    gradient = drawn_in(gradient, square, decay=0.0)
    square = xp.minimum(square + gradient * gradient, most(gradient))
    return theta - rate * (gradient / (xp.sqrt(square) + epsilon)), square
