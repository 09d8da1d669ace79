"""What holds for all inputs, tried on many."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import nnarray as nn
from nnarray import kernels
from nnarray.functional.layout import Layout
from tests.tolerances import close, to_host

ROWS = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-50, 50, width=32))
NET = nn.Network(nn.Dense(4, "tanh"), nn.Residual(nn.Dense(4, "gelu")), nn.Dense(3, "tanh"))
FEW = settings(max_examples=12, deadline=None)


@FEW
@given(x=ROWS, shift=st.floats(-100, 100, width=32))
def test_softmax_rows_sum_to_one_and_ignore_a_shift(be: nn.Backend, x: np.ndarray, shift: float) -> None:
    p = to_host(be, kernels.softmax(be.asarray(x)))
    assert (p >= 0).all()
    close(p.sum(axis=1), np.ones(len(x)), "float32")
    close(to_host(be, kernels.softmax(be.asarray(x + np.float32(shift)))), p, "float32", c=500)


@FEW
@given(x=ROWS, data=st.data())
def test_a_permuted_batch_permutes_the_outputs(be: nn.Backend, x: np.ndarray, data: st.DataObject) -> None:
    order = np.asarray(data.draw(st.permutations(range(len(x)))))
    model = NET.init((x.shape[1],), backend=be, dtype="float32")
    close(to_host(be, model(be.asarray(x[order]))), to_host(be, model(be.asarray(x)))[order], "float32")


@FEW
@given(features=st.integers(1, 4), seed=st.integers(0, 2**64 - 1))
def test_unpacked_parameters_pack_into_the_same_vector(be: nn.Backend, features: int, seed: int) -> None:
    model = NET.init((features,), seed=seed, backend=be, dtype="float32")
    layout: Layout = model.wiring.params
    assert layout.slots[-1].stop == layout.size == model.theta.shape[0]
    packed = layout.pack(layout.tree(model.theta), model.theta)
    np.testing.assert_array_equal(be.to_numpy(packed), be.to_numpy(model.theta))


@FEW
@given(x=ROWS, scale=st.floats(0.125, 8, width=32))
def test_gradients_are_linear_in_the_weights_of_the_examples(be: nn.Backend, x: np.ndarray, scale: float) -> None:
    model = NET.init((x.shape[1],), backend=be, dtype="float32")
    y = be.asarray(np.arange(len(x)) % 3)
    loss = nn.losses.CrossEntropy(reduction="sum")
    weights = be.asarray(np.full(len(x), scale, dtype=np.float32))
    value, gradient = nn.value_and_grad(model, be.asarray(x), y, loss)
    scaled, scaled_gradient = nn.value_and_grad(model, be.asarray(x), y, loss, sample_weight=weights)
    close(to_host(be, scaled), scale * to_host(be, value), "float32", c=100)
    close(to_host(be, scaled_gradient), scale * to_host(be, gradient), "float32", c=200)


@FEW
@given(seed=st.integers(0, 2**64 - 1), n=st.integers(1, 200))
def test_an_order_is_an_order(be: nn.Backend, seed: int, n: int) -> None:
    order = be.to_numpy(nn.random.permutation(nn.Key(seed), n, xp=be.xp, device=be.device))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
