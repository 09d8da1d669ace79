"""Vectors for integers: tokens, categories, anything that is counted and has no order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from nnarray import kernels
from nnarray.backends import namespace
from nnarray.checks import integer
from nnarray.layers.base import Context, Layer, Out, Param, settle
from nnarray.layers.initializers import Initializer, Normal, RowOfZeros, initializer, kept_initializer
from nnarray.layers.kinds import Kind, both
from nnarray.typing import Array, Shape, Tree


@dataclass(frozen=True)
class Embedding(Layer):
    """y[n, ...] = W[x[n, ...]]: a learned vector for each integer.

    x: (batch, ...)  W: (count, size)  y: (batch, ..., size)

    The inputs are integers from 0 to `count - 1` of any integer dtype, and stay so. `fit` and `predict` refuse others;
    where values are not looked at, as by `model(X)`, an integer without a vector gives NaN.

    Parameters
    ----------
    count : int
        How many integers there are.
    size : int
        Features of each vector.
    padding_index : int, optional
        The integer that only fills up an example. Its vector is 0 and stays so, and the positions that hold it are
        masked: a layer such as `GlobalAvgPool` leaves them out.
    init : str or Initializer, optional
        How W starts; normal with standard deviation 1 if None.

    Raises
    ------
    ValueError
        If `count` or `size` is below 1, or `padding_index` is none of the integers.

    References
    ----------
    .. [1] Bengio, Ducharme, Vincent & Jauvin (2003), A neural probabilistic language model. JMLR 3, 1137-1155.

    Examples
    --------
    >>> import numpy as np
    >>> import nnarray as nn
    >>> tokens = np.asarray([[3, 1, 0, 0], [2, 2, 4, 0]])
    >>> net = nn.Network(nn.Embedding(5, 8, padding_index=0), nn.GlobalAvgPool(), nn.Dense(2))
    >>> net.init(tokens.shape[1:], seed=0)(tokens).shape
    (2, 2)
    """

    family = "embedding"
    masking = "use"

    count: int
    size: int
    padding_index: int | None = None
    init: str | Initializer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.count, "Embedding count", 1, usual=1000)
        integer(self.size, "Embedding size", 1, usual=16)
        settle(self, init=self.init and kept_initializer(self.init))
        if self.padding_index is not None and integer(self.padding_index, "padding_index", 0, usual=0) >= self.count:
            raise ValueError(
                f"padding_index must be below count, {self.count}; got {self.padding_index}. It is one of the integers."
            )

    @property
    def takes(self) -> Kind:
        """Integers, each with a vector."""
        return Kind("integer", self.count)

    def params(self, shape: Shape) -> dict[str, Param]:
        """The vectors W."""
        init = Normal(0.0, 1.0) if self.init is None else initializer(self.init)
        init = init if self.padding_index is None else RowOfZeros(init, self.padding_index)
        return {"weight": Param((self.count, self.size), init)}

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs, and the features."""
        return (*shape, self.size)

    def drawn_numbers(self) -> str:
        """How many vectors of what size."""
        return f" {self.count} × {self.size}"

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The vectors; the pullback adds up dy over the positions of each integer."""
        y, counts = kernels.lookup(params["weight"], x), self._counts(x)

        def pullback(dy: Array) -> tuple[None, Tree]:
            rows = namespace(dy).reshape(_where(counts, dy), (-1, self.size))
            return None, {"weight": kernels.scatter_add(rows, namespace(x).reshape(x, (-1,)), count=self.count)}

        masks = [mask for mask in (counts, ctx.mask) if mask is not None]
        return Out(_where(counts, y), pullback, mask=reduce(both, masks) if masks else None)

    def _counts(self, x: Array) -> Any:
        """Which positions hold no padding; None if there is none."""
        return None if self.padding_index is None else x != self.padding_index


def _where(counts: Any, y: Array) -> Array:
    """The vectors that count; zeros for the others."""
    xp = namespace(y)
    return y if counts is None else xp.where(counts[..., None], y, xp.zeros_like(y))
