"""Layers and losses as JSON and back: the names of registered classes and their settings, but never code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from numbers import Integral, Real
from typing import Any, TypeVar, cast

from nnarray import layers
from nnarray.arguments import explain_settings
from nnarray.layers import activations, initializers
from nnarray.layers.base import Layer
from nnarray.layers.containers import Composite
from nnarray.layers.tensors import Tensor
from nnarray.names import named, shown

C = TypeVar("C", bound=Callable[..., Any])

KNOWN: dict[str, Callable[..., Any]] = {}
"""The classes and functions that a file may use."""
TENSOR = "tensor"
"""In the place of a constant array: its name in the file follows."""


def register(cls: C) -> C:
    """A decorator that allows files to use a class or a function of your own, such as a layer, or f in `nn.Lambda(f)`.

    A file has its name and settings, but not its code. Import the module that defines it before loading the file.

    Parameters
    ----------
    cls : type or function
        A frozen dataclass whose fields are strings, numbers, truth values, None, tuples, dicts with strings as keys, or
        registered classes and functions; or a function that is defined with a name.

    Raises
    ------
    TypeError
        If it is neither a dataclass nor a function with a name.
    ValueError
        If another registered class or function has the same name.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import nnarray as nn
    >>> @nn.register
    ... @dataclass(frozen=True)
    ... class Double(nn.Layer):
    ...     '''y = 2 x.'''
    ...     def forward(self, params, x, ctx):
    ...         return nn.Out(2.0 * x, lambda dy: (2.0 * dy, {}))
    """
    candidate: Any = cls
    name: str = getattr(candidate, "__name__", "")
    if not (is_dataclass(candidate) if isinstance(candidate, type) else callable(candidate) and name.isidentifier()):
        raise TypeError(
            f"register needs a dataclass, such as a layer of your own, or a function with a name, def f(x); "
            f"got {shown(cls)}."
        )
    other = known(name)
    if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"{other.__module__}.{other.__qualname__} already has the name {name!r}; choose another name.")
    KNOWN[name] = cls  # the same one again, when a notebook cell is run twice
    if isinstance(candidate, type):
        explain_settings(candidate)
    return cls


def known(name: Any) -> Callable[..., Any] | None:
    """The class or function of that name. A class of this package is imported when a file or a setting names it."""
    if isinstance(name, str) and name not in KNOWN:
        own = _own(name)
        if own is not None:
            KNOWN[name] = explain_settings(own)
    return KNOWN.get(name) if isinstance(name, str) else None


def _own(name: str) -> type | None:
    """The layer, initializer or loss of this package with that name."""
    if name == "OnnxGraph":  # with many operators
        from nnarray.onnx.layer import OnnxGraph

        return OnnxGraph
    if name in layers.NAMES:
        value = getattr(layers, name)
        return value if isinstance(value, type) and issubclass(value, Layer) and value is not Layer else None
    from nnarray import losses
    from nnarray.losses import summed

    value = next((vars(each)[name] for each in (initializers, losses, summed) if name in vars(each)), None)
    bases = initializers.Initializer, losses.Loss
    return value if isinstance(value, type) and issubclass(value, bases) and value not in bases else None


# --- To JSON ---------------------------------------------------------------------------------------------------------


def encode(value: Any, where: str = "the network", tensors: dict[str, Any] | None = None) -> Any:
    """A layer, or one of its settings, as a JSON value; constant arrays among them are added to `tensors`, by name.

    Raises
    ------
    ValueError
        If a file cannot store it, for example a function; the message says where.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, list | tuple):
        return [encode(each, where, tensors) for each in value]
    if isinstance(value, Mapping):
        items = [[encode(k, where), encode(v, where, tensors)] for k, v in value.items()]
        return {"type": "dict", "items": items}
    if isinstance(value, Tensor) and tensors is not None:
        name = f"tensors/{len(tensors)}"
        tensors[name] = value.values
        return {"type": TENSOR, "name": name}
    name = type(value).__name__
    if known(name) is type(value):
        value = cast(Any, value)
        each = {field.name: encode(getattr(value, field.name), f"{where}, {name}", tensors) for field in fields(value)}
        return {"type": name, **each}
    own = getattr(value, "__name__", None)
    if own is not None and known(own) is value:
        return {"type": own}
    if isinstance(value, Layer | initializers.Initializer):
        raise ValueError(f"{where}: {name} cannot be saved, as it is not registered. Decorate it with @nn.register.")
    same = activations.named_function(value)
    if same is not None:
        raise ValueError(
            f"{where}: {value!r} cannot be saved, as a file has settings but no code. Write its name, {same!r}, into "
            f"the network, and keep the trained numbers: new = network.init(model.input_shape); new.theta = "
            f"model.theta; new.save(path)."
        )
    remedy = "Give the function a name, def f(x)," if callable(value) else "Write a frozen dataclass for it,"
    raise ValueError(
        f"{where}: {value!r} cannot be saved, as a file has settings but no code. {remedy} and decorate it with "
        f"@nn.register."
    )


# --- From JSON -------------------------------------------------------------------------------------------------------


def decode(value: Any, tensors: dict[str, Any] | None = None) -> Any:
    """The inverse of `encode`; constant arrays are taken out of `tensors`.

    Raises
    ------
    ValueError
        If a class is not registered, or its settings do not fit.
    """
    if isinstance(value, list):
        return tuple(decode(each, tensors) for each in value)
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    if kind == "dict":
        return {decode(k): decode(v, tensors) for k, v in value["items"]}
    if kind == TENSOR and tensors is not None:
        return Tensor(tensors.pop(value["name"]))
    cls = known(kind)
    if cls is None:
        named_kind = f"type {kind!r}" if kind is not None else "a type"
        raise ValueError(
            f"the network has {named_kind} that is not registered. If it is yours, decorate the class or function with "
            f"@nn.register, and import its module before loading."
        )
    settings = {name: decode(each, tensors) for name, each in value.items() if name != "type"}
    if not isinstance(cls, type):
        if settings:
            raise ValueError(f"the function {kind} has no settings, but the file has {', '.join(settings)}.")
        return cls
    return _made(cls, settings)


def _made(cls: Any, settings: dict[str, Any]) -> Any:
    wanted = {field.name: field for field in fields(cls)}
    for name in settings:
        named(name, wanted, f"setting of {cls.__name__}")
    missing = [
        name
        for name, field in wanted.items()
        if name not in settings and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise ValueError(f"{cls.__name__} lacks its settings {', '.join(missing)}.")
    try:
        if issubclass(cls, Composite):
            return cls.of_parts(settings.pop("layers"), settings.pop("names"), settings)
        return cls(**settings)
    except TypeError as error:
        raise ValueError(f"the settings of {cls.__name__} do not fit: {error}") from error
