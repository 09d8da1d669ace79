"""Every kernel of the table on every backend, beside its definition in float64 on NumPy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import nnarray as nn
from nnarray import backends, kernels, losses, random
from nnarray.kernels.numpy import general
from nnarray.kernels.numpy import images as pictures
from nnarray.kernels.standard.windows import Window
from nnarray.layers.activations import FUNCTIONS
from tests.packages import package
from tests.tolerances import as_called, close, to_host

special, stats = package("scipy.special"), package("scipy.stats")

RNG = np.random.default_rng(0)


class Case(NamedTuple):
    """Arguments of a kernel; arrays of floats are rounded to the dtype under test first."""

    args: tuple[Any, ...]
    options: dict[str, Any]


def case(*args: Any, **options: Any) -> Case:
    return Case(args, options)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    return np.abs(normal(*shape)) + 0.1


# --- Cases: the usual one first, then the edges ----------------------------------------------------------------------


def far_out(name: str) -> np.ndarray:
    """Ordinary numbers, and a row each of numbers that are none, too large, too small, and on a corner."""
    x = normal(6, 5)
    large = 1e4 if name == "sin" else 1e38  # whose digits no float32 knows
    x[1] = np.nan, np.inf, -np.inf, 0.0, -0.0
    x[2] = large, -large, 1e4, -1e4, 1e-30
    x[3] = 1.0, -1.0, 3.0, -3.0, 100.0
    return x


def of_function(name: str) -> list[Case]:
    return [case(far_out(name)), case(normal(0, 5)), case(normal(1, 1))]


def of_pullback(name: str) -> list[Case]:
    """dy is infinite or nan where x is ordinary, for pullbacks that work entry by entry."""
    found = []
    for given in of_function(name):
        (x,) = given.args
        y, dy = kernels.TABLE[name].definition(x), normal(*x.shape)
        if name not in ("softmax", "log_softmax") and len(x) > 1:
            x[0], dy[0] = (0.5, -0.4, 1.5, -1.6, 0.7), (np.inf, -np.inf, np.nan, np.inf, -np.inf)
            y = kernels.TABLE[name].definition(x)
        found.append(case(dy, None if FUNCTIONS[name].from_output else x, y))
    return found


def of_entries(loss: nn.Loss) -> list[Case]:
    shapes = ((6, 4), (0, 4), (1, 1), (3,), (2, 3, 2))
    return [case(normal(*shape), normal(*shape), loss.entry) for shape in shapes]


def of_entropy() -> list[Case]:
    logits = normal(5, 4)
    logits[1] = 1e4, -1e4, 0.0, 1e4
    logits[2] = 1e38, -1e38, 0.0, 1e38
    probabilities = RNG.dirichlet(np.ones(4), 5)
    return [
        case(logits, probabilities),
        case(logits[:0], probabilities[:0]),
        case(normal(1, 2), np.asarray([[0.0, 1.0]])),
    ]


def of_labels() -> list[Case]:
    (logits, _), _ = of_entropy()[0]
    return [
        case(logits, np.arange(5) % 4),
        case(logits[:0], np.arange(0)),
        case(normal(3, 300), np.asarray([0, 255, 7], dtype=np.uint8)),  # more classes than the dtype counts
        case(normal(2, 3, 4), np.asarray([[0, 1, 2], [3, 2, 1]], dtype=np.int16)),
    ]


def of_update(vectors: int, variants: list[dict[str, Any]], squares: int = 1) -> list[Case]:
    """theta, gradient and slots, the last of which are means of squares."""
    found = []
    for size, options in zip((1001, 0, 1), (variants * 3)[:3], strict=True):
        args = [normal(size) for _ in range(vectors - squares)] + [np.abs(normal(size)) for _ in range(squares)]
        found.append(case(*args, **options))
    return found


# Window(size, stride, padding, dilation)
WINDOW = Window((3, 2), (2, 2), ((1, 1), (0, 1)))
DILATED = Window((2, 2), (1, 1), ((0, 0), (2, 1)), (3, 2))
GAPS = Window((1, 2), (3, 4))
PICTURES = normal(2, 7, 6, 4)
TIES = np.round(normal(2, 7, 6, 4))
HOLES = PICTURES.copy()
HOLES[0, 0, :2, 0], HOLES[1, 3, 3, 1], HOLES[1, 6, 5] = np.nan, np.inf, -np.inf


def of_convolution(*, back: bool) -> list[Case]:
    found = []
    for x, window, groups, bias in (
        (PICTURES, WINDOW, 2, True),
        (PICTURES, DILATED, 1, False),
        (PICTURES, Window((1, 1)), 1, True),
        (PICTURES, GAPS, 4, False),
        (PICTURES[:0], WINDOW, 1, True),
        (PICTURES[:1], Window((7, 6)), 1, True),
    ):
        weight = normal(*window.size, 4 // groups, 8)
        if back:
            dy = normal(len(x), *window.output_size(x.shape[1:3]), 8)
            asked = {"input_gradient": bias, "bias_gradient": groups == 1}
            found.append(case(dy, x, weight, window=window, groups=groups, **asked))
        else:
            found.append(case(x, weight, normal(8) if bias else None, window=window, groups=groups))
    return found


def of_pool(name: str) -> list[Case]:
    found = []
    for x, window in ((TIES, WINDOW), (HOLES, GAPS), (PICTURES, DILATED), (PICTURES[:0], WINDOW)):
        output_size = window.output_size(x.shape[1:3])
        dy, counts = normal(len(x), *output_size, 4), positive(*output_size, 1) + 1.0
        args = {
            "max_pool": lambda x=x: (x,),
            "max_pool_pullback": lambda x=x, dy=dy, w=window: (dy, x, kernels.max_pool.definition(x, window=w)),
            "mean_pool": lambda x=x, counts=counts: (x, counts),
            "mean_pool_pullback": lambda x=x, dy=dy, counts=counts: (dy, x, counts),
        }[name]()
        found.append(case(*args, window=window))
    if name == "max_pool_pullback":
        (dy, x, y), options = found[0]
        dy = dy.copy()
        dy[0, 0, 0] = np.nan, np.inf, -np.inf, 0.0
        found.append(case(dy, x, y, **options))
    return found


def of_attention(*, back: bool) -> list[Case]:
    found = []
    for shape, groups, keys, causal, first in (
        ((2, 4, 5, 3), 2, 7, True, 2),
        ((2, 2, 6, 4), 2, 6, True, 0),
        ((1, 3, 1, 2), 1, 1, False, 0),
        ((2, 2, 131, 3), 1, 131, True, 0),  # more queries than a block has
        ((0, 2, 4, 3), 2, 4, False, 0),
        ((2, 2, 0, 3), 2, 0, True, 0),
    ):
        if back and first:
            continue
        batch, heads, queries, size = shape
        q, k, v = normal(*shape), normal(batch, groups, keys, size), normal(batch, groups, keys, size)
        mask = RNG.random((batch, keys)) < 0.7
        mask[1:2] = False  # nobody to see
        kept = RNG.random((batch, heads, queries, keys)) < 0.5
        for seen, dropped in ((None, None), (mask, None), (mask, kept)):
            settings = {"causal": causal, "rate": 0.0 if dropped is None else 0.5}
            args = q, k, v
            if back:
                y, normaliser = kernels.attention.definition(q, k, v, seen, dropped, **settings)
                args = normal(*shape), q, k, v, y, normaliser
            else:
                settings["first"] = first
            found.append(case(*args, seen, dropped, **settings))
    return found


FLAT = np.stack([np.full(4, 3.0), normal(4)])  # a row without variance


def of_activated_affine(*, back: bool) -> list[Case]:
    found = []
    for name, shape, units, bias in (
        ("tanh", (6, 3), 4, True),
        ("gelu", (2, 3, 5, 7), 3, True),  # its pullback reads the inputs
        ("relu", (1100, 2), 5, True),
        ("identity", (5, 3), 70, False),
        ("softmax", (4, 3), 5, True),  # not entry by entry
        ("silu", (4, 3), 5, False),
        ("tanh", (0, 3), 4, True),
    ):
        f, x, weight = FUNCTIONS[name], normal(*shape), normal(shape[-1], units)
        if not back:
            found.append(case(x, weight, normal(units) if bias else None, function=f))
            continue
        z, y = kernels.activated_affine.definition(x, weight, None, function=f)
        asked = {"input_gradient": bias, "bias_gradient": name not in ("relu", "identity")}
        found.append(case(normal(*y.shape), x, weight, z, y, function=f, **asked))
    return found


def of_activated_convolution(*, back: bool) -> list[Case]:
    found = []
    names = ("tanh", "silu", "relu", "identity", "tanh", "gelu")
    for name, (args, options) in zip(names, of_convolution(back=False), strict=True):
        x, weight, bias = args
        options = options | {"function": FUNCTIONS[name]}
        if not back:
            found.append(case(*args, **options))
            continue
        z, y = kernels.activated_convolution.definition(x, weight, None, **options)
        asked = {"input_gradient": bias is not None, "bias_gradient": options["groups"] == 1}
        found.append(case(normal(*y.shape), x, weight, z, y, **asked, **options))
    return found


NORMALISED = [
    (normal(5, 3, 4), (0, 1)),
    (FLAT, (1,)),
    (normal(1, 1), (1,)),
    (normal(0, 4), (1,)),
    (normal(2500, 3) * np.asarray([1.0, 1e-3, 1e3]) + np.asarray([0.0, 0.0, 1e4]), (0,)),
]
RESPONSE = {"size": 3, "alpha": 0.3, "beta": 0.6, "k": 1.5}
LARGE_RESPONSE = RESPONSE | {"size": 6}


def of_normalise_pullback() -> list[Case]:
    pairs = [(x, axes, kernels.normalise.definition(x, axes=axes, epsilon=1e-5)) for x, axes in NORMALISED]
    return [case(normal(*x.shape), found[0], found[1], axes=axes) for x, axes, found in pairs]


def of_batch_norm_pullback() -> list[Case]:
    cases = of_normalise_pullback()
    leading = [args for args, options in cases if options["axes"] == tuple(range(args[0].ndim - 1))]
    assert leading
    return [case(dz, z, positive(dz.shape[-1]), inverse) for dz, z, inverse in leading]


def of_normalised_relu() -> list[Case]:
    found = []
    for shape, window in (
        ((5, 3, 4), None),
        ((90, 40), None),
        ((2, 5, 7, 16), Window((2, 2), (2, 2))),
        ((3, 4, 6, 24), Window((2, 3), (2, 3))),
        ((2, 6, 5, 8), Window((3, 3), (2, 2), ((1, 1), (1, 1)))),
        ((2, 4, 4, 3), Window((2, 2), (2, 2))),
    ):
        weight = normal(shape[-1])
        weight[0] = 0.0  # all entries of a window are equal
        x = normal(*shape) + normal(shape[-1])
        found.append(case(x, weight, normal(shape[-1]), epsilon=1e-5, window=window))
    return found


def of_recurrence() -> list[Case]:
    found = []
    for name, (batch, positions, features, units), settings in (
        ("lstm", (5, 4, 3, 2), {}),
        ("gru", (2, 3, 4, 5), {"reverse": True}),
        ("tanh", (13, 2, 1, 16), {"input_gradient": False}),
        ("relu", (3, 5, 2, 7), {}),
        ("lstm", (9, 3, 2, 19), {"reverse": True}),
        ("gru", (1, 1, 1, 1), {}),
        ("gru", (0, 3, 2, 4), {}),
        ("lstm", (2, 0, 3, 4), {}),
    ):
        cell = kernels.CELLS[name]
        width = cell.gates * units
        weights = normal(features, width), 0.3 * normal(units, width)
        biases = (normal(width), normal(width)) if name != "relu" else (None, None)
        states = [normal(batch, units) if name in ("gru", "lstm") and i < cell.states else None for i in range(2)]
        mask = np.arange(positions)[None, :] < RNG.integers(0, positions + 1, (batch, 1)) if batch > 3 else None
        found.append(case(normal(batch, positions, features), *weights, *biases, *states, mask, cell=cell, **settings))
    return found


ADAM = {"rate": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "correction1": 0.3, "correction2": 0.03}
NADAM = {"rate": 0.1, "mean_rate": 0.2, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "correction2": 0.03}
RADAM = {name: ADAM[name] for name in ("rate", "beta1", "beta2", "epsilon", "correction1")} | {
    "trust": 0.2,
    "plain": 0.0,
}
ADAMAX = {"rate": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "correction1": 0.3}
MOMENTUM = {"rate": 0.1, "momentum": 0.9}

CASES: dict[str, Callable[[], list[Case]]] = {
    **{name: (lambda name=name: of_function(name)) for name in FUNCTIONS},
    **{f"{name}_pullback": (lambda name=name: of_pullback(name)) for name in FUNCTIONS},
    "erfc": lambda: [
        case(np.concatenate((np.linspace(-30, 30, 241), [np.nan, np.inf, -np.inf, 1e38]))),
        *of_function(""),
    ],
    "affine": lambda: [
        case(normal(6, 3), normal(3, 4), normal(4)),
        case(normal(0, 3), normal(3, 4), None),
        case(normal(1, 1), normal(1, 1), normal(1)),
        case(normal(2, 3, 5, 7), normal(7, 3), normal(3)),
    ],
    "affine_pullback": lambda: [
        case(normal(2, 6, 4), normal(2, 6, 3), normal(3, 4)),
        case(normal(0, 4), normal(0, 3), normal(3, 4)),
        case(normal(1, 1), normal(1, 1), normal(1, 1)),
        case(normal(5, 3), normal(5, 7), normal(7, 3), input_gradient=False),
        case(normal(5, 3), normal(5, 7), normal(7, 3), bias_gradient=False),
    ],
    "activated_affine": lambda: of_activated_affine(back=False),
    "activated_affine_pullback": lambda: of_activated_affine(back=True),
    "mean_of_entries": lambda: [
        *of_entries(losses.MeanSquaredError()),
        *of_entries(losses.MeanAbsoluteError()),
        *of_entries(losses.Huber(0.7)),
        *(case(*args, losses.BinaryCrossEntropy().entry) for args, _ in of_entropy()),
    ],
    "cross_entropy": of_entropy,
    "cross_entropy_of_labels": of_labels,
    "reduced_cross_entropy_of_labels": lambda: [
        *(case(*args, total=total) for args, _ in of_labels() for total in (None, 3)),
        case(normal(600, 3), RNG.integers(0, 3, 600), total=600),
    ],
    "sgd_update": lambda: of_update(2, [{"rate": 0.1}]),
    "momentum_update": lambda: of_update(3, [MOMENTUM | {"nesterov": n} for n in (True, False)]),
    "adam_update": lambda: of_update(4, [ADAM]),
    "decayed": lambda: [
        case(normal(1001), normal(1001), np.round(RNG.random(1001)), decay=0.3),
        case(normal(5), normal(5), None, decay=0.3),
        case(normal(0), normal(0), np.zeros(0), decay=0.3),
    ],
    "shrunk": lambda: [
        case(normal(70_001), np.round(RNG.random(70_001)), factor=0.3),
        case(normal(0), np.zeros(0), factor=0.3),
    ],
    "limited_gradient": lambda: [
        case(normal(1001)),
        case(normal(0)),
        case(np.asarray([np.inf, -np.inf, np.nan, 1.0])),
    ],
    "rmsprop_update": lambda: of_update(3, [{"rate": 0.1, "decay": 0.9, "epsilon": 1e-8}]),
    "adagrad_update": lambda: of_update(3, [{"rate": 0.1, "epsilon": 1e-8}]),
    "amsgrad_update": lambda: of_update(5, [ADAM], squares=2),
    "nadam_update": lambda: of_update(4, [NADAM]),
    "radam_update": lambda: of_update(4, [RADAM, RADAM | {"trust": 0.0, "plain": 1.0}]),
    "adamax_update": lambda: of_update(4, [ADAMAX]),
    "adadelta_update": lambda: of_update(4, [{"rate": 0.1, "decay": 0.9, "epsilon": 1e-6}], squares=2),
    "lion_update": lambda: of_update(3, [{"rate": 0.1, "beta1": 0.9, "beta2": 0.99}]),
    "convolution": lambda: of_convolution(back=False),
    "convolution_pullback": lambda: of_convolution(back=True),
    "activated_convolution": lambda: of_activated_convolution(back=False),
    "activated_convolution_pullback": lambda: of_activated_convolution(back=True),
    **{
        name: (lambda name=name: of_pool(name))
        for name in ("max_pool", "max_pool_pullback", "mean_pool", "mean_pool_pullback")
    },
    "normalise": lambda: [case(x, axes=axes, epsilon=1e-5) for x, axes in NORMALISED],
    "normalise_pullback": of_normalise_pullback,
    "scale_and_shift": lambda: [
        case(normal(*shape), normal(shape[-1]), normal(shape[-1])) for shape in ((4, 3), (2, 3, 1, 5), (6,))
    ],
    "batch_norm": lambda: [
        case(normal(*s), *(normal(s[-1]) for _ in range(3)), positive(s[-1]), epsilon=1e-5)
        for s in ((4, 3), (2, 3, 1, 5), (0, 3))
    ],
    "moving_average": lambda: [
        case(normal(4), positive(1, 1, 4), momentum=0.1, factor=1.25),
        case(normal(1), positive(1, 1), momentum=1.0),
    ],
    "batch_norm_pullback": of_batch_norm_pullback,
    "normalised_relu": of_normalised_relu,
    "local_response": lambda: [case(x, **o) for x, o in ((PICTURES, RESPONSE), (normal(3, 5), LARGE_RESPONSE))],
    "local_response_pullback": lambda: [
        case(normal(*x.shape), x, **o) for x, o in ((PICTURES, RESPONSE), (normal(3, 5), LARGE_RESPONSE))
    ],
    "ellipse": lambda: [
        case(normal(2, 1, 5), normal(2, 6, 1), 0.1, positive(2, 1, 1), positive(2, 1, 1), 0.4, positive(2, 1, 1)),
        case(normal(2, 6, 5), normal(2, 6, 5), 0.0, 0.0, 0.5, 0.4, positive(2, 1, 1) * 9),
    ],
    "blend": lambda: [
        case(normal(3, 2, 6, 5), normal(3, 2, 1, 1), positive(2, 6, 5)),
        case(normal(3, 2, 1, 1), normal(3, 2, 1, 1), positive(2, 6, 5)),
    ],
    "lookup": lambda: [
        case(normal(7, 3), np.asarray([[0, 6], [3, 3]])),
        case(normal(7, 3), np.asarray([-1, 7, 2, 200], dtype=np.int16)),
        case(normal(7, 3), np.asarray([5, 255], dtype=np.uint8)),
        case(normal(1, 1), np.zeros((0, 2), dtype=np.int32)),
    ],
    "block": lambda: [
        case(normal(7, 3), np.asarray(2, dtype=np.int32), count=5),
        case(normal(7), np.asarray(0, dtype=np.int32), count=7),
    ],
    "scatter_add": lambda: [
        case(normal(9, 3), np.asarray([4, 0, 4, 4, 1, 4, 0, 4, 6]), count=7),
        case(normal(1000, 2), RNG.integers(0, 5, 1000), count=5),
        case(normal(5, 3), np.asarray([0, -1, 3, 2, 9], dtype=np.int16), count=3),
        case(normal(0, 3), np.asarray([], dtype=np.int32), count=3),
        case(normal(1, 1), np.asarray([0], dtype=np.uint8), count=1),
    ],
    "inserted": lambda: [
        case(normal(2, 6, 3), normal(2, 2, 3), 1, axis=1),
        case(normal(2, 6, 3), normal(2, 6, 1), np.asarray(2, dtype=np.int32), axis=-1),
        case(normal(5), normal(5), 0, axis=0),
        case(normal(5), normal(1), 4, axis=0),
    ],
    "recurrence": of_recurrence,
    "after": lambda: [case(normal(3, 4), normal(2)), case(normal(0, 4), normal(1))],
    "recorded": lambda: [case(normal(3, 4), normal(4), lambda x, theta: x * theta, None)],
    "held": lambda: [case(normal(3, 4), None), case(normal(4), np.asarray([True, False, True, True]))],
    "linked": lambda: [case(np.asarray(0.5), (), ())],
    "with_pullback": lambda: [case(normal(3), normal(3), function=lambda a, b: (a * b, lambda dy: (dy * b, dy * a)))],
    "threefry": lambda: [
        case(np.arange(-50, 951, dtype=np.int32), 7, -3, 99),
        case(np.arange(0, dtype=np.int32), 0, 1, 2),
        case(np.asarray(-1, dtype=np.int32), -1, -1, -1),
        case(np.arange(6, dtype=np.int32).reshape(2, 3), *(np.asarray(word, dtype=np.int32) for word in (1, -2, 3))),
    ],
}


def heads_in_a_row(batch: int, positions: int, heads: tuple[int, ...], size: int) -> list[np.ndarray]:
    """Arrays of heads that lie next to each other in memory."""
    whole = normal(batch, positions, sum(heads), size)
    parts = np.split(whole, np.cumsum(heads)[:-1], axis=2)
    return [part.transpose(0, 2, 1, 3) for part in parts]


CASES |= {
    "attention": lambda: of_attention(back=False),
    "attention_pullback": lambda: of_attention(back=True),
    "joined_heads": lambda: [
        case(normal(2, 3, 5, 4)),
        case(normal(2, 3, 5, 4), normal(2, 1, 5, 4), normal(2, 1, 5, 4)),
        case(normal(2, 3, 0, 4), normal(2, 1, 0, 4)),
        case(*heads_in_a_row(2, 5, (3, 1, 1), 4)),
    ],
    "rotated": lambda: [
        case(normal(2, 3, 5, 6), normal(5, 3), normal(5, 3)),
        case(normal(2, 0, 4), normal(0, 2), normal(0, 2)),
    ],
    "layer_norm": lambda: [
        case(x, normal(x.shape[-1]), normal(x.shape[-1]), epsilon=1e-5)
        for x in (normal(4, 3), normal(2, 5, 7), normal(0, 3), 3.0 + normal(300, 60), FLAT)
    ],
    "layer_norm_pullback": lambda: [
        case(normal(*s), normal(*s), normal(s[-1]), normal(*s[:-1], 1), positive(*s[:-1], 1))
        for s in ((4, 3), (2, 5, 7), (0, 3), (300, 60))
    ],
    "rms_normalise": lambda: [
        case(x, epsilon=1e-5) for x in (normal(4, 3), normal(2, 5, 7), normal(0, 3), 1e20 * normal(2, 4), FLAT)
    ],
    "rms_normalise_pullback": lambda: [
        case(normal(4, 3), normal(4, 3), positive(4, 1)),
        case(normal(0, 3), normal(0, 3), positive(0, 1)),
    ],
    "words": lambda: [case(np.zeros(n, dtype=np.int32), -7, 2**31 - 1) for n in (1001, 0, 1, 2)],
    "dropped": lambda: [
        case(normal(6, 5), RNG.random((6, 5)) < 0.5, scale=2.5),
        case(normal(3, 4, 2), RNG.random((3, 1, 2)) < 0.5, scale=1.25),
        case(normal(0, 5), np.ones((0, 5), dtype=bool), scale=2.0),
    ],
    "joined": lambda: [
        case(normal(2, 3), normal(4), normal(1, 0, 2), normal(1, 1)),
        case(*(normal(1 + i % 3) for i in range(70))),
        case(normal(0)),
    ],
    "stacked": lambda: [case(normal(1), *(np.asarray(x) for x in normal(n))) for n in (40, 1)],
    "shortened": lambda: [
        case(x, norm=norm)
        for x in (normal(700), np.zeros(3), np.asarray([1e30, -1e30]), HOLES.ravel())
        for norm in (0.7, 1e3)
    ],
    "guarded_product": lambda: [
        case(normal(5, 3), normal(3)),
        case(np.asarray([0.0, 1.0, 3.0, 2.0, np.nan]), np.asarray([np.nan, np.inf, np.nan, 0.5, 0.0])),
        case(np.asarray([0.0, np.nan, 1.0]), 0.0),
        case(normal(0, 3), normal(3)),
    ],
    "spread": lambda: [
        case(np.asarray(2.0), (1, 1), (3, 2)),
        case(normal(3), (3, 1), (3, 4)),
        case(normal(3, 4).T, (4, 1, 3), (4, 2, 3)),
        case(normal(2, 1, 3), (2, 1, 3), (2, 1, 3)),
        case(normal(3), (1, 3), (0, 3)),
        case(normal(0), (0, 1), (0, 3)),
    ],
    "summed_to": lambda: (
        [case(normal(3, 4), shape) for shape in ((), (4,), (1,), (3, 1), (1, 4), (1, 1), (3, 4))]
        + [case(normal(3, 0), (3, 1)), case(normal(0, 3), (3,)), case(normal(5, 2, 3).T, (2, 1))]
    ),
    "put": lambda: [
        case(normal(3, 4), (slice(1, 2), ...), normal(4)),
        case(normal(3, 4), (slice(None), 2), 0.5),
        case(normal(5), (slice(0, 0), ...), 1.0),
    ],
    "all_finite": lambda: [case(x) for x in (normal(700), HOLES, normal(0, 3), np.asarray([np.inf]))],
}
BUILT = {name: CASES[name]() for name in sorted(CASES)}
LOSSES = {"mean_of_entries", "cross_entropy", "cross_entropy_of_labels", "reduced_cross_entropy_of_labels"}
ALSO_WIDE = {"normalise", "rms_normalise", "layer_norm", "attention"}
EXACT = {"threefry": "int32", "words": "int32", "all_finite": "bool"}  # the dtypes of results that nobody rounds
UPDATES = sorted(name for name in CASES if name.endswith("_update"))
PURE = sorted(set(CASES) - {*UPDATES, "inserted"})


def is_array(given: Any) -> bool:
    return hasattr(given, "shape")


def moved(be: nn.Backend, cases: list[Case], dtype: str) -> list[Case]:
    """The same cases with arrays of the backend's own, which a kernel may consume."""

    def move(a: Any) -> Any:
        return be.asarray(a.copy(), dtype=dtype if a.dtype.kind == "f" else a.dtype.name) if is_array(a) else a

    return [Case(tuple(map(move, args)), options) for args, options in cases]


def rounded(cases: list[Case], dtype: str) -> list[Case]:
    """The same cases with what `moved` makes of the numbers, in float64."""

    def rounding(a: Any) -> Any:
        return a.astype(dtype).astype(float) if is_array(a) and a.dtype.kind == "f" else a

    return [Case(tuple(map(rounding, args)), options) for args, options in cases]


def called(be: nn.Backend, function: Callable[..., Any], cases: list[Case]) -> list[list[Any]]:
    """The arrays that the function gives in each case; all arrays that it is given are what a compiler would trace."""

    def of_arrays(arrays: list[list[Any]]) -> list[list[Any]]:
        found = []
        for (args, options), part in zip(cases, map(iter, arrays), strict=True):
            result = function(*(next(part) if is_array(a) else a for a in args), **options)
            results = list(result) if isinstance(result, tuple) else [result]
            if callable(results[-1]):  # a pullback
                results = [*results[:-1], *results[-1](results[0])]
            found.append([r for r in results if r is not None])
        return found

    return as_called(be, of_arrays)([[a for a in args if is_array(a)] for args, _ in cases])


def pairs(got: list[list[Any]], want: list[list[Any]]) -> Iterator[tuple[int, Any, Any]]:
    """The results beside the expected ones, and which of a kernel's results it is."""
    for found, expected in zip(got, want, strict=True):
        for i, (g, w) in enumerate(zip(found, expected, strict=True)):
            yield i, g, w


def definition(name: str, cases: list[Case], dtype: str) -> list[list[np.ndarray]]:
    return called(nn.backend("numpy"), kernels.TABLE[name].definition, rounded(cases, dtype))


def dtype_of(name: str, position: int, dtype: str) -> str:
    """The dtype of a kernel's result; losses and statistics are never narrower than float32."""
    if name in EXACT:
        return EXACT[name]
    is_wide = (name in LOSSES and position == 0) or (name in ALSO_WIDE and position > 0)
    is_wide = is_wide or (name == "normalised_relu" and position in (1, 2))
    return "float32" if is_wide and dtype == "float16" else dtype


def test_no_kernel_escapes() -> None:
    assert set(CASES) == set(kernels.TABLE)


@pytest.mark.parametrize("name", sorted(CASES))
def test_kernel_agrees_with_its_definition(be: nn.Backend, dtype: str, name: str) -> None:
    """Values, shapes, dtype, library and device, on what is usual and at the edges; and arguments stay as they were."""
    given, want = moved(be, BUILT[name], dtype), definition(name, BUILT[name], dtype)
    for i, g, w in pairs(called(be, kernels.TABLE[name], given), want):
        assert backends.namespace(g) is be.xp
        assert backends.device_of(g) == be.device
        assert tuple(g.shape) == w.shape
        assert g.dtype == getattr(be.xp, dtype_of(name, i, dtype))
        close(to_host(be, g), w.astype(float), dtype, c=0.0 if name in EXACT else 200.0)
    if name in PURE:
        for i, (after, before) in enumerate(zip(given, rounded(BUILT[name], dtype), strict=True)):
            for a, b in zip(after.args, before.args, strict=True):
                if is_array(b):
                    np.testing.assert_array_equal(to_host(be, a), b, err_msg=f"case {i}: written to")


def test_erfc_is_as_exact_as_it_says(be: nn.Backend, dtype: str) -> None:
    x = np.linspace(-6, 9 if dtype == "float32" else 26, 997).astype(dtype)
    for function in (kernels.erfc, kernels.erfc.definition):
        got = to_host(be, as_called(be, function)(be.asarray(x)))
        error = np.abs(got / special.erfc(x.astype(float)) - 1.0).max()
        assert error < (5e-6 if dtype == "float32" else 2e-13)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_one_hot_counts_beyond_the_type_of_the_labels(be: nn.Backend, dtype: str) -> None:
    labels = np.asarray([[0, 5], [127, 44]], dtype=dtype)
    got = kernels.one_hot(be.asarray(labels), 300, like=be.asarray([0.0], dtype="float32"))
    np.testing.assert_array_equal(to_host(be, got), np.eye(300)[labels.astype(int)])
    assert got.dtype == be.dtype("float32")


@pytest.mark.parametrize("name", sorted(CASES))
def test_fast_versions_have_the_parameters_of_the_definition(be: nn.Backend, name: str) -> None:
    kernel = kernels.TABLE[name]
    chosen = kernel._choose(be.asarray([1.0]))  # loads the library's versions
    assert chosen is kernel.overrides.get(be.library.name, kernel.definition)
    if chosen.__module__ and chosen.__module__.startswith("nnarray"):  # others are the library's own functions
        own, defined = (inspect.signature(f).parameters.values() for f in (chosen, kernel.definition))
        assert [(p.name, p.kind, p.default) for p in own] == [(p.name, p.kind, p.default) for p in defined]


def laid_out(be: nn.Backend, a: Any, layout: str) -> Any:
    if not is_array(a) or not a.ndim:
        return moved(be, [case(a)], "float32")[0].args[0]
    changed = {"strided": np.repeat(a, 2, axis=-1), "transposed": a.T, "reversed": a[::-1]}[layout]
    ((x,), _) = moved(be, [case(np.ascontiguousarray(changed))], "float32")[0]
    if layout == "strided":
        return x[..., ::2]
    return be.xp.permute_dims(x, tuple(range(a.ndim))[::-1]) if layout == "transposed" else be.xp.flip(x, axis=0)


@pytest.mark.not_on("jax")  # it has one layout, into which it copies
@pytest.mark.parametrize("name", sorted(CASES))
def test_kernels_take_any_memory_layout(be: nn.Backend, name: str) -> None:
    want = definition(name, BUILT[name], "float32")
    for layout in ("strided", "transposed", "reversed"):
        given = [Case(tuple(laid_out(be, a, layout) for a in args), options) for args, options in BUILT[name]]
        for _, g, w in pairs(called(be, kernels.TABLE[name], given), want):
            close(to_host(be, g), w.astype(float), "float32", c=0.0 if name in EXACT else 200.0)


@pytest.mark.parametrize("name", PURE)
def test_kernels_only_read(host: nn.Backend, name: str) -> None:
    """A write would raise: that is how a stray `+=` is found."""
    given = moved(host, BUILT[name], "float64")
    for args, _ in given:
        for a in filter(is_array, args):
            a.flags.writeable = False
    called(host, kernels.TABLE[name], given)


@pytest.mark.parametrize("name", UPDATES)
def test_numbers_of_updates_may_be_arrays(be: nn.Backend, name: str) -> None:
    """A compiled step gets them so; they are not consumed."""
    args, options = BUILT[name][0]
    numbers = {
        key: be.asarray(np.asarray(options[key]), dtype="float32")
        for key in ("rate", "mean_rate", "correction1", "correction2", "trust", "plain")
        if key in options
    }
    got = called(be, kernels.TABLE[name], moved(be, [Case(args, options | numbers)], "float32"))
    for _, g, w in pairs(got, definition(name, [Case(args, options)], "float32")):
        assert g.dtype == be.dtype("float32")
        close(to_host(be, g), w, "float32", c=200.0)
    for key, value in numbers.items():
        assert float(value) == np.float32(options[key])


@pytest.mark.parametrize("name", PURE)
@pytest.mark.parametrize("flag", ["numpy", "torch", "cupy"])
def test_half_precision_stays_half_precision(flag: str, name: str) -> None:
    be = nn.backend(flag)
    args, options = BUILT[name][0]
    cases = [Case(tuple(a.clip(-5, 5) if is_array(a) and a.dtype.kind == "f" else a for a in args), options)]
    got = called(be, kernels.TABLE[name], moved(be, cases, "float16"))
    for i, g, w in pairs(got, definition(name, cases, "float16")):
        assert g.dtype == getattr(be.xp, dtype_of(name, i, "float16"))
        close(to_host(be, g), w.astype(float), "float16", c=50.0)


MANY, LARGE = np.ones((9000, 2)), np.full((1, 5), 300.0)
HALF = {
    "affine_pullback": case(MANY, MANY, np.ones((2, 2))),
    "convolution_pullback": case(
        MANY.reshape(1, 90, 100, 2), np.ones((1, 90, 101, 2)), np.ones((1, 2, 2, 2)), window=Window((1, 2))
    ),
    "normalise": case(np.asarray([[400.0, -400.0] * 600]), axes=(1,), epsilon=1e-5),
    "normalise_pullback": case(
        np.full((1, 1200), 300.0), np.asarray([[300.0, -1.0] * 600]), np.full((1, 1), 1e-3), axes=(1,)
    ),
    "local_response": case(LARGE, **RESPONSE),
    "local_response_pullback": case(LARGE, LARGE, **RESPONSE),
    "mean_pool": case(np.full((1, 2, 3, 1), 3e4), np.full((1, 1, 1), 6.0), window=Window((2, 3))),
    "softmax": case(np.asarray([[6e4, 0.0, -6e4] * 999])),
    "mean_of_entries mse": case(LARGE, np.zeros((1, 5)), losses.MeanSquaredError().entry),
    "mean_of_entries huber": case(LARGE * 200, np.zeros((1, 5)), losses.Huber(2.0).entry),
}


@pytest.mark.parametrize("name", HALF)
@pytest.mark.parametrize("flag", ["numpy", "torch", "jax"])
def test_half_precision_has_room_for_sums(flag: str, name: str) -> None:
    """float16 ends at 65,504, and adding 1 stops to count at 2,048."""
    be, given, name = nn.backend(flag), [HALF[name]], name.split()[0]
    with np.errstate(over="ignore"):  # a result may not fit
        got = called(be, kernels.TABLE[name], moved(be, given, "float16"))
        for _, g, w in pairs(got, definition(name, given, "float16")):
            fits = w.astype("float16").astype(float) if g.dtype == be.dtype("float16") else w
            close(to_host(be, g), fits, "float16", c=20.0)


# --- What only large arrays meet -------------------------------------------------------------------------------------


def test_adam_in_blocks_is_adam(host: nn.Backend) -> None:
    """More entries than a block, and a rest."""
    size = general.BLOCK * 2 + 17
    args = [normal(size), normal(size), normal(size), np.abs(normal(size))]
    want = kernels.adam_update.definition(*[a.copy() for a in args], **ADAM)
    for g, w in zip(kernels.adam_update(*args, **ADAM), want, strict=True):
        close(g, w, "float64")


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu", "tanh"])
def test_functions_of_many_entries_are_the_functions(be: nn.Backend, name: str) -> None:
    """Where loops are compiled, they begin with more entries than the other tests have."""
    x, dy = (each.astype(np.float32).astype(float) for each in (normal(300, 400) * 3.0, normal(300, 400)))
    x[0, :5] = np.nan, np.inf, -np.inf, 100.0, -100.0
    function, row = kernels.TABLE[name], FUNCTIONS[name]
    y = function.definition(x)
    given = [be.asarray(each, dtype="float32") for each in (dy, x, y)]
    close(to_host(be, function(given[1])), y, "float32", c=400.0)
    kept = (given[0], None if row.from_output else given[1], given[2])
    want = row.pullback.definition(dy, x, y)  # type: ignore[attr-defined]
    close(to_host(be, row.pullback(*kept)), want, "float32", c=400.0)


@pytest.mark.parametrize("flag", ["numpy", "torch"])
def test_one_row_with_many_vectors(flag: str) -> None:
    """The scores of all tokens for the next one."""
    be, x, vectors = nn.backend(flag), normal(1, 1, 64), normal(2**15, 64)
    given, weight = be.asarray(x, dtype="float32"), be.asarray(vectors, dtype="float32").T
    close(to_host(be, kernels.affine(given, weight, None)), x @ vectors.T, "float32", c=400.0)


def test_threefry_in_blocks_is_threefry(host: nn.Backend) -> None:
    counter = np.arange(general.BLOCK * 2 + 17, dtype=np.int32)
    for g, w in zip(kernels.threefry(counter, 1, 2, 3), kernels.threefry.definition(counter, 1, 2, 3), strict=True):
        np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("entries", [1, 40, 150, 10_000])
@pytest.mark.parametrize("name", ["convolution", "convolution_pullback"])
def test_convolution_in_blocks_is_convolution(monkeypatch, name: str, entries: int) -> None:
    """One row of places at a time, a few rows, one picture, all."""
    monkeypatch.setattr(pictures, "COLUMNS", entries)
    got = called(nn.backend("numpy"), kernels.TABLE[name], BUILT[name])
    for _, g, w in pairs(got, definition(name, BUILT[name], "float64")):
        close(g, w, "float64", c=500)


# --- Draws -----------------------------------------------------------------------------------------------------------

VECTORS_OF_RANDOM123 = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "words"), VECTORS_OF_RANDOM123)
def test_threefry_gives_the_published_words(be: nn.Backend, key, counter, words) -> None:
    k0, k1, low, high = (kernels.signed(w) for w in (*key, *counter))
    given = be.asarray(np.asarray([low], dtype=np.int32))
    for cipher in (kernels.threefry, kernels.threefry.definition):
        got = as_called(be, lambda c, cipher=cipher: cipher(c, high, k0, k1))(given)
        assert tuple(int(w[0]) & 0xFFFFFFFF for w in got) == words
    assert tuple(w & 0xFFFFFFFF for w in random._threefry_of_integers(low, high, k0, k1)) == words


def where(be: nn.Backend) -> dict[str, Any]:
    return {"xp": be.xp, "device": be.device}


def test_draws_are_the_same_bits_everywhere(be: nn.Backend, host: nn.Backend) -> None:
    key = nn.Key(2**63 + 5).fold("somewhere").fold(3)

    def drawn(on: nn.Backend) -> list[np.ndarray]:
        def of_key(*words: Any) -> tuple[Any, ...]:
            own, float32 = nn.Key(*words), on.dtype("float32")
            return (
                random.bits(own, (7, 13), **where(on)),
                random.uniform(own, (101,), dtype=float32, **where(on)),
                random.bernoulli(own, (101,), 0.3, **where(on)),
                random.permutation(own, 101, **where(on)),
                random.normal(own, (101,), dtype=float32, **where(on)),
            )

        return [on.to_numpy(a) for a in as_called(on, of_key)(key.word0, key.word1)]

    *exact, about = zip(drawn(be), drawn(host), strict=True)
    for got, want in exact:
        np.testing.assert_array_equal(got, want)
    close(about[0], about[1].astype(float), "float32")  # ln, cos and sin are each library's own


def test_keys_fold_alike_on_the_host_and_in_arrays(be: nn.Backend) -> None:
    """Where a step is compiled, the key and the step are arrays."""
    for name in (0, 5, 2**31 - 1, "layer"):
        want = nn.Key(2**64 - 1).fold(name)
        words = [be.asarray(np.asarray(w, dtype=np.int32)) for w in (nn.Key(2**64 - 1).word0, nn.Key(2**64 - 1).word1)]
        names = [name] if isinstance(name, str) else [name, be.asarray(np.asarray(name, dtype=np.int32))]
        for each in names:
            got = nn.Key(*words).fold(each)
            assert (int(got.word0), int(got.word1)) == (want.word0, want.word1)


def test_draws_stay_random_inside_jit() -> None:
    jax = pytest.importorskip("jax")
    be = nn.backend("jax")

    @jax.jit
    def drawn(step: Any) -> Any:
        return random.bits(nn.Key(4).fold("layer").fold(step), (8,), xp=be.xp, device=None)

    found = []
    for step in (0, 1, 2):
        want = random.bits(nn.Key(4).fold("layer").fold(step), (8,), **where(be))
        found.append(np.asarray(drawn(step)))
        np.testing.assert_array_equal(found[-1], want)
    assert len({each.tobytes() for each in found}) == 3


N = 100_000


def test_bits_are_fair(host: nn.Backend) -> None:
    """Each of the 32 bits is 1 in half of the words, and no two of them go together, within 5 standard deviations."""
    words = random.bits(nn.Key(5), (N,), **where(host)).view(np.uint32)
    ones = np.unpackbits(words.view(np.uint8).reshape(N, 4), axis=1).astype(float)
    assert np.abs(ones.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(N)
    assert np.abs(np.corrcoef(ones.T) - np.eye(32)).max() < 5 / np.sqrt(N)
    assert abs(np.corrcoef(words[1:], words[:-1])[0, 1]) < 5 / np.sqrt(N)


def test_uniform_numbers_are_uniform(host: nn.Backend) -> None:
    u = random.uniform(nn.Key(11), (N,), dtype=np.float64, **where(host))
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert np.array_equal(u, np.round(u * 2**24) / 2**24)
    assert abs(u.mean() - 0.5) < 5 * np.sqrt(1 / 12 / N)
    assert stats.kstest(u, "uniform").pvalue > 0.001
    assert random.uniform(nn.Key(11), (N,), dtype=np.float32, **where(host)).astype(float).tolist() == u.tolist()


def test_normal_numbers_are_normal(host: nn.Backend) -> None:
    x = random.normal(nn.Key(11), (N,), dtype=np.float64, **where(host))
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - moment) < 5 * np.sqrt(variance / N)
    assert stats.kstest(x, "norm").pvalue > 0.001
    pairs = x.reshape(-1, 2)  # from the same two draws
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 5 / np.sqrt(N / 2)
    assert abs(np.corrcoef((pairs**2).T)[0, 1]) < 5 / np.sqrt(N / 2)
    assert np.isfinite(random.normal(nn.Key(11), (N,), dtype=np.float32, **where(host))).all()


@pytest.mark.parametrize("probability", [0.0, 2**-32, 0.001, 0.3, 0.5, 0.999, 1.0])
def test_bernoulli_has_its_rate(host: nn.Backend, probability: float) -> None:
    rate = random.bernoulli(nn.Key(3), (N,), probability, **where(host)).mean()
    assert abs(rate - probability) <= 5 * np.sqrt(probability * (1 - probability) / N)
    assert probability != 1.0 or rate == 1.0


def test_permutations_are_permutations_and_all_alike_likely(host: nn.Backend) -> None:
    order = random.permutation(nn.Key(0), N, **where(host))
    assert np.array_equal(np.sort(order), np.arange(N))
    assert abs(np.corrcoef(order, np.arange(N))[0, 1]) < 5 / np.sqrt(N)
    orders = [tuple(random.permutation(nn.Key(0).fold(i), 3, **where(host)).tolist()) for i in range(3000)]
    counts = [orders.count(each) for each in sorted(set(orders))]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 0.001
    assert [random.permutation(nn.Key(0), n, **where(host)).tolist() for n in (0, 1)] == [[], [0]]


def test_short_draws_begin_long_ones(be: nn.Backend) -> None:
    key, float32, sizes = nn.Key(7), be.dtype("float32"), (65, 64, 1, 0)

    def drawn(_: Any) -> list[list[Any]]:
        return [
            [random.bits(key, (n,), **where(be)) for n in sizes],
            [random.uniform(key, (n,), dtype=float32, **where(be)) for n in sizes],
            [random.normal(key, (n,), dtype=float32, **where(be)) for n in sizes],
            [random.bernoulli(key, (n,), 0.4, **where(be)) for n in sizes],
        ]

    for whole, *parts in as_called(be, drawn)(0):
        for part, n in zip(parts, sizes[1:], strict=True):
            assert part.shape == (n,)
            np.testing.assert_allclose(to_host(be, part), to_host(be, whole)[:n], rtol=1e-5)


def test_shapes_only_arrange_the_draws(host: nn.Backend) -> None:
    flat = random.bits(nn.Key(1), (30,), **where(host))
    np.testing.assert_array_equal(random.bits(nn.Key(1), (2, 3, 5), **where(host)), flat.reshape(2, 3, 5))
    assert random.bits(nn.Key(1), (), **where(host)).shape == ()


def test_keys_are_independent_of_each_other(host: nn.Backend) -> None:
    root = nn.Key(0)
    keys = [
        root,
        nn.Key(1),
        nn.Key(2**32),
        root.fold(0),
        root.fold(1),
        root.fold("0"),
        root.fold(""),
        root.fold(0).fold(0),
        root.fold("a").fold("b"),
        root.fold("b").fold("a"),
    ]
    streams = np.stack([random.uniform(key, (N // 10,), dtype=np.float64, **where(host)) for key in keys])
    assert np.abs(np.corrcoef(streams) - np.eye(len(keys))).max() < 5 / np.sqrt(N // 10)
    children = {(key.word0, key.word1) for key in map(root.fold, range(10_000))}
    draws = set(map(tuple, random.bits(root, (10_000, 2), **where(host)).tolist()))
    assert len(children | draws) == 20_000  # what a key draws tells nothing of its children
    assert nn.Key(np.int64(3)) == nn.Key(3)
    assert root.fold(5) == nn.Key(0).fold(5)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "a", None])
def test_bad_seeds(seed: object) -> None:
    with pytest.raises((TypeError, ValueError), match="seed must"):
        nn.Key(seed)


def test_nothing_touches_the_global_generator(host: nn.Backend) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    X, y = nn.datasets.moons(40)
    nn.Network(nn.Dense(3), nn.Dropout(0.5), nn.Dense(2)).init((2,)).fit(X, y, epochs=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
