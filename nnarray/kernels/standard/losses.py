"""Losses of each example and their gradients: `f(outputs, target) -> (losses, gradient)`.

`losses` has one entry per example and is never narrower than float32; `gradient` is that of the losses' sum, with
the shape and dtype of `outputs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nnarray.backends import device_of, namespace
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.numerics import at_least_float32, within
from nnarray.names import shown
from nnarray.typing import Array


@kernel
def mean_of_entries(outputs: Array, target: Array, entry: Callable[[Array, Array], Any]) -> Any:
    """The mean over all axes but the first of entry(o, t), which gives a term and its derivative with respect to o.

    Returns
    -------
    tuple of two arrays, or array
        The means, and their gradient; the means alone if `entry` gives the terms alone.

    Raises
    ------
    TypeError
        If `entry` does not return one or both for each entry.
    """
    xp, count = namespace(outputs), math.prod(outputs.shape[1:])
    found: Any = entry(at_least_float32(outputs), at_least_float32(target))
    parts: tuple[Any, ...] = found if isinstance(found, tuple) else (found,)
    shapes = [getattr(each, "shape", None) for each in parts]
    if shapes not in ([outputs.shape], [outputs.shape] * 2):
        name, shape = getattr(entry, "__qualname__", "entry"), tuple(outputs.shape)
        raise TypeError(
            f"{name} must return two arrays of the outputs' shape {shape}: the loss of each output, and its "
            f"derivative, or the loss alone; got {shown(found)}. A loss that is not elementwise defines per_example "
            f"instead."
        )
    terms, *derivatives = parts
    scaled = xp.reshape(terms / count, (outputs.shape[0], count))  # whose sum overflows only where the mean does
    means = xp.sum(scaled, axis=1)
    return (
        (means, *(xp.astype(each / count, outputs.dtype, copy=False) for each in derivatives)) if derivatives else means
    )


@kernel
def cross_entropy(logits: Array, target: Array) -> tuple[Array, Array]:
    """L_n = -sum_k t_nk ln p_nk with p = softmax(z), and dL_n/dz_nk = p_nk sum_j t_nj - t_nk.

    Parameters
    ----------
    logits : array, shape (N, ..., K), real floating
    target : array, shape (N, ..., K), real floating
        Not negative. Rows that do not sum to 1 count by their sum.

    References
    ----------
    .. [1] Blanchard, Higham & Higham (2021), IMA J. Numer. Anal. 41(4), 2311-2330.
    """
    xp = namespace(logits)
    z, t = within(at_least_float32(logits)), at_least_float32(target)
    z = z - xp.max(z, axis=-1, keepdims=True)
    e = xp.exp(z)
    total = xp.sum(e, axis=-1, keepdims=True)
    losses = -xp.sum((z - xp.log(total)) * t, axis=-1)
    gradient = e / total * xp.sum(t, axis=-1, keepdims=True) - t
    return losses, xp.astype(gradient, logits.dtype, copy=False)


@kernel
def cross_entropy_of_labels(logits: Array, labels: Array) -> tuple[Array, Array]:
    """L_n = -ln p_n,label(n): `cross_entropy` with all of the target on one class.

    Parameters
    ----------
    logits : array, shape (N, ..., K), real floating
    labels : array of integers from 0 to K - 1, shape (N, ...)
    """
    return cross_entropy(logits, one_hot(labels, logits.shape[-1], like=logits))


@kernel
def reduced_cross_entropy_of_labels(logits: Array, labels: Array, *, total: int | None) -> tuple[Array, Array]:
    """sum of L_n / total and its gradient, L_n as in `cross_entropy_of_labels`; the sum of L_n if `total` is None.

    Returns
    -------
    value : array, shape (), at least float32
    gradient : array, shape and dtype of `logits`
    """
    xp = namespace(logits)
    losses, gradient = cross_entropy_of_labels(logits, labels)
    if total is None:
        return xp.sum(losses), gradient
    gradient = at_least_float32(gradient) / total
    return xp.sum(losses / total), xp.astype(gradient, logits.dtype, copy=False)


def one_hot(labels: Array, classes: int, *, like: Array) -> Array:
    """One-hot labels: 1 at the label and 0 elsewhere, shape (..., classes), in the dtype of `like`."""
    xp = namespace(labels)
    labels = xp.astype(labels, xp.int32, copy=False)  # 300 classes cannot be counted in uint8
    numbers = xp.arange(classes, dtype=xp.int32, device=device_of(labels))
    return xp.astype(labels[..., None] == numbers, like.dtype)
