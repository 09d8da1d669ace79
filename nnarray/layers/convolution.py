"""Convolutional layers: the same small window at every position of an image or a signal."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import Any

from nnarray import kernels
from nnarray.backends import namespace
from nnarray.checks import integer
from nnarray.kernels.standard.windows import Window
from nnarray.layers.activations import Activation, Function, activation, kept_activation
from nnarray.layers.base import Context, Layer, Out, Param, settle
from nnarray.layers.initializers import Initializer, kept_initializer
from nnarray.layers.kinds import Spec
from nnarray.layers.sliding import Pair, Sides, drawn_window, kept_pair, kept_sides, pair, placed
from nnarray.typing import Array, Shape, Tree

NOT_CAUSAL = (
    'Its network can continue a sequence with padding="causal" and stride=1; or call the model on whole sequences.'
)


@dataclass(frozen=True)
class Conv2D(Layer):
    """y[n, p, q] = f(b + sum over i, j of x[n, p s + i d, q s + j d] W[i, j]), channels last.

    x: (batch, height, width, channels)  W: (kernel height, kernel width, channels / groups, filters)  b: (filters,)

    Parameters
    ----------
    filters : int
        Channels of the outputs.
    kernel, stride, dilation : int or (int, int)
        Size of the window, the steps between windows, and the steps inside a window; (vertical, horizontal).
    padding : "valid", "same", int, (int, int) or ((top, bottom), (left, right))
        Zeros around the image: none for "valid"; for "same" as many as give ceil(size / stride) outputs; or numbers.
    groups : int
        The number of groups of channels. Each filter reads the channels of one group only.
    activation : str or Activation
        The function f.
    bias : bool
    init, bias_init : str or Initializer
        As for `Dense`.

    Raises
    ------
    ValueError
        If a number is out of range; at `init`, if the channels cannot be divided into the groups, or the window does
        not fit into the image.

    References
    ----------
    .. [1] LeCun, Bottou, Bengio & Haffner (1998), Gradient-based learning applied to document recognition. Proc. IEEE.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.Conv2D(16, 3, padding="same", activation="relu").out_shape((64, 64, 3))
    (64, 64, 16)
    """

    family = "convolution"
    drawn_as = "conv"

    filters: int
    kernel: Pair
    _: KW_ONLY
    stride: Pair = 1
    padding: Sides = "valid"
    dilation: Pair = 1
    groups: int = 1
    activation: str | Activation = "identity"
    bias: bool = True
    init: str | Initializer | None = None
    bias_init: str | Initializer = "zeros"

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.filters, "Conv2D filters", 1, usual=16)
        integer(self.groups, "Conv2D groups", 1, usual=1)
        if self.filters % self.groups:
            raise ValueError(f"Conv2D filters must be a multiple of groups; got {self.filters} and {self.groups}.")
        for each in ("kernel", "stride", "dilation"):
            settle(self, **{each: kept_pair(getattr(self, each), f"Conv2D {each}")})
        settle(self, padding=kept_sides(self.padding, "Conv2D"))
        settle(self, activation=kept_activation(self.activation), bias_init=kept_initializer(self.bias_init))
        settle(self, init=self.init and kept_initializer(self.init))
        _ = self.function

    @cached_property
    def function(self) -> Function:
        """The activation function, looked up once."""
        return activation(self.activation).resolved

    def window(self, shape: Shape) -> Window:
        """The window over images of this shape."""
        return placed("Conv2D", shape, self.kernel, self.stride, self.padding, self.dilation)

    def drawn_numbers(self) -> str:
        """Its window."""
        return drawn_window(self.kernel, self.stride)

    def params(self, shape: Shape) -> dict[str, Param]:
        """The weight W, and the bias b if there is one."""
        size = pair(self.kernel, "Conv2D kernel")
        first = Param((*size, shape[2] // self.groups, self.filters), self.init or self.function.init)
        return {"weight": first} | ({"bias": Param((self.filters,), self.bias_init, decay=False)} if self.bias else {})

    def out_shape(self, shape: Shape) -> Shape:
        """The number of rows and columns of positions, and the number of filters."""
        window = self.window(shape)
        if shape[2] % self.groups:
            raise ValueError(f"{shape[2]} channels cannot be divided into {self.groups} groups.")
        return (*window.output_size(shape[:2]), self.filters)

    def multiply_adds(self, shape: Shape) -> int:
        """One multiply-add for each output and each weight of its filter."""
        return math.prod(self.out_shape(shape)) * math.prod(self.params(shape)["weight"].shape[:-1])

    def lower(self, engine: Any, params: Tree, shape: Shape, function: Function | None = None) -> Any:
        """The layer prepared for inference by an engine, with another function after it if one is given."""
        return engine.convolution(
            params["weight"], params.get("bias"), self.window(shape), self.groups, function or self.function
        )

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The outputs f(z), where z is the convolution, and their pullback."""
        f, weight, window = self.function, params["weight"], self.window(tuple(x.shape[1:]))
        settings: dict[str, Any] = {"function": f, "window": window, "groups": self.groups}
        z, y = kernels.activated_convolution(x, weight, params.get("bias"), **settings)

        def pullback(dy: Array) -> tuple[Array | None, Tree]:
            dx, dw, db = kernels.activated_convolution_pullback(
                dy, x, weight, z, y, **settings, input_gradient=ctx.input_gradient, bias_gradient=self.bias
            )
            return dx, {"weight": dw} if db is None else {"weight": dw, "bias": db}

        return Out(y, pullback)


@dataclass(frozen=True)
class Conv1D(Layer):
    """y[n, p] = f(b + sum over i of x[n, p s + i d] W[i]): `Conv2D` along one axis.

    x: (batch, length, channels)  W: (kernel, channels / groups, filters)  b: (filters,)

    Parameters
    ----------
    filters, kernel, stride, dilation, groups : int
    padding : "valid", "same", "causal", int or (before, after)
        "causal" puts zeros before the signal only, as many as give an output for each position that depends on no later
        one. With stride 1, `model.decode` can continue such a signal.
    activation, bias, init, bias_init
        As for `Conv2D`.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.Conv1D(8, 5, stride=2, padding="same").out_shape((100, 3))
    (50, 8)
    """

    family = "convolution"
    drawn_as = "conv"

    filters: int
    kernel: int
    _: KW_ONLY
    stride: int = 1
    padding: str | int | tuple[int, int] = "valid"
    dilation: int = 1
    groups: int = 1
    activation: str | Activation = "identity"
    bias: bool = True
    init: str | Initializer | None = None
    bias_init: str | Initializer = "zeros"

    def __post_init__(self) -> None:
        super().__post_init__()
        flat = self.flat
        settle(self, activation=flat.activation, init=flat.init, bias_init=flat.bias_init)

    @property
    def before(self) -> int:
        """The number of earlier positions that an output reads, with causal padding."""
        return integer(self.dilation, "Conv1D dilation", 1, usual=1) * (
            integer(self.kernel, "Conv1D kernel", 1, usual=3) - 1
        )

    @cached_property
    def flat(self) -> Conv2D:
        """The same layer along the width of images that are one pixel high."""
        sides = (self.before, 0) if self.padding == "causal" else self.padding
        if not isinstance(sides, str):
            sides = ((0, 0), (sides, sides) if isinstance(sides, int) else sides)
        return Conv2D(
            self.filters,
            (1, self.kernel),
            stride=(1, self.stride),
            padding=sides,
            dilation=(1, self.dilation),
            groups=self.groups,
            activation=self.activation,
            bias=self.bias,
            init=self.init,
            bias_init=self.bias_init,
        )

    def drawn_numbers(self) -> str:
        """Its window."""
        return drawn_window((self.kernel,), self.stride)

    def params(self, shape: Shape) -> dict[str, Param]:
        """The weight W, and the bias b if there is one."""
        params = self.flat.params((1, *shape))
        return params | {"weight": params["weight"]._replace(shape=params["weight"].shape[1:])}

    def out_shape(self, shape: Shape) -> Shape:
        """The number of positions and of filters."""
        if len(shape) != 2:
            more = {1: " For one channel, pass X[..., None].", 3: " Pass the shape of one example: init(X.shape[1:])."}
            raise ValueError(f"expects examples of shape (length, channels); got {shape}.{more.get(len(shape), '')}")
        return self.flat.out_shape((1, *shape))[1:]

    def initial_cache(self, shape: Shape, length: int) -> dict[str, Any]:
        """The last inputs, which the next outputs read; zeros before the first one."""
        if self.padding != "causal" or self.stride != 1:
            raise ValueError(f"its outputs read later positions. {NOT_CAUSAL}")
        return {"inputs": Spec((self.before, shape[1]))} if self.before else {}

    def multiply_adds(self, shape: Shape) -> int:
        """One multiply-add for each output and each weight of its filter."""
        return self.flat.multiply_adds((1, *shape))

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The outputs of `Conv2D` on images that are one pixel high, and their pullback."""
        xp, layer, cache = namespace(x), self.flat, {}
        if ctx.cache:
            x = xp.concat([ctx.cache["inputs"], x], axis=1)
            layer, cache = replace(layer, padding="valid"), {"inputs": x[:, -self.before :, :]}
        out = layer.forward({**params, "weight": params["weight"][None, ...]}, x[:, None, ...], ctx)

        def pullback(dy: Array) -> tuple[Array | None, Tree]:
            dx, gradients = out.pullback(dy[:, None, ...])
            return None if dx is None else dx[:, 0, ...], {**gradients, "weight": gradients["weight"][0, ...]}

        return Out(xp.reshape(out.y, (out.y.shape[0], *out.y.shape[2:])), pullback, cache=cache)
