"""The layer that applies an activation function, and the names of the functions, which are in `FUNCTIONS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from inspect import signature
from types import FunctionType
from typing import Any

from nnarray.checks import real
from nnarray.kernels.functions import FUNCTIONS, Function
from nnarray.layers.base import Context, Layer, Out, settle
from nnarray.layers.recorded import RecordedPullback
from nnarray.names import also, canonical, shown, spelled
from nnarray.recording import apart, custom_gradient, vjp
from nnarray.typing import Array, Tree

ALSO = also(
    identity="linear none",
    logistic="sigmoid expit",
    tanh="hyperbolic_tangent",
    gaussian="gauss",
    relu="rectifier",
    leaky_relu="lrelu",
    silu="swish",
    gelu_tanh="gelu_new gelu_approximate gelu_pytorch_tanh",
    sin="sine",
    absent="relu6 prelu rrelu crelu relu2 squared_relu celu glu swiglu geglu reglu hard_swish hard_silu quick_gelu "
    "log_sigmoid exponential exp cos softmin sparsemax soft_shrink hard_shrink tanh_shrink threshold step heaviside "
    "maxout squareplus snake atan arctan sinh asinh soft_exponential",
)


@dataclass(frozen=True)
class Activation(Layer):
    """y = f(x), elementwise (softmax and log_softmax: along the last axis).

    Parameters
    ----------
    function : str or callable
        A name, where other usual names such as "sigmoid" work too, or your own f: array -> array of the same shape,
        written in the array API standard.
    derivative : callable, optional
        The derivative f' of your own elementwise f: array -> array of the same shape. If None, the pullback follows
        from a record of f, which is computed once more for it.
    options : mapping of str to float
        `slope` for leaky_relu, `alpha` for elu.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If an option is unknown.

    Examples
    --------
    >>> import nnarray as nn
    >>> layer = nn.Activation("leaky_relu", options={"slope": 0.2})
    >>> square = nn.Activation(lambda x: x * x)
    >>> faster = nn.Activation(lambda x: x * x, lambda x: 2.0 * x)
    """

    family = "activation"
    masking = "keep"

    function: str | Callable[[Array], Array]
    derivative: Callable[[Array], Array] | None = None
    options: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, function=kept_activation(self.function))
        if not isinstance(self.options, Mapping):
            raise TypeError(
                f"Activation options must be a mapping, such as {{'slope': 0.2}}; got {shown(self.options)}."
            )
        _ = self.resolved  # an unknown name raises here, where it was written
        if self.derivative is not None and not callable(self.derivative):
            raise TypeError(
                f"Activation derivative must be a function of an array, or None; got {shown(self.derivative)}."
            )
        row = FUNCTIONS.get(self.function) if isinstance(self.function, str) else None
        allowed = set(signature(row.value).parameters) - {"x"} if row else set[str]()
        if unknown := set(self.options) - allowed:
            raise TypeError(f"activation {self.function!r} has no option {unknown}; it has {allowed or 'none'}.")
        checked = {
            name: real(x, f"option {name!r} of {self.function!r}", usual=0.1) for name, x in self.options.items()
        }
        settle(self, options=checked)

    @cached_property
    def resolved(self) -> Function:
        """The function and its pullback."""
        if isinstance(self.function, str):
            function = FUNCTIONS[self.function]
            if not self.options:
                return function
            return function._replace(
                value=partial(function.value, **self.options), pullback=partial(function.pullback, **self.options)
            )
        function, derivative = self.function, self.derivative
        if derivative is None:
            return Function(lambda x: function(apart(x)), lambda dy, x, _y: vjp(function, x)[1](dy)[0])
        both = custom_gradient(lambda x: (function(apart(x)), lambda dy: dy * derivative(apart(x))))
        return Function(both, lambda dy, x, _y: dy * derivative(apart(x)))

    @property
    def is_recorded(self) -> bool:
        """Whether the pullback follows from a record of the function."""
        return self.derivative is None and not isinstance(self.function, str)

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The function in a plan of decoding."""
        return engine.plan.applied(x, self.resolved)

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The function applied to each entry of `x`; `y` has the shape of `x`."""
        y = self.resolved.value(x)
        function_pullback = self.resolved.pullback_at(x, y)

        def pullback(dy: Array) -> tuple[Array, Tree]:
            return function_pullback(dy), {}

        return Out(y, RecordedPullback(pullback) if self.is_recorded else pullback)


def kept_activation(function: Any) -> Any:
    """An activation in the form that settings store: the name as in the table; None is "identity"."""
    if function is None:
        return "identity"
    if isinstance(function, type) or not (isinstance(function, str | Activation) or callable(function)):
        write = f" Write nn.Dense({function}, ...)." if isinstance(function, int) and function > 0 else ""
        raise TypeError(
            f"an activation must be a name, such as 'tanh', or an nn.Activation; got {shown(function)}. A "
            f"layer takes only the size of its outputs, not that of its inputs.{write}"
        )
    return canonical(function, FUNCTIONS, "activation", ALSO) if isinstance(function, str) else function


def named_function(function: Any) -> str | None:
    """The name of the activation that a function of another library is by its own name, such as tanh; None if none.

    A function written in Python may be anything, whatever its name.
    """
    name = getattr(function, "__name__", None)
    return spelled(name, FUNCTIONS, ALSO) if callable(function) and not isinstance(function, FunctionType) else None


def bare(function: Any) -> Any:
    """The name or the function of an activation, which may be given as a layer."""
    return function.function if isinstance(function, Activation) else function


def activation(function: Any) -> Activation:
    """The activation of that name, or the one given."""
    return function if isinstance(function, Activation) else Activation(function)
