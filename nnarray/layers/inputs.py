"""First layers of networks with several inputs: `Inputs`, with a layer for each, and `Masked`, with a mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from nnarray.layers.base import Context, Layer, Out, settle
from nnarray.layers.containers import Branches, Row
from nnarray.layers.kinds import BOOLEAN, REAL, Takes
from nnarray.names import shown
from nnarray.typing import Array, Shape, Tree


@dataclass(frozen=True, init=False)
class Inputs(Branches):
    """y = (f_a(x_a), f_b(x_b), ...): each named input goes through its own layer.

    It is the first layer of a network whose X is a mapping of arrays, X = {"a": x_a, "b": x_b}, and whose shape is a
    mapping of shapes. The outputs are concatenated along the last axis, added or multiplied.

    Parameters
    ----------
    layers : mapping of str to Layer
        A layer for each input, by name. Several layers for an input are a `Network`.
    join : {"concat", "add", "multiply"}
        Concatenate the features, add, or multiply entry by entry.
    name : str, optional
    recompute : bool
        As for `Network`.

    Raises
    ------
    TypeError, ValueError
        If `layers` is not a mapping, `join` is neither, or, at `init`, the shapes of the outputs do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> import nnarray as nn
    >>> X = {"words": np.asarray([[3, 1, 0], [2, 4, 4]]), "ages": np.asarray([[31.0], [45.0]])}
    >>> words = nn.Network(nn.Embedding(5, 8, padding_index=0), nn.GlobalAvgPool())
    >>> net = nn.Network(nn.Inputs({"words": words, "ages": nn.Dense(4, "relu")}), nn.Dense(2))
    >>> net.init({"words": (3,), "ages": (1,)}, seed=0)(X).shape
    (2, 2)
    """

    def __init__(
        self, layers: Mapping[str, Layer], *, join: str = "concat", name: str | None = None, recompute: bool = False
    ) -> None:
        if not isinstance(layers, Mapping):
            raise TypeError(f"Inputs takes a mapping, {{name: layer}}; got {shown(layers)}.")
        super().__init__(*layers.values(), join=join, name=name, recompute=recompute)
        for each in layers:
            if not isinstance(each, str) or not each or "." in each:
                raise ValueError(f"the name of an input must be a string without a dot; got {shown(each)}.")
        settle(self, names=tuple(layers))

    @classmethod
    def of_parts(cls, layers: Sequence[Layer], names: Sequence[str], settings: dict[str, Any]) -> Self:
        """The composite with these fields."""
        return cls(dict(zip(names, layers, strict=True)), **settings)

    @property
    def takes(self) -> Takes:
        """The kind of each input, by name."""
        return {name: layer.takes or REAL for name, layer in self.named_layers}

    def part(self, x: Any, name: str) -> Any:
        """The input of this name."""
        return x[name]

    def together(self, dxs: dict[str, Any]) -> Any:
        """The gradients with respect to the inputs, by their names."""
        return {name: dxs[name] for name in self.names}


@dataclass(frozen=True, init=False)
class Masked(Row):
    """y = f_n(... f_1(x)) for inputs with masked positions: X = {"values": x, "mask": m}.

    The mask m is true at the positions that count, and false at those to ignore. It has the axes of x after the batch
    axis, or the first of these axes. Layers that treat each position by itself pass the mask on, and so do
    recurrent layers, which use it. `GlobalAvgPool` and `LastStep` use it. `Flatten` sets entries to 0 where it is
    false. All other layers raise an error.

    Parameters
    ----------
    *layers : Layer
    name : str, optional
    recompute : bool
        As for `Network`.

    Examples
    --------
    >>> import numpy as np
    >>> import nnarray as nn
    >>> X = {"values": np.ones((2, 3, 4)), "mask": np.asarray([[True, True, False], [True, False, False]])}
    >>> net = nn.Network(nn.Masked(nn.Dense(8, "relu"), nn.GlobalAvgPool()), nn.Dense(2))
    >>> net.init({"values": (3, 4), "mask": (3,)}, seed=0)(X).shape
    (2, 2)
    """

    @property
    def takes(self) -> Takes:
        """The kind of inputs of the first layer, and truth values."""
        return {"values": super().takes or REAL, "mask": BOOLEAN}

    def shapes(self, shape: Any) -> Iterator[tuple[str, Layer, Shape]]:
        """Each layer with its name and the shape of its inputs."""
        yield from super().shapes(shape["values"])

    def out_shape(self, shape: Any) -> Shape:
        """The shape of the last layer's outputs."""
        values, mask = shape["values"], shape["mask"]
        if not mask or values[: len(mask)] != mask:
            raise ValueError(f"the mask must have the axes of the values, {values}, or the first of these; got {mask}.")
        return super().out_shape(values)

    def propagate(self, params: Tree, x: Any, ctx: Context) -> Out:
        """The forward pass through the layers, with the mask in their context."""
        out = super().propagate(params, x["values"], ctx._replace(mask=x["mask"]))

        def pullback(dy: Any, *dheads: Array) -> tuple[Any, Tree]:
            dx, gradients = out.pullback(dy, *dheads)
            return {"values": dx, "mask": None}, gradients

        return out._replace(pullback=pullback)
