"""Optimizers whose step depends on whole parameters: they need the position of each in theta."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nnarray.backends import namespace
from nnarray.checks import in_range, integer
from nnarray.functional.layout import Layout
from nnarray.kernels.standard.numerics import scaled
from nnarray.optimizers.adaptive import Moments
from nnarray.optimizers.transforms import DecoupledDecay, Info, Slots, Transform
from nnarray.typing import Array, Shape

NEWTON_SCHULZ = 3.4445, -4.775, 2.0315
"""Coefficients of x, x^3 and x^5, for `Muon` [1]_, that bring singular values near 1 in few rounds."""


def parameters(layout: Layout | None, theta: Array) -> Iterator[tuple[slice, Shape]]:
    """The position and shape of each parameter in theta; without a layout, theta is a single parameter."""
    if layout is None:
        yield slice(0, theta.shape[0]), theta.shape
    else:
        yield from ((slice(slot.start, slot.stop), slot.param.shape) for slot in layout.slots)


def length(x: Array) -> Array:
    """The Euclidean norm, shape (1,), for finite numbers of any size; 0 if there are none."""
    xp = namespace(x)
    if not x.shape[0]:
        return xp.zeros_like(xp.sum(x, keepdims=True))
    _, size, norm = scaled(x)
    return size * norm


@dataclass(frozen=True, repr=False)
class LAMB(Moments):
    """Adam's step for each parameter w, scaled to the norm of w: for large batches.

    r = m' / (sqrt(v') + epsilon) + weight_decay w;  w <- w - lr (norm(w) / norm(r)) r, where the ratio is 1 if a
    norm is 0.

    Parameters
    ----------
    lr : float or Schedule
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
        Above 0.

    References
    ----------
    .. [1] You et al. (2020), Large batch optimization for deep learning: training BERT in 76 minutes. ICLR.
    """

    epsilon: float = 1e-6

    decoupled = True

    @property
    def transforms(self) -> tuple[Transform, ...]:
        return tuple(each for each in super().transforms if not isinstance(each, DecoupledDecay))

    def apply_in(self, theta: Array, gradient: Array, slots: Slots, info: Info) -> tuple[Array, Slots]:
        xp, rate = namespace(theta), info.numbers["rate"]
        minus, slots = self.apply(xp.zeros_like(theta), gradient, slots, info.numbers | {"rate": 1.0})
        shrunk = theta if info.decays is None else theta * info.decays
        step = self.unit_of_decay * shrunk - minus if self.unit_of_decay else -minus
        ratios = [
            xp.broadcast_to(_ratio(theta[part], step[part]), (part.stop - part.start,))
            for part, _ in parameters(info.layout, theta)
        ]
        return (theta - (rate * xp.concat(ratios)) * step if ratios else theta), slots


def _ratio(w: Array, step: Array) -> Array:
    """norm(w) / norm(step), 1 where one of them is 0."""
    xp, top, bottom = namespace(w), length(w), length(step)
    return xp.where((top == 0) | (bottom == 0), 1.0, top / xp.where(bottom == 0, 1.0, bottom))


@dataclass(frozen=True, repr=False)
class Muon(Moments):
    """Weights: steps along the orthogonal matrix nearest to the running mean of gradients. Other parameters: AdamW.

    For a weight W of a rows and b columns: m <- mu m + (1 - mu) g;  W <- W - lr 0.2 sqrt(max(a, b)) O. O
    approximates U V^T of the singular value decomposition U S V^T of mu m + (1 - mu) g, by Newton-Schulz iteration.
    The factor makes these steps about as long as AdamW's [2]_, so that one learning rate suits all parameters.
    Weight decay is decoupled, as in AdamW. The filters of a convolution are the columns of its weight. Parameters
    with fewer than two axes take AdamW's steps.

    Parameters
    ----------
    lr : float or Schedule
    beta1, beta2, epsilon : float
        Settings of AdamW, for the other parameters.
    momentum : float
        mu, in [0, 1).
    rounds : int
        The number of Newton-Schulz iterations.

    References
    ----------
    .. [1] Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks. kellerjordan.github.io.
    .. [2] Liu et al. (2025), Muon is scalable for LLM training. arXiv:2502.16982.
    """

    momentum: float = field(default=0.95, kw_only=True)
    rounds: int = field(default=5, kw_only=True)
    weight_decay: float = field(default=0.01, kw_only=True)

    decoupled = True

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.momentum, "momentum", 0, 1)
        object.__setattr__(self, "rounds", integer(self.rounds, "rounds", 1, usual=5))

    def apply_in(self, theta: Array, gradient: Array, slots: Slots, info: Info) -> tuple[Array, Slots]:
        pieces: list[tuple[Array, Slots]] = []
        for part, shape in parameters(info.layout, theta):
            own = {name: slot[part] for name, slot in slots.items()}
            rule = self._matrix if len(shape) > 1 and math.prod(shape) else self._rest
            pieces.append(rule(theta[part], gradient[part], own, _of_part(info.numbers, part), shape))
        if not pieces:
            return theta, slots
        xp = namespace(theta)
        after = {name: xp.concat([own[name] for _, own in pieces]) for name in slots}
        return xp.concat([w for w, _ in pieces]), after

    def _rest(self, w: Array, g: Array, slots: Slots, numbers: dict[str, Any], shape: Shape) -> tuple[Array, Slots]:
        return self.apply(w, g, slots, numbers)

    def _matrix(self, w: Array, g: Array, slots: Slots, numbers: dict[str, Any], shape: Shape) -> tuple[Array, Slots]:
        xp, rows = namespace(w), math.prod(shape[:-1])
        mean = self.momentum * slots["mean"] + (1.0 - self.momentum) * g
        ahead = self.momentum * mean + (1.0 - self.momentum) * g
        step = xp.reshape(orthogonal(xp.reshape(ahead, (rows, shape[-1])), self.rounds), (-1,))
        rate = numbers["rate"] * (0.2 * math.sqrt(max(rows, shape[-1])))
        return w - rate * step, {"mean": mean, "square": slots["square"]}


def _of_part(numbers: dict[str, Any], part: slice) -> dict[str, Any]:
    """The numbers of an update of some entries: with groups, each entry has a rate of its own."""
    rate = numbers["rate"]
    return numbers | {"rate": rate[part]} if getattr(rate, "ndim", 0) else numbers


def orthogonal(x: Array, rounds: int) -> Array:
    """Approximately U V^T of the decomposition x = U S V^T: rounds of x <- a x + (b x x^T + c (x x^T)^2) x."""
    if x.shape[0] > x.shape[1]:
        return orthogonal(x.T, rounds).T
    xp = namespace(x)
    x, _, norm = scaled(x)
    x = x / xp.maximum(norm, 1.0)  # the norm is at least 4, except for x = 0; then no singular value is above 1
    a, b, c = NEWTON_SCHULZ
    for _ in range(rounds):
        square = xp.matmul(x, x.T)
        x = a * x + xp.matmul(b * square + c * xp.matmul(square, square), x)
    return x
