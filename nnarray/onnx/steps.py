"""The steps of a prepared graph: operators whose inputs and outputs are slots, and what is known of each value."""

from __future__ import annotations

from typing import Any, NamedTuple

from nnarray.onnx.graph import Node
from nnarray.onnx.operators.table import Operator

FIXED, HOST, DEVICE = 0, 1, 2
"""Where a value is: known from shapes and constants; on the host, but another one in each call; on the device."""


class Known(NamedTuple):
    """What is known of a value before anything runs."""

    level: int
    follows: bool = True
    """Whether its shape follows from the shapes of the inputs."""


class Body(NamedTuple):
    """A graph inside a node."""

    plan: Any
    outer: tuple[int, ...]
    """The slots around it whose values it reads."""


class Step(NamedTuple):
    """One operator with the slots of its inputs and outputs."""

    node: Node
    operator: Operator
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    settings: dict[str, Any]
    bodies: dict[str, Body]
    level: int
    frees: tuple[int, ...] = ()
    is_direct: bool = False
    """Whether its inputs are where it computes."""

    @property
    def read(self) -> set[int]:
        """The slots that it reads, also inside of its graphs."""
        return {*self.inputs, *(slot for body in self.bodies.values() for slot in body.outer)} - {-1}
