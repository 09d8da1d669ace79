"""Graphs of ONNX files as models: they compute as in the file, train, freeze, and are saved."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import nnarray as nn
from nnarray.persistence.settings import decode, encode
from tests.onnx import graphs
from tests.onnx.graphs import BOOL, INT64, model, node, perceptron, saved, value
from tests.onnx.test_lowering import images
from tests.tolerances import close


def reference(made: Any, feed: dict[str, Any]) -> list[Any]:
    return ReferenceEvaluator(made).run(None, feed)


def test_a_model_computes_as_the_file(be: Any, tmp_path: Path) -> None:
    made = perceptron()
    loaded = nn.load_onnx(saved(tmp_path, made), backend=be)
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    close(be.to_numpy(loaded(be.asarray(x))), reference(made, {"x": x})[0], "float32")
    assert list(loaded.params) == ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert loaded.output_shape == (2,)


def test_a_model_trains_freezes_and_is_saved(be: Any, tmp_path: Path) -> None:
    loaded = nn.load_onnx(saved(tmp_path, perceptron()), backend=be)
    X, y = _data(be)
    before = be.to_numpy(loaded.params["first.weight"])
    loaded.freeze("first")
    history = loaded.fit(X, y, optimizer=nn.Adam(0.05), epochs=5, loss="cross_entropy")
    assert history["loss"][-1] < history["loss"][0]
    assert (be.to_numpy(loaded.params["first.weight"]) == before).all()
    path = tmp_path / "m.safetensors"
    loaded.save(path)
    again = nn.load(path, backend=be)
    assert (be.to_numpy(again(X)) == be.to_numpy(loaded(X))).all()
    assert again.frozen == loaded.frozen


def _data(be: Any) -> Any:
    x = np.random.default_rng(2).normal(size=(40, 3)).astype(np.float32)
    return be.asarray(x), be.asarray((x[:, 0] > 0).astype(np.int64))


def test_names_of_classes_come_back(tmp_path: Path) -> None:
    own = nn.Network(nn.Dense(2)).init((3,), seed=0, dtype="float32")
    own.metadata["classes"] = ["cat", "チューリップ"]
    own.to_onnx(tmp_path / "m.onnx")
    loaded = nn.load_onnx(tmp_path / "m.onnx")
    assert loaded.metadata["classes"] == ["cat", "チューリップ"]
    loaded.to_onnx(tmp_path / "n.onnx")
    assert nn.load_onnx(tmp_path / "n.onnx").metadata == loaded.metadata


@pytest.mark.parametrize("note", ["", "cat, dog", "{}", '["cat", 1]', "null", "[" * 100_000])
def test_notes_of_other_programs_are_no_classes(tmp_path: Path, note: str) -> None:
    made = perceptron()
    onnx.helper.set_model_props(made, {"classes": note})
    loaded = nn.load_onnx(saved(tmp_path, made))
    assert loaded.metadata == {"onnx": {"classes": note}}


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool", "Conv"])
def test_a_window_that_does_not_fit_is_refused(tmp_path: Path, op: str) -> None:
    weights = {"w": np.ones((1, 1, 3, 3), np.float32)} if op == "Conv" else {}
    settings = {} if weights else {"kernel_shape": [3, 3], "strides": [2, 2]}
    made = model(
        [node(op, ["x", *weights], ["y"], **settings)],
        [value("x", ["n", 1, "height", "width"])],
        [value("y", ["n", 1, "rows", "columns"])],
        weights,
    )
    program = nn.onnx.read(saved(tmp_path, made))
    assert program(x=np.ones((1, 1, 3, 3), np.float32))["y"].shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=f"{op} 'y': a window that covers 3 x 3 positions does not fit .* size 2 x 4"):
        program(x=np.ones((1, 1, 2, 4), np.float32))


def test_the_gradient_follows_from_a_record(tmp_path: Path) -> None:
    loaded = nn.load_onnx(saved(tmp_path, perceptron()), dtype="float64")
    assert nn.testing.check_layer(loaded.network, (3,), backends=["numpy", "strict"]).pullback == "recorded"


def recurrent(op: str, gates: int) -> Any:
    """Both directions of a recurrent layer over 4 steps of 3 features, and a product of its last state."""
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {
        "w": 0.5 * rng.normal(size=(2, gates * 2, 3)).astype(np.float32),
        "r": 0.5 * rng.normal(size=(2, gates * 2, 2)).astype(np.float32),
        "b": 0.5 * rng.normal(size=(2, gates * 4)).astype(np.float32),
        "p": rng.normal(size=(4, 2)).astype(np.float32),
        "s": np.asarray([0, -1]),
    }
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node(op, ["t", "w", "r", "b"], ["all", "last"], hidden_size=2, direction="bidirectional"),
        node("Transpose", ["last"], ["l"], perm=[1, 0, 2]),
        node("Flatten", ["l"], ["f"]),
        node("MatMul", ["f", "p"], ["y"]),
    ]
    return model(nodes, [value("x", ["n", 4, 3])], [value("y", ["n", 2])], constants)


@pytest.mark.parametrize(("op", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_recurrent_graphs_train(tmp_path: Path, op: str, gates: int) -> None:
    loaded = nn.load_onnx(saved(tmp_path, recurrent(op, gates)), dtype="float64")
    assert list(loaded.params) == ["w", "r", "b", "p"]
    nn.testing.check_layer(loaded.network, (4, 3), backends=["numpy"])


def of_states(op: str, gates: int, states: int) -> Any:
    """A recurrent layer whose first states and biases are the same constants, and a product of its last state."""
    rng = np.random.default_rng(0)
    size = 2 * gates * 2
    constants: dict[str, Any] = {
        "w": 0.5 * rng.normal(size=(1, gates * 2, 3)).astype(np.float32),
        "r": 0.5 * rng.normal(size=(1, gates * 2, 2)).astype(np.float32),
        "b": np.zeros((1, size), np.float32),
        "zeros": np.zeros((1, 2), np.float32),
        "p": rng.normal(size=(2, 2)).astype(np.float32),
        "a": np.asarray([0]),
    }
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("Unsqueeze", ["zeros", "a"], ["state"]),
        node(op, ["t", "w", "r", "b", "", *["state"] * states], ["all", "last"], hidden_size=2),
        node("Squeeze", ["last", "a"], ["l"]),
        node("MatMul", ["l", "p"], ["m"]),
        node("Add", ["m", "zeros"], ["y"]),
    ]
    return model(nodes, [value("x", [1, 4, 3])], [value("y", [1, 2])], constants)


@pytest.mark.parametrize(("op", "gates", "states"), [("RNN", 1, 1), ("GRU", 3, 1), ("LSTM", 4, 2)])
def test_first_states_stay_as_they_are(tmp_path: Path, op: str, gates: int, states: int) -> None:
    """Also where the file has one constant for a state and a bias."""
    loaded = nn.load_onnx(saved(tmp_path, of_states(op, gates, states)))
    assert list(loaded.params) == ["w", "r", "b", "p", "zeros"]
    x = np.ones((1, 4, 3), np.float32)
    before = loaded(x)
    loaded.set_params({**loaded.params, "zeros": np.ones((1, 2), np.float32)})
    close(loaded(x), before + 1, "float32")  # the bias alone has changed
    loaded.save(tmp_path / "m.safetensors")
    assert (nn.load(tmp_path / "m.safetensors")(x) == loaded(x)).all()


def test_statistics_stay_as_they_are(tmp_path: Path) -> None:
    """Of an untrained normalisation, some programs write the zeros and the ones once."""
    constants = {"k": np.ones((2, 3, 1, 1), np.float32), "o": np.ones(2, np.float32), "z": np.zeros(2, np.float32)}
    nodes = [node("Conv", ["x", "k"], ["c"]), node("BatchNormalization", ["c", "o", "z", "z", "o"], ["y"])]
    made = model(nodes, [value("x", ["n", 3, 2, 2])], [value("y", ["n", 2, 2, 2])], constants)
    loaded, x = nn.load_onnx(saved(tmp_path, made)), np.ones((1, 3, 2, 2), np.float32)
    before = loaded(x)
    loaded.set_params({**loaded.params, "z": loaded.params["z"] + 1})
    close(loaded(x), before + 1, "float32")


def steps(op: str) -> Any:
    """Two steps of a layer without an operator of its own: h0 R, and the gate times the state."""
    constants: dict[str, Any] = {
        "r": np.ones((2, 2), np.float32),
        "h": np.zeros((1, 2), np.float32),
        "c": np.zeros((1, 2), np.float32),
        "e": np.eye(2, dtype=np.float32),
    }
    product = node("Gemm", ["h", "r"], ["past"]) if op == "Gemm" else node("MatMul", ["h", "r"], ["past"])
    nodes = [
        node("MatMul", ["x", "e"], ["input"]),
        product,
        node("Add", ["input", "past"], ["z"]),
        node("Sigmoid", ["z"], ["gate"]),
        node("Mul", ["gate", "c"], ["kept"]),
        node("Add", ["kept", "gate"], ["y"]),
    ]
    return model(nodes, [value("x", ["n", 2])], [value("y", ["n", 2])], constants)


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_states_of_layers_written_step_by_step(be: Any, tmp_path: Path, op: str) -> None:
    loaded = nn.load_onnx(saved(tmp_path, steps(op)), backend=be)
    assert list(loaded.params) == ["e", "r"]
    assert nn.onnx.read(tmp_path / "m.onnx").graph.constants.keys() >= {"h", "c"}


@pytest.mark.parametrize("kind", [nn.SimpleRNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fixed_batch_makes_no_other_parameters(tmp_path: Path, kind: Any, dtype: str) -> None:
    """The first states have an entry for each example, and are still no parameters; also written a second time."""
    own: Any = nn.Network(kind(4), nn.Dense(2)).init((3, 3), seed=0, dtype=dtype)
    for _ in range(2):
        shapes: list[Any] = []
        for batch in (None, 1, 2):
            own.to_onnx(tmp_path / f"{batch}.onnx", batch=batch)
            again = nn.load_onnx(tmp_path / f"{batch}.onnx")
            shapes.append(sorted(tuple(each.shape) for each in again.params.values()))
        assert shapes[0] == shapes[1] == shapes[2]
        own = nn.load_onnx(tmp_path / "None.onnx")


def test_the_gradient_of_images(tmp_path: Path) -> None:
    loaded = nn.load_onnx(saved(tmp_path, images()), dtype="float64")
    nn.testing.check_layer(loaded.network, (3, 17, 17), backends=["numpy"])


@pytest.mark.once_a_library
def test_images_train(be: Any, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(8, 3, 17, 17)).astype(np.float32)
    moved = nn.load_onnx(saved(tmp_path, images()), backend=be)
    history = moved.fit(be.asarray(X), be.asarray(np.arange(8) % 5), epochs=2, batch_size=4, loss="cross_entropy")
    assert history["loss"][-1] < history["loss"][0]


def test_a_graph_is_part_of_another_network(tmp_path: Path) -> None:
    loaded = nn.load_onnx(saved(tmp_path, perceptron()))
    whole = nn.Network(loaded.network, nn.Dense(3)).init((3,), seed=0, dtype="float32")
    whole.set_params({f"0.{name}": each for name, each in loaded.params.items()})
    x = np.ones((2, 3), dtype=np.float32)
    dense = whole.params["1.weight"], whole.params["1.bias"]
    close(whole(x), loaded(x) @ dense[0] + dense[1], "float32")
    assert "OnnxGraph" in str(whole.summary())
    assert len(repr(loaded)) < 200


def test_a_state_dict_has_the_names_of_the_file(tmp_path: Path) -> None:
    loaded = nn.load_onnx(saved(tmp_path, perceptron()))
    theirs = loaded.to_torch()
    assert {name: x.shape for name, x in theirs.items()} == {name: x.shape for name, x in loaded.params.items()}
    other = nn.load_onnx(saved(tmp_path, perceptron(seed=1)))
    assert (other.load_torch(theirs).theta == loaded.theta).all()


def test_what_follows_from_shapes_is_not_read_from_the_device(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "zeros"], ["n1"]),
        node("Concat", ["n1", "rest"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = {"zero": np.int64(0), "zeros": np.zeros(1, np.int64), "rest": np.asarray([6, 1])}
    made = model(nodes, [value("x", ["n", 2, 3])], [value("y", ["n", 6, 1])], constants)
    loaded = nn.load_onnx(saved(tmp_path, made), backend="jax")
    import jax

    assert jax.jit(loaded)(nn.backend("jax").asarray(np.ones((4, 2, 3), np.float32))).shape == (4, 6, 1)
    (memory,) = loaded.network.memories.values()
    assert [*memory.fixed] == [((4, 2, 3),)]


def test_several_inputs_of_several_kinds(be: Any, tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("Cast", ["mask"], ["m"], to=1),
        node("Unsqueeze", ["m", "last"], ["m1"]),
        node("Mul", ["e", "m1"], ["p"]),
        node("ReduceSum", ["p", "one"], ["y"], keepdims=0),
    ]
    constants = {"table": table, "last": np.asarray([-1]), "one": np.asarray([1])}
    inputs = [value("ids", ["n", "length"], INT64), value("mask", ["n", "length"], BOOL)]
    made = model(nodes, inputs, [value("y", ["n", 2])], constants)
    loaded = nn.load_onnx(saved(tmp_path, made), backend=be, shape={"ids": (3,), "mask": (3,)})
    ids, mask = np.asarray([[1, 2, 3], [6, 0, 0]]), np.asarray([[True, True, False], [True, False, False]])
    want = (table[ids] * mask[:, :, None]).sum(axis=1)
    close(be.to_numpy(loaded({"ids": be.asarray(ids), "mask": be.asarray(mask)})), want, "float32")
    assert {name: each.kind.name for name, each in loaded.inputs.items()} == {"ids": "integer", "mask": "boolean"}


def _branches() -> Any:
    """Y = 2 x if the sum of x is above 0, else x - 1; and the state s + 1."""
    double = graphs.graph([node("Mul", ["x", "two"], ["d"])], [], [value("d")], {"two": np.float32(2)})
    less = graphs.graph([node("Sub", ["x", "one"], ["l"])], [], [value("l")], {})
    nodes = [
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Greater", ["total", "zero"], ["c"]),
        node("If", ["c"], ["y"], then_branch=double, else_branch=less),
        node("Add", ["s", "one"], ["s1"]),
    ]
    constants = {"zero": np.float32(0), "one": np.float32(1)}
    inputs = [value("x", ["n", 2]), value("s", [])]
    return model(nodes, inputs, [value("y", ["n", 2]), value("s1", [])], constants)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_branches_and_states(be: Any, tmp_path: Path, sign: float) -> None:
    path = saved(tmp_path, _branches())
    x = sign * np.ones((3, 2), dtype=np.float32)
    found = nn.onnx.read(path, backend=be)({"x": x, "s": 3.0})
    close(be.to_numpy(found["y"]), 2 * x if sign > 0 else x - 1, "float32")
    assert float(found["s1"]) == 4.0
    loaded = nn.load_onnx(path, backend=be, output="y", fixed={"s": 0.0})
    close(be.to_numpy(loaded(be.asarray(x))), 2 * x if sign > 0 else x - 1, "float32")


def test_a_loop_has_a_gradient(tmp_path: Path) -> None:
    body = graphs.graph(
        [node("Mul", ["h", "w"], ["h1"]), node("Identity", ["go"], ["go1"])],
        [value("i", [], INT64), value("go", [], BOOL), value("h")],
        [value("go1", [], BOOL), value("h1")],
        {},
    )
    nodes = [node("Identity", ["w0"], ["w"]), node("Loop", ["count", "", "x"], ["y"], body=body)]
    made = model(nodes, [value("x", ["n", 2])], [value("y", ["n", 2])], {"count": np.int64(3), "w0": np.float32(2)})
    loaded = nn.load_onnx(saved(tmp_path, made))
    x = np.ones((1, 2), dtype=np.float32)
    assert loaded(x).tolist() == [[8.0, 8.0]]
    assert nn.grad(lambda x: nn.namespace(x).sum(loaded(x)))(x).tolist() == [[8.0, 8.0]]


def test_weights_of_few_bits_become_parameters(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    q, scale = rng.integers(-128, 127, (3, 2)).astype(np.int8), np.asarray([0.1, 0.02], dtype=np.float32)
    nodes = [
        node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=1),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    constants = {"q": q, "scale": scale, "zero": np.asarray([1, -2], dtype=np.int8)}
    made = model(nodes, [value("x", ["n", 3])], [value("y", ["n", 2])], constants)
    loaded = nn.load_onnx(saved(tmp_path, made))
    close(loaded.params["w"], (q - np.asarray([1, -2])) * scale, "float32")
    assert not loaded.network.graph.constants


def test_an_operator_of_your_own(be: Any, tmp_path: Path) -> None:
    nodes = [node("Double", ["x"], ["a"], domain="com.example", by=3.0), node("Neg", ["a"], ["y"])]
    made = model(nodes, [value("x", ["n", 2])], [value("y", ["n", 2])], domains={"com.example": 1})
    path = saved(tmp_path, made)
    with pytest.raises(ValueError, match=r"1 unknown operator: com.example.Double at 'a'.*nn.onnx.register"):
        nn.load_onnx(path)

    @nn.onnx.register("Double", domain="com.example")
    def double(x: Any, *, by: float = 2.0) -> Any:
        return by * x

    try:
        x = be.asarray(np.ones((1, 2), np.float32))
        assert be.to_numpy(nn.load_onnx(path, backend=be)(x)).tolist() == [[-3.0, -3.0]]
    finally:
        from nnarray.onnx.operators import TABLE

        del TABLE["com.example", "Double"]


def test_all_unknown_operators_are_named(tmp_path: Path) -> None:
    inner = graphs.graph([node("Other", ["x"], ["o"], name="deep")], [], [value("o")], {})
    nodes = [
        node("Strange", ["x"], ["a"], name="first"),
        node("If", ["c"], ["y"], then_branch=inner, else_branch=inner, name="choice"),
    ]
    made = model(nodes, [value("x", ["n", 2])], [value("y", ["n", 2])], {"c": np.asarray(True)})
    with pytest.raises(ValueError, match=r"2 unknown operators: Strange at 'first'; Other at 'deep' in .*choice"):
        nn.load_onnx(saved(tmp_path, made))


def test_an_open_shape_is_asked_for(tmp_path: Path) -> None:
    made = model([node("Relu", ["x"], ["y"])], [value("x", ["n", "t", 3])], [value("y", ["n", "t", 3])])
    path = saved(tmp_path, made)
    with pytest.raises(ValueError, match=r"pass it without the batch axis, such as shape=\(128, 3\)"):
        nn.load_onnx(path)
    assert nn.load_onnx(path, shape=(5, 3)).output_shape == (5, 3)
    with pytest.raises(ValueError, match=r"takes examples of shape \(t, 3\); got \(5, 4\)"):
        nn.load_onnx(path, shape=(5, 4))


def test_functions_of_the_file(tmp_path: Path) -> None:
    helper = onnx.helper
    body = [
        node("Constant", [], ["k"]),
        node("Mul", ["a", "k"], ["s"]),
        node("Add", ["s", "b"], ["c"]),
    ]
    body[0].attribute.append(helper.make_attribute_ref("value_float", onnx.AttributeProto.FLOAT))
    body[0].attribute[0].ref_attr_name = "by"
    opsets = [helper.make_opsetid("", 18)]
    function = helper.make_function("own", "Scaled", ["a", "b"], ["c"], body, opsets, ["by"])
    nodes = [
        node("Scaled", ["x", "x"], ["h"], domain="own", by=2.0),
        node("Scaled", ["h", "x"], ["y"], domain="own", by=3.0),
    ]
    made = model(nodes, [value("x", ["n", 2])], [value("y", ["n", 2])], domains={"own": 1})
    made.functions.append(function)
    assert nn.load_onnx(saved(tmp_path, made))(np.ones((1, 2), np.float32)).tolist() == [[10.0, 10.0]]


def test_settings_are_json_and_arrays(tmp_path: Path) -> None:
    layer = nn.load_onnx(saved(tmp_path, _branches()), output="y", fixed={"s": 1.0}).network
    tensors: dict[str, Any] = {}
    text = encode(layer, tensors=tensors)
    assert decode(text, dict(tensors)) == layer
    assert pickle.loads(pickle.dumps(layer)) == layer


def test_a_saved_graph_is_checked_again(tmp_path: Path) -> None:
    layer = nn.load_onnx(saved(tmp_path, perceptron())).network
    tensors: dict[str, Any] = {}
    text = encode(layer, tensors=tensors)
    nodes = text["graph"][0]
    nodes[0][0] = "Strange"
    with pytest.raises(ValueError, match="1 unknown operator: Strange"):
        decode(text, dict(tensors))
    nodes[0][0], nodes[0][1] = "Gemm", ["y", "first.weight"]
    with pytest.raises(ValueError, match="has a cycle"):
        decode(text, dict(tensors))
    text["graph"] = text["graph"][:2]
    with pytest.raises(ValueError, match="the graph is damaged"):
        decode(text, dict(tensors))
