"""What a written file holds, and what is refused before there is one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.onnx.writing import file
from nnarray.onnx.writing.table import ROWS
from tests.onnx.test_writing import by_reference, by_runtime, drawn, of

onnx = pytest.importorskip("onnx")
assert file.FAMILIES  # whose rows are in the table


@dataclass(frozen=True)
class Own(nn.Layer):
    """A function of the examples."""

    function: Callable[[Any], Any] = abs

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> Any:
        return self.function(x)


def with_own(function: Callable[[Any], Any]) -> Any:
    return of(nn.Network(nn.Dense(3), nn.Residual(Own(function=function), name="mine")), (3,))


def test_what_a_file_holds(tmp_path: Path) -> None:
    net = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2, name="head"))
    model = net.init((3,), seed=0, dtype="float32")
    model.metadata["classes"] = ["cat", "dog"]
    model.to_onnx(tmp_path / "m.onnx")
    message = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(message, full_check=True)
    assert [each.version for each in message.opset_import] == [18]
    assert (message.producer_name, message.producer_version) == ("nnarray", nn.__version__)
    assert {each.key: each.value for each in message.metadata_props} == {"classes": '["cat", "dog"]'}
    assert [node.op_type for node in message.graph.node] == ["Gemm", "Tanh", "Gemm"]
    assert [each.name for each in message.graph.initializer] == ["0.weight", "0.bias", "head.weight", "head.bias"]
    (x,), (y,) = message.graph.input, message.graph.output
    shapes = [[d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim] for each in (x, y)]
    assert (x.name, y.name, shapes) == ("X", "outputs", [["batch", 3], ["batch", 2]])
    again = nn.load_onnx(tmp_path / "m.onnx")
    assert bool((again.params["head.weight"] == model.params["head.weight"]).all())
    model.to_onnx(tmp_path / "m.onnx", batch=4)
    (x,) = onnx.load(tmp_path / "m.onnx").graph.input
    assert [d.dim_value for d in x.type.tensor_type.shape.dim] == [4, 3]


def test_a_pass_of_a_recurrent_layer_is_one_operator(tmp_path: Path) -> None:
    model = of(nn.Network(nn.LSTM(4, bidirectional=True), nn.GRU(3)), (7, 2))
    model.to_onnx(tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert (operators.count("LSTM"), operators.count("GRU")) == (2, 1)
    names = {each.name for each in graph.initializer}
    assert {"0.0.bias_ih_l0", "0.0.bias_ih_l0_reverse", "0.1.bias_ih_l0"} <= names
    assert {f"0.0.{kind}_l0{way}" for kind in ("weight_ih", "weight_hh") for way in ("", "_reverse")} <= names


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_batch_normalisation_is_one_operator_and_channels_move_once(tmp_path: Path) -> None:
    block = nn.Network(nn.Conv2D(4, 3, padding="same"), nn.BatchNorm(), nn.Activation("relu"))
    branches = nn.Branches(block, nn.MaxPool2D(3, 1, padding=1))
    model = of(nn.Network(block, nn.Residual(block), branches, nn.Activation("leaky_relu")), (6, 5, 2))
    model.to_onnx(tmp_path / "m.onnx")
    found = operators(tmp_path / "m.onnx")
    assert found.count("Transpose") == 2
    assert found[:4] == ["Transpose", "Conv", "BatchNormalization", "Relu"]
    again = nn.load_onnx(tmp_path / "m.onnx")
    assert {"0.0.1.weight", "0.0.1.bias"} <= {*again.params}
    X = drawn(model, 3)
    np.testing.assert_allclose(by_runtime(tmp_path / "m.onnx", X), model(X), rtol=0, atol=1e-4)
    model = of(nn.Network(nn.Dense(4), nn.BatchNorm(), nn.Dense(2)), (3,))
    model.to_onnx(tmp_path / "m.onnx")
    assert operators(tmp_path / "m.onnx") == ["Gemm", "BatchNormalization", "Gemm"]


def test_transpositions_that_others_read_are_kept(tmp_path: Path) -> None:
    def function(x: Any) -> Any:
        xp = nn.namespace(x)
        y = xp.permute_dims(x[:, :, None] * x[:, None, :], (0, 2, 1)) * 2.0
        z = xp.concat([y, xp.permute_dims(xp.tanh(y), (0, 2, 1))], axis=1) + xp.ones((3,), dtype=x.dtype)
        return xp.sum(xp.where(z > 0.3, z, 0.5) @ y, axis=1)

    model = with_own(function)
    model.to_onnx(tmp_path / "m.onnx")
    X = drawn(model, 3)
    for found in (by_runtime(tmp_path / "m.onnx", X), by_reference(tmp_path / "m.onnx", X)):
        np.testing.assert_allclose(found, model(X), rtol=0, atol=1e-4)


def test_names_of_inputs_that_others_have(tmp_path: Path) -> None:
    inputs = nn.Inputs({"outputs": nn.Dense(3), "Gemm_0": nn.Dense(2)})
    model = of(nn.Network(inputs, nn.Dense(2)), {"outputs": (2,), "Gemm_0": (3,)})
    model.to_onnx(tmp_path / "m.onnx")
    X = drawn(model, 3)
    np.testing.assert_allclose(by_runtime(tmp_path / "m.onnx", X), model(X), rtol=0, atol=1e-5)
    assert [each.name for each in onnx.load(tmp_path / "m.onnx").graph.output] == ["outputs_"]


def test_shared_and_transposed_parameters(tmp_path: Path) -> None:
    model = of(nn.Tied(nn.Embedding(9, 9), nn.LayerNorm()), (4,))
    model.to_onnx(tmp_path / "m.onnx")
    constants = onnx.load(tmp_path / "m.onnx").graph.initializer
    assert [each.name for each in constants if len(each.dims) == 2] == ["0.0.weight"]
    X = drawn(model, 3)
    np.testing.assert_allclose(by_runtime(tmp_path / "m.onnx", X), model(X), rtol=0, atol=1e-5)


@pytest.mark.parametrize("function", [lambda x: x * 0.0 + 1.0, lambda x: nn.namespace(x).ones(x.shape, dtype=x.dtype)])
def test_outputs_that_do_not_depend_on_the_inputs(tmp_path: Path, function: Any) -> None:
    model = nn.Network(Own(function=function)).init((3,), dtype="float32")
    model.to_onnx(tmp_path / "m.onnx")
    assert by_reference(tmp_path / "m.onnx", np.zeros((5, 3), dtype="float32")).tolist() == [[1.0] * 3] * 5


def test_outputs_that_are_not_finite(tmp_path: Path) -> None:
    """Random inputs need not be such that a function is defined there."""
    model = nn.Network(Own(function=lambda x: nn.namespace(x).log(x) / 0.0)).init((3,), dtype="float32")
    model.to_onnx(tmp_path / "m.onnx")
    found = by_runtime(tmp_path / "m.onnx", np.asarray([[0.5, 2.0, -1.0]], dtype="float32"))
    assert found[0, :2].tolist() == [-np.inf, np.inf]
    assert np.isnan(found[0, 2])


def test_half_precision(tmp_path: Path) -> None:
    model = of(nn.Network(nn.Dense(4, "gelu"), nn.LayerNorm(), nn.Dense(2)), (3,), dtype="float16")
    model.to_onnx(tmp_path / "m.onnx")
    X = drawn(model, 3).astype("float16")
    found = by_reference(tmp_path / "m.onnx", X)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, model(X), rtol=0, atol=2e-2)


def test_a_dtype_that_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = nn.Network(nn.Dense(2)).init((3,), backend="torch", dtype="bfloat16")
    with pytest.raises(ValueError, match=r"float64, float32, float16 can be written as ONNX; got one of bfloat16"):
        model.to_onnx(tmp_path / "m.onnx")


def test_what_cannot_be_written_names_operation_and_layer(tmp_path: Path) -> None:
    model = with_own(lambda x: nn.namespace(x).linalg.inv(x[:, :, None] * x[:, None, :])[:, 0, :])
    with pytest.raises(ValueError, match=r"'linalg\.inv' in layer '0\.mine\.0' \(Own\) cannot be written as ONNX"):
        model.to_onnx(tmp_path / "m.onnx")
    with pytest.raises(TypeError, match=r"hold for this input only.*xp\.where"):
        with_own(lambda x: x if x[0, 0] > 0 else -x).to_onnx(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_what_depends_on_the_number_of_examples(tmp_path: Path) -> None:
    model, path = with_own(lambda x: x * (1.0 / x.shape[0])), tmp_path / "m.onnx"
    with pytest.raises(ValueError, match=r"cannot be written for any number of examples.*to_onnx\(path, batch=1\)"):
        model.to_onnx(path)
    model.to_onnx(path, batch=2)
    X = drawn(model, 2)
    np.testing.assert_allclose(by_reference(path, X), model(X), rtol=0, atol=1e-5)
    model = with_own(lambda x: x * x.shape[0] - nn.namespace(x).mean(x, axis=0))
    model.to_onnx(path)
    X = drawn(model, 7)
    np.testing.assert_allclose(by_reference(path, X), model(X), rtol=0, atol=1e-4)


def test_another_result_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = of(nn.Dense(4, "tanh"), (3,)), tmp_path / "m.onnx"
    path.write_bytes(b"before")
    monkeypatch.setitem(ROWS, "tanh", lambda w, op: w.add("Sin", w.tensor(op.arguments[0])))
    with pytest.raises(ValueError, match=r"was not written: for 1 random examples its outputs differ by .*check=False"):
        model.to_onnx(path)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"before"]
    model.to_onnx(path, check=False)
    assert nn.load_onnx(path)(np.ones((1, 3), dtype="float32")).shape == (1, 4)


def test_arguments(tmp_path: Path) -> None:
    model = of(nn.Dense(4), (3,))
    with pytest.raises(ValueError, match=r"must end in \.onnx; got 'm\.pb'\. Use 'm\.onnx'"):
        model.to_onnx("m.pb")
    with pytest.raises(TypeError, match=r"path must be the path of an \.onnx file; got 3"):
        model.to_onnx(3)
    with pytest.raises(ValueError, match="batch must be an integer of at least 1; got 0"):
        model.to_onnx(tmp_path / "m.onnx", batch=0)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        model.to_onnx(tmp_path / "none" / "m.onnx")


def test_packages_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = of(nn.Dense(4), (3,)), tmp_path / "m.onnx"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model.to_onnx(path)  # checked by the reference evaluator
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'nnarray\[onnx\]'"):
        model.to_onnx(path)
