"""The pullbacks of this package inside the autograd of a library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnarray.kernels.registry import kernel
from nnarray.typing import Array


@kernel
def after(x: Array, first: Array) -> Array:
    """x, not before `first` is there: to a compiler, what is computed from it is something new.

    Parameters
    ----------
    x, first : array, any shapes

    Returns
    -------
    array, x itself where nothing is compiled
    """
    return x


@kernel
def held(x: Array, mask: Array | None) -> Array:
    """x, whose entries where `mask` is True have the derivative 0, if the library records gradients.

    Parameters
    ----------
    x : array, any shape
    mask : array of bool, shape of `x`, or None
        None is False everywhere.
    """
    return x


@kernel
def recorded(x: Array, theta: Array, value: Callable[..., Array], pullback: Callable[..., Sequence[Any]]) -> Array:
    """y = value(x, theta), with `pullback` as its pullback if the library records gradients.

    Parameters
    ----------
    x, theta : array, any shapes
    value : function
        Of x and theta.
    pullback : function
        `pullback(dy, x, theta, wanted) -> dx, dtheta`; each is needed where `wanted`, a pair of bool, says so.
    """
    return value(x, theta)


@kernel
def with_pullback(*inputs: Array, function: Callable[..., Any]) -> Any:
    """y, with its pullback as its derivative if the library differentiates.

    Parameters
    ----------
    *inputs : arrays, any shapes
    function : function
        `function(*inputs) -> (y, pullback)`, with `pullback(dy)` a sequence of a gradient or None for each input. y is
        an array, or a tuple of arrays, and then dy is, too.
    """
    return function(*inputs)[0]


@kernel
def linked(value: Array, inputs: Sequence[Array], gradients: Sequence[Any]) -> Array:
    """The number `value`, with `gradients` as its derivatives if the library records gradients.

    Parameters
    ----------
    value : array, shape ()
    inputs : arrays, any shapes
    gradients : arrays, shaped as `inputs`; None for an input without a record
    """
    return value
