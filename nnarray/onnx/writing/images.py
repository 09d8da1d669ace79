"""Windows over images, whose channels are last here and first in a file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from nnarray.kernels.standard.windows import Window
from nnarray.onnx.writing.elementwise import dtype_of
from nnarray.onnx.writing.operations import Operation
from nnarray.onnx.writing.sizes import Repeated, Size
from nnarray.onnx.writing.table import kernel_row
from nnarray.onnx.writing.writer import Unwritable, Writer

FIRST, LAST, FILTERS = (0, 3, 1, 2), (0, 2, 3, 1), (3, 2, 0, 1)


def _window(window: Window, shape: Any, *, dilated: bool = True, rounded_up: bool = False) -> dict[str, Any]:
    """The settings of a window over images of a shape. `rounded_up`: where padding may be left to `ceil_mode`."""
    settings = {"kernel_shape": list(window.size), "strides": list(window.stride)}
    settings |= {"dilations": list(window.dilation)} if dilated else {}
    (top, bottom), (left, right) = window.padding
    if not any(isinstance(n, Size) for n in (top, bottom, left, right)):
        return settings | {"pads": [top, left, bottom, right]}
    sides = [_Side(*each) for each in zip(shape[1:3], window.padding, _reach(window), window.stride, strict=True)]
    if all(map(_is_same, sides)):
        return settings | {"auto_pad": "SAME_UPPER"}
    if rounded_up and all(map(_is_rounded_up, sides)):
        return settings | {"pads": [top, left, top, left], "ceil_mode": 1}
    raise Unwritable("its padding follows from the size of the image in a way that no file can express")


def _reach(window: Window) -> list[int]:
    """The entries from the first to the last one of a window."""
    return [d * (k - 1) + 1 for d, k in zip(window.dilation, window.size, strict=True)]


class _Side(NamedTuple):
    """Height or width of an image, and the window along it."""

    size: int | Size
    padding: tuple[int | Size, int | Size]
    reach: int
    stride: int

    def records(self) -> Iterator[tuple[int, int, int]]:
        """The size, and the padding before and after, in each record."""
        parts = self.size, *self.padding
        count = max(len(each.values) if isinstance(each, Size) else 1 for each in parts)
        yield from zip(*(each.values if isinstance(each, Size) else (each,) * count for each in parts), strict=True)


def _is_same(side: _Side) -> bool:
    """Whether there are as many windows as strides in the image, and the padding before is the smaller half."""
    for n, before, after in side.records():
        total = max((-(-n // side.stride) - 1) * side.stride + side.reach - n, 0)
        if (before, after) != (total // 2, total - total // 2):
            return False
    return True


def _is_rounded_up(side: _Side) -> bool:
    """Whether the padding after the image is that before it, and more for a last window that begins inside."""
    for n, before, after in side.records():
        count = -(-(n + 2 * before - side.reach) // side.stride) + 1
        count -= (count - 1) * side.stride >= n + before
        if (n + before + after - side.reach) // side.stride + 1 != count:
            return False
    return not isinstance(side.padding[0], Size)


@kernel_row("convolution")
def convolution(w: Writer, op: Operation) -> str:
    """Conv between two transpositions; the filters are written with their channels first."""
    x, weight, bias = op.arguments
    arrays = [w.permuted(x, FIRST), w.permuted(weight, FILTERS), *([] if bias is None else [w.tensor(bias)])]
    y = w.add("Conv", *arrays, **_window(op.settings["window"], x.shape), group=int(op.settings.get("groups", 1)))
    return w.add("Transpose", y, perm=LAST)


def _padded(w: Writer, name: str, window: Window, value: float, dtype: Any) -> tuple[str, Window]:
    """Padding as wide as the window is an operator of its own."""
    if any(isinstance(n, Size) for pads in window.padding for n in pads):
        return name, window
    if all(
        max(pads) < min(size, far) for pads, size, far in zip(window.padding, window.size, _reach(window), strict=True)
    ):
        return name, window
    (top, bottom), (left, right) = window.padding
    widths = w.integers([0, 0, top, left, 0, 0, bottom, right])
    return w.add("Pad", name, widths, w.number(value, dtype)), window._replace(padding=((0, 0), (0, 0)))


@kernel_row("max_pool")
def max_pool(w: Writer, op: Operation) -> str:
    """MaxPool between two transpositions."""
    x = w.permuted(op.arguments[0], FIRST)
    x, window = _padded(w, x, op.settings["window"], -math.inf, dtype_of(op))
    settings = _window(window, op.arguments[0].shape, rounded_up=True)
    return w.add("Transpose", w.add("MaxPool", x, **settings), perm=LAST)


@kernel_row("mean_pool")
def mean_pool(w: Writer, op: Operation) -> str:
    """AveragePool between two transpositions, corrected where a window counts fewer entries."""
    x, counts = op.arguments
    x, window = _padded(w, w.permuted(x, FIRST), op.settings["window"], 0.0, dtype_of(op))
    dilated = window.dilation != (1, 1)
    w.opset = max(w.opset, 19 if dilated else 18)
    y = w.add("AveragePool", x, count_include_pad=1, **_window(window, op.arguments[0].shape, dilated=dilated))
    y, entries = w.add("Transpose", y, perm=LAST), math.prod(window.size)
    counts = counts.part if isinstance(counts, Repeated) else counts
    if bool(w.xp.all(counts == entries)):
        return y
    return w.add("Mul", y, w.constant(w.xp.astype(entries / counts, dtype_of(op))))


@kernel_row("batch_norm", narrow=True)
def batch_norm(w: Writer, op: Operation) -> str:
    """BatchNormalization between two transpositions, if there are more axes than the channels."""
    x, *arrays = op.arguments
    count, dtype = len(x.shape), dtype_of(op)
    numbers = [w.tensor(each, dtype) for each in arrays]
    epsilon = float(op.settings["epsilon"])
    if count == 2:
        return w.add("BatchNormalization", w.tensor(x, dtype), *numbers, epsilon=epsilon)
    first = w.permuted(x, (0, count - 1, *range(1, count - 1)))
    y = w.add("BatchNormalization", first, *numbers, epsilon=epsilon)
    return w.add("Transpose", y, perm=(0, *range(2, count), 1))


@kernel_row("local_response")
def local_response(w: Writer, op: Operation) -> str:
    """The neighbours are slices of the padded squares, so that it fits any number of axes and an even size."""
    x, dtype = op.arguments[0], dtype_of(op)
    size, alpha, beta, k = (op.settings[name] for name in ("size", "alpha", "beta", "k"))
    name, axes, channels, before = w.tensor(x), len(x.shape), x.shape[-1], size // 2
    widths = [*[0] * (axes - 1), before, *[0] * (axes - 1), size - 1 - before]
    squares = w.add("Pad", w.add("Mul", name, name), w.integers(widths), w.number(0.0, dtype))
    parts = [_channels(w, squares, i, channels) for i in range(size)]
    total = parts[0] if size == 1 else w.add("Sum", *parts)
    u = w.add("Add", w.add("Mul", total, w.number(alpha / size, dtype)), w.number(k, dtype))
    return w.add("Mul", name, w.add("Pow", u, w.number(-beta, dtype)))


def _channels(w: Writer, name: str, first: int, count: int) -> str:
    given: Sequence[list[int]] = ([first], [first + count], [-1])
    return w.add("Slice", name, *map(w.integers, given))
