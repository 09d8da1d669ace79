"""Small ONNX files for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node


def value(name: str, shape: Sequence[Any] | None = None, dtype: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, dtype, None if shape is None else list(shape))


def graph(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], constants: Mapping[str, Any]) -> Any:
    tensors = [numpy_helper.from_array(np.asarray(x), name) for name, x in constants.items()]
    return helper.make_graph(list(nodes), "g", list(inputs), list(outputs), tensors)


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 18,
    domains: Mapping[str, int] | None = None,
) -> Any:
    opsets = [helper.make_opsetid(domain, version) for domain, version in {"": opset, **(domains or {})}.items()]
    made = helper.make_model(graph(nodes, inputs, outputs, constants or {}), opset_imports=opsets)
    made.ir_version = 10
    return made


def saved(folder: Path, made: Any, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path


def perceptron(seed: int = 0) -> Any:
    """3 -> 4 -> 2, the first layer as Gemm, the second as MatMul and Add."""
    rng = np.random.default_rng(seed)
    constants = {
        "first.weight": rng.normal(size=(4, 3)).astype(np.float32),
        "first.bias": rng.normal(size=4).astype(np.float32),
        "second.weight": rng.normal(size=(4, 2)).astype(np.float32),
        "second.bias": rng.normal(size=2).astype(np.float32),
    }
    nodes = [
        node("Gemm", ["x", "first.weight", "first.bias"], ["a"], transB=1),
        node("Tanh", ["a"], ["h"]),
        node("MatMul", ["h", "second.weight"], ["b"]),
        node("Add", ["b", "second.bias"], ["y"]),
    ]
    return model(nodes, [value("x", ["batch", 3])], [value("y", ["batch", 2])], constants)
