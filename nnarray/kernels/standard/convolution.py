"""The convolution of images, channels last, and its pullback."""

from __future__ import annotations

from nnarray.backends import namespace
from nnarray.kernels.functions import Function
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.numerics import sum_of_rows
from nnarray.kernels.standard.windows import Window, cropped, padded, spread
from nnarray.typing import Array


@kernel
def convolution(x: Array, weight: Array, bias: Array | None, *, window: Window, groups: int = 1) -> Array:
    """y[n, p, q] = b + sum over i, j of x[n, p s + i d, q s + j d] W[i, j], with x padded by zeros.

    s is the stride and d the dilation of the window. With groups, the channels are divided into that many parts,
    and each part of the outputs reads only its part of the inputs.

    Parameters
    ----------
    x : array, shape (batch, height, width, channels)
    weight : array, shape (kernel height, kernel width, channels / groups, filters)
    bias : array, shape (filters,), or None
    window : Window
    groups : int

    Returns
    -------
    array, shape (batch, positions down, positions across, filters)

    References
    ----------
    .. [1] LeCun et al. (1989), Backpropagation applied to handwritten zip code recognition. Neural Computation 1(4).
    """
    output_size = window.output_size(x.shape[1:3])
    x = padded(x, window.padding)
    y: Array | None = None
    for tap in window.taps():
        rows, columns = window.seen_by(tap, output_size)
        term = _product(x[:, rows, columns, :], weight[tap[0], tap[1], ...], groups)
        y = term if y is None else y + term
    assert y is not None  # a window has at least one tap
    return y if bias is None else y + bias


@kernel
def convolution_pullback(
    dy: Array,
    x: Array,
    weight: Array,
    *,
    window: Window,
    groups: int = 1,
    input_gradient: bool = True,
    bias_gradient: bool = True,
) -> tuple[Array | None, Array, Array | None]:
    """dx, dW and db: the contribution of each tap W[i, j] is added at the positions that it read.

    dW[i, j] = sum over n, p, q of x[n, p s + i d, q s + j d]^T dy[n, p, q], and db = sum of dy.

    dx and db are None if they are not asked for.
    """
    xp, output_size = namespace(dy), window.output_size(x.shape[1:3])
    padded_x = padded(x, window.padding)
    dx: Array | None = None
    gradients: list[Array] = []
    for tap in window.taps():
        rows, columns = window.seen_by(tap, output_size)
        gradients.append(_product_of_channels(padded_x[:, rows, columns, :], dy, groups))
        if input_gradient:
            back = _product_back(dy, weight[tap[0], tap[1], ...], groups)
            term = spread(back, window, tap, padded_x.shape)
            dx = term if dx is None else dx + term
    dw = xp.reshape(xp.stack(gradients), weight.shape)
    db = sum_of_rows(xp.reshape(dy, (-1, dy.shape[-1]))) if bias_gradient else None
    return None if dx is None else cropped(dx, window.padding), dw, db


@kernel
def activated_convolution(
    x: Array, weight: Array, bias: Array | None, *, function: Function, window: Window, groups: int = 1
) -> tuple[Array | None, Array]:
    """z, the convolution, and y = f(z): what a convolutional layer computes.

    Returns
    -------
    z : array, shape (batch, positions down, positions across, filters), or None
        None if the pullback of f reads y only.
    y : array, of the same shape
    """
    z = convolution(x, weight, bias, window=window, groups=groups)
    y = function.value(z)
    return None if function.from_output else z, y


@kernel
def activated_convolution_pullback(
    dy: Array,
    x: Array,
    weight: Array,
    z: Array | None,
    y: Array,
    *,
    function: Function,
    window: Window,
    groups: int = 1,
    input_gradient: bool = True,
    bias_gradient: bool = True,
) -> tuple[Array | None, Array, Array | None]:
    """dx, dW and db of y = f(z), from dz = f_pullback(dy, z, y)."""
    dz = function.pullback(dy, z, y)
    asked = {"input_gradient": input_gradient, "bias_gradient": bias_gradient}
    return convolution_pullback(dz, x, weight, window=window, groups=groups, **asked)


def _parts(x: Array, groups: int) -> Array:
    """(..., channels) as (..., groups, 1, channels / groups)."""
    return namespace(x).reshape(x, (*x.shape[:-1], groups, 1, x.shape[-1] // groups))


def _filters(weight: Array, groups: int) -> Array:
    """(inputs, filters) as (groups, inputs, filters / groups)."""
    xp = namespace(weight)
    return xp.permute_dims(xp.reshape(weight, (weight.shape[0], groups, weight.shape[1] // groups)), (1, 0, 2))


def _product(x: Array, weight: Array, groups: int) -> Array:
    xp = namespace(x)
    if groups == 1:
        return xp.matmul(x, weight)
    return xp.reshape(xp.matmul(_parts(x, groups), _filters(weight, groups)), (*x.shape[:-1], weight.shape[1]))


def _product_back(dy: Array, weight: Array, groups: int) -> Array:
    xp = namespace(dy)
    if groups == 1:
        return xp.matmul(dy, weight.T)
    filters = xp.permute_dims(_filters(weight, groups), (0, 2, 1))
    return xp.reshape(xp.matmul(_parts(dy, groups), filters), (*dy.shape[:-1], weight.shape[0] * groups))


def _product_of_channels(x: Array, dy: Array, groups: int) -> Array:
    """sum over n, p, q of x^T dy, shape (channels / groups, filters)."""
    xp = namespace(dy)
    inputs, gradients = (xp.reshape(a, (-1, groups, a.shape[-1] // groups)) for a in (x, dy))
    each = xp.matmul(xp.permute_dims(inputs, (1, 2, 0)), xp.permute_dims(gradients, (1, 0, 2)))
    return xp.reshape(xp.permute_dims(each, (1, 0, 2)), (x.shape[-1] // groups, dy.shape[-1]))
