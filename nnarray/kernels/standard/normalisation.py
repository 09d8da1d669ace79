"""Normalisation: zero mean and unit variance over some axes, or division by the activity of neighbours."""

from __future__ import annotations

import math

from nnarray.backends import namespace
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.numerics import at_least_float32, scale_of
from nnarray.kernels.standard.windows import padded
from nnarray.typing import Array


@kernel
def normalise(x: Array, *, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array, Array]:
    """z = (x - mean) / sqrt(variance + epsilon) over the axes; also 1 / sqrt(...), the mean and the variance.

    The variance is that of the given examples, divided by their number. Deviations are scaled before they are
    squared: where the variance is too large for the dtype, the rest is still right. z has the dtype of x; the others
    are at least float32.
    """
    xp, v, least = namespace(x), at_least_float32(x), epsilon**0.5
    mean = xp.sum(v / math.prod(v.shape[axis] for axis in axes), axis=axes, keepdims=True)
    centred = v - mean
    size = scale_of(centred, axes)
    deviation = size * xp.sqrt(xp.mean((centred / size) ** 2, axis=axes, keepdims=True))
    size = xp.maximum(deviation, least)
    inverse = 1.0 / (size * xp.sqrt((deviation / size) ** 2 + (least / size) ** 2))
    return xp.astype(centred * inverse, x.dtype, copy=False), inverse, mean, deviation * deviation


def normalised(x: Array, *, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array, Array]:
    """As `normalise`, in fewer passes; where a sum of squares overflows, 1 / sqrt(...) is not above 0."""
    xp, v = namespace(x), at_least_float32(x)
    mean = xp.mean(v, axis=axes, keepdims=True)
    centred = v - mean
    variance = xp.mean(centred * centred, axis=axes, keepdims=True)
    inverse = 1.0 / xp.sqrt(variance + epsilon)
    return xp.astype(centred * inverse, x.dtype, copy=False), inverse, mean, variance


@kernel
def scale_and_shift(z: Array, weight: Array, bias: Array) -> Array:
    """y = z w + b, with one w and b per channel.

    Parameters
    ----------
    z : array, shape (..., channels)
    weight, bias : array, shape (channels,)
    """
    return z * weight + bias


@kernel
def batch_norm(x: Array, weight: Array, bias: Array, mean: Array, variance: Array, *, epsilon: float) -> Array:
    """y = w (x - mean) / sqrt(variance + epsilon) + b, by a mean and a variance of each channel that are known.

    Parameters
    ----------
    x : array, shape (..., channels)
    weight, bias, mean, variance : array, shape (channels,)
    """
    inverse = 1.0 / namespace(x).sqrt(variance + epsilon)
    return scale_and_shift((x - mean) * inverse, weight, bias)


@kernel
def normalise_pullback(dz: Array, z: Array, inverse: Array, *, axes: tuple[int, ...]) -> Array:
    """dx = (dz - mean(dz) - z mean(dz z)) / sqrt(variance + epsilon).

    References
    ----------
    .. [1] Ioffe & Szegedy (2015), Batch normalization. ICML, section 3.
    """
    xp, dtype = namespace(dz), dz.dtype
    dz, z, inverse = at_least_float32(dz), at_least_float32(z), at_least_float32(inverse)
    along = xp.mean(dz * z, axis=axes, keepdims=True)
    dx = inverse * (dz - xp.mean(dz, axis=axes, keepdims=True) - z * along)
    return xp.astype(dx, dtype, copy=False)


@kernel
def layer_norm(x: Array, weight: Array, bias: Array, *, epsilon: float) -> tuple[Array, Array, Array]:
    """y = w (x - mean) / sqrt(variance + epsilon) + b over the last axis; also the mean and 1 / sqrt(...).

    Parameters
    ----------
    x : array, shape (..., channels)
    weight, bias : array, shape (channels,)

    Returns
    -------
    y : array, shape (..., channels)
    mean, inverse : array, shape (..., 1)
        At least float32.

    References
    ----------
    .. [1] Ba, Kiros & Hinton (2016), Layer normalization. arXiv:1607.06450.
    """
    z, inverse, mean, _ = normalise(x, axes=(x.ndim - 1,), epsilon=epsilon)
    return scale_and_shift(z, weight, bias), mean, inverse


@kernel
def layer_norm_pullback(dy: Array, x: Array, weight: Array, mean: Array, inverse: Array) -> tuple[Array, Array, Array]:
    """dx, dw and db of `layer_norm`, from z = (x - mean) / sqrt(variance + epsilon).

    dz = w dy, and dx = (dz - mean(dz) - z mean(dz z)) / sqrt(variance + epsilon); dw = sum of dy z and db = sum of dy
    over all axes but the last.

    Parameters
    ----------
    dy, x : array, shape (..., channels)
    weight : array, shape (channels,)
    mean, inverse : array, shape (..., 1)
        As `layer_norm` returns them.
    """
    xp, axes, dtype = namespace(dy), tuple(range(dy.ndim - 1)), dy.dtype
    z = (at_least_float32(x) - mean) * inverse
    gradient = at_least_float32(dy)
    dx = normalise_pullback(gradient * at_least_float32(weight), z, inverse, axes=(dy.ndim - 1,))
    dw, db = xp.sum(gradient * z, axis=axes), xp.sum(gradient, axis=axes)
    dx, dw, db = (xp.astype(each, dtype, copy=False) for each in (dx, dw, db))
    return dx, dw, db


@kernel
def rms_normalise(x: Array, *, epsilon: float) -> tuple[Array, Array]:
    """z = x / sqrt(mean(x^2) + epsilon) over the last axis; also 1 / sqrt(...), at least float32.

    Entries are scaled before they are squared, as for `normalise`.

    References
    ----------
    .. [1] Zhang & Sennrich (2019), Root mean square layer normalization. NeurIPS.
    """
    xp, v, least = namespace(x), at_least_float32(x), epsilon**0.5
    size = scale_of(v, -1)
    root = size * xp.sqrt(xp.mean((v / size) ** 2, axis=-1, keepdims=True))
    size = xp.maximum(root, least)
    inverse = 1.0 / (size * xp.sqrt((root / size) ** 2 + (least / size) ** 2))
    return xp.astype(v * inverse, x.dtype, copy=False), inverse


@kernel
def rms_normalise_pullback(dz: Array, z: Array, inverse: Array) -> Array:
    """dx = (dz - z mean(dz z)) / sqrt(mean(x^2) + epsilon)."""
    xp, dtype = namespace(dz), dz.dtype
    dz, z = at_least_float32(dz), at_least_float32(z)
    dx = inverse * (dz - z * xp.mean(dz * z, axis=-1, keepdims=True))
    return xp.astype(dx, dtype, copy=False)


@kernel
def batch_norm_pullback(dy: Array, z: Array, weight: Array, inverse: Array) -> tuple[Array, Array, Array]:
    """dx, dw and db of y = w z + b, z normalised over all axes but the last: the sums of dw and db serve dx as well.

    db = sum of dy, dw = sum of dy z, and dx = w / sqrt(variance + epsilon) (dy - (db + z dw) / n), with n entries a
    channel.

    Parameters
    ----------
    dy, z : array, shape (..., channels)
    weight : array, shape (channels,)
    inverse : array, shape (1, ..., 1, channels)
        1 / sqrt(variance + epsilon).

    References
    ----------
    .. [1] Ioffe & Szegedy (2015), Batch normalization. ICML, section 3.
    """
    xp, dtype, axes = namespace(dy), dy.dtype, tuple(range(dy.ndim - 1))
    count = math.prod(dy.shape[:-1])
    gradient, z = at_least_float32(dy), at_least_float32(z)
    db, dw = xp.sum(gradient, axis=axes), xp.sum(gradient * z, axis=axes)
    dx = (at_least_float32(weight) * at_least_float32(inverse)) * (gradient - db / count - z * (dw / count))
    dx, dw, db = (xp.astype(each, dtype, copy=False) for each in (dx, dw, db))
    return dx, dw, db


@kernel
def moving_average(running: Array, value: Array, *, momentum: float, factor: float = 1.0) -> Array:
    """(1 - m) running + m factor value, in the dtype of `running`.

    Parameters
    ----------
    running : array
    value : array, of as many entries, at least as wide
    """
    xp = namespace(value)
    value = value if factor == 1.0 else value * factor
    after = (1.0 - momentum) * running + momentum * xp.reshape(value, running.shape)
    return xp.astype(after, running.dtype, copy=False)


def _over_neighbours(x: Array, size: int) -> Array:
    """The sum over the `size` channels around each one."""
    before = size // 2
    flat = namespace(x).reshape(x, (1, -1, x.shape[-1], 1))
    padded_x = padded(flat, ((0, 0), (before, size - 1 - before)))
    total: Array | None = None
    for k in range(size):
        part = padded_x[:, :, k : k + x.shape[-1], :]
        total = part if total is None else total + part
    assert total is not None
    return namespace(x).reshape(total, x.shape)


@kernel
def local_response(x: Array, *, size: int, alpha: float, beta: float, k: float) -> Array:
    """y_c = x_c / (k + alpha / size sum of x_j^2 over the `size` channels j around c)^beta.

    References
    ----------
    .. [1] Krizhevsky, Sutskever & Hinton (2012), ImageNet classification with deep convolutional networks. NeurIPS.
    """
    v = at_least_float32(x)
    y = v * (k + alpha / size * _over_neighbours(v * v, size)) ** -beta
    return namespace(x).astype(y, x.dtype, copy=False)


@kernel
def local_response_pullback(dy: Array, x: Array, *, size: int, alpha: float, beta: float, k: float) -> Array:
    """dx_c = dy_c u_c^-beta - 2 alpha beta / size x_c sum over j of dy_j x_j u_j^(-beta - 1), u as in y = x u^-beta.

    The sum runs over the channels j that have c among their neighbours: the mirror image of the window.
    """
    xp, dtype = namespace(x), x.dtype
    dy, x = at_least_float32(dy), at_least_float32(x)
    u = k + alpha / size * _over_neighbours(x * x, size)
    terms = dy * x * u ** (-beta - 1.0)
    mirrored = xp.flip(_over_neighbours(xp.flip(terms, axis=-1), size), axis=-1)
    return xp.astype(dy * u**-beta - (2.0 * alpha * beta / size) * x * mirrored, dtype, copy=False)
