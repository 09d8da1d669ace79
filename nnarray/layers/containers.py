"""Layers made of layers: `Row`, `Branches`, `Residual`, `Auxiliary`. They are layers themselves, so they nest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial, reduce
from operator import add, mul
from typing import Any, Self, TypeGuard

from nnarray import kernels
from nnarray.backends import namespace
from nnarray.checks import numbers_of_python, real
from nnarray.layers.activations import Activation, Function, activation, bare, kept_activation
from nnarray.layers.base import Context, Head, Layer, Out, Pullback, gradients_of, is_ours, outputs_of, own, settle
from nnarray.layers.kinds import REAL, Takes, both, of_texts, same_kind, words
from nnarray.names import shown
from nnarray.typing import Array, Shape, Tree


@dataclass(frozen=True, init=False)
class Composite(Layer):
    """Layers in a composite, each with a name: its own or its position.

    Parameters
    ----------
    *layers : Layer
    name : str, optional
    recompute : bool
        Whether training keeps only the inputs, and repeats the forward pass for the pullback. This needs less memory
        and one more forward propagation, and gives the same gradient [1]_.

    Raises
    ------
    ValueError
        If there is no layer, two layers have the same name, or a name is empty, has a dot, or is another layer's
        position.
    TypeError
        If one of them is not a layer.

    References
    ----------
    .. [1] Chen, Xu, Zhang & Guestrin (2016), Training deep nets with sublinear memory cost. arXiv:1604.06174.
    """

    masking = "use"
    reads_texts = True

    layers: tuple[Layer, ...]
    names: tuple[str, ...]
    recompute: bool = False

    def __init__(self, *layers: Layer, name: str | None = None, recompute: bool = False) -> None:
        self._settle(layers, name=name, recompute=recompute)

    def _settle(self, layers: Sequence[Layer], usual: Iterable[str] | None = None, **settings: Any) -> None:
        """Check the layers, name those without a name by position, and set the fields of the frozen dataclass."""
        kind = type(self).__name__
        if not layers:
            raise ValueError(f"{kind} needs at least one layer.")
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"{kind} takes layers; got {shown(layer)} at position {position}.{_as_layer(layer, layers)}"
                )
        usual = map(str, range(len(layers))) if usual is None else usual
        names = tuple(name if layer.name is None else layer.name for layer, name in zip(layers, usual, strict=False))
        seen = set[str]()
        for each in names:
            if not isinstance(each, str):
                raise TypeError(f"the name of a layer must be a string; got {shown(each)}.")
            if not each or "." in each or each in seen:
                raise ValueError(
                    f"layer names must differ, have no dot and not be empty; got {shown(each)} in {names}."
                )
            seen.add(each)
        settle(self, **settings, layers=tuple(layers), names=names)
        numbers_of_python(self)

    @classmethod
    def of_parts(cls, layers: Sequence[Layer], names: Sequence[str], settings: dict[str, Any]) -> Self:
        """The composite with these fields: the layers, their names, and the settings by name."""
        made = cls(*layers, **settings)
        if len(names) != len(layers) or not all(isinstance(each, str) and each and "." not in each for each in names):
            raise ValueError(f"{cls.__name__} of {len(layers)} layers needs a name for each; got {shown(names)}.")
        return made.with_layers(dict(zip(names, made.layers, strict=True)))

    @property
    def named_layers(self) -> Sequence[tuple[str, Layer]]:
        """The layers, each with its name."""
        return tuple(zip(self.names, self.layers, strict=True))

    def with_layers(self, layers: Mapping[str, Layer]) -> Self:
        """A copy of the composite with other layers, by name."""
        other = object.__new__(type(self))
        settings = {each.name: getattr(self, each.name) for each in fields(self)}
        settle(other, **{**settings, "layers": tuple(layers.values()), "names": tuple(layers)})
        return other

    def params(self, shape: Shape) -> dict[str, Any]:
        """The parameters of all layers, under their names."""
        return {name: layer.params(inner) for name, layer, inner in self.shapes(shape)}

    def initial_state(self, shape: Shape) -> dict[str, Any]:
        """The state of all layers, under their names."""
        return {name: layer.initial_state(inner) for name, layer, inner in self.shapes(shape)}

    def initial_cache(self, shape: Shape, length: int) -> dict[str, Any]:
        """The caches of all layers that have one, under their names."""
        caches = {name: self._cache_of(name, layer, inner, length) for name, layer, inner in self.shapes(shape)}
        return {name: cache for name, cache in caches.items() if cache}

    def _cache_of(self, name: str, layer: Layer, shape: Shape, length: int) -> dict[str, Any]:
        """The cache of one of the layers; errors name the layer."""
        try:
            return layer.initial_cache(shape, length)
        except ValueError as error:
            raise ValueError(f"{self.label(self.names.index(name))}: {error}") from error

    def multiply_adds(self, shape: Shape) -> int:
        """The sum over all layers."""
        return sum(layer.multiply_adds(inner) for _, layer, inner in self.shapes(shape))

    def _out_shape_of(self, position: int, shape: Shape) -> Shape:
        """The output shape of one of the layers; errors name the layer."""
        try:
            return self.layers[position].out_shape(shape)
        except ValueError as error:
            raise ValueError(f"{self.label(position)}: {error}") from error

    def label(self, position: int) -> str:
        """The name of a layer in errors: "Dense 2 of 3"."""
        return f"{type(self.layers[position]).__name__} {position + 1} of {len(self.layers)}"

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The outputs and their pullback, which repeats the forward pass if `recompute` is set."""
        if not (self.recompute and ctx.keep):
            return self.propagate(params, x, ctx)
        out = self.propagate(params, x, ctx._replace(keep=False))

        def pullback(dy: Array, *dheads: Array) -> tuple[Any, Tree]:
            # Only the pullback is kept: the outputs are freed before it runs.
            recomputed = self.propagate(params, kernels.after(x, dy), ctx._replace(once=True)).pullback
            return recomputed(dy, *dheads)

        return out._replace(pullback=pullback)

    def propagate(self, params: Tree, x: Array, ctx: Context) -> Out:
        """Forward through the layers."""
        raise NotImplementedError


NO_MASK = (
    "some positions of its inputs are masked, but it would use them. Put it after a layer that uses the mask, such as "
    "GlobalAvgPool, or leave out padding_index and nn.Masked. In a layer of your own that treats each position by "
    'itself, set masking = "keep".'
)
MASK_OF_FEATURES = (
    "the mask covers its features, the last axis of its inputs, but it would use all of them. Pass a mask of "
    "positions, without that axis, or put nn.Flatten before it, which sets masked entries to 0."
)
NO_TEXTS = (
    "its inputs have several texts in a row, and it would mix them. Leave out separator, and give each text a row of "
    "its own: nn.text.padded, with padding_index."
)
MASK_LEFT = (
    "The loss would include masked positions. Add a layer that uses the mask, such as nn.GlobalAvgPool or "
    "nn.Flatten, or leave out padding_index and nn.Masked. Or give masked positions a label that does not count: "
    "nn.losses.CrossEntropy(ignore_index=-1)."
)


def _as_layer(value: Any, every: Sequence[Any]) -> str:
    """The remedy for a value that is not a layer; `every` are all that were passed."""
    sizes = [each for each in every if isinstance(each, int) and not isinstance(each, bool)]
    if len(sizes) == len(every) > 1:
        layers = ", ".join([*(f"nn.Dense({size}, 'tanh')" for size in sizes[1:-1]), f"nn.Dense({sizes[-1]})"])
        return f" The size of the inputs is no setting: write nn.Network({layers}).init(({sizes[0]},))."
    if isinstance(value, list | tuple):
        return " Pass the layers as arguments, without brackets."
    if isinstance(value, type) and issubclass(value, Layer):
        return f" Write {value.__name__}(...), with its settings."
    if isinstance(value, str):
        return f" For an activation, write nn.Activation({value!r})."
    return f" For a dense layer, write nn.Dense({value})." if isinstance(value, int) else ""


class _Passed:
    """The layers that a forward pass has run: their pullbacks, new states, heads, caches and mask."""

    def __init__(self, whole: Composite, ctx: Context) -> None:
        self.whole, self.ctx = whole, ctx
        self.pullbacks: list[tuple[str, Pullback, int]] = []
        self.states: dict[str, Tree] = {}
        self.caches: dict[str, Tree] = {}
        self.heads: tuple[Head, ...] = ()

    def through(
        self, name: str, layer: Layer, params: Tree, x: Any, mask: Array | None, *, input_gradient: bool
    ) -> tuple[Array, Array | None]:
        """The outputs of the next layer, and the remaining mask."""
        if mask is not None and layer.masking == "refuse":
            raise ValueError(f"{self._label(name)}: {NO_MASK}")
        if mask is not None and layer.masking == "keep" and mask.ndim == x.ndim:
            raise ValueError(f"{self._label(name)}: {MASK_OF_FEATURES}")
        if of_texts(mask) and layer.masking == "use" and not layer.reads_texts:
            raise ValueError(f"{self._label(name)}: {NO_TEXTS}")
        inner, ctx = params.get(name, {}), self.ctx.child(name, input_gradient=input_gradient, mask=mask)
        if is_ours(layer):
            y, pullback, state, heads, left, cache = layer.forward(inner, x, ctx)
        else:
            y, pullback, state, heads, left, cache = outputs_of(layer, inner, x, ctx, lambda: self._label(name))
            pullback = partial(self._proved, name, pullback, getattr(x, "shape", None))
        if self.ctx.keep:
            self.pullbacks.append((name, pullback, len(heads)))
        if state:
            self.states[name] = state
        if cache:
            self.caches[name] = cache
        self.heads += heads
        return y, mask if layer.masking == "keep" else left

    def back(self, dheads: tuple[Array, ...]) -> Iterator[tuple[str, Pullback, tuple[Array, ...]]]:
        """The pullbacks in reverse order, each with the gradients of the heads in its layer."""
        # The list owns the closures, and these own the arrays that the layers kept: each pop frees that memory.
        pullbacks = self.pullbacks if self.ctx.once else list(self.pullbacks)
        while pullbacks:
            name, pullback, count = pullbacks.pop()
            first = len(dheads) - count
            yield name, pullback, dheads[first:]
            dheads = dheads[:first]

    def _proved(
        self, name: str, pullback: Pullback, shape: Shape | None, dy: Array, *dheads: Array
    ) -> tuple[Any, Tree]:
        return gradients_of(pullback(dy, *dheads), shape, lambda: self._label(name))

    def _label(self, name: str) -> str:
        return self.whole.label(self.whole.names.index(name))


@dataclass(frozen=True, init=False)
class Row(Composite):
    """y = f_n(... f_2(f_1(x))): each layer takes the outputs of the layer before."""

    family = "row"

    def _settle(self, layers: Sequence[Layer], usual: Iterable[str] | None = None, **settings: Any) -> None:
        super()._settle(layers, usual, **settings)
        first = next((i for i, layer in enumerate(layers) if layer.takes is not None), 0)
        for position, layer in enumerate(layers[first + 1 :], start=first + 1):
            if layer.takes not in (None, REAL):
                raise ValueError(
                    f"{self.label(position)} takes {words(layer.takes)}, but gets the outputs of {self.label(first)}, "
                    f"which are real numbers. Put it first, or give it an input of its own with nn.Inputs."
                )

    @property
    def takes(self) -> Takes:
        """The kind of inputs of the first layer that does not accept every kind."""
        return next((layer.takes for layer in self.layers if layer.takes is not None), None)

    def shapes(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        """Each layer with its name and the shape of its inputs: the outputs of the layer before."""
        for position, (name, layer) in enumerate(self.named_layers):
            following = self._out_shape_of(position, shape)
            yield name, layer, shape
            shape = following

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the last layer's outputs."""
        for position in range(len(self.layers)):
            shape = self._out_shape_of(position, shape)
        return shape

    @cached_property
    def _merged(self) -> Sequence[tuple[str, Layer]]:
        """The layers as training computes them: some are one with those that follow."""
        named, every = list[tuple[str, Any]](self.named_layers), list[tuple[str, Layer]]()
        while named:
            name, layer = named.pop(0)
            if own(layer, "with_following"):
                layer, count = layer.with_following([each for _, each in named])
                del named[:count]
            every.append((name, layer))
        return every

    def propagate(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The forward pass through the layers; the pullback goes through them in reverse."""
        passed, wanted, mask = _Passed(self, ctx), ctx.input_gradient, ctx.mask
        for name, layer in self._merged if ctx.training else self.named_layers:
            x, mask = passed.through(name, layer, params, x, mask, input_gradient=wanted)
            wanted = wanted or bool(params.get(name))

        def pullback(dy: Any, *dheads: Array) -> tuple[Any, Tree]:
            gradients: dict[str, Tree] = {}
            for name, layer_pullback, heads in passed.back(dheads):
                dy, gradients[name] = (None, {}) if dy is None else layer_pullback(dy, *heads)
            return dy, gradients

        return Out(x, pullback, passed.states, passed.heads, mask, passed.caches)


def is_plain_row(layer: Layer) -> TypeGuard[Row]:
    """Whether the layer only calls its layers one after the other; also true for classes derived from `Row`."""
    kind: Any = type(layer)
    return isinstance(layer, Row) and kind.propagate is Row.propagate and kind.forward is Composite.forward


def last_activation(layer: Layer) -> str | None:
    """The name of the activation at the end of a layer; None if it has none."""
    if layer.family in ("row", "auxiliary"):
        ends = [each for _, each in layer.named_layers if each.family not in ("auxiliary", "dropout", "reshape")]
        return last_activation(ends[-1]) if ends else None
    name = bare(layer if layer.family == "activation" else getattr(layer, "activation", None))
    return name if isinstance(name, str) else None


@dataclass(frozen=True, init=False)
class Residual(Row):
    """y = f(s(x) + f_n(... f_1(x))): the layers learn the difference between outputs and inputs.

    Parameters
    ----------
    *layers : Layer
    shortcut : Layer, optional
        A layer s for x, needed if the layers change its shape; x itself is added if None.
    activation : str or Activation
        The function f.
    name : str, optional
    recompute : bool
        As for `Network`.

    Raises
    ------
    ValueError
        At `init`, if the shapes of the two summands differ.

    References
    ----------
    .. [1] He, Zhang, Ren & Sun (2016), Deep residual learning for image recognition. CVPR.

    Examples
    --------
    >>> import nnarray as nn
    >>> block = nn.Residual(nn.Dense(8, "relu"), nn.Dense(8))
    >>> block.out_shape((8,))
    (8,)
    >>> nn.Residual(nn.Dense(8, "relu"), nn.Dense(4), shortcut=nn.Dense(4), activation="relu").out_shape((8,))
    (4,)
    """

    family = "residual"

    shortcut: bool = False
    """Whether the last of `layers` is the shortcut."""
    activation: str | Activation = "identity"

    def __init__(
        self,
        *layers: Layer,
        shortcut: Layer | None = None,
        activation: str | Activation = "identity",
        name: str | None = None,
        recompute: bool = False,
    ) -> None:
        if not layers and shortcut is not None:
            raise ValueError("Residual needs at least one layer in addition to its shortcut.")
        every = layers if shortcut is None else (*layers, shortcut)
        usual = [str(i) for i in range(len(layers))] + ["shortcut"]
        self._settle(
            every,
            usual,
            shortcut=shortcut is not None,
            activation=kept_activation(activation),
            name=name,
            recompute=recompute,
        )
        _ = self.function  # so that an unknown name raises where it is written

    @classmethod
    def of_parts(cls, layers: Sequence[Layer], names: Sequence[str], settings: dict[str, Any]) -> Self:
        """The block with these fields; the last layer may be the shortcut."""
        if not settings.pop("shortcut", False):
            return super().of_parts(layers, names, settings)
        *inner, shortcut = layers
        made = cls(*inner, shortcut=shortcut, **settings)
        return made.with_layers(dict(zip(names, layers, strict=True)))

    @cached_property
    def function(self) -> Function:
        """The activation function, looked up once."""
        return activation(self.activation).resolved

    @cached_property
    def change(self) -> Row:
        """The layers without the shortcut."""
        inner = dict(self.named_layers)
        if self.shortcut:
            del inner[self.names[-1]]
        return Row(*inner.values()).with_layers(inner)

    def shapes(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        """Each layer with its name and the shape of its inputs, the shortcut last."""
        yield from self.change.shapes(shape)
        if self.shortcut:
            yield self.names[-1], self.layers[-1], shape

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the outputs; the outputs of the shortcut must have it too."""
        inner = self.change.out_shape(shape)
        around = self._out_shape_of(len(self.layers) - 1, shape) if self.shortcut else shape
        if inner != around:
            raise ValueError(
                f"Residual adds its {'shortcut' if self.shortcut else 'inputs'} of shape {around} to outputs of shape "
                f"{inner}. Make them equal{'' if self.shortcut else ', or pass a layer as shortcut='}."
            )
        return inner

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The layers in a plan of decoding, and the sum."""
        around = x
        if self.shortcut:
            name = self.names[-1]
            around = engine.layer(self.layers[-1], params.get(name, {}), cache.get(name, {}), x)
        change = engine.row(self.change, params, cache, x)
        return engine.plan.applied(engine.plan.joined([around, change], "add"), self.function)

    def propagate(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The forward pass through layers and shortcut; the pullback adds the gradients of both."""
        change = self.change.propagate(params, x, ctx)
        around = _Passed(self, ctx)
        if self.shortcut:
            wanted = ctx.input_gradient
            x, _ = around.through(self.names[-1], self.layers[-1], params, x, ctx.mask, input_gradient=wanted)
        z = x + change.y
        y = self.function.value(z)
        function_pullback, row_pullback, inner = self.function.pullback_at(z, y), change.pullback, len(change.heads)

        def pullback(dy: Array, *dheads: Array) -> tuple[Array | None, Tree]:
            dz = function_pullback(dy)
            dx, gradients = row_pullback(dz, *dheads[:inner])
            for name, shortcut_pullback, heads in around.back(dheads[inner:]):
                dz, of_shortcut = shortcut_pullback(dz, *heads)
                gradients = {**gradients, name: of_shortcut}
            return None if dx is None or dz is None else dz + dx, gradients

        states, caches = {**change.state, **around.states}, {**change.cache, **around.caches}
        return Out(y, pullback, states, change.heads + around.heads, change.mask, caches)


@dataclass(frozen=True, init=False)
class Branches(Composite):
    """y = (f_1(x), ..., f_n(x)) concatenated along the last axis, or their sum, or their product.

    Parameters
    ----------
    *layers : Layer
        One layer per branch. A branch of several layers is a `Network`.
    join : {"concat", "add", "multiply"}
        Concatenate the features, add, or multiply entry by entry: one branch opens and closes gates for the other [2]_.
    name : str, optional
    recompute : bool
        As for `Network`.

    Raises
    ------
    ValueError
        If `join` is none of these, or, at `init`, the shapes of the branches do not fit together.

    References
    ----------
    .. [1] Szegedy et al. (2015), Going deeper with convolutions. CVPR.
    .. [2] Dauphin, Fan, Auli & Grangier (2017), Language modeling with gated convolutional networks. ICML.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.Branches(nn.Dense(3), nn.Dense(4, "tanh")).out_shape((2,))
    (7,)
    """

    family = "branches"

    join: str = "concat"

    def __init__(self, *layers: Layer, join: str = "concat", name: str | None = None, recompute: bool = False) -> None:
        if join not in ("concat", "add", "multiply"):
            raise ValueError(f"Branches join must be 'concat', 'add' or 'multiply'; got {shown(join)}.")
        self._settle(layers, join=join, name=name, recompute=recompute)

    def _settle(self, layers: Sequence[Layer], usual: Iterable[str] | None = None, **settings: Any) -> None:
        super()._settle(layers, usual, **settings)
        _ = self.takes  # so that branches with different kinds of inputs raise where they are written

    @property
    def takes(self) -> Takes:
        """The kind of inputs, which all branches share."""
        agreed, takes = same_kind([layer.takes for layer in self.layers])
        if not agreed:
            each = "; ".join(f"{self.label(i)} {words(layer.takes)}" for i, layer in enumerate(self.layers))
            raise ValueError(f"branches share their inputs, but these take different kinds: {each}. Use nn.Inputs.")
        return takes

    def part(self, x: Any, name: str) -> Any:
        """The part of the inputs, or of their shapes, that goes into a branch: here all of it."""
        return x

    def shapes(self, shape: Any) -> Iterator[tuple[str, Layer, Shape]]:
        """Each branch with its name and the shape of its inputs."""
        self.out_shape(shape)
        for name, layer in self.named_layers:
            yield name, layer, self.part(shape, name)

    def out_shape(self, shape: Any) -> Shape:
        """The shape of the outputs, joined."""
        shapes = [self._out_shape_of(i, self.part(shape, name)) for i, name in enumerate(self.names)]
        kind, given = type(self).__name__, dict(zip(self.names, shapes, strict=True))
        if self.join != "concat":
            if any(each != shapes[0] for each in shapes):
                raise ValueError(f"{kind} can {self.join} outputs of one shape only; got {given}.")
            return shapes[0]
        if any(not each or each[:-1] != shapes[0][:-1] for each in shapes):
            raise ValueError(
                f"{kind} can concatenate outputs that differ on the last axis only; got {given}. nn.GlobalAvgPool() or "
                f"nn.Flatten() removes positions."
            )
        return (*shapes[0][:-1], sum(each[-1] for each in shapes))

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The branches in a plan of decoding, and what joins them."""
        return engine.plan.joined(engine.side_by_side(self, params, cache, x), self.join)

    def propagate(self, params: Tree, x: Any, ctx: Context) -> Out:
        """The forward pass through all branches; the pullback adds their gradients with respect to x."""
        passed, wanted = _Passed(self, ctx), ctx.input_gradient
        each = [
            passed.through(name, layer, params, self.part(x, name), ctx.mask, input_gradient=wanted)
            for name, layer in self.named_layers
        ]
        ys, masks = [y for y, _ in each], [mask for _, mask in each if mask is not None]
        widths, mask, y = [y.shape[-1] for y in ys], reduce(both, masks) if masks else None, self._joined(ys)
        factors = ys if self.join == "multiply" else []  # else the pullback does not keep them

        def pullback(dy: Array, *dheads: Array) -> tuple[Any, Tree]:
            parts = self._parts(dy, widths, factors)
            dxs: dict[str, Any] = {}
            gradients: dict[str, Tree] = {}
            for name, branch_pullback, heads in passed.back(dheads):
                dxs[name], gradients[name] = branch_pullback(parts.pop(), *heads)
            return self.together(dxs), gradients

        return Out(y, pullback, passed.states, passed.heads, mask, passed.caches)

    def together(self, dxs: dict[str, Any]) -> Any:
        """The gradient with respect to the inputs, from those with respect to the inputs of each branch."""
        known = [dx for dx in dxs.values() if dx is not None]
        return reduce(add, known) if known else None

    def _joined(self, ys: list[Array]) -> Array:
        if self.join == "concat":
            return namespace(ys[0]).concat(ys, axis=-1)
        return reduce(mul if self.join == "multiply" else add, ys)

    def _parts(self, dy: Array, widths: list[int], ys: list[Array]) -> list[Array]:
        """The gradient with respect to the outputs of each branch."""
        if self.join == "concat":
            return _split(dy, widths)
        if self.join == "add":
            return [dy] * len(widths)
        return [reduce(mul, ys[:i] + ys[i + 1 :], dy) for i in range(len(ys))]


def _split(y: Array, widths: list[int]) -> list[Array]:
    """The array cut into parts of the given widths along the last axis."""
    ends = [sum(widths[: i + 1]) for i in range(len(widths))]
    return [y[..., end - width : end] for end, width in zip(ends, widths, strict=True)]


@dataclass(frozen=True, init=False)
class Auxiliary(Row):
    """y = x, with an auxiliary head on x in training, whose loss is added to the network's times `weight`.

    Training minimises L(outputs) + sum of weight L(outputs of the head). So the layers before it get a gradient by a
    short path. At inference the head is not run.

    Parameters
    ----------
    *layers : Layer
        The head; its outputs must have the shape of the network's.
    weight : float
        At least 0.
    name : str, optional
    recompute : bool
        As for `Network`.

    References
    ----------
    .. [1] Szegedy et al. (2015), Going deeper with convolutions. CVPR, section 5.

    Examples
    --------
    >>> import nnarray as nn
    >>> head = nn.Auxiliary(nn.Dense(2), weight=0.3)
    >>> net = nn.Network(nn.Dense(5, "tanh"), head, nn.Dense(5, "tanh"), nn.Dense(2))
    >>> net.init((3,)).params["1.0.weight"].shape
    (5, 2)
    """

    family = "auxiliary"

    weight: float = 0.3

    def __init__(self, *layers: Layer, weight: float = 0.3, name: str | None = None, recompute: bool = False) -> None:
        self._settle(
            layers, weight=real(weight, "Auxiliary weight", least=0.0, usual=0.3), name=name, recompute=recompute
        )

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs, which are passed on unchanged."""
        super().out_shape(shape)
        return shape

    def initial_cache(self, shape: Shape, length: int) -> dict[str, Any]:
        """None: at inference the head is not run."""
        return {}

    def propagate(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The inputs, and in training the outputs of the head; the pullback adds its gradient."""
        if not ctx.training:
            return Out(x, lambda dy: (dy, _zeros(params)), mask=ctx.mask)
        head = super().propagate(params, x, ctx)
        if head.mask is not None:
            raise ValueError(f"the head of Auxiliary ends with a mask. {MASK_LEFT}")
        head_pullback = head.pullback

        def pullback(dy: Array, *dheads: Array) -> tuple[Any, Tree]:
            if not dheads:
                return dy, _zeros(params)
            dx, gradients = head_pullback(dheads[-1], *dheads[:-1])
            return dy if dx is None else dy + dx, gradients

        return Out(x, pullback, head.state, (*head.heads, Head(head.y, self.weight)), ctx.mask)


def heads_in(layer: Layer) -> Iterator[Auxiliary]:
    """The auxiliary heads of a network, at any depth."""
    for inner in getattr(layer, "layers", ()):
        if isinstance(inner, Auxiliary):
            yield inner
        yield from heads_in(inner)


def _zeros(tree: Tree) -> Tree:
    return {
        name: _zeros(node) if isinstance(node, Mapping) else namespace(node).zeros_like(node)
        for name, node in tree.items()
    }
