"""Activation functions, by the kernels that layers use."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from nnarray import kernels
from nnarray.backends import device_of, library_of
from nnarray.kernels.functions import FUNCTIONS
from nnarray.onnx.operators.common import axis_of, is_float, room, scalar, space
from nnarray.onnx.operators.table import operator
from nnarray.recording import custom_gradient, is_noted

KERNELS = {
    "Mish": "mish",
    "Relu": "relu",
    "Selu": "selu",
    "Sigmoid": "logistic",
    "Softplus": "softplus",
    "Softsign": "softsign",
}
"""Operators that are activations of layers, with their usual settings."""


@cache
def activated(name: str, **options: float) -> Callable[[Any], Any]:
    """An activation of layers as a function whose pullback is that of the layer."""
    row = FUNCTIONS[name]
    value, back = partial(row.value, **options), partial(row.pullback, **options)

    @custom_gradient
    def function(x: Any) -> Any:
        y = value(x)
        return y, lambda dy: back(dy, x, y)

    return function


def _of_real(name: str) -> Callable[..., Any]:
    function = activated(name)
    return lambda x: function(x) if is_float(x) else space(x).maximum(x, space(x).zeros_like(x))


for _name, _row in KERNELS.items():
    if _name not in ("Selu",):
        operator(_name)(_of_real(_row) if _name == "Relu" else activated(_row))


@operator("LeakyRelu", 6)
def leaky_relu(x: Any, *, alpha: float = 0.01) -> Any:
    """`x`, and alpha x below 0."""
    return activated("leaky_relu", slope=alpha)(x)


@operator("Elu", 6)
def elu(x: Any, *, alpha: float = 1.0) -> Any:
    """`x`, and alpha (exp x - 1) below 0."""
    return activated("elu", alpha=alpha)(x)


@operator("Selu", 6)
def selu(x: Any, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Any:
    """Gamma x, and gamma alpha (exp x - 1) below 0."""
    return gamma * activated("elu", alpha=alpha)(x)


@operator("Celu", 12)
def celu(x: Any, *, alpha: float = 1.0) -> Any:
    """`x`, and alpha (exp(x / alpha) - 1) below 0."""
    xp = space(x)
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, xp.zeros_like(x)) / alpha))


@operator("Gelu", 20)
def gelu(x: Any, *, approximate: str = "none") -> Any:
    """`x` times the probability that a normal number is below x."""
    return activated("gelu_tanh" if approximate == "tanh" else "gelu")(x)


@operator("Erf", 9)
def erf(x: Any) -> Any:
    """The error function, 1 - erfc(x)."""
    return error_function(x)


@custom_gradient
def error_function(x: Any) -> Any:
    """The error function and its pullback, 2 / sqrt(pi) exp(-x^2)."""
    xp = space(x)
    return 1.0 - kernels.erfc(x), lambda dy: dy * (2.0 / math.sqrt(math.pi)) * xp.exp(-x * x)


@operator("HardSigmoid", 6)
def hard_sigmoid(x: Any, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    """alpha x + beta, between 0 and 1."""
    xp = space(x)
    return xp.clip(alpha * x + beta, 0.0, 1.0)


@operator("HardSwish", 14)
def hard_swish(x: Any) -> Any:
    """`x` times its hard sigmoid."""
    return x * hard_sigmoid(x, alpha=1.0 / 6.0, beta=0.5)


@operator("Swish", 24)
def swish(x: Any, *, alpha: float = 1.0) -> Any:
    """`x` times the logistic function of alpha x."""
    return x * activated("logistic")(alpha * x)


@operator("SwiGLU", 27)
def swiglu(x: Any, gate: Any = None, *, alpha: float = 1.0) -> Any:
    """The swish of one half times the other."""
    if gate is None:
        half = x.shape[-1] // 2
        x, gate = x[..., :half], x[..., half:]
    return swish(x, alpha=alpha) * gate


@operator("PRelu", 7, weights={1: "zeros"})
def prelu(x: Any, slope: Any) -> Any:
    """`x`, and slope x below 0."""
    xp = space(x, slope)
    return xp.where(x < 0, slope * x, x)


@operator("ThresholdedRelu", 10)
def thresholded_relu(x: Any, *, alpha: float = 1.0) -> Any:
    """`x` above alpha, else 0."""
    xp = space(x)
    return xp.where(x > alpha, x, xp.zeros_like(x))


@cache
def _of_scores(name: str) -> Callable[[Any], Any]:
    """Softmax or its logarithm as files mean it: nan in a row whose largest entry is infinite, as -inf everywhere.

    Layers share there instead. Their pullback is finite, so that a graph that replaces nan by another number, as those
    of masked texts do, has a gradient of 0 there.
    """
    row = FUNCTIONS[name]

    @custom_gradient
    def function(x: Any) -> Any:
        y = row.value(x)
        return y if is_noted(x) else _exact(x, y, is_log=name == "log_softmax"), lambda dy: row.pullback(dy, x, y)

    return function


def _exact(x: Any, y: Any, *, is_log: bool) -> Any:
    """The values with nan, and with logarithms of 0, for scores that are infinite."""
    owner, xp = library_of(x), space(x)
    if owner is not None and owner.is_host and _is_usual(x, is_log=is_log):
        return y
    if is_log:
        y = xp.where(x == -math.inf, scalar(-math.inf, y), y)
    return xp.where(xp.isfinite(xp.max(x, axis=-1, keepdims=True)), y, scalar(math.nan, y))


def _is_usual(x: Any, *, is_log: bool) -> bool:
    """Whether no score is infinite, but for some in rows whose first score is not; in one pass."""
    xp = space(x)
    if not math.prod(x.shape):
        return True
    return float(xp.max(x)) < math.inf and float(xp.min(x if is_log else x[..., 0])) > -math.inf


def _along(function: str, x: Any, axis: int) -> Any:
    """A function along the last axis, along another one."""
    xp, axis = space(x), axis_of(axis, x.ndim)
    if axis == x.ndim - 1:
        return _of_scores(function)(x)
    return xp.moveaxis(_of_scores(function)(xp.moveaxis(x, axis, -1)), -1, axis)


def _of_rows(function: str, x: Any, axis: int) -> Any:
    """A function of all entries from an axis on, as the first versions define it."""
    axis = axis + x.ndim if axis < 0 else axis
    rows = room((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
    return space(x).reshape(_of_scores(function)(space(x).reshape(x, rows)), x.shape)


@operator("Softmax", 1)
def softmax_of_rows(x: Any, *, axis: int = 1) -> Any:
    """exp x, divided by its sum over all axes from this one on."""
    return _of_rows("softmax", x, axis)


@operator("Softmax", 13)
def softmax(x: Any, *, axis: int = -1) -> Any:
    """exp x, divided by its sum along an axis."""
    return _along("softmax", x, axis)


@operator("LogSoftmax", 1)
def log_softmax_of_rows(x: Any, *, axis: int = 1) -> Any:
    """The logarithm of the first version of Softmax."""
    return _of_rows("log_softmax", x, axis)


@operator("LogSoftmax", 13)
def log_softmax(x: Any, *, axis: int = -1) -> Any:
    """The logarithm of Softmax."""
    return _along("log_softmax", x, axis)


@operator("Hardmax", 13)
def hardmax(x: Any, *, axis: int = -1) -> Any:
    """1 at the first largest entry along an axis, else 0."""
    xp, axis = space(x), axis_of(axis, x.ndim)
    rows = xp.moveaxis(x, axis, -1)
    largest = xp.argmax(rows, axis=-1, keepdims=True)
    numbers = xp.arange(rows.shape[-1], dtype=largest.dtype, device=device_of(x))
    return xp.moveaxis(xp.astype(numbers == largest, x.dtype), -1, axis)
