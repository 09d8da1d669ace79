"""The dense (fully connected) layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nnarray import kernels
from nnarray.checks import integer
from nnarray.layers.activations import Activation, Function, activation, kept_activation
from nnarray.layers.base import Context, Layer, Out, Param, settle
from nnarray.layers.initializers import Initializer, kept_initializer
from nnarray.typing import Array, Shape, Tree


@dataclass(frozen=True)
class Dense(Layer):
    """y = f(x W + b).    x: (batch, ..., fan_in)  W: (fan_in, units)  b: (units,)  y: (batch, ..., units).

    Parameters
    ----------
    units : int
        Number of features of the outputs.
    activation : str, callable or Activation
        The function f: a name, or a function of an array in the array API standard.
    bias : bool
        Whether there is a bias b.
    init : str or Initializer, optional
        The initial values of W. If None, they follow from the activation: He's for the ReLU family, LeCun's for selu,
        Glorot's for the others.
    bias_init : str or Initializer
        The initial values of b.

    Raises
    ------
    ValueError
        If `units` is below 1, or a name is unknown.

    Examples
    --------
    >>> import nnarray as nn
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), seed=0)
    >>> {name: p.shape for name, p in model.params.items()}
    {'0.weight': (2, 5), '0.bias': (5,), '1.weight': (5, 2), '1.bias': (2,)}
    """

    family = "dense"
    masking = "keep"

    units: int
    activation: str | Callable[[Array], Array] | Activation = "identity"
    bias: bool = True
    init: str | Initializer | None = None
    bias_init: str | Initializer = "zeros"

    def __post_init__(self) -> None:
        kept_activation(self.activation)  # first: a second number is that of the inputs, whatever follows it
        super().__post_init__()
        integer(self.units, "Dense units", 1, usual=16)
        settle(self, activation=kept_activation(self.activation), bias_init=kept_initializer(self.bias_init))
        settle(self, init=self.init and kept_initializer(self.init))
        _ = self.function

    @cached_property
    def function(self) -> Function:
        """The activation function, looked up once."""
        return activation(self.activation).resolved

    def params(self, shape: Shape) -> dict[str, Param]:
        """The weight W, and the bias b if there is one."""
        wanted = {"weight": Param((shape[-1], self.units), self.init or self.function.init)}
        if self.bias:
            wanted["bias"] = Param((self.units,), self.bias_init, decay=False)
        return wanted

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs with `units` features."""
        if not shape or shape[-1] == 0:
            remedy = "" if shape else " Add an axis for the one feature of the examples: X[:, None]."
            raise ValueError(f"expects at least 1 feature on the last axis; got examples of shape {shape}.{remedy}")
        return (*shape[:-1], self.units)

    def multiply_adds(self, shape: Shape) -> int:
        """One multiply-add for each input and each unit."""
        return math.prod(shape) * self.units

    def lower(self, engine: Any, params: Tree, shape: Shape, function: Function | None = None) -> Any:
        """The layer prepared for inference by an engine, with another function after it if one is given."""
        return engine.dense(params["weight"], params.get("bias"), function or self.function)

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The layer in a plan of decoding."""
        return engine.plan.applied(engine.plan.product(x, params["weight"], params.get("bias")), self.function)

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The outputs f(x W + b), and their pullback."""
        f, weight = self.function, params["weight"]
        z, y = kernels.activated_affine(x, weight, params.get("bias"), function=f)

        def pullback(dy: Array) -> tuple[Array | None, Tree]:
            dx, dw, db = kernels.activated_affine_pullback(
                dy, x, weight, z, y, function=f, input_gradient=ctx.input_gradient, bias_gradient=self.bias
            )
            return dx, {"weight": dw} if db is None else {"weight": dw, "bias": db}

        return Out(y, pullback)
