"""One step of each optimizer on the parameter vector.

All of them consume their array arguments: a fast version may write the results into them. The numbers that change
from step to step (`rate`, the corrections) come as Python floats or arrays of shape (), computed by the caller.
Definitions are elementwise: engines record them, and compute them in place and in one pass.

If a rule keeps squares, a finite gradient must not make them infinite: too large entries are limited.
"""

from __future__ import annotations

from typing import Any

from nnarray.backends import namespace
from nnarray.kernels.registry import kernel
from nnarray.kernels.rules import update
from nnarray.kernels.standard.numerics import clamp, most
from nnarray.typing import Array


@kernel
def limited_gradient(gradient: Array) -> Array:
    """The gradient, limited so that means of its square are finite; infinity and nan are kept, to be detected."""
    if getattr(gradient, "usual", False):  # checked by an engine
        return gradient
    xp, limit = namespace(gradient), 0.5 * most(gradient) ** 0.5
    return xp.where(xp.isfinite(gradient), clamp(gradient, -limit, limit), gradient)


@kernel
def decayed(gradient: Array, theta: Array, decays: Array | None, *, decay: float) -> Array:
    """g + decay w, where `decays` is 1; g where it is 0. None is 1 everywhere."""
    shrunk = theta if decays is None else theta * decays
    return gradient + decay * shrunk


@kernel
def shrunk(theta: Array, decays: Array, *, factor: Any) -> Array:
    """theta - factor decays theta: decoupled weight decay, where `decays` is 1."""
    return theta - theta * (factor * decays)


def _squared(gradient: Array, square: Array, decay: float) -> tuple[Array, Array]:
    """g limited, and v <- a v + (1 - a) g^2, of a gradient whose square alone may be too large."""
    gradient = limited_gradient(gradient)
    scaled = (1.0 - decay) ** 0.5 * gradient
    return gradient, decay * square + scaled * scaled


def _moments(gradient: Array, mean: Array, square: Array, beta1: float, beta2: float) -> tuple[Array, Array, Array]:
    """As `_squared`, and m <- b1 m + (1 - b1) g: g, m and v of Adam and its relatives."""
    gradient, square = _squared(gradient, square, beta2)
    return gradient, beta1 * mean + (1.0 - beta1) * gradient, square


@update("rate")
def sgd_update(theta: Array, gradient: Array, *, rate: Any) -> Array:
    """theta <- theta - rate g."""
    return theta - rate * gradient


@update("rate")
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


@update("rate", "correction1", "correction2")
def adam_update(
    theta: Array, gradient: Array, mean: Array, square: Array, *,
    rate: Any, beta1: float, beta2: float, epsilon: float, correction1: Any, correction2: Any,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  theta <- theta - rate m' / (sqrt(v') + epsilon).

    m' = m / correction1 and v' = v / correction2 with correction_i = 1 - b_i^t undo the start from zero.

    References
    ----------
    .. [1] Kingma & Ba (2015), Adam: a method for stochastic optimization. ICLR.
    """
    gradient, mean, square = _moments(gradient, mean, square, beta1, beta2)
    start = correction2**0.5
    root = namespace(theta).sqrt(square) + epsilon * start
    return theta - (rate / correction1 * start) * (mean / root), mean, square


@update("rate")
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


@update("rate")
def adagrad_update(theta: Array, gradient: Array, square: Array, *, rate: Any, epsilon: float) -> tuple[Array, Array]:
    """s <- s + g^2;  theta <- theta - rate g / (sqrt(s) + epsilon).

    References
    ----------
    .. [1] Duchi, Hazan & Singer (2011), JMLR 12, 2121-2159.
    """
    xp = namespace(theta)
    gradient = limited_gradient(gradient)
    square = xp.minimum(square + gradient * gradient, most(gradient))
    return theta - rate * (gradient / (xp.sqrt(square) + epsilon)), square


@update("rate", "correction1", "correction2")
def amsgrad_update(
    theta: Array, gradient: Array, mean: Array, square: Array, largest: Array, *,
    rate: Any, beta1: float, beta2: float, epsilon: float, correction1: Any, correction2: Any,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """As `adam_update`, with the largest v so far: s <- max(s, v);  theta <- theta - rate m' / (sqrt(s') + epsilon).

    References
    ----------
    .. [1] Reddi, Kale & Kumar (2018), On the convergence of Adam and beyond. ICLR.
    """
    xp = namespace(theta)
    gradient, mean, square = _moments(gradient, mean, square, beta1, beta2)
    largest = xp.maximum(largest, square)
    start = correction2**0.5
    root = xp.sqrt(largest) + epsilon * start
    return theta - (rate / correction1 * start) * (mean / root), mean, square, largest


@update("rate", "mean_rate", "correction2")
def nadam_update(
    theta: Array, gradient: Array, mean: Array, square: Array, *,
    rate: Any, mean_rate: Any, beta1: float, beta2: float, epsilon: float, correction2: Any,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """m, v as `adam_update`;  theta <- theta - (rate g + mean_rate m) / (sqrt(v') + epsilon).

    References
    ----------
    .. [1] Dozat (2016), Incorporating Nesterov momentum into Adam. ICLR workshop.
    """
    gradient, mean, square = _moments(gradient, mean, square, beta1, beta2)
    root = namespace(theta).sqrt(square) / correction2**0.5 + epsilon
    return theta - (rate * (gradient / root) + mean_rate * (mean / root)), mean, square


@update("rate", "correction1", "trust", "plain")
def radam_update(
    theta: Array, gradient: Array, mean: Array, square: Array, *,
    rate: Any, beta1: float, beta2: float, epsilon: float, correction1: Any, trust: Any, plain: Any,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """m, v as `adam_update`;  theta <- theta - rate m' (trust / (sqrt(v) + epsilon) + plain); one of the two is 0.

    References
    ----------
    .. [1] Liu et al. (2020), On the variance of the adaptive learning rate and beyond. ICLR.
    """
    gradient, mean, square = _moments(gradient, mean, square, beta1, beta2)
    factor = trust / (namespace(theta).sqrt(square) + epsilon) + plain
    return theta - (rate / correction1) * (mean * factor), mean, square


@update("rate", "correction1")
def adamax_update(
    theta: Array, gradient: Array, mean: Array, largest: Array, *,
    rate: Any, beta1: float, beta2: float, epsilon: float, correction1: Any,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """m <- b1 m + (1 - b1) g;  u <- max(b2 u, abs(g) + epsilon);  theta <- theta - rate m' / u.

    References
    ----------
    .. [1] Kingma & Ba (2015), Adam: a method for stochastic optimization, section 7.1. ICLR.
    """
    xp = namespace(theta)
    mean = beta1 * mean + (1.0 - beta1) * gradient
    largest = xp.maximum(beta2 * largest, xp.abs(gradient) + epsilon)
    return theta - (rate / correction1) * (mean / largest), mean, largest


@update("rate")
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


@update("rate")
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
