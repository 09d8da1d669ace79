"""LeNet-5, the convolutional network for handwritten digits."""

from __future__ import annotations

from nnarray.arguments import explained
from nnarray.checks import integer
from nnarray.layers import Activation, AvgPool2D, Conv2D, Dense, Flatten
from nnarray.network import Network


@explained
def lenet5(classes: int = 10, *, activation: str | Activation = "tanh") -> Network:
    """LeNet-5: two 5x5 convolutions, each followed by 2x2 average pooling, then three dense layers.

    This is today's usual form: each convolution reads all channels, the poolings have no weights, and the last layer is
    dense. It has 61,706 parameters for images of shape (28, 28, 1), which the first convolution pads to 32x32.

    Parameters
    ----------
    classes : int
    activation : str or Activation

    References
    ----------
    .. [1] LeCun, Bottou, Bengio & Haffner (1998), Gradient-based learning applied to document recognition. Proc. IEEE.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.models.lenet5().init((28, 28, 1)).theta.shape
    (61706,)
    """
    return Network(
        Conv2D(6, 5, padding=2, activation=activation, name="conv1"),
        AvgPool2D(2, name="pool1"),
        Conv2D(16, 5, activation=activation, name="conv2"),
        AvgPool2D(2, name="pool2"),
        Flatten(name="flatten"),
        Dense(120, activation, name="fc1"),
        Dense(84, activation, name="fc2"),
        Dense(integer(classes, "classes", 1, usual=10), name="fc3"),
    )
