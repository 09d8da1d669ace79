"""Functions of each entry, and of pairs of entries."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nnarray.names import by_name
from nnarray.recording.traced import Traced
from nnarray.typing import Namespace

# f: f'(x), written with x and y = f(x)
DERIVATIVES: dict[str, Callable[[Namespace, Any, Any], Any]] = {
    "abs": lambda xp, x, y: xp.sign(x),
    "acos": lambda xp, x, y: -1 / xp.sqrt((1 - x) * (1 + x)),
    "acosh": lambda xp, x, y: 1 / (xp.sqrt(x - 1) * xp.sqrt(x + 1)),
    "asin": lambda xp, x, y: 1 / xp.sqrt((1 - x) * (1 + x)),
    "asinh": lambda xp, x, y: 1 / xp.hypot(x, xp.ones_like(x)),
    "atan": lambda xp, x, y: 1 / (1 + x * x),
    "atanh": lambda xp, x, y: 1 / ((1 - x) * (1 + x)),
    "cos": lambda xp, x, y: -xp.sin(x),
    "cosh": lambda xp, x, y: xp.sinh(x),
    "exp": lambda xp, x, y: y,
    "expm1": lambda xp, x, y: y + 1,
    "log": lambda xp, x, y: 1 / x,
    "log10": lambda xp, x, y: 1 / (x * math.log(10)),
    "log1p": lambda xp, x, y: 1 / (1 + x),
    "log2": lambda xp, x, y: 1 / (x * math.log(2)),
    "reciprocal": lambda xp, x, y: -y * y,
    "sin": lambda xp, x, y: xp.cos(x),
    "sinh": lambda xp, x, y: xp.cosh(x),
    "sqrt": lambda xp, x, y: 0.5 / y,
    "square": lambda xp, x, y: 2 * x,
    "tan": lambda xp, x, y: 1 + y * y,
    "tanh": lambda xp, x, y: 1 - y * y,
}


def of_derivative(name: str, derivative: Callable[[Namespace, Any, Any], Any]) -> Callable[..., Any]:
    """The rule of a function of each entry: dL/dx = dL/dy f'(x)."""

    def rule(xp: Namespace, x: Any) -> Any:
        y = getattr(xp, name)(x)
        return y, (lambda xp, g: xp.times(g, derivative(xp, x, y)),)

    return rule


def times(xp: Namespace, g: Any, factor: Any) -> Any:
    """g factor, where 0 times anything is 0, on either side.

    Nothing comes back from the branch of `where` that was not taken, even if the derivative there is infinite or nan.
    The gradient of the root of x^2 at 0 is 0, which is one of its subgradients.
    """
    return xp.times(g, factor), (lambda xp, h: xp.times(h, factor), lambda xp, h: xp.times(h, g))


def add(xp: Namespace, x1: Any, x2: Any) -> Any:
    return xp.add(x1, x2), (lambda xp, g: g, lambda xp, g: g)


def subtract(xp: Namespace, x1: Any, x2: Any) -> Any:
    return xp.subtract(x1, x2), (lambda xp, g: g, lambda xp, g: -g)


def multiply(xp: Namespace, x1: Any, x2: Any) -> Any:
    return xp.multiply(x1, x2), (lambda xp, g: xp.times(g, x2), lambda xp, g: xp.times(g, x1))


def divide(xp: Namespace, x1: Any, x2: Any) -> Any:
    y = xp.divide(x1, x2)
    return y, (lambda xp, g: xp.times(g, 1 / x2), lambda xp, g: xp.times(g, xp.divide(-y, x2)))


def remainder(xp: Namespace, x1: Any, x2: Any) -> Any:
    """x1 - n x2, where n is the quotient of this very result: that of a division may differ by 1."""
    y = xp.remainder(x1, x2)
    return y, (lambda xp, g: g, lambda xp, g: xp.times(g, -xp.round(xp.divide(xp.subtract(x1, y), x2))))


def power(xp: Namespace, x1: Any, x2: Any) -> Any:
    """x1^x2: x2 x1^(x2 - 1), which is 0 for x2 = 0; and x1^x2 log(x1), which is 0 for x1 = 0."""
    y = xp.pow(x1, x2)

    def to_exponent(xp: Namespace, g: Any) -> Any:
        base = xp.add(x1, xp.zeros_like(x2))
        return xp.times(g, xp.times(y, xp.log(xp.where(base == 0, xp.ones_like(base), base))))

    return y, (
        lambda xp, g: xp.times(g, xp.times(xp.add(x2, xp.zeros_like(x1)), xp.pow(x1, x2 - 1))),
        to_exponent,
    )


def negative(xp: Namespace, x: Any) -> Any:
    return -x, (lambda xp, g: -g,)


def positive(xp: Namespace, x: Any) -> Any:
    return x, (lambda xp, g: g,)


def conj(xp: Namespace, x: Any) -> Any:
    return x if xp.isdtype(x.dtype, "real floating") else xp.conj(x), (lambda xp, g: g,)


def real(xp: Namespace, x: Any) -> Any:
    return x if xp.isdtype(x.dtype, "real floating") else xp.real(x), (lambda xp, g: g,)


def maximum(xp: Namespace, x1: Any, x2: Any) -> Any:
    """The gradient goes to the larger one, and in halves to equal ones."""
    return xp.maximum(x1, x2), (lambda xp, g: _won(xp, g, x1, x2), lambda xp, g: _won(xp, g, x2, x1))


def minimum(xp: Namespace, x1: Any, x2: Any) -> Any:
    return xp.minimum(x1, x2), (lambda xp, g: _won(xp, g, x2, x1), lambda xp, g: _won(xp, g, x1, x2))


def _won(xp: Namespace, g: Any, larger: Any, smaller: Any) -> Any:
    return xp.where(larger > smaller, g, xp.where(larger == smaller, 0.5 * g, xp.zeros_like(g)))


def clip(xp: Namespace, x: Any, min: Any = None, max: Any = None) -> Any:  # the standard's names
    """The gradient goes to x inside and at the bounds, and to a bound outside of it."""
    if not xp.isdtype(x.dtype, "real floating"):
        raise TypeError(f"clip leaves an array of {x.dtype} what it is. Convert it, xp.astype(x, min.dtype).")
    y = xp.clip(x, min, max)
    below = _false(xp, x) if min is None else x < min
    above = _false(xp, x) if max is None else x > max
    outside = xp.logical_or(below, above)
    return y, (
        lambda xp, g: xp.where(outside, xp.zeros_like(g), g),
        lambda xp, g: xp.where(xp.logical_and(below, xp.logical_not(above)), g, xp.zeros_like(g)),
        lambda xp, g: xp.where(above, g, xp.zeros_like(g)),
    )


def _false(xp: Namespace, x: Any) -> Any:
    return xp.zeros_like(x, dtype=xp.bool)


def where(xp: Namespace, condition: Any, x1: Any, x2: Any) -> Any:
    y = xp.where(condition, x1, x2)
    return y, (
        None,
        lambda xp, g: xp.where(condition, g, xp.zeros_like(g)),
        lambda xp, g: xp.where(condition, xp.zeros_like(g), g),
    )


def atan2(xp: Namespace, x1: Any, x2: Any) -> Any:
    def part(xp: Namespace, g: Any, x: Any) -> Any:
        size = xp.hypot(x1, x2)
        return xp.times(g, x / size / size)

    return xp.atan2(x1, x2), (lambda xp, g: part(xp, g, x2), lambda xp, g: -part(xp, g, x1))


def hypot(xp: Namespace, x1: Any, x2: Any) -> Any:
    """The derivative at the origin is 0, the smallest of those that there are."""
    y = xp.hypot(x1, x2)
    return y, (lambda xp, g: to_norm(xp, g, x1, y), lambda xp, g: to_norm(xp, g, x2, y))


def to_norm(xp: Namespace, g: Any, x: Any, size: Any) -> Any:
    """g x / size, where `size` is the root of a sum of squares; 0 at the origin, where its own derivative is nan."""
    is_origin = size == 0
    dx = xp.times(g, xp.divide(x, xp.where(is_origin, xp.ones_like(size), size)))
    if not isinstance(x, Traced):
        return dx
    return dx + xp.times(x, xp.where(is_origin, xp.full_like(size, math.nan), xp.zeros_like(size)))


def logaddexp(xp: Namespace, x1: Any, x2: Any) -> Any:
    """The gradients are g exp(x - y). At infinity this is a maximum."""
    y = xp.logaddexp(x1, x2)

    def part(xp: Namespace, g: Any, x: Any, other: Any) -> Any:
        return xp.where(xp.isinf(y), _won(xp, g, x, other), xp.times(g, xp.exp(x - y)))

    return y, (lambda xp, g: part(xp, g, x1, x2), lambda xp, g: part(xp, g, x2, x1))


def copysign(xp: Namespace, x1: Any, x2: Any) -> Any:
    y = xp.copysign(x1, x2)
    return y, (lambda xp, g: xp.where(xp.signbit(x1) == xp.signbit(y), g, -g), lambda xp, g: xp.zeros_like(g))


def nextafter(xp: Namespace, x1: Any, x2: Any) -> Any:
    return xp.nextafter(x1, x2), (lambda xp, g: g, None)


RULES: dict[str, Callable[..., Any]] = {name: of_derivative(name, d) for name, d in DERIVATIVES.items()}
RULES |= by_name(add, subtract, multiply, times, divide, remainder, negative)
RULES |= by_name(maximum, minimum, clip, where, atan2, hypot, logaddexp, copysign, nextafter)
RULES |= by_name(positive, conj, real) | {"pow": power}
