"""Functions of the standard with arguments, over shapes, axes, broadcasting, ties and zeros; one list for all tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)  # each is itself
class Case:
    """A function f(xp, *arrays), and its arguments in float64."""

    name: str
    f: Callable[..., Any]
    arguments: tuple[np.ndarray, ...]
    second: bool = True  # whether it has second derivatives there

    def __str__(self) -> str:
        return self.name


def numbers(*shape: int, low: float = -1.5, high: float = 1.5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape)


def positive_definite(*shape: int) -> np.ndarray:
    a = numbers(*shape)
    return a @ np.swapaxes(a, -1, -2) + 2 * np.eye(shape[-1])


CASES: list[Case] = []


def case(name: str, f: Callable[..., Any], *arguments: Any, **settings: Any) -> None:
    CASES.append(Case(name, f, tuple(np.asarray(a, dtype=np.float64) for a in arguments), **settings))


def unary(name: str, low: float, high: float) -> None:
    for shape in ((), (3,), (2, 3), (0,)):
        case(f"{name} {shape}", lambda xp, x: getattr(xp, name)(x), numbers(*shape, low=low, high=high))


for name in str.split("abs asinh atan cos cosh exp expm1 sin sinh square tan tanh positive negative conj real"):
    unary(name, -1.3, 1.3)
for name in str.split("log log10 log1p log2 reciprocal sqrt"):
    unary(name, 0.2, 2.0)
for name in str.split("acos asin atanh"):
    unary(name, -0.9, 0.9)
unary("acosh", 1.2, 3.0)
for name in str.split("floor ceil round trunc sign"):
    case(name, lambda xp, x, name=name: getattr(xp, name)(x) * x, numbers(3), second=False)

PAIRS = str.split("add subtract multiply divide maximum minimum atan2 hypot logaddexp remainder copysign")
for name in PAIRS:
    for first, second in (((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2,))):
        case(
            f"{name} {first} {second}",
            lambda xp, x, y, name=name: getattr(xp, name)(x, y),
            numbers(*first, low=0.3, seed=1),
            numbers(*second, low=0.4, seed=2),
            second=name != "remainder",
        )
case("pow", lambda xp, x, y: xp.pow(x, y), numbers(2, 3, low=0.3), numbers(3))
case("pow of numbers", lambda xp, x: x**3 + 2.0**x + x**0.5 + x**-1 + x**2, numbers(3, low=0.3))
case("python numbers", lambda xp, x: 2 * x - x / 3 + 1 / x - (1 - x) * 0.5, numbers(3, low=0.3))
case("clip", lambda xp, x: xp.clip(x, -0.5, 0.7), numbers(9))
case("clip by arrays", lambda xp, x, a, b: xp.clip(x, a, b), numbers(9), numbers(9, high=-0.4), numbers(9, low=0.3))
case("clip named", lambda xp, x, b: xp.clip(x, max=b), numbers(9), numbers(9, low=0.3))
case("where", lambda xp, x, y: xp.where(x > 0, x * y, xp.sin(y)), numbers(2, 4), numbers(4, seed=3))
case("where number", lambda xp, x: xp.where(x > 0, x, 0.5) + xp.where(x > 0, 0.0, x * x), numbers(5))

for axis in (None, 0, -1, (0, 2)):
    for keepdims in (False, True):
        settings = {"axis": axis, "keepdims": keepdims}
        for name in str.split("sum mean var std max min prod"):
            case(
                f"{name} {axis} {keepdims}",
                lambda xp, x, name=name, settings=settings: getattr(xp, name)(x, **settings),
                numbers(2, 3, 4, low=0.5),
            )
case("var correction", lambda xp, x: xp.var(x, axis=0, correction=1) + xp.std(x, axis=0, correction=1.0), numbers(4, 2))
for axis in (0, 1, -1):
    for initial in (False, True):
        for name in str.split("cumulative_sum cumulative_prod"):
            case(
                f"{name} {axis} {initial}",
                lambda xp, x, name=name, axis=axis, initial=initial: getattr(xp, name)(
                    x, axis=axis, include_initial=initial
                ),
                numbers(3, 5, low=0.5),
            )
case("cumulative_sum 1", lambda xp, x: xp.cumulative_sum(x), numbers(4))
case("prod with zeros", lambda xp, x: xp.prod(x, axis=1), [[1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [2.0, 3.0, 0.5]])
case("cumulative_prod with zeros", lambda xp, x: xp.cumulative_prod(x), [2.0, 0.0, 3.0, 0.0, 1.5])
case("diff", lambda xp, x: xp.diff(x, n=2, axis=1), numbers(2, 5))
case("diff prepend", lambda xp, x, p: xp.diff(x, prepend=p, axis=0), numbers(3, 2), numbers(1, 2))

case("reshape", lambda xp, x: xp.reshape(x, (3, -1)), numbers(2, 6))
case("permute_dims", lambda xp, x: xp.permute_dims(x, (2, 0, 1)), numbers(2, 3, 4))
case("matrix_transpose", lambda xp, x: xp.matrix_transpose(x) + x.mT, numbers(2, 3, 4))
case("T", lambda xp, x: x.T, numbers(3, 4))
case("broadcast_to", lambda xp, x: xp.broadcast_to(x, (2, 3, 4)), numbers(3, 1))
case("broadcast_arrays", lambda xp, x, y: sum(xp.broadcast_arrays(x, y)) ** 2, numbers(3, 1), numbers(4))
case("flip", lambda xp, x: xp.flip(x) + xp.flip(x, axis=0), numbers(3, 4))
case("roll", lambda xp, x: xp.roll(x, 2) + xp.roll(x, (1, -1), axis=(0, 1)), numbers(3, 4))
case("fftshift", lambda xp, x: xp.fft.fftshift(x) * xp.fft.ifftshift(x, axes=1), numbers(3, 4))
case("tril triu", lambda xp, x: xp.tril(x, k=-1) + xp.triu(x, k=1) * 2, numbers(2, 3, 4))
case("concat", lambda xp, x, y: xp.concat([x, y, x], axis=1), numbers(2, 3), numbers(2, 1))
case("concat flat", lambda xp, x, y: xp.concat([x, y], axis=None), numbers(2, 3), numbers(4))
case("stack", lambda xp, x, y: xp.stack([x, y, x], axis=-1), numbers(2, 3), numbers(2, 3, seed=1))
case("unstack", lambda xp, x: xp.unstack(x, axis=1)[1] * xp.unstack(x)[0][0], numbers(2, 3))
case("expand_dims", lambda xp, x: xp.expand_dims(x, axis=1) + xp.expand_dims(x, axis=-1), numbers(3, 3))
case("squeeze", lambda xp, x: xp.squeeze(x, axis=(0, 2)), numbers(1, 3, 1))
case("moveaxis", lambda xp, x: xp.moveaxis(x, (0, 1), (-1, 0)), numbers(2, 3, 4))
case("tile", lambda xp, x: xp.tile(x, (2, 1, 3)), numbers(3, 2))
case("repeat", lambda xp, x: xp.repeat(x, 3, axis=1), numbers(2, 3))
case("repeat flat", lambda xp, x: xp.repeat(x, 2), numbers(2, 3))
case("meshgrid", lambda xp, x, y: sum(xp.meshgrid(x, y)) ** 2, numbers(3), numbers(4))
case("meshgrid ij", lambda xp, x, y: sum(xp.meshgrid(x, y, indexing="ij")) ** 2, numbers(3), numbers(4))
case("asarray of lists", lambda xp, x: xp.asarray([[x[0] * x[1], 2.0], (x[1], xp.sin(x[0]))]) ** 2, numbers(2))
case("astype", lambda xp, x: xp.astype(x, xp.float64) * 2, numbers(3))
case("nextafter", lambda xp, x, y: xp.nextafter(x, y) * x, numbers(3), numbers(3, seed=1), second=False)

case("getitem number", lambda xp, x: x[1, ...] * x[-1, ...], numbers(3, 2))
case("getitem slices", lambda xp, x: x[::2, 1:] * x[:-1, None, 0], numbers(3, 3))
case("getitem newaxis", lambda xp, x: x[None, :, None] * x[:, None, None], numbers(3))
case("getitem integers", lambda xp, x: x[xp.asarray([2, 0, 2, -1])], numbers(3))
case("getitem mask", lambda xp, x: x[x > 0], numbers(3, 4))
case("setitem", lambda xp, x, y: written(xp, x, y), numbers(3, 2), numbers(2))
case("setitem into zeros", lambda xp, x: filled(xp, x), numbers(4))
case("take", lambda xp, x: xp.take(x, xp.asarray([2, 0, 2]), axis=1), numbers(2, 3, 2))
case("take_along_axis", lambda xp, x: xp.take_along_axis(x, xp.argsort(-x, axis=1)[:, :2], axis=1), numbers(3, 4))
case("sort", lambda xp, x: xp.sort(x, axis=0) + xp.sort(x, axis=0, descending=True) ** 2, numbers(4, 3))

for first, second in (
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((3,), (5, 3, 2)), ((5, 2, 3), (3,)),
):  # fmt: skip
    case(f"matmul {first} {second}", lambda xp, x, y: x @ y, numbers(*first), numbers(*second, seed=1))
case("tensordot", lambda xp, x, y: xp.tensordot(x, y, axes=((1, 0), (0, 2))), numbers(2, 3, 4), numbers(3, 5, 2))
case("tensordot 1", lambda xp, x, y: xp.tensordot(x, y, axes=1), numbers(2, 3), numbers(3, 2))
case("vecdot", lambda xp, x, y: xp.vecdot(x, y, axis=-2), numbers(3, 2), numbers(3, 2, seed=1))

SQUARE = positive_definite(3, 3)
ASYMMETRIC = SQUARE + 0.3 * numbers(3, 3, seed=5)
case("inv", lambda xp, x: xp.linalg.inv(x), ASYMMETRIC)
case("inv of many", lambda xp, x: xp.linalg.inv(x), positive_definite(2, 3, 3))
case("solve", lambda xp, a, b: xp.linalg.solve(a, b), ASYMMETRIC, numbers(3, 2))
case("solve vector", lambda xp, a, b: xp.linalg.solve(a, b), ASYMMETRIC, numbers(3))
case("det", lambda xp, x: xp.linalg.det(x), ASYMMETRIC)
case("slogdet", lambda xp, x: xp.linalg.slogdet(x)[1], positive_definite(2, 3, 3))
case("cholesky", lambda xp, x: xp.linalg.cholesky(0.5 * (x + x.mT)), SQUARE)
case("cholesky upper", lambda xp, x: xp.linalg.cholesky(0.5 * (x + x.mT), upper=True), SQUARE)
case("eigvalsh", lambda xp, x: xp.linalg.eigvalsh(0.5 * (x + x.mT)), SQUARE)
case("eigh", lambda xp, x: xp.abs(xp.linalg.eigh(0.5 * (x + x.mT))[1]), SQUARE)
case("svdvals", lambda xp, x: xp.linalg.svdvals(x), numbers(4, 3))
case("svd", lambda xp, x: rebuilt(xp, x), numbers(4, 3))
case("svd wide", lambda xp, x: rebuilt(xp, x), numbers(3, 4))
case("qr", lambda xp, x: xp.abs(xp.linalg.qr(x)[0]) + xp.sum(xp.abs(xp.linalg.qr(x)[1])), numbers(4, 3))
case("pinv", lambda xp, x: xp.linalg.pinv(x), numbers(4, 3))
case("pinv wide", lambda xp, x: xp.linalg.pinv(x), numbers(2, 3))
case("matrix_power", lambda xp, x: xp.linalg.matrix_power(x, 5) + xp.linalg.matrix_power(x, 0), numbers(3, 3))
case("matrix_power -2", lambda xp, x: xp.linalg.matrix_power(x, -2), ASYMMETRIC)
case("diagonal", lambda xp, x: xp.linalg.diagonal(x, offset=1), numbers(2, 3, 4))
case("trace", lambda xp, x: xp.linalg.trace(x, offset=-1), numbers(2, 3, 4))
case("outer", lambda xp, x, y: xp.linalg.outer(x, y), numbers(3), numbers(2))
case("cross", lambda xp, x, y: xp.linalg.cross(x, y, axis=-2), numbers(3, 2), numbers(3, 2, seed=1))
for order in (2, 1, 3, 0.5, float("inf"), -float("inf")):
    case(f"vector_norm {order}", lambda xp, x, o=order: xp.linalg.vector_norm(x, ord=o, axis=-1), numbers(2, 3))
case("vector_norm all", lambda xp, x: xp.linalg.vector_norm(x), numbers(2, 3))
case("vector_norm keepdims", lambda xp, x: xp.linalg.vector_norm(x, axis=0, keepdims=True), numbers(2, 3))
for order in ("fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf")):
    case(f"matrix_norm {order}", lambda xp, x, o=order: xp.linalg.matrix_norm(x, ord=o), numbers(2, 3))


def written(xp: Any, x: Any, y: Any) -> Any:
    z = x * 1.0
    z[0, :] = y * y
    z[1:, 1] = 2.0
    z[2, 0] += z[0, 1]
    return z * z


def filled(xp: Any, x: Any) -> Any:
    z = xp.zeros_like(x)
    z[0] = x[0] * x[1]
    for i in range(1, x.shape[0]):
        z[i] = z[i - 1] * x[i]
    return z


def rebuilt(xp: Any, x: Any) -> Any:
    """What does not change with the signs of singular vectors."""
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    return (u * xp.exp(s)) @ vh + xp.sum(xp.abs(u)) * xp.sum(vh * vh * xp.abs(vh))
