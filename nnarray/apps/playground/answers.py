"""Answers to single questions: the examples, a point with its values through the network, a step explained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnarray.apps.playground import views
from nnarray.apps.playground.built import is_of_one_output, shown_paths
from nnarray.apps.playground.catalog import CLASSES, DATA
from nnarray.apps.playground.checking import Wrong, at, finite, number, several, whole
from nnarray.apps.playground.formulas import Formula
from nnarray.apps.playground.lab import Lab
from nnarray.apps.playground.packing import as_bytes, numbers, packed
from nnarray.apps.playground.points import Examples, examples
from nnarray.apps.playground.settings import DataSettings
from nnarray.backends import device_of, namespace
from nnarray.explanations import explain
from nnarray.explanations.records import Step
from nnarray.kernels.compilation import quiet
from nnarray.typing import Array

TRUTH = 200
"""Points of the curve without noise."""
FEW = 4
"""Images of a preview."""


def data(given: Examples) -> dict[str, Any]:
    """The examples as the page gets them."""
    X_test, y_test = given.X_test, given.y_test
    if X_test is None or y_test is None:
        X_test, y_test = given.X[:0, ...], given.y[:0, ...]
    return {
        "type": "data",
        "task": given.task,
        "classes": [*given.classes],
        "axes": [*given.axes],
        "target": given.target,
        "range": [[*map(finite, each)] for each in given.ranges],
        "values": given.values and [*map(finite, given.values)],
        "train": _rows(given.X, given.y),
        "test": _rows(X_test, y_test),
        "truth": given.truth and _truth(given, given.truth),
        "sheet": _sheet(given) if given.are_images else None,
    }


def _sheet(given: Examples) -> dict[str, Any]:
    """The images that are shown, as bytes, and their labels."""
    X, y = given.sheet
    part = "train" if given.X_test is None else "test"
    return {"part": part, "images": packed(as_bytes(255.0 * X)), "labels": [*map(int, numbers(y))]}


def _rows(X: Array, y: Array) -> dict[str, Any]:
    """Inputs and targets side by side; of images the targets alone."""
    xp = namespace(X)
    X = X[:, :0, 0, 0] if X.ndim == 4 else X
    return packed(xp.concat([X, xp.reshape(xp.astype(y, X.dtype), (X.shape[0], 1))], axis=1))


@quiet
def _truth(given: Examples, formula: Formula) -> dict[str, Any]:
    x = views.plane(given, TRUTH)[:, 0]
    return packed(0.0 * x + formula(x=x))


def previews(lab: Lab, count: int) -> dict[str, Any]:
    """A few examples of each kind of data that needs nothing of the user."""
    kinds = [name for name, kind in DATA.items() if kind.make or name == "step"]
    sizes = {name: FEW if DATA[name].images else count for name in kinds}
    made = {name: examples(DataSettings(kind=name, n=n, test=0.0), lab.be, "float32") for name, n in sizes.items()}
    shown: dict[str, Any] = {}
    for name, each in made.items():
        shown[name] = {"task": each.task, "points": _rows(each.X, each.y)}
        if each.are_images:
            shown[name]["sheet"] = _sheet(each)
    return {"type": "previews", "previews": shown}


# --- A point ---------------------------------------------------------------------------------------------------------


def _point(lab: Lab, place: Any) -> Array:
    """A point as an array of one example.

    Raises
    ------
    Wrong
        If it is no list with a number for each axis, or the examples are images.
    """
    if lab.examples.are_images:
        raise Wrong("is for points, and the examples are images; choose one of these.", "at")
    inputs = lab.examples.inputs
    numbers_of = at("at", several(number(), inputs, inputs), place)
    return lab.be.asarray([[*numbers_of]], dtype=lab.examples.X.dtype)


@quiet
def probe(lab: Lab, place: Any) -> dict[str, Any]:
    """The values of a point through the network, and what is predicted."""
    x = _point(lab, place)
    passages = views.passages_of(lab.model, x)
    layers = [
        {"layer": name, "values": [*map(finite, numbers(passages[path].y))]}
        for name, path in shown_paths(lab.settings.network).items()
    ]
    outputs = passages[""].y
    probabilities: list[float] | None = None
    if lab.examples.task == CLASSES:
        seen = numbers(views.predictions(outputs, CLASSES))
        probabilities = [1.0 - seen[0], seen[0]] if len(seen) == 1 else seen
    return {
        "type": "probe",
        "at": [*map(finite, numbers(x))],
        "layers": layers,
        "outputs": [*map(finite, numbers(outputs))],
        "probabilities": probabilities and [*map(finite, probabilities)],
        "class": probabilities and probabilities.index(max(probabilities)),
    }


# --- A step ----------------------------------------------------------------------------------------------------------


def explanation(lab: Lab, message: Mapping[str, Any]) -> dict[str, Any]:
    """One forward and backward step of one example, with numbers, each gradient checked by finite differences."""
    x, y = _asked(lab, message)
    found = explain(lab.model, x, y[:, None] if is_of_one_output(lab.loss) else y, lab.loss)
    return {
        "type": "explanation",
        "ok": found.ok,
        "loss": finite(found.loss),
        "loss_name": found.loss_name,
        "loss_formula": found.loss_formula,
        "inputs": [] if lab.examples.are_images else [*map(finite, numbers(x))],
        "target": finite(numbers(y)[0]),
        "lines": [*found.loss_arithmetic.forward, *found.loss_arithmetic.backward],
        "verdict": str(found).rpartition("\n")[2],
        "layers": [_layer(step) for step in found.steps if step.outputs is not None],
    }


def _asked(lab: Lab, message: Mapping[str, Any]) -> tuple[Array, Array]:
    """The example that a message asks about."""
    given = lab.examples
    if "at" not in message:
        i = at("example", whole(0, given.X.shape[0] - 1), message.get("example", 0))
        return given.X[i : i + 1, ...], given.y[i : i + 1, ...]
    xp = namespace(given.y)
    if given.task == CLASSES:
        target = at("target", whole(0, len(given.classes) - 1), message.get("target"))
    else:
        target = at("target", number(), message.get("target"))
    shape = (1, *given.y.shape[1:])
    return _point(lab, message["at"]), xp.full(shape, target, dtype=given.y.dtype, device=device_of(given.y))


def _layer(step: Step) -> dict[str, Any]:
    """A layer of an explanation."""
    assert step.outputs is not None
    gradients = [
        {
            "name": each.name,
            "shape": [*each.shape],
            "norm": finite(each.norm),
            "values": [*map(finite, each.values)],
            **(
                {}
                if each.check is None
                else {
                    "along": finite(each.check.gradient),
                    "difference": finite(each.check.difference),
                    "relative": finite(each.check.relative),
                    "ok": bool(each.check.ok),
                }
            ),
        }
        for each in step.gradients
    ]
    return {
        "layer": step.name,
        "is": step.layer,
        "formula": step.formula,
        "outputs": [*map(finite, step.outputs.values)],
        "forward": [*step.arithmetic.forward],
        "backward": [*step.arithmetic.backward],
        "gradients": gradients,
    }
