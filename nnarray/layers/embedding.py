"""Vectors for integers that stand for tokens, categories or other things without an order."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from nnarray import kernels
from nnarray.backends import namespace
from nnarray.checks import integer
from nnarray.layers.base import Context, Layer, Out, Param, settle
from nnarray.layers.initializers import Initializer, Normal, RowOfZeros, initializer, kept_initializer
from nnarray.layers.kinds import Kind, both
from nnarray.layers.positions import earlier
from nnarray.typing import Array, Shape, Tree


@dataclass(frozen=True)
class Embedding(Layer):
    """y[n, ...] = W[x[n, ...]]: a learned vector for each integer.

    x: (batch, ...)  W: (count, size)  y: (batch, ..., size)

    The inputs are integers from 0 to `count - 1`, of any integer dtype, which is not converted. `fit` and `predict`
    refuse other integers. `model(X)` does not check values: there an integer without a vector gives NaN.

    Parameters
    ----------
    count : int
        The number of different integers.
    size : int
        The number of features of each vector.
    padding_index : int, optional
        The integer that pads examples to equal length. Its vector is always 0, and its positions are masked, so
        that layers such as `GlobalAvgPool` leave them out.
    separator : int, optional
        The integer that ends a text, if rows have several texts, as of `nn.text.packed(end=)`. Then attention reads
        within a text only, and its positions begin at 0. Not with `padding_index`.
    init : str or Initializer, optional
        The initial values of W; normal with standard deviation 1 if None.

    Raises
    ------
    ValueError
        If `count` or `size` is below 1, or `padding_index` or `separator` is not one of the integers.

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
    separator: int | None = field(default=None, kw_only=True)
    init: str | Initializer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.count, "Embedding count", 1, usual=1000)
        integer(self.size, "Embedding size", 1, usual=16)
        settle(self, init=self.init and kept_initializer(self.init))
        for name, value in (("padding_index", self.padding_index), ("separator", self.separator)):
            if value is not None and integer(value, name, 0, usual=0) >= self.count:
                raise ValueError(f"{name} must be below count, {self.count}; got {value}. It is one of the integers.")
        if None not in (self.padding_index, self.separator):
            raise ValueError(
                "padding_index and separator cannot be together. Leave out padding_index: padding behind the last "
                "separator is a text of its own, and nn.losses.CrossEntropy(ignore_index=) leaves it out."
            )

    @property
    def takes(self) -> Kind:
        """Integers below `count`."""
        return Kind("integer", self.count)

    def params(self, shape: Shape) -> dict[str, Param]:
        """The vectors W."""
        init = Normal(0.0, 1.0) if self.init is None else initializer(self.init)
        init = init if self.padding_index is None else RowOfZeros(init, self.padding_index)
        return {"weight": Param((self.count, self.size), init)}

    def initial_cache(self, shape: Shape, length: int) -> dict[str, Any]:
        """None: each position is looked up by itself."""
        if self.separator is not None:
            raise ValueError(
                "with a separator, positions of earlier texts in a row must be known at once, so that its network "
                "cannot continue a sequence. Copy the parameters into a network without separator."
            )
        return {}

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs with an axis of features."""
        return (*shape, self.size)

    def drawn_numbers(self) -> str:
        """The number of vectors and their size."""
        return f" {self.count} × {self.size}"

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The layer in a plan of decoding, which has no masks."""
        return None if self.padding_index is not None else engine.plan.looked_up(params["weight"])

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The vectors; the pullback adds up dy over the positions of each integer."""
        y, counts = kernels.lookup(params["weight"], x), self._counts(x)

        def pullback(dy: Array) -> tuple[None, Tree]:
            rows = namespace(dy).reshape(_where(counts, dy), (-1, self.size))
            return None, {"weight": kernels.scatter_add(rows, namespace(x).reshape(x, (-1,)), count=self.count)}

        masks = [mask for mask in (counts, self._texts(x), ctx.mask) if mask is not None]
        return Out(_where(counts, y), pullback, mask=reduce(both, masks) if masks else None)

    def _counts(self, x: Array) -> Any:
        """True at the positions without padding; None if there is no padding_index."""
        return None if self.padding_index is None else x != self.padding_index

    def _texts(self, x: Array) -> Any:
        """The number of each position's text, shape (batch, positions); None if there is no separator."""
        if self.separator is None:
            return None
        return earlier((x == self.separator)[:, None, :])  # a separator belongs to the text that it ends


def _where(counts: Any, y: Array) -> Array:
    """The vectors where the mask is true; zeros elsewhere."""
    xp = namespace(y)
    return y if counts is None else xp.where(counts[..., None], y, xp.zeros_like(y))
