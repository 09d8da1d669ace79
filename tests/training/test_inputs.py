"""Networks of several inputs: X is a mapping of named arrays, from `fit` to the file and back."""

from __future__ import annotations

import html
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.tolerances import to_host

RNG = np.random.default_rng(1)
N = 40
X = {"words": RNG.integers(0, 9, (N, 5)), "ages": RNG.normal(size=(N, 2))}
Y = ((X["words"] == 3).any(axis=1) ^ (X["ages"][:, 0] > 0)).astype(np.int64)
SHAPE = {"words": (5,), "ages": (2,)}
NET = nn.Network(
    nn.Inputs(
        {
            "words": nn.Network(nn.Embedding(9, 4, padding_index=0), nn.GlobalAvgPool()),
            "ages": nn.Dense(3, "tanh"),
        }
    ),
    nn.Dense(6, "tanh"),
    nn.Dense(2),
)
FIT: dict[str, Any] = {"epochs": 3, "batch_size": 16, "optimizer": nn.Adam(0.03), "progress": False}


def on(be: nn.Backend, dtype: str | None = None) -> dict[str, Any]:
    return {"words": be.asarray(X["words"]), "ages": be.asarray(X["ages"], dtype=dtype)}


def test_training_equals_that_on_numpy(be: nn.Backend) -> None:
    dtype = "float64" if "float64" in be.dtypes else "float32"
    model, host = NET.init(SHAPE, backend=be, dtype=dtype), NET.init(SHAPE, dtype=dtype)
    settings = FIT | {"validation": 0.25, "metrics": ["accuracy"]}
    history = model.fit(on(be, dtype), be.asarray(Y), **settings)
    want = host.fit(X, Y, **settings)
    assert history["loss"] == pytest.approx(want["loss"], rel=1e-3 if dtype == "float32" else 1e-10)
    assert history["val_accuracy"] == pytest.approx(want["val_accuracy"])
    nn.testing.assert_close(model.predict(on(be, dtype), batch_size=7), host.predict(X), c=3000)


def test_network_of_two_inputs_equals_pytorch(be: nn.Backend, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    model = NET.init(SHAPE, backend=be, dtype=dtype)
    value, gradient = nn.value_and_grad(model, on(be, dtype), be.asarray(Y))
    p = {name: torch.tensor(to_host(be, x), requires_grad=True) for name, x in model.params.items()}
    words, ages = torch.tensor(X["words"]), torch.tensor(X["ages"].astype(dtype).astype(float))
    counts = (words != 0).to(torch.float64)[..., None]
    vectors = torch.nn.functional.embedding(words, p["0.words.0.weight"], padding_idx=0)
    mean = (vectors * counts).sum(1) / counts.sum(1)
    joined = torch.cat([mean, torch.tanh(ages @ p["0.ages.weight"] + p["0.ages.bias"])], dim=1)
    outputs = torch.tanh(joined @ p["1.weight"] + p["1.bias"]) @ p["2.weight"] + p["2.bias"]
    loss = torch.nn.functional.cross_entropy(outputs, torch.tensor(Y))
    loss.backward()
    nn.testing.assert_close(value, loss.detach().numpy())
    nn.testing.assert_close(gradient, np.concatenate([x.grad.numpy().ravel() for x in p.values()]))


def test_file_keeps_the_inputs(tmp_path: Path, be: nn.Backend) -> None:
    model = NET.init(SHAPE, backend=be)
    model.save(tmp_path / "model.safetensors")
    again = nn.load(tmp_path / "model.safetensors", backend=be)
    assert again.inputs == model.inputs
    assert again.network == model.network
    assert again.inputs["words"].kind.below == 9
    given = on(be)
    assert to_host(be, again(given)).tolist() == to_host(be, model(given)).tolist()


def test_resumed_training_has_the_same_bits(tmp_path: Path) -> None:
    whole, first, second = (NET.init(SHAPE) for _ in range(3))
    settings = FIT | {"validation": 0.25}
    whole.fit(X, Y, **settings)
    first.fit(X, Y, **settings | {"epochs": 1}, checkpoint=tmp_path / "run.safetensors")
    second.fit(X, Y, **settings, checkpoint=tmp_path / "run.safetensors", resume=True)
    assert second.theta.tolist() == whole.theta.tolist()
    changed = {**X, "ages": X["ages"] + 1.0}
    with pytest.raises(ValueError, match="its data is"):
        second.fit(changed, Y, **settings, checkpoint=tmp_path / "run.safetensors", resume=True)


def test_files_and_arrays_together_have_the_bits_of_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", X["words"])
    np.save(tmp_path / "ages.npy", X["ages"])
    words, ages = (nn.datasets.memory_mapped(tmp_path / f"{name}.npy") for name in ("words", "ages"))
    model, other = NET.init(SHAPE), NET.init(SHAPE)
    settings = FIT | {"validation": 0.25}
    want = model.fit(X, Y, **settings)
    for given in ({"words": words, "ages": ages}, {"words": words, "ages": X["ages"]}):
        other = NET.init(SHAPE)
        assert other.fit(given, Y, **settings)["val_loss"] == want["val_loss"]
        assert other.theta.tolist() == model.theta.tolist()
        assert other.predict(given, batch_size=16).tolist() == model.predict(X, batch_size=16).tolist()
    np.save(tmp_path / "wrong.npy", X["words"] + 5)
    with pytest.raises(ValueError, match=r"X\['words'\] must hold integers from 0 to 8"):
        other.predict({"words": nn.datasets.memory_mapped(tmp_path / "wrong.npy"), "ages": ages})


def test_weights_accumulation_and_average() -> None:
    """What goes with batches goes with batches of several inputs."""
    weights = np.where(Y == 1, 2.0, 1.0)
    together, apart = NET.init(SHAPE), NET.init(SHAPE)
    settings = FIT | {"shuffle": False, "sample_weight": weights, "ema": 0.9, "loss": "cross_entropy"}
    together.fit(X, Y, **settings | {"batch_size": 20})
    apart.fit(X, Y, **settings | {"batch_size": 10, "accumulate": 2})
    nn.testing.assert_close(apart.theta, together.theta)


def test_learning_rate_search_own_loop_and_lbfgs() -> None:
    model = NET.init(SHAPE)
    assert model.find_lr(X, Y, steps=10).rates
    before = float(nn.value_and_grad(model, X, Y)[0])
    assert float(nn.training_step(model, X, Y).loss) == pytest.approx(before)
    pytest.importorskip("scipy")
    history = model.fit(X, Y, optimizer="lbfgs", batch_size=None, epochs=5, progress=False)
    assert history["loss"][-1] < before


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (X["ages"], r"takes inputs by name; got ndarray .* Pass X=\{'words': \.\.\., 'ages': \.\.\.\}"),
        ({"words": X["words"]}, r"X does not fit: missing \['ages'\], unknown \[\]"),
        ({**X, "more": X["ages"]}, r"X does not fit: missing \[\], unknown \['more'\]"),
        ({**X, "ages": X["ages"][:, :1]}, r"expects \(batch, 2\), .* got X\['ages'\] of shape \(40, 1\)"),
        (
            {**X, "ages": X["ages"][:7]},
            r"(same number of rows; got 40 in X\['words'\], 7 in X\['ages'\])|has 7 examples",
        ),
        ({**X, "words": X["words"] * 1.5}, r"X\['words'\] must hold integers from 0 to 8; got dtype float64"),
        ({**X, "ages": [1.0]}, r"X\['ages'\] must be an array; got list"),
    ],
)
def test_what_does_not_fit_is_named(given: Any, match: str) -> None:
    model = NET.init(SHAPE)
    calls = (
        model,
        model.predict,
        lambda X: model.fit(X, Y),
        lambda X: model.fit(X, Y, validation=0.25),
        lambda X: nn.value_and_grad(model, X, Y),
        lambda X: nn.explain(model, X, Y),
    )
    for call in calls:
        with pytest.raises((TypeError, ValueError), match=match):
            call(given)


def test_numbers_that_are_none_are_found_in_each_input() -> None:
    model, spoiled = NET.init(SHAPE), {**X, "ages": np.where(X["ages"] > 2, np.nan, X["ages"])}
    spoiled["ages"][3, 1] = np.nan
    with pytest.raises(ValueError, match=r"X\['ages'\] contains NaN or infinity: row \d+, column \d"):
        model.fit(spoiled, Y)
    with pytest.raises(ValueError, match=r"validation_X\['ages'\] contains NaN"):
        model.fit(X, Y, validation=(spoiled, Y))


def test_split_and_batches_take_named_arrays(be: nn.Backend) -> None:
    given, y = on(be), be.asarray(Y)
    X_train, X_test, y_train, y_test = nn.datasets.train_test_split(given, y, test_size=10, seed=3)
    alone = nn.datasets.train_test_split(given["words"], y, test_size=10, seed=3)
    assert to_host(be, X_test["words"]).tolist() == to_host(be, alone[1]).tolist()
    assert [x.shape[0] for x in (X_train["ages"], y_train, X_test["ages"], y_test)] == [30, 30, 10, 10]
    X_batch, y_batch = next(nn.datasets.batches(given, y, batch_size=16, seed=0))
    assert (X_batch["words"].shape, X_batch["ages"].shape, y_batch.shape) == ((16, 5), (16, 2), (16,))
    with pytest.raises(ValueError, match=r"X\['words'\] and X\['ages'\] must have the same number of rows"):
        nn.datasets.batches({**given, "ages": given["ages"][:3, ...]}, y)


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((5,), r"takes inputs by name; got the shape \(5,\)\. Write init\(\{'words': X\['words'\]\.shape\[1:\]"),
        ([(5,), (2,)], r"takes inputs by name; got the shape \[\(5,\), \(2,\)\]\. Write init"),
        ({"words": (5,)}, r"takes inputs by name; got shapes of 'words'\. Write init"),
        ({"words": (5,), "ages": (0,)}, r"shape\['ages'\] must be a tuple of integers above 0"),
    ],
)
def test_shapes_that_do_not_fit(shape: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        NET.init(shape)
    with pytest.raises(ValueError, match="takes one array; got the shapes of 'a'"):
        nn.Network(nn.Dense(2)).init({"a": (2,)})
    with pytest.raises(TypeError, match=r"shape\['ages'\] .* got 2\. If X is .*'ages': X\['ages'\]\.shape"):
        NET.init({"words": (5,), "ages": 2})
    with pytest.raises(
        ValueError, match=r"Inputs can concatenate .*; got \{'a': \(4, 2\), 'b': \(3,\)\}\. nn\.GlobalAvgPool"
    ):
        nn.Network(nn.Inputs({"a": nn.Dense(2), "b": nn.Dense(3)})).init({"a": (4, 2), "b": (3,)})
    with pytest.raises(ValueError, match="the mask must have the axes of the values"):
        nn.Network(nn.Masked(nn.GlobalAvgPool())).init({"values": (4, 2), "mask": (3,)})


def test_it_is_shown() -> None:
    model = NET.init(SHAPE)
    assert "Inputs({'words': Network(Embedding(9, 4, padding_index=0), GlobalAvgPool()), 'ages': Dense" in repr(model)
    assert "words" in str(model.summary())
    explanation = nn.explain(model, X, Y)
    assert explanation.ok
    assert "x['words'] = shape (32, 5)" in str(explanation)
    assert html.escape("x['ages']") in explanation._repr_html_()


def test_the_picture_names_the_inputs() -> None:
    pytest.importorskip("matplotlib")
    texts = {text.get_text() for text in NET.init(SHAPE).plot().texts}
    assert {"input\nwords, ages", "words\n5", "ages\n2", "embedding 9 × 4\n5 × 4"} <= texts


def test_jit_of_a_network_of_several_inputs() -> None:
    jax = pytest.importorskip("jax")
    be = nn.backend("jax")
    model, given = NET.init(SHAPE, backend=be), on(be)
    np.testing.assert_allclose(jax.jit(model)(given), model(given), rtol=1e-6)
    gradient = jax.grad(lambda theta: nn.losses.CrossEntropy()(model.with_theta(theta)(given), be.asarray(Y)))(
        model.theta
    )
    nn.testing.assert_close(gradient, np.asarray(nn.value_and_grad(model, given, be.asarray(Y))[1]))


def test_one_feature_without_an_axis_is_not_swapped(host: nn.Backend) -> None:
    X = host.asarray(np.linspace(-1.0, 1.0, 12))
    model = nn.Network(nn.Dense(1)).init((1,), backend=host)
    with pytest.raises(ValueError, match=r"got X of shape \(12,\)\. Add an axis for the one feature .*: X\[:, None\]"):
        model.fit(X, X[:, None])


def test_bytes_after_a_training_on_real_numbers_are_warned_of(be: nn.Backend) -> None:
    """Pixels from 0 to 255 for a model that knows 0 to 1: the predictions would be wrong without a message."""
    bytes_ = be.asarray(np.random.default_rng(0).integers(0, 256, (20, 6)).astype("uint8"))
    unit, labels = be.asarray(be.to_numpy(bytes_) / 255, dtype="float32"), be.asarray(np.arange(20) % 2)
    model = nn.Network(nn.Dense(2)).init((6,), backend=be, dtype="float32")
    given: dict[str, Any] = {"epochs": 1, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(bytes_)  # it was not trained
        model.copy().fit(bytes_, labels, **given)
        history = model.fit(unit, labels, **given)
        model.predict(be.asarray(np.ones((3, 6), dtype="uint8")))  # truth values
    assert "inputs" not in history.settings
    says = r"{} has the dtype uint8 and values up to 25\d, but .* real numbers\. .* such as {} / 255"
    calls: dict[str, Any] = {
        "X": [
            lambda: model.predict(bytes_),
            lambda: model.predict_class(bytes_),
            lambda: model.evaluate(bytes_, labels),
        ],
        "validation_X": [lambda: model.copy().fit(unit, labels, validation=(bytes_, labels), **given)],
    }
    for name, several in calls.items():
        for call in several:
            with pytest.warns(RuntimeWarning, match=says.format(name, name)) as caught:
                call()
            assert caught[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="X has the dtype uint8"):
        model.fit(bytes_, labels, **given)
    assert model.history.settings["inputs"] == "uint8"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(bytes_)
