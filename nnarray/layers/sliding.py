"""Settings of sliding windows, and the window that they give for an image."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

from nnarray.caller import warn
from nnarray.checks import integer
from nnarray.kernels.standard.windows import Window
from nnarray.layers.base import Layer
from nnarray.names import shown
from nnarray.typing import Shape

Pair: TypeAlias = int | tuple[int, int]
Sides: TypeAlias = str | int | tuple[Any, Any]


def pair(value: Any, name: str, least: int = 1) -> tuple[int, int]:
    """A pair (vertical, horizontal) from one number or two."""
    both = value if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2:
        raise ValueError(f"{name} must be one number, or two for (vertical, horizontal); got {shown(value)}.")
    return integer(both[0], name, least, usual=least), integer(both[1], name, least, usual=least)


def kept_pair(value: Any, name: str, least: int = 1) -> Pair:
    """The form that settings store: one number if one is given, else two."""
    both = pair(value, name, least)
    return both if isinstance(value, tuple | list) else both[0]


def kept_sides(padding: Any, layer: str) -> Sides:
    """Padding in the form that settings store.

    Raises
    ------
    TypeError, ValueError
        If it is not "valid", "same", a number, or two numbers or pairs of numbers.
    """
    if isinstance(padding, str) and padding in ("valid", "same"):
        return padding
    if isinstance(padding, str):
        raise ValueError(f"{layer} padding must be 'valid', 'same' or numbers; got {shown(padding)}.")
    if not isinstance(padding, tuple | list):
        return integer(padding, f"{layer} padding", 0, usual=0)
    if len(padding) != 2:
        raise ValueError(f"{layer} padding must be 'valid', 'same', a number, or two; got {shown(padding)}.")
    return kept_pair(padding[0], f"{layer} padding", 0), kept_pair(padding[1], f"{layer} padding", 0)


def drawn_window(size: Any, stride: Any) -> str:
    """The numbers of a window in figures, such as " 3×3 / 2"."""
    sizes, steps = size if isinstance(size, tuple) else (size, size), size if stride is None else stride
    return f" {'×'.join(map(str, sizes))}" + (f" / {steps}" if steps != 1 else "")


def _square(shape: Shape) -> str:
    """The likely shape of an image whose pixels stand in one row."""
    side = math.isqrt(shape[0])
    return f"({side}, {side}, 1)" if side > 1 and side**2 == shape[0] else "(height, width, channels)"


MOST_CHANNELS, LEAST_SIDE = 4, 8  # of inputs that look like images with channels first


def has_channels_first(shape: Shape) -> bool:
    """Whether the shape of an image looks like (channels, height, width)."""
    return len(shape) == 3 and shape[0] <= MOST_CHANNELS and shape[1] == shape[2] >= LEAST_SIDE


def slides(layer: Layer) -> bool:
    """Whether a layer begins with a window over images."""
    inside = next(iter(layer.named_layers), None)
    return layer.family in ("convolution", "pooling") if inside is None else slides(inside[1])


@contextmanager
def naming_order_of_channels(network: Layer, shape: Any) -> Generator[None]:
    """Warn if a network that slides over images is made for a shape with channels first; errors say it too."""
    if not (isinstance(shape, tuple) and has_channels_first(shape) and slides(network)):
        yield
        return
    channels, height, width = shape
    advice = (
        f"the shape {shape} is that of images of height {channels} with {width} channels, because channels come last. "
        f"If the channels are first, as in PyTorch, write X = xp.permute_dims(X, (0, 2, 3, 1)), where "
        f"xp = nn.namespace(X), and init(({height}, {width}, {channels}))."
    )
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{error} And {advice}") from error
    warn(advice[0].upper() + advice[1:], UserWarning)


def placed(
    layer: str, shape: Shape, size: Any, stride: Any, padding: Any, dilation: Any = 1, *, ceil: bool = False
) -> Window:
    """The window for images of this shape.

    With `ceil`, the number of positions is rounded up: the last window may extend beyond the image, but begins inside
    it or in the padding before it (as in PyTorch).
    """
    if len(shape) != 3:
        more = {
            1: f" If an example is an image in one row, put nn.Reshape({_square(shape)}) before this layer.",
            2: " For one channel, pass X[..., None].",
            4: " Pass the shape of one example: init(X.shape[1:]).",
        }
        raise ValueError(f"expects examples of shape (height, width, channels); got {shape}.{more.get(len(shape), '')}")
    k, s, d = pair(size, f"{layer} kernel"), pair(stride, f"{layer} stride"), pair(dilation, f"{layer} dilation")
    d = (
        d[0] if k[0] > 1 else 1,
        d[1] if k[1] > 1 else 1,
    )  # a dilation has no effect on a window of 1; PyTorch may crash
    reach = [dd * (kk - 1) + 1 for dd, kk in zip(d, k, strict=True)]
    sides = sides_of(layer, shape, (reach[0], reach[1]), s, padding)
    if ceil:
        sides = [_upwards(n, r, each, step) for n, r, each, step in zip(shape, reach, sides, s, strict=False)]
    window = Window(k, s, (sides[0], sides[1]), d)
    if min(window.output_size(shape[:2])) < 1:
        raise ValueError(
            f"a window that covers {reach[0]} x {reach[1]} positions does not fit into images of shape {shape}, "
            f"(height, width, channels)."
        )
    return window


def sides_of(
    layer: str, shape: Shape, reach: tuple[int, int], stride: tuple[int, int], padding: Any
) -> list[tuple[int, int]]:
    """The padding before and after, vertical and horizontal."""
    return [_sides(layer, padding, axis, shape[axis], reach[axis], stride[axis]) for axis in (0, 1)]


def _sides(layer: str, padding: Any, axis: int, size: int, reach: int, stride: int) -> tuple[int, int]:
    if padding == "valid":
        return 0, 0
    if padding == "same":
        missing = max((-(-size // stride) - 1) * stride + reach - size, 0)
        return missing // 2, missing - missing // 2
    each = padding[axis] if isinstance(padding, tuple | list) else padding
    return pair(each, f"{layer} padding", least=0)


def _upwards(size: int, reach: int, sides: tuple[int, int], stride: int) -> tuple[int, int]:
    before, after = sides
    count = -(-(size + before + after - reach) // stride) + 1
    if (count - 1) * stride >= size + before:
        count -= 1
    return before, max((count - 1) * stride + reach - size - before, after)
