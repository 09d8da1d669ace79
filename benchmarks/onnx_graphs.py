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


def convolution_graph(weight: np.ndarray, bias: np.ndarray) -> bytes:
    """One convolution, 3x3 with a border of zeros; the weight in ONNX's layout, which is PyTorch's."""
    graph = Graph()
    y = graph.add("Conv", "x", graph.weight(weight), graph.weight(bias), pads=[1, 1, 1, 1])
    return graph.model(y, (4, 4))


def googlenet_blocks(x: Any, convolution: Any, pool: Any, joined: Any) -> Any:
    """What comes before the mean over positions: made of convolutions by name, pooling, and joined channels."""

    def inception(x: Any, name: str) -> Any:
        branches = [convolution(x, f"{name}.branch1")]
        branches += [convolution(convolution(x, f"{name}.{b}.0"), f"{name}.{b}.1") for b in ("branch2", "branch3")]
        return joined([*branches, convolution(pool(x, 3, 1, 1), f"{name}.branch4.1")])

    x = pool(convolution(x, "conv1", 2), 3, 2)
    x = pool(convolution(convolution(x, "conv2"), "conv3"), 3, 2)
    for block in ("3a", "3b", "pool 3", "4a", "4b", "4c", "4d", "4e", "pool 2", "5a", "5b"):
        x = pool(x, int(block[-1]), 2) if block.startswith("pool") else inception(x, f"inception{block}")
    return x


def googlenet_graph(weights: dict[str, np.ndarray]) -> bytes:
    """GoogLeNet of convolutions with a bias, from a state_dict of PyTorch's names."""
    graph = Graph()

    def convolution(x: str, name: str, stride: int = 1) -> str:
        weight, bias = weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"]
        pads, strides = [weight.shape[-1] // 2] * 4, [stride, stride]
        return graph.add(
            "Relu", graph.add("Conv", x, graph.weight(weight), graph.weight(bias), pads=pads, strides=strides)
        )

    def pool(x: str, size: int, stride: int, pad: int = 0) -> str:
        return graph.add("MaxPool", x, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4, ceil_mode=1)

    x = googlenet_blocks("x", convolution, pool, lambda parts: graph.add("Concat", *parts, axis=1))
    x = graph.add("Flatten", graph.add("GlobalAveragePool", x))
    y = graph.add("Gemm", x, graph.weight(weights["fc.weight"]), graph.weight(weights["fc.bias"]), transB=1)
    return graph.model(y, (4, 2))
