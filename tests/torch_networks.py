"""PyTorch transcriptions of published networks, with the names that the world's weights have; for comparison only."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Any) -> Any:
        return torch.relu(self.bn(self.conv(x)))


class ConvBias(nn.Module):
    """Convolution with a bias, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding)

    def forward(self, x: Any) -> Any:
        return torch.relu(self.conv(x))


class Inception(nn.Module):
    def __init__(self, conv: Any, third: int, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        a, to_b, b, to_c, c, d = widths
        self.branch1 = conv(inputs, a, 1)
        self.branch2 = nn.Sequential(conv(inputs, to_b, 1), conv(to_b, b, 3, 1, 1))
        self.branch3 = nn.Sequential(conv(inputs, to_c, 1), conv(to_c, c, third, 1, third // 2))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), conv(inputs, d, 1))

    def forward(self, x: Any) -> Any:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Head(nn.Module):
    def __init__(self, conv: Any, pool: nn.Module, inputs: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.pool = pool
        self.conv = conv(inputs, 128, 1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, classes)
        self.dropout = dropout

    def forward(self, x: Any) -> Any:
        x = torch.flatten(self.conv(self.pool(x)), 1)
        return self.fc2(F.dropout(torch.relu(self.fc1(x)), self.dropout, self.training))


BLOCKS = {
    "3a": (192, (64, 96, 128, 16, 32, 32)),
    "3b": (256, (128, 128, 192, 32, 96, 64)),
    "4a": (480, (192, 96, 208, 16, 48, 64)),
    "4b": (512, (160, 112, 224, 24, 64, 64)),
    "4c": (512, (128, 128, 256, 24, 64, 64)),
    "4d": (512, (112, 144, 288, 32, 64, 64)),
    "4e": (528, (256, 160, 320, 32, 128, 128)),
    "5a": (832, (256, 160, 320, 32, 128, 128)),
    "5b": (832, (384, 192, 384, 48, 128, 128)),
}


class GoogLeNet(nn.Module):
    """Both forms; `dropout=False` makes training comparable."""

    def __init__(self, classes: int = 1000, *, paper: bool = False, heads: bool = False, dropout: bool = True) -> None:
        super().__init__()
        conv, third = (ConvBias, 5) if paper else (ConvNorm, 3)
        rate = (0.4 if paper else 0.2) if dropout else 0.0
        self.norm = nn.LocalResponseNorm(5) if paper else nn.Identity()
        self.conv1 = conv(3, 64, 7, 2, 3)
        self.conv2 = conv(64, 64, 1)
        self.conv3 = conv(64, 192, 3, 1, 1)
        for name, (inputs, widths) in BLOCKS.items():
            setattr(self, f"inception{name}", Inception(conv, third, inputs, widths))
        if heads:
            pool = nn.AvgPool2d(5, 3) if paper else nn.AdaptiveAvgPool2d((4, 4))
            self.aux1 = Head(conv, pool, 512, classes, 0.7 if dropout else 0.0)
            self.aux2 = Head(conv, pool, 528, classes, 0.7 if dropout else 0.0)
        self.last_pool = nn.MaxPool2d(3 if paper else 2, 2, ceil_mode=True)
        self.dropout = nn.Dropout(rate)
        self.fc = nn.Linear(1024, classes)

    def forward(self, x: Any) -> Any:
        x = self.norm(F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True))
        x = F.max_pool2d(self.norm(self.conv3(self.conv2(x))), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.inception3b(self.inception3a(x)), 3, 2, ceil_mode=True)
        x = self.inception4a(x)
        heads = [self.aux1(x)] if self.training and hasattr(self, "aux1") else []
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        heads += [self.aux2(x)] if self.training and hasattr(self, "aux2") else []
        x = self.inception5b(self.inception5a(self.last_pool(self.inception4e(x))))
        x = self.fc(self.dropout(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)))
        return (x, *heads) if heads else x


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet18(nn.Module):
    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
        self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def lenet5() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, 10),
    )


def shaken(network: nn.Module) -> nn.Module:
    """The network with random scales, shifts and running statistics, so that nothing is 0 or 1 by chance."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for vector in (module.weight, module.running_var):
                vector.data.uniform_(0.5, 1.5, generator=generator)
            for vector in (module.bias, module.running_mean):
                vector.data.normal_(0.0, 0.1, generator=generator)
    return network
