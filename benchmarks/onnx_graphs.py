"""The networks as ONNX graphs, written node by node, and sessions of ONNX Runtime that run them."""

from __future__ import annotations

from typing import Any

import numpy as np

OPSET, IR_VERSION = 17, 8  # old enough for every ONNX Runtime of the last years


class Graph:
    """Nodes and weights, collected; `add` returns the name of a node's output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"y{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weight(self, values: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def model(self, last: str, ranks: tuple[int, int]) -> bytes:
        """The finished model, from "x" to the node `last`, with these numbers of axes."""
        from onnx import TensorProto, checker, helper

        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [f"x{i}" for i in range(ranks[0])])
        y = helper.make_tensor_value_info(last, TensorProto.FLOAT, [f"y{i}" for i in range(ranks[1])])
        graph = helper.make_graph(self.nodes, "network", [x], [y], self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        checker.check_model(made)
        return made.SerializeToString()


def session(model: bytes, threads: int) -> Any:
    """A session on the CPU with this number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def dense_graph(params: list[np.ndarray]) -> bytes:
    """Dense layers, with ReLU between them."""
    graph, x = Graph(), "x"
    for i in range(0, len(params), 2):
        x = graph.add("Gemm", x, graph.weight(params[i]), graph.weight(params[i + 1]))
        x = x if i == len(params) - 2 else graph.add("Relu", x)
    return graph.model(x, (2, 2))
