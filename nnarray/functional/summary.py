"""The layers of a network in a table: shapes, parameters, multiply-adds and memory."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, NamedTuple

from nnarray.functional.layout import Layout
from nnarray.layers.base import Layer, described
from nnarray.names import memory
from nnarray.typing import Shape

if TYPE_CHECKING:
    from rich.table import Table


class Line(NamedTuple):
    """One layer."""

    name: str
    """Its path, such as "inception3a.branch1"."""
    layer: Layer
    depth: int
    """0 for the layers of the network, 1 for the layers inside them, ..."""
    shown_inside: bool
    """Whether lines of the layers inside it follow."""
    input_shape: Shape
    output_shape: Shape
    """The output shape, without the batch axis."""
    parameters: int
    multiply_adds: int
    """The multiply-adds for one example."""
    bytes: int
    """The memory of the outputs for one example, in bytes."""


@dataclass(frozen=True)
class Summary:
    """A table of the layers of a network; print it, or read its `lines`.

    Attributes
    ----------
    lines : tuple of Line
        One line per layer. A composite comes before its layers, and its numbers are their sums.
    parameters, frozen : int
        The number of all parameters, and of those excluded from training.
    multiply_adds : int
        The number in a forward propagation of one example at inference.
    parameter_bytes : int
    activation_bytes : int
        The memory of the outputs of all layers for one example: about what a training step keeps.
    loss : str
        The loss that the model was trained with, and that it keeps; "" if there is none.
    """

    lines: tuple[Line, ...]
    parameters: int
    frozen: int
    multiply_adds: int
    parameter_bytes: int
    activation_bytes: int
    loss: str = ""

    def __str__(self) -> str:
        from rich.console import Console

        text = StringIO()
        console = Console(
            file=text,
            width=500,
            force_terminal=False,  # FORCE_COLOR is for terminals, but this may be shown anywhere
            force_jupyter=False,
            highlight=False,
            markup=False,
            emoji=False,
        )
        console.print(self._table())
        rows = (line.rstrip() for line in text.getvalue().splitlines())
        return "\n".join([*rows, "", *self._totals()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _table(self) -> Table:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for title in ("layer", "", "output shape", "parameters", "multiply-adds", "memory"):
            table.add_column(title, justify="left" if title in ("layer", "") else "right", no_wrap=True)
        for line in self.lines:
            table.add_row(
                "  " * line.depth + line.name.rpartition(".")[2],
                written(line),
                " x ".join(map(str, ("batch", *line.output_shape))),
                f"{line.parameters:,}" if line.parameters else "",
                f"{line.multiply_adds:,}" if line.multiply_adds else "",
                memory(line.bytes),
            )
        return table

    def _totals(self) -> list[str]:
        frozen = f", {self.frozen:,} of them frozen" if self.frozen else ""
        return [
            f"{self.parameters:,} parameters{frozen}, {memory(self.parameter_bytes)}",
            f"{self.multiply_adds:,} multiply-adds and {memory(self.activation_bytes)} of outputs for one example",
            *([f"trained with the loss {self.loss}"] if self.loss else []),
        ]


def summary(network: Layer, shape: Shape, *, itemsize: int, frozen: frozenset[str], depth: int | None) -> Summary:
    """The table of a network for inputs of this shape; layers deeper than `depth` are summed up."""
    every = _lines(network, shape, "", 0, itemsize)
    leaves = [line for line in every if not line.layer.named_layers]
    layout = Layout.of(network.params(shape))
    heads = sum(line.multiply_adds for line in every if line.layer.family == "auxiliary")
    return Summary(
        lines=tuple(every if depth is None else _down_to(depth, every)),
        parameters=layout.size,
        frozen=sum(slot.stop - slot.start for slot in layout.slots if slot.name in frozen),
        multiply_adds=network.multiply_adds(shape) - heads,
        parameter_bytes=layout.size * itemsize,
        activation_bytes=sum(line.bytes for line in leaves),
    )


def _lines(layer: Layer, shape: Shape, path: str, depth: int, itemsize: int) -> list[Line]:
    """The lines of the layers inside `layer`, or its own line if there are none."""
    inside = layer.shapes(shape) if layer.named_layers else [("", layer, shape)]
    lines: list[Line] = []
    for name, each, its_shape in inside:
        out = each.out_shape(its_shape)
        size = Layout.of(each.params(its_shape)).size
        full = f"{path}.{name}" if path else name
        opened = bool(each.named_layers)
        work = each.multiply_adds(its_shape)
        lines.append(Line(full, each, depth, opened, its_shape, out, size, work, math.prod(out) * itemsize))
        if opened:
            lines += _lines(each, its_shape, full, depth + 1, itemsize)
    return lines


def _down_to(depth: int, lines: list[Line]) -> list[Line]:
    """The lines above that depth; the last level shows no layers inside."""
    return [
        line._replace(shown_inside=line.shown_inside and line.depth + 1 < depth) for line in lines if line.depth < depth
    ]


def written(line: Line) -> str:
    """The layer as code, without its name and without the layers inside it."""
    if line.layer.named_layers:
        return type(line.layer).__name__
    return described(replace(line.layer, name=None))
