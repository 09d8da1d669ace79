"""GoogLeNet: nine Inception blocks in a row. The names of the layers are torchvision's."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nnarray.arguments import explained
from nnarray.checks import integer
from nnarray.layers import (
    Activation,
    AdaptiveAvgPool2D,
    Auxiliary,
    AvgPool2D,
    BatchNorm,
    Branches,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LocalResponseNorm,
    MaxPool2D,
    Row,
)
from nnarray.names import named
from nnarray.network import Network


class Widths(NamedTuple):
    """The filters of an Inception block: of its four branches, and of the 1x1 convolutions at the start of two."""

    ones: int
    to_threes: int
    threes: int
    to_fives: int
    fives: int
    pooled: int


BLOCKS = {  # Szegedy et al. (2015), table 1
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}


class Variant(NamedTuple):
    """The differences between the network of the paper and the one with published weights."""

    convolution: Callable[..., Layer]
    """(filters, kernel, stride, padding, name): a convolution with its normalisation and activation."""
    third_kernel: int
    """The kernel of the third branch of an Inception block."""
    last_pool: int
    """The kernel of the pooling before the last two blocks."""
    dropout: float
    response_norm: bool
    head_pool: Layer


def _with_batch_norm(filters: int, kernel: int, stride: int = 1, padding: int = 0, *, name: str) -> Row:
    return Row(
        Conv2D(filters, kernel, stride=stride, padding=padding, bias=False, init="he", name="conv"),
        BatchNorm(epsilon=0.001, name="bn"),
        Activation("relu", name="relu"),
        name=name,
    )


def _with_bias(filters: int, kernel: int, stride: int = 1, padding: int = 0, *, name: str) -> Row:
    return Row(Conv2D(filters, kernel, stride=stride, padding=padding, activation="relu", name="conv"), name=name)


VARIANTS = {
    "batchnorm": Variant(_with_batch_norm, 3, 2, 0.2, False, AdaptiveAvgPool2D(4, name="pool")),
    "paper": Variant(_with_bias, 5, 3, 0.4, True, AvgPool2D(5, 3, name="pool")),
}


@explained
def googlenet(classes: int = 1000, variant: str = "batchnorm", *, auxiliary: bool = False) -> Network:
    """GoogLeNet: 22 layers with parameters, with Inception blocks of 1x1, 3x3, 5x5 and pooled windows.

    For images of shape (224, 224, 3). Other sizes of at least 15x15 work too (at least 31x31 with "paper").

    Parameters
    ----------
    classes : int
    variant : {"batchnorm", "paper"}
        "paper" is as published: biases, 5x5 branches, local response normalisation; 6,998,552 parameters for 1,000
        classes. "batchnorm" is the network for which torchvision publishes weights: batch normalisation, 3x3 in the
        third branch, a 2x2 window in the last pooling between blocks; 6,624,904 parameters. These weights expect images
        with entries 2 x - 1 for x from 0 to 1.
    auxiliary : bool
        Whether to add the two auxiliary classifiers that help to train the lower blocks, after 4a and 4d, with weight
        0.3 of their losses. The network then has 13,378,280 or 13,004,888 parameters. At inference they are not run.

    Raises
    ------
    ValueError
        If the variant is unknown.

    References
    ----------
    .. [1] Szegedy et al. (2015), Going deeper with convolutions. CVPR.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.models.googlenet(classes=1000).out_shape((224, 224, 3))
    (1000,)
    """
    classes = integer(classes, "classes", 1, usual=1000)
    chosen = named(variant, VARIANTS, "variant")
    block = {name: _inception(chosen, widths, f"inception{name}") for name, widths in BLOCKS.items()}
    heads = {name: [_head(chosen, classes, name)] if auxiliary else [] for name in ("aux1", "aux2")}
    return Network(
        *_stem(chosen),
        block["3a"],
        block["3b"],
        MaxPool2D(3, 2, ceil=True, name="maxpool3"),
        block["4a"],
        *heads["aux1"],
        block["4b"],
        block["4c"],
        block["4d"],
        *heads["aux2"],
        block["4e"],
        MaxPool2D(chosen.last_pool, 2, ceil=True, name="maxpool4"),
        block["5a"],
        block["5b"],
        GlobalAvgPool(name="avgpool"),
        Dropout(chosen.dropout, name="dropout"),
        Dense(classes, name="fc"),
    )


def _stem(variant: Variant) -> list[Layer]:
    """From the image to 28x28 positions with 192 channels."""
    first, second = ([LocalResponseNorm(name=name)] if variant.response_norm else [] for name in ("norm1", "norm2"))
    return [
        variant.convolution(64, 7, 2, 3, name="conv1"),
        MaxPool2D(3, 2, ceil=True, name="maxpool1"),
        *first,
        variant.convolution(64, 1, name="conv2"),
        variant.convolution(192, 3, 1, 1, name="conv3"),
        *second,
        MaxPool2D(3, 2, ceil=True, name="maxpool2"),
    ]


def _inception(variant: Variant, widths: Widths, name: str) -> Branches:
    """Four branches that see the same position, side by side."""
    convolution, third = variant.convolution, variant.third_kernel
    return Branches(
        convolution(widths.ones, 1, name="branch1"),
        Row(
            convolution(widths.to_threes, 1, name="0"),
            convolution(widths.threes, 3, 1, 1, name="1"),
            name="branch2",
        ),
        Row(
            convolution(widths.to_fives, 1, name="0"),
            convolution(widths.fives, third, 1, third // 2, name="1"),
            name="branch3",
        ),
        Row(
            MaxPool2D(3, 1, 1, ceil=True, name="0"),
            convolution(widths.pooled, 1, name="1"),
            name="branch4",
        ),
        name=name,
    )


def _head(variant: Variant, classes: int, name: str) -> Auxiliary:
    """A small classifier on the outputs of a lower block."""
    return Auxiliary(
        variant.head_pool,
        variant.convolution(128, 1, name="conv"),
        Flatten(name="flatten"),
        Dense(1024, "relu", name="fc1"),
        Dropout(0.7, name="dropout"),
        Dense(classes, name="fc2"),
        weight=0.3,
        name=name,
    )
