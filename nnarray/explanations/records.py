"""What is known of one step of a network: of each layer, each parameter and each array that passes."""

from __future__ import annotations

from typing import Any, NamedTuple

from nnarray.typing import Shape


class Check(NamedTuple):
    """A gradient against finite differences, along one random direction u of its parameter."""

    gradient: float
    """The sum of dL/dp u, by backpropagation."""
    difference: float
    """(L(p + h u) - L(p - h u)) / 2h."""
    relative: float
    """How far they are apart, relative to the larger one."""
    ok: bool
    aside: bool
    """Whether it was done a little to the side, for exactly here the loss has a corner, as that of relu at 0."""


class ParameterGradient(NamedTuple):
    """The gradient of the loss with respect to one parameter."""

    name: str
    """Of the parameter in its layer, such as "weight"."""
    shape: Shape
    norm: float
    largest: float
    """Of the absolute values of its entries."""
    values: tuple[float, ...]
    """The first ones."""
    frozen: bool
    check: Check | None
    """None if no check was asked for."""


class Signal(NamedTuple):
    """An array that passes: its shape, its size, and its first values."""

    shape: Shape
    norm: float
    values: tuple[float, ...]
    """Of the first example."""


class Arithmetic(NamedTuple):
    """One entry of a step with its numbers, in lines such as "y[0, 0] = 2 · 0.5 + (-1) · 0.1 + 0.3 = 1.2"."""

    forward: tuple[str, ...]
    backward: tuple[str, ...]


NO_ARITHMETIC = Arithmetic((), ())


class Step(NamedTuple):
    """One layer, forward and backward."""

    name: str
    """Its path, such as "inception3a.branch1"."""
    layer: str
    """As it is written."""
    formula: str
    depth: int
    """0 for the layers of the network, 1 for those inside of them, ..."""
    input_shape: Any
    """Of several inputs, by name."""
    output_shape: Shape
    """With the batch axis."""
    outputs: Signal | None
    """None for the head of an `Auxiliary`, which is not run at inference."""
    dy: Signal | None
    """dL/dy that comes in; None if none comes, because neither this layer nor one before it has parameters."""
    dx: Signal | None
    """dL/dx that goes out to the layer before; None if nobody asks for it."""
    gradients: tuple[ParameterGradient, ...]
    """One a parameter."""
    arithmetic: Arithmetic
    """One entry of each result, written out; for dense layers, activations, and the layers of sequences."""
