from __future__ import annotations

import pytest

import nnarray as nn
from nnarray import schedules

torch = pytest.importorskip("torch")
rates = torch.optim.lr_scheduler

LOSSES = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.81, 0.82, 0.79999, 0.8, 0.8, 0.8, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]


def in_torch(make, **options) -> list[float]:
    rule = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = make(rule, **options)
    found = []
    for loss in LOSSES:
        found.append(rule.param_groups[0]["lr"])
        rule.step()
        scheduler.step(*([loss] if make is rates.ReduceLROnPlateau else []))
    return found


@pytest.mark.parametrize(
    ("ours", "make", "options"),
    [
        (schedules.Step(0.3, every=4, factor=0.5), rates.StepLR, {"step_size": 4, "gamma": 0.5}),
        (schedules.Exponential(0.3, 0.9), rates.ExponentialLR, {"gamma": 0.9}),
        (schedules.Cosine(0.3, 20, 0.01), rates.CosineAnnealingLR, {"T_max": 20, "eta_min": 0.01}),
        (schedules.Plateau(0.3, 0.5, patience=2), rates.ReduceLROnPlateau, {"factor": 0.5, "patience": 2}),
        (schedules.WarmUp(4, 0.3), rates.LinearLR, {"start_factor": 0.25, "total_iters": 3}),
        (schedules.Constant(0.3), rates.ConstantLR, {"factor": 1.0}),
    ],
)
def test_rates_equal_pytorch(ours, make, options) -> None:
    got = [ours(epoch, LOSSES[:epoch]) for epoch in range(len(LOSSES))]
    assert got == pytest.approx(in_torch(make, **options), rel=1e-12)


def test_cosine_stays_low() -> None:
    assert schedules.Cosine(1.0, 10, 0.1)(15) == pytest.approx(0.1)


def test_a_schedule_of_ones_own(host: nn.Backend) -> None:
    class Halving(nn.schedules.Schedule):
        def rate(self, epoch, losses):
            return 0.1 / 2**epoch if not losses or losses[-1] < 100 else 1.0

    X, y = nn.datasets.moons(40)
    model = nn.Network(nn.Dense(2)).init((2,))
    assert model.fit(X, y, optimizer=nn.SGD(Halving()), epochs=3)["lr"] == [0.1, 0.05, 0.025]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.Step(-1, every=2), "learning rate must be .*above 0; got -1"),
        (lambda: schedules.Step(1, every=0), "every must be"),
        (lambda: schedules.Cosine(0.1, 10, 0.2), "lowest must lie between"),
        (lambda: schedules.Plateau(0.1, factor=1.0), "0 < factor < 1"),
        (lambda: schedules.Plateau(0.1, patience=-1), "patience must be an integer of at least 0"),
        (lambda: schedules.Exponential(0.1, 0.0), "factor must be"),
    ],
)
def test_bad_settings(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
