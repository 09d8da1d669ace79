"""One step of each optimizer over the one vector of parameters.

All of them consume their array arguments: a fast version may write the results into them. The numbers that change
from step to step (`rate`, the corrections) come as Python floats or arrays of shape (), computed by the caller.

Where squares are remembered, a finite gradient leaves them finite: it counts as the largest one that does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nnarray.backends import device_of, namespace
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


def _squared(gradient: Array, square: Array, decay: float) -> tuple[Array, Array]:
    """g drawn in, and v <- a v + (1 - a) g^2, of a gradient whose square alone may be too large."""
    gradient = drawn_in(gradient, square, decay=decay)
    share = (1.0 - decay) ** 0.5 * gradient
    return gradient, decay * square + share * share


def _moments(gradient: Array, mean: Array, square: Array, beta1: float, beta2: float) -> tuple[Array, Array, Array]:
    """As `_squared`, and m <- b1 m + (1 - b1) g: g, m and v of Adam and its relatives."""
    gradient, square = _squared(gradient, square, beta2)
    return gradient, beta1 * mean + (1.0 - beta1) * gradient, square


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
    gradient, mean, square = _moments(gradient, mean, square, beta1, beta2)
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
    gradient, square = _squared(gradient, square, decay)
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


@kernel
def amsgrad_update(
    theta: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    largest: Array,
    *,
    rate: Any,
    beta1: float,
    beta2: float,
    epsilon: float,
    correction1: Any,
    correction2: Any,
) -> tuple[Array, Array, Array, Array]:
    """As `adam_update`, with the largest v so far: s <- max(s, v);  theta <- theta - rate m' / (sqrt(s') + epsilon).

    References
    ----------
    .. [1] Reddi, Kale & Kumar (2018), On the convergence of Adam and beyond. ICLR.
    """
    xp = namespace(theta)
    gradient, mean, square = _moments(gradient, mean, square, beta1, beta2)
    largest = xp.maximum(largest, square)
    root = xp.sqrt(largest) / correction2**0.5 + epsilon
    return theta - (rate / correction1) * (mean / root), mean, square, largest


@kernel
def nadam_update(
    theta: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    *,
    rate: Any,
    mean_rate: Any,
    beta1: float,
    beta2: float,
    epsilon: float,
    correction2: Any,
) -> tuple[Array, Array, Array]:
    """m, v as `adam_update`;  theta <- theta - (rate g + mean_rate m) / (sqrt(v') + epsilon).

    References
    ----------
    .. [1] Dozat (2016), Incorporating Nesterov momentum into Adam. ICLR workshop.
    """
    gradient, mean, square = _moments(gradient, mean, square, beta1, beta2)
    root = namespace(theta).sqrt(square) / correction2**0.5 + epsilon
    return theta - (rate * (gradient / root) + mean_rate * (mean / root)), mean, square


@kernel
def radam_update(
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
    length: Any,
) -> tuple[Array, Array, Array]:
    """m, v as `adam_update`;  theta <- theta - rate m' r / (sqrt(v) + epsilon), or - rate m' while length <= 5.

    r = sqrt((length - 4) (length - 2) most correction2 / ((most - 4) (most - 2) length)), most = 2 / (1 - b2) - 1: how
    far the few squares so far can be trusted.

    References
    ----------
    .. [1] Liu et al. (2020), On the variance of the adaptive learning rate and beyond. ICLR.
    """
    xp, limit = namespace(theta), max(2.0 / (1.0 - beta2) - 1.0, 5.0)
    gradient, mean, square = _moments(gradient, mean, square, beta1, beta2)
    length = xp.asarray(length, dtype=theta.dtype, device=device_of(theta))
    trusted = xp.maximum(length, 5.0)
    trust = (trusted - 4.0) * (trusted - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * trusted)
    factor = xp.where(length > 5.0, xp.sqrt(trust) * correction2**0.5 / (xp.sqrt(square) + epsilon), 1.0)
    return theta - (rate / correction1) * (mean * factor), mean, square


@kernel
def adamax_update(
    theta: Array,
    gradient: Array,
    mean: Array,
    largest: Array,
    *,
    rate: Any,
    beta1: float,
    beta2: float,
    epsilon: float,
    correction1: Any,
) -> tuple[Array, Array, Array]:
    """m <- b1 m + (1 - b1) g;  u <- max(b2 u, abs(g) + epsilon);  theta <- theta - rate m' / u.

    References
    ----------
    .. [1] Kingma & Ba (2015), Adam: a method for stochastic optimization, section 7.1. ICLR.
    """
    xp = namespace(theta)
    mean = beta1 * mean + (1.0 - beta1) * gradient
    largest = xp.maximum(beta2 * largest, xp.abs(gradient) + epsilon)
    return theta - (rate / correction1) * (mean / largest), mean, largest


@kernel
def adadelta_update(
    theta: Array, gradient: Array, square: Array, change: Array, *, rate: Any, decay: float, epsilon: float
) -> tuple[Array, Array, Array]:
    """v <- a v + (1 - a) g^2;  d = sqrt(c + epsilon) / sqrt(v + epsilon) g;  c <- a c + (1 - a) d^2.

    theta <- theta - rate d.

    References
    ----------
    .. [1] Zeiler (2012), ADADELTA: an adaptive learning rate method. arXiv:1212.5701.
    """
    xp = namespace(theta)
    gradient, square = _squared(gradient, square, decay)
    step = xp.sqrt(change + epsilon) / xp.sqrt(square + epsilon) * gradient
    return theta - rate * step, square, decay * change + (1.0 - decay) * (step * step)


@kernel
def lion_update(
    theta: Array, gradient: Array, mean: Array, *, rate: Any, beta1: float, beta2: float
) -> tuple[Array, Array]:
    """c = b1 m + (1 - b1) g;  m <- b2 m + (1 - b2) g;  theta <- theta - rate sign(c), NaN where c is not finite.

    References
    ----------
    .. [1] Chen et al. (2023), Symbolic discovery of optimization algorithms. NeurIPS.
    """
    xp = namespace(theta)
    look = beta1 * mean + (1.0 - beta1) * gradient
    sign = xp.where(xp.isfinite(look), xp.sign(look), xp.nan)
    return theta - rate * sign, beta2 * mean + (1.0 - beta2) * gradient
