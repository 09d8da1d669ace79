"""Convolutions through cuDNN, with a stand-in for it: layouts, strides, padding and gradients, and the first check.

That cuDNN itself does what the stand-in does, no test here can say.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels
from nnarray.kernels import engines
from nnarray.kernels.engines import computing
from nnarray.kernels.standard.windows import Window
from tests.conftest import ON_CPU, WHY_NOT
from tests.kernels import cudnn_stand_in
from tests.kernels.test_cupy import DTYPES, RNG, WINDOWS, compare, images, there

pytestmark = pytest.mark.skipif(bool(WHY_NOT["cupy"]) or not ON_CPU, reason="the stand-in reads the host's memory")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in, without plans from before."""
    from nnarray.kernels.cupy import cudnn

    library = cudnn_stand_in.library()
    monkeypatch.setitem(sys.modules, "cudnn", library)
    for cache in (cudnn._plan, cudnn._handle):
        cache.cache_clear()
    yield library
    for cache in (cudnn._plan, cudnn._handle):
        cache.cache_clear()


def arrays(window: Window = WINDOWS[0], groups: int = 1) -> tuple[Any, Any, Any, Any]:
    x, weight, bias = images(), RNG.normal(size=(*window.size, 4 // groups, 8)), RNG.normal(size=8)
    return RNG.normal(size=(3, *window.output_size(x.shape[1:3]), 8)), x, weight, bias


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_graphs_say_what_the_definition_says(library: Any, groups: int, window: Window, dtype: str) -> None:
    """Twice each: the first result is compared, the second is not."""
    dy, x, weight, bias = arrays(window, groups)
    with computing("cudnn"):
        compare("convolution", [x, weight, bias], dtype, 2.0, window=window, groups=groups)
        compare("convolution_pullback", [dy, x, weight], dtype, 3.0, window=window, groups=groups)
    assert sorted(library.executed) == ["dgrad"] * 2 + ["fprop"] * 2 + ["wgrad"] * 2
    assert len(library.built) == 3
    assert all(("TENSOR_CORE" in graph.notes) == (dtype == "float32") for graph in library.built)


def test_only_the_engine_asks_for_it(library: Any) -> None:
    _, x, weight, bias = arrays()
    for engine in ("auto", "layers"):
        with computing(engine):
            kernels.convolution(*(there(a, "float32") for a in (x, weight, bias)), window=WINDOWS[0])
    assert not library.executed


def test_a_batch_that_starts_between_the_bytes_it_may_start_at_is_copied(library: Any) -> None:
    x, weight = there(RNG.normal(size=(3, 3, 3, 1)), "float32"), there(RNG.normal(size=(2, 2, 1, 2)), "float32")
    assert x[1:].data.ptr % 16
    plain = kernels.convolution(x[1:], weight, None, window=Window((2, 2)))
    with computing("cudnn"):
        y = kernels.convolution(x[1:], weight, None, window=Window((2, 2)))
    assert library.executed == ["fprop"]
    np.testing.assert_allclose(y.get(), plain.get(), rtol=1e-5, atol=1e-6)


def wrong(x: Any) -> Any:
    return x * 1.001


def raising(x: Any) -> Any:
    raise RuntimeError("no kernel image")


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [(wrong, "first result differs from the plain kernel's by"), (raising, "RuntimeError: no kernel image")],
)
def test_what_differs_or_fails_is_reported_once_and_computed_plainly(library: Any, spoilt: Any, message: str) -> None:
    dy, x, weight, bias = (there(a, "float32") for a in arrays())
    plain = kernels.convolution(x, weight, bias, window=WINDOWS[0])
    gradients = kernels.convolution_pullback(dy, x, weight, window=WINDOWS[0])
    library.spoilt = spoilt
    with computing("cudnn"):
        with pytest.warns(RuntimeWarning, match=message) as found:
            assert (kernels.convolution(x, weight, bias, window=WINDOWS[0]) == plain).all()
        assert len(found) == 1
        assert "images (3, 8, 7, 4) with filters (8, 2, 2, 4)" in str(found[0].message)
        with pytest.warns(RuntimeWarning, match=message):
            got = kernels.convolution_pullback(dy, x, weight, window=WINDOWS[0])
        with warnings.catch_warnings(action="error"):
            assert (kernels.convolution(x, weight, bias, window=WINDOWS[0]) == plain).all()
    assert all((g == w).all() for g, w in zip(got, gradients, strict=True))


def test_where_there_is_no_plan_the_reason_is_given(library: Any) -> None:
    library.unsupported.add("DOUBLE")
    _, x, weight, bias = arrays()
    with computing("cudnn"), pytest.warns(RuntimeWarning, match="Unsupported: no plan for this graph"):
        kernels.convolution(*(there(a, "float64") for a in (x, weight, bias)), window=WINDOWS[0])
    assert not library.executed


def test_numbers_that_are_not_finite_leave_the_check_to_the_next_call(library: Any) -> None:
    _, x, weight, bias = arrays()
    bad = np.full_like(x, np.inf)
    library.spoilt = wrong
    with computing("cudnn"):
        kernels.convolution(*(there(a, "float32") for a in (bad, weight, bias)), window=WINDOWS[0])
        with pytest.warns(RuntimeWarning, match="first result differs"):
            kernels.convolution(*(there(a, "float32") for a in (x, weight, bias)), window=WINDOWS[0])


def test_a_model_trains_through_it(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_module", lambda name: True)
    be = nn.backend("cupy")
    network = nn.Network(nn.Conv2D(3, 3, padding=1), nn.Activation("relu"), nn.Flatten(), nn.Dense(2))
    x, y = RNG.normal(size=(8, 5, 5, 2)).astype("float32"), np.arange(8) % 2
    found = {}
    for engine in ("layers", "cudnn"):
        model = network.init((5, 5, 2), seed=0, backend=be, dtype="float32", engine=engine)
        history = model.fit(be.asarray(x), be.asarray(y), epochs=2, batch_size=4, seed=1)
        assert history.settings["engine"] == engine
        found[engine] = be.to_numpy(model.theta)
    assert set(library.executed) == {"fprop", "wgrad"}
    np.testing.assert_allclose(found["cudnn"], found["layers"], rtol=1e-4, atol=1e-6)


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_module", lambda name: name != "cudnn")
    with pytest.raises(ImportError, match=r"pip install 'nnarray\[cudnn\]' nvidia-cudnn-cu13"):
        nn.Network(nn.Dense(2)).init((2,), backend="cupy", engine="cudnn")
