"""Layers that add to each position of a sequence where it is; and the angles of rotary positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnarray import kernels
from nnarray.backends import device_of, namespace
from nnarray.checks import above_zero, integer
from nnarray.kernels.standard.numerics import at_least_float32_dtype, sum_of_rows
from nnarray.layers.base import Context, Layer, Out, Param, settle
from nnarray.layers.initializers import Initializer, Normal, initializer, kept_initializer
from nnarray.layers.kinds import of_texts
from nnarray.typing import Array, Shape, Tree


def refuse_no_sequence(shape: Shape) -> None:
    """Refuse examples that are not (positions, features).

    Raises
    ------
    ValueError
        If the shape has another number of axes.
    """
    if len(shape) != 2:
        raise ValueError(
            f"expects sequences, (positions, features); got examples of shape {shape}. For tokens, put nn.Embedding "
            f"before it; for one feature, add an axis: X[..., None]."
        )


@dataclass(frozen=True)
class LearnedPositions(Layer):
    """y_t = x_t + P_t: a learned vector for each position.

    x: (batch, positions, features)  P: (length, features)

    Parameters
    ----------
    length : int, optional
        The largest number of positions; that of the shape at `init` if None.
    init : str or Initializer, optional
        The initial values of P; normal with standard deviation 0.02 if None.

    Raises
    ------
    ValueError
        If `length` is below 1, or sequences are longer.

    References
    ----------
    .. [1] Gehring, Auli, Grangier, Yarats & Dauphin (2017), Convolutional sequence to sequence learning. ICML.

    Examples
    --------
    >>> import nnarray as nn
    >>> net = nn.Network(nn.Embedding(65, 16), nn.LearnedPositions(), nn.MultiHeadAttention(2))
    >>> net.init((8,)).params["1.weight"].shape
    (8, 16)
    """

    drawn_as = "positions"
    masking = "keep"

    length: int | None = None
    init: str | Initializer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length is not None:
            integer(self.length, "LearnedPositions length", 1, usual=1024)
        settle(self, init=self.init and kept_initializer(self.init))

    def params(self, shape: Shape) -> dict[str, Param]:
        """The vectors P."""
        init = Normal(0.0, 0.02) if self.init is None else initializer(self.init)
        return {"weight": Param((self.length or shape[0], shape[1]), init)}

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs."""
        refuse_no_sequence(shape)
        self._refuse_longer(shape[0], shape)
        return shape

    def initial_cache(self, shape: Shape, length: int) -> dict[str, Any]:
        """None; but there must be a vector for each position."""
        self._refuse_longer(length, shape)
        return {}

    def _refuse_longer(self, count: int, shape: Shape) -> None:
        length = self.length or shape[0]
        if count > length:
            raise ValueError(
                f"it has learned {length} positions; got a length of {count}. Use at most {length}, or make a network "
                f"with LearnedPositions({count}) and train it."
            )

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The layer in a plan of decoding."""
        return engine.plan.at_position(x, params["weight"])

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The sum; the pullback adds up dy over the batch for each position."""
        weight, count = params["weight"], x.shape[1]
        self._refuse_longer(count, weight.shape)
        if of_texts(ctx.mask):
            return _looked_up(weight, x, positions_within(ctx.mask))
        first = ctx.position
        rows = weight[first : first + count, :] if isinstance(first, int) else kernels.block(weight, first, count=count)

        def pullback(dy: Array) -> tuple[Array, Tree]:
            xp = namespace(dy)
            others = xp.zeros((weight.shape[0] - count, weight.shape[1]), dtype=dy.dtype, device=device_of(dy))
            return dy, {"weight": xp.concat([sum_of_rows(dy), others], axis=0)}

        return Out(x + rows, pullback)


def _looked_up(weight: Array, x: Array, positions: Any) -> Out:
    """x + P_t with the positions t of each row."""

    def pullback(dy: Array) -> tuple[Array, Tree]:
        xp = namespace(dy)
        rows, flat = xp.reshape(dy, (-1, dy.shape[2])), xp.reshape(positions, (-1,))
        return dy, {"weight": kernels.scatter_add(rows, flat, count=weight.shape[0])}

    return Out(x + kernels.lookup(weight, positions), pullback)


def positions_within(texts: Any) -> Any:
    """The positions within the texts of packed rows, from 0 on: how many earlier ones belong to the same text.

    texts, and the result: integers, shape (batch, positions)
    """
    return earlier(texts[:, :, None] == texts[:, None, :])


def earlier(which: Any) -> Any:
    """How many earlier positions of each are true, shape (batch, positions), of (batch, positions or 1, positions)."""
    xp = namespace(which)
    t = xp.arange(which.shape[2], device=device_of(which))
    return xp.sum(xp.astype(xp.logical_and(which, t[:, None] > t[None, :]), xp.int32), axis=2, dtype=xp.int32)


def angles(x: Array, ctx: Context, size: int, base: float) -> Array:
    """t / base^(2 i / size) for the positions t of x, and i < size / 2.

    Shape (count, size / 2), or (batch, count, size / 2) if rows have several texts.
    """
    xp, device = namespace(x), device_of(x)
    dtype = at_least_float32_dtype(xp, x.dtype)
    counted = positions_within(ctx.mask) if of_texts(ctx.mask) else xp.arange(x.shape[1], device=device) + ctx.position
    t = xp.astype(counted, dtype)
    powers = xp.astype(xp.arange((size + 1) // 2, device=device), dtype) * (-2.0 * math.log(base) / size)
    return t[..., None] * xp.exp(powers)


@dataclass(frozen=True)
class SinusoidalPositions(Layer):
    """y_t = x_t + P_t, with P_(t, 2 i) = sin(t / base^(2 i / features)) and P_(t, 2 i + 1) = cos of the same angle.

    x: (batch, positions, features)

    Parameters
    ----------
    base : float
        Above 0.

    References
    ----------
    .. [1] Vaswani et al. (2017), Attention is all you need. NeurIPS, section 3.5.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.SinusoidalPositions().out_shape((8, 16))
    (8, 16)
    """

    drawn_as = "positions"
    masking = "keep"

    base: float = 10_000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(self.base, "SinusoidalPositions base")

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs."""
        refuse_no_sequence(shape)
        return shape

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The layer in a plan of decoding, with the vectors of all positions."""
        xp = namespace(x)
        zeros = xp.zeros((1, engine.length, x.shape[1]), dtype=x.dtype, device=device_of(x))
        return engine.plan.at_position(x, self.forward({}, zeros, Context()).y[0, ...])

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The sum; the pullback returns dy."""
        xp, size = namespace(x), x.shape[2]
        angle = angles(x, ctx, size, self.base)
        pairs = xp.stack([xp.sin(angle), xp.cos(angle)], axis=-1)
        flat = xp.reshape(pairs, (*angle.shape[:-1], -1))
        rows = flat[..., :size]  # of an odd number of features, the last cosine is left out
        return Out(x + xp.astype(rows, x.dtype, copy=False), lambda dy: (dy, {}))
