"""The user's own model in the playground: its network as settings, and its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from nnarray.apps.playground import catalog
from nnarray.apps.playground.checking import Wrong
from nnarray.apps.playground.packing import numbers
from nnarray.apps.playground.settings import NetworkSettings, Settings
from nnarray.backends import dtype_name
from nnarray.layers.activations import bare
from nnarray.layers.base import Layer
from nnarray.layers.containers import is_plain_row
from nnarray.losses import LOSSES
from nnarray.model import Model

FITS = (
    "the playground shows dense layers in a row, each with a bias, an activation by its name, and perhaps batch "
    "normalisation and dropout; the last layer is dense and has no activation"
)


def settings_of(model: Model, change: dict[str, Any]) -> Settings:
    """The settings of a model's network, with these changes of the data.

    Raises
    ------
    ValueError
        If the playground cannot show such a network; the message says what it can.
    """
    inputs, outputs = model.input_shape, model.output_shape
    precision = dtype_name(model.theta.dtype)
    if inputs not in ((1,), (2,)):
        raise ValueError(f"the playground shows one or two inputs; this model takes examples of shape {inputs}.")
    if precision not in catalog.PRECISIONS:
        raise ValueError(f"the playground computes in {' or '.join(catalog.PRECISIONS)}; this model has {precision}.")
    layers = _hidden([*_in_a_row(model.network)])
    loss = next((name for name, kind in LOSSES.items() if kind() == model.loss), catalog.AUTO)
    data = change or _data_for(inputs[0], outputs[-1], loss)
    network = {"layers": layers, "precision": precision}
    try:
        return Settings().changed({"data": data, "network": network, "training": {"loss": loss}})
    except Wrong as wrong:
        raise ValueError(f"{FITS}. Here {wrong}") from None


def _data_for(inputs: int, outputs: int, loss: str) -> dict[str, Any]:
    """Data with as many inputs and classes."""
    if loss == "binary_cross_entropy":
        return {"kind": "moons"} if inputs == 2 else {"kind": "formula", "formula": "x > 0"}
    if outputs == 1:
        return {"kind": "sine"} if inputs == 1 else {"kind": "formula", "formula": "x*y"}
    if inputs == 1:
        return {"kind": "formula", "formula": "x > 0"}
    return {"kind": "moons"} if outputs == 2 else {"kind": "blobs", "options": {"classes": outputs}}


def _in_a_row(layer: Layer) -> Iterator[Any]:
    """The layers in order, including those of nested rows."""
    if not is_plain_row(layer):
        yield layer
        return
    for _, each in layer.named_layers:
        yield from _in_a_row(each)


def _hidden(layers: list[Any]) -> list[dict[str, Any]]:
    """The hidden layers as settings."""
    hidden: list[dict[str, Any]] = []
    for layer in layers:
        last = hidden[-1] if hidden else {}
        if layer.family == "dense" and layer.bias and not getattr(layer.activation, "options", None):
            function = bare(layer.activation)
            hidden.append({"units": layer.units, "activation": function, "batch_norm": False, "dropout": 0.0})
        elif layer.drawn_as == "bn" and _is_usual(layer) and last.get("activation") == "identity":
            last["batch_norm"] = True
        elif layer.family == "activation" and last.get("activation") == "identity" and not layer.options:
            last["activation"] = layer.function
        elif layer.family == "dropout" and last and not layer.spatial:
            last["dropout"] = layer.rate
        else:
            raise ValueError(f"{FITS}. Here {layer!r} does not fit.")
    if not hidden or hidden[-1] != {**hidden[-1], "activation": "identity", "batch_norm": False, "dropout": 0.0}:
        raise ValueError(f"{FITS}. Here {layers[-1]!r} does not fit.")
    return hidden[:-1]


def _is_usual(layer: Any) -> bool:
    """Whether all settings of a layer have their default values."""
    return replace(layer, name=None) == type(layer)()


@dataclass(frozen=True)
class Start:
    """Where the user's own model is to begin: its network, and its numbers in their order, as nested lists."""

    network: NetworkSettings
    numbers: list[Any]

    @classmethod
    def of(cls, model: Model, settings: Settings) -> Start:
        """The parameters and running statistics of a model of which these are the settings."""
        found: list[Any] = []
        for array in model.state_dict().values():
            flat = numbers(array)
            width = array.shape[-1]
            rows = [flat[start : start + width] for start in range(0, len(flat), width)]
            found.append(rows if array.ndim == 2 else flat)
        return cls(settings.network, found)

    def is_of(self, network: NetworkSettings, model: Model) -> bool:
        """Whether a fresh model is of this network; it may have more or fewer inputs or outputs, for other data."""
        shapes = [tuple(array.shape) for array in model.state_dict().values()]
        return network == self.network and shapes == [*map(_shape, self.numbers)]

    def load(self, model: Model) -> dict[str, Any]:
        """Give a model the numbers, and return them by name."""
        named = dict(zip(model.state_dict(), self.numbers, strict=True))
        model.load_state_dict(named)
        return named


def _shape(nested: list[Any]) -> tuple[int, ...]:
    return (len(nested), len(nested[0])) if isinstance(nested[0], list) else (len(nested),)
