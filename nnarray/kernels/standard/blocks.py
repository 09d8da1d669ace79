"""What stands between two convolutions, as one kernel, so that a library can compute it in few passes."""

from __future__ import annotations

from collections.abc import Callable

from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.activations import relu, relu_pullback
from nnarray.kernels.standard.normalisation import batch_norm_pullback, normalise, scale_and_shift
from nnarray.kernels.standard.pooling import max_pool, max_pool_pullback
from nnarray.kernels.standard.windows import Window
from nnarray.typing import Array


@kernel
def normalised_relu(
    x: Array, weight: Array, bias: Array, *, epsilon: float, window: Window | None = None
) -> tuple[Array, Array, Array, Callable[[Array], tuple[Array, Array, Array]]]:
    """y = max(z w + b, 0) with z = (x - mean) / sqrt(variance + epsilon) of each channel; the largest of each window.

    Parameters
    ----------
    x : array, shape (..., channels)
        Images if there is a window.
    weight, bias : array, shape (channels,)
    epsilon : float
    window : Window, optional
        Without one, y has the shape of x.

    Returns
    -------
    y : array
    mean, variance : array, shape (1, ..., 1, channels)
        Those of the batch, over all axes but the last, as `normalise` returns them.
    pullback : function
        dy -> dx, dw and db. Of equal entries of a window, the first one gets the gradient.
    """
    z, inverse, mean, variance = normalise(x, axes=tuple(range(x.ndim - 1)), epsilon=epsilon)
    activated = relu(scale_and_shift(z, weight, bias))
    y = activated if window is None else max_pool(activated, window=window)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        if window is not None:
            dy = max_pool_pullback(dy, activated, y, window=window)
        return batch_norm_pullback(relu_pullback(dy, None, activated), z, weight, inverse)

    return y, mean, variance, pullback
