"""Layers that only change the shape of each example."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from nnarray.backends import namespace
from nnarray.layers.base import Context, Layer, Out, settle
from nnarray.names import shown
from nnarray.typing import Array, Shape, Tree


@dataclass(frozen=True)
class Reshape(Layer):
    """Each example in another shape, with its entries in the same order.    x: (batch, ...)  y: (batch, *shape).

    With a mask, masked entries become 0, and the outputs have no mask: positions become features.

    Parameters
    ----------
    shape : tuple of int
        Without the batch axis. One entry may be -1, which is replaced by the size that follows from the others.

    Raises
    ------
    ValueError
        At `init`, if the number of entries differs.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.Reshape((2, -1)).out_shape((6,))
    (2, 3)
    """

    family = "reshape"
    masking = "use"

    shape: Shape

    @property
    def takes(self) -> None:
        """None: the layer accepts every kind of numbers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.shape, tuple) or not all(_is_size(n) for n in self.shape):
            raise ValueError(
                f"Reshape shape must be a tuple of integers, one of them -1 at most; got {shown(self.shape)}."
            )
        settle(self, shape=tuple(int(n) for n in self.shape))
        if self.shape.count(-1) > 1:
            raise ValueError(f"Reshape shape may hold -1 once; got {self.shape}.")

    def out_shape(self, shape: Shape) -> Shape:
        """The shape, with -1 replaced by the size that follows from the others."""
        size, known = math.prod(shape), math.prod(n for n in self.shape if n != -1)
        if -1 in self.shape and known and size % known == 0:
            return tuple(size // known if n == -1 else n for n in self.shape)
        if size != known or -1 in self.shape:
            raise ValueError(f"cannot reshape examples of shape {shape} ({size} entries) into {self.shape}.")
        return self.shape

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The inputs in the new shape; the pullback returns dy in the old one."""
        xp, before, mask = namespace(x), x.shape, ctx.mask

        def pullback(dy: Array) -> tuple[Array, Tree]:
            return _where(mask, xp.reshape(dy, before)), {}

        return Out(xp.reshape(_where(mask, x), (before[0], *self.out_shape(before[1:]))), pullback)


def _where(mask: Array | None, x: Array) -> Array:
    """The entries where the mask is true; zeros elsewhere."""
    if mask is None:
        return x
    xp = namespace(x)
    over = xp.reshape(mask, (*mask.shape, *(1 for _ in x.shape[mask.ndim :])))
    return xp.where(over, x, xp.zeros_like(x))


@dataclass(frozen=True)
class Flatten(Reshape):
    """Each example as a vector.    x: (batch, ...)  y: (batch, product of ...).

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.Flatten().out_shape((8, 8, 3))
    (192,)
    """

    shape: Shape = (-1,)


def _is_size(n: Any) -> bool:
    return isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= -1
