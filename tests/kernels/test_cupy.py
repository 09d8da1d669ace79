"""CuPy's own versions beside their definitions in float64: nearer than the tests of all kernels ask.

The bounds are in units of the last place of the largest entry of a result, for entries that may cancel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels
from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.standard.windows import Window
from tests.conftest import WHY_NOT
from tests.tolerances import EPS

pytestmark = pytest.mark.skipif(bool(WHY_NOT["cupy"]), reason="CuPy cannot be used here")
RNG = np.random.default_rng(7)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Whatever other tests have drawn."""
    RNG.bit_generator.state = START


OVER_THE_EDGE = Window((3, 3), (2, 2), ((1, 2), (0, 2)))
DILATED = Window((2, 3), (1, 2), ((2, 0), (1, 1)), (3, 1))
WINDOWS = [Window((2, 2), (2, 2)), OVER_THE_EDGE, DILATED, Window((1, 1), (2, 1))]
DTYPES = ["float16", "float32", "float64"]


def images(*, ties: bool = False) -> np.ndarray:
    x = RNG.normal(size=(3, 8, 7, 4))
    return np.round(x) if ties else x


def there(x: np.ndarray, dtype: str, *, strided: bool = False) -> Any:
    """On CuPy; `strided` with gaps between the entries."""
    array = nn.backend("cupy").asarray(x.astype(dtype) if x.dtype.kind == "f" else x)
    if not strided:
        return array
    doubled = nn.backend("cupy").xp.stack([array, array], axis=-1)
    return doubled[..., 0]


def rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    return x.astype(dtype).astype(float) if x.dtype.kind == "f" else x


def compare(name: str, arrays: list[np.ndarray | None], dtype: str, units: float, **options: Any) -> None:
    """The version and the definition of the same numbers, contiguous and not."""
    kernel, host = kernels.TABLE[name], nn.backend("cupy")
    with np.errstate(all="ignore"):
        want = kernel.definition(*(a if a is None else rounded(a, dtype) for a in arrays), **options)
    for strided in (False, True):
        got = kernel(*(a if a is None else there(a, dtype, strided=strided) for a in arrays), **options)
        pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
        for g, w in pairs:
            assert (g is None) == (w is None)
            if g is None:
                continue
            g = host.to_numpy(g).astype(float)
            assert g.shape == w.shape
            finite = np.isfinite(w)
            np.testing.assert_array_equal(g[~finite], w[~finite])
            scale = max(float(np.abs(w[finite]).max(initial=0.0)), 1e-30)
            bound = 1e-12 if dtype == "float64" else units * EPS[dtype]
            assert np.abs(g[finite] - w[finite]).max(initial=0.0) <= bound * scale


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolutions(groups: int, window: Window, dtype: str) -> None:
    x, weight, bias = images(), RNG.normal(size=(*window.size, 4 // groups, 8)), RNG.normal(size=8)
    dy = RNG.normal(size=(3, *window.output_size(x.shape[1:3]), 8))
    compare("convolution", [x, weight, bias], dtype, 2.0, window=window, groups=groups)
    compare("convolution_pullback", [dy, x, weight], dtype, 8.0, window=window, groups=groups)  # sums of 168 products


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS[:3])
def test_pools(window: Window, dtype: str) -> None:
    x, dy = images(ties=True), RNG.normal(size=(3, *window.output_size((8, 7)), 4))
    x[0, :3, :3, 0], x[1, 2, 2, 1], x[2, 7, :, 2], x[2, :, 0, 3] = np.nan, np.inf, -np.inf, -np.inf
    y = kernels.max_pool.definition(x, window=window)
    compare("max_pool", [x], dtype, 0.0, window=window)
    compare("max_pool_pullback", [dy, x, y], dtype, 2.0, window=window)
    counts, x = np.full((*dy.shape[1:3], 1), 3.0), images()
    compare("mean_pool", [x, counts], dtype, 2.0, window=window)
    compare("mean_pool_pullback", [dy, x, counts], dtype, 2.0, window=window)


@pytest.mark.parametrize("name", ["convolution", "max_pool", "mean_pool"])
def test_no_images(name: str) -> None:
    x, y = images()[:0], np.zeros((0, *OVER_THE_EDGE.output_size((8, 7)), 4))
    weight, counts = np.zeros((3, 3, 4, 4)), np.ones((*y.shape[1:3], 1))
    more = {"convolution": [weight, None], "max_pool": [], "mean_pool": [counts]}
    back = {"convolution": [y, x, weight], "max_pool": [y, x, y], "mean_pool": [y, x, counts]}
    compare(name, [x, *more[name]], "float32", 0.0, window=OVER_THE_EDGE)
    compare(f"{name}_pullback", back[name], "float32", 0.0, window=OVER_THE_EDGE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name, each in FUNCTIONS.items() if each.elementwise])
def test_bias_and_activation(name: str, dtype: str) -> None:
    """And the pullback with the sums of the bias gradient, in one part and in several."""
    f = FUNCTIONS[name]
    for rows, units in ((5, 3), (2100, 40)):
        x, weight, bias = RNG.normal(size=(rows, 2)), RNG.normal(size=(2, units)), RNG.normal(size=units)
        z, y = kernels.activated_affine.definition(*(rounded(a, dtype) for a in (x, weight, bias)), function=f)
        compare("activated_affine", [x, weight, bias], dtype, 8.0, function=f)
        dy = RNG.normal(size=y.shape)
        compare("activated_affine_pullback", [dy, x, weight, z, y], dtype, 16.0, function=f)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 200, 256, 600])
@pytest.mark.parametrize("labels", ["uint8", "int32", "int64"])
def test_cross_entropies_of_labels(labels: str, rows: int, dtype: str) -> None:
    logits, target = 3 * RNG.normal(size=(rows, 7)), RNG.integers(0, 7, rows).astype(labels)
    compare("cross_entropy_of_labels", [logits, target], dtype, 4.0)
    for total in (None, rows):
        compare("reduced_cross_entropy_of_labels", [logits, target], dtype, 4.0, total=total)
    logits[0, 1] = np.nan
    compare("cross_entropy_of_labels", [logits, target], dtype, 4.0)


@pytest.mark.parametrize("count", [0, 1, 2, 255, 1000])
def test_draws_are_the_same_bits(count: int) -> None:
    be, like = nn.backend("cupy"), np.zeros(count, dtype=np.int32)
    for key in ((0, 0), (-1, 2**31 - 1), (-(2**31), 77)):
        want = kernels.words.definition(like, *key)
        np.testing.assert_array_equal(be.to_numpy(kernels.words(be.asarray(like), *key)), want)
        words = (be.asarray(np.asarray(word, dtype=np.int32)) for word in key)
        np.testing.assert_array_equal(be.to_numpy(kernels.words(be.asarray(like), *words)), want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (3, 9, 40), (2500, 5), (1, 1)])
def test_batch_normalisation(shape: tuple[int, ...], dtype: str) -> None:
    x, axes = RNG.normal(size=shape), tuple(range(len(shape) - 1))
    compare("normalise", [x], dtype, 4.0, axes=axes, epsilon=1e-5)
    z, inverse, _, _ = kernels.normalise.definition(rounded(x, dtype), axes=axes, epsilon=1e-5)
    weight, bias = RNG.normal(size=shape[-1]), RNG.normal(size=shape[-1])
    compare("scale_and_shift", [z, weight, bias], dtype, 2.0)
    compare("batch_norm_pullback", [RNG.normal(size=shape), z, weight, inverse], dtype, 4.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (3, 4, 700), (7, 256), (1, 1)])
def test_normalisation_of_rows(shape: tuple[int, ...], dtype: str) -> None:
    x, axes = RNG.normal(size=shape), (len(shape) - 1,)
    compare("normalise", [x], dtype, 4.0, axes=axes, epsilon=1e-5)
    z, inverse, _, _ = kernels.normalise.definition(rounded(x, dtype), axes=axes, epsilon=1e-5)
    compare("normalise_pullback", [RNG.normal(size=shape), z, inverse], dtype, 4.0, axes=axes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-3, 3e3])
def test_shortened(size: float, dtype: str) -> None:
    x = size * RNG.normal(size=3000)
    compare("shortened", [x], dtype, 8.0, norm=1.0)


@pytest.mark.parametrize(("shape", "axis"), [((1500, 3), 0), ((3, 700), 1)], ids=["channels", "rows"])
@pytest.mark.parametrize("size", [1e-30, 1e-22, 1e19, 3e37])
def test_variances_out_of_range(size: float, shape: tuple[int, int], axis: int) -> None:
    """What a square of float32 cannot hold still gives the right z."""
    x = size * RNG.normal(size=shape)
    z = kernels.normalise(there(x, "float32"), axes=(axis,), epsilon=1e-70)[0]
    want = kernels.normalise.definition(rounded(x, "float32"), axes=(axis,), epsilon=1e-70)[0]
    np.testing.assert_allclose(nn.backend("cupy").to_numpy(z), want, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_joined_parts(dtype: str) -> None:
    compare("joined", [RNG.normal(size=(1 + k % 3, k % 5)) for k in range(70)], dtype, 0.0)
    mask = RNG.random((6, 1, 5)) < 0.5
    compare("dropped", [RNG.normal(size=(6, 4, 5)), mask], dtype, 1.0, scale=1.25)
