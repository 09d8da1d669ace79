"""The compiled loops of attention, beside their definition in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnarray import kernels
from nnarray.kernels import threads
from tests.packages import package

package("numba")

SHAPES = [  # examples, heads, groups, queries, keys, size: what does not fill panels, strips and blocks
    (3, 4, 4, 64, 64, 32),
    (2, 6, 2, 37, 37, 20),
    (1, 2, 1, 150, 150, 7),
    (2, 2, 2, 7, 400, 16),
    (5, 3, 1, 65, 65, 33),
]


def drawn(batch: int, heads: int, groups: int, queries: int, keys: int, size: int) -> list[Any]:
    """q, k, v and dy, which lie as parts of one product; and a mask, of which one example sees nothing."""
    rng = np.random.default_rng(queries)
    made = []
    for count, length in ((heads, queries), (groups, keys), (groups, keys), (heads, queries)):
        wide = rng.normal(size=(batch, length, count * size + 5)).astype(np.float32)
        made.append(wide[:, :, 5:].reshape(batch, length, count, size).transpose(0, 2, 1, 3))
    mask = rng.random((batch, keys)) < 0.7
    mask[-1] = False
    return [*made, mask]


def both(q: Any, k: Any, v: Any, dy: Any, mask: Any, **settings: Any) -> list[Any]:
    """Outputs, normalisers and gradients."""
    y, normaliser = kernels.attention(q, k, v, mask, None, **settings)
    settings.pop("first", None)
    return [y, normaliser, *kernels.attention_pullback(dy, q, k, v, y, normaliser, mask, None, **settings)]


@pytest.mark.parametrize("masked", [False, True], ids=["all keys", "some keys"])
@pytest.mark.parametrize("causal", [False, True], ids=["both sides", "causal"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_attention_and_its_gradients_are_those_of_the_definition(shape, causal, masked):
    from nnarray.kernels.numba import attention

    *arrays, mask = drawn(*shape)
    mask = mask if masked else None
    assert attention.takes(*arrays)
    got = both(*arrays, mask, causal=causal)
    q, k, v, dy = (x.astype(float) for x in arrays)
    want = list(kernels.attention.definition(q, k, v, mask, None, causal=causal))
    want += kernels.attention_pullback.definition(dy, q, k, v, *want, mask, None, causal=causal)
    for a, b in zip(got, want, strict=True):
        assert a.dtype == np.float32
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 2e-6 * max(np.abs(b).max(), 1)


def test_queries_of_a_prompt_see_the_keys_before_them():
    q, k, v, _, _ = drawn(2, 2, 2, 40, 100, 16)
    got, _ = kernels.attention(q, k, v, None, None, causal=True, first=60)
    want, _ = kernels.attention.definition(*(x.astype(float) for x in (q, k, v)), None, None, causal=True, first=60)
    assert np.abs(got - want).max() <= 2e-6


def test_attention_does_not_depend_on_the_number_of_threads(monkeypatch):
    given = drawn(6, 4, 2, 64, 64, 32)
    want = both(*given, causal=True)
    for count in (1, 2, 3):
        threads._team.cache_clear()
        monkeypatch.setattr(threads, "_threads", lambda count=count: count)
        assert all(np.array_equal(a, b) for a, b in zip(both(*given, causal=True), want, strict=True))
    threads._team.cache_clear()


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_reaches_the_queries_that_see_it(number):
    q, k, v, dy, _ = drawn(2, 2, 2, 64, 64, 16)
    k[0, 0, 30, 3] = number
    y = both(q, k, v, dy, None, causal=True)[0]
    with np.errstate(invalid="ignore"):
        want, _ = kernels.attention.definition(q, k, v, None, None, causal=True)
    assert np.array_equal(np.isfinite(y), np.isfinite(want))
    assert np.isfinite(y[0, 0, :30]).all()
    assert not np.isfinite(y[0, 0, 30:]).all()
