"""A small convolutional network for images."""

from __future__ import annotations

from collections.abc import Sequence

from nnarray.arguments import explained
from nnarray.checks import integer, refuse_text
from nnarray.layers import Activation, BatchNorm, Conv2D, Dense, GlobalAvgPool, Layer, MaxPool2D
from nnarray.network import Network


@explained
def cnn(outputs: int, filters: Sequence[int] = (16, 32, 64), *, activation: str | Activation = "relu") -> Network:
    """Convolutions, each with batch normalisation, f and pooling; the mean over all positions; one dense layer.

    The first convolution is 5x5 with stride 2, the others are 3x3. Each pooling halves the image. With n convolutions,
    images need at least 2^(n + 1) pixels per side: 16 for three.

    Parameters
    ----------
    outputs : int
        The number of classes, or of values to predict.
    filters : sequence of int
        The number of filters of each convolution.
    activation : str or Activation
        The function f.

    Raises
    ------
    ValueError
        If there are no filters, a number is out of range, or a name is unknown.

    References
    ----------
    .. [1] Ioffe & Szegedy (2015), Batch normalization. ICML.
    .. [2] Lin, Chen & Yan (2014), Network in network (the mean over all positions). ICLR.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.models.cnn(2).init((64, 64, 3)).theta.shape
    (24594,)
    """
    refuse_text(filters, "filters")
    if isinstance(filters, int):
        raise TypeError(
            f"filters must be a sequence of numbers, one per convolution; got {filters}. Write ({filters},)."
        )
    if not filters:
        raise ValueError("filters must have at least one number, such as (16, 32, 64).")
    layers: list[Layer] = []
    for i, count in enumerate(filters):
        kernel, stride = (5, 2) if i == 0 else (3, 1)
        count = integer(count, "each of filters", 1, usual=16)
        layers += [
            Conv2D(count, kernel, stride=stride, padding="same", bias=False, init="he"),
            BatchNorm(),
            Activation(activation) if isinstance(activation, str) else activation,
            MaxPool2D(2),
        ]
    return Network(*layers, GlobalAvgPool(), Dense(integer(outputs, "outputs", 1, usual=10)))
