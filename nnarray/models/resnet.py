"""ResNet-18: residual blocks in four stages. The names of the layers are torchvision's."""

from __future__ import annotations

from nnarray.arguments import explained
from nnarray.checks import integer
from nnarray.layers import Activation, BatchNorm, Conv2D, Dense, GlobalAvgPool, MaxPool2D, Residual, Row
from nnarray.network import Network


@explained
def resnet18(classes: int = 1000) -> Network:
    """ResNet-18: eight residual blocks of two 3x3 convolutions; each stage halves the image and doubles the channels.

    It has 11,689,512 parameters for 1,000 classes of images with 3 channels, usually 224x224.

    Parameters
    ----------
    classes : int

    References
    ----------
    .. [1] He, Zhang, Ren & Sun (2016), Deep residual learning for image recognition. CVPR.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.models.resnet18(classes=10).out_shape((64, 64, 3))
    (10,)
    """
    return Network(
        Conv2D(64, 7, stride=2, padding=3, bias=False, init="he", name="conv1"),
        BatchNorm(name="bn1"),
        Activation("relu", name="relu"),
        MaxPool2D(3, 2, 1, name="maxpool"),
        _stage(64, 1, name="layer1"),
        _stage(128, 2, name="layer2"),
        _stage(256, 2, name="layer3"),
        _stage(512, 2, name="layer4"),
        GlobalAvgPool(name="avgpool"),
        Dense(integer(classes, "classes", 1, usual=1000), name="fc"),
    )


def _stage(filters: int, stride: int, name: str) -> Row:
    return Row(_block(filters, stride, "0"), _block(filters, 1, "1"), name=name)


def _block(filters: int, stride: int, name: str) -> Residual:
    """f(s(x) + two convolutions); s is a strided 1x1 convolution if the block changes the shape."""
    shortcut = Row(
        Conv2D(filters, 1, stride=stride, bias=False, init="he", name="0"), BatchNorm(name="1"), name="downsample"
    )
    return Residual(
        Conv2D(filters, 3, stride=stride, padding=1, bias=False, init="he", name="conv1"),
        BatchNorm(name="bn1"),
        Activation("relu", name="relu"),
        Conv2D(filters, 3, padding=1, bias=False, init="he", name="conv2"),
        BatchNorm(name="bn2"),
        shortcut=shortcut if stride > 1 else None,
        activation="relu",
        name=name,
    )
