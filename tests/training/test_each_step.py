"""Within an epoch: rates that change from step to step, and callbacks that look at each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn

NET = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2))
WARM = nn.schedules.WarmUp(steps=4, then=0.1)


def moons(be: nn.Backend) -> Any:
    return nn.datasets.moons(20, noise=0.1, seed=1, backend=be, dtype="float32")


def new(be: nn.Backend) -> nn.Model:
    return NET.init((2,), seed=0, backend=be, dtype="float32")


class Watcher(nn.Callback):
    """Notes each step."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.thetas: list[Any] = []

    def on_step_end(self, run: nn.Run) -> None:
        self.steps.append(run.step)
        self.losses.append(run.loss)
        self.thetas.append(run.model.snapshot()[0])


# --- Rates -----------------------------------------------------------------------------------------------------------


def test_one_cycle_in_steps_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    ours = nn.schedules.OneCycle(0.1, steps=40)
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rates = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=0.1, total_steps=40)
    for step in range(40):
        assert ours(step // 7, step=step) == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
        theirs.step()
        if step < 39:
            rates.step()


def test_a_warm_up_in_steps_hands_over_to_steps_or_epochs() -> None:
    cosine = nn.schedules.Cosine(0.1, steps=10)
    warm = nn.schedules.WarmUp(steps=4, then=cosine)
    assert [warm(0, step=step) for step in range(4)] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert [warm(0, step=step) for step in range(4, 16)] == [cosine(0, step=step) for step in range(12)]
    by_epoch = nn.schedules.WarmUp(steps=4, then=nn.schedules.Step(0.1, every=1, factor=0.5))
    rates = [by_epoch(step // 2, step=step) for step in range(6)]
    assert rates == pytest.approx([0.025, 0.05, 0.0375, 0.05, 0.025, 0.025])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.schedules.WarmUp(then=0.1), "WarmUp needs epochs or steps, one of the two"),
        (lambda: nn.schedules.WarmUp(3, 0.1, steps=4), "WarmUp needs epochs or steps, one of the two"),
        (lambda: nn.schedules.OneCycle(0.1), "OneCycle needs epochs or steps, one of the two"),
        (lambda: nn.schedules.Cosine(0.1), "Cosine needs epochs or steps, one of the two"),
        (lambda: nn.schedules.OneCycle(0.1, steps=1), "steps must be"),
        (lambda: nn.schedules.WarmUp(steps=3), "the learning rate must be a number or a schedule"),
        (lambda: nn.schedules.WarmUp(3, nn.schedules.Cosine(0.1, steps=9)), "warm up in steps too"),
        (lambda: WARM(0), "WarmUp changes from step to step: pass the step"),
        (lambda: nn.SGD(WARM).step(NET.init((2,)), np.zeros(22), {}, 0), "pass rate=optimizer.lr.epoch, step=step"),
    ],
)
def test_bad_steps_are_refused(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"grains": 2}, {"engine": "layers"}])
def test_rates_change_within_an_epoch(be: nn.Backend, settings: dict[str, Any]) -> None:
    """The same parameters as those of a loop that takes each step by its own rate."""
    X, y = moons(be)
    model, other, rule = new(be), new(be), nn.SGD(WARM)
    size = 5 if settings.get("accumulate") == 2 else 10
    history = model.fit(X, y, optimizer=rule, epochs=3, batch_size=size, shuffle=False, **settings)
    slots = rule.slots(other.theta)
    for step in range(6):
        rows = slice(0, 10) if step % 2 == 0 else slice(10, 20)
        gradient = nn.value_and_grad(other, X[rows, ...], y[rows])[1]
        other.theta, slots = rule.step(other, gradient, slots, step, rate=WARM(step // 2, step=step))
    np.testing.assert_allclose(be.to_numpy(model.theta), be.to_numpy(other.theta), rtol=2e-5, atol=1e-6)
    assert history["lr"] == pytest.approx([0.05, 0.1, 0.1])


def test_a_training_goes_on_within_a_warm_up(be: nn.Backend, tmp_path: Path) -> None:
    X, y = moons(be)
    rule = nn.Adam(nn.schedules.WarmUp(steps=7, then=nn.schedules.Cosine(0.1, steps=9)))
    whole, again, path = new(be), new(be), tmp_path / "run.safetensors"
    whole.fit(X, y, optimizer=rule, epochs=4, batch_size=8)
    new(be).fit(X, y, optimizer=rule, epochs=2, batch_size=8, checkpoint=path)
    again.fit(X, y, optimizer=rule, epochs=4, batch_size=8, checkpoint=path, resume=True)
    np.testing.assert_array_equal(be.to_numpy(again.theta), be.to_numpy(whole.theta))
    assert again.history["lr"] == whole.history["lr"]


# --- Callbacks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"grains": 2}, {"ema": 0.5}, {"engine": "layers"}])
def test_a_callback_sees_each_step(be: nn.Backend, settings: dict[str, Any]) -> None:
    X, y = moons(be)
    watched, alone, seen = new(be), new(be), Watcher()
    size = 5 if settings.get("accumulate") == 2 else 10
    history = watched.fit(X, y, epochs=2, batch_size=size, callbacks=[seen], **settings)
    alone.fit(X, y, epochs=2, batch_size=size, **settings)
    assert seen.steps == [1, 2, 3, 4]
    np.testing.assert_array_equal(be.to_numpy(watched.theta), be.to_numpy(alone.theta))
    np.testing.assert_array_equal(be.to_numpy(seen.thetas[-1]), be.to_numpy(watched.theta))
    assert not (be.to_numpy(seen.thetas[0]) == be.to_numpy(seen.thetas[1])).all()
    means = [sum(seen.losses[i : i + 2]) / 2 for i in (0, 2)]
    assert history["loss"] == pytest.approx(means, rel=1e-5)


@pytest.mark.parametrize("engine", ["layers", "numpy", "numba"])
def test_every_engine_of_numpy_calls_it(host: nn.Backend, engine: str) -> None:
    if engine == "numba":
        pytest.importorskip("numba")
    X, y = moons(host)
    for size in (None, 7):
        seen = Watcher()
        new(host).fit(X, y, epochs=3, batch_size=size, engine=engine, callbacks=[seen])
        assert seen.steps == list(range(1, 1 + (3 if size is None else 9)))
        assert seen.losses[-1] < seen.losses[0]


def test_batches_of_a_stream_are_steps_too(host: nn.Backend) -> None:
    X, y = moons(host)
    seen = Watcher()
    new(host).fit([(X[:3], y[:3]), (X[3:], y[3:])], epochs=2, callbacks=[seen])
    assert seen.steps == [1, 2, 3, 4]


def test_what_a_callback_does_to_the_model_counts(be: nn.Backend) -> None:
    """Weights that are halved after each step are what the next one starts from."""
    X, y = moons(be)

    class Halve(nn.Callback):
        def on_step_end(self, run: nn.Run) -> None:
            run.model.theta = 0.5 * run.model.theta

    model, other, rule = new(be), new(be), nn.SGD(0.1)
    model.fit(X, y, optimizer=rule, epochs=1, batch_size=10, shuffle=False, callbacks=[Halve()])
    for rows in (slice(0, 10), slice(10, 20)):
        gradient = nn.value_and_grad(other, X[rows, ...], y[rows])[1]
        other.theta = 0.5 * rule.step(other, gradient, {}, 0)[0]
    np.testing.assert_allclose(be.to_numpy(model.theta), be.to_numpy(other.theta), rtol=2e-5, atol=1e-6)


def test_an_error_in_a_step_keeps_the_step(host: nn.Backend) -> None:
    X, y = moons(host)

    class Third(nn.Callback):
        def on_step_end(self, run: nn.Run) -> None:
            if run.step == 3:
                raise RuntimeError("enough")

    model, seen = new(host), Watcher()
    with pytest.raises(RuntimeError, match="enough"):
        model.fit(X, y, epochs=2, batch_size=10, callbacks=[seen, Third()])
    assert model.history.steps == 3
    np.testing.assert_array_equal(model.theta, seen.thetas[-1])


def test_a_training_that_diverges_is_not_seen_twice(host: nn.Backend) -> None:
    X, _ = moons(host)
    seen = Watcher()
    wild = nn.Network(nn.Dense(1)).init((2,), dtype="float32")
    with pytest.raises(nn.DivergenceError):
        wild.fit(X, X[:, :1], optimizer=nn.SGD(1e15), epochs=1, batch_size=5, engine="layers", callbacks=[seen])
    assert seen.steps == [1, 2, 3, 4]


def test_the_loss_of_a_step_is_asked_for_in_it(host: nn.Backend) -> None:
    X, y = moons(host)
    runs: list[nn.Run] = []
    new(host).fit(X, y, epochs=1, callbacks=[runs.append])
    with pytest.raises(RuntimeError, match=r"run\.loss is that of a step, in on_step_end"):
        _ = runs[0].loss
    assert runs[0].step == 1


@pytest.mark.once_a_library
def test_the_memory_of_the_optimizer_is_a_copy(be: nn.Backend) -> None:
    (X, y), seen, runs = moons(be), [], []

    def look(run: nn.Run) -> None:
        runs.append(run)
        seen.append(run.memory)

    new(be).fit(X, y, optimizer=nn.SGD(0.1, momentum=0.9), epochs=3, callbacks=[look])
    (name,) = seen[0]
    first, second, third = (be.to_numpy(each[name]) for each in seen)
    assert first.shape == (new(be).theta.shape[0],)
    assert np.abs(first - second).max() > 0
    assert np.abs(second - third).max() > 0
    with pytest.raises(
        RuntimeError, match=r"run\.memory is the optimizer's between two steps: read it in on_epoch_end"
    ):
        _ = runs[0].memory


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "graph"}, "engine='graph' launches steps without looking at them: pass engine='layers'"),
        ({"cluster": "tcp://nowhere:1"}, "the workers of a cluster take the steps: leave out cluster"),
        ({"optimizer": "lbfgs", "batch_size": None}, "LBFGS finds its own steps: take another optimizer"),
    ],
)
def test_where_steps_are_not_seen_that_is_said(host: nn.Backend, settings: dict[str, Any], message: str) -> None:
    be = nn.backend("cupy") if settings.get("engine") == "graph" and "cupy" in usable() else host
    if settings.get("engine") == "graph" and be is host:
        pytest.skip("only CuPy has this engine")
    X, y = moons(be)
    with pytest.raises(ValueError, match=f"Watcher.on_step_end cannot be called, for {message}"):
        new(be).fit(X, y, callbacks=[Watcher()], **settings)


def usable() -> list[str]:
    return [each.name for each in nn.list_backends() if each.usable]
