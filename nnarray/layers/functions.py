"""The layer that applies a function of your own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nnarray.backends import host_backend
from nnarray.layers.base import Context, Layer, Out
from nnarray.layers.recorded import RecordedPullback
from nnarray.names import shown
from nnarray.recording import Traced, apart, vjp
from nnarray.recording.recorded import Recorded
from nnarray.typing import Array, Shape, Tree


@dataclass(frozen=True)
class Lambda(Layer):
    """y = f(x), with a function of your own, whose pullback follows from a record of what it computes.

    Parameters
    ----------
    function : callable
        f: array, shape (batch, ...) -> array, shape (batch, ...). It is written in the array API standard, and takes
        its functions from x, xp = nn.namespace(x). To find the shape of its outputs, it is called with two examples.

    Raises
    ------
    TypeError
        If it is not a function.
    ValueError
        At `init`, if it does not return an array with a row for each example.

    Notes
    -----
    A file has no code. For a network that is saved, define f with a name, and decorate it with `nn.register`.

    Examples
    --------
    >>> import nnarray as nn
    >>> squares = nn.Lambda(lambda x: nn.namespace(x).concat([x, x * x], axis=1))
    >>> model = nn.Network(squares, nn.Dense(1)).init((3,), seed=0)
    >>> {name: p.shape for name, p in model.params.items()}
    {'1.weight': (6, 1), '1.bias': (1,)}
    """

    function: Callable[[Array], Array]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function):
            raise TypeError(f"Lambda needs a function of an array; got {shown(self.function)}. Write nn.Lambda(f).")

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of f of an example of this shape."""
        host = host_backend()
        y: Any = self.function(host.xp.full((2, *shape), 0.5, dtype=host.xp.float64, device=host.device))
        if not hasattr(y, "shape") or tuple(y.shape[:1]) != (2,):
            raise ValueError(
                f"the function of Lambda must return an array with a row for each example; for two examples of shape "
                f"{shape} it returned {shown(y)}. Keep the first axis."
            )
        return tuple(y.shape[1:])

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The function of `x`."""
        if not ctx.keep or isinstance(x, Traced):
            return Out(self.function(apart(x)), RecordedPullback(lambda dy: (vjp(self.function, x)[1](dy)[0], {})))
        recorded = Recorded(self.function, (x,), (0,), has_aux=False)
        return Out(
            recorded.value(recorded.y),
            RecordedPullback(lambda dy: (recorded.gradients(dy, keep=not ctx.once)[0], {})),
        )
