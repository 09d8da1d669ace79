"""Inside PyTorch's autocast, models compute in their own dtype."""

from __future__ import annotations

import pytest

import nnarray as nn

torch = pytest.importorskip("torch")

NETWORK = nn.Network(
    nn.Conv2D(4, 3, activation="relu"), nn.MaxPool2D(2), nn.BatchNorm(), nn.Flatten(), nn.Dense(3, "tanh"), nn.Dense(2)
)


def results() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    X, y = torch.rand((8, 8, 8, 3), generator=generator), torch.arange(8) % 2
    model = NETWORK.init((8, 8, 3), seed=0, backend="torch", dtype="float32")
    step = nn.training_step(model, X, y)
    theta = torch.nn.Parameter(model.theta)
    outputs = model.with_theta(theta)(X)
    outputs.sum().backward()
    predicted, gradient = model.predict(X), model.input_gradient(X, 0)
    model.fit(X, y, epochs=2, batch_size=4, progress=False)
    return [step.gradient, step.state, outputs.detach(), theta.grad, predicted, gradient, model.theta, model.state]


def test_autocast_changes_nothing() -> None:
    want = results()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = results()
        assert torch.is_autocast_enabled("cpu")
    for a, b in zip(got, want, strict=True):
        assert a.dtype == torch.float32
        assert torch.allclose(a, b, rtol=0, atol=1e-6)
