"""Metrics of real values: errors, and the part of the variance that is explained."""

from __future__ import annotations

from collections.abc import Callable

from nnarray.arguments import explained
from nnarray.backends import device_of, namespace, same_place
from nnarray.kernels.standard.numerics import at_least_float32, scale_of
from nnarray.typing import Array


def _squares(x: Array, weighting: Array) -> tuple[Array, Array]:
    """(scale, sum of weighting (x / scale)^2) over the examples: squares that neither overflow nor vanish."""
    scale = scale_of(x, 0)
    return scale, namespace(x).sum(weighting * (x / scale) ** 2, axis=0, keepdims=True)


@explained
def r2(outputs: Array, target: Array, weights: Array | None = None) -> Array:
    """1 - sum of w (t - o)^2 / sum of w (t - mean t)^2, mean over the outputs: 1 is perfect, 0 is the mean's.

    For a constant target it is 1 if all predictions are exact, else 0. The weights w have shape (N,); all are 1 if
    None. Differences are scaled before they are squared, so that numbers of any size in the dtype are safe.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    xp = same_place(outputs=outputs, target=target)
    _refuse_other_shape("r2", outputs, target)
    outputs = 0.5 * at_least_float32(outputs)  # no difference of halves overflows
    target = 0.5 * xp.astype(target, outputs.dtype, copy=False)
    ones = xp.ones(target.shape[:1], dtype=target.dtype, device=device_of(target))
    weighting = _shares(ones if weights is None else weights, target)
    away = target - target[:1, ...]
    (a, residual), (b, spread) = (
        _squares(target - outputs, weighting),
        _squares(away - xp.sum(weighting * away, axis=0), weighting),
    )
    ratio = a / b * (residual / xp.where(spread > 0, spread, 1.0)) * (a / b)
    met = xp.where(residual == 0, 1.0, xp.zeros_like(residual))
    return xp.mean(xp.where(spread > 0, 1.0 - ratio, met))


@explained
def mse(outputs: Array, target: Array, weights: Array | None = None) -> Array:
    """sum of w (t - o)^2 / sum of w, mean over the outputs. The weights w have shape (N,); all are 1 if None.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    return _mean_error("mse", lambda d: d**2, outputs, target, weights)


@explained
def rmse(outputs: Array, target: Array, weights: Array | None = None) -> Array:
    """The square root of `mse`, in the unit of the target."""
    return namespace(outputs).sqrt(_mean_error("rmse", lambda d: d**2, outputs, target, weights))


@explained
def mae(outputs: Array, target: Array, weights: Array | None = None) -> Array:
    """sum of w abs(t - o) / sum of w, mean over the outputs. The arguments are those of `mse`."""
    return _mean_error("mae", lambda d: namespace(d).abs(d), outputs, target, weights)


def _mean_error(name: str, of: Callable[[Array], Array], outputs: Array, target: Array, weights: Array | None) -> Array:
    xp = same_place(outputs=outputs, target=target)
    _refuse_other_shape(name, outputs, target)
    outputs = at_least_float32(outputs)
    errors = of(xp.astype(target, outputs.dtype, copy=False) - outputs)
    return xp.mean(errors) if weights is None else xp.mean(xp.sum(errors * _shares(weights, errors), axis=0))


def _refuse_other_shape(name: str, outputs: Array, target: Array) -> None:
    if outputs.shape != target.shape or 0 in outputs.shape:
        raise ValueError(
            f"{name} needs outputs and target of one shape, and at least one example; got {tuple(outputs.shape)} and "
            f"{tuple(target.shape)}."
        )


def _shares(weights: Array, like: Array) -> Array:
    """The weights of the examples as parts of their sum, which broadcast to the shape of `like`."""
    xp = namespace(like)
    column = xp.reshape(xp.astype(weights, like.dtype, copy=False), like.shape[:1] + (1,) * (like.ndim - 1))
    return column / xp.sum(column, axis=0)
