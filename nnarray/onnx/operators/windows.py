"""Sliding windows along any number of axes, channels first: their positions, and the entries that they read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nnarray.onnx.operators.common import FEW, GROWTH, room

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Windows:
    """Windows over the axes behind batch and channels."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pads
    positions: tuple[int, ...]

    @classmethod
    def over(
        cls,
        shape: Sequence[int],
        size: Sequence[int],
        strides: Any,
        dilations: Any,
        pads: Any,
        auto_pad: str,
        *,
        ceil: bool = False,
    ) -> Windows:
        """The windows over axes of these sizes, from the settings in a file.

        Raises
        ------
        ValueError
            If the settings do not fit the axes.
        """
        ndim = len(shape)
        stride, dilation = (tuple(each) if each else (1,) * ndim for each in (strides, dilations))
        if not len(size) == len(stride) == len(dilation) == ndim or (pads and len(pads) != 2 * ndim):
            raise ValueError(f"a window of size {tuple(size)} has settings of another number of axes than {ndim}")
        if min((*size, *stride, *dilation), default=1) < 1:
            raise ValueError(f"size, strides and dilations of a window must be at least 1; got {tuple(size)}")
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, size, strict=True)]
        sides = _sides(shape, reach, stride, pads, auto_pad)
        counts: list[int] = []
        for n, r, s, (before, after) in zip(shape, reach, stride, sides, strict=True):
            free = n + before + after - r
            count = (-(-free // s) if ceil else free // s) + 1
            if ceil and (count - 1) * s >= n + before:
                count -= 1
            if count < 1 and n:
                raise ValueError(
                    f"a window that covers {' x '.join(map(str, reach))} positions does not fit into an input of size "
                    f"{' x '.join(map(str, shape))}. Pass a larger one"
                )
            counts.append(max(count, 0))
        wide = [n + max(sum(each), 0) for n, each in zip(shape, sides, strict=True)]
        room(wide, max(FEW, GROWTH * math.prod(shape)))
        return cls(tuple(size), stride, dilation, sides, tuple(counts))

    def taps(self) -> Iterator[tuple[int, ...]]:
        """The positions inside a window."""
        return itertools.product(*map(range, self.size))

    def key(self, tap: tuple[int, ...]) -> tuple[slice, ...]:
        """What a position inside the window reads of the axes with their padding, as the window slides."""
        return tuple(
            slice(t * d, t * d + s * (n - 1) + 1 if n else t * d, s)
            for t, d, s, n in zip(tap, self.dilation, self.stride, self.positions, strict=True)
        )

    def padding_for(self, shape: Sequence[int]) -> Pads:
        """The padding that all windows read; the last ones may reach beyond that of the settings."""
        padded: list[tuple[int, int]] = []
        for n, k, s, d, count, (before, after) in zip(
            shape, self.size, self.stride, self.dilation, self.positions, self.pads, strict=True
        ):
            padded.append((before, max(after, (count - 1) * s + d * (k - 1) + 1 - n - before)))
        return tuple(padded)

    def counts(self, shape: Sequence[int], *, with_padding: bool) -> list[list[int]]:
        """How many entries of each window count, along each axis."""
        every: list[list[int]] = []
        for n, k, s, d, count, (before, after) in zip(
            shape, self.size, self.stride, self.dilation, self.positions, self.pads, strict=True
        ):
            low, high = (0, n + before + after) if with_padding else (before, before + n)
            every.append([sum(low <= p * s + t * d < high for t in range(k)) for p in range(count)])
        return every


def _sides(shape: Sequence[int], reach: list[int], stride: tuple[int, ...], pads: Any, auto_pad: str) -> Pads:
    ndim = len(shape)
    if auto_pad in ("NOTSET", "VALID"):
        given = tuple(pads) if pads and auto_pad == "NOTSET" else (0,) * (2 * ndim)
        room(given)
        return tuple(zip(given[:ndim], given[ndim:], strict=True))
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER; got {auto_pad!r}")
    sides: list[tuple[int, int]] = []
    for n, r, s in zip(shape, reach, stride, strict=True):
        missing = max((-(-n // s) - 1) * s + r - n, 0)
        less, more = missing // 2, missing - missing // 2
        sides.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
    return tuple(sides)
