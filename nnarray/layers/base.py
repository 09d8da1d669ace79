"""The base class of layers: settings without arrays, a forward pass, and its pullback, which is a closure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import wraps
from typing import Any, ClassVar, NamedTuple, NoReturn, Self

from nnarray.checks import numbers_of_python
from nnarray.layers.initializers import Initializer
from nnarray.layers.kinds import REAL, Takes, arrays_in, example_of
from nnarray.layers.recorded import by_own_pullback, is_recorded, recorded_pullback, unwritten
from nnarray.names import named, shown
from nnarray.random import Key
from nnarray.recording import apart, constant
from nnarray.recording.trees import mapped
from nnarray.typing import Array, Shape, Tree

Pullback = Callable[..., tuple[Any, Tree]]

NO_NUMBERS = (
    "it holds settings, but no parameters. Make a model first, model = nn.Network(...).init(X.shape[1:]), and use "
    "it: model.fit(X, y), model(X), model.theta."
)

AT_ONCE = (
    "it needs all positions of its inputs at once, so that its network cannot continue a sequence. Call the model on "
    "whole sequences. In a layer of your own, define initial_cache(shape, length)."
)


class Param(NamedTuple):
    """A parameter that a layer needs: its shape, its initializer, and whether weight decay applies to it."""

    shape: Shape
    init: str | Initializer = "zeros"
    decay: bool = True


class Head(NamedTuple):
    """The outputs of an `Auxiliary` head, and the weight of their loss."""

    y: Array
    weight: float


class Out(NamedTuple):
    """The result of a layer: its outputs, their pullback, and its new state if training changes it.

    `pullback(dy) -> dx, {"weight": dW, ...}` applies the chain rule. It takes the gradient of the loss with respect
    to `y`, and returns the gradients with respect to `x` (or None, if `ctx.input_gradient` is False) and to each
    parameter. It is pure: two calls give the same result (unless the context has `once`). With auxiliary heads, it
    also takes the gradients with respect to their outputs: `pullback(dy, *dheads)`. If a layer of your own leaves it
    out, it follows from a record of the forward pass.
    """

    y: Array
    pullback: Pullback = unwritten
    state: Tree = {}  # noqa: RUF012  (never written to)
    heads: tuple[Head, ...] = ()
    mask: Array | None = None
    """The mask of the outputs, from a layer whose `masking` is "use"."""
    cache: Tree = {}  # noqa: RUF012  (never written to)
    """What the layer remembers for later positions, if the context has a cache: arrays as in `ctx.cache`."""


class Context(NamedTuple):
    """The further arguments of a layer, next to its parameters and its input."""

    training: bool = False
    state: Tree = {}  # noqa: RUF012  (never written to)
    input_gradient: bool = True
    """Whether dx is needed; the first layer of a network need not compute it."""
    keep: bool = True
    """Whether the pullback will be called; if not, as at inference, composites drop those of their layers."""
    root: Key | None = None
    path: tuple[Any, ...] = ()
    once: bool = False
    """Whether the pullback is called at most once; then composites free the memory of each layer after its use."""
    mask: Array | None = None
    """The mask, true at the positions that count: shape (batch, positions, ...), the inputs' axes before the last.
    None if all positions count."""
    cache: Tree | None = None
    """What the layer remembers of earlier positions, as `initial_cache` names it; None unless a sequence is decoded."""
    position: Any = 0
    """The number of positions before the inputs: an int, or an array of shape () in a compiled function."""

    @property
    def key(self) -> Key:
        """The layer's key in this step; folded only when a layer draws.

        Raises
        ------
        RuntimeError
            If the caller passed no key.
        """
        if self.root is None:
            raise RuntimeError("a layer draws at random in training, and needs a key; pass key=nn.Key(seed).")
        key = self.root
        for name in self.path:
            key = key.fold(name)
        return key

    def child(self, name: str, *, input_gradient: bool = True, mask: Array | None = None) -> Context:
        """The context of a layer that is part of this one."""
        state, path = self.state.get(name, {}), (*self.path, name)
        cache = None if self.cache is None else self.cache.get(name, {})
        inner = self.training, state, input_gradient, self.keep, self.root, path, self.once, mask
        return Context(*inner, cache, self.position)


@dataclass(frozen=True)
class Layer:
    """A frozen dataclass with the settings of a layer, and no arrays.

    A layer of your own defines `forward`, which is enough: it returns its outputs, or `Out(y)` if there is more to
    return, and its pullback follows from a record of what it computes, with functions of the array API standard. A
    pullback of your own, `Out(y, pullback)`, saves the second forward pass that this costs. If the layer has
    parameters, it defines `params` too, and if it changes the shape of its inputs, `out_shape`.
    `nn.testing.check_layer` checks it.

    Parameters
    ----------
    name : str, optional
        The name of the layer inside the network; its position if None.

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
    ...         def pullback(dy):  # without it, return x * s is enough
    ...             return dy * s, {"scale": nn.namespace(x).sum(dy * x, axis=0)}
    ...         return nn.Out(x * s, pullback)
    >>> nn.testing.check_layer(Scale(), (3,)).pullback
    'hand-written'
    """

    name: str | None = field(default=None, kw_only=True)

    family: ClassVar[str] = ""
    """The family of the layer in figures and tables: "dense", "convolution", "recurrent", "pooling", "normalisation",
    "activation", "dropout", "reshape", "row", "branches", "residual", "auxiliary", or "" for any other."""
    drawn_as: ClassVar[str] = ""
    """Its name in figures, if not that of its class. Derived classes do not inherit it, see `own`."""
    rescales: ClassVar[bool] = False
    """Whether it brings its inputs to a common scale."""
    masking: ClassVar[str] = "refuse"
    """How it treats masked inputs. "refuse": raise an error. "keep": pass the mask on, for layers that treat each
    position by itself. "use": read `ctx.mask`, and return the remaining mask in `Out`."""

    reads_texts: ClassVar[bool] = False
    """With masking = "use": whether it takes a mask of integers too, which say to which text of a row each position
    belongs."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if "forward" in vars(cls) and not cls.__module__.startswith("nnarray."):
            cls.forward = _completed(cls.forward)
        if isinstance(cls.masking, str):  # a wrapper asks the layer inside it
            named(cls.masking, dict.fromkeys(("refuse", "keep", "use")), f"masking of {cls.__name__}")

    def __post_init__(self) -> None:
        numbers_of_python(self)

    @property
    def takes(self) -> Takes:
        """The kind of numbers that it takes; real numbers by default."""
        return REAL

    @property
    def named_layers(self) -> Iterable[tuple[str, Layer]]:
        """The layers that it consists of, each with its name; none for most layers."""
        return ()

    def with_layers(self, layers: Mapping[str, Layer]) -> Self:
        """A copy made of other layers, by name; itself if it has no layers inside."""
        return self

    def shapes(self, shape: Shape) -> Iterable[tuple[str, Layer, Shape]]:
        """Each layer that it consists of, with its name and the shape of its inputs."""
        raise NotImplementedError

    def drawn_parts(self, shape: Any) -> list[Any]:
        """What figures show in place of one box: boxes (text, family), and {"join": text, "branches": [parts, ...]}."""
        return []

    def drawn_numbers(self) -> str:
        """Its most important numbers, which figures show after its name."""
        return ""

    def params(self, shape: Shape) -> dict[str, Any]:
        """The parameters for inputs of this shape (without the batch axis), by name."""
        return {}

    def initial_state(self, shape: Shape) -> dict[str, Any]:
        """The state by name: numbers that training updates without gradients, such as running means."""
        return {}

    def initial_cache(self, shape: Shape, length: int) -> dict[str, Any]:
        """What the layer remembers when a sequence is decoded in parts: the `Spec` of each array, by name.

        Each array begins with zeros, and its first axis is the batch. In `forward`, `ctx.cache` has these arrays, and
        `Out.cache` returns them as they are after its inputs. A layer that treats each position by itself remembers
        nothing.

        Parameters
        ----------
        shape : tuple of int
            That of the inputs, (positions, ...).
        length : int
            The number of positions that can be remembered.

        Raises
        ------
        ValueError
            If the layer needs all positions at once, or cannot take so many.
        """
        if self.masking == "keep":
            return {}
        raise ValueError(AT_ONCE)

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the outputs for inputs of this shape, both without the batch axis.

        Raises
        ------
        ValueError
            If the layer does not accept such inputs.
        """
        return shape

    def multiply_adds(self, shape: Shape) -> int:
        """The number of multiply-adds for one example of this shape; elementwise operations are not counted."""
        return 0

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """Outputs for the inputs `x`, shape (batch, ...), and their pullback.

        In a layer of your own, it may return the outputs alone.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(self, params, x, ctx).")

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Raise TypeError: a layer has no parameters to compute with."""
        raise TypeError(f"{type(self).__name__} cannot be called: {NO_NUMBERS}")


def _completed(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The forward pass of a layer of your own, with a recorded pullback if it returns none.

    In a function that is differentiated, a pullback that it returns is the derivative of its outputs.
    """

    @wraps(forward)
    def complete(self: Layer, params: Tree, x: Any, ctx: Context) -> Any:
        def outputs(params: Tree, x: Any, ctx: Context) -> Any:
            out = _as_out(forward(self, params, mapped(apart, x), ctx))
            if type(out) is not Out or out.pullback is not unwritten or not ctx.keep:
                return out

            def again(params: Tree, x: Any) -> tuple[Array, ...]:
                out = _as_out(forward(self, params, x, ctx._replace(state=mapped(constant, ctx.state))))
                return out.y, *(head.y for head in out.heads)

            return out._replace(pullback=recorded_pullback(again, params, x, input_gradient=ctx.input_gradient))

        return by_own_pullback(outputs, params, x, ctx) if is_recorded(params, x) else outputs(params, x, ctx)

    return complete


def _as_out(returned: Any) -> Any:
    """`Out` of outputs that are returned alone."""
    return Out(returned) if hasattr(returned, "shape") else returned


def own(layer: Layer, name: str) -> Any:
    """An attribute that a layer class of this package defines itself; None if it is inherited or the class is yours.

    A derived class may compute something else than its base class.
    """
    return vars(type(layer)).get(name) if is_ours(layer) else None


def every(layer: Layer) -> Iterator[Layer]:
    """The layer, and all layers inside it."""
    yield layer
    for _, inner in layer.named_layers:
        yield from every(inner)


def is_ours(layer: Layer) -> bool:
    """Whether the layer is part of this package. Its tests check what such layers return, so training need not."""
    return type(layer).__module__.startswith("nnarray.")


def outputs_of(layer: Layer, params: Tree, x: Array, ctx: Context, where: Callable[[], str] | None = None) -> Out:
    """The outputs of `forward`, checked, for a layer of your own may return anything. `where` names it in errors.

    Raises
    ------
    ValueError
        If the layer returns anything but a valid `Out`.
    """
    try:
        out: Any = layer.forward(params, x, ctx)
    except KeyError as error:
        if not error.args or error.args[0] in params:
            raise
        fault = f"forward reads params[{error.args[0]!r}], but params(shape) names {', '.join(params) or 'none'}"
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
        return f"forward must return its outputs, or nn.Out(y); got {shown(out)}"
    if not hasattr(out.y, "shape") or not callable(out.pullback):
        return (
            f"forward must return nn.Out(y, pullback), an array and a function; got {shown(out.y)} and "
            f"{shown(out.pullback)}"
        )
    if out.mask is not None and layer.masking != "use":
        return 'forward returns a mask, which is for layers with masking = "use" only; set masking = "use" in its class'
    wanted = (next(arrays_in(x)).shape[0], *layer.out_shape(example_of(x)))
    if out.y.shape == wanted:
        return None
    return (
        f"forward must return outputs of shape {wanted}, as out_shape gives; got {tuple(out.y.shape)}. Define "
        f"out_shape(shape), or change forward"
    )


def settle(layer: Layer, **settings: Any) -> None:
    """Set fields of a frozen dataclass, in its constructor."""
    for name, value in settings.items():
        object.__setattr__(layer, name, value)


def described(layer: Layer) -> str:
    """The layer as code, without settings that have their default values."""
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
        if each.name in ("layers", "names", "shortcut") or not each.repr or value == usual:
            continue
        parts.append(repr(value) if each.default is MISSING and not inner else f"{each.name}={value!r}")
    return f"{type(layer).__name__}({', '.join(parts)})"
