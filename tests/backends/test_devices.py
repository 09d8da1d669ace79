"""Two devices of one library in one process: each computes its own, whichever was used before."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import nnarray as nn
from nnarray import random

pytestmark = pytest.mark.parametrize("flag", ["cupy:1", "strict:device1"])
NETWORK = nn.Network(nn.Dense(4, "tanh"), nn.Dropout(0.5), nn.Dense(2))


def both(flag: str) -> tuple[nn.Backend, nn.Backend]:
    return nn.backend(flag.partition(":")[0]), nn.backend(flag)


def inputs(be: nn.Backend):
    return be.asarray([[1.0, 2.0, 3.0], [-1.0, 0.0, 1.0]], dtype="float32")


def test_a_list_of_backends_changes_nothing(flag: str) -> None:
    first, second = both(flag)
    for be in (second, first):
        x = inputs(be)
        nn.list_backends()
        np.testing.assert_array_equal(be.to_numpy(x + x), 2 * be.to_numpy(x))


def test_each_computes_its_own_in_turns(flag: str) -> None:
    first, second = both(flag)
    models = {be: NETWORK.init((3,), seed=0, backend=be, dtype="float32") for be in (first, second)}
    for be, model in [*models.items(), *models.items()]:
        outputs = model(inputs(be))
        assert nn.backends.device_of(outputs) == be.device
        model.fit(inputs(be), be.asarray([0, 1]), loss="cross_entropy", epochs=2, batch_size=1, progress=False)
        assert nn.backends.device_of(model.theta) == be.device
    np.testing.assert_array_equal(*(be.to_numpy(model.theta) for be, model in models.items()))


def test_a_model_moves_there_and_back(flag: str) -> None:
    first, second = both(flag)
    model = NETWORK.init((3,), seed=0, backend=second, dtype="float32")
    back = model.to(first)
    assert nn.backends.device_of(back.theta) == first.device
    assert nn.backends.device_of(back(inputs(first))) == first.device
    assert nn.backends.device_of(model.to(flag)(inputs(second))) == second.device


def test_a_model_computes_in_another_thread(flag: str) -> None:
    _, second = both(flag)
    model, x = NETWORK.init((3,), seed=0, backend=second, dtype="float32"), inputs(second)
    outputs = []
    thread = threading.Thread(target=lambda: outputs.append(model(x)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(second.to_numpy(outputs[0]), second.to_numpy(model(x)))


CREATED = {
    "zeros": lambda xp, device: xp.zeros((2,), device=device),
    "ones": lambda xp, device: xp.ones((2,), device=device),
    "empty": lambda xp, device: xp.empty((2,), device=device),
    "full": lambda xp, device: xp.full((2,), 3.0, device=device),
    "arange": lambda xp, device: xp.arange(4, device=device),
    "linspace": lambda xp, device: xp.linspace(0.0, 1.0, 3, device=device),
    "eye": lambda xp, device: xp.eye(2, device=device),
    "asarray": lambda xp, device: xp.asarray([1.0], device=device),
    "zeros_like": lambda xp, device: xp.zeros_like(xp.asarray([1.0], device=device), device=device),
    "uniform": lambda xp, device: random.uniform(nn.Key(0), (3,), xp=xp, device=device, dtype=xp.float32),
    "normal": lambda xp, device: random.normal(nn.Key(0), (3,), xp=xp, device=device, dtype=xp.float32),
    "permutation": lambda xp, device: random.permutation(nn.Key(0), 3, xp=xp, device=device),
}


@pytest.mark.parametrize("name", CREATED)
def test_what_is_made_is_on_the_device_that_is_asked_for(flag: str, name: str) -> None:
    """Although the other one was in use before."""
    first, second = both(flag)
    for be, other in ((first, second), (second, first)):
        inputs(other)
        assert nn.backends.device_of(CREATED[name](be.xp, be.device)) == be.device


def test_what_is_on_the_other_device_is_refused(flag: str) -> None:
    first, second = both(flag)
    model = NETWORK.init((3,), seed=0, backend=first, dtype="float32")
    with pytest.raises(ValueError, match="nothing is moved silently"):
        model(inputs(second))


def test_backends_are_keys(flag: str) -> None:
    first, second = both(flag)
    assert len({first, second, nn.backend(flag)}) == 2
