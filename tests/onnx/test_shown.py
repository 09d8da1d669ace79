"""Graphs as people see them: `nnarray show`, and figures."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from onnx import TensorProto
from typer.testing import CliRunner

import nnarray as nn
from nnarray.cli import app
from tests.onnx.graphs import model, node, perceptron, saved, value
from tests.onnx.test_safety import richer


def test_show_lists_what_a_file_has(tmp_path: Path) -> None:
    path = saved(tmp_path, perceptron())
    shown = CliRunner().invoke(app, ["show", str(path)])
    assert shown.exit_code == 0
    for text in ("x: float32 (batch, 3)", "y: float32 (batch, 2)", "26", "Gemm", "MatMul"):
        assert text in shown.output
    facts = json.loads(CliRunner().invoke(app, ["show", str(path), "--json"]).output)
    assert facts["operators"] == {"Gemm": 1, "Tanh": 1, "MatMul": 1, "Add": 1}
    assert facts["parameters"] == 26


def test_show_names_what_is_wrong(tmp_path: Path) -> None:
    path = saved(tmp_path, model([node("Strange", ["x"], ["y"])], [value("x", ["n", 2])], [value("y")]))
    shown = CliRunner().invoke(app, ["show", str(path)])
    assert shown.exit_code != 0
    assert "1 unknown operator: Strange" in shown.output.replace("\n", " ")


def test_files_with_texts_are_shown_and_not_computed(tmp_path: Path) -> None:
    texts = {"keys_strings": ["a"], "values_int64s": [1], "domain": "ai.onnx.ml"}
    inputs = [value("x", ["n", 1], TensorProto.STRING)]
    made = model([node("LabelEncoder", ["x"], ["y"], **texts)], inputs, [value("y")], domains={"ai.onnx.ml": 3})
    path = saved(tmp_path, made)
    shown = CliRunner().invoke(app, ["show", str(path)])
    assert shown.exit_code == 0
    assert "x: string (n, 1)" in shown.output
    with pytest.raises(ValueError, match="LabelEncoder 'y' computes with texts, and nnarray computes with numbers"):
        nn.load_onnx(path)


def test_a_graph_is_drawn(tmp_path: Path) -> None:
    branches = [
        node("Relu", ["x"], ["a"]),
        node("Tanh", ["a"], ["b"]),
        node("Sigmoid", ["a"], ["c"]),
        node("Neg", ["c"], ["d"]),
        node("Concat", ["b", "d"], ["e"], axis=1),
        node("Abs", ["e"], ["f"]),
        node("Add", ["e", "f"], ["y"]),
    ]
    made = model(branches, [value("x", ["n", 2])], [value("y", ["n", 4])])
    loaded = nn.load_onnx(saved(tmp_path, made))
    parts = loaded.network.drawn_parts((2,))
    assert [each if isinstance(each, dict) else each[0] for each in parts] == [
        "Relu",
        {"join": "concat", "branches": [[("Tanh", "activation")], [("Sigmoid", "activation"), ("Neg", "")]]},
        {"join": "add", "branches": [[("Abs", "")], []]},
    ]
    for each in (loaded, nn.load_onnx(saved(tmp_path, richer()))):
        axes = each.plot()
        assert len(axes.texts) >= 3
    plt.close("all")
