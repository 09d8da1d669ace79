"""What there is to choose from, as the library lists it: datasets, activations, losses, optimizers, schedules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from inspect import signature
from typing import Any

from nnarray import datasets, schedules
from nnarray.kernels.functions import FUNCTIONS
from nnarray.layers.initializers import INITIALIZERS
from nnarray.losses import LOSSES
from nnarray.optimizers import OPTIMIZERS, stepwise

CLASSES, VALUES = "classes", "values"


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    Attributes
    ----------
    task : str
        "classes" or "values"; empty if the data themselves decide.
    inputs : int
        The number of inputs; 0 if the data decide.
    options : dict
        The further arguments by name, with their default values.
    make : function, optional
        The dataset of the library.
    images : bool
        Whether an example is an image.
    suggests : dict
        Settings to begin with, after data of another shape.
    """

    task: str
    inputs: int
    options: dict[str, Any]
    make: Callable[..., Any] | None = None
    images: bool = False
    suggests: dict[str, Any] = field(default_factory=dict[str, Any])


def _dataset(make: Callable[..., Any], task: str) -> Kind:
    common = ("n", "noise", "seed", "dtype", "backend")
    options = {name: each.default for name, each in signature(make).parameters.items() if name not in common}
    return Kind(task, 2 if task == CLASSES else 1, options, make)


CONVOLUTIONAL: dict[str, Any] = {
    "data": {"n": 400},
    "network": {"layers": [{"units": 8, "activation": "elu"}] * 3},
}
"""A network that learns small images, and as many of them as it needs."""

_OF_CLASSES = ("moons", "circles", "spirals", "blobs", "xor", "checkerboard")

DATA: dict[str, Kind] = {
    **{name: _dataset(getattr(datasets, name), CLASSES) for name in _OF_CLASSES},
    **{name: _dataset(getattr(datasets, name), VALUES) for name in ("line", "sine")},
    "step": Kind(VALUES, 1, {}),
    "pets": Kind(CLASSES, 3, {"size": 24}, datasets.pets, images=True, suggests=CONVOLUTIONAL),
    "formula": Kind("", 0, {}),
    "drawn": Kind(CLASSES, 2, {}),
    "table": Kind("", 0, {}),
    "arrays": Kind("", 0, {}),
}

ACTIVATIONS = tuple(FUNCTIONS)
AUTO = "auto"
INITS = (AUTO, *INITIALIZERS)
BY_TASK = {
    CLASSES: (AUTO, "cross_entropy", "binary_cross_entropy"),
    VALUES: (AUTO, *(name for name in LOSSES if "cross_entropy" not in name)),
}
ALL_LOSSES = (AUTO, *LOSSES)
PRECISIONS = ("float32", "float64")

_NOT_OPTIONS = ("groups", "weight_decay")


def options_of(kind: type) -> dict[str, Any]:
    """The settings of an optimizer with their default values; weight decay is a setting of its own."""
    return {each.name: each.default for each in fields(kind) if each.name not in _NOT_OPTIONS}


STEPPERS: dict[str, dict[str, Any]] = {name: options_of(kind) for name, kind in OPTIMIZERS.items() if stepwise(kind)}

USUAL: dict[str, dict[str, Any]] = {
    "step": {"every": 100, "factor": 0.5},
    "exponential": {"factor": 0.995},
    "cosine": {"epochs": 500},
    "one_cycle": {"epochs": 500},
    "warm_up": {"epochs": 20},
    "plateau": {},
}
"""Values for what a schedule has no default."""

RATES: dict[str, type[schedules.Schedule]] = {
    "step": schedules.Step,
    "exponential": schedules.Exponential,
    "cosine": schedules.Cosine,
    "one_cycle": schedules.OneCycle,
    "warm_up": schedules.WarmUp,
    "plateau": schedules.Plateau,
}


def _of_schedule(name: str, kind: type[schedules.Schedule]) -> dict[str, Any]:
    free = [each for each in fields(kind) if each.name not in ("lr", "steps", "then")]
    return {each.name: USUAL[name].get(each.name, None if each.default is MISSING else each.default) for each in free}


SCHEDULES: dict[str, dict[str, Any]] = {"constant": {}} | {
    name: _of_schedule(name, kind) for name, kind in RATES.items()
}

LAYERS, UNITS, KERNEL, POINTS, EXAMPLES = 8, 64, 7, 400, 5000
"""The largest numbers of hidden layers, of units in one, of rows of a filter, of drawn points, and of examples."""
IMAGES, SIDES = 2000, (8, 48)
"""The largest number of images, and the fewest and most pixels along a side."""


def catalog() -> dict[str, Any]:
    """All of it, as the page gets it."""
    return {
        "data": {
            name: {
                "task": kind.task,
                "inputs": kind.inputs,
                "options": kind.options,
                "images": kind.images,
                "suggests": kind.suggests,
            }
            for name, kind in DATA.items()
        },
        "activations": list(ACTIVATIONS),
        "initializers": list(INITS),
        "losses": {task: list(names) for task, names in BY_TASK.items()},
        "optimizers": STEPPERS,
        "schedules": SCHEDULES,
        "precisions": list(PRECISIONS),
        "limits": {"layers": LAYERS, "units": UNITS, "kernel": KERNEL, "points": POINTS, "n": EXAMPLES},
    }
