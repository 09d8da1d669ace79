"""The axes of the inputs that may have any size in a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnarray.names import named, shown
from nnarray.onnx.writing.record import by_name
from nnarray.onnx.writing.sizes import BATCH, Axis


def axes_of(inputs: Any, given: Any) -> tuple[Axis, ...]:
    """The axes that a call names, such as {1: "length"}, or {"values": {1: "length"}} of several inputs.

    Raises
    ------
    TypeError, ValueError
        If it is no such mapping, an axis does not exist or is that of the examples, or one name has two sizes.
    """
    shapes = {name: spec.shape for name, spec in by_name(inputs).items()}
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise _no_mapping(given, shapes)
    if len(shapes) == 1 and not all(isinstance(each, str) for each in given):
        given = dict.fromkeys(shapes, given)
    found: dict[str, Axis] = {}
    for name, axes in given.items():
        shape = named(name, shapes, "input")
        if not isinstance(axes, Mapping):
            raise _no_mapping(given, shapes)
        for axis, label in axes.items():
            new = _axis(name, shape, axis, label)
            old = found.get(label)
            if old is not None and old.usual != new.usual:
                raise ValueError(
                    f"{label!r} is the name of axes with {old.usual} and {new.usual} positions in dynamic_axes. Give "
                    f"them different names."
                )
            found[label] = new if old is None else old._replace(places=(*old.places, *new.places))
    return tuple(found.values())


def _no_mapping(given: Any, shapes: Mapping[str, Any]) -> TypeError:
    example = '{1: "length"}' if len(shapes) == 1 else f'{{"{next(iter(shapes))}": {{1: "length"}}}}'
    return TypeError(f"dynamic_axes must be a mapping of axes to names, such as {example}; got {shown(given)}.")


def _axis(name: str, shape: tuple[int, ...], axis: Any, label: Any) -> Axis:
    if isinstance(axis, bool) or not isinstance(axis, int) or not 1 <= axis <= len(shape):
        raise ValueError(
            f"dynamic_axes may have the axes 1 to {len(shape)} of {name!r}, whose axis 0 are the examples; got "
            f"{shown(axis)}."
        )
    if not isinstance(label, str) or label in ("", BATCH) or not label.isidentifier():
        raise ValueError(
            f"an axis of dynamic_axes needs a name of its own, of letters, such as 'length'; got {shown(label)}."
        )
    if shape[axis - 1] < 2:
        raise ValueError(
            f"axis {axis} of {name!r} has {shape[axis - 1]} position in this model, too few to see what follows from "
            f"it. Write a model of the same parameters whose inputs have more."
        )
    return Axis(label, shape[axis - 1], ((name, axis),))
