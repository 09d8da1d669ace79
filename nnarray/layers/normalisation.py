"""Layers that normalise signals: batch, layer and local response normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

from nnarray import kernels
from nnarray.backends import namespace
from nnarray.checks import above_zero, in_range, integer, real
from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.layers.base import Context, Layer, Out, Param, own
from nnarray.typing import Array, Shape, Tree


def _scale_and_shift(channels: int) -> dict[str, Param]:
    return {"weight": Param((channels,), "ones", decay=False), "bias": Param((channels,), "zeros", decay=False)}


@dataclass(frozen=True)
class BatchNorm(Layer):
    """y = w (x - mean) / sqrt(variance + epsilon) + b, for each channel separately.

    In training, mean and variance are those of the batch, over all axes but the last. The state is their running mean:
    state <- (1 - momentum) state + momentum (batch's), with the unbiased variance. At inference, the state is used.

    x: (batch, ..., channels)  w, b, mean, variance: (channels,)

    Parameters
    ----------
    momentum : float
        In (0, 1].
    epsilon : float
        Above 0.

    Raises
    ------
    ValueError
        If a number is out of range, or in training, if a channel has a single entry, whose variance is not defined.

    References
    ----------
    .. [1] Ioffe & Szegedy (2015), Batch normalization. ICML.

    Examples
    --------
    >>> import nnarray as nn
    >>> model = nn.Network(nn.Dense(4), nn.BatchNorm()).init((3,))
    >>> model.params["1.weight"].shape
    (4,)
    """

    family = "normalisation"
    drawn_as = "bn"
    rescales = True

    _: KW_ONLY
    momentum: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.momentum, "BatchNorm momentum", 0, 1, ends="(]")
        above_zero(self.epsilon, "BatchNorm epsilon")

    def params(self, shape: Shape) -> dict[str, Param]:
        """The scale w and the shift b of each channel."""
        return _scale_and_shift(shape[-1])

    def initial_state(self, shape: Shape) -> dict[str, Param]:
        """The running mean and variance of each channel."""
        return {"mean": Param(shape[-1:], "zeros"), "variance": Param(shape[-1:], "ones")}

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs."""
        if not shape:
            raise ValueError("expects examples with at least one axis, the channels; got examples of shape ().")
        return shape

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The normalised inputs, their pullback, and in training the new running statistics."""
        return self._train(params, x, ctx) if ctx.training else self._infer(params, x, ctx)

    def scale_and_shift(self, params: Tree, state: Tree) -> tuple[Array, Array]:
        """The factor and the summand of each channel at inference."""
        scale: Array = params["weight"] / namespace(params["weight"]).sqrt(state["variance"] + self.epsilon)
        return scale, params["bias"] - state["mean"] * scale

    def _infer(self, params: Tree, x: Array, ctx: Context) -> Out:
        xp, w, mean, variance = namespace(x), params["weight"], ctx.state["mean"], ctx.state["variance"]

        def pullback(dy: Array) -> tuple[Array, Tree]:
            inverse = 1.0 / xp.sqrt(variance + self.epsilon)
            return dy * (w * inverse), _parameter_gradients(dy, (x - mean) * inverse)

        return Out(kernels.batch_norm(x, w, params["bias"], mean, variance, epsilon=self.epsilon), pullback)

    def _train(self, params: Tree, x: Array, ctx: Context) -> Out:
        w, axes = params["weight"], tuple(range(x.ndim - 1))
        self.refuse_single(x)
        z, inverse, mean, variance = kernels.normalise(x, axes=axes, epsilon=self.epsilon)

        def pullback(dy: Array) -> tuple[Array, Tree]:
            dx, dw, db = kernels.batch_norm_pullback(dy, z, w, inverse)
            return dx, {"weight": dw, "bias": db}

        return Out(kernels.scale_and_shift(z, w, params["bias"]), pullback, self.followed(x, ctx, mean, variance))

    def refuse_single(self, x: Array) -> None:
        """Raise where a channel has one entry only."""
        if (count := math.prod(x.shape[:-1])) < 2:
            raise ValueError(
                f"BatchNorm cannot train on {count} entry per channel (a batch of shape {tuple(x.shape)}): it has no "
                f"variance. Train on batches of at least two examples."
            )

    def followed(self, x: Array, ctx: Context, mean: Array, variance: Array) -> Tree:
        """The running statistics after a batch with this mean and this variance."""
        count, follow = math.prod(x.shape[:-1]), partial(kernels.moving_average, momentum=self.momentum)
        return {
            "mean": follow(ctx.state["mean"], mean),
            "variance": follow(ctx.state["variance"], variance, factor=count / (count - 1)),
        }

    def with_following(self, following: Sequence[Layer]) -> tuple[Layer, int]:
        """The layer with those of the following ones that training computes in the same pass, and their number."""
        function = getattr(following[0], "resolved", None) if following else None
        if function is not FUNCTIONS["relu"] or own(following[0], "family") != "activation":
            return self, 0
        pool = next((each for each in following[1:2] if own(each, "takes_largest")), None)
        return _NormalisedRelu(self, pool), 1 if pool is None else 2


@dataclass(frozen=True)
class _NormalisedRelu(Layer):
    """Batch normalisation, ReLU, and pooling if there is some, in training."""

    family = "normalisation"

    norm: BatchNorm
    pool: Any

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The outputs of the last layer, the pullback of all, and the new running statistics."""
        self.norm.refuse_single(x)
        window = None if self.pool is None else self.pool.window(tuple(x.shape[1:]))
        y, mean, variance, back = kernels.normalised_relu(
            x, params["weight"], params["bias"], epsilon=self.norm.epsilon, window=window
        )

        def pullback(dy: Array) -> tuple[Array, Tree]:
            dx, dw, db = back(dy)
            return dx, {"weight": dw, "bias": db}

        return Out(y, pullback, self.norm.followed(x, ctx, mean, variance))


@dataclass(frozen=True)
class LayerNorm(Layer):
    """y = w (x - mean) / sqrt(variance + epsilon) + b, over the last axis of each example.

    x: (batch, ..., channels)  w, b: (channels,)

    Parameters
    ----------
    epsilon : float
        Above 0.

    References
    ----------
    .. [1] Ba, Kiros & Hinton (2016), Layer normalization. arXiv:1607.06450.

    Examples
    --------
    >>> import nnarray as nn
    >>> net = nn.Network(nn.Dense(8), nn.LayerNorm(), nn.Activation("gelu"))
    """

    family = "normalisation"
    drawn_as = "layer norm"
    rescales = True
    masking = "keep"

    _: KW_ONLY
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(self.epsilon, "LayerNorm epsilon")

    def params(self, shape: Shape) -> dict[str, Param]:
        """The scale w and the shift b of each channel."""
        return _scale_and_shift(shape[-1])

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The layer in a plan of decoding."""
        return engine.plan.normalised(x, params["weight"], params["bias"], self.epsilon, centred=True)

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The normalised inputs, and their pullback."""
        w = params["weight"]
        y, mean, inverse = kernels.layer_norm(x, w, params["bias"], epsilon=self.epsilon)

        def pullback(dy: Array) -> tuple[Array, Tree]:
            dx, dw, db = kernels.layer_norm_pullback(dy, x, w, mean, inverse)
            return dx, {"weight": dw, "bias": db}

        return Out(y, pullback)


def _parameter_gradients(dy: Array, z: Array) -> dict[str, Array]:
    """The gradients of scale and shift: sums over all axes but the last."""
    xp, dtype, axes = namespace(dy), dy.dtype, tuple(range(dy.ndim - 1))
    dy = at_least_float32(dy)  # a sum over all examples
    sums = {"weight": xp.sum(dy * at_least_float32(z), axis=axes), "bias": xp.sum(dy, axis=axes)}
    return {name: xp.astype(each, dtype, copy=False) for name, each in sums.items()}


@dataclass(frozen=True)
class LocalResponseNorm(Layer):
    """y_c = x_c / (k + alpha / size sum of x_j^2 over the `size` channels j around c)^beta.

    x: (batch, ..., channels)

    Parameters
    ----------
    size : int
        The number of neighbouring channels, of which size // 2 are before c.
    alpha, beta, k : float

    References
    ----------
    .. [1] Krizhevsky, Sutskever & Hinton (2012), ImageNet classification with deep convolutional networks. NeurIPS.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.LocalResponseNorm(5).out_shape((56, 56, 64))
    (56, 56, 64)
    """

    family = "normalisation"
    drawn_as = "response norm"
    masking = "keep"

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.size, "LocalResponseNorm size", 1, usual=5)
        for name, usual in (("alpha", 1e-4), ("beta", 0.75)):
            real(getattr(self, name), f"LocalResponseNorm {name}", least=0.0, usual=usual)
        above_zero(self.k, "LocalResponseNorm k")

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The normalised inputs, and their pullback."""
        options = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}

        def pullback(dy: Array) -> tuple[Array, Tree]:
            return kernels.local_response_pullback(dy, x, **options), {}  # pyright: ignore[reportArgumentType]

        return Out(kernels.local_response(x, **options), pullback)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class RMSNorm(Layer):
    """y = w x / sqrt(mean(x^2) + epsilon), over the last axis of each example.

    x: (batch, ..., channels)  w: (channels,)

    Parameters
    ----------
    epsilon : float
        Above 0.

    References
    ----------
    .. [1] Zhang & Sennrich (2019), Root mean square layer normalization. NeurIPS.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.Network(nn.Dense(8), nn.RMSNorm()).init((3,)).params["1.weight"].shape
    (8,)
    """

    family = "normalisation"
    drawn_as = "rms norm"
    rescales = True
    masking = "keep"

    _: KW_ONLY
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        above_zero(self.epsilon, "RMSNorm epsilon")

    def params(self, shape: Shape) -> dict[str, Param]:
        """The scale w of each channel."""
        return {"weight": Param(shape[-1:], "ones", decay=False)}

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs."""
        _refuse_no_channels(shape)
        return shape

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The layer in a plan of decoding."""
        return engine.plan.normalised(x, params["weight"], None, self.epsilon, centred=False)

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The normalised inputs, and their pullback."""
        w = params["weight"]
        z, inverse = kernels.rms_normalise(x, epsilon=self.epsilon)

        def pullback(dy: Array) -> tuple[Array, Tree]:
            dx = kernels.rms_normalise_pullback(dy * w, z, inverse)
            return dx, {"weight": _parameter_gradients(dy, z)["weight"]}

        return Out(z * w, pullback)


@dataclass(frozen=True)
class GroupNorm(Layer):
    """y = w (x - mean) / sqrt(variance + epsilon) + b, with mean and variance of a group of channels of an example.

    Each group has channels / groups neighbouring channels, at all positions.

    x: (batch, ..., channels)  w, b: (channels,)

    Parameters
    ----------
    groups : int
        It divides the channels. With 1, all channels are normalised together.
    epsilon : float
        Above 0.

    Raises
    ------
    ValueError
        If `groups` is below 1 or, at `init`, does not divide the channels.

    References
    ----------
    .. [1] Wu & He (2018), Group normalization. ECCV.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.GroupNorm(4).out_shape((7, 7, 16))
    (7, 7, 16)
    """

    family = "normalisation"
    drawn_as = "group norm"
    rescales = True

    groups: int
    _: KW_ONLY
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.groups, "GroupNorm groups", 1, usual=8)
        above_zero(self.epsilon, "GroupNorm epsilon")

    def params(self, shape: Shape) -> dict[str, Param]:
        """The scale w and the shift b of each channel."""
        return _scale_and_shift(shape[-1])

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs."""
        _refuse_no_channels(shape)
        if shape[-1] % self.groups:
            raise ValueError(f"the number of groups, {self.groups}, must divide the channels; got {shape[-1]} of them.")
        return shape

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The normalised inputs, and their pullback."""
        xp, w = namespace(x), params["weight"]
        grouped = (x.shape[0], math.prod(x.shape[1:-1]), self.groups, x.shape[-1] // self.groups)
        z, inverse, _, _ = kernels.normalise(xp.reshape(x, grouped), axes=(1, 3), epsilon=self.epsilon)
        rows = xp.reshape(z, x.shape)

        def pullback(dy: Array) -> tuple[Array, Tree]:
            dz = kernels.normalise_pullback(xp.reshape(dy * w, grouped), z, inverse, axes=(1, 3))
            return xp.reshape(dz, x.shape), _parameter_gradients(dy, rows)

        return Out(kernels.scale_and_shift(rows, w, params["bias"]), pullback)


def _refuse_no_channels(shape: Shape) -> None:
    if not shape or shape[-1] == 0:
        raise ValueError(f"expects at least 1 channel on the last axis; got examples of shape {shape}.")
