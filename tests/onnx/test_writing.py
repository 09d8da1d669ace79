"""Files that models are written into compute what the models compute, in other programs and read back."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import layers
from nnarray.apps import pets
from nnarray.apps.demos import classes, line, sine, text
from nnarray.layers.activations import FUNCTIONS
from nnarray.layers.kinds import Spec, mapped

onnx = pytest.importorskip("onnx")
importlib.import_module("onnx.reference")

TOKENS = nn.Embedding(9, 4)
PADDED = nn.Embedding(9, 4, padding_index=0)

LAYERS: dict[str, tuple[Any, Any]] = {
    "Activation": (nn.Activation("tanh"), (3, 2)),
    "AdaptiveAvgPool2D": (nn.AdaptiveAvgPool2D((3, 2)), (7, 5, 2)),
    "Auxiliary": (nn.Network(nn.Dense(4), nn.Auxiliary(nn.Dense(2)), nn.Dense(2)), (3,)),
    "AvgPool2D": (nn.AvgPool2D(2), (6, 5, 3)),
    "AvgPool2D, same": (nn.AvgPool2D(3, 2, padding="same"), (6, 5, 3)),
    "AvgPool2D, ceil": (nn.AvgPool2D(2, 3, ceil=True), (6, 7, 3)),
    "BatchNorm": (nn.Network(nn.Conv2D(3, 2), nn.BatchNorm()), (4, 4, 2)),
    "Branches": (nn.Branches(nn.Dense(2), nn.Dense(3, "tanh")), (3,)),
    "Branches, multiply": (nn.Branches(nn.Dense(2), nn.Dense(2, "silu"), join="multiply"), (3,)),
    "Conv1D": (nn.Conv1D(4, 3, padding="same"), (8, 2)),
    "Conv1D, more": (nn.Conv1D(4, 3, padding="same", dilation=2, groups=2), (8, 2)),
    "Conv2D": (nn.Conv2D(4, (3, 2), activation="relu"), (7, 6, 3)),
    "Conv2D, more": (nn.Conv2D(4, 3, stride=2, padding="same", dilation=2, groups=2, bias=False), (9, 8, 2)),
    "Dense": (nn.Dense(4, "relu"), (3,)),
    "Dense, positions": (nn.Dense(4, "tanh", bias=False), (2, 5, 3)),
    "Dropout": (nn.Dropout(0.4), (5,)),
    "Embedding": (nn.Network(TOKENS, nn.GlobalAvgPool(), nn.Dense(2)), (6,)),
    "Embedding, masked": (nn.Network(PADDED, nn.GlobalAvgPool(), nn.Dense(2)), (6,)),
    "Flatten": (nn.Flatten(), (2, 3)),
    "GRU": (nn.GRU(4, 2), (5, 3)),
    "GlobalAvgPool": (nn.GlobalAvgPool(), (4, 3, 2)),
    "GroupNorm": (nn.GroupNorm(2), (3, 3, 4)),
    "Inputs": (
        nn.Network(nn.Inputs({"a": nn.Dense(3), "b": nn.Network(TOKENS, nn.Flatten())}), nn.Dense(2)),
        {"a": (2,), "b": (3,)},
    ),
    "LSTM": (nn.LSTM(4, bidirectional=True), (5, 3)),
    "LSTM, masked": (nn.Network(PADDED, nn.LSTM(4), nn.LastStep()), (5,)),
    "Lambda": (nn.Lambda(lambda x: nn.namespace(x).sin(x) * 2.0), (3,)),
    "LastStep": (nn.LastStep(), (5, 3)),
    "LayerNorm": (nn.LayerNorm(), (5, 4)),
    "LearnedPositions": (nn.LearnedPositions(), (5, 4)),
    "LocalResponseNorm": (nn.LocalResponseNorm(4, alpha=0.1), (3, 3, 6)),
    "Masked": (
        nn.Network(nn.Masked(nn.Dense(3), nn.GlobalAvgPool()), nn.Dense(2)),
        {"values": (4, 2), "mask": (4,)},
    ),
    "MaxPool2D": (nn.MaxPool2D(3, 2, padding=1), (7, 6, 2)),
    "MaxPool2D, ceil": (nn.MaxPool2D(2, 3, ceil=True), (6, 7, 3)),
    "MultiHeadAttention": (nn.MultiHeadAttention(2), (5, 4)),
    "MultiHeadAttention, masked": (nn.Network(PADDED, nn.MultiHeadAttention(2, causal=True), nn.LastStep()), (5,)),
    "RMSNorm": (nn.RMSNorm(), (5, 4)),
    "Reshape": (nn.Reshape((3, -1)), (2, 6)),
    "Residual": (nn.Residual(nn.Dense(8, "gelu"), nn.Dense(3)), (3,)),
    "Row": (nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)), (3,)),
    "LSTM, without bias": (nn.LSTM(4, 2, bias=False), (5, 3)),
    "GRU, bidirectional": (nn.Network(nn.GRU(4, bidirectional=True), nn.LastStep()), (5, 3)),
    "SimpleRNN, tanh": (nn.SimpleRNN(4, bidirectional=True), (5, 3)),
    "SimpleRNN": (nn.SimpleRNN(4, activation="relu"), (5, 3)),
    "SinusoidalPositions": (nn.SinusoidalPositions(), (5, 4)),
    "Tied": (nn.Network(nn.Tied(TOKENS, nn.Dense(4))), (6,)),
    "TransformerBlock, more": (
        nn.TransformerBlock(8, 4, norm="rms", activation="swiglu", causal=True, kv_heads=2, rotary=100.0),
        (5, 8),
    ),
    "TransformerBlock": (nn.TransformerBlock(4, 2), (5, 4)),
}
CASES = {**LAYERS, **{f"activation {name}": (nn.Dense(4, name), (3,)) for name in sorted(FUNCTIONS)}}


def of(layer: Any, shape: Any, dtype: str = "float32", backend: Any = "numpy") -> Any:
    """A model whose parameters are all different."""
    model = nn.Network(layer).init(shape, seed=0, dtype=dtype, backend=backend)
    theta = nn.backend(backend).to_numpy(model.theta)
    noise = np.random.default_rng(0).normal(scale=0.1, size=theta.shape)
    model.theta = nn.backend(backend).asarray(theta + noise, dtype=dtype)
    return model


def drawn(model: Any, count: int, dtype: str = "float32") -> Any:
    """Inputs that a model takes."""
    rng = np.random.default_rng(1)

    def one(spec: Spec) -> Any:
        shape = count, *spec.shape
        if spec.kind.name == "integer":
            return rng.integers(0, spec.kind.below, shape)
        return rng.normal(size=shape) > 0 if spec.kind.name == "boolean" else rng.normal(size=shape).astype(dtype)

    return mapped(one, model.inputs)


def by_reference(path: Path, X: Any) -> Any:
    evaluator = onnx.reference.ReferenceEvaluator(str(path))
    return evaluator.run(None, X if isinstance(X, dict) else {evaluator.input_names[0]: X})[0]


def by_runtime(path: Path, X: Any) -> Any:
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, X if isinstance(X, dict) else {session.get_inputs()[0].name: X})[0]


def public_layers() -> Iterator[str]:
    for name in layers.NAMES:
        each = getattr(layers, name)
        if isinstance(each, type) and issubclass(each, nn.Layer) and each is not nn.Layer:
            yield name


def test_every_layer_has_an_example() -> None:
    assert {name.partition(",")[0] for name in LAYERS} == set(public_layers())


CLOSE = {"float32": 1e-5, "float64": 1e-12}
NOT_IN_FLOAT64 = {"Conv", "AveragePool"}
"""The operators that ONNX Runtime does not have in float64; the reference evaluator of ONNX has all."""


def same_everywhere(model: Any, path: Path, dtype: str, count: int) -> None:
    """The outputs of a file, by both programs that compute one, are those of the model."""
    X = drawn(model, count, dtype)
    wanted = model(X)
    close = {"rtol": 0, "atol": CLOSE[dtype] * max(1e-3, abs(wanted).max())}
    found = {"the reference": by_reference(path, X)}
    try:
        found["ONNX Runtime"] = by_runtime(path, X)
    except Exception as error:
        if dtype != "float64" or not any(f"implementation for {name}(" in str(error) for name in NOT_IN_FLOAT64):
            raise
    for by, each in found.items():
        assert (each.shape, each.dtype) == (wanted.shape, wanted.dtype), by
        np.testing.assert_allclose(each, wanted, **close, err_msg=by)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("batch", [1, None])
@pytest.mark.parametrize("case", CASES)
def test_every_layer(tmp_path: Path, case: str, batch: int | None, dtype: str) -> None:
    model = of(*CASES[case], dtype=dtype)
    path = tmp_path / "m.onnx"
    model.to_onnx(path, batch=batch)
    onnx.checker.check_model(str(path), full_check=True)
    again = nn.load_onnx(path)
    for count in (1, 5) if batch is None else (1,):
        same_everywhere(model, path, dtype, count)
        X = drawn(model, count, dtype)
        np.testing.assert_allclose(again(X), model(X), rtol=0, atol=CLOSE[dtype] * max(1e-3, abs(model(X)).max()))


HOST = nn.backend("numpy")


@cache
def of_pets() -> Any:
    return pets.fit_pets(HOST, images=4, epochs=1, seed=0).model


KNOWN: dict[str, Callable[[str], Any]] = {
    "GoogLeNet": lambda dtype: of(nn.models.googlenet(7, "paper"), (31, 31, 3), dtype),
    "GoogLeNet, batch normalisation": lambda dtype: of(nn.models.googlenet(7), (32, 32, 3), dtype),
    "LeNet-5": lambda dtype: of(nn.models.lenet5(), (28, 28, 1), dtype),
    "ResNet-18": lambda dtype: of(nn.models.resnet18(7), (32, 32, 3), dtype),
    "bert": lambda dtype: of(nn.models.bert(11, 8, 1, 2, pooling="mean"), (6,), dtype),
    "char_rnn": lambda dtype: of(nn.models.char_rnn(11, 4), (6,), dtype),
    "cnn": lambda dtype: of(nn.models.cnn(2), (16, 16, 3), dtype),
    "gpt": lambda dtype: of(nn.models.gpt(11, 8, 2, 2), (6,), dtype),
    "gpt, like Llama": lambda dtype: of(
        nn.models.gpt(11, 8, 1, 4, norm="rms", activation="swiglu", kv_heads=2, rotary=100.0, bias=False, tied=False),
        (6,),
        dtype,
    ),
    "mlp": lambda dtype: of(nn.models.mlp(3), (5,), dtype),
    "demo of a line": lambda _: line.fit_line(HOST, epochs=2).model,
    "demo of a sine": lambda _: sine.fit_sine(HOST, hidden=(5,), samples=3, seed=0, epochs=2).model,
    "demo of pets": lambda _: of_pets(),
    "demo of a text": lambda _: text.untrained_text(HOST, seed=0).model,
    **{
        f"demo of {name}": (lambda _, name=name: classes.untrained(HOST, dataset=name).model)
        for name in classes.DATASETS
    },
}


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("batch", [1, None])
@pytest.mark.parametrize("case", KNOWN)
def test_known_networks_and_demos(tmp_path: Path, case: str, batch: int | None, dtype: str) -> None:
    model = KNOWN[case](dtype).to("numpy", dtype=dtype)
    path = tmp_path / "m.onnx"
    model.to_onnx(path, batch=batch)
    for count in (1,) if batch else (1, 5):
        same_everywhere(model, path, dtype, count)
    X = drawn(model, batch or 3, dtype)
    np.testing.assert_allclose(nn.load_onnx(path)(X), model(X), rtol=0, atol=CLOSE[dtype] * abs(model(X)).max())


@pytest.mark.parametrize("flag", ["torch", "jax"])
def test_other_libraries(tmp_path: Path, flag: str) -> None:
    try:
        be = nn.backend(flag)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"could not import {flag}: {error}")
    model = of(
        nn.Network(nn.Conv2D(3, 2, activation="relu"), nn.BatchNorm(), nn.Flatten(), nn.Dense(2)), (5, 4, 2), backend=be
    )
    model.to_onnx(tmp_path / "m.onnx")
    X = drawn(model, 3)
    found = by_runtime(tmp_path / "m.onnx", X)
    np.testing.assert_allclose(found, be.to_numpy(model(be.asarray(X))), rtol=0, atol=1e-5)
