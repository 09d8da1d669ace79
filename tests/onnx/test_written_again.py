"""Graphs of files that are written into files again: what is refused, what stays a parameter, and by which name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.onnx.reading.facts import facts_of
from nnarray.onnx.reading.file import read_file
from nnarray.onnx.weights import paths_of
from tests.onnx.graphs import BOOL, FLOAT, INT64, graph, model, node, saved, value
from tests.onnx.test_writing import by_reference
from tests.onnx.test_writing_faults import with_own

onnx = pytest.importorskip("onnx")


def drawn(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def branches(*before: Any) -> Any:
    """One of two products, by a truth value that other nodes compute."""
    each = [graph([node("MatMul", ["x", w], [w + "y"])], [], [value(w + "y")], {}) for w in ("w1", "w2")]
    nodes = [*before, node("If", ["c"], ["y"], then_branch=each[0], else_branch=each[1])]
    constants = {"w1": drawn(4, 3), "w2": drawn(4, 3) + 1.0, "z": np.float32(50), "t": np.asarray(True)}
    return model(nodes, [value("x", ["n", 4])], [value("y", ["n", 3])], constants)


def turns() -> Any:
    """A sum of as many examples as the largest number of the inputs says."""
    body = graph(
        [node("Add", ["v", "x"], ["v2"]), node("Identity", ["ci"], ["co"])],
        [value("i", [], INT64), value("ci", [], BOOL), value("v")],
        [value("co", [], BOOL), value("v2")],
        {},
    )
    nodes = [
        node("ReduceMax", ["x"], ["s"], keepdims=0),
        node("Cast", ["s"], ["k"], to=INT64),
        node("Loop", ["k", "", "x"], ["y"], body=body),
    ]
    return model(nodes, [value("x", ["n", 4])], [value("y", ["n", 4])])


def numbers(*nodes: Any) -> Any:
    """Nodes with integers "k" that depend on values of the inputs."""
    constants = {"a": np.asarray([0]), "b": np.asarray([1]), "least0": np.float32(-2.0)}
    first = [
        node("ReduceMax", ["x"], ["s"], keepdims=0),
        node("Abs", ["s"], ["p"]),
        node("Cast", ["p"], ["k0"], to=INT64),
    ]
    return model(
        [*first, node("Add", ["k0", "b"], ["k"]), *nodes],
        [value("x", ["n", 4])],
        [value("y", ["n", "m"])],
        constants,
    )


largest = [node("ReduceMax", ["x"], ["s"], keepdims=0), node("Greater", ["s", "z"], ["c"])]
DEPENDENT: dict[str, Callable[[], Any]] = {
    "If": lambda: branches(*largest),
    "Loop": turns,
    "Slice": lambda: numbers(node("Slice", ["x", "a", "k", "b"], ["y"])),
    "NonZero": lambda: numbers(
        node("NonZero", ["x"], ["i"]),
        node("Size", ["i"], ["j"]),
        node("Cast", ["j"], ["f"], to=FLOAT),
        node("Mul", ["x", "f"], ["y"]),
    ),
    "Unique": lambda: numbers(node("Unique", ["x"], ["i"]), node("Unsqueeze", ["i", "a"], ["y"])),
    "Compress": lambda: numbers(
        node("ReduceMin", ["x", "a"], ["least"], keepdims=0),
        node("Greater", ["least", "least0"], ["g"]),
        node("Compress", ["x", "g"], ["y"], axis=1),
    ),
}


@pytest.mark.parametrize("name", DEPENDENT)
@pytest.mark.parametrize("check", [True, False])
def test_a_course_that_depends_on_values_is_refused(tmp_path: Path, name: str, check: bool) -> None:
    loaded = nn.load_onnx(saved(tmp_path, DEPENDENT[name]()))
    with pytest.raises(ValueError, match=rf"^{name} '.*the course of the graph depends on values of its inputs"):
        loaded.to_onnx(tmp_path / "again.onnx", check=check)
    assert not (tmp_path / "again.onnx").exists()


def test_it_is_refused_on_every_backend(be: Any, tmp_path: Path) -> None:
    loaded = nn.load_onnx(saved(tmp_path, branches(*largest)), backend=be)
    with pytest.raises(ValueError, match="depends on values of its inputs"):
        loaded.to_onnx(tmp_path / "again.onnx")


def test_a_course_that_does_not_depend_on_values_is_written(tmp_path: Path) -> None:
    loaded = nn.load_onnx(saved(tmp_path, branches(node("Identity", ["t"], ["c"]))))
    loaded.to_onnx(tmp_path / "again.onnx")
    x = drawn(5, 4)
    np.testing.assert_allclose(by_reference(tmp_path / "again.onnx", x), loaded(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (
            x * nn.namespace(x).ones((nn.namespace(x).nonzero(x > -9.0)[0].shape[0] // x.shape[0],), dtype=x.dtype)
        ),
        lambda x: x + 1.0 * x[x > -9.0].shape[0] / (3 * x.shape[0]),
    ],
)
def test_sizes_that_depend_on_values_are_refused(tmp_path: Path, function: Any) -> None:
    with pytest.raises(ValueError, match=r"in layer '0\.mine\.0' \(Own\) cannot be written"):
        with_own(function).to_onnx(tmp_path / "m.onnx", batch=2, check=False)


def test_texts_of_arrays_have_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"could not convert .*'array of shape \(\)'"):
        with_own(lambda x: x * float(f"{x[0, 0]}")).to_onnx(tmp_path / "m.onnx", check=False)


# --- Names and notes --------------------------------------------------------------------------------------------------


def of_two(left: str, right: str, output: str, weight: str = "w") -> Any:
    nodes = [node("MatMul", [left, weight], ["a"]), node("Add", ["a", right], [output])]
    inputs = [value(left, ["n", 3]), value(right, ["n", 2])]
    return model(nodes, inputs, [value(output, ["n", 2])], {weight: drawn(3, 2)})


@pytest.mark.parametrize(
    ("names", "weight"),
    [(("left", "right", "sum"), "w"), (("X", "outputs", "Add_1"), "constant.0"), (("b", "a.b", "MatMul_0"), "Add_1")],
)
def test_inputs_and_outputs_keep_their_names(tmp_path: Path, names: tuple[str, str, str], weight: str) -> None:
    loaded = nn.load_onnx(saved(tmp_path, of_two(*names, weight)))
    for batch in (None, 2):
        loaded.to_onnx(tmp_path / "again.onnx", batch=batch)
        again = nn.load_onnx(tmp_path / "again.onnx")
        assert again.network.output == names[2]
        assert {*again.inputs} == {*names[:2]}
        assert list(again.params) == list(loaded.params)
        x = dict(zip(names[:2], (drawn(2, 3), drawn(2, 2)), strict=True))
        np.testing.assert_allclose(again(x), loaded(x), rtol=0, atol=1e-6)


def test_one_input_keeps_its_name(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["pixels", "w"], ["scores"])]
    made = model(nodes, [value("pixels", ["n", 4, 3])], [value("scores", ["n", 4, 2])], {"w": drawn(3, 2)})
    loaded = nn.load_onnx(saved(tmp_path, made))
    loaded.to_onnx(tmp_path / "again.onnx", dynamic_axes={1: "rows"})
    graph = onnx.load(tmp_path / "again.onnx").graph
    assert [each.name for each in (*graph.input, *graph.output)] == ["pixels", "scores"]
    loaded.to_onnx(tmp_path / "again.onnx", dynamic_axes={"pixels": {1: "rows"}})
    with pytest.raises(ValueError, match=r"'X'.*pixels"):
        loaded.to_onnx(tmp_path / "again.onnx", dynamic_axes={"X": {1: "rows"}})


def test_notes_are_kept(tmp_path: Path) -> None:
    """Those of the file, and the classes that the model has now."""

    def notes(model: Any) -> dict[str, str]:
        model.to_onnx(tmp_path / "again.onnx")
        return {each.key: each.value for each in onnx.load(tmp_path / "again.onnx").metadata_props}

    made = of_two("left", "right", "sum")
    onnx.helper.set_model_props(made, {"author": "someone", "classes": '["cat", "dog"]'})
    loaded = nn.load_onnx(saved(tmp_path, made))
    assert notes(loaded) == {"author": "someone", "classes": '["cat", "dog"]'}
    loaded.metadata["classes"] = ["one", "two"]
    assert notes(loaded) == {"author": "someone", "classes": '["one", "two"]'}
    loaded.save(tmp_path / "m.safetensors")
    assert notes(nn.load(tmp_path / "m.safetensors")) == {"author": "someone", "classes": '["one", "two"]'}
    del loaded.metadata["classes"]
    assert notes(loaded) == {"author": "someone"}
    onnx.helper.set_model_props(made, {"classes": "cat, dog"})  # as another program writes them
    assert notes(nn.load_onnx(saved(tmp_path, made))) == {"classes": "cat, dog"}


# --- Masks and scales -------------------------------------------------------------------------------------------------


def attention(masking: float) -> Any:
    mask = np.triu(np.full((1, 4, 4), masking, dtype="float32"), 1)
    nodes = [
        node("MatMul", ["x", "w"], ["q"]),
        node("Transpose", ["q"], ["qt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "qt"], ["s"]),
        node("Div", ["s", "scale"], ["scaled"]),
        node("Add", ["scaled", "mask"], ["m"]),
        node("Softmax", ["m"], ["p"]),
        node("MatMul", ["p", "q"], ["y"]),
    ]
    constants = {"w": drawn(3, 3), "mask": mask, "scale": np.asarray([1.7], dtype="float32")}
    return model(nodes, [value("x", ["n", 4, 3])], [value("y", ["n", 4, 3])], constants)


@pytest.mark.parametrize("masking", [-1e4, -1e9, -np.inf])
def test_masks_stay_as_they_are(be: Any, tmp_path: Path, masking: float) -> None:
    loaded = nn.load_onnx(saved(tmp_path, attention(masking)), backend=be)
    assert list(loaded.params) == ["w"]
    x = drawn(8, 4, 3)
    X = be.asarray(x)
    loaded.fit(X, X, loss="mse", optimizer=nn.AdamW(0.1, weight_decay=1.0), epochs=2, progress=False)
    changed = x.copy()
    changed[:, 3] += 5.0
    before, after = (be.to_numpy(loaded(be.asarray(each)))[:, :3] for each in (x, changed))
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-5)


def test_factors_of_0_and_1_stay_as_they_are(tmp_path: Path) -> None:
    """Such as a triangle by which scores are multiplied; a factor with other numbers is a scale."""
    nodes = [node("Mul", ["x", "triangle"], ["a"]), node("Mul", ["a", "ones"], ["b"]), node("Mul", ["b", "s"], ["y"])]
    constants = {"triangle": np.tri(4, dtype="float32"), "ones": np.ones(4, "float32"), "s": np.tri(4) - 0.5}
    constants = {name: each.astype("float32") for name, each in constants.items()}
    made = model(nodes, [value("x", ["n", 4, 4])], [value("y", ["n", 4, 4])], constants)
    path = saved(tmp_path, made)
    assert list(nn.load_onnx(path).params) == ["ones", "s"]
    assert facts_of(read_file(path))["parameters"] == 4 + 16


@pytest.mark.parametrize("masking", [-1e4, -np.inf])
def test_masks_do_not_count_as_parameters(tmp_path: Path, masking: float) -> None:
    path = saved(tmp_path, attention(masking))
    assert facts_of(read_file(path))["parameters"] == nn.load_onnx(path).theta.shape[0] == 9


def test_the_bias_of_one_output_is_a_parameter(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])]
    made = model(nodes, [value("x", ["n", 4])], [value("y", ["n", 1])], {"w": drawn(4, 1), "b": drawn(1)})
    assert list(nn.load_onnx(saved(tmp_path, made)).params) == ["w", "b"]


# --- Names and ties ---------------------------------------------------------------------------------------------------


def tied() -> Any:
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        node("MatMul", ["t", "wt"], ["y"]),
    ]
    return model(nodes, [value("x", ["n", 4])], [value("y", ["n", 4])], {"w": drawn(4, 2)})


def turned() -> Any:
    constants = {"w": drawn(3, 4), "b": drawn(3)}
    nodes = [node("Gemm", ["x", "w", "b"], ["y"], transB=1)]
    return model(nodes, [value("x", ["n", 4])], [value("y", ["n", 3])], constants)


def images() -> Any:
    constants = {"kernel": drawn(5, 2, 3, 3), "bias": drawn(5), "w": drawn(3, 5)}
    nodes = [
        node("Conv", ["x", "kernel", "bias"], ["h"]),
        node("GlobalAveragePool", ["h"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w"], ["y"], transB=1),
    ]
    return model(nodes, [value("x", ["n", 2, 8, 8])], [value("y", ["n", 3])], constants)


def recurrent() -> Any:
    constants = {"W": drawn(1, 12, 4), "R": drawn(1, 12, 3), "a": np.asarray([0])}
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "W", "R"], ["all", "last"], hidden_size=3),
        node("Squeeze", ["last", "a"], ["y"]),
    ]
    return model(nodes, [value("x", ["n", 5, 4])], [value("y", ["n", 3])], constants)


@pytest.mark.parametrize("make", [tied, turned, images, recurrent])
def test_parameters_keep_names_shapes_and_ties(tmp_path: Path, make: Callable[[], Any]) -> None:
    loaded = nn.load_onnx(saved(tmp_path, make()))
    loaded.to_onnx(tmp_path / "again.onnx")
    again = nn.load_onnx(tmp_path / "again.onnx")
    shapes = [{name: tuple(each.shape) for name, each in m.params.items()} for m in (loaded, again)]
    assert shapes[0] == shapes[1]
    (shape,) = [each.shape[1:] for each in loaded.network.graph.inputs]
    x = drawn(6, *shape)
    np.testing.assert_allclose(by_reference(tmp_path / "again.onnx", x), loaded(x), rtol=0, atol=1e-5)
    target = np.ones_like(loaded(x))
    for each in (loaded, again):
        each.fit(x, target, loss="mse", epochs=3, seed=0, progress=False)
    np.testing.assert_allclose(again(x), loaded(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "names", [("X", "outputs"), ("MatMul_0", "Transpose_0"), ("constant.1", "constant.0"), ("constant.2", "constant.1")]
)
def test_parameters_with_the_names_of_other_things(tmp_path: Path, names: tuple[str, str]) -> None:
    w, v = names
    nodes = [
        node("Mul", ["x", "half"], ["a"]),
        node("MatMul", ["a", w], ["h"]),
        node("Mul", ["h", "third"], ["b"]),
        node("MatMul", ["b", v], ["y"]),
    ]
    constants = {w: drawn(4, 5), v: drawn(5, 3), "half": np.float32(0.5), "third": np.float32(0.3)}
    loaded = nn.load_onnx(saved(tmp_path, model(nodes, [value("x", ["n", 4])], [value("y", ["n", 3])], constants)))
    loaded.to_onnx(tmp_path / "again.onnx", check=False)
    x = drawn(6, 4)
    np.testing.assert_allclose(by_reference(tmp_path / "again.onnx", x), loaded(x), rtol=0, atol=1e-5)
    assert len(nn.load_onnx(tmp_path / "again.onnx").params) == 2


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["a.b", "c"], [("a", "b"), ("c",)]),
        (["a.b", "a"], [("a_b",), ("a",)]),
        (["a.b", "a", "a_b"], [("a_b_",), ("a",), ("a_b",)]),
        (["a.b_", "a_b.", "a_b", "a_b.c", ".."], [("a_b_",), ("a_b__",), ("a_b",), ("a_b_c",), ("__",)]),
    ],
)
def test_paths_are_unique(names: list[str], wanted: list[tuple[str, ...]]) -> None:
    assert [paths_of(names)[name] for name in names] == wanted


def test_names_that_begin_others(be: Any, tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "a.b", "a"], ["h"]), node("MatMul", ["h", "a_b"], ["y"])]
    constants = {"a.b": drawn(4, 4), "a": drawn(4), "a_b": drawn(4, 3)}
    made = model(nodes, [value("x", ["n", 4])], [value("y", ["n", 3])], constants)
    loaded = nn.load_onnx(saved(tmp_path, made), backend=be)
    found = {name: be.to_numpy(each) for name, each in loaded.params.items()}
    assert (found["a_b_"] == constants["a.b"]).all()
    assert (found["a_b"] == constants["a_b"]).all()


# --- Indices ----------------------------------------------------------------------------------------------------------


def looked_up(rows: int) -> Any:
    nodes = [
        node("Gather", ["table", "ids"], ["h"]),
        node("Gather", ["types", "kinds"], ["k"]),
        node("Add", ["h", "k"], ["s"]),
        node("ReduceMean", ["s", "axis"], ["y"], keepdims=0),
    ]
    constants = {"table": drawn(rows, 3), "types": drawn(2, 3), "axis": np.asarray([1])}
    inputs = [value(name, ["n", 5], INT64) for name in ("ids", "kinds")]
    return model(nodes, inputs, [value("y", ["n", 3])], constants)


@pytest.mark.parametrize("rows", [1, 7, 30])
def test_indices_of_small_tables(tmp_path: Path, rows: int) -> None:
    loaded = nn.load_onnx(saved(tmp_path, looked_up(rows)))
    assert [each.kind.drawn_below for each in loaded.inputs.values()] == [rows, 2]
    loaded.to_onnx(tmp_path / "again.onnx")
    again = nn.load_onnx(tmp_path / "again.onnx")
    x = {"ids": np.full((2, 5), rows - 1), "kinds": np.ones((2, 5), dtype="int64")}
    np.testing.assert_allclose(again(x), loaded(x), rtol=0, atol=1e-6)
    again.to_onnx(tmp_path / "third.onnx")


def test_an_embedding_of_ours_is_written_again(tmp_path: Path) -> None:
    made = nn.Network(nn.Embedding(7, 3), nn.Flatten(), nn.Dense(2)).init((5,), seed=0, dtype="float32")
    made.to_onnx(tmp_path / "m.onnx")
    again = nn.load_onnx(tmp_path / "m.onnx")
    again.to_onnx(tmp_path / "again.onnx")
    assert list(nn.load_onnx(tmp_path / "again.onnx").params) == list(made.params)
