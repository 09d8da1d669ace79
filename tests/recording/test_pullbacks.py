"""Every hand-written pullback agrees with the recorded one of the same forward pass, to float64's rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import testing
from nnarray.kernels.functions import FUNCTIONS
from nnarray.layers.kinds import specs
from nnarray.layers.recorded import recorded_pullback
from nnarray.recording import constant
from nnarray.recording.trees import leaves, mapped
from tests.layers import test_containers, test_embedding, test_images, test_layers
from tests.test_losses import CASES, EXAMPLES, OUTPUTS, on

TABLES = {
    "layers": test_layers.LAYERS,
    "images": test_images.LAYERS,
    "embedding": test_embedding.LAYERS,
    "containers": test_containers.BLOCKS,
}
LAYERS = {f"{table}: {name}": each for table, rows in TABLES.items() for name, each in rows.items()}
ROUNDING = 2000  # sums of some hundred products, in another order

pytestmark = [pytest.mark.once_a_library, pytest.mark.not_on("strict:no_float64")]


def same(got: Any, want: Any, what: str) -> None:
    if isinstance(want, dict):
        assert set(got) >= set(want), what
        for name, each in want.items():
            same(got[name], each, f"{what}.{name}")
        return
    for a, b in zip(leaves(got), leaves(want), strict=True):
        assert a.dtype == b.dtype, what
        testing.assert_close(a, b, c=ROUNDING, what=what)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", LAYERS)
def test_layers(be: nn.Backend, case: str, training: bool) -> None:
    layer, shape = LAYERS[case]
    key = nn.Key(1)
    params, state, x, weights = testing._example(be, "float64", layer, (3, shape), key)
    tree = testing.layer_tree(layer.params(shape), params)
    ctx = nn.Context(training, testing.layer_tree(layer.initial_state(shape), state), root=key)

    def outputs(params: Any, x: Any) -> tuple[Any, ...]:
        out = layer.forward(params, x, ctx._replace(state=mapped(constant, ctx.state)))
        return out.y, *(head.y for head in out.heads)

    out = layer.forward(tree, x, ctx)
    dys = [be.asarray(weights(y.shape), dtype="float64") for y in (out.y, *(head.y for head in out.heads))]
    dx, gradients = out.pullback(*dys)
    want_dx, want = recorded_pullback(outputs, tree, x, input_gradient=True)(*dys)
    wanted = specs(layer.takes, shape)
    if isinstance(wanted, dict) or wanted.kind.name == "real":
        same(testing._of_real_numbers(wanted, dx), testing._of_real_numbers(wanted, want_dx), f"{case}: dx")
    same(gradients, want, case)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_activations(be: nn.Backend, name: str) -> None:
    """The definition, recorded: away from corners, to which a record may give another derivative."""
    value = FUNCTIONS[name].value.definition
    rows = np.asarray([[0.3, -0.7, 1.9], [-2.5, 3.9, -6.0], [20.0, -20.0, 0.01], [-1.1, 1.2, 3.5]])
    x, dy = be.asarray(rows, dtype="float64"), be.asarray(np.cos(rows), dtype="float64")
    y = value(x)
    same(FUNCTIONS[name].pullback_at(x, y)(dy), nn.vjp(value, x)[1](dy)[0], name)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_activations_at_corners_and_in_the_limits(be: nn.Backend, name: str) -> None:
    """What a model computes, and so nn.grad of it, is the same as nn.value_and_grad, by the hand-written pullbacks."""
    value = FUNCTIONS[name].value
    rows = np.asarray([[0.0, -1.0, 1.0], [3.0, -3.0, 800.0], [0.0, -800.0, 2.0]])
    x, dy = be.asarray(rows, dtype="float64"), be.asarray(np.cos(rows), dtype="float64")
    got, want = nn.vjp(value, x)[1](dy)[0], FUNCTIONS[name].pullback_at(x, value(x))(dy)
    assert be.to_numpy(got).tolist() == be.to_numpy(want).tolist()


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_losses(be: nn.Backend, case: str, weighed: bool) -> None:
    make, options, target, _, _ = CASES[case]
    outputs, target, weights = on(be, "float64", OUTPUTS, target, EXAMPLES)
    given = (weights,) if weighed else ()
    for reduction in ("mean", "sum"):
        loss = make(reduction=reduction, **options)
        value, gradient = loss.value_and_gradient(outputs, target, *given)
        got, want = nn.value_and_grad(lambda o, loss=loss: loss(o, target, *given))(outputs)
        same(value, got, case)
        same(gradient, want, case)
