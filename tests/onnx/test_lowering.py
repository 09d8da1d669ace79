"""Graphs prepared for inference on NumPy compute as they do operator by operator."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.onnx.graphs import model, node, saved, value
from tests.tolerances import close

RNG = np.random.default_rng(0)


def weights(rng: np.random.Generator, *shape: int) -> Any:
    return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def norm(rng: np.random.Generator, name: str, channels: int) -> dict[str, Any]:
    return {
        f"{name}.scale": 1 + weights(rng, channels),
        f"{name}.bias": weights(rng, channels),
        f"{name}.mean": weights(rng, channels),
        f"{name}.var": np.abs(weights(rng, channels)) + 0.5,
    }


def inputs_of(name: str) -> list[str]:
    return [f"{name}.{part}" for part in ("scale", "bias", "mean", "var")]


def images() -> Any:
    """Convolutions with normalisation and activations, a shortcut, branches that are joined, and a product."""
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {"w1": weights(rng, 8, 3, 3, 3), "w2": weights(rng, 8, 8, 3, 3), "b2": weights(rng, 8)}
    constants |= {
        "w3": weights(rng, 4, 8, 1, 1),
        "w4": weights(rng, 6, 4, 3, 3),
        "b4": weights(rng, 6),
        "w5": weights(rng, 16, 1, 3, 3),
    }
    constants |= (
        {"fc": weights(rng, 5, 22), "fb": weights(rng, 5), "half": np.float32(0.5)}
        | norm(rng, "n1", 8)
        | norm(rng, "n2", 8)
    )
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], strides=[2, 2], **pads),
        node("BatchNormalization", ["c1", *inputs_of("n1")], ["d1"]),
        node("Relu", ["d1"], ["r1"]),
        node("Conv", ["r1", "w2", "b2"], ["c2"], **pads),
        node("BatchNormalization", ["c2", *inputs_of("n2")], ["d2"]),
        node("Add", ["d2", "r1"], ["s"]),
        node("LeakyRelu", ["s"], ["r2"], alpha=0.1),
        node("MaxPool", ["r2"], ["p"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        node("Conv", ["p", "w3"], ["q"]),
        node("Sigmoid", ["q"], ["q1"]),
        node("Conv", ["q1", "w4", "b4"], ["left"], **pads),
        node("MaxPool", ["p"], ["right"], kernel_shape=[3, 3], **pads),
        node("AveragePool", ["p"], ["mean"], kernel_shape=[3, 3], count_include_pad=1, **pads),
        node("Concat", ["left", "right"], ["both"], axis=1),
        node("Concat", ["both", "mean"], ["j"], axis=1),
        node("Mul", ["j", "half"], ["m"]),
        node("GlobalAveragePool", ["m"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "fc", "fb"], ["z"], transB=1),
        node("Tanh", ["z"], ["y"]),
    ]
    return model(nodes, [value("x", ["n", 3, 17, 17])], [value("y", ["n", 5])], constants)


def of_groups() -> Any:
    """A convolution of each channel by itself, an output that is read twice, and other operators in between."""
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {"w1": weights(rng, 4, 1, 3, 3), "w2": weights(rng, 6, 4, 1, 1)}
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], group=4, auto_pad="SAME_UPPER"),
        node("Relu", ["c1"], ["r1"]),
        node("Sub", ["c1", "r1"], ["d"]),
        node("Conv", ["d", "w2"], ["c2"], dilations=[2, 2]),
        node("Softmax", ["c2"], ["s"], axis=1),
        node("Mul", ["s", "c2"], ["t"]),
        node("Transpose", ["t"], ["y"], perm=[0, 2, 3, 1]),
    ]
    return model(nodes, [value("x", ["n", 4, 8, 8])], [value("y", ["n", 8, 8, 6])], constants)


@pytest.mark.parametrize("make", [images, of_groups])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_a_prepared_graph_computes_as_its_operators(tmp_path: Path, make: Any, dtype: str, engine: str) -> None:
    if engine == "numba":
        pytest.importorskip("numba")
    loaded = nn.load_onnx(saved(tmp_path, make()), dtype=dtype)
    for count in (1, 3, 3):
        x = RNG.normal(size=(count, *loaded.input_shape)).astype(dtype)
        want = loaded.predict(x, engine="layers")
        close(loaded.predict(x, engine=engine), want, dtype, c=500)
    fresh = RNG.normal(size=loaded.theta.shape).astype(dtype) * 0.1
    loaded.theta = fresh  # what was prepared for other parameters is not used again
    close(loaded.predict(x, engine=engine), loaded.predict(x, engine="layers"), dtype, c=500)


def test_googlenet_of_a_file_is_that_of_this_package(tmp_path: Path) -> None:
    own = nn.models.googlenet(classes=10).init((64, 64, 3), seed=0, dtype="float32")
    path = tmp_path / "googlenet.onnx"
    graphs = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "onnx_graphs.py"))
    path.write_bytes(graphs["googlenet_graph"](own.fold().to_torch()))
    loaded = nn.load_onnx(path, shape=(3, 64, 64))
    x = RNG.normal(size=(2, 64, 64, 3)).astype(np.float32)
    close(loaded(np.ascontiguousarray(x.transpose(0, 3, 1, 2))), own(x), "float32", c=500)


def product_of(*, filters: tuple[int, ...], rows: int, groups: int = 1) -> Any:
    constants = {"K": weights(RNG, *filters), "W": weights(RNG, rows, 3)}
    nodes = [
        node("Conv", ["x", "K"], ["c"], group=groups),
        node("Flatten", ["c"], ["f"]),
        node("Gemm", ["f", "W"], ["y"]),
    ]
    return model(nodes, [value("x", ["n", 3, "h", "w"])], [value("y", ["n", 3])], constants)


def joined(*sizes: int) -> Any:
    constants = {f"K{i}": weights(RNG, 4, 3, size, size) for i, size in enumerate(sizes)}
    nodes = [node("Conv", ["x", name], [f"c{name}"]) for name in constants]
    nodes += [node("Concat", [f"c{name}" for name in constants], ["y"], axis=1)]
    return model(nodes, [value("x", ["n", 3, 6, 6])], [value("y", ["n", 8, 4, 4])], constants)


def normalised(channels: int) -> Any:
    constants: dict[str, Any] = {"K": weights(RNG, 4, 3, 3, 3)} | norm(RNG, "n", channels)
    nodes = [node("Conv", ["x", "K"], ["c"]), node("Relu", ["c"], ["r"])]
    nodes += [node("BatchNormalization", ["r", *inputs_of("n")], ["y"])]
    return model(nodes, [value("x", ["n", 3, 6, 6])], [value("y", ["n", 4, 4, 4])], constants)


UNFIT = {
    "few rows of weights": (product_of(filters=(2, 3, 1, 1), rows=18), "Gemm"),
    "many rows of weights": (product_of(filters=(2, 3, 1, 1), rows=20_000), "Gemm"),
    "filters of fewer channels": (product_of(filters=(4, 2, 3, 3), rows=64), "3 channels in 1 groups"),
    "filters of more channels": (product_of(filters=(4, 5, 3, 3), rows=64), "3 channels in 1 groups"),
    "groups": (product_of(filters=(4, 1, 3, 3), rows=64, groups=2), "3 channels in 2 groups"),
    "filters in groups": (product_of(filters=(4, 1, 3, 3), rows=64, groups=3), "3 channels in 3 groups"),
    "images of two sizes": (joined(3, 5), "Concat"),
    "one statistic for all": (normalised(1), "BatchNormalization"),
    "statistics of other channels": (normalised(5), "BatchNormalization"),
}


@pytest.mark.parametrize("engine", ["numpy", "numba", "layers"])
@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_named_and_nothing_beyond_the_arrays_is_read(
    tmp_path: Path, name: str, engine: str
) -> None:
    if engine == "numba":
        pytest.importorskip("numba")
    graph, said = UNFIT[name]
    with pytest.raises(ValueError, match=said):
        nn.load_onnx(saved(tmp_path, graph), shape=(3, 6, 6)).predict(
            RNG.normal(size=(2, 3, 6, 6)).astype(np.float32), engine=engine
        )


@pytest.mark.parametrize("engine", ["numpy", "numba", "layers"])
def test_a_batch_size_that_is_written_into_a_file_is_named(tmp_path: Path, engine: str) -> None:
    if engine == "numba":
        pytest.importorskip("numba")
    constants: dict[str, Any] = {"K": weights(RNG, 2, 3, 3, 3), "W": weights(RNG, 32, 3), "to": np.asarray([1, -1])}
    nodes = [
        node("Conv", ["x", "K"], ["c"]),
        node("Reshape", ["c", "to"], ["f"]),
        node("Gemm", ["f", "W"], ["y"]),
    ]
    graph = model(nodes, [value("x", [1, 3, 6, 6])], [value("y", [1, 3])], constants)
    loaded = nn.load_onnx(saved(tmp_path, graph))
    x = RNG.normal(size=(4, 3, 6, 6)).astype(np.float32)
    with pytest.raises(ValueError, match=r"written for a batch of 1: .*batch_size=1"):
        loaded.predict(x, engine=engine)
    assert loaded.predict(x, engine=engine, batch_size=1).shape == (4, 3)
    whole = model(
        [*nodes[:1], node("ReduceMean", ["c"], ["y"], keepdims=1)],
        [value("x", [1, 3, 6, 6])],
        [value("y", [1, 1, 1, 1])],
        constants,
    )
    with pytest.raises(ValueError, match=r"'y' has shape \(1, 1, 1, 1\) for a batch of 4"):
        nn.load_onnx(saved(tmp_path, whole)).predict(x, engine=engine)
