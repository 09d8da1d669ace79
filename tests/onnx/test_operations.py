"""The graph of a forward pass, run again by name on other inputs, gives the same outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels, testing
from nnarray.layers.kinds import specs
from nnarray.onnx.writing.operations import Graph, Value, graph_of
from nnarray.recording.trees import in_the_form_of, leaves
from tests.recording.test_one_gradient import MODELS, Masked, Rounded
from tests.recording.test_pullbacks import LAYERS


def resolved(x: Any, values: dict[int, Any]) -> Any:
    if isinstance(x, Value):
        return values[x.number]
    if isinstance(x, dict):
        return {name: resolved(each, values) for name, each in x.items()}
    if isinstance(x, list | tuple):
        return in_the_form_of(x, [resolved(each, values) for each in x])
    return x


def function_of(xp: Any, name: str) -> Any:
    if name in kernels.TABLE and not hasattr(xp, name):
        return kernels.TABLE[name]
    if name in ("getitem", "put_at"):
        return {"getitem": lambda x, key: x[key], "put_at": kernels.put}[name]
    for part in name.split("."):
        xp = getattr(xp, part)
    return xp


def values_in(tree: Any) -> list[Value]:
    """As `leaves`, for which a `Value` would be a tuple of three."""
    if isinstance(tree, Value):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return [each for part in parts for each in values_in(part)]


def run(graph: Graph, xp: Any, *inputs: Any) -> Any:
    values = dict(zip((each.number for each in values_in(graph.inputs)), leaves(inputs), strict=True))
    for each in graph.operations:
        y = function_of(xp, each.name)(*resolved(each.arguments, values), **resolved(each.settings, values))
        for result, array in zip(each.results, y if isinstance(y, list | tuple) else (y,), strict=True):
            if result is None:
                assert array is None
                continue
            assert tuple(array.shape) == result.shape
            assert array.dtype == result.dtype
            values[result.number] = array
    return resolved(graph.outputs, values)


def forward(layer: nn.Layer, shape: Any, key: nn.Key) -> tuple[Any, Any, Any]:
    """A function of the inputs at inference, and two examples of inputs."""
    params, state, x, _ = testing._example(nn.backend("numpy"), "float64", layer, (3, shape), key)
    _, _, other, _ = testing._example(nn.backend("numpy"), "float64", layer, (3, shape), key.fold("other"))
    model = nn.Network(layer).init(shape, seed=0, dtype="float64")
    model = model.with_theta(params, state if state.shape[0] else None)
    return model, x, other


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("case", LAYERS)
def test_layers(host: nn.Backend, case: str, whole: bool) -> None:
    layer, shape = LAYERS[case]
    outputs, x, other = forward(layer, shape, nn.Key(1))
    graph = graph_of(outputs, x, kept=kernels.TABLE if whole else ())
    for given in (x, other):
        testing.assert_close(run(graph, host.xp, given), outputs(given), what=case)
    assert {each.name for each in graph.operations}.isdisjoint({"stop_gradient", "with_pullback"})


@pytest.mark.parametrize("case", MODELS)
def test_models_with_layers_of_your_own(be: nn.Backend, case: str) -> None:
    model = nn.Network(*MODELS[case][0]).init((2,), seed=0, backend=be, dtype="float32")
    X = be.asarray(np.asarray([[0.3, -0.7], [1.9, 0.1]]), dtype="float32")
    graph = graph_of(model, X)
    testing.assert_close(run(graph, be.xp, X + 1.0), be.to_numpy(model(X + 1.0)))


def test_what_a_graph_holds(be: nn.Backend) -> None:
    def f(pair: Any, i: Any) -> Any:
        xp = nn.namespace(pair["a"])
        y = xp.zeros((2, 3), dtype=pair["a"].dtype, device=pair["a"].device)
        y[:, 0] = pair["b"]
        y += xp.take(pair["a"], i, axis=1)
        if xp.isdtype(y.dtype, "real floating"):
            y = xp.concat([y, xp.ones_like(y)], axis=0)
        first, *_ = xp.unstack(xp.linalg.matrix_transpose(nn.stop_gradient(y)), axis=0)
        return {"y": xp.where(y > first[0], y, 2.0 * y), "constant": xp.ones(2), "none": None}

    pair = {"a": be.asarray(np.asarray([[1.0, -2.0], [3.0, 4.0]])), "b": be.asarray(np.asarray([5.0, 6.0]))}
    i = be.asarray(np.asarray([0, 1, 0]))
    graph = graph_of(f, pair, i)
    names = [each.name for each in graph.operations]
    assert names[:5] == ["put_at", "take", "add", "ones_like", "concat"]
    assert names[5:] == ["linalg.matrix_transpose", "unstack", "getitem", "greater", "multiply", "where"]
    assert len(graph.operations[6].results) == 3
    assert [each.number for each in values_in(graph.inputs)] == [0, 1, 2]
    got = run(graph, be.xp, {"a": -pair["a"], "b": pair["b"]}, i)
    rows = np.asarray([[4.0, 2.0, -1.0], [3.0, -4.0, -3.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    assert be.to_numpy(got["y"]).tolist() == np.where(rows > 4.0, rows, 2.0 * rows).tolist()
    assert be.to_numpy(got["constant"]).tolist() == [1.0, 1.0]
    assert got["none"] is None


def test_gradients_in_a_graph_are_refused_with_branches(host: nn.Backend) -> None:
    x = np.asarray([1.0, 2.0])
    xp = nn.namespace(x)
    graph = graph_of(lambda x: nn.custom_gradient(lambda x: (2.0 * x, lambda dy: dy))(x), x)
    assert [each.name for each in graph.operations] == ["multiply"]
    with pytest.raises(TypeError, match=r"hold for this input only.*xp\.where"):
        graph_of(lambda x: x[0] if x[0] > 0 else x[1], x)
    with pytest.raises(TypeError, match="take the number out of the recording"):
        graph_of(lambda x: x * float(x[0]), x)
    assert graph_of(lambda x: xp.ones(2), x).operations == []


def test_masks(host: nn.Backend) -> None:
    layers = nn.Embedding(5, 2, padding_index=0), Masked(), nn.GlobalAvgPool()
    model = nn.Network(*layers, nn.Dense(1)).init((4,), seed=0, dtype="float64")
    X, other = np.asarray([[1, 2, 0, 0], [3, 4, 4, 0]]), np.asarray([[1, 0, 2, 4], [1, 0, 0, 2]])
    testing.assert_close(run(graph_of(model, X), host.xp, other), model(other))
    assert specs(Rounded().takes, (2,)).kind.name == "real"
