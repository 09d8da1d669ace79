"""A loss that is not registered, in files."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.persistence.settings import KNOWN


class Squares(nn.Loss):
    def entry(self, outputs: Any, target: Any) -> tuple[Any, Any]:
        return (outputs - target) ** 2, 2.0 * (outputs - target)


@dataclass(frozen=True)
class Tilted(Squares):
    factor: float = 2.0


@dataclass(frozen=True)
class Function(Squares):
    of: Any = abs


def trained(loss: nn.Loss, path: Path) -> tuple[Any, Any]:
    X = np.linspace(-1.0, 1.0, 12)[:, None]
    model = nn.Network(nn.Dense(1)).init((1,), seed=0, backend="numpy")
    model.fit(X, X**2, loss=loss, epochs=1)
    model.save(path)
    return X, X**2


@pytest.mark.parametrize("loss", [Squares(), Tilted(factor=3.0), Function()], ids=lambda loss: type(loss).__name__)
def test_a_missing_loss_is_named(host: nn.Backend, tmp_path: Path, loss: nn.Loss) -> None:
    name, path = type(loss).__name__, tmp_path / "own.safetensors"
    X, y = trained(loss, path)
    with pytest.warns(UserWarning, match=rf"the loss {name}, which is not registered here.*@nn\.register") as met:
        model = nn.load(path)
    assert met[0].filename == __file__
    assert model.loss is None
    with pytest.raises(ValueError, match=rf"model\.loss is None; it was {name}\(.*needs @nn\.register\. Set it"):
        model.evaluate(X, y)
    model.loss = "mse"
    model.evaluate(X, y)


def test_a_loss_that_is_registered_later_is_read(
    host: nn.Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.safetensors"
    trained(Tilted(factor=3.0), path)
    monkeypatch.setitem(KNOWN, "Tilted", Tilted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nn.load(path).loss == Tilted(factor=3.0)
    monkeypatch.setitem(KNOWN, "Tilted", nn.losses.MeanSquaredError)  # another class of this name, without the setting
    with pytest.warns(UserWarning, match="the loss Tilted"):
        assert nn.load(path).loss is None


def test_missing_targets_are_named(host: nn.Backend) -> None:
    class Trusting(Squares):
        def prepare(self, target: Any, shape: Any, dtype: Any) -> tuple[Any, Any]:
            return target, None

    X = np.linspace(-1.0, 1.0, 12)[:, None]
    y = np.where(X > 0.9, np.nan, X)
    model = nn.Network(nn.Dense(1)).init((1,), seed=0, backend="numpy")
    with pytest.raises(nn.DivergenceError, match="y contains NaN or infinity, which Trusting does not check"):
        model.fit(X, y, loss=Trusting(), epochs=1)
