"""Steps on PyTorch's tensors in the memory that they share with NumPy: the numbers of the layers, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.engines.training import SharedSteps
from nnarray.kernels.compilation import has_loops
from tests.tolerances import close

torch = pytest.importorskip("torch")

NET = nn.Network(nn.Dense(5, "relu"), nn.Dense(4, "gelu"), nn.Dense(3))
ENGINES = ["numpy", *(["numba"] if has_loops() else [])]


@dataclass(frozen=True)
class Own(nn.Loss):
    """A loss that PyTorch's functions compute."""

    def per_example(self, outputs: Any, target: Any) -> tuple[Any, Any]:
        d = outputs - target
        return torch.log(torch.cosh(d)).sum(dim=1), torch.tanh(d)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many steps each call of prepared steps took."""
    steps: list[int] = []
    run = SharedSteps.run

    def noted(self: SharedSteps, *task: Any) -> Any:
        losses, outputs = run(self, *task)
        steps.append(len(losses))
        return losses, outputs

    monkeypatch.setattr(SharedSteps, "run", noted)
    return steps


def data(dtype: str = "float32") -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.normal(size=(23, 4)).astype(dtype)), torch.from_numpy(rng.integers(3, size=23))


def trained(engine: str, X: Any, y: Any, *, frozen: tuple[str, ...] = (), **settings: Any) -> nn.Model:
    model = NET.init((4,), seed=2, backend="torch", dtype=str(X.dtype).removeprefix("torch."))
    model.freeze(*frozen)
    model.fit(X, y, engine=engine, **({"epochs": 3, "batch_size": 8, "seed": 4} | settings))
    return model


def agree(got: nn.Model, want: nn.Model) -> None:
    dtype = str(want.theta.dtype).removeprefix("torch.")
    assert type(got.theta) is torch.Tensor
    assert got.theta.dtype == want.theta.dtype
    close(got.theta.numpy(), want.theta.numpy(), dtype)
    assert list(got.history) == list(want.history)
    for column in set(want.history) - {"seconds"}:
        close(np.asarray(got.history[column]), np.asarray(want.history[column]), dtype)


GROUPS = {"0": {"lr": 0.1}, "1.weight": {"weight_decay": 0.3}}
WARM = nn.schedules.WarmUp(steps=4, then=0.01)
SETTINGS: dict[str, dict[str, Any]] = {
    "batches, the last one smaller": {},
    "all at once, several epochs in a row": {"batch_size": None, "epochs": 9},
    "sgd with weight decay": {"optimizer": nn.SGD(0.05, weight_decay=0.1)},
    "adamw with clipping": {"optimizer": nn.AdamW(0.01, clip_value=0.1)},
    "a norm": {"optimizer": nn.Adam(0.01, clip_norm=0.1)},
    "a schedule by step": {"optimizer": nn.Adam(WARM)},
    "weights": {"sample_weight": torch.linspace(0.0, 2.0, 23)},
    "metrics and early stopping": {
        "metrics": ["accuracy"],
        "validation": 0.25,
        "callbacks": [nn.EarlyStopping(patience=1)],
    },
    "frozen layers": {"frozen": ("0.weight", "2")},
    "frozen layers and weight decay": {"frozen": ("1",), "optimizer": nn.AdamW(0.01, weight_decay=0.1)},
    "groups": {"optimizer": nn.Adam(0.01, groups=GROUPS)},
    "groups of a decoupled decay": {"optimizer": nn.AdamW(0.01, weight_decay=0.2, groups=GROUPS)},
    "an average": {"ema": 0.9},
    "all of these": {"ema": 0.5, "frozen": ("2",), "optimizer": nn.SGD(WARM, momentum=0.9, groups={"1": {"lr": 0.1}})},
}
BY_LAYERS: dict[str, dict[str, Any]] = {
    "accumulation": {"accumulate": 2},
    "layers of their own size": {"optimizer": nn.LAMB(0.01)},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", SETTINGS)
def test_steps_are_those_of_the_layers(engine: str, case: str, dtype: str, counted: list[int]) -> None:
    X, y = data(dtype)
    before = X.clone(), y.clone()
    got, want = (trained(each, X, y, **SETTINGS[case]) for each in (engine, "layers"))
    assert sum(counted) == got.history.steps > 0
    agree(got, want)
    assert all(torch.equal(*pair) for pair in zip((X, y), before, strict=True))


@pytest.mark.parametrize("case", BY_LAYERS)
def test_where_steps_cannot_be_prepared_the_layers_compute(case: str, counted: list[int]) -> None:
    X, y = data()
    got, want = (trained(each, X, y, **BY_LAYERS[case]) for each in ("auto", "layers"))
    assert not counted
    agree(got, want)


@pytest.mark.parametrize("loss", ["mse", nn.losses.Huber(0.5), Own(), Own(reduction="sum")])
def test_losses_of_numbers_and_of_your_own_get_tensors(engine: str, loss: Any, counted: list[int]) -> None:
    X, y = data()
    target = torch.nn.functional.one_hot(y, 3).to(X.dtype)
    got, want = (trained(each, X, target, loss=loss, metrics=["r2"]) for each in (engine, "layers"))
    assert counted
    agree(got, want)


def test_resumed_or_not_the_bits_are_the_same(engine: str, tmp_path: Path) -> None:
    X, y = data()
    whole, path = trained(engine, X, y, epochs=4), tmp_path / "run.safetensors"
    trained(engine, X, y, epochs=2, checkpoint=path)
    again = trained(engine, X, y, epochs=4, checkpoint=path, resume=True)
    assert torch.equal(again.theta, whole.theta)


@pytest.mark.parametrize("by_step", [True, False])
def test_what_a_callback_writes_into_the_parameters_counts(engine: str, *, by_step: bool) -> None:
    """Tensors can be written to: steps continue from what is there, as those of the layers do."""
    X, y = data()

    class Halve(nn.Callback):
        def on_step_end(self, run: nn.Run) -> None:
            if by_step:
                run.model.theta.mul_(0.5)

        def on_epoch_end(self, run: nn.Run) -> None:
            if not by_step:
                run.model.theta.mul_(0.5)

    agree(*(trained(each, X, y, callbacks=[Halve()]) for each in (engine, "layers")))


def test_the_caller_s_modes_remain_and_inference_tensors_are_taken(engine: str) -> None:
    torch.manual_seed(5)
    with torch.inference_mode():
        X, y = data()
        X = X + 0.0
    generator, threads = torch.get_rng_state(), torch.get_num_threads()
    want = trained("layers", X.clone(), y.clone())
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode():
            before = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()
            agree(trained(engine, X, y), want)
            assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()) == before
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.get_num_threads() == threads


def test_parameters_that_pytorch_trains_are_trained_too(engine: str) -> None:
    X, y = data()
    want = trained("layers", X, y)
    model = NET.init((4,), seed=2, backend="torch", dtype="float32")
    model.theta = torch.nn.Parameter(model.theta)
    started = model.theta.detach().clone()
    kept = model.theta
    model.fit(X.requires_grad_(), y, engine=engine, epochs=3, batch_size=8, seed=4)
    agree(model, want)
    assert torch.equal(kept.detach(), started)  # the parameter is the caller's


def test_bfloat16_and_other_devices_are_the_layers() -> None:
    model = NET.init((4,), backend="torch", dtype="bfloat16")
    X, y = data()
    assert model.fit(X.to(torch.bfloat16), y, epochs=1).steps == 1
    library = nn.backend("torch").library
    assert library.shared(model.theta) is None
    assert library.shared(torch.empty(3, device="meta")) is None
    assert library.engines_for(torch.empty(3, device="meta")) == ()
