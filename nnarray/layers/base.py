"""What a layer is: settings without arrays, a forward pass, and its pullback, which is a closure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, NoReturn, Self

from nnarray.checks import numbers_of_python
from nnarray.layers.initializers import Initializer
from nnarray.layers.kinds import REAL, Takes, arrays_in, example_of
from nnarray.names import named, shown
from nnarray.random import Key
from nnarray.typing import Array, Shape, Tree

Pullback = Callable[..., tuple[Any, Tree]]

NO_NUMBERS = (
    "it holds settings, and no numbers. Make a model first, model = nn.Network(...).init(X.shape[1:]), and use that: "
    "model.fit(X, y), model(X), model.theta."
)


class Param(NamedTuple):
    """A parameter that a layer asks for: its shape, how it starts, and whether weight decay shrinks it."""

    shape: Shape
    init: str | Initializer = "zeros"
    decay: bool = True


class Head(NamedTuple):
    """Outputs that an `Auxiliary` gives beside the network's, and how much their loss counts."""

    y: Array
    weight: float


class Out(NamedTuple):
    """What a layer returns: its outputs, their pullback, and its new state if training changes it.

    `pullback(dy) -> dx, {"weight": dW, ...}` applies the chain rule: it takes the gradient of the loss with respect
    to `y` and gives that with respect to `x` (None where nobody asks for it) and to each parameter. It is pure:
    called twice, it gives the same (unless the context says `once`). Where there are heads, it also takes the
    gradients with respect to theirs: `pullback(dy, *dheads)`.
    """

    y: Array
    pullback: Pullback
    state: Tree = {}  # noqa: RUF012  (never written to)
    heads: tuple[Head, ...] = ()
    mask: Array | None = None
    """Which positions of the outputs count, from a layer whose `masking` is "use"."""


class Context(NamedTuple):
    """What a layer gets besides its parameters and its input."""

    training: bool = False
    state: Tree = {}  # noqa: RUF012  (never written to)
    input_gradient: bool = True
    """Whether anybody asks for dx; the first layer of a network may leave it out."""
    keep: bool = True
    """Whether a pullback will be called; at inference a composite forgets those of its layers."""
    root: Key | None = None
    path: tuple[Any, ...] = ()
    once: bool = False
    """Whether a pullback is called once at most; then a composite frees what each layer kept as soon as it is used."""
    mask: Array | None = None
    """Which positions count, of truth values, shape (batch, positions, ...): the axes of the inputs before the last.
    None if all of them do."""

    @property
    def key(self) -> Key:
        """The layer's key in this step; folded only when a layer draws.

        Raises
        ------
        RuntimeError
            If the caller gave none.
        """
        if self.root is None:
            raise RuntimeError("a layer draws at random while training, and needs a key; pass key=nn.Key(seed).")
        key = self.root
        for name in self.path:
            key = key.fold(name)
        return key

    def child(self, name: str, *, input_gradient: bool = True, mask: Array | None = None) -> Context:
        """The context of a layer inside this one."""
        state, path = self.state.get(name, {}), (*self.path, name)
        return Context(self.training, state, input_gradient, self.keep, self.root, path, self.once, mask)


@dataclass(frozen=True)
class Layer:
    """A frozen dataclass with the settings of a layer, and no arrays.

    A layer of your own defines `forward`, and `params` and `out_shape` where they differ from "none" and "the
    same"; `nn.testing.check_layer` proves it.

    Parameters
    ----------
    name : str, optional
        What the layer is called among its neighbours; its position if None.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import nnarray as nn
    >>> @dataclass(frozen=True)
    ... class Scale(nn.Layer):
    ...     '''y = x s, one factor a feature.'''
    ...     def params(self, shape):
    ...         return {"scale": nn.Param(shape[-1:], "ones")}
    ...     def forward(self, params, x, ctx):
    ...         s = params["scale"]
    ...         def pullback(dy):
    ...             return dy * s, {"scale": nn.namespace(x).sum(dy * x, axis=0)}
    ...         return nn.Out(x * s, pullback)
    >>> nn.testing.check_layer(Scale(), (3,))
    """

    name: str | None = field(default=None, kw_only=True)

    family: ClassVar[str] = ""
    """What figures and tables take it for: "dense", "convolution", "pooling", "normalisation", "activation",
    "dropout", "reshape", "row", "branches", "residual", "auxiliary", or "" for a layer of another kind."""
    drawn_as: ClassVar[str] = ""
    """What figures call it, if not by the name of its class; of this class alone, see `own`."""
    masking: ClassVar[str] = "refuse"
    """What it does where some positions do not count: "refuse" to go on; "keep" the mask, if it treats each position
    by itself; or "use" it, `ctx.mask`, and give the one that is left in `Out`."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if isinstance(cls.masking, str):  # what wraps another layer asks that one
            named(cls.masking, dict.fromkeys(("refuse", "keep", "use")), f"masking of {cls.__name__}")

    def __post_init__(self) -> None:
        numbers_of_python(self)

    @property
    def takes(self) -> Takes:
        """What numbers it takes: real ones, if it does not say otherwise."""
        return REAL

    @property
    def named_layers(self) -> Iterable[tuple[str, Layer]]:
        """The layers that it is made of, each with its name; none for most layers."""
        return ()

    def with_layers(self, layers: Mapping[str, Layer]) -> Self:
        """The same made of other layers, by name; itself where it is made of none."""
        return self

    def shapes(self, shape: Shape) -> Iterable[tuple[str, Layer, Shape]]:
        """Each layer that it is made of, with its name and the shape of its inputs; only where there are any."""
        raise NotImplementedError

    def drawn_numbers(self) -> str:
        """Its most important numbers, as figures show them behind its name."""
        return ""

    def params(self, shape: Shape) -> dict[str, Any]:
        """The parameters for inputs of this shape (without the batch axis), by name."""
        return {}

    def initial_state(self, shape: Shape) -> dict[str, Any]:
        """The state, by name: what training changes but gradients do not, such as running means."""
        return {}

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the outputs for inputs of this shape, both without the batch axis.

        Raises
        ------
        ValueError
            If the layer cannot take such inputs.
        """
        return shape

    def multiply_adds(self, shape: Shape) -> int:
        """Products, each with an addition, that one example of this shape takes; elementwise work counts as none."""
        return 0

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """Outputs for the inputs `x`, shape (batch, ...), and their pullback."""
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(self, params, x, ctx).")

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Refused: a layer has no numbers to compute with."""
        raise TypeError(f"{type(self).__name__} cannot be called: {NO_NUMBERS}")


def own(layer: Layer, name: str) -> Any:
    """What the class of a layer of this package says itself; None where it inherits it, and of a class of your own.

    Such a class may compute something else than the one that it is derived from.
    """
    return vars(type(layer)).get(name) if is_ours(layer) else None


def is_ours(layer: Layer) -> bool:
    """Whether the layer is of this package, whose tests check what it returns, so that no step has to."""
    return type(layer).__module__.startswith("nnarray.")


def outputs_of(layer: Layer, params: Tree, x: Array, ctx: Context, where: Callable[[], str] | None = None) -> Out:
    """The outputs of `forward`, checked: a layer of your own may return anything. `where` names the layer in an error.

    Raises
    ------
    ValueError
        If they are not what a layer must return.
    """
    try:
        out: Any = layer.forward(params, x, ctx)
    except KeyError as error:
        if not error.args or error.args[0] in params:
            raise
        fault = f"forward reads params[{error.args[0]!r}], and params(shape) names {', '.join(params) or 'none'}"
    else:
        fault = _fault_in(layer, x, out)
        if fault is None:
            return out
    raise ValueError(f"{where() if where else type(layer).__name__}: {fault}.")


def gradients_of(returned: Any, shape: Shape | None, where: Callable[[], str]) -> tuple[Any, Tree]:
    """What a pullback returned for inputs of `shape`, None for a mapping, checked; raises as `outputs_of`."""
    if not isinstance(returned, tuple) or len(returned) != 2 or not isinstance(returned[1], Mapping):
        fault = f"return (dx, gradients), gradients by name; got {shown(returned)}"
    elif shape is not None and getattr(returned[0], "shape", shape) != shape:
        fault = f"return dx of the inputs' shape {tuple(shape)}; got {tuple(returned[0].shape)}"
    else:
        return returned
    raise ValueError(f"{where()}: pullback must {fault}.")


def _fault_in(layer: Layer, x: Any, out: Any) -> str | None:
    if type(out) is not Out:
        return f"forward must return nn.Out(y, pullback); got {shown(out)}"
    if not hasattr(out.y, "shape") or not callable(out.pullback):
        return (
            f"forward must return nn.Out(y, pullback), an array and a function; got {shown(out.y)} and "
            f"{shown(out.pullback)}"
        )
    if out.mask is not None and layer.masking != "use":
        return 'forward gives a mask, which only layers whose masking is "use" do; say masking = "use" in its class'
    wanted = (next(arrays_in(x)).shape[0], *layer.out_shape(example_of(x)))
    if out.y.shape == wanted:
        return None
    return (
        f"forward must return outputs of shape {wanted}, which out_shape says; got {tuple(out.y.shape)}. Define "
        f"out_shape(shape), or change forward"
    )


def settle(layer: Layer, **settings: Any) -> None:
    """Set fields of a frozen dataclass, in its constructor."""
    for name, value in settings.items():
        object.__setattr__(layer, name, value)


def described(layer: Layer) -> str:
    """The layer as it would be written: without the settings that have their usual values."""
    inner = getattr(layer, "layers", ())
    parts = [described(each) for each in inner]
    if isinstance(layer.takes, Mapping) and layer.family == "branches":  # written as a mapping
        names = [name for name, _ in layer.named_layers]
        parts = ["{" + ", ".join(f"{name!r}: {part}" for name, part in zip(names, parts, strict=True)) + "}"]
    if getattr(layer, "shortcut", False):
        parts[-1] = f"shortcut={parts[-1]}"
    for each in sorted(fields(layer), key=lambda each: each.name == "name"):
        value = getattr(layer, each.name)
        usual = each.default_factory() if each.default_factory is not MISSING else each.default
        if each.name in ("layers", "names", "shortcut") or value == usual:
            continue
        parts.append(repr(value) if each.default is MISSING and not inner else f"{each.name}={value!r}")
    return f"{type(layer).__name__}({', '.join(parts)})"
