from __future__ import annotations

import numpy as np
import pytest

import nnarray as nn
from tests.tolerances import close, to_host

torch = pytest.importorskip("torch")
optim = torch.optim

THETA = np.random.default_rng(0).normal(size=40)
GRADIENTS = np.random.default_rng(1).normal(size=(10, 40))

RULES = {
    "sgd": (nn.SGD(0.1), optim.SGD, {"lr": 0.1}),
    "sgd decayed": (nn.SGD(0.1, weight_decay=0.2), optim.SGD, {"lr": 0.1, "weight_decay": 0.2}),
    "momentum": (nn.SGD(0.1, momentum=0.9), optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "nesterov": (
        nn.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ),
    "adam": (nn.Adam(0.01), optim.Adam, {"lr": 0.01}),
    "adam decayed": (
        nn.Adam(0.01, beta1=0.8, beta2=0.9, epsilon=1e-3, weight_decay=0.1),
        optim.Adam,
        {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1},
    ),
    "adamw": (nn.AdamW(0.01, weight_decay=0.3), optim.AdamW, {"lr": 0.01, "weight_decay": 0.3}),
    "rmsprop": (nn.RMSprop(0.01), optim.RMSprop, {"lr": 0.01}),
    "adagrad": (nn.Adagrad(0.1), optim.Adagrad, {"lr": 0.1}),
}


def ours(be: nn.Backend, dtype: str, rule: nn.Optimizer, **masks) -> np.ndarray:
    theta = be.asarray(THETA.copy(), dtype=dtype)
    slots = rule.slots(theta)
    for step, gradient in enumerate(GRADIENTS, start=1):
        theta, slots = rule.update(
            theta, be.asarray(gradient.copy(), dtype=dtype), slots, rule.numbers(rule.lr, step), **masks
        )
    assert theta.dtype == be.dtype(dtype)
    return to_host(be, theta)


def theirs(make, options, clip: float | None = None) -> np.ndarray:
    theta = torch.nn.Parameter(torch.tensor(THETA))
    rule = make([theta], **options)
    for gradient in GRADIENTS:
        theta.grad = torch.tensor(gradient)
        if clip:
            torch.nn.utils.clip_grad_norm_([theta], clip)
        rule.step()
    return theta.detach().numpy()


@pytest.mark.parametrize("name", RULES)
def test_ten_steps_equal_pytorch(be: nn.Backend, dtype: str, name: str) -> None:
    rule, make, options = RULES[name]
    close(ours(be, dtype, rule), theirs(make, options), dtype, c=200)


def test_clipping_equals_pytorch(be: nn.Backend, dtype: str) -> None:
    close(ours(be, dtype, nn.SGD(0.1, clip_norm=2.0)), theirs(optim.SGD, {"lr": 0.1}, clip=2.0), dtype, c=200)


@pytest.mark.parametrize("name", RULES)
def test_frozen_entries_keep_their_bits_and_the_others_do_not_notice(be: nn.Backend, name: str) -> None:
    rule, *_ = RULES[name]
    frozen = np.arange(40) < 20
    got = ours(be, "float32", rule, frozen=be.asarray(frozen))
    np.testing.assert_array_equal(got[:20], THETA[:20].astype("float32"))
    np.testing.assert_array_equal(got[20:], ours(be, "float32", rule)[20:])


@pytest.mark.parametrize("name", ["sgd decayed", "adamw"])
def test_decay_spares_what_the_mask_spares(be: nn.Backend, name: str) -> None:
    rule, make, options = RULES[name]
    mask = (np.arange(40) < 20) * 1.0
    got = ours(be, "float32", rule, decays=be.asarray(mask, dtype="float32"))
    close(got[:20], theirs(make, options)[:20], "float32", c=200)
    close(got[20:], theirs(make, options | {"weight_decay": 0.0})[20:], "float32", c=200)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.SGD(0.0), ValueError, "learning rate must be .*above 0; got 0.0"),
        (lambda: nn.SGD("fast"), TypeError, "number or a schedule; got 'fast'"),
        (lambda: nn.SGD(0.1, momentum=1.0), ValueError, "0 <= momentum < 1; got 1.0"),
        (lambda: nn.SGD(0.1, nesterov=True), ValueError, "needs momentum"),
        (lambda: nn.SGD(0.1, weight_decay=-1), ValueError, "0 <= weight_decay"),
        (lambda: nn.SGD(0.1, clip_norm=0), ValueError, "clip_norm must be .*above 0"),
        (lambda: nn.Adam(0.1, beta1=1.0), ValueError, "0 <= beta1 < 1"),
        (lambda: nn.Adam(float("nan")), ValueError, "learning rate must be"),
        (lambda: nn.LBFGS(memory=0), ValueError, "memory must be an integer of at least 1"),
    ],
)
def test_bad_settings(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_lbfgs_finds_the_least_squares_line(be: nn.Backend) -> None:
    X, y = nn.datasets.line(50, slope=2.0, intercept=-1.0, noise=0.3, seed=1, backend=be)
    model = nn.Network(nn.Dense(1)).init((1,), backend=be)
    history = model.fit(X, y, loss="mse", optimizer="lbfgs", epochs=50, batch_size=None, metrics=["r2"])
    slope, intercept = np.polyfit(to_host(be, X)[:, 0], to_host(be, y)[:, 0], 1)
    np.testing.assert_allclose(to_host(be, model.theta), [slope, intercept], rtol=1e-3)
    assert history["loss"][-1] <= history["loss"][0]
    assert len(history["r2"]) == history.steps


def test_lbfgs_beats_adam_on_moons_and_obeys(host: nn.Backend) -> None:
    X, y = nn.datasets.moons(200, noise=0.1, seed=0)
    net = nn.Network(nn.Dense(10, "tanh"), nn.Dense(2))
    quick, slow = net.init((2,)), net.init((2,))
    history = quick.fit(X, y, optimizer=nn.LBFGS(weight_decay=1e-6), epochs=60, batch_size=None)
    assert history["loss"][-1] < slow.fit(X, y, epochs=200, batch_size=None)["loss"][-1]
    frozen = net.init((2,)).freeze("0")
    before = frozen.params["0.weight"].copy()
    frozen.fit(
        X, y, optimizer="lbfgs", epochs=5, batch_size=None, callbacks=[lambda run: run.epoch == 3 and run.stop("")]
    )
    np.testing.assert_array_equal(frozen.params["0.weight"], before)
    assert len(frozen.history["loss"]) == 3
