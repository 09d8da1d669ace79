"""Sliding windows over images, channels last: their positions, and distributing gradients over them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from nnarray.backends import device_of, namespace
from nnarray.typing import Array, Shape


class Window(NamedTuple):
    """A window that slides over height and width.

    Along an axis of size n, with padding (before, after), it stops at
    (n + before + after - reach) // stride + 1 positions, where reach = dilation (size - 1) + 1.
    """

    size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)

    def output_size(self, image: Shape) -> tuple[int, int]:
        """The number of positions along height and width, for an image of shape (height, width)."""
        rows, columns = (
            (n + sum(pad) - d * (k - 1) - 1) // s + 1
            for n, k, s, pad, d in zip(image, self.size, self.stride, self.padding, self.dilation, strict=True)
        )
        return rows, columns

    @property
    def is_apart(self) -> bool:
        """Whether the windows lie side by side, without padding: each entry belongs to at most one."""
        return self.stride == self.size and self.dilation == (1, 1) and not any(map(any, self.padding))

    def taps(self) -> Iterator[tuple[int, int]]:
        """The positions inside the window, row by row."""
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                yield i, j

    def seen_by(self, tap: tuple[int, int], output_size: tuple[int, int]) -> tuple[slice, slice]:
        """The rows and columns of the padded image at this position of the window, as the window slides."""
        rows, columns = (
            slice(t * d, t * d + s * (n - 1) + 1, s)
            for t, d, s, n in zip(tap, self.dilation, self.stride, output_size, strict=True)
        )
        return rows, columns


def padded(x: Array, padding: tuple[tuple[int, int], tuple[int, int]], value: float = 0.0) -> Array:
    """`x`, shape (batch, height, width, channels), with a border of `value`."""
    xp = namespace(x)
    for axis, (before, after) in zip((1, 2), padding, strict=True):
        parts: list[Array] = []
        for width in (before, after):
            shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
            parts.append(xp.full(shape, value, dtype=x.dtype, device=device_of(x)))
        if before or after:
            x = xp.concat([parts[0], x, parts[1]], axis=axis)
    return x


def cropped(x: Array, padding: tuple[tuple[int, int], tuple[int, int]]) -> Array:
    """The inverse of `padded`."""
    (top, bottom), (left, right) = padding
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right, :]


def spread(dy: Array, window: Window, tap: tuple[int, int], padded_shape: Shape) -> Array:
    """Zeros of the padded image's height and width, with `dy` at the positions of the tap."""
    xp = namespace(dy)
    offsets = [t * d for t, d in zip(tap, window.dilation, strict=True)]
    for axis, step, offset, size in zip((1, 2), window.stride, offsets, padded_shape[1:3], strict=True):
        if step > 1:
            gaps = xp.zeros(
                (*dy.shape[: axis + 1], step - 1, *dy.shape[axis + 1 :]), dtype=dy.dtype, device=device_of(dy)
            )
            with_gaps = xp.concat([xp.expand_dims(dy, axis=axis + 1), gaps], axis=axis + 1)
            dy = xp.reshape(with_gaps, (*dy.shape[:axis], dy.shape[axis] * step, *dy.shape[axis + 1 :]))
        before, rest = offset, size - offset - dy.shape[axis]
        if rest < 0:  # the gaps behind the last position reach out of the image
            dy = dy[tuple(slice(0, size - before) if a == axis else slice(None) for a in range(dy.ndim))]
        down, across = ((before, max(rest, 0)) if a == axis else (0, 0) for a in (1, 2))
        dy = padded(dy, (down, across))
    return dy
