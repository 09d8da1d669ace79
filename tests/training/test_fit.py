from __future__ import annotations

import copy
import os
import pickle
import signal
import threading
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.training import loop
from tests.processes import run_python

NET = nn.Network(nn.Dense(8, "tanh"), nn.Dropout(0.1), nn.Dense(2))
SMOOTH = nn.Network(nn.Dense(8, "tanh"), nn.Dense(2))


def moons(be: nn.Backend, n: int = 96, dtype: str = "float32"):
    return nn.datasets.moons(n, noise=0.1, seed=1, backend=be, dtype=dtype)


def model_on(be: nn.Backend, net: nn.Network = NET, dtype: str = "float32") -> nn.Model:
    return net.init((2,), seed=0, backend=be, dtype=dtype)


# --- It learns, the same everywhere -------------------------------------------------------------------------------


def test_fit_learns_and_reports(be: nn.Backend) -> None:
    X, y = moons(be, 200)
    Xv, yv = nn.datasets.moons(100, noise=0.1, seed=2, backend=be, dtype="float32")
    model = model_on(be, SMOOTH)
    history = model.fit(
        X, y, optimizer=nn.Adam(0.05), epochs=15, batch_size=32, validation=(Xv, yv), metrics=["accuracy", "f1"]
    )
    assert set(history) == {"epoch", "loss", "accuracy", "f1", "val_loss", "val_accuracy", "val_f1", "lr", "seconds"}
    assert [len(column) for column in history.values()] == [15] * len(history)
    assert history["epoch"] == list(range(1, 16))
    assert history.steps == 15 * 7
    assert history["val_accuracy"][-1] > 0.9
    assert float(nn.metrics.accuracy(model(Xv), yv)) == pytest.approx(history["val_accuracy"][-1])
    assert str(model.theta.dtype).endswith("float32")


@pytest.mark.second_device
def test_one_seed_gives_one_training_on_every_backend(be: nn.Backend, host: nn.Backend) -> None:
    dtype = "float64" if "float64" in be.dtypes else "float32"

    def trained(on: nn.Backend) -> tuple[np.ndarray, list[float]]:
        X, y = moons(on, dtype=dtype)
        model = model_on(on, dtype=dtype)
        history = model.fit(X, y, epochs=3, batch_size=20, seed=5, validation=0.25)
        return on.to_numpy(model.theta), history["val_loss"]

    (theta, losses), (want, want_losses) = trained(be), trained(host)
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(theta, want, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(losses, want_losses, rtol=tolerance)


def test_the_same_call_gives_the_same_bits_and_another_seed_other_ones(host: nn.Backend) -> None:
    X, y = moons(host)

    def trained(seed: int) -> bytes:
        model = model_on(host)
        model.fit(X, y, epochs=2, seed=seed)
        return model.theta.tobytes()

    assert trained(0) == trained(0)
    assert trained(0) != trained(1)


def test_nothing_leaves_a_strict_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array made while training is on the model's device: the namespace is watched, not only the results."""
    import array_api_strict

    be = nn.backend("strict:device1")
    made: set[str] = set()
    original = array_api_strict._array_object.Array._new.__func__

    def watched(cls, x, /, device=None):
        array = original(cls, x, device=device)
        made.add(str(array.device))
        return array

    X, y = moons(be)
    model = model_on(be)
    monkeypatch.setattr(array_api_strict._array_object.Array, "_new", classmethod(watched))
    model.fit(X, y, epochs=2, batch_size=20, validation=0.25, metrics=["accuracy", "precision", nn.metrics.TopK(1)])
    model.fit(X, y, optimizer=nn.SGD(0.1, momentum=0.9, weight_decay=0.1, clip_norm=1.0), epochs=1)
    assert made == {"array_api_strict.Device('device1')"}


def test_weights_count_as_repetitions(be: nn.Backend) -> None:
    """A weight of 2 is the example twice."""
    X, y = moons(be, 12)
    weights = be.asarray([1.0, 2.0] * 6, dtype="float32")
    twice = be.asarray(sorted([*range(12), *range(1, 12, 2)]))
    model = model_on(be, SMOOTH)
    for reduction in ("mean", "sum"):
        loss = nn.losses.CrossEntropy(reduction=reduction)
        got = nn.value_and_grad(model, X, y, loss, sample_weight=weights)
        want = nn.value_and_grad(model, be.xp.take(X, twice, axis=0), be.xp.take(y, twice, axis=0), loss)
        for a, b in zip(got, want, strict=True):
            nn.testing.assert_close(a, be.to_numpy(b))


def test_a_batch_in_which_no_example_counts_changes_nothing(be: nn.Backend) -> None:
    X, y = moons(be, 12)
    weights = be.asarray([1.0] * 4 + [0.0] * 8, dtype="float32")
    some, all_of_them = model_on(be, SMOOTH), model_on(be, SMOOTH)
    rule = nn.SGD(0.1)
    history = all_of_them.fit(X, y, optimizer=rule, epochs=1, batch_size=4, shuffle=False, sample_weight=weights)
    some.fit(X[:4, ...], y[:4], optimizer=rule, epochs=1)
    nn.testing.assert_close(all_of_them.theta, be.to_numpy(some.theta), c=10)
    assert history["loss"][0] == pytest.approx(some.history["loss"][0], rel=1e-5)


def test_epoch_loss_is_the_mean_over_examples(host: nn.Backend) -> None:
    """Batches of 5, 5 and 2 do not count alike."""
    X, y = moons(host, 12, "float64")
    model = model_on(host, SMOOTH, "float64")
    still = nn.SGD(1e-300)
    for weights in (None, np.linspace(0.1, 2.0, 12)):
        want = float(nn.value_and_grad(model, X, y, sample_weight=weights)[0])
        history = model.fit(X, y, optimizer=still, epochs=1, batch_size=5, sample_weight=weights)
        assert history["loss"][0] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("batch_size", [None, 12, 13, 10**9])
def test_a_batch_larger_than_the_data_is_all_of_it(host: nn.Backend, batch_size: int | None) -> None:
    X, y = moons(host, 12)
    model = model_on(host)
    history = model.fit(X, y, epochs=2, batch_size=batch_size)
    assert history.steps == 2


def test_inputs_and_earlier_parameters_are_left_alone(be: nn.Backend) -> None:
    X, y = moons(be)
    model = model_on(be)
    theta = model.theta
    before = [be.to_numpy(a).copy() for a in (X, y, theta)]
    model.fit(X, y, epochs=1)
    for array, want in zip((X, y, theta), before, strict=True):
        np.testing.assert_array_equal(be.to_numpy(array), want)


def test_frozen_layers_do_not_move(be: nn.Backend) -> None:
    X, y = moons(be)
    model = model_on(be, SMOOTH).freeze("0")
    before = {name: be.to_numpy(p).copy() for name, p in model.params.items()}
    model.fit(X, y, optimizer=nn.AdamW(0.1, weight_decay=0.5, clip_norm=1.0), epochs=1)
    for name, p in model.params.items():
        assert np.array_equal(be.to_numpy(p), before[name]) == name.startswith("0."), name
    assert model.unfreeze().frozen == frozenset()
    assert model.freeze("0.*").frozen == {"0.weight", "0.bias"}
    assert model.unfreeze().freeze("*.bias").frozen == {"0.bias", "1.bias"}
    with pytest.raises(ValueError, match=r"no parameter is called 'head'; the model has 0\.weight"):
        model.freeze("head")


def test_schedule_and_early_stopping(host: nn.Backend) -> None:
    X, y = moons(host, 200)
    model = model_on(host, SMOOTH)
    stop = nn.EarlyStopping(patience=3)
    rates = nn.schedules.Exponential(0.5, 0.5)
    history = model.fit(X, y, optimizer=nn.SGD(rates), epochs=100, validation=0.3, callbacks=[stop], seed=3)
    epochs = len(history["epoch"])
    assert history["lr"] == [0.5 * 0.5**i for i in range(epochs)]
    stop = nn.EarlyStopping("loss", patience=2, mode="max")
    best = model_on(host, SMOOTH)
    seen = []
    history = best.fit(X, y, epochs=50, callbacks=[stop, lambda run: seen.append(run.model.theta.copy())])
    assert len(history["epoch"]) == 4  # the loss falls, so that "max" is best in the first epoch
    np.testing.assert_array_equal(best.theta, seen[0])


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_is_never_the_best_epoch(be: nn.Backend, mode: str) -> None:
    """The metric of the first epoch, and of one amid the others, is NaN; all others improve."""
    X, y = moons(be, 16)
    model, seen, sign = model_on(be, SMOOTH), [], -1.0 if mode == "min" else 1.0

    def rising(outputs, target):
        number = len(seen)
        return be.asarray([np.nan if number in (0, 5) else sign * (0.7 + number / 100)], dtype="float32")[0]

    stop = nn.EarlyStopping("rising", patience=1, mode=mode)
    look = seen.append
    history = model.fit(X, y, epochs=12, metrics=[rising], callbacks=[stop, lambda run: look(run.model.theta)])
    assert len(history["epoch"]) == stop.best_epoch == 12
    assert stop.best == pytest.approx(sign * 0.81)


def test_all_nan_stops_and_keeps_the_last_epoch(host: nn.Backend) -> None:
    X, y = moons(host, 16)
    model, seen = model_on(host, SMOOTH), []

    def wrong(outputs, target):
        return outputs[0, 0] * np.nan

    stop = nn.EarlyStopping("wrong", mode="min", patience=2)
    model.fit(X, y, epochs=9, metrics=[wrong], callbacks=[stop, lambda run: seen.append(run.model.theta.copy())])
    assert len(seen) == 3
    np.testing.assert_array_equal(model.theta, seen[-1])


NORMED = nn.Network(nn.Dense(4), nn.BatchNorm(), nn.Dense(2))


@pytest.mark.parametrize(("batch_size", "fits"), [(8, 9), (1, 2), (16, 17), (32, 33)])
def test_a_last_batch_of_one_is_refused_before_the_first_step(be: nn.Backend, batch_size: int, fits: int) -> None:
    X, y = moons(be, 33 if batch_size > 1 else 34)
    model, reported = model_on(be, NORMED), []
    before = be.to_numpy(model.theta).copy()
    with pytest.raises(ValueError, match=rf"BatchNorm cannot train on 1 entry.*use batch_size={fits}\."):
        model.fit(X, y, epochs=2, batch_size=batch_size, callbacks=[reported.append])
    np.testing.assert_array_equal(be.to_numpy(model.theta), before)
    assert not reported
    assert len(model.fit(X, y, epochs=2, batch_size=fits)["loss"]) == 2
    with pytest.raises(ValueError, match=r"leaves one of 1 examples alone: pass at least two"):
        model.fit(X[:1, ...], y[:1])


def test_a_running_variance_that_does_not_fit_is_reported(be: nn.Backend) -> None:
    X, y = moons(be, 32)
    model = nn.Network(nn.BatchNorm(), nn.Dense(2)).init((2,), backend=be, dtype="float32")
    with pytest.raises(nn.DivergenceError, match=r"a running variance became NaN or infinite.*standardise X"):
        model.fit(X * 1e20, y, epochs=2, batch_size=16)
    assert np.isfinite(be.to_numpy(model.state)).all()


def test_early_stopping_needs_its_column(host: nn.Backend) -> None:
    X, y = moons(host)
    with pytest.raises(ValueError, match=r"monitors 'val_loss', but the history has epoch, loss.*Pass validation="):
        model_on(host).fit(X, y, epochs=1, callbacks=[nn.EarlyStopping()])


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "accuracy", "val_f1"])
def test_its_column_is_missed_before_the_first_step(host: nn.Backend, monitor: str) -> None:
    X, y = moons(host)
    model, seen = model_on(host), list[Any]()
    with pytest.raises(ValueError, match=f"EarlyStopping monitors '{monitor}'"):
        model.fit(X, y, epochs=1, callbacks=[seen.append, nn.EarlyStopping(monitor)], progress=False)
    assert not seen
    settings: Any = {"validation": 0.5, "metrics": ["accuracy", "f1"], "progress": False}
    model.fit(X, y, epochs=1, callbacks=nn.EarlyStopping(monitor), **settings)


def test_a_column_of_a_callback_can_be_monitored(host: nn.Backend) -> None:
    def add(run: Any) -> None:
        run.history.columns.setdefault("size", []).append(1.0)

    model_on(host).fit(*moons(host), epochs=1, callbacks=[add, nn.EarlyStopping("size", mode="min")], progress=False)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("on_train_begin", "on_fit_start"),
        ("on_train_end", "on_fit_end"),
        ("on_batch_end", "on_step_end"),
        ("on_train_batch_end", "on_step_end"),
        ("on_validation_end", "on_epoch_end"),
        ("on_epoch_begin", "on_fit_start and on_epoch_end"),
        ("on_batch_begin", "Nothing is called before an epoch or a step"),
        ("on_exception", "The hooks are on_fit_start, on_step_end, on_epoch_end, on_fit_end"),
    ],
)
def test_methods_of_other_libraries_callbacks_are_refused(name: str, remedy: str) -> None:
    with pytest.raises(TypeError, match=f"Mine.{name} would never be called. .*{remedy}"):
        type("Mine", (nn.Callback,), {name: lambda self, run: None})


def test_callbacks_see_each_epoch(host: nn.Backend) -> None:
    X, y = moons(host)
    seen: list[str] = []

    class Watch(nn.Callback):
        def on_fit_start(self, run: nn.Run) -> None:
            seen.append(f"start {run.epochs}")

        def on_epoch_end(self, run: nn.Run) -> None:
            seen.append(f"epoch {run.epoch}")
            if run.epoch == 2:
                run.stop("enough")

        def on_fit_end(self, run: nn.Run) -> None:
            seen.append("end")

    model_on(host).fit(X, y, epochs=5, callbacks=[Watch()])
    assert seen == ["start 5", "epoch 1", "epoch 2", "end"]
    with pytest.raises(TypeError, match="Callback or a function of a Run; got <class"):
        model_on(host).fit(X, y, callbacks=[Watch])


def test_history_is_a_mapping_of_columns(host: nn.Backend) -> None:
    X, y = moons(host)
    model = model_on(host)
    history = model.fit(X, y, epochs=2)
    assert model.history is history
    assert list(history.to_pandas().columns) == list(history)
    assert "2 epochs, last: epoch 2, loss" in repr(history)
    with pytest.raises(KeyError, match="no column 'accuracy'; it has epoch, loss"):
        history["accuracy"]


# --- Progress --------------------------------------------------------------------------------------------------------


def test_progress_is_shown_when_asked_for_and_silent_in_a_pipe(host: nn.Backend, capsys: pytest.CaptureFixture) -> None:
    X, y = moons(host)
    model_on(host).fit(X, y, epochs=2)
    assert capsys.readouterr() == ("", "")
    model_on(host).fit(X, y, epochs=2, progress=True)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "loss=" in shown


# --- When something goes wrong -------------------------------------------------------------------------------------


def test_divergence_stops_and_keeps_the_last_finite_parameters(be: nn.Backend) -> None:
    X, y = nn.datasets.line(40, noise=0.1, seed=0, backend=be, dtype="float32")
    model = nn.Network(nn.Dense(4), nn.Dense(1)).init((1,), seed=0, backend=be, dtype="float32")
    with pytest.raises(
        nn.DivergenceError, match=r"loss became NaN or infinite in epoch 1, step \d+ of 40 .*rate 50.*Lower lr"
    ):
        model.fit(X, y, loss="mse", optimizer=nn.SGD(50.0), epochs=3, batch_size=1)
    assert bool(be.xp.all(be.xp.isfinite(model.theta)))
    loss, _ = nn.value_and_grad(model, X[:1, ...], y[:1, ...], loss="mse")
    assert model.history.steps > 0
    assert bool(be.xp.isfinite(loss)) or model.history.steps == 0


def test_divergence_goes_back_to_the_last_finite_step(host: nn.Backend) -> None:
    """The parameters are those that entered the last step with a finite loss, found by running again."""
    X, y = moons(host, 40, "float64")

    class Exploding(nn.losses.CrossEntropy):
        def per_example(self, outputs, target):
            losses, gradient = super().per_example(outputs, target)
            calls.extend([1] * (outputs.shape[0] == 8))  # no trial of the loss before the training
            return (losses * np.nan, gradient * np.nan) if len(calls) == 4 else (losses, gradient)

    calls: list[int] = []
    model = model_on(host, NET, "float64")
    with pytest.raises(nn.DivergenceError, match="epoch 1, step 4 of 5"):
        model.fit(X, y, loss=Exploding(), epochs=1, batch_size=8, seed=9, optimizer=nn.Adam(0.1))

    class Stopping(nn.losses.CrossEntropy):
        def per_example(self, outputs, target):
            if outputs.shape[0] == 8:  # a step, and no trial of the loss
                if len(steps) == 2:
                    raise KeyboardInterrupt
                steps.append(1)
            return super().per_example(outputs, target)

    steps: list[int] = []
    other = model_on(host, NET, "float64")
    with pytest.raises(KeyboardInterrupt):
        other.fit(X, y, loss=Stopping(), epochs=1, batch_size=8, seed=9, optimizer=nn.Adam(0.1))
    np.testing.assert_array_equal(model.theta, other.theta)
    assert model.history.steps == other.history.steps == 2


@pytest.mark.parametrize("rate", [1.5, 2.0, 3.0])
def test_the_losses_before_a_divergence_do_not_depend_on_time(
    host: nn.Backend, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs that nothing observes run together, more of them on a faster machine; the numbers must not change."""
    X = host.xp.linspace(-1.0, 1.0, 40, dtype=host.xp.float32)[:, None]
    net, found = nn.Network(nn.Dense(8, "relu"), nn.Dense(1)), []
    for patience in (0.0, 1e9):  # alone, or as many as there may be
        monkeypatch.setattr(loop, "PATIENCE", patience)
        model = net.init((1,), seed=0, dtype="float32", backend=host)
        with pytest.raises(nn.DivergenceError) as error:
            model.fit(X, host.xp.sin(5.0 * X), loss="mse", optimizer=nn.SGD(rate), epochs=500, batch_size=None)
        found.append((model.history["loss"], host.to_numpy(model.theta).tolist(), str(error.value)))
    assert found[0] == found[1]


def test_ctrl_c_leaves_the_last_finished_step(host: nn.Backend) -> None:
    X, y = moons(host)
    model = model_on(host)

    def interrupt(run: nn.Run) -> None:
        if run.epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, epochs=100, callbacks=[interrupt])
    assert len(model.history["loss"]) == 3
    assert model.history.steps == 9
    again = model_on(host)
    again.fit(X, y, epochs=3)
    np.testing.assert_array_equal(model.theta, again.theta)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_from_outside_in_the_middle_of_an_epoch() -> None:
    code = """
import numpy as np, os, signal, threading, nnarray as nn
network = nn.Network(nn.Dense(256, "relu"), nn.Dense(2))
model = network.init((64,), seed=0, engine="numpy")  # no second goes by with what Numba does first
X, y = np.ones((100_000, 64)), np.zeros(100_000, dtype=int)
threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    model.fit(X, y, epochs=1000, batch_size=64)
except KeyboardInterrupt:
    print("interrupted", model.history.steps > 0, bool(np.isfinite(model.theta).all()))
"""
    done = run_python(code, check=False)
    assert done.stdout.strip() == "interrupted True True", done.stderr


def test_training_works_beside_the_main_thread(host: nn.Backend) -> None:
    X, y = moons(host)
    models = [model_on(host) for _ in range(4)]
    threads = [threading.Thread(target=m.fit, args=(X, y), kwargs={"epochs": 3}) for m in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for model in models[1:]:
        np.testing.assert_array_equal(model.theta, models[0].theta)


def test_inference_is_the_same_from_several_threads(host: nn.Backend) -> None:
    X, _ = moons(host, 500)
    model = model_on(host)
    want, got = model(X), []
    threads = [threading.Thread(target=lambda: got.extend(model(X) for _ in range(20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 80
    assert all(np.array_equal(y, want) for y in got)


def test_inference_after_fork(host: nn.Backend) -> None:
    if not hasattr(os, "fork"):
        return
    code = """
import os, numpy as np, nnarray as nn
model = nn.Network(nn.Dense(64, "tanh"), nn.Dense(2)).init((8,), seed=0)
X = np.ones((256, 8)); want = model(X)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(model(X), want) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = run_python(code)
    assert done.stdout.strip() == "0"


BAD_CALLS = [
    ({"X": np.full((8, 2), np.nan)}, ValueError, r"X contains NaN or infinity: row 0, column 0\..*check_finite=False"),
    ({"X": np.asarray([[0.0, 1.0]] * 7 + [[1.0, np.inf]])}, ValueError, "row 7, column 1"),
    ({"X": np.zeros((8, 3))}, ValueError, r"expects \(batch, 2\).*shape \(2,\); got X of shape \(8, 3\)"),
    ({"X": np.zeros(2)}, ValueError, r"got X of shape \(2,\)\. For a single example, use X\[None, \.\.\.\]"),
    ({"X": np.zeros((0, 2)), "y": np.zeros(0, dtype=int)}, ValueError, "X has no examples"),
    ({"X": np.zeros((8, 2), dtype=complex)}, TypeError, "real numbers"),
    ({"X": np.zeros((8, 2)).tolist()}, TypeError, r"X must be an array; got list.*asarray\(X\)"),
    ({"X": np.full((8, 2), "a")}, TypeError, "real numbers"),
    ({"y": np.zeros(7, dtype=int)}, ValueError, r"X has 8 examples, but y has shape \(7,\)"),
    ({"y": np.full(8, 2)}, ValueError, "label 2 is out of range: with 2 outputs, labels are 0 to 1"),
    ({"y": np.full(8, -1)}, ValueError, "label -1 is out of range"),
    ({"y": np.zeros(8), "loss": "cross_entropy"}, TypeError, "labels must be integers; got dtype float64"),
    (
        {"y": np.zeros((8, 1), dtype=int)},
        ValueError,
        r"needs labels of shape \(8,\) or probabilities of shape \(8, 2\)",
    ),
    ({"y": np.zeros(8), "loss": "mse"}, ValueError, r"outputs' shape \(8, 2\); got \(8,\)"),
    ({"loss": "crossentrpy"}, ValueError, "unknown loss 'crossentrpy'.*Did you mean 'cross_entropy'"),
    ({"optimizer": "adma"}, ValueError, "unknown optimizer 'adma'.*Did you mean 'adam'"),
    ({"optimizer": 0.1}, TypeError, r"got the number 0.1. For a learning rate, pass nn.Adam\(0.1\)"),
    ({"metrics": ["acuracy"]}, ValueError, "unknown metric 'acuracy'.*Did you mean 'accuracy'"),
    ({"metrics": ["accuracy", "accuracy"]}, ValueError, "different names"),
    ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1; got 0"),
    ({"epochs": 1.5}, TypeError, "epochs must be an integer"),
    ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1; got 0"),
    ({"batch_size": "32"}, TypeError, "batch_size must be an integer"),
    ({"seed": -1}, ValueError, "0 <= seed"),
    ({"seed": "today"}, TypeError, "seed must be an integer; got 'today'"),
    ({"validation": 1.0}, ValueError, "validation must be a finite number of at least 0 and less than 1; got 1.0"),
    ({"validation": 0.01}, ValueError, "gives 0 for validation and 8 for training"),
    ({"validation": 5}, ValueError, "less than 1; got 5"),
    ({"validation": "some"}, TypeError, "validation must be a fraction.*got str"),
    ({"validation": (np.zeros((4, 3)), np.zeros(4, dtype=int))}, ValueError, "got validation_X of shape"),
    ({"validation": (np.zeros((4, 2)), np.full(4, 9))}, ValueError, "label 9 is out of range"),
    ({"sample_weight": np.ones(7)}, ValueError, r"sample_weight must have shape \(8,\)"),
    ({"sample_weight": -np.ones(8)}, ValueError, "sample_weight must not be negative"),
    ({"sample_weight": np.full(8, np.nan)}, ValueError, "sample_weight contains NaN"),
    ({"optimizer": "lbfgs", "batch_size": 4}, ValueError, "LBFGS needs all 8 examples.*batch_size=None"),
    ({"learning_rate": 0.1}, TypeError, "learning_rate"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD_CALLS, ids=lambda v: str(v)[:40])
def test_bad_calls_say_what_to_do_and_change_nothing(host: nn.Backend, change: dict, error, message: str) -> None:
    model = model_on(host, SMOOTH, "float64")
    before = model.theta.copy()
    call = {"X": np.zeros((8, 2)), "y": np.zeros(8, dtype=int), "epochs": 1} | change
    with pytest.raises(error, match=message):
        model.fit(call.pop("X"), call.pop("y"), **call)
    np.testing.assert_array_equal(model.theta, before)


def test_labels_are_checked_before_any_kernel(be: nn.Backend) -> None:
    X, _ = moons(be, 4)
    with pytest.raises(ValueError, match="label 7 is out of range"):
        nn.value_and_grad(model_on(be, SMOOTH), X, be.asarray([0, 1, 7, 0]))


def test_check_finite_can_be_switched_off(host: nn.Backend) -> None:
    model = model_on(host, SMOOTH)
    X = np.asarray([[np.nan, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="X contains NaN or infinity: row 0, column 0"):
        model.predict(X)
    y = model.predict(X, check_finite=False)
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()
    with pytest.raises(nn.DivergenceError):
        model.fit(X, np.asarray([0, 1]), check_finite=False)
    assert np.isfinite(model.theta).all()


# --- Models ----------------------------------------------------------------------------------------------------------


def test_parameters_by_name(be: nn.Backend) -> None:
    model = model_on(be, SMOOTH)
    assert {name: p.shape for name, p in model.params.items()} == {
        "0.weight": (2, 8),
        "0.bias": (8,),
        "1.weight": (8, 2),
        "1.bias": (2,),
    }
    old = be.to_numpy(model.params["0.weight"]).copy()
    model.set_params({"0.bias": [0.5] * 8, "1.weight": np.full((8, 2), 2.0)})
    assert be.to_numpy(model.params["0.bias"]).tolist() == [0.5] * 8
    assert be.to_numpy(model.params["1.weight"]).tolist() == [[2.0, 2.0]] * 8
    np.testing.assert_array_equal(be.to_numpy(model.params["0.weight"]), old)
    before = be.to_numpy(model.theta).copy()
    with pytest.raises(ValueError, match=r"unknown parameter '2\.weight'; the model has 0\.weight, 0\.bias"):
        model.set_params({"0.bias": [0.0] * 8, "2.weight": [0.0]})
    with pytest.raises(ValueError, match=r"parameter '0\.bias' has shape \(8,\); got \(2,\)"):
        model.set_params({"1.weight": np.zeros((8, 2)), "0.bias": [0.0, 0.0]})
    np.testing.assert_array_equal(be.to_numpy(model.theta), before)
    with pytest.raises(ValueError, match=r"theta must have shape \(42,\), one entry per parameter; got \(3,\)"):
        model.theta = be.asarray([1.0, 2.0, 3.0])


def test_outputs_follow_new_parameters(be: nn.Backend) -> None:
    model = model_on(be, SMOOTH)
    X, _ = moons(be, 4)
    before = be.to_numpy(model(X)).copy()
    model.theta = model.theta * 0.0
    assert not be.to_numpy(model(X)).any()
    assert before.any()


def test_models_move_and_copy(be: nn.Backend, host: nn.Backend) -> None:
    there = model_on(host, NET).to(be)
    assert nn.namespace(there.theta) is be.xp
    np.testing.assert_array_equal(be.to_numpy(there.theta), model_on(host, NET).theta)
    back = there.to("numpy")
    assert back.theta.dtype == np.float32
    twin = there.copy()
    twin.theta = twin.theta * 0.0
    assert be.to_numpy(there.theta).any()
    assert "58 parameters" not in repr(there)
    assert "42 parameters, float32" in repr(there)


def test_prediction_in_batches(be: nn.Backend) -> None:
    X, _ = moons(be, 50)
    model = model_on(be)
    nn.testing.assert_close(model.predict(X, batch_size=7), be.to_numpy(model(X)), c=10)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1"):
        model.predict(X, batch_size=0)


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        (2, TypeError, r"must be a tuple.*got 2\..*Else write \(2,\)"),
        ((0,), ValueError, r"integers above 0.*\(0,\)"),
        ((2.0,), ValueError, "integers above 0"),
        ((), ValueError, "Dense 1 of 2: expects at least 1 feature"),
    ],
)
def test_bad_input_shapes(shape, error, message: str) -> None:
    with pytest.raises(error, match=message):
        SMOOTH.init(shape)


@pytest.mark.parametrize(
    ("flag", "dtype"),
    [("numpy", "float16"), ("torch", "float16"), ("torch", "bfloat16"), ("jax", "float16"), ("jax", "bfloat16")],
)
def test_half_precision_stays_half_precision(flag: str, dtype: str) -> None:
    be = nn.backend(flag)
    X, y = moons(be, 64)
    model = model_on(be, SMOOTH, dtype)
    history = model.fit(be.xp.astype(X, be.dtype(dtype)), y, optimizer=nn.SGD(0.1), epochs=5)
    assert history["loss"][-1] < history["loss"][0]
    assert model(X).dtype == model.theta.dtype == be.dtype(dtype)


def test_models_can_be_pickled(be: nn.Backend) -> None:
    X, _ = moons(be, 4)
    model = model_on(be)
    twin = pickle.loads(pickle.dumps(model)) if be.library.name != "strict" else copy.deepcopy(model)
    np.testing.assert_array_equal(be.to_numpy(twin(X)), be.to_numpy(model(X)))


def test_what_is_convenient_is_allowed(host: nn.Backend) -> None:
    X, y = moons(host, 64)
    model = nn.Network(nn.Dense(4, "tanh", name="hidden"), nn.Dense(2)).init((np.int64(2),), dtype="float32")
    stop = nn.EarlyStopping("accuracy", mode="max", patience=0)
    model.fit(X, y, optimizer=nn.Adam, callbacks=stop, metrics="accuracy", validation=np.float32(0.25), epochs=3)
    assert 0 < stop.best <= 1
    assert repr(model).startswith("Model(Dense(4, activation='tanh', name='hidden'), Dense(2); 22 parameters")
    with pytest.raises(ValueError, match=r"dtype must be real floating, one of float16, float32.*got 'int32'"):
        SMOOTH.init((2,), dtype="int32")


def test_lbfgs_that_diverges_says_so(host: nn.Backend) -> None:
    X, y = nn.datasets.line(10)
    model = nn.Network(nn.Dense(1)).init((1,))
    model.set_params({"0.bias": [1e200]})
    with pytest.raises(nn.DivergenceError, match="L-BFGS"):
        model.fit(X, y, loss="mse", optimizer="lbfgs", epochs=3, batch_size=None)


@pytest.mark.parametrize("rule", [nn.Adam(1e-3), nn.RMSprop(1e-3), nn.AdamW(1e-3)])
def test_half_precision_has_room_for_squares(host: nn.Backend, rule: nn.Optimizer) -> None:
    X, y = moons(host, 64)
    model = model_on(host, SMOOTH, "float16")
    history = model.fit(X, y, optimizer=rule, epochs=5)
    assert history["loss"][-1] < history["loss"][0]
    assert model.theta.dtype == np.float16


def test_parameters_in_the_other_byte_order_are_taken(host: nn.Backend) -> None:
    X, y = nn.datasets.moons(40, backend=host)
    model = nn.Network(nn.Dense(3, "tanh"), nn.Dense(2)).init((2,), backend=host)
    same = model.copy()
    model.theta = model.theta.astype(">f8")
    model.fit(X, y, epochs=2)
    same.fit(X, y, epochs=2)
    np.testing.assert_array_equal(model.theta, same.theta)


def test_a_huge_finite_loss_is_no_warning(host: nn.Backend) -> None:
    """In float32, with weights: their product overflows in the mean, and the training stops with its own error."""
    X, y = np.ones((24, 4), np.float32), np.arange(24) % 2
    model = nn.Network(nn.Dense(2)).init((4,), backend=host, dtype="float32")
    model.set_params({"0.bias": [2e37, -2e37]})
    with pytest.raises(nn.DivergenceError):
        model.fit(X, y, optimizer=nn.LAMB(1e-3), epochs=1, batch_size=8, sample_weight=np.full(24, 4.0))


# --- What is reported while it trains --------------------------------------------------------------------------------


def test_training_is_logged(host: nn.Backend, caplog: pytest.LogCaptureFixture) -> None:
    X, y = moons(host)
    with caplog.at_level("DEBUG", logger="nnarray"):
        model_on(host).fit(X, y, epochs=2)
    first, *epochs, last = [record.getMessage() for record in caplog.records if record.name == "nnarray"]
    assert first.startswith("training starts: Model(Dense(8, activation='tanh')")
    assert "'optimizer': 'Adam(lr=0.001" in first
    assert [text[:8] for text in epochs] == ["epoch 1:", "epoch 2:"]
    assert last.startswith("training ends after epoch 2: {'epoch': 2.0, 'loss': ")


def test_every_callback_that_saw_the_start_sees_the_end(host: nn.Backend) -> None:
    events: list[str] = []

    class Note(nn.Callback):
        def __init__(self, name: str, fails_at: str = "") -> None:
            self.name, self.fails_at = name, fails_at

        def _note(self, when: str) -> None:
            if when == self.fails_at:
                raise RuntimeError(self.name)
            events.append(f"{self.name} {when}")

        def on_fit_start(self, run: nn.Run) -> None:
            self._note("start")

        def on_fit_end(self, run: nn.Run) -> None:
            self._note("end")

    X, y = moons(host)
    with pytest.raises(RuntimeError, match="b"):
        model_on(host).fit(X, y, epochs=1, callbacks=[Note("a"), Note("b", "start")])
    assert events == ["a start", "a end"]
    events.clear()
    with pytest.raises(RuntimeError, match="b"):
        model_on(host).fit(X, y, epochs=1, callbacks=[Note("a"), Note("b", "end"), Note("c")])
    assert events == ["a start", "b start", "c start", "c end", "a end"]


def test_a_full_device_is_reported_with_what_would_fit(host: nn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(nn.Callback):
        def on_epoch_end(self, run: nn.Run) -> None:
            raise MemoryError("asked for 5 GiB")

    X, y = moons(host)
    monkeypatch.setattr(host.library, "free", lambda device: 10 * 2**20)
    with pytest.raises(
        nn.OutOfDeviceMemory, match=r"5 GiB\)\. 10 MiB are free, and an example takes about .*: try \d+\."
    ):
        model_on(host).fit(X, y, epochs=1, callbacks=[Full()])


def test_early_stopping_knows_what_is_better_in_metrics(be: nn.Backend) -> None:
    X, y = nn.datasets.moons(60, noise=0.1, seed=0, dtype="float32", backend=be)
    model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,), backend=be, dtype="float32")
    stop = nn.EarlyStopping("val_accuracy", patience=20)
    history = model.fit(
        X, y, optimizer=nn.Adam(0.05), epochs=8, validation=0.25, metrics=["accuracy"], callbacks=stop, progress=False
    )
    assert stop.mode == "max"
    assert stop.best == max(history["val_accuracy"]) > min(history["val_accuracy"])
    assert nn.EarlyStopping("val_top_5").mode == "max"
    assert nn.EarlyStopping("loss").mode == "min"
    with pytest.raises(ValueError, match=r"does not know 'val_my_metric': pass mode='min' or mode='max'"):
        nn.EarlyStopping("val_my_metric")
    with pytest.raises(ValueError, match=r"Pass metrics=\['accuracy'\] and validation=0\.2 to fit"):
        model.fit(X, y, epochs=1, callbacks=nn.EarlyStopping("val_accuracy"), progress=False)


def test_plateau_is_not_asked_without_losses() -> None:
    with pytest.raises(
        ValueError, match=r"Plateau needs the loss of each finished epoch: 9 for this one; got 0\. Pass"
    ):
        nn.schedules.Plateau(0.1, 0.5, 2)(9)
