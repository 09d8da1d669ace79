"""What is seen of a network: its predictions over the plane, a map of each unit, weights, gradients, histograms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnarray import kernels
from nnarray.apps.playground.built import is_of_one_output
from nnarray.apps.playground.catalog import CLASSES, VALUES
from nnarray.apps.playground.checking import Wrong, at, finite, number, object_of, optional, switch, whole
from nnarray.apps.playground.packing import as_bytes, numbers, packed
from nnarray.apps.playground.points import Examples
from nnarray.backends import device_of, namespace
from nnarray.functional.hooks import Passage, with_hooks
from nnarray.functional.propagation import Step, Wiring, loss_and_gradient
from nnarray.layers import Context
from nnarray.losses import loss_named
from nnarray.metrics import accuracy, r2
from nnarray.model import Model
from nnarray.random import Key
from nnarray.typing import Array

SAMPLE = 256
"""How many training examples are looked at for gradients."""
BINS = 24


@dataclass(frozen=True)
class Watch:
    """What frames hold."""

    grid: int = 60
    units: int = 20
    weights: bool = True
    gradients: bool = True
    histograms: bool = False
    fps: float = 30.0
    full: float | None = None
    """Of these frames, how many a second have all parts; the others have the predictions alone. None for all."""
    pace: float | None = None
    """Epochs a second, at most; None for as many as there is time for."""

    @classmethod
    def of(cls, message: Mapping[str, Any], before: Watch) -> Watch:
        """What a message asks for, beside what was asked for before."""
        checks = {
            "grid": _none_or(8, 200),
            "units": _none_or(4, 60),
            "weights": switch,
            "gradients": switch,
            "histograms": switch,
            "fps": number(0.2, 60.0),
            "full": optional(number(0.2, 60.0)),
            "pace": optional(number(0.05, 1000.0)),
        }
        wanted = object_of({name: each for name, each in message.items() if name != "type"}, [*checks])
        values = {name: at(name, checks[name], each) for name, each in wanted.items()}
        return cls(**{name: values.get(name, getattr(before, name)) for name in checks})


def _none_or(least: int, most: int) -> Any:
    check = whole(0, most)

    def checked(value: Any) -> int:
        size = check(value)
        if 0 < size < least:
            raise Wrong(f"must be 0, or from {least} to {most}; got {size}.")
        return size

    return checked


# --- Over the plane --------------------------------------------------------------------------------------------------


def plane(examples: Examples, size: int) -> Array:
    """Points over the ranges of the inputs: `size` along each axis, the first axis fastest. Of images, the sheet."""
    xp, like = namespace(examples.X), examples.X
    if examples.are_images:
        return examples.sheet[0]
    axes = [
        xp.astype(xp.linspace(low, high, size, dtype=like.dtype, device=device_of(like)), like.dtype)
        for low, high in examples.ranges
    ]
    if len(axes) == 1:
        return axes[0][:, None]
    x1 = xp.broadcast_to(axes[0][None, :], (size, size))
    x2 = xp.broadcast_to(axes[1][:, None], (size, size))
    return xp.reshape(xp.stack([x1, x2], axis=-1), (size * size, 2))


def predictions(outputs: Array, task: str) -> Array:
    """Outputs as the page shows them: values, or probabilities of classes; of two classes, that of class 1."""
    if task == VALUES:
        return outputs
    if outputs.shape[1] == 2:
        outputs = outputs[:, 1:] - outputs[:, :1]
    return kernels.logistic(outputs) if outputs.shape[1] == 1 else kernels.softmax(outputs)


def grid_of(model: Model, examples: Examples, points: Array, size: int) -> dict[str, Any]:
    """The predictions over the plane, for one map or one for each of several classes."""
    xp = namespace(points)
    seen = predictions(model(points), examples.task)
    if examples.task == VALUES and examples.inputs == 1:
        return packed(seen[:, 0])
    low, high = 0.0, 1.0
    if examples.task == VALUES:
        low, high = examples.values or (0.0, 1.0)
    scaled = as_bytes((seen - low) * (255.0 / (high - low)))
    shape = (scaled.shape[1], *([points.shape[0]] if examples.are_images else [size] * examples.inputs))
    maps = xp.reshape(xp.permute_dims(scaled, (1, 0)), shape)
    return packed(maps) | {"low": low, "high": high}


def passages_of(model: Model, points: Array) -> dict[str, Passage]:
    """What passes through each layer, at inference."""
    passages: dict[str, Passage] = {}
    ctx = Context(False, model.wiring.state.tree(model.state), False, False)
    with_hooks(model.network, passages).forward(model.wiring.params.tree(model.theta), points, ctx)
    return passages


def maps_of(model: Model, paths: Mapping[str, str], points: Array, shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """The outputs of each unit over the plane, or of each filter over an image, each on its own scale."""
    passages, maps = passages_of(model, points), []
    xp = namespace(points)
    for name, path in paths.items():
        y = passages[path].y
        area = tuple(y.shape[1:-1]) or shape
        y = xp.reshape(y, (-1, y.shape[-1]))
        scale = xp.max(xp.abs(y), axis=0)
        safe = xp.where(scale > 0.0, scale, xp.ones_like(scale))
        rows = xp.permute_dims(as_bytes(128.0 + 127.0 * (y / safe)), (1, 0))
        seen = packed(xp.reshape(rows, (y.shape[1], *area)))
        maps.append({"layer": name, "maps": seen, "scale": [*map(finite, numbers(scale))]})
    return maps


# --- The numbers of the network --------------------------------------------------------------------------------------


def weights_of(model: Model, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Weights and biases of each layer."""
    params = model.params
    return [
        {"layer": name, "weight": packed(params[f"{name}.weight"]), "bias": packed(params[f"{name}.bias"])}
        for name in names
    ]


def step_on_sample(model: Model, examples: Examples, loss: str, passages: dict[str, Passage]) -> Step:
    """The loss and its gradient on some training examples, in training mode; `passages` gets what passes."""
    X, y = sample(examples, loss)
    chosen = loss_named(loss)
    target, weights = chosen.prepare(y, (X.shape[0], *model.output_shape), model.theta.dtype)
    wiring = Wiring(with_hooks(model.network, passages), model.wiring.params, model.wiring.state)
    return loss_and_gradient(
        wiring, model.theta, model.state, X, target, weights, chosen, training=True, key=Key(0), step=0
    )


def sample(examples: Examples, loss: str) -> tuple[Array, Array]:
    """At most 256 training examples, or 64 images, spread over all."""
    stride = -(-examples.X.shape[0] // (SAMPLE // 4 if examples.are_images else SAMPLE))
    X, y = examples.X[::stride, ...], examples.y[::stride, ...]
    return X, y[:, None] if is_of_one_output(loss) else y


def gradients_of(model: Model, gradient: Array, names: Mapping[str, str]) -> dict[str, float]:
    """The Euclidean norm of the gradient of each layer."""
    xp, views = namespace(gradient), model.wiring.params.views(gradient)
    squares = [xp.sum(views[f"{name}.weight"] ** 2) + xp.sum(views[f"{name}.bias"] ** 2) for name in names]
    return dict(zip(names, numbers(xp.sqrt(xp.stack(squares))), strict=True))


def histogram(layer: str, of: str, x: Array) -> dict[str, Any]:
    """How often numbers lie in each of 24 bins."""
    xp = namespace(x)
    flat = xp.reshape(x, (-1,))
    low, high = float(xp.min(flat)), float(xp.max(flat))
    width = (high - low) / BINS or 1.0
    bins = xp.arange(BINS, dtype=flat.dtype, device=device_of(flat))
    position = xp.floor((flat - low) / width)
    position = xp.where(position < BINS, position, xp.full_like(position, BINS - 1.0))
    counts = xp.sum(xp.astype(position[:, None] == bins[None, :], xp.float32), axis=0)
    entries = [int(count) for count in numbers(counts)]
    return {"layer": layer, "of": of, "low": finite(low), "high": finite(high), "counts": entries}


# --- How good it is --------------------------------------------------------------------------------------------------


def scores(model: Model, examples: Examples, loss: str) -> tuple[dict[str, float], dict[str, float]]:
    """The loss, and accuracy or R2, on the training and the test examples."""
    losses: dict[str, float] = {}
    rights: dict[str, float] = {}
    pairs = {"train": (examples.X, examples.y), "test": (examples.X_test, examples.y_test)}
    for part, (X, y) in pairs.items():
        if X is None or y is None:
            continue
        outputs = model(X)
        target = y[:, None] if is_of_one_output(loss) else y
        losses[part] = float(loss_named(loss)(outputs, target))
        rights[part] = float(accuracy(outputs, target) if examples.task == CLASSES else r2(outputs, y))
    return losses, rights
