"""The formula of a layer or a loss, read off the first line of its docstring."""

from __future__ import annotations

from nnarray.layers.activations import FUNCTIONS, Activation, activation
from nnarray.layers.base import Layer
from nnarray.losses import Loss


def formula_of(thing: Layer | Loss) -> str:
    """The first line of the docstring, which is the formula, with its function named."""
    text = _first_line(type(thing)) or "a formula of its own: its class has no docstring"
    if isinstance(thing, Loss):
        return f"{text}; L is their {thing.reduction}" if text.startswith("L_n") else text
    function = thing if thing.family == "activation" else getattr(thing, "activation", None)
    return text if function is None else f"{text}; {_function(activation(function))}"


def _first_line(kind: type) -> str:
    """Without the shapes that follow after a gap; nothing where the dataclass has written it itself."""
    lines = (kind.__doc__ or "").strip().splitlines() or [""]
    return "" if lines[0].startswith(f"{kind.__name__}(") else lines[0].split("    ")[0].rstrip(" .")


def _function(layer: Activation) -> str:
    """What f is: its name, and its formula where it has one."""
    if not isinstance(layer.function, str):
        return f"f = {getattr(layer.function, '__name__', 'a function of your own')}"
    text = (FUNCTIONS[layer.function].value.__doc__ or "").split(". ")[0].rstrip(".")
    options = "".join(f", {name} = {value:g}" for name, value in layer.options.items())
    return f"f = {layer.function}: f(x) = {text.removeprefix('y = ')}{options}"
