"""Models in files: what comes back is what was saved, and what is damaged is refused."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib.util
import json
import os
import pickle
import random
import re
import resource
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import nnarray as nn
from nnarray import files
from nnarray.functional.propagation import Wiring
from nnarray.persistence import archive, settings
from tests.processes import LIMIT, run_python, started


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def network() -> nn.Network:
    return nn.Network(nn.Dense(8, "tanh"), nn.BatchNorm(), nn.Dropout(0.1), nn.Dense(2))


def moons(be: Any, count: int = 120) -> tuple[Any, Any]:
    return nn.datasets.moons(count, noise=0.2, seed=0, backend=be)


class InterruptAt(nn.Callback):
    """Ctrl-C at the end of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, run: nn.Run) -> None:
        if run.epoch == self.epoch:
            raise KeyboardInterrupt


# --- There and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_model_comes_back_as_it_was(be: nn.Backend, host: nn.Backend, dtype: str) -> None:
    if dtype not in be.dtypes:
        dtype = "float32"
    model = network().init((2,), seed=3, backend=be, dtype=dtype).freeze("0.bias")
    X, y = moons(be)
    if "16" not in dtype:
        model.fit(X, y, epochs=2)
    model.metadata["data"] = {"path": "moons.csv", "rows": 120, "names": ["x", "ÿ→"]}
    model.save("m.safetensors")
    again = nn.load("m.safetensors", backend=be)
    assert repr(again) == repr(model)
    assert again.theta.dtype == model.theta.dtype
    assert bool(be.xp.all(again.theta == model.theta))
    assert bool(be.xp.all(again.state == model.state))
    assert again.network == model.network
    assert (again.frozen, again.metadata) == (model.frozen, model.metadata)
    assert dict(again.history) == dict(model.history)
    assert (again.history.steps, again.history.settings) == (model.history.steps, model.history.settings)
    assert bool(be.xp.all(again(X) == model(X)))
    elsewhere = nn.load("m.safetensors", backend="numpy", dtype="float64")
    np.testing.assert_array_equal(elsewhere.theta, host.to_numpy(model.theta).astype(float))


@pytest.mark.parametrize(
    ("made", "shape"),
    [
        (nn.models.googlenet, (224, 224, 3)),
        (nn.models.resnet18, (64, 64, 3)),
        (nn.models.lenet5, (32, 32, 1)),
        (lambda: nn.models.mlp(3, (5, 4), dropout=0.2, activation="gelu"), (7,)),
        (lambda: nn.Network(nn.Branches(nn.Dense(2), nn.Dense(3), join="concat"), nn.Dense(1, name="head")), (4,)),
        (lambda: nn.Network(nn.Residual(nn.Dense(4), shortcut=nn.Dense(4), activation="relu")), (4,)),
        (lambda: nn.Network(nn.Dense(3, nn.Activation("elu", options={"alpha": 0.5}), bias=False)), (4,)),
        (lambda: nn.Network(nn.Dense(np.int64(3), init=nn.initializers.Normal(0.0, np.float32(0.5)))), (4,)),
        (
            lambda: nn.Network(nn.Conv2D(4, 3, bias=False), nn.BatchNorm(), nn.Activation("relu"), recompute=True),
            (8, 8, 1),
        ),
    ],
)
def test_every_architecture_is_known_by_its_settings(made: Callable[..., nn.Network], shape: tuple[int, ...]) -> None:
    net = made()
    encoded = json.loads(json.dumps(settings.encode(net), allow_nan=False))
    assert settings.decode(encoded) == net
    assert [p.name for p in Wiring.of(settings.decode(encoded), shape).params.slots] == [
        p.name for p in Wiring.of(net, shape).params.slots
    ]


def test_every_layer_and_initializer_has_a_name_in_files() -> None:
    for cls in (getattr(nn.layers, name) for name in nn.layers.NAMES):
        if isinstance(cls, type) and issubclass(cls, nn.Layer) and cls is not nn.Layer:
            assert settings.known(cls.__name__) is cls
    assert settings.known("Network") is nn.Network
    assert settings.known("VarianceScaling") is nn.initializers.VarianceScaling
    assert settings.known("CrossEntropy") is nn.losses.CrossEntropy


def test_a_class_of_ones_own_cannot_have_the_name_of_one_that_is_imported_late() -> None:
    done = run_python(
        """
        from dataclasses import dataclass
        import nnarray as nn

        @dataclass(frozen=True)
        class Conv2D(nn.Layer):
            size: int

        try:
            nn.register(Conv2D)
        except ValueError as error:
            print(error)
        """
    )
    assert done.stdout.startswith("nnarray.layers.convolution.Conv2D already has the name 'Conv2D'")


def test_a_folded_model_is_saved_too() -> None:
    model = nn.Network(nn.Conv2D(4, 3, bias=False), nn.BatchNorm(), nn.Activation("relu")).init((8, 8, 1)).fold()
    model.save("f.safetensors")
    X = np.ones((2, 8, 8, 1))
    np.testing.assert_array_equal(nn.load("f.safetensors")(X), model(X))


def test_others_can_read_the_parameters() -> None:
    model = network().init((2,), seed=0)
    model.save("m.safetensors")
    with safe_open("m.safetensors", framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("params/0.weight"), model.params["0.weight"])
        assert file.get_tensor("state/1.variance").shape == (8,)


def test_strided_parameters_are_saved_rightly() -> None:
    """safetensors writes them wrongly, and says nothing."""
    model = nn.Network(nn.Dense(3)).init((2,))
    theta = np.arange(18.0)[::2]
    model.theta = theta
    model.save("m.safetensors")
    np.testing.assert_array_equal(nn.load("m.safetensors").theta, theta)
    archive.write(Path("a.safetensors"), archive.Archive({"x": np.asfortranarray(np.arange(6.0).reshape(2, 3))}, {}))
    np.testing.assert_array_equal(archive.read(Path("a.safetensors")).arrays["x"], np.arange(6.0).reshape(2, 3))


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="it is about files of PyTorch")
def test_torch_reads_a_state_dict_that_it_saved() -> None:
    import torch

    model, other = (nn.Network(nn.Dense(2), nn.Dense(2)).init((2,), seed=i, backend="torch") for i in (0, 1))
    torch.save({"model": model.state_dict(), "step": 3}, "loop.pt")
    kept = torch.load("loop.pt", weights_only=True)
    assert bool((other.load_state_dict(kept["model"]).theta == model.theta).all())
    for source in (kept["model"], kept, "loop.pt"):
        with pytest.raises(ValueError, match="has the layouts of this package"):  # a square weight would be transposed
            other.load_torch(source)
    with pytest.raises(TypeError, match=r"load_state_dict needs arrays by name.*got 'loop\.pt'"):
        other.load_state_dict("loop.pt")
    for layout in (pickle.loads(pickle.dumps(model.to_torch())), copy.deepcopy(model.to_torch())):
        with pytest.raises(ValueError, match="in PyTorch's layouts"):
            other.load_state_dict(layout)


def test_a_state_dict_goes_in_and_out(be: nn.Backend, host: nn.Backend) -> None:
    model, other = (network().init((2,), seed=seed, backend=be) for seed in (0, 1))
    model.fit(*moons(be), epochs=1)
    arrays = model.state_dict()
    assert list(arrays) == ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias", "1.mean", "1.variance"]
    assert other.load_state_dict(arrays) is other
    assert bool(be.xp.all(other.theta == model.theta))
    assert bool(be.xp.all(other.state == model.state))
    before = host.to_numpy(other.theta).copy()
    for wrong in (
        {"0.weight": arrays["0.weight"]},
        arrays | {"9.bias": arrays["0.bias"]},
        arrays | {"0.bias": arrays["1.mean"][:3]},
    ):
        with pytest.raises(ValueError, match=r"does not fit|has shape"):
            other.load_state_dict(wrong)
        np.testing.assert_array_equal(host.to_numpy(other.theta), before)


# --- Layers of one's own ---------------------------------------------------------------------------------------------


def test_a_layer_of_ones_own_is_registered_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "KNOWN", dict(settings.KNOWN))

    @dataclass(frozen=True)
    class Scale(nn.Layer):
        factors: tuple[float, ...] = (1.0,)

        def params(self, shape: Any) -> dict[str, Any]:
            return {"scale": nn.Param(shape[-1:], "ones")}

        def forward(self, params: Any, x: Any, ctx: Any) -> nn.Out:
            return nn.Out(x * params["scale"] * self.factors[0], lambda dy: (dy, {}))

    model = nn.Network(Scale((2.0, 3.0)), nn.Dense(2)).init((2,))
    with pytest.raises(ValueError, match=r"Scale cannot be saved.*@nn\.register"):
        model.save("m.safetensors")
    assert nn.register(Scale) is Scale
    assert nn.register(Scale) is Scale  # a cell of a notebook, run again
    model.save("m.safetensors")
    assert nn.load("m.safetensors").network == model.network
    del settings.KNOWN["Scale"]
    with pytest.raises(ValueError, match=r"m\.safetensors.*'Scale'.*@nn\.register"):
        nn.load("m.safetensors")


def squared(x: Any) -> Any:
    return x * x


def double(x: Any) -> Any:
    return 2.0 * x


def quartic(outputs: Any, target: Any) -> Any:
    return (outputs - target) ** 4


@pytest.fixture
def known() -> Iterator[dict[str, Any]]:
    """What files may use; after the test as before."""
    before = dict(settings.KNOWN)
    yield settings.KNOWN
    settings.KNOWN.clear()
    settings.KNOWN.update(before)


def test_functions_of_ones_own_are_registered_by_name(known: dict[str, Any], be: nn.Backend) -> None:
    """In a layer, in an activation and in a loss; the file has their names, and does not import them."""
    X, y = nn.datasets.line(20, seed=0, backend=be)
    network = nn.Network(nn.Lambda(squared), nn.Dense(1, nn.Activation(squared, double)))
    model = network.init((1,), seed=0, backend=be)
    model.fit(X, y, loss=nn.losses.custom(quartic), epochs=1)
    with pytest.raises(ValueError, match=r"Lambda: <function squared.*Give the function a name.*@nn\.register"):
        model.save("m.safetensors")
    assert nn.register(squared) is squared
    nn.register(squared)
    nn.register(double)
    model.save("m.safetensors")
    with pytest.warns(UserWarning, match=r"the loss quartic, which is not registered.*function with @nn\.register"):
        assert nn.load("m.safetensors").loss is None
    nn.register(quartic)
    model.save("m.safetensors")
    again = nn.load("m.safetensors", backend=be)
    assert again.network == network
    assert again.loss == nn.losses.custom(quartic)
    assert be.to_numpy(again(X)).tolist() == be.to_numpy(model(X)).tolist()
    del known["quartic"]
    with pytest.warns(UserWarning, match=r"the loss quartic, which is not registered.*function with @nn\.register"):
        assert nn.load("m.safetensors").loss is None
    del known["squared"]
    with pytest.raises(ValueError, match=r"'squared' that is not registered.*class or function with @nn\.register"):
        nn.load("m.safetensors")


@pytest.mark.usefixtures("known")
def test_a_registered_function_has_no_settings() -> None:
    nn.register(squared)
    assert settings.decode({"type": "squared"}) is squared
    with pytest.raises(ValueError, match="squared has no settings, but the file has x"):
        settings.decode({"type": "squared", "x": 1})


def test_what_cannot_be_registered_or_saved() -> None:
    for wrong in (lambda: None, 3, functools.partial(int)):
        with pytest.raises(TypeError, match=r"needs a dataclass.*or a function with a name, def f\(x\)"):
            nn.register(wrong)
    with pytest.raises(ValueError, match=r"nnarray\.layers\.dense\.Dense already has the name 'Dense'"):
        nn.register(dataclass(type("Dense", (), {})))
    model = nn.Network(nn.Dense(2, nn.Activation(lambda x: x, lambda x: x))).init((2,))
    with pytest.raises(ValueError, match=r"the network, Network, Dense, Activation: <function.*no code"):
        model.save("m.safetensors")
    model = nn.Network(nn.Dense(2)).init((2,))
    for wrong in (object(), float("nan"), "\ud800"):
        model.metadata = {"x": wrong}
        with pytest.raises(ValueError, match=r"must be JSON values.*Store an array as a list"):
            model.save("m.safetensors")
    assert not list(Path().iterdir())


# --- Going on --------------------------------------------------------------------------------------------------------

OPTIMIZERS = [
    nn.Adam(0.01),
    nn.AdamW(0.01),
    nn.SGD(nn.schedules.Plateau(0.1, patience=1), momentum=0.9),
    nn.RMSprop(0.01, clip_norm=1.0),
    nn.Adagrad(0.05),
]


def equal(a: nn.Model, b: nn.Model, be: nn.Backend) -> bool:
    return bool(be.xp.all(a.theta == b.theta)) and bool(be.xp.all(a.state == b.state))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("batch_size", [32, None])
@pytest.mark.parametrize("plain", [False, True])
def test_a_resumed_training_is_the_same_to_the_last_bit(
    host: nn.Backend, optimizer: Any, batch_size: Any, plain: bool
) -> None:
    net = nn.Network(nn.Dense(8, "tanh"), nn.Dense(2)) if plain else network()
    X, y = moons(host)

    def train(seed: int, *callbacks: nn.Callback, **options: Any) -> nn.Model:
        model = net.init((2,), seed=seed)
        stop = nn.EarlyStopping(patience=6)
        with_stop = {"callbacks": [stop, *callbacks], "validation": 0.2, "metrics": ["accuracy"]}
        model.fit(X, y, optimizer=optimizer, batch_size=batch_size, epochs=9, **with_stop, **options)
        return model

    whole = train(0)
    with pytest.raises(KeyboardInterrupt):
        train(0, InterruptAt(5), checkpoint="run.safetensors")
    resumed = train(7, checkpoint="run.safetensors", resume=True)
    assert equal(whole, resumed, host)
    without = {"seconds"}
    assert {n: c for n, c in whole.history.items() if n not in without} == {
        n: c for n, c in resumed.history.items() if n not in without
    }
    assert whole.history.steps == resumed.history.steps
    assert equal(nn.load("run.safetensors"), resumed, host)


def test_resuming_on_every_backend(be: nn.Backend) -> None:
    X, y = moons(be)

    def train(*callbacks: nn.Callback, epochs: int = 4, **options: Any) -> nn.Model:
        model = network().init((2,), seed=0, backend=be)
        model.fit(X, y, epochs=epochs, callbacks=callbacks, **options)
        return model

    whole = train()
    train(epochs=2, checkpoint="run.safetensors")
    resumed = train(checkpoint="run.safetensors", resume=True)
    assert equal(whole, resumed, be)


def test_a_training_that_is_over_is_not_trained_again(host: nn.Backend) -> None:
    X, y = moons(host)
    options: dict[str, Any] = {"epochs": 200, "validation": 0.3, "checkpoint": "run.safetensors", "resume": True}
    model = network().init((2,), seed=0)
    model.fit(X, y, callbacks=[nn.EarlyStopping(patience=2)], optimizer=nn.Adam(0.05), **options)
    assert len(model.history["epoch"]) < 200
    again = network().init((2,), seed=0)
    with pytest.warns(RuntimeWarning, match="nothing is trained: the training in the file ended"):
        history = again.fit(X, y, callbacks=[nn.EarlyStopping(patience=2)], optimizer=nn.Adam(0.05), **options)
    assert history["loss"] == model.history["loss"]
    assert equal(model, again, host)


def test_a_resumed_training_must_be_the_same_training(host: nn.Backend) -> None:
    X, y = moons(host)
    network().init((2,)).fit(X, y, epochs=1, checkpoint="run.safetensors")
    other = nn.Network(nn.Dense(3), nn.Dense(2)).init((2,))
    before = other.theta.copy()
    with pytest.raises(ValueError, match=r"run\.safetensors' cannot be resumed: its network is"):
        other.fit(X, y, epochs=2, checkpoint="run.safetensors", resume=True)
    np.testing.assert_array_equal(other.theta, before)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"seed": 1}, "its seed is 0, but here it is 1"),
        ({"batch_size": 8}, "its batch_size is 32, but here it is 8"),
        ({"optimizer": "sgd"}, "its optimizer is 'Adam"),
        ({"loss": nn.losses.CrossEntropy(label_smoothing=0.1)}, "its loss is"),
        ({"validation": 0.5}, "its examples is"),
        ({"callbacks": [nn.EarlyStopping("loss")]}, "trained with the callbacks none, but here they are EarlyStopping"),
        ({"optimizer": "lbfgs", "batch_size": None}, "L-BFGS keeps its memory inside SciPy"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            network().init((2,)).fit(X, y, epochs=2, checkpoint="run.safetensors", resume=True, **options)
    with pytest.raises(ValueError, match="resume=True needs checkpoint="):
        network().init((2,)).fit(X, y, resume=True)
    with pytest.raises(FileNotFoundError, match=r"there is no file 'none\.safetensors'"):
        network().init((2,)).fit(X, y, resume="none.safetensors")
    network().init((2,)).save("plain.safetensors")
    with pytest.raises(ValueError, match=r"cannot be resumed: its loss is None|no training to resume"):
        network().init((2,)).fit(X, y, resume="plain.safetensors")


def test_lbfgs_saves_models(host: nn.Backend) -> None:
    X, y = moons(host)
    model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)).init((2,))
    model.fit(X, y, optimizer="lbfgs", batch_size=None, epochs=3, checkpoint="run.safetensors")
    assert equal(nn.load("run.safetensors"), model, host)


def test_the_last_ones_are_kept(host: nn.Backend) -> None:
    X, y = moons(host)
    model = network().init((2,))
    model.fit(X, y, epochs=7, checkpoint=nn.Checkpoint("run.safetensors", every=2, keep=3))
    assert sorted(os.listdir()) == [*(f"run-epoch0000{i}.safetensors" for i in (4, 6, 7)), "run.safetensors"]
    assert len(nn.load("run-epoch00004.safetensors").history["loss"]) == 4
    assert equal(nn.load("run.safetensors"), model, host)
    assert equal(nn.load("run-epoch00007.safetensors"), model, host)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"path": "run.pt"}, ValueError, "got 'run.pt'. Use 'run.safetensors'; for PyTorch, use model.to_torch"),
        ({"path": 3}, TypeError, "path must be the path of a .safetensors file; got 3"),
        ({"path": "r.safetensors", "every": 0}, ValueError, "Checkpoint every must be an integer of at least 1"),
        ({"path": "r.safetensors", "keep": 0}, ValueError, "Checkpoint keep must be"),
    ],
)
def test_bad_checkpoints(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nn.Checkpoint(**wrong)


def test_a_checkpoint_that_cannot_be_written_is_reported_at_the_start(host: nn.Backend) -> None:
    X, y = moons(host)
    model = network().init((2,))
    Path("folder.safetensors").mkdir()
    for path, error, message in (
        ("no/run.safetensors", FileNotFoundError, "there is no folder 'no' to write"),
        ("folder.safetensors", IsADirectoryError, "it is a folder"),
    ):
        with pytest.raises(error, match=message):
            model.fit(X, y, checkpoint=path)
        assert model.history.steps == 0


# --- When things go wrong --------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_checkpoint_before(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network().init((2,), seed=0)
    model.save("m.safetensors")
    before = Path("m.safetensors").read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"cannot write 'm\.safetensors': No space left on device"):
        network().init((2,), seed=1).save("m.safetensors")
    assert Path("m.safetensors").read_bytes() == before
    assert os.listdir() == ["m.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
def test_a_file_that_does_not_fit_is_no_loss() -> None:
    """A limit of the system, not a stand-in: the write itself fails in the middle."""
    code = """
        import resource, signal, sys
        import nnarray as nn
        nn.Network(nn.Dense(8)).init((2,), seed=0).save("m.safetensors")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            nn.Network(nn.Dense(8000)).init((2,), seed=1).save("m.safetensors")
        except OSError as error:
            print(error)
    """
    done = run_python(code)
    assert "cannot write 'm.safetensors'" in done.stdout
    assert os.listdir() == ["m.safetensors"]
    assert nn.load("m.safetensors").theta.shape == (24,)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_whenever_it_is_killed_the_newest_checkpoint_loads_and_goes_on(host: nn.Backend) -> None:
    code = """
        import nnarray as nn
        X, y = nn.datasets.moons(64, noise=0.2, seed=0)
        model = nn.Network(nn.Dense(64, "tanh"), nn.Dense(2)).init((2,), seed=0)
        report = lambda run: print("an epoch", flush=True)
        kept = nn.Checkpoint("run.safetensors", keep=2)
        model.fit(X, y, epochs=1_000_000, callbacks=report, checkpoint=kept, resume=True)
    """
    draws, last = random.Random(0), 0
    for _ in range(6):
        with started(sys.executable, "-c", textwrap.dedent(code)) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.1 * draws.random())
            process.kill()
        if Path("run.safetensors").exists():
            model = nn.load("run.safetensors")
            assert len(model.history["loss"]) >= last
            last = len(model.history["loss"])
    assert last > 0
    X, y = nn.datasets.moons(64, noise=0.2, seed=0)
    whole = nn.Network(nn.Dense(64, "tanh"), nn.Dense(2)).init((2,), seed=0)
    whole.fit(X, y, epochs=last)
    assert equal(nn.load("run.safetensors"), whole, host)
    whole.fit(X, y, epochs=last, checkpoint="run.safetensors", resume=True)
    assert not list(Path().glob(".*.part"))  # what the kills left half written


def test_ctrl_c_saves_the_last_finished_epoch(host: nn.Backend) -> None:
    X, y = moons(host)

    def interrupt(run: nn.Run) -> None:
        if run.epoch == 5:
            signal.raise_signal(signal.SIGINT)  # noticed in the epoch that follows

    model = network().init((2,))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, epochs=100, callbacks=interrupt, checkpoint=nn.Checkpoint("run.safetensors", every=50))
    assert len(nn.load("run.safetensors").history["loss"]) == 5
    assert len(model.history["loss"]) == 5


# --- Damaged and hostile files ---------------------------------------------------------------------------------------


def refused(path: str = "bad.safetensors") -> str:
    """The one clean error, quickly."""
    begun = time.perf_counter()
    with pytest.raises(ValueError, match=r"bad\.safetensors") as caught:
        nn.load(path)
    assert type(caught.value) is ValueError
    assert time.perf_counter() - begun < 5
    return str(caught.value)


@pytest.fixture
def good(host: nn.Backend) -> bytes:
    model = network().init((2,))
    model.fit(*moons(host), epochs=2, checkpoint="good.safetensors", callbacks=[nn.EarlyStopping("loss")])
    return Path("good.safetensors").read_bytes()


def test_whatever_is_changed_is_noticed(good: bytes) -> None:
    draws = random.Random(0)
    for _ in range(1000):
        bad, kind = bytearray(good), draws.randrange(5)
        at = draws.randrange(len(bad))
        if kind == 0:
            bad[at] ^= 1 << draws.randrange(8)
        elif kind == 1:
            del bad[at:]
        elif kind == 2:
            bad[at : at + draws.randrange(1, 50)] = draws.randbytes(draws.randrange(1, 50))
        elif kind == 3:
            bad[:8] = draws.getrandbits(64).to_bytes(8, "little")
        else:
            bad += draws.randbytes(draws.randrange(1, 99))
        if bad != good:
            Path("bad.safetensors").write_bytes(bad)
            refused()


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def sign(header: dict[str, Any] | bytes, data: bytes) -> None:
    """A file whose checksum is right, whatever it says."""
    if isinstance(header, dict):
        header["__metadata__"]["digest"] = "0" * 64
        header = json.dumps(header, separators=(",", ":")).encode()
    whole = len(header).to_bytes(8, "little") + header + data
    digest = hashlib.sha256(whole).hexdigest().encode()
    Path("bad.safetensors").write_bytes(whole.replace(b'"digest":"' + b"0" * 64, b'"digest":"' + digest, 1))


def test_the_checksum_of_the_tests_is_the_right_one(good: bytes) -> None:
    sign(*parts(good))
    nn.load("bad.safetensors")


def changed_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inside for place in changed_places(each, (*path, key)))]


@pytest.mark.filterwarnings("ignore:.*was trained with the loss:UserWarning")  # one that is not known
def test_facts_that_make_no_sense_are_refused(good: bytes) -> None:
    header, data = parts(good)
    facts = json.loads(header["__metadata__"]["contents"])
    values = [
        None,
        True,
        -1,
        0,
        10**30,
        1.5,
        "",
        "Dense",
        [],
        {},
        [[]],
        {"type": "Dense"},
        {"type": "os.system"},
        "x" * 99,
    ]
    silent = set()
    for path in changed_places(facts)[1:]:
        for value in values:
            bad = copy.deepcopy(facts)
            inner = bad
            for key in path[:-1]:
                inner = inner[key]
            if inner[path[-1]] == value and type(inner[path[-1]]) is type(value):
                continue
            inner[path[-1]] = value
            header["__metadata__"]["contents"] = json.dumps(bad)
            sign(header, data)
            try:
                model = nn.load("bad.safetensors")
            except ValueError as error:
                assert "bad.safetensors" in str(error)  # noqa: PT017
                assert len(str(error)) < 1000  # noqa: PT017
            else:  # such as another name of the same function, or another dropout: no harm
                assert model.theta.shape == (58,)
                silent.add(".".join(map(str, path)))
    assert not {
        place
        for place in silent
        if not place.startswith(
            ("network", "metadata", "loss", "history.settings", "history.steps", "training", "frozen")
        )
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update({"params/0.bias": h["params/0.weight"]}), "not a safetensors file of NumPy's dtypes"),
        (lambda h: h["params/0.bias"].update(data_offsets=[0, 10**15]), "of NumPy's dtypes"),
        (lambda h: h["params/0.bias"].update(data_offsets=[-8, 0]), "of NumPy's dtypes"),
        (lambda h: h["params/0.bias"].update(shape=[2**62, 8]), "of NumPy's dtypes"),
        (lambda h: h["params/0.bias"].update(shape=[4, 2]), r"of another shape: params/0\.bias \(4, 2\) for \(8,\)"),
        (lambda h: h["params/0.bias"].update(shape=[-8]), "of NumPy's dtypes"),
        (lambda h: h["params/0.bias"].update(shape=[True]), "of NumPy's dtypes"),
        (lambda h: h["params/0.bias"].update(dtype="I64"), "array 'params/0.bias' has dtype int64, not float64"),
        (lambda h: h["params/0.bias"].update(dtype="F128"), "of NumPy's dtypes"),
        (lambda h: h.update({"../../etc/passwd": h.pop("params/0.bias")}), r"missing: params/0\.bias"),
        (
            lambda h: h.update({"params/9.bias": h.pop("params/0.bias")}),
            r"missing: params/0\.bias; unexpected: params/9",
        ),
        (lambda h: h.pop("__metadata__"), "not a model of nnarray"),
        (lambda h: h["__metadata__"].update(nnarray_format="2"), "newer version of nnarray .format 2; this one"),
        (lambda h: h["__metadata__"].update(nnarray_format="one"), "its format 'one' is not a number"),
        (lambda h: h["__metadata__"].update(contents="[" * 100_000), "JSON is damaged .RecursionError"),
        (lambda h: h["__metadata__"].update(contents="9" * 5_000), "JSON is damaged"),
        (lambda h: h["__metadata__"].update(contents="NaN"), "NaN is not JSON"),
        (lambda h: h["__metadata__"].update(contents='"\\ud800"'), "JSON is damaged"),
        (lambda h: h["__metadata__"].update(contents='{"a": 1, "a": 2}'), "a name is repeated"),
        (lambda h: h["__metadata__"].update(contents="3"), "not a JSON object"),
        (lambda h: h["__metadata__"].update(contents="{}"), "KeyError"),
        (lambda h: h["__metadata__"].pop("contents"), "'contents'"),
        (lambda h: h["__metadata__"].update(more=3), "its header is damaged"),
    ],
)
def test_hostile_headers(good: bytes, change: Callable[[Any], Any], message: str) -> None:
    header, data = parts(good)
    change(header)
    if "__metadata__" in header:
        sign(header, data)
    else:
        raw = json.dumps(header).encode()
        Path("bad.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    with pytest.raises(ValueError, match=message):
        nn.load("bad.safetensors")
    refused()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_is_not_smuggled_in(value: float) -> None:
    """By a file of others; what is saved here is looked at before."""
    network().init((2,)).save("good.safetensors")
    header, data = parts(Path("good.safetensors").read_bytes())
    at = header["params/0.weight"]["data_offsets"][0]
    sign(header, data[:at] + np.float64(value).tobytes() + data[at + 8 :])
    assert "array 'params/0.weight' contains NaN or infinity: row 0, column 0" in refused()


@pytest.mark.parametrize("claimed", [2**63, 2**64 - 1, 10**12, 33 * 2**20])
def test_a_huge_header_is_refused_before_it_is_read(claimed: int) -> None:
    with Path("bad.safetensors").open("wb") as file:
        file.write(claimed.to_bytes(8, "little") + b"{}")
        file.truncate(40 * 2**20)  # sparse
    assert "header" in refused()


def test_many_layers_take_no_more_time_than_they_are_long(good: bytes) -> None:
    header, data = parts(good)
    facts = json.loads(header["__metadata__"]["contents"])
    facts["network"]["layers"] = [facts["network"]["layers"][2]] * 30_000
    facts["network"]["names"] = [str(i) for i in range(30_000)]
    header["__metadata__"]["contents"] = json.dumps(facts)
    sign(header, data)
    refused()
    deep = facts["network"] | {"layers": [], "names": []}
    for _ in range(400):
        deep = {"type": "Network", "layers": [deep], "names": ["0"], "name": None, "recompute": False}
    facts["network"] = deep
    header["__metadata__"]["contents"] = json.dumps(facts)
    sign(header, data)
    refused()


def test_a_network_that_claims_terabytes_allocates_nothing(good: bytes) -> None:
    header, data = parts(good)
    facts = json.loads(header["__metadata__"]["contents"])
    facts["network"]["layers"][0]["units"] = 10**13
    header["__metadata__"]["contents"] = json.dumps(facts)
    sign(header, data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "of another shape" in refused()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_other_files(host: nn.Backend) -> None:
    save_file({"w": np.ones(3)}, "bad.safetensors")
    assert "not a model of nnarray" in refused()
    assert "load_torch" in refused()
    for content in (b"", b"1234567", b"PK\x03\x04" * 100, b"\x80\x04." * 100, b"[1]" * 50):
        Path("bad.safetensors").write_bytes(content)
        refused()
    with pytest.raises(FileNotFoundError, match=r"there is no file 'none\.safetensors'"):
        nn.load("none.safetensors")
    Path("folder.safetensors").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        nn.load("folder.safetensors")
    with pytest.raises(ValueError, match=r"must end in \.safetensors; got 'm\.pkl'"):
        nn.load("m.pkl")
    with pytest.raises(TypeError, match="the path of a"):
        nn.load(None)  # type: ignore[arg-type]


def test_a_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    network().init((2,)).save("m.safetensors")

    def forbid(self: Path, *_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbid)
    with pytest.raises(PermissionError, match=r"cannot read 'm\.safetensors': Permission denied"):
        nn.load("m.safetensors")


def test_sweeping_leaves_other_files_alone() -> None:
    for name in (".m.safetensors.abc.part", ".other.safetensors.abc.part", "m.safetensors", ".m.safetensors.part2"):
        Path(name).touch()
    files.sweep(Path("m.safetensors"))
    assert sorted(os.listdir()) == [".m.safetensors.part2", ".other.safetensors.abc.part", "m.safetensors"]


def test_nothing_on_the_way_of_loading_can_execute() -> None:
    """No pickle, no eval: the words do not stand in the files that read."""
    root = Path(nn.__file__).parent
    for file in (root / name for name in ("training/loading.py", "persistence/archive.py", "persistence/settings.py")):
        code = file.read_text(encoding="utf-8").replace("getattr(value, field.name)", "")  # of what is written
        code = code.replace("if name in layers.NAMES:\n        value = getattr(layers, name)", "")  # one of a table
        code = re.sub(r'getattr\(\w+, "__name__", (""|None)\)', "", code)  # a fixed name, not one of a file
        assert not [
            word for word in ("pickle", "eval(", "exec(", "import_module", "__import__", "getattr(") if word in code
        ]


# --- The end of a training, and what else is in the folder -----------------------------------------------------------


def with_early_stopping(epochs: int, *callbacks: Any, patience: int = 1000, **options: Any) -> nn.Model:
    X, y = nn.datasets.moons(60, noise=0.4, seed=0)
    model = nn.Network(nn.Dense(64, "relu"), nn.Dense(64, "relu"), nn.Dense(2)).init((2,), seed=0)
    stop = nn.EarlyStopping(patience=patience)
    model.fit(X, y, epochs=epochs, optimizer=nn.Adam(0.02), validation=0.4, callbacks=[stop, *callbacks], **options)
    return model


def test_a_training_that_was_over_may_go_on_and_still_knows_its_best_epoch(host: nn.Backend) -> None:
    whole = with_early_stopping(40)
    assert int(np.argmin(whole.history["val_loss"])) < 20  # nothing better comes in the second half
    with_early_stopping(20, checkpoint="run.safetensors")
    resumed = with_early_stopping(40, checkpoint="run.safetensors", resume=True)
    assert equal(whole, resumed, host)
    assert equal(nn.load("run.safetensors"), whole, host)


def test_more_patience_continues_a_training_that_early_stopping_ended(host: nn.Backend) -> None:
    """As if it had been given at once; with as little as before nothing is trained, which is said with what does."""
    whole = with_early_stopping(25, patience=1000)
    with_early_stopping(25, patience=2, checkpoint="run.safetensors")
    ended = len(nn.load("run.safetensors").history["epoch"])
    assert ended < 25
    says = rf"nothing is trained: .* after epoch {ended}, as val_loss has not improved since epoch .*with patience=3 or"
    with pytest.warns(RuntimeWarning, match=says):
        again = with_early_stopping(25, patience=2, checkpoint="run.safetensors", resume=True)
    assert len(again.history["epoch"]) == ended
    resumed = with_early_stopping(25, patience=1000, checkpoint="run.safetensors", resume=True)
    assert equal(whole, resumed, host)
    assert len(nn.load("run.safetensors").fit(*moons(host), epochs=2)["epoch"]) == 2


def test_a_training_that_a_callback_of_another_kind_ended_says_so(host: nn.Backend) -> None:
    def stop(run: nn.Run) -> None:
        run.stop("it is enough")

    with_early_stopping(9, stop, checkpoint="run.safetensors")
    with pytest.warns(RuntimeWarning, match=r"after epoch 1, as it is enough\. To train its model further.*nn\.load"):
        with_early_stopping(9, checkpoint="run.safetensors", resume=True)


def test_settings_of_long_texts_are_shown_where_they_differ(host: nn.Backend) -> None:
    X, y = moons(host)
    first, other = (nn.Network(*[nn.Dense(8, "tanh")] * 12, nn.Dense(9, act), nn.Dense(2)) for act in ("relu", "elu"))
    first.init((2,)).fit(X, y, epochs=1, checkpoint="run.safetensors")
    with pytest.raises(ValueError, match=r"its network is \.\.\..*'relu'.*, but here it is \.\.\..*'elu'"):
        other.init((2,)).fit(X, y, epochs=2, checkpoint="run.safetensors", resume=True)


@pytest.mark.parametrize("patience", [3, 1000])
def test_a_kill_before_the_last_save_is_mended_by_the_next_resume(
    host: nn.Backend, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    whole = with_early_stopping(30, patience=patience)
    with monkeypatch.context() as killed:
        killed.setattr("nnarray.training.checkpoints.CheckpointWriter.end_fit", lambda self: None)
        with_early_stopping(30, patience=patience, checkpoint="run.safetensors")
    assert not equal(nn.load("run.safetensors"), whole, host)  # the last epoch, not the best
    with pytest.warns(RuntimeWarning, match="nothing is trained") if patience == 3 else nullcontext():
        resumed = with_early_stopping(30, patience=patience, checkpoint="run.safetensors", resume=True)
    assert equal(whole, resumed, host)
    assert equal(nn.load("run.safetensors"), whole, host)


def test_ctrl_c_in_the_first_epoch_leaves_an_older_file_alone(host: nn.Backend) -> None:
    X, y = moons(host)
    network().init((2,)).fit(X, y, epochs=3, checkpoint="run.safetensors")
    before = Path("run.safetensors").read_bytes()
    model = network().init((2,), seed=1)
    signals = iter([True])
    real = nn.losses.CrossEntropy.per_example

    @dataclass(frozen=True)
    class Interrupting(nn.losses.CrossEntropy):
        def per_example(self, outputs: Any, target: Any) -> Any:
            if next(signals, False):
                signal.raise_signal(signal.SIGINT)
            return real(self, outputs, target)

    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, loss=Interrupting(), epochs=3, checkpoint="run.safetensors")
    assert Path("run.safetensors").read_bytes() == before


def test_other_files_in_the_folder_are_left_alone(host: nn.Backend) -> None:
    X, y = moons(host)
    names = ["run-epoch00002-my-best.safetensors", "run-epoch2.safetensors", "other-epoch00001.safetensors"]
    for name in names:
        Path(name).touch()
    network().init((2,)).fit(X, y, epochs=5, checkpoint=nn.Checkpoint("run.safetensors", keep=2))
    kept = ["run-epoch00004.safetensors", "run-epoch00005.safetensors", "run.safetensors"]
    assert sorted(os.listdir()) == sorted([*names, *kept])


def test_other_data_are_refused_also_of_the_same_shape(host: nn.Backend) -> None:
    X, y = moons(host)
    network().init((2,)).fit(X, y, epochs=1, checkpoint="run.safetensors")
    for other in ((X * 5 + 1, y), (X, 1 - y)):
        with pytest.raises(ValueError, match=r"its data is '.*', but here it is"):
            network().init((2,)).fit(*other, epochs=2, checkpoint="run.safetensors", resume=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_what_another_process_is_writing_is_not_swept_away() -> None:
    code = """
        import time
        from pathlib import Path
        from nnarray import files

        def slowly(part):
            part.write_bytes(b"half")
            print("writing", flush=True)
            input()
            part.write_bytes(b"whole")

        files.replace(Path("m.safetensors"), slowly)
    """
    with started(sys.executable, "-c", textwrap.dedent(code), stdin=PIPE) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdout.readline()
        files.sweep(Path("m.safetensors"))
        writer.stdin.write("\n")
        writer.stdin.flush()
        assert writer.wait(LIMIT) == 0
    assert Path("m.safetensors").read_bytes() == b"whole"


@pytest.mark.skipif(os.name == "nt", reason="Windows has its own links")
def test_a_link_stays_a_link() -> None:
    Path("far").mkdir()
    Path("m.safetensors").symlink_to(Path("far", "m.safetensors"))
    network().init((2,)).save("m.safetensors")
    assert Path("m.safetensors").is_symlink()
    assert os.listdir("far") == ["m.safetensors"]


def test_a_negative_variance_is_refused() -> None:
    network().init((2,)).save("good.safetensors")
    header, data = parts(Path("good.safetensors").read_bytes())
    end = header["state/1.variance"]["data_offsets"][1]
    sign(header, data[: end - 8] + np.float64(-1).tobytes() + data[end:])
    assert "a variance of its batch normalisation is negative" in refused()


def test_a_position_of_another_shape_is_refused() -> None:
    with_early_stopping(20, checkpoint="good.safetensors")  # which goes back to its best epoch: the position is apart
    header, data = parts(Path("good.safetensors").read_bytes())
    size = header["position/theta"]["shape"][0]
    header["position/theta"]["shape"] = [2, size // 2]
    sign(header, data)
    assert f"array 'position/theta' has shape (2, {size // 2}), not ({size},)" in refused()


# --- What is written can be read -------------------------------------------------------------------------------------

STEPS = 42
"""After which a velocity with momentum 0.99 and a gradient of 1e37 is beyond every float32."""


@dataclass(frozen=True)
class Pushed(nn.Layer):
    """y = x, with a parameter whose gradient is 1e37 whatever happens."""

    def params(self, shape: Any) -> dict[str, Any]:
        return {"scale": nn.Param((1,), "zeros")}

    def forward(self, params: Any, x: Any, ctx: Any) -> nn.Out:
        return nn.Out(x, lambda dy: (dy, {"scale": params["scale"] * 0 + 1e37}))


@dataclass(frozen=True)
class Timid(nn.SGD):
    """Remembers a velocity, and takes steps of a constant length."""

    def apply(self, theta: Any, gradient: Any, slots: Any, numbers: Any) -> Any:
        return theta - numbers["rate"] * gradient, {"velocity": self.momentum * slots["velocity"] + gradient}


@pytest.mark.parametrize("rule", [nn.SGD, Timid])
@pytest.mark.parametrize("batch_size", [4, None])
def test_what_overflows_ends_the_training_at_that_step(
    be: nn.Backend, host: nn.Backend, monkeypatch: pytest.MonkeyPatch, batch_size: int | None, rule: type[nn.SGD]
) -> None:
    """Though the loss stays finite, and in the middle of an epoch, of which later steps are to be undone."""
    monkeypatch.setattr(settings, "KNOWN", settings.KNOWN | {"Pushed": Pushed})
    X, each = be.asarray(np.ones((16, 1)), dtype="float32"), 4 if batch_size else 1
    model = nn.Network(Pushed()).init((1,), backend=be, dtype="float32")
    what = "a parameter" if rule is nn.SGD else "the optimizer's memory"
    where = rf"epoch {-(-STEPS // each)}, step {2 if batch_size else 1} of {each} \(.*last finite loss: 1\)"
    options = {"optimizer": rule(1e-30, momentum=0.99), "loss": "mse", "checkpoint": "run.safetensors"}
    with pytest.raises(nn.DivergenceError, match=f"^{what} became NaN or infinite in {where}"):
        model.fit(X, X * 0, **options, batch_size=batch_size, epochs=99)
    theta = velocity = 0.0
    for _ in range(STEPS - 1):
        velocity = 0.99 * velocity + 1e37
        theta -= 1e-30 * (velocity if rule is nn.SGD else 1e37)
    np.testing.assert_allclose(host.to_numpy(model.theta), [theta], rtol=1e-5)
    assert model.history.steps == STEPS - 1
    assert len(model.history["loss"]) == len(nn.load("run.safetensors").history["loss"]) == (STEPS - 1) // each


@pytest.mark.parametrize(
    ("optimizer", "batch_size"),
    [("adam", 32), ("adam", None), ("rmsprop", 32), ("adagrad", None), (nn.SGD(1e-30, momentum=0.9), 32)],
)
@pytest.mark.filterwarnings("ignore:(in|after) [34] epochs:RuntimeWarning")  # that such numbers should be standardised
def test_large_numbers_train_to_a_file_that_goes_on_or_end_the_training(
    be: nn.Backend, host: nn.Backend, optimizer: Any, batch_size: int | None
) -> None:
    X = (np.random.default_rng(0).random((200, 3)) * 1e10).astype("float32")
    y = X @ np.asarray([[1], [0.5], [0.2]], dtype="float32")
    X, y, net = be.asarray(X), be.asarray(y), nn.Network(nn.Dense(16, "relu"), nn.Dense(1))
    options = {"loss": "mse", "optimizer": optimizer, "batch_size": batch_size, "checkpoint": "run.safetensors"}
    model = net.init((3,), backend=be, dtype="float32")
    try:
        model.fit(X, y, epochs=3, **options)
    except nn.DivergenceError:
        if Path("run.safetensors").exists():  # of an epoch before
            assert len(nn.load("run.safetensors").history["loss"]) == len(model.history["loss"])
    else:
        assert equal(nn.load("run.safetensors", backend=be), model, be)
        model.fit(X, y, epochs=4, resume=True, **options)
    assert np.isfinite(host.to_numpy(model.theta)).all()


def test_losses_whose_sum_overflows_are_named(host: nn.Backend) -> None:
    X, y = np.zeros((4, 1)), np.full((4, 1), 1e154)
    options = {"loss": nn.losses.MeanSquaredError(reduction="sum"), "optimizer": nn.SGD(1e-30), "batch_size": 1}
    model = nn.Network(nn.Dense(1)).init((1,))
    with pytest.raises(nn.DivergenceError, match="the sum of the losses became NaN or infinite in epoch 1, step 4"):
        model.fit(X, y, **options, epochs=2)


@pytest.mark.parametrize("checkpoint", [None, "run.safetensors"])
def test_running_statistics_that_overflow_end_the_training(be: nn.Backend, host: nn.Backend, checkpoint: Any) -> None:
    """The outputs are finite: something divided by infinity."""
    X, y = np.random.default_rng(0).normal(size=(16, 2)) * 1e20, np.zeros((16, 2))
    model = nn.Network(nn.BatchNorm()).init((2,), backend=be, dtype="float32")
    X, y = be.asarray(X, dtype="float32"), be.asarray(y, dtype="float32")
    with pytest.raises(nn.DivergenceError, match="a running variance became NaN or infinite in epoch 1, step 1 of 4"):
        model.fit(X, y, loss="mse", epochs=2, batch_size=4, checkpoint=checkpoint)
    assert np.isfinite(host.to_numpy(model.state)).all()
    assert model.history.steps == 0
    assert not os.listdir()


def test_a_model_that_could_not_be_loaded_is_not_saved(be: nn.Backend, host: nn.Backend) -> None:
    model = network().init((2,), backend=be)
    X, y = moons(be)
    model.fit(X, y, epochs=1, checkpoint="run.safetensors")
    model.save("m.safetensors")
    before = {name: Path(name).read_bytes() for name in os.listdir()}
    theta = host.to_numpy(model.theta).copy()
    theta[3], theta[4] = np.nan, np.inf
    bad = be.asarray(theta)

    def spoil(run: nn.Run) -> None:
        run.model.restore((bad, run.model.state))

    with pytest.raises(ValueError, match=r"'run\.safetensors' cannot be saved: array 'params/0\.weight' contains NaN"):
        network().init((2,), backend=be).fit(X, y, epochs=2, checkpoint="run.safetensors", callbacks=spoil)
    model.restore((bad, model.state))
    with pytest.raises(ValueError, match=r"cannot be saved: array 'params/0\.weight' contains NaN or infinity: row 0"):
        model.save("m.safetensors")
    with pytest.raises(ValueError, match=r"'run\.safetensors' cannot be saved"):
        model.fit(X, y, epochs=1, checkpoint="run.safetensors")
    assert {name: Path(name).read_bytes() for name in os.listdir()} == before


def test_a_narrower_dtype_that_cannot_hold_the_numbers_is_refused() -> None:
    nn.Network(nn.Dense(1)).init((1,), dtype="float32").set_params({"0.bias": [1e6]}).save("m.safetensors")
    with pytest.raises(ValueError, match=r"'m\.safetensors': float16 cannot hold 1e\+06.* Load it in a dtype"):
        nn.load("m.safetensors", dtype="float16")


class Notes(nn.Callback):
    """Remembers all kinds of things, as callbacks of one's own do."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"best": np.inf, "scores": [1.0, np.nan, {"a": -np.inf}], **self.known}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loaded = state

    def on_epoch_end(self, run: nn.Run) -> None:
        if run.epoch % 2:
            run.history.append({"now and then": np.inf})
        theta = run.model.snapshot()[0]
        self.known = {"theta": theta, "worst": theta * np.nan, "count": np.arange(3), "mean": np.float64(0.1)}


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_what_callbacks_remember_comes_back_whatever_it_is(be: nn.Backend, host: nn.Backend, dtype: str) -> None:
    dtype = dtype if dtype in be.dtypes else "float32"
    X, y = moons(be)
    options = {"metrics": [lambda outputs, y: np.nan], "checkpoint": "run.safetensors", "validation": 0.2}
    notes, again = Notes(), Notes()
    network().init((2,), backend=be, dtype=dtype).fit(X, y, epochs=3, callbacks=[notes], **options)
    model = network().init((2,), backend=be, dtype=dtype)
    model.fit(X, y, epochs=3, callbacks=[again], resume=True, **options)
    plain = {name: value for name, value in again.loaded.items() if not hasattr(value, "shape")}
    assert repr(plain) == repr({"best": np.inf, "scores": [1.0, np.nan, {"a": -np.inf}]})
    assert again.loaded["theta"].dtype == model.theta.dtype
    for name in ("theta", "worst", "count"):
        np.testing.assert_array_equal(*(host.to_numpy(x[name]).astype(float) for x in (again.loaded, notes.known)))
    assert float(again.loaded["mean"]) == pytest.approx(0.1, abs=1e-8)
    assert model.history["now and then"] == [np.inf, np.inf]
    assert np.isnan(model.history["<lambda>"]).all()


def test_what_callbacks_remember_may_be_of_another_library(be: nn.Backend, host: nn.Backend) -> None:
    torch = pytest.importorskip("torch")
    kept = {
        name: torch.tensor([0.0, 1.0]).to(getattr(torch, name))
        for name in ("bfloat16", "float16", "float64", "bool", "uint8")
    }
    X, y = moons(be)
    notes, again = Notes(), Notes()
    for each, options in ((notes, {"epochs": 2}), (again, {"epochs": 3, "resume": True})):
        each.on_epoch_end = lambda run, each=each: each.known.update(kept)  # type: ignore[method-assign]
        model = network().init((2,), backend=be, dtype="float32")
        model.fit(X, y, callbacks=[each], checkpoint="run.safetensors", **options)
    for name in kept:
        np.testing.assert_array_equal(host.to_numpy(again.loaded[name]).astype(float), [0.0, 1.0])
    assert len(model.history["loss"]) == 3


def test_what_callbacks_cannot_remember_is_reported_before_anything_is_written(host: nn.Backend) -> None:
    X, y = moons(host)
    for wrong, message in (
        (
            np.asarray(["a"]),
            "'wrong' of the state of Notes has dtype <U1, but a file has real numbers only. Use a list",
        ),
        (np.asarray([1j]), "'wrong' of the state of Notes has dtype complex128, but a file has real numbers"),
        (object(), "the state of Notes must be"),
    ):
        notes = Notes()
        notes.on_epoch_end = lambda run, wrong=wrong, notes=notes: notes.known.update(wrong=wrong)  # type: ignore
        with pytest.raises(ValueError, match=message):
            network().init((2,)).fit(X, y, epochs=2, callbacks=[notes], checkpoint="run.safetensors")
    assert not os.listdir()


def test_early_stopping_remembers_an_infinite_best(host: nn.Backend) -> None:
    """To the last bit: what follows infinity is better, what follows NaN is not."""
    values = iter([np.inf, 3.0, 2.0])
    stop, again = nn.EarlyStopping("loss", patience=9), nn.EarlyStopping("loss", patience=9)
    model = nn.Network(nn.Dense(2)).init((2,))
    run = nn.Run(model, model.history, 9)
    run.history.append({"epoch": 1.0, "loss": next(values)})
    stop.on_epoch_end(run)
    again.load_state_dict(stop.state_dict())
    for each in (stop, again):
        run.history.columns = {"epoch": [1.0, 2.0], "loss": [np.inf, 3.0]}
        each.on_epoch_end(run)
    assert again.best == stop.best == 3.0


def test_metadata_that_would_be_refused_is_not_written() -> None:
    model = network().init((2,))
    model.save("m.safetensors")
    before = Path("m.safetensors").read_bytes()
    for wrong, message in (
        ({1: "a", "1": "b"}, "a name is repeated"),
        ({"text": "x" * (33 * 2**20)}, "may take at most 33554432 bytes; got"),
        (["a list"], "'m.safetensors' cannot be saved: its frozen parameters or its metadata"),
    ):
        model.metadata = wrong  # type: ignore[assignment]
        with pytest.raises(ValueError, match=message):
            model.save("m.safetensors")
    assert Path("m.safetensors").read_bytes() == before
    assert os.listdir() == ["m.safetensors"]


def test_a_longer_training_is_not_replaced_by_a_shorter_one(host: nn.Backend) -> None:
    X, y = moons(host)
    model = network().init((2,), seed=0, backend=host)
    model.fit(X, y, epochs=3, checkpoint="run.safetensors")
    whole, theta = Path("run.safetensors").read_bytes(), model.theta
    with pytest.raises(ValueError, match=r"3 epochs, and one with 2 would replace it.*epochs=5.*'run-2\.safetensors'"):
        model.fit(X, y, epochs=2, checkpoint="run.safetensors")
    assert Path("run.safetensors").read_bytes() == whole
    assert model.theta is theta
    model.fit(X, y, epochs=3, checkpoint="run.safetensors")  # as long: the same call again
    model.fit(X, y, epochs=4, checkpoint="run.safetensors", resume=True)
    nn.Network(nn.Dense(2)).init((2,), backend=host).fit(
        X, y, epochs=1, checkpoint="run.safetensors"
    )  # another network
    Path("run.safetensors").write_bytes(b"no model")
    model.fit(X, y, epochs=1, checkpoint="run.safetensors")
