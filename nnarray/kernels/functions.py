"""The table of activation functions, from which layers and engines are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from nnarray.kernels.expressions import Program, recorded
from nnarray.kernels.registry import TABLE, Kernel, kernel
from nnarray.typing import Array, DType


class Function(NamedTuple):
    """An activation function: y = value(x), and dx = pullback(dy, x, y)."""

    value: Callable[..., Array]
    pullback: Callable[..., Array]
    from_output: bool = False
    """Whether the pullback reads y only, so that x need not be kept."""
    init: str = "glorot"
    """The default initializer of the weights before it."""
    elementwise: bool = False
    """Whether both can be recorded as elementwise expressions, from which engines make loops."""
    prepared: Callable[..., Array] | None = None
    """The value in fewer operations, for training steps, which do not warn of intermediate overflow."""

    floor: float | None = None
    """The floor, if the function is max(x, floor), which a product can apply directly."""

    def pullback_at(self, x: Array, y: Array) -> Callable[[Array], Array]:
        """dy -> dx, which keeps x and y only if it reads them."""
        if self.value is TABLE["identity"]:
            return lambda dy: dy
        kept = None if self.from_output else x
        return lambda dy: self.pullback(dy, kept, y)

    def value_program(self, dtype: DType) -> Program:
        """The value of an entry, by its definition."""
        return recorded(self.value, 1, dtype)

    def forward_program(self, dtype: DType) -> Program:
        """The value of an entry, in a training step."""
        return recorded(self.prepared or self.value, 1, dtype)

    def backward_program(self, dtype: DType) -> Program:
        """dx of an entry, from dy, x and y."""
        return recorded(self.pullback, 3, dtype)


FUNCTIONS: dict[str, Function] = {}
"""All by name, in the order in which they are defined."""


def pullback_of(
    value: Kernel[..., Any], *, reads: str = "x", init: str = "glorot", elementwise: bool = True, **settings: Any
) -> Callable[[Callable[..., Any]], Kernel[..., Any]]:
    """A decorator that makes a definition the pullback of an activation, and adds both to the table.

    Parameters
    ----------
    value : Kernel
        The activation, f(x).
    reads : {"x", "y"}
        "y" if the pullback reads the outputs only.
    init, elementwise, prepared, floor
        As in `Function`.
    """

    def complete(definition: Callable[..., Any]) -> Kernel[..., Any]:
        made = kernel(definition)
        FUNCTIONS[value.definition.__name__] = Function(value, made, reads == "y", init, elementwise, **settings)
        return made

    return complete
