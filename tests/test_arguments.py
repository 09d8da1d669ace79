"""What learners call things by the names of other libraries: the error says the name here, and to follow it works."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nnarray as nn
from nnarray import arguments

X, Y = nn.datasets.moons(40, noise=0.1, seed=0)
NET = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2))


def fit(**settings: Any) -> nn.History:
    return NET.init((2,)).fit(X, Y, **{"epochs": 1} | settings)


def calls(function: Callable[..., object], name: str, here: str, *args: Any) -> Any:
    """A function, another library's name of one of its arguments, the name here, and a value."""
    return pytest.param(function, name, here, args, id=f"{function.__name__}({name})")


@pytest.mark.parametrize(
    ("function", "name", "here", "args"),
    [
        *(
            calls(fit, name, here, value)
            for name, here, value in (
                ("epoch", "epochs", 1),
                ("n_epochs", "epochs", 1),
                ("max_iter", "epochs", 1),
                ("batchsize", "batch_size", 8),
                ("validation_data", "validation", (X, Y)),
                ("validation_split", "validation", 0.25),
                ("verbose", "progress", False),
                ("random_state", "seed", 1),
                ("criterion", "loss", "cross_entropy"),
                ("optim", "optimizer", "sgd"),
                ("sample_weights", "sample_weight", None),
                ("optimiser", "optimizer", "sgd"),
            )
        ),
        calls(nn.Dense, "out_features", "units", 3),
        calls(nn.Dense, "use_bias", "bias", False, 3),
        calls(nn.Dense, "kernel_initializer", "init", "zeros", 3),
        calls(nn.Dropout, "p", "rate", 0.5),
        calls(nn.Conv2D, "kernel_size", "kernel", 3, 8),
        calls(nn.Conv2D, "strides", "stride", 2, 8, 3),
        calls(nn.MaxPool2D, "pool_size", "kernel", 2),
        calls(nn.LSTM, "hidden_size", "units", 3),
        calls(nn.GRU, "n_layers", "num_layers", 2, 8),
        calls(nn.Embedding, "embedding_dim", "size", 3, 10),
        calls(nn.BatchNorm, "eps", "epsilon", 1e-3),
        calls(nn.Adam, "learning_rate", "lr", 0.1),
        calls(nn.Adam, "beta_1", "beta1", 0.8),
        calls(nn.EarlyStopping, "restore_best_weights", "restore_best", True),
        calls(nn.schedules.Step, "gamma", "factor", 0.5, 0.1, 2),
        calls(nn.losses.CrossEntropy, "smoothing", "label_smoothing", 0.1),
        calls(nn.losses.CrossEntropy, "weight", "class_weights", (1.0, 2.0)),
        calls(nn.datasets.moons, "n_samples", "n", 10),
        calls(nn.datasets.train_test_split, "random_state", "seed", 1, X, Y),
        calls(nn.models.mlp, "hidden_layer_sizes", "hidden", (5,), 2),
    ],
)
def test_the_name_that_is_guessed_is_accepted(
    function: Callable[..., object], name: str, here: str, args: tuple[Any, ...]
) -> None:
    value, *before = args
    with pytest.raises(TypeError, match=rf"has no argument '{name}'\. Did you mean {here}=\?(?: progress=|$)"):
        function(*before, **{name: value})
    function(*before, **{here: value})


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: fit(lr=0.1), "optimizer=nn.Adam(lr=0.01)"),
        (lambda: fit(patience=3), "callbacks=[nn.EarlyStopping(patience=10)] and validation=0.2"),
        (lambda: fit(verbose=0), "Did you mean progress=? progress=False shows no bar."),
        (lambda: fit(progress=0), "progress must be True or False; got 0. Use progress=False."),
        (lambda: fit(nothing=3), "It has X, y, loss, optimizer, epochs"),
        (lambda: nn.Flatten(input_shape=(28, 28)), "no settings: they follow from network.init(X.shape[1:])"),
        (lambda: nn.Dense(3, kernel_regularizer="l2"), "nn.AdamW(weight_decay=0.01)"),
        (lambda: nn.Adam(NET.init((2,)).params, lr=0.1), "Adam got lr twice"),
        (lambda: NET.init((2,)).find_lr([(X, Y)]), "pass one batch: X, y = next(iter(loader))"),
        (lambda: nn.GlobalAvgPool(4), "GlobalAvgPool takes nothing by position"),
    ],
)
def test_what_belongs_elsewhere_is_shown(call: Callable[[], object], says: str) -> None:
    with pytest.raises(TypeError) as error:
        call()
    if "patience" in says:
        says = "callbacks=[nn.EarlyStopping()] and validation=0.2"
    assert says in str(error.value)


def test_an_error_inside_of_a_function_stays_as_it_is() -> None:
    def wrong(run: nn.Run) -> None:
        int(learning_rate=3)  # type: ignore[call-overload]

    with pytest.raises(TypeError, match="'learning_rate' is an invalid keyword"):
        fit(callbacks=wrong)
    with pytest.raises(TypeError, match="fit needs y"):
        NET.init((2,)).fit(X)


def test_signatures_documentation_and_copies_stay_the_same() -> None:
    assert list(inspect.signature(nn.Model.fit).parameters)[:5] == ["self", "X", "y", "loss", "optimizer"]
    assert list(inspect.signature(nn.Dense).parameters)[:2] == ["units", "activation"]
    assert str(nn.Model.fit.__doc__).startswith("Train the model in place")
    for each in (nn.Dense(3), nn.Adam(0.1), nn.datasets.moons, NET):
        assert pickle.loads(pickle.dumps(each)) == each
    model = NET.init((2,))
    for other in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert bool((other.theta == model.theta).all())


@pytest.mark.parametrize("name", arguments.METHODS)
def test_methods_of_other_libraries_are_not_here(name: str) -> None:
    with pytest.raises(AttributeError) as error:
        getattr(NET.init((2,)), name)
    assert str(error.value) == f"Model has no {name!r}. {arguments.METHODS[name]}"
    assert error.value.name == name


def test_a_misspelt_attribute_is_guessed() -> None:
    with pytest.raises(AttributeError, match=r"Model has no 'sumary'\. Did you mean summary\?"):
        _ = NET.init((2,)).sumary  # type: ignore[attr-defined]
    assert not hasattr(NET.init((2,)), "anything")


@pytest.mark.parametrize("name", arguments.MODULE)
def test_the_package_says_where_things_are(name: str) -> None:
    with pytest.raises(AttributeError) as error:
        getattr(nn, name)
    assert str(error.value).endswith(arguments.MODULE[name])


@pytest.mark.parametrize(
    ("module", "name", "here"),
    [
        (nn.losses, "CrossEntropyLoss", "CrossEntropy"),
        (nn.losses, "MSELoss", "MeanSquaredError"),
        (nn.losses, "BCEWithLogitsLoss", "BinaryCrossEntropy"),
        (nn.datasets, "make_moons", "moons"),
        (nn.datasets, "StandardScaler", "Standardizer"),
        (nn.datasets, "load_mnist", "mnist"),
        (nn.models, "MLP", "mlp"),
    ],
)
def test_modules_know_other_names(module: Any, name: str, here: str) -> None:
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'\. Here it is {here}\."):
        getattr(module, name)
    assert getattr(module, here)
    assert not hasattr(module, "anything")


@pytest.mark.parametrize("name", ["iris", "load_iris", "fetch_california_housing", "fashion_mnist", "make_regression"])
def test_a_data_set_that_is_not_here_names_those_that_are(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'\. The data sets here are (.*)\. Arrays") as error:
        getattr(nn.datasets, name)
    text = str(error.value)
    named = [each for each in nn.datasets.__all__ if re.search(rf"\b{each}\b", text.partition("are ")[2])]
    here = "blobs checkerboard cifar10 circles digits line mnist moons pets series sine spirals tales xor"
    assert " ".join(named) == here


@pytest.mark.parametrize(
    ("of", "name", "says"),
    [
        (nn.Model, "load", r"Model has no 'load'\. Use nn\.load\('model\.safetensors'\)"),
        (nn.Model, "load_model", r"Use nn\.load\("),
        (nn.Model, "from_pretrained", r"Use nn\.load\(.*or model\.load_torch\("),
        (nn.Model, "evalute", r"Did you mean evaluate\?"),
        (nn.Network, "load", r"Network has no 'load'\. Use nn\.load\("),
        (nn, "load_state_dict", r"Use nn\.load\("),
        (nn.models, "load_model", r"Use nn\.load\("),
        (nn, "moons", r"Here it is nn\.datasets\.moons\."),
        (nn, "accuracy", r"Here it is nn\.metrics\.accuracy\."),
        (nn, "mlp", r"Here it is nn\.models\.mlp\."),
        (nn, "CrossEntropy", r"Here it is nn\.losses\.CrossEntropy\."),
        (nn, "plot_boundary", r"Here it is nn\.plotting\.plot_boundary\."),
        (nn, "Dence", r"Did you mean Dense\?"),
        (nn.datasets, "monos", r"Did you mean moons\?"),
        (nn.models, "transformer", r"It has bert, char_rnn, cnn, googlenet, gpt, .*resnet18"),
    ],
)
def test_what_is_looked_for_in_the_wrong_place(of: Any, name: str, says: str) -> None:
    with pytest.raises(AttributeError, match=says):
        getattr(of, name)


def test_the_line_for_a_saved_model_works(tmp_path: Path) -> None:
    model = NET.init((2,))
    model.save(tmp_path / "model.safetensors")
    assert bool((nn.load(tmp_path / "model.safetensors").theta == model.theta).all())


@pytest.mark.parametrize("flag", ["gpu", "cuda", "cuda:0", "GPU", "mps", "tpu", "cpu"])
def test_a_device_is_no_backend(flag: str) -> None:
    with pytest.raises(ValueError, match=rf"unknown backend '{flag}': a backend is a library"):
        nn.backend(flag)


def test_a_backend_may_have_the_name_of_its_package() -> None:
    assert nn.backend("np").name == "numpy"
    assert nn.backend("array-api-strict").name == "strict"
    with pytest.raises(ValueError, match="there is no backend 'tensorflow' here"):
        nn.backend("tensorflow")


def test_standardising_as_the_error_says_works() -> None:
    scaler = nn.datasets.Standardizer.fit(X)
    assert scaler.transform(X).shape == X.shape


@pytest.mark.parametrize("module", ["losses", "metrics", "schedules", "text"])
def test_imports_that_ask_a_module_for_its_path_search_for_no_name(module, monkeypatch):
    monkeypatch.setattr(arguments, "spelled", lambda *_: pytest.fail("a search takes a while"))
    with pytest.raises(AttributeError, match=f"module 'nnarray.{module}' has no attribute '__missing__'"):
        importlib.import_module(f"nnarray.{module}").__missing__  # noqa: B018
