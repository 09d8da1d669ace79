"""Who computes follows from the call alone: each engine gives what the layers give, and says who it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import nnarray as nn
from nnarray.engines import training as plans
from nnarray.kernels import compilation, engines
from tests.processes import run_python
from tests.tolerances import close

NETWORK = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2))


def usable(be: nn.Backend) -> list[str]:
    """The engines of this backend that compute here."""
    needs = {"numba": compilation.has_loops(), "cudnn": compilation.has_module("cudnn")}
    return ["layers", *(name for name in be.library.engines if needs.get(name, True))]


def moons(be: nn.Backend) -> tuple:
    return nn.datasets.moons(64, noise=0.1, seed=0, backend=be, dtype="float32")


def test_every_engine_trains_and_predicts_as_the_layers_do(be: nn.Backend, host: nn.Backend) -> None:
    X, y = moons(be)
    found = {}
    for engine in usable(be):
        model = NETWORK.init((2,), seed=1, backend=be, dtype="float32", engine=engine)
        history = model.fit(X, y, epochs=3, seed=2, validation=0.25)
        assert history.settings["engine"] == engine
        found[engine] = [host.to_numpy(each) for each in (model.theta, model(X), model.predict(X, batch_size=9))]
        assert [*model.copy().fit(X, y, epochs=1).settings.items()][-1] == ("engine", engine)
    for each in found.values():
        for got, want in zip(each, found["layers"], strict=True):
            close(got, want, "float32")


def test_the_engine_of_a_call_is_not_the_model_s(be: nn.Backend) -> None:
    X, y = moons(be)
    model = NETWORK.init((2,), seed=1, backend=be, dtype="float32")
    assert model.fit(X, y, epochs=1, engine="layers").settings["engine"] == "layers"
    assert model.engine == "auto"
    assert model.fit(X, y, epochs=1).settings["engine"] == engines.resolved("auto", model.theta)
    model.engine = "layers"
    assert model.fit(X, y, epochs=1).settings["engine"] == "layers"


def test_layers_never_prepare_and_never_take_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise AssertionError

    X, y = nn.datasets.moons(64, seed=0, dtype="float32")
    monkeypatch.setattr(compilation, "_imported", none)
    pictures = np.ones((4, 8, 8, 3), dtype="float32")
    photos = nn.Network(nn.Conv2D(4, 3), nn.MaxPool2D(2), nn.BatchNorm(), nn.Flatten(), nn.Dense(2))
    for engine in ("layers", "numpy"):
        models = [
            each.init(shape, dtype="float32", engine=engine)
            for each, shape in ((NETWORK, (2,)), (photos, pictures.shape[1:]))
        ]
        for model, (inputs, labels) in zip(models, ((X, y), (pictures, np.arange(4) % 2)), strict=True):
            model.fit(inputs, labels, epochs=1, validation=0.5, optimizer=nn.Adam())
            model(inputs)
            found = nn.training_step(model, inputs, labels)
            nn.Adam().step(model, found.gradient, nn.Adam().slots(model.theta), 0)
            model.input_gradient(inputs)
            nn.explain(model, inputs, labels)
    monkeypatch.setattr(plans, "Steps", none)
    models[0].fit(X, y, epochs=1, engine="layers")


def test_an_engine_that_is_not_there_says_which_are(be: nn.Backend) -> None:
    X, y = moons(be)
    model = NETWORK.init((2,), seed=0, backend=be, dtype="float32")
    for call in (
        lambda: NETWORK.init((2,), backend=be, engine="turbo"),
        lambda: model.fit(X, y, engine="turbo"),
        lambda: model.predict(X, engine="turbo"),
        lambda: setattr(model, "engine", "turbo"),
    ):
        with pytest.raises(ValueError, match=r"engine must be one of 'auto', 'layers'.* got 'turbo'"):
            call()
    if not be.library.engines:
        with pytest.raises(ValueError, match="got 'numba'"):
            model.predict(X, engine="numba")
    assert len(model.history) == 0


def test_an_engine_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "_imported", lambda part: None)
    with pytest.raises(ImportError, match=r"pip install 'nnarray\[fast\]'"):
        NETWORK.init((2,), engine="numba")


def test_a_call_within_another_has_its_own_engine() -> None:
    """Also one that the call around it goes without."""
    pytest.importorskip("numba")
    X, y = nn.datasets.moons(64, seed=0, dtype="float32")
    model = NETWORK.init((2,), dtype="float32")
    found = []

    def predict(run: nn.Run) -> None:
        found.append((model.predict(X, engine="numba"), NETWORK.init((2,), dtype="float32", engine="numba").engine))

    model.fit(X, y, epochs=1, engine="layers", callbacks=[predict])
    ((outputs, engine),) = found
    np.testing.assert_array_equal(outputs, model.predict(X, engine="numba"))
    assert engine == "numba"


def test_auto_is_the_fastest_that_is_installed(monkeypatch: pytest.MonkeyPatch, host: nn.Backend) -> None:
    theta = host.xp.zeros(3)
    monkeypatch.setattr(engines, "has_loops", lambda: True)
    assert engines.resolved("auto", theta) == "numba"
    monkeypatch.setattr(engines, "has_loops", lambda: False)
    assert engines.resolved("auto", theta) == "numpy"
    assert engines.resolved("layers", theta) == "layers"


def test_a_model_on_another_library_has_its_engine(be: nn.Backend) -> None:
    model = NETWORK.init((2,), backend="numpy", engine="numpy")
    moved = model.to(be, dtype="float32")
    assert moved.engine == ("numpy" if be.library.name == "numpy" else "auto")


def test_what_a_callback_writes_into_a_tensor_is_trained_on() -> None:
    torch = pytest.importorskip("torch")
    X, y = moons(nn.backend("torch"))
    model = NETWORK.init((2,), seed=1, backend="torch", dtype="float32")

    def written(run: nn.Run) -> None:
        run.model.theta.mul_(0.5)

    def set_anew(run: nn.Run) -> None:
        run.model.theta = 0.5 * run.model.theta

    other = model.copy()
    model.fit(X, y, epochs=3, callbacks=[written])
    other.fit(X, y, epochs=3, callbacks=[set_anew])
    assert torch.equal(model.theta, other.theta)


def test_the_layers_compute_where_the_files_of_all_other_engines_are_left_out(tmp_path: Path) -> None:
    """A copy of the package without them, in a process of its own."""
    copied = Path(shutil.copytree(Path(nn.__file__).parent, tmp_path / "nnarray"))
    shutil.rmtree(copied / "kernels" / "numba")
    for name in ("engines/training", "engines/inference", "kernels/numpy/chain", "kernels/numpy/stages"):
        (copied / f"{name}.py").unlink()
    run_python(
        """
        import nnarray as nn
        assert nn.__file__.startswith(FOLDER), nn.__file__
        X, y = nn.datasets.moons(64, seed=0, dtype="float32")
        network = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2))
        photos = nn.Network(nn.Conv2D(4, 3, activation="relu"), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(2))
        for engine in ("layers", "auto"):
            model = network.init((2,), seed=0, dtype="float32", engine=engine)
            assert model.fit(X, y, epochs=2, validation=0.25).settings["engine"] == "layers"
            model.predict(X)
            images = X.reshape(2, 8, 8, 1)
            photos.init((8, 8, 1), dtype="float32", engine=engine).fit(images, y[:2], epochs=1)
        for engine in ("numpy", "numba"):
            try:
                network.init((2,), engine=engine)
            except ValueError as error:
                assert "one of 'auto', 'layers' for numpy" in str(error), error
            else:
                raise AssertionError(engine)
        """.replace("FOLDER", repr(str(tmp_path))).replace(".model\n", "\n"),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
