"""Recurrent layers: RNN, GRU and LSTM, one step of the sequence after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from nnarray.backends import device_of
from nnarray.onnx.operators.activations import activated
from nnarray.onnx.operators.common import space
from nnarray.onnx.operators.table import operator

WEIGHTS = {1: "glorot", 2: "orthogonal", 3: "zeros"}
PLAIN = {"Tanh": "tanh", "Sigmoid": "logistic", "Relu": "relu", "Softplus": "softplus", "Softsign": "softsign"}
Function = Callable[[Any], Any]


class Settings(NamedTuple):
    """The settings that all recurrent layers share."""

    functions: list[Function]
    clip: float | None


def _function(name: str, alpha: float | None, beta: float | None) -> Function:
    if name in PLAIN:
        return activated(PLAIN[name])
    a, b = alpha, beta
    made: dict[str, Function] = {
        "LeakyRelu": activated("leaky_relu", slope=0.01 if a is None else a),
        "ThresholdedRelu": lambda x: space(x).where(x > (1.0 if a is None else a), x, space(x).zeros_like(x)),
        "Elu": activated("elu", alpha=1.0 if a is None else a),
        "HardSigmoid": lambda x: space(x).clip((0.2 if a is None else a) * x + (0.5 if b is None else b), 0.0, 1.0),
        "Affine": lambda x: (1.0 if a is None else a) * x + (0.0 if b is None else b),
        "ScaledTanh": lambda x: (1.0 if a is None else a) * space(x).tanh((1.0 if b is None else b) * x),
    }
    if name not in made:
        raise ValueError(
            f"there is no activation {name!r} in recurrent layers; use one of {', '.join([*PLAIN, *made])}"
        )
    return made[name]


TAKES_ALPHA = ("LeakyRelu", "ThresholdedRelu", "Elu", "HardSigmoid", "Affine", "ScaledTanh")
TAKES_BETA = ("HardSigmoid", "Affine", "ScaledTanh")


def _functions(names: Any, usual: tuple[str, ...], count: int, alphas: Any, betas: Any) -> list[Function]:
    """The activations of all directions; the numbers are given one after the other to those that take them."""
    alpha, beta = iter(alphas or ()), iter(betas or ())
    return [
        _function(
            each, next(alpha, None) if each in TAKES_ALPHA else None, next(beta, None) if each in TAKES_BETA else None
        )
        for each in (names or usual * count)
    ]


def _clipped(x: Any, clip: float | None) -> Any:
    return x if clip is None else space(x).clip(x, -clip, clip)


def _recurrent(
    step: Callable[..., Any],
    x: Any,
    weight: Any,
    recurrence: Any,
    bias: Any,
    lengths: Any,
    states: list[Any],
    usual: tuple[str, ...],
    settings: dict[str, Any],
) -> tuple[Any, list[Any]]:
    """The outputs of all steps, and the last state of each kind: shape (directions, batch, hidden)."""
    xp, layout = space(x, weight, recurrence), settings["layout"]
    direction = settings["direction"]
    if direction not in ("forward", "reverse", "bidirectional"):
        raise ValueError(f"the direction must be forward, reverse or bidirectional; got {direction!r}")
    x = xp.permute_dims(x, (1, 0, 2)) if layout else x
    count, hidden = weight.shape[0], recurrence.shape[-1]
    shape = (count, x.shape[1], hidden)
    every = [
        xp.zeros(shape, dtype=x.dtype, device=device_of(x))
        if s is None
        else xp.permute_dims(s, (1, 0, 2))
        if layout
        else s
        for s in states
    ]
    functions = _functions(settings["activations"], usual, count, settings["alphas"], settings["betas"])
    outputs: list[Any] = []
    lasts: list[list[Any]] = []
    for d in range(count):
        own = Settings(functions[d * len(usual) : (d + 1) * len(usual)], settings["clip"])
        run = functools.partial(step, own, weight[d, ...], recurrence[d, ...], None if bias is None else bias[d, ...])
        is_reverse = direction == "reverse" or d == 1
        ys, last = _through(run, x, [s[d, ...] for s in every], lengths, is_reverse=is_reverse)
        outputs.append(ys)
        lasts.append(last)
    y = xp.stack(outputs, axis=1)
    ends = [xp.stack([last[i] for last in lasts], axis=0) for i in range(len(states))]
    if layout:
        y, ends = xp.permute_dims(y, (2, 0, 1, 3)), [xp.permute_dims(each, (1, 0, 2)) for each in ends]
    return y, ends


def _through(run: Any, x: Any, states: list[Any], lengths: Any, *, is_reverse: bool) -> tuple[Any, list[Any]]:
    """All steps of one direction; steps beyond the end of a sequence change nothing and give 0."""
    xp, ys = space(x, *states), list[Any]()
    steps = range(x.shape[0])
    for t in reversed(steps) if is_reverse else steps:
        new = run(x[t, ...], *states)
        if lengths is None:
            states = list(new)
            ys.append(states[0])
            continue
        is_there = space(lengths).reshape(lengths > t, (-1, 1))
        states = [xp.where(is_there, n, s) for n, s in zip(new, states, strict=True)]
        ys.append(xp.where(is_there, states[0], xp.zeros_like(states[0])))
    return xp.stack(ys[::-1] if is_reverse else ys, axis=0), states


def _biases(bias: Any, parts: int, hidden: int) -> tuple[list[Any], list[Any]]:
    """The biases of the inputs and of the recurrence, for each gate."""
    if bias is None:
        return [0.0] * parts, [0.0] * parts
    each = [bias[i * hidden : (i + 1) * hidden] for i in range(2 * parts)]
    return each[:parts], each[parts:]


@operator("RNN", 7, weights=WEIGHTS)
def rnn(
    x: Any,
    weight: Any,
    recurrence: Any,
    bias: Any = None,
    sequence_lens: Any = None,
    initial_h: Any = None,
    *,
    activation_alpha: Any = None,
    activation_beta: Any = None,
    activations: Any = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> Any:
    """h = f(x W + h R + b)."""
    settings = _settings(activations, activation_alpha, activation_beta, clip, direction, layout)

    def step(own: Settings, w: Any, r: Any, b: Any, x: Any, h: Any) -> Any:
        (wb,), (rb,) = _biases(b, 1, r.shape[-1])
        return (own.functions[0](_clipped(x @ w.T + h @ r.T + wb + rb, own.clip)),)

    y, (h,) = _recurrent(step, x, weight, recurrence, bias, sequence_lens, [initial_h], ("Tanh",), settings)
    return y, h


def _settings(activations: Any, alphas: Any, betas: Any, clip: Any, direction: str, layout: int) -> dict[str, Any]:
    return {
        "activations": activations,
        "alphas": alphas,
        "betas": betas,
        "clip": clip,
        "direction": direction,
        "layout": layout,
    }


@operator("GRU", 7, weights=WEIGHTS)
def gru(
    x: Any,
    weight: Any,
    recurrence: Any,
    bias: Any = None,
    sequence_lens: Any = None,
    initial_h: Any = None,
    *,
    activation_alpha: Any = None,
    activation_beta: Any = None,
    activations: Any = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> Any:
    """h = (1 - z) g + z h, with an update gate z and a reset gate r."""
    settings = _settings(activations, activation_alpha, activation_beta, clip, direction, layout)

    def step(own: Settings, w: Any, r: Any, b: Any, x: Any, h: Any) -> Any:
        n = r.shape[-1]
        f, g = own.functions
        (wz, wr, wh), (rz, rr, rh) = _biases(b, 3, n)
        both, past = x @ w.T, h @ r[: 2 * n, :].T
        z = f(_clipped(both[:, :n] + past[:, :n] + wz + rz, own.clip))
        reset = f(_clipped(both[:, n : 2 * n] + past[:, n:] + wr + rr, own.clip))
        last = r[2 * n :, :].T
        inner = reset * (h @ last + rh) if linear_before_reset else (reset * h) @ last + rh
        new = g(_clipped(both[:, 2 * n :] + inner + wh, own.clip))
        return ((1.0 - z) * new + z * h,)

    y, (h,) = _recurrent(step, x, weight, recurrence, bias, sequence_lens, [initial_h], ("Sigmoid", "Tanh"), settings)
    return y, h


@operator("LSTM", 7, weights=WEIGHTS | {7: "zeros"})
def lstm(
    x: Any,
    weight: Any,
    recurrence: Any,
    bias: Any = None,
    sequence_lens: Any = None,
    initial_h: Any = None,
    initial_c: Any = None,
    peepholes: Any = None,
    *,
    activation_alpha: Any = None,
    activation_beta: Any = None,
    activations: Any = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> Any:
    """c = f c + i g, h = o tanh c, with an input gate i, an output gate o and a forget gate f."""
    settings = _settings(activations, activation_alpha, activation_beta, clip, direction, layout)
    count, hidden = weight.shape[0], recurrence.shape[-1]
    if peepholes is not None:  # they travel with the bias, one part of a direction
        bias = _with_zeros(x, bias, (count, 8 * hidden))
        bias = space(bias, peepholes).concat([bias, peepholes], axis=1)

    def step(own: Settings, w: Any, r: Any, b: Any, x: Any, h: Any, c: Any) -> Any:
        f, g, last = own.functions
        n = r.shape[-1]
        peep = (
            [0.0] * 3 if peepholes is None else [b[(8 + i) * n : (9 + i) * n] * c for i in (0, 2)] + [b[9 * n : 10 * n]]
        )
        z = x @ w.T + h @ r.T
        if b is not None:
            z = z + b[: 4 * n] + b[4 * n : 8 * n]
        i = f(_clipped(z[:, :n] + peep[0], own.clip))
        forget = 1.0 - i if input_forget else f(_clipped(z[:, 2 * n : 3 * n] + peep[1], own.clip))
        c = forget * c + i * g(_clipped(z[:, 3 * n :], own.clip))
        o = f(_clipped(z[:, n : 2 * n] + (peep[2] * c), own.clip))
        return o * last(c), c

    usual = ("Sigmoid", "Tanh", "Tanh")
    y, (h, c) = _recurrent(step, x, weight, recurrence, bias, sequence_lens, [initial_h, initial_c], usual, settings)
    return y, h, c


def _with_zeros(x: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    return space(x).zeros(shape, dtype=x.dtype, device=device_of(x)) if bias is None else bias
