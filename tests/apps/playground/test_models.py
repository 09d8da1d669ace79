"""The user's own model in the playground."""

from __future__ import annotations

from typing import Any

import pytest

import nnarray as nn
from nnarray.apps.playground.models import Start, settings_of
from nnarray.apps.playground.session import Session
from nnarray.apps.playground.settings import Settings
from tests.apps.playground.test_script import STEP, assert_same, run

USUAL: dict[str, Any] = {"kernel": 3, "batch_norm": False, "dropout": 0.0}


def session_of(model: nn.Model, be: nn.Backend) -> Session:
    settings = settings_of(model, {})
    return Session(settings, backend=be, start=Start.of(model, settings))


def test_the_page_begins_with_a_copy(be: nn.Backend) -> None:
    net = nn.Network(
        nn.Dense(5, "relu"),
        nn.Dropout(0.2),
        nn.Dense(4),
        nn.BatchNorm(),
        nn.Activation("tanh"),
        nn.Network(nn.Dense(3), nn.Activation("gelu")),
        nn.Dense(2),
    )
    model = net.init((2,), seed=4, backend=be, dtype="float32")
    X, y = nn.datasets.moons(50, backend=be, dtype="float32")
    model.fit(X, y, epochs=1, progress=False)
    before = model.state_dict()
    session = session_of(model, be)
    settings = session.lab.settings
    assert [layer.tree for layer in settings.network.layers] == [
        {"units": 5, "activation": "relu", **USUAL, "dropout": 0.2},
        {"units": 4, "activation": "tanh", **USUAL, "batch_norm": True},
        {"units": 3, "activation": "gelu", **USUAL},
    ]
    assert (settings.training.loss, settings.data.kind) == ("cross_entropy", "moons")
    assert bool(be.xp.all(session.lab.model(X) == model(X)))
    run(session, STEP)
    assert all(bool(be.xp.all(array == before[name])) for name, array in model.state_dict().items())


def test_a_reset_gives_its_numbers_back() -> None:
    be = nn.backend("numpy")
    model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)).init((2,), seed=4, dtype="float32", backend=be)
    session = session_of(model, be)

    def has_its_numbers() -> bool:
        now = session.lab.model
        return now.theta.shape == model.theta.shape and bool(be.xp.all(now.theta == model.theta))

    for message in (STEP, {"type": "reset", "seed": 5}, {"type": "set", "settings": {"data": {"kind": "blobs"}}}):
        session.handle(message)
        assert not has_its_numbers()
    session.handle({"type": "reset"})
    assert not has_its_numbers()  # three outputs
    session.handle({"type": "set", "settings": {"data": {"kind": "moons"}}})
    session.handle({"type": "reset", "seed": 0})
    assert has_its_numbers()
    assert_same(run(session, STEP))


def test_a_link_to_the_page_of_a_model_begins_with_it_too() -> None:
    model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2)).init((2,), seed=4, dtype="float32", backend="numpy")
    page = nn.playground(model, browser=False)
    try:
        again = page.server.make(Settings().changed(settings_of(model, {}).tree))
        assert again.lab.model.theta.tolist() == model.theta.tolist()
    finally:
        page.close()


def test_its_script_has_its_numbers() -> None:
    model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(1)).init((1,), seed=4, dtype="float32", backend="numpy")
    assert_same(run(session_of(model, nn.backend("numpy")), STEP))


DENSE = nn.Dense(2)


@pytest.mark.parametrize(
    ("layers", "shape", "dtype", "reason"),
    [
        ([DENSE], (3,), "float32", "shows one or two inputs; this model takes examples of shape"),
        ([DENSE], (2,), "float16", "computes in float32 or float64; this model has float16"),
        ([nn.Dense(3, bias=False), DENSE], (2,), "float32", "dense layers in a row"),
        ([nn.Dense(3), nn.LayerNorm(), DENSE], (2,), "float32", "LayerNorm.* does not fit"),
        ([nn.Dense(3), nn.BatchNorm(momentum=0.5), DENSE], (2,), "float32", "BatchNorm.* does not fit"),
        ([nn.Dense(3), nn.Dense(2, "tanh")], (2,), "float32", "the last layer is dense and has no activation"),
        ([nn.Dense(99), DENSE], (2,), "float32", "an integer from 1 to 64; got 99"),
        ([nn.Dense(3, nn.Activation(abs, abs)), DENSE], (2,), "float32", "unknown activation"),
        ([nn.Dense(3, nn.Activation("elu", options={"alpha": 0.5})), DENSE], (2,), "float32", "does not fit"),
        ([nn.Residual(nn.Dense(2)), DENSE], (2,), "float32", "does not fit"),
    ],
)
def test_models_that_cannot_be_shown_are_refused(
    layers: list[nn.Layer], shape: tuple[int, ...], dtype: str, reason: str
) -> None:
    model = nn.Network(*layers).init(shape, dtype=dtype, backend="numpy")
    with pytest.raises(ValueError, match=reason):
        nn.playground(model, browser=False)


def test_a_model_with_its_data_and_data_that_do_not_fit_it() -> None:
    model = nn.Network(nn.Dense(4, "tanh"), nn.Dense(3)).init((2,), backend="numpy")
    page = nn.playground(model, nn.datasets.blobs(40, classes=3), browser=False)
    page.close()
    with pytest.raises(ValueError, match="the model does not fit the data"):
        nn.playground(model, nn.datasets.moons(40), browser=False)
    with pytest.raises(TypeError, match=r"playground\(model, \(X, y\)\)"):
        nn.playground(nn.datasets.moons(40), nn.datasets.moons(40), browser=False)
