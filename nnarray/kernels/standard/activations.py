"""Activation functions and their pullbacks, `f(x) -> y` and `f_pullback(dy, x, y) -> dx` with dx = dy f'(x).

All are correct at +-1e38, give the limit at infinity, and return nan for nan. A pullback in terms of y does not read
x, so that x need not be kept.

Each pair is a row of the table of activations, from which all engines are made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest

from nnarray.backends import namespace
from nnarray.kernels.functions import pullback_of
from nnarray.kernels.registry import kernel
from nnarray.kernels.standard.numerics import at_least_float32, clamp, within
from nnarray.typing import Array

# f(x) = x g(x) with g(x) -> 0 faster than 1/x: below -FAR, x g(x) is 0 in float64, and -inf * 0 would be nan.
FAR = 1000.0


@kernel
def identity(x: Array) -> Array:
    """y = x."""
    return x


@pullback_of(identity, reads="y", floor=-math.inf)
def identity_pullback(dy: Array, x: Array | None, y: Array) -> Array:
    """dx = dy."""
    return dy


@kernel
def logistic(x: Array) -> Array:
    """y = 1 / (1 + exp(-x)), with the exponential of -|x| only."""
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1.0, e) / (1.0 + e)


def _plain_logistic(x: Array) -> Array:
    return 1.0 / (1.0 + namespace(x).exp(-x))  # an infinite exponential gives the limit


@pullback_of(logistic, reads="y", prepared=_plain_logistic)
def logistic_pullback(dy: Array, x: Array | None, y: Array) -> Array:
    """dx = dy y (1 - y)."""
    return dy * (y * (1.0 - y))


@kernel
def tanh(x: Array) -> Array:
    """y = tanh x."""
    return namespace(x).tanh(x)


@pullback_of(tanh, reads="y")
def tanh_pullback(dy: Array, x: Array | None, y: Array) -> Array:
    """dx = dy (1 - y^2)."""
    return dy * (1.0 - y * y)


@kernel
def gaussian(x: Array) -> Array:
    """y = exp(-x^2)."""
    xp = namespace(x)
    x = clamp(x, -30.0, 30.0)  # exp(-900) is 0 in float64 already
    return xp.exp(-x * x)


@pullback_of(gaussian)
def gaussian_pullback(dy: Array, x: Array, y: Array) -> Array:
    """dx = -2 dy x y."""
    return dy * (-2.0 * clamp(x, -30.0, 30.0) * y)


@kernel
def relu(x: Array) -> Array:
    """y = max(x, 0). Nair & Hinton (2010), ICML."""
    return namespace(x).maximum(x, 0.0)


@pullback_of(relu, reads="y", init="he", floor=0.0)
def relu_pullback(dy: Array, x: Array | None, y: Array) -> Array:
    """dx = dy where y > 0, else 0."""
    return namespace(dy).where(y > 0, dy, 0.0)


@kernel
def leaky_relu(x: Array, *, slope: float = 0.01) -> Array:
    """y = x where x > 0, else slope x. Maas, Hannun & Ng (2013), ICML workshop."""
    return namespace(x).where(x > 0, x, slope * x)


@pullback_of(leaky_relu, init="he")
def leaky_relu_pullback(dy: Array, x: Array, y: Array, *, slope: float = 0.01) -> Array:
    """dx = dy where x > 0, else slope dy."""
    return namespace(dy).where(x > 0, dy, slope * dy)


@kernel
def elu(x: Array, *, alpha: float = 1.0) -> Array:
    """y = x where x > 0, else alpha (exp(x) - 1). Clevert, Unterthiner & Hochreiter (2016), ICLR."""
    xp = namespace(x)
    return xp.where(x > 0, x, alpha * xp.expm1(xp.where(x > 0, 0.0, x)))


@pullback_of(elu, init="he")
def elu_pullback(dy: Array, x: Array, y: Array, *, alpha: float = 1.0) -> Array:
    """dx = dy where x > 0, else dy (y + alpha)."""
    return namespace(dy).where(x > 0, dy, dy * (y + alpha))


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


@kernel
def selu(x: Array) -> Array:
    """y = s x where x > 0, else s a (exp(x) - 1). Klambauer et al. (2017), NeurIPS, equation 2."""
    xp = namespace(x)
    return SELU_SCALE * xp.where(x > 0, x, SELU_ALPHA * xp.expm1(xp.where(x > 0, 0.0, x)))


@pullback_of(selu, init="lecun_normal")
def selu_pullback(dy: Array, x: Array, y: Array) -> Array:
    """dx = s dy where x > 0, else dy (y + s a)."""
    return namespace(dy).where(x > 0, SELU_SCALE * dy, dy * (y + SELU_SCALE * SELU_ALPHA))


@kernel
def erfc(x: Array) -> Array:
    """The complementary error function, 2 / sqrt(pi) times the integral of exp(-t^2) from x to infinity.

    For z = |x|, exp(z^2) erfc(z) is a Chebyshev series in (z - 3.75) / (z + 3.75), summed as a polynomial by Horner's
    rule, one fused operation a term; erfc(-z) = 2 - erfc(z). The coefficients were computed for this file in 40 digits;
    the relative error is below 2e-13 in float64 and 5e-6 in float32, most of it from the rounding of z^2, unless erfc
    itself underflows.

    References
    ----------
    .. [1] Schonfelder (1978), Chebyshev expansions for the error and related functions, Math. Comp. 32, 1232-1240.
    """
    xp = namespace(x)
    z = xp.minimum(xp.abs(x), 30.0)  # erfc(30) is 0 in float64
    t = (z - 3.75) / (z + 3.75)
    *lower, highest = _POLYNOMIALS[23 if xp.finfo(x.dtype).bits > 32 else 13]
    scaled = highest * t + lower[-1]
    for coefficient in reversed(lower[:-1]):
        scaled = scaled * t + coefficient
    tail = scaled * xp.exp(-z * z)
    return xp.where(x < 0, 2.0 - tail, tail)


def _polynomial(series: Sequence[float]) -> list[float]:
    """The coefficients of 1, t, t^2, ... of a Chebyshev series; those of the series fall fast, so nothing cancels."""
    last, before = [0.0], [0.0]
    for coefficient in reversed(series):
        twice = [coefficient, *(2.0 * each for each in last)]
        last, before = [a - b for a, b in zip_longest(twice, before, fillvalue=0.0)], last
    return [a - b for a, b in zip_longest(last, [0.0, *before], fillvalue=0.0)][: len(series)]


_ERFC = (
    0.3050715409616002,
    -0.4348412727125775,
    0.1763511936436055,
    -0.06071079560924941,
    0.017712068995694115,
    -0.004321119385567294,
    0.0008542166768870987,
    -0.00012715509060916275,
    1.1248167243671189e-05,
    3.1306388542182096e-07,
    -2.70988068537762e-07,
    3.073762270140769e-08,
    2.515620384817623e-09,
    -1.0289299213203192e-09,
    2.994405211994994e-11,
    2.6051789687266936e-11,
    -2.6348399241719693e-12,
    -6.434045098906365e-13,
    1.1245740180166345e-13,
    1.7281533389986097e-14,
    -4.264101694942375e-15,
    -5.453719778801906e-16,
    1.5869760776167123e-16,
)
_POLYNOMIALS = {terms: _polynomial(_ERFC[:terms]) for terms in (13, 23)}


@kernel
def gelu(x: Array) -> Array:
    """y = x Phi(x), Phi(x) = erfc(-x / sqrt 2) / 2. Hendrycks & Gimpel (2016), arXiv:1606.08415."""
    return namespace(x).maximum(x, -FAR) * (0.5 * erfc(-math.sqrt(0.5) * x))


@pullback_of(gelu, init="he")
def gelu_pullback(dy: Array, x: Array, y: Array) -> Array:
    """dx = dy (Phi(x) + x phi(x)), phi the normal density."""
    xp, z = namespace(x), -math.sqrt(0.5) * x
    near = xp.minimum(xp.abs(z), 30.0)  # as in erfc, so that compilers find its exponential again
    density = math.sqrt(0.5 / math.pi) * xp.exp(-near * near)
    return dy * (0.5 * erfc(z) + clamp(x, -40.0, 40.0) * density)


_GELU_A, _GELU_B = math.sqrt(2.0 / math.pi), 0.044715


@kernel
def gelu_tanh(x: Array) -> Array:
    """y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. Hendrycks & Gimpel (2016), arXiv:1606.08415."""
    xp = namespace(x)
    near = clamp(x, -12.0, 12.0)  # tanh is +-1 in float64 beyond
    return xp.maximum(x, -FAR) * (0.5 + 0.5 * xp.tanh(_GELU_A * (near + _GELU_B * near * near * near)))


@pullback_of(gelu_tanh, init="he")
def gelu_tanh_pullback(dy: Array, x: Array, y: Array) -> Array:
    """dx = dy ((1 + t) / 2 + x (1 - t^2) u' / 2), t = tanh u."""
    xp = namespace(x)
    near = clamp(x, -12.0, 12.0)
    t = xp.tanh(_GELU_A * (near + _GELU_B * near * near * near))
    inner = _GELU_A * (1.0 + 3.0 * _GELU_B * near * near)
    return dy * (0.5 + 0.5 * t + 0.5 * near * (1.0 - t * t) * inner)


@kernel
def silu(x: Array) -> Array:
    """y = x logistic(x). Elfwing, Uchibe & Doya (2018), Neural Networks 107, 3-11."""
    return namespace(x).maximum(x, -FAR) * logistic(x)


@pullback_of(silu, init="he")
def silu_pullback(dy: Array, x: Array, y: Array) -> Array:
    """dx = dy (s + x s (1 - s)), s = logistic(x)."""
    s = logistic(x)
    return dy * (s + clamp(x, -FAR, FAR) * s * (1.0 - s))


def _tanh_of_softplus(x: Array) -> Array:
    """tanh(ln(1 + exp x)) = (w - 1) / (w + 1) with w = (1 + exp x)^2, in exp(-|x|) so that nothing overflows."""
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    top = xp.where(x >= 0, 1.0 + 2.0 * e, e * (e + 2.0))
    return top / (top + xp.where(x >= 0, 2.0 * e * e, 2.0))


@kernel
def mish(x: Array) -> Array:
    """y = x tanh(softplus(x)). Misra (2020), BMVC."""
    return namespace(x).maximum(x, -FAR) * _tanh_of_softplus(x)


@pullback_of(mish, init="he")
def mish_pullback(dy: Array, x: Array, y: Array) -> Array:
    """dx = dy (w + x (1 - w^2) logistic(x)), w = tanh(softplus(x))."""
    w = _tanh_of_softplus(x)
    return dy * (w + clamp(x, -FAR, FAR) * (1.0 - w * w) * logistic(x))


@kernel
def softplus(x: Array) -> Array:
    """y = ln(1 + exp x) = max(x, 0) + ln(1 + exp(-|x|))."""
    xp = namespace(x)
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


@pullback_of(softplus, init="he")
def softplus_pullback(dy: Array, x: Array, y: Array) -> Array:
    """dx = dy logistic(x)."""
    return dy * logistic(x)


@kernel
def softsign(x: Array) -> Array:
    """y = x / (1 + |x|)."""
    x = within(x)
    return x / (1.0 + namespace(x).abs(x))


@pullback_of(softsign)
def softsign_pullback(dy: Array, x: Array, y: Array) -> Array:
    """dx = dy / (1 + |x|)^2."""
    part = 1.0 / (1.0 + namespace(x).abs(x))
    return dy * (part * part)


@kernel
def hard_sigmoid(x: Array) -> Array:
    """y = min(max(x / 6 + 1/2, 0), 1)."""
    return clamp(x / 6.0 + 0.5, 0.0, 1.0)


@pullback_of(hard_sigmoid)
def hard_sigmoid_pullback(dy: Array, x: Array, y: Array) -> Array:
    """dx = dy / 6 where -3 < x < 3, else 0."""
    return namespace(x).where((x > -3.0) & (x < 3.0), dy / 6.0, 0.0)


@kernel
def hard_tanh(x: Array) -> Array:
    """y = min(max(x, -1), 1)."""
    return clamp(x, -1.0, 1.0)


@pullback_of(hard_tanh)
def hard_tanh_pullback(dy: Array, x: Array, y: Array) -> Array:
    """dx = dy where -1 < x < 1, else 0."""
    return namespace(x).where((x > -1.0) & (x < 1.0), dy, 0.0)


@kernel
def sin(x: Array) -> Array:
    """y = sin x; nan at infinity, where there is no limit. Sitzmann et al. (2020), NeurIPS."""
    xp = namespace(x)
    return xp.sin(xp.where(xp.isfinite(x), x, math.nan))


@pullback_of(sin)
def sin_pullback(dy: Array, x: Array, y: Array) -> Array:
    """dx = dy cos x."""
    xp = namespace(x)
    return dy * xp.cos(xp.where(xp.isfinite(x), x, math.nan))


@kernel
def softmax(x: Array) -> Array:
    """y_k = exp(x_k) / sum_j exp(x_j) along the last axis; equal infinities share.

    The largest is subtracted first. Blanchard, Higham & Higham (2021), IMA J. Numer. Anal. 41(4), 2311-2330.
    """
    xp = namespace(x)
    z = within(at_least_float32(x))
    e = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    return xp.astype(e / xp.sum(e, axis=-1, keepdims=True), x.dtype, copy=False)


@pullback_of(softmax, reads="y", elementwise=False)
def softmax_pullback(dy: Array, x: Array | None, y: Array) -> Array:
    """dx_k = y_k (dy_k - sum_j dy_j y_j)."""
    xp, dtype = namespace(y), y.dtype
    dy, y = at_least_float32(dy), at_least_float32(y)
    return xp.astype(y * (dy - xp.sum(dy * y, axis=-1, keepdims=True)), dtype, copy=False)


@kernel
def log_softmax(x: Array) -> Array:
    """y_k = x_k - ln sum_j exp(x_j) along the last axis."""
    xp = namespace(x)
    z = within(at_least_float32(x))
    z = z - xp.max(z, axis=-1, keepdims=True)
    return xp.astype(z - xp.log(xp.sum(xp.exp(z), axis=-1, keepdims=True)), x.dtype, copy=False)


@pullback_of(log_softmax, reads="y", elementwise=False)
def log_softmax_pullback(dy: Array, x: Array | None, y: Array) -> Array:
    """dx_k = dy_k - exp(y_k) sum_j dy_j."""
    xp, dtype = namespace(y), y.dtype
    dy, y = at_least_float32(dy), at_least_float32(y)
    return xp.astype(dy - xp.exp(y) * xp.sum(dy, axis=-1, keepdims=True), dtype, copy=False)
