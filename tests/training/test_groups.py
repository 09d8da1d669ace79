"""Rates and weight decay of some parameters, by name."""

from __future__ import annotations

import pickle
import re
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.packages import package

NET = nn.Network(nn.Dense(4, "tanh", name="body"), nn.Dense(2, name="head"))
GROUPS = {"head": {"lr": 0.05}, "body.weight": {"weight_decay": 0.3}}
RULES: dict[str, Any] = {
    "sgd": (nn.SGD(0.01, momentum=0.9, weight_decay=0.1, groups=GROUPS), "SGD", {"momentum": 0.9}),
    "adam": (nn.Adam(0.01, weight_decay=0.1, groups=GROUPS), "Adam", {}),
    "adamw": (nn.AdamW(0.01, weight_decay=0.1, groups=GROUPS), "AdamW", {}),
    "nadam": (nn.NAdam(0.01, weight_decay=0.1, groups=GROUPS), "NAdam", {}),
    "rmsprop": (nn.RMSprop(0.01, weight_decay=0.1, groups=GROUPS), "RMSprop", {}),
}


def moons(be: nn.Backend) -> Any:
    return nn.datasets.moons(24, noise=0.1, seed=1, backend=be, dtype="float32")


def new(be: nn.Backend) -> nn.Model:
    return NET.init((2,), seed=0, backend=be, dtype="float32")


@pytest.mark.parametrize("name", RULES)
def test_groups_are_those_of_pytorch(be: nn.Backend, name: str) -> None:
    torch = package("torch")
    rule, kind, options = RULES[name]
    X, y = moons(be)
    model = new(be)
    theirs = {key: torch.nn.Parameter(torch.tensor(be.to_numpy(x).copy())) for key, x in model.params.items()}
    every = [
        {"params": [theirs["body.weight"]], "lr": 0.01, "weight_decay": 0.3},
        {"params": [theirs["body.bias"]], "lr": 0.01, "weight_decay": 0.0},
        {"params": [theirs["head.weight"]], "lr": 0.05, "weight_decay": 0.1},
        {"params": [theirs["head.bias"]], "lr": 0.05, "weight_decay": 0.0},
    ]
    stepper = getattr(torch.optim, kind)(every, **options)
    model.fit(X, y, optimizer=rule, epochs=4, batch_size=12, shuffle=False)
    points, labels = torch.tensor(be.to_numpy(X).copy()), torch.tensor(be.to_numpy(y).copy()).long()
    for step in range(8):
        rows = slice(0, 12) if step % 2 == 0 else slice(12, 24)
        hidden = torch.tanh(points[rows] @ theirs["body.weight"] + theirs["body.bias"])
        loss = torch.nn.functional.cross_entropy(hidden @ theirs["head.weight"] + theirs["head.bias"], labels[rows])
        stepper.zero_grad()
        loss.backward()
        stepper.step()
    for key, x in model.params.items():
        np.testing.assert_allclose(be.to_numpy(x), theirs[key].detach().numpy(), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("rule", [nn.SGD, nn.Adamax, nn.RAdam, nn.Lion, nn.LAMB, nn.Muon, nn.Adagrad, nn.Adadelta])
def test_a_group_that_says_nothing_new_changes_nothing(host: nn.Backend, rule: Any) -> None:
    X, y = moons(host)
    plain, grouped = new(host), new(host)
    plain.fit(X, y, optimizer=rule(0.02, weight_decay=0.1), epochs=2, engine="layers")
    same = {"head": {"lr": 0.02}, "body": {"weight_decay": 0.1}}
    grouped.fit(X, y, optimizer=rule(0.02, weight_decay=0.1, groups=same), epochs=2)
    np.testing.assert_allclose(grouped.theta, plain.theta, rtol=1e-5, atol=1e-6)
    other = new(host)
    other.fit(X, y, optimizer=rule(0.02, weight_decay=0.1, groups={"head": {"lr": 0.0}}), epochs=2)
    np.testing.assert_array_equal(other.params["head.weight"], new(host).params["head.weight"])
    assert (other.params["body.weight"] != new(host).params["body.weight"]).all()


def test_a_loop_of_ones_own_has_the_same_groups(be: nn.Backend) -> None:
    X, y = moons(be)
    model, other, rule = new(be), new(be), RULES["adamw"][0]
    model.fit(X, y, optimizer=rule, epochs=3, batch_size=None)
    slots = rule.slots(other.theta)
    for step in range(3):
        other.theta, slots = rule.step(other, nn.value_and_grad(other, X, y)[1], slots, step)
    np.testing.assert_allclose(be.to_numpy(model.theta), be.to_numpy(other.theta), rtol=1e-5, atol=1e-6)


def test_a_schedule_keeps_the_ratio(host: nn.Backend) -> None:
    X, y = moons(host)
    rates = nn.schedules.WarmUp(steps=3, then=nn.schedules.Cosine(0.1, steps=9))
    model, other = new(host), new(host)
    model.fit(X, y, optimizer=nn.SGD(rates, groups={"head": {"lr": 0.05}}), epochs=2, batch_size=12, shuffle=False)
    for step in range(4):
        rows = slice(0, 12) if step % 2 == 0 else slice(12, 24)
        gradient = nn.value_and_grad(other, X[rows], y[rows])[1]
        rate = rates(0, step=step)
        factors = np.where(np.arange(other.theta.shape[0]) < 12, 1.0, 0.5)
        other.theta = (other.theta - rate * factors * gradient).astype(np.float32)
    np.testing.assert_allclose(model.theta, other.theta, rtol=1e-5, atol=1e-6)


def test_groups_go_with_grains_averages_and_resuming(host: nn.Backend, tmp_path: Path) -> None:
    X, y = moons(host)
    rule, path, last = RULES["adam"][0], tmp_path / "run.safetensors", tmp_path / "last.safetensors"
    for settings in ({"grains": 2}, {"ema": 0.9}, {"accumulate": 2}, {}):
        whole, again = new(host), new(host)
        whole.fit(X, y, optimizer=rule, epochs=4, batch_size=6, **settings)
        new(host).fit(X, y, optimizer=rule, epochs=2, batch_size=6, checkpoint=path, **settings)
        again.fit(X, y, optimizer=rule, epochs=4, batch_size=6, checkpoint=path, resume=True, **settings)
        np.testing.assert_array_equal(again.theta, whole.theta)
        path.rename(last)
    with pytest.raises(ValueError, match=r"its optimizer is .*groups=.*but here it is"):
        new(host).fit(X, y, optimizer=nn.Adam(0.01), epochs=5, batch_size=6, resume=last)


def test_biases_decay_only_where_a_pattern_means_them_alone(host: nn.Backend) -> None:
    layout, theta = new(host).wiring.params, new(host).theta
    both = nn.SGD(0.1, groups={"head": {"weight_decay": 0.5}})
    np.testing.assert_array_equal(both.decays(layout, theta), [0.0] * 12 + [0.5] * 8 + [0.0] * 2)
    biases = nn.SGD(0.1, weight_decay=0.25, groups={"*.bias": {"weight_decay": 0.5}})
    np.testing.assert_array_equal(biases.decays(layout, theta), [1.0] * 8 + [2.0] * 4 + [1.0] * 8 + [2.0] * 2)


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ({"tail.*": {"lr": 0.1}}, ValueError, "'tail.*' fits no parameter; the model has body.weight, body.bias, hea"),
        (
            {"head": {"lr": 0.1}, "*.bias": {"lr": 0.2}},
            ValueError,
            "groups give 'head.bias' the lr 0.1 and, by '*",
        ),
        ({"head": {"rate": 0.1}}, ValueError, "unknown setting of groups['head'] 'rate'"),
        ({"head": {"lr": -0.1}}, ValueError, "groups['head']['lr'] must"),
        ({"head": {"lr": "fast"}}, (TypeError, ValueError), "groups['head']['lr'] must"),
        ({"head": {"lr": None}}, TypeError, "groups['head']['lr'] must be a number; got None. Leave it out"),
        ({"head": {}}, TypeError, "groups['head'] must be settings"),
        ({"head": 0.1}, TypeError, "groups['head'] must be settings"),
        ({0: {"lr": 0.1}}, TypeError, "a pattern of groups is a text"),
        ([("head", 0.1)], TypeError, "groups must map patterns of names to settings"),
    ],
)
def test_bad_groups_are_refused(host: nn.Backend, groups: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        new(host).fit(*moons(host), optimizer=nn.SGD(0.1, groups=groups), epochs=1)


def test_a_schedule_without_a_rate_of_its_own_is_refused() -> None:
    class Mine(nn.schedules.Schedule):
        def rate(self, epoch: int, losses: Any) -> float:
            return 0.1

    with pytest.raises(TypeError, match="Mine has none: give it a field lr"):
        nn.SGD(Mine(), groups={"head": {"lr": 0.1}})
    assert hash(nn.SGD(0.1, groups=GROUPS)) == hash(nn.SGD(0.1, groups=GROUPS))
    assert "groups" not in repr(nn.SGD(0.1))


def test_the_history_has_the_rate_of_the_optimizer(host: nn.Backend) -> None:
    history = new(host).fit(*moons(host), optimizer=nn.SGD(0.1, groups={"head": {"lr": 0.01}}), epochs=2)
    assert history["lr"] == [0.1, 0.1]


@pytest.mark.parametrize("setting", [{"groups": {"head": {"lr": 0.1}}}, {"lr": 0.1}, {"clip_norm": 1.0}])
def test_settings_of_steps_are_not_those_of_lbfgs(setting: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"LBFGS has no setting '{next(iter(setting))}': it chooses its own steps"):
        nn.LBFGS(**setting)
    assert copy(nn.LBFGS(5)) == pickle.loads(pickle.dumps(nn.LBFGS(5))) == replace(nn.LBFGS(), memory=5)
