"""Layers made of layers: in a row, side by side, around. They are layers themselves, so they nest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nnarray.backends import namespace
from nnarray.layers.base import Context, Layer, Out, Pullback
from nnarray.typing import Array, Shape, Tree


@dataclass(frozen=True, init=False)
class Composite(Layer):
    """Layers with names: their own, or their positions.

    Raises
    ------
    ValueError
        If there is no layer, two share a name, or a name is empty, has a dot, or is another layer's position.
    TypeError
        If something that is not a layer is among them.
    """

    layers: tuple[Layer, ...]
    names: tuple[str, ...]

    def __init__(self, *layers: Layer, name: str | None = None) -> None:
        kind = type(self).__name__
        if not layers:
            raise ValueError(f"{kind} needs at least one layer.")
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                hint = " Put the layers as arguments, without brackets." if isinstance(layer, list | tuple) else ""
                raise TypeError(f"{kind} is made of layers; got {layer!r} at position {position}.{hint}")
        names = tuple(str(i) if layer.name is None else layer.name for i, layer in enumerate(layers))
        for each in names:
            if not each or "." in each or names.count(each) > 1:
                raise ValueError(f"layer names must differ, hold no dot and not be empty; got {each!r} in {names}.")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "names", names)

    def shapes(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        """Each layer with its name and the shape of its inputs."""
        raise NotImplementedError

    def params(self, shape: Shape) -> dict[str, Any]:
        return {name: layer.params(inner) for name, layer, inner in self.shapes(shape)}

    def initial_state(self, shape: Shape) -> dict[str, Any]:
        return {name: layer.initial_state(inner) for name, layer, inner in self.shapes(shape)}

    def _out_shape_of(self, position: int, shape: Shape) -> Shape:
        """The out shape of one of the layers; an error says which one."""
        layer = self.layers[position]
        try:
            return layer.out_shape(shape)
        except ValueError as error:
            where = f"{type(layer).__name__} {position + 1} of {len(self.layers)}"
            raise ValueError(f"{where}: {error}") from error


@dataclass(frozen=True, init=False)
class Row(Composite):
    """y = f_n(... f_2(f_1(x))): each layer takes what the one before gives."""

    def shapes(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        for position, (name, layer) in enumerate(zip(self.names, self.layers, strict=True)):
            following = self._out_shape_of(position, shape)
            yield name, layer, shape
            shape = following

    def out_shape(self, shape: Shape) -> Shape:
        for position in range(len(self.layers)):
            shape = self._out_shape_of(position, shape)
        return shape

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        pullbacks: list[tuple[str, Pullback]] = []
        states: dict[str, Tree] = {}
        for name, layer in zip(self.names, self.layers, strict=True):
            wanted = ctx.input_gradient if not pullbacks else True
            x, back, state = layer.forward(params.get(name, {}), x, ctx.child(name, input_gradient=wanted))
            if ctx.keep:
                pullbacks.append((name, back))
            if state:
                states[name] = state

        def pullback(dy: Any) -> tuple[Any, Tree]:
            gradients: dict[str, Tree] = {}
            for name, back in reversed(pullbacks):
                dy, gradients[name] = back(dy)
            return dy, gradients

        return Out(x, pullback, states)


@dataclass(frozen=True, init=False)
class Residual(Row):
    """y = x + f_n(... f_1(x)): what the layers learn is the change.

    Raises
    ------
    ValueError
        At `init`, if the layers change the shape.

    References
    ----------
    .. [1] He, Zhang, Ren & Sun (2016), Deep residual learning for image recognition. CVPR.

    Examples
    --------
    >>> import nnarray as nn
    >>> block = nn.Residual(nn.Dense(8, "relu"), nn.Dense(8))
    >>> block.out_shape((8,))
    (8,)
    """

    def out_shape(self, shape: Shape) -> Shape:
        inner = super().out_shape(shape)
        if inner != shape:
            raise ValueError(f"Residual adds its inputs of shape {shape} to outputs of shape {inner}: make them equal.")
        return shape

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        change, row_pullback, state = super().forward(params, x, ctx)

        def pullback(dy: Array) -> tuple[Array | None, Tree]:
            dx, gradients = row_pullback(dy)
            return None if dx is None else dy + dx, gradients

        return Out(x + change, pullback, state)


@dataclass(frozen=True, init=False)
class Branches(Composite):
    """y = (f_1(x), ..., f_n(x)) side by side on the last axis, or their sum.

    Parameters
    ----------
    *layers : Layer
        One a branch; a `Network` where a branch has several.
    join : {"concat", "add"}
        Concatenate the features, or add.

    Raises
    ------
    ValueError
        If `join` is neither; at `init`, if the branches' shapes do not fit together.

    References
    ----------
    .. [1] Szegedy et al. (2015), Going deeper with convolutions. CVPR.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.Branches(nn.Dense(3), nn.Dense(4, "tanh")).out_shape((2,))
    (7,)
    """

    join: str

    def __init__(self, *layers: Layer, join: str = "concat", name: str | None = None) -> None:
        super().__init__(*layers, name=name)
        if join not in ("concat", "add"):
            raise ValueError(f"Branches join must be 'concat' or 'add'; got {join!r}.")
        object.__setattr__(self, "join", join)

    def shapes(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        self.out_shape(shape)
        for name, layer in zip(self.names, self.layers, strict=True):
            yield name, layer, shape

    def out_shape(self, shape: Shape) -> Shape:
        shapes = [self._out_shape_of(i, shape) for i in range(len(self.layers))]
        if self.join == "add":
            if any(each != shapes[0] for each in shapes):
                raise ValueError(f"Branches can add outputs of one shape only; got {shapes}.")
            return shapes[0]
        if any(not each or each[:-1] != shapes[0][:-1] for each in shapes):
            raise ValueError(f"Branches can concatenate outputs that differ on the last axis only; got {shapes}.")
        return (*shapes[0][:-1], sum(each[-1] for each in shapes))

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        outs = [
            layer.forward(params.get(name, {}), x, ctx.child(name, input_gradient=ctx.input_gradient))
            for name, layer in zip(self.names, self.layers, strict=True)
        ]
        states = {name: out.state for name, out in zip(self.names, outs, strict=True) if out.state}
        pullbacks = [out.pullback for out in outs] if ctx.keep else []
        widths = [out.y.shape[-1] for out in outs]

        def pullback(dy: Array) -> tuple[Any, Tree]:
            dys = _split(dy, widths) if self.join == "concat" else [dy] * len(widths)
            backs = [back(part) for back, part in zip(pullbacks, dys, strict=True)]
            gradients = {name: gradient for name, (_, gradient) in zip(self.names, backs, strict=True)}
            dxs = [dx for dx, _ in backs if dx is not None]
            return sum(dxs[1:], start=dxs[0]) if dxs else None, gradients

        return Out(self._joined([out.y for out in outs]), pullback, states)

    def _joined(self, ys: list[Array]) -> Array:
        if self.join == "concat":
            return namespace(ys[0]).concat(ys, axis=-1)
        return sum(ys[1:], start=ys[0])


def _split(y: Array, widths: list[int]) -> list[Array]:
    """Parts of the given widths along the last axis."""
    ends = [sum(widths[: i + 1]) for i in range(len(widths))]
    return [y[..., end - width : end] for end, width in zip(ends, widths, strict=True)]
