"""Constants in a second file, as models above 2 GiB have them; here, models are smaller and so is the bound."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.onnx.writing import beside
from nnarray.onnx.writing.table import ROWS
from tests.onnx.test_writing import by_reference, by_runtime, drawn, of

onnx = pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "LARGEST", 10_000)


def large(seed: int = 0) -> Any:
    layers = nn.Network(nn.Dense(40, "tanh"), nn.Dense(60, "tanh"), nn.Dense(2, name="head"))
    model = of(layers, (30,))
    model.theta = model.theta + 0.01 * seed
    return model


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_large_model_has_two_files(tmp_path: Path) -> None:
    model, path = large(), tmp_path / "m.onnx"
    model.to_onnx(path)
    message = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(str(path), full_check=True)
    outside = {
        each.name: {entry.key: entry.value for entry in each.external_data}
        for each in message.graph.initializer
        if each.data_location
    }
    assert {*outside} == {"0.0.weight", "0.1.weight"}
    (location,) = {each["location"] for each in outside.values()}
    assert names(tmp_path) == ["m.onnx", location]
    assert all(int(each["offset"]) % 4096 == 0 for each in outside.values())
    assert path.stat().st_size < 2_500
    X = drawn(model, 3)
    for found in (by_runtime(path, X), by_reference(path, X), nn.load_onnx(path)(X)):
        np.testing.assert_allclose(found, model(X), rtol=0, atol=1e-5)


def test_the_pair_moves_together_and_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    large().to_onnx(path)
    first = names(tmp_path)
    large().to_onnx(path)
    assert names(tmp_path) == first
    model = large(1)
    model.to_onnx(path)
    assert len(names(tmp_path)) == 2
    assert names(tmp_path) != first
    moved = tmp_path.rename(tmp_path.with_name("elsewhere"))
    X = drawn(model, 3)
    np.testing.assert_allclose(by_runtime(moved / "m.onnx", X), model(X), rtol=0, atol=1e-5)
    of(nn.Dense(2), (3,)).to_onnx(moved / "m.onnx")
    assert names(moved) == ["m.onnx"]


def test_files_of_others_are_kept(tmp_path: Path) -> None:
    for name in ("m.onnx.data", "m.onnx.0123456789abcde.data", "other.onnx.0123456789abcdef.data"):
        (tmp_path / name).write_bytes(b"")
    large().to_onnx(tmp_path / "m.onnx")
    large(1).to_onnx(tmp_path / "m.onnx")
    assert len(names(tmp_path)) == 5


def test_a_link_keeps_pointing_at_the_pair(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "m.onnx").symlink_to(tmp_path / "far" / "real.onnx")
    model = large()
    model.to_onnx(tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").is_symlink()
    assert len(names(tmp_path / "far")) == 2
    X = drawn(model, 3)
    np.testing.assert_allclose(by_reference(tmp_path / "far" / "real.onnx", X), model(X), rtol=0, atol=1e-5)


@pytest.mark.parametrize("at", ["the constants", "the model"])
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    path = tmp_path / "m.onnx"
    large().to_onnx(path)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if at == "the constants":
        monkeypatch.setattr(beside, "_fill", full)
    else:
        monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"cannot write .*free some space"):
        large(1).to_onnx(path)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_another_result_is_no_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    large().to_onnx(path)
    before = names(tmp_path)
    monkeypatch.setitem(ROWS, "tanh", lambda w, op: w.add("Sin", w.tensor(op.arguments[0])))
    for model in (large(), large(1)):
        with pytest.raises(ValueError, match="was not written: for 1 random examples its outputs differ"):
            model.to_onnx(path)
        assert names(tmp_path) == before
