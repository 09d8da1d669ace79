from __future__ import annotations

import numpy as np
import pytest

import nnarray as nn
from nnarray import schedules
from tests.packages import package

torch = package("torch")
rates = torch.optim.lr_scheduler

EPOCHS = 30
LOSSES = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.81, 0.82, 0.79999, 0.8, 0.8, 0.8, 0.5, 0.6, 0.6]
LOSSES += [0.6] * 5 + [0.4999, 0.49, 0.49, 0.49, 0.49, 0.49, 0.4, 0.41, 0.39999, 0.2]


def in_torch(make) -> list[float]:
    rule = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = make(rule)
    found = []
    for loss in LOSSES:
        found.append(rule.param_groups[0]["lr"])
        rule.step()
        scheduler.step(*([loss] if isinstance(scheduler, rates.ReduceLROnPlateau) else []))
    return found


def warmed_up(rule, then):
    ramp = rates.LinearLR(rule, start_factor=0.25, total_iters=3)  # (epoch + 1) / 4 until it is 1
    return rates.SequentialLR(rule, [ramp, then(rule)], milestones=[4])


CASES = {
    "constant": (schedules.Constant(0.3), lambda o: rates.ConstantLR(o, factor=1.0)),
    "number": (schedules.schedule(0.3), lambda o: rates.ConstantLR(o, factor=1.0)),
    "step": (schedules.Step(0.3, every=4, factor=0.5), lambda o: rates.StepLR(o, 4, 0.5)),
    "step-usual": (schedules.Step(0.3, every=10), lambda o: rates.StepLR(o, 10)),
    "exponential": (schedules.Exponential(0.3, 0.9), lambda o: rates.ExponentialLR(o, 0.9)),
    "cosine": (schedules.Cosine(0.3, EPOCHS, 0.01), lambda o: rates.CosineAnnealingLR(o, EPOCHS, 0.01)),
    "cosine-to-zero": (schedules.Cosine(0.3, EPOCHS), lambda o: rates.CosineAnnealingLR(o, EPOCHS)),
    "several steps": (schedules.MultiStep(0.3, (4, 11, 20), 0.5), lambda o: rates.MultiStepLR(o, [4, 11, 20], 0.5)),
    "one cycle": (
        schedules.OneCycle(0.3, EPOCHS),
        lambda o: rates.OneCycleLR(o, 0.3, total_steps=EPOCHS, cycle_momentum=False),
    ),
    "one cycle, steeper": (
        schedules.OneCycle(0.3, EPOCHS, pct_start=0.1, div_factor=5.0, final_div_factor=100.0),
        lambda o: rates.OneCycleLR(
            o, 0.3, total_steps=EPOCHS, pct_start=0.1, div_factor=5.0, final_div_factor=100.0, cycle_momentum=False
        ),
    ),
    "warm-up": (schedules.WarmUp(4, 0.3), lambda o: rates.LinearLR(o, start_factor=0.25, total_iters=3)),
    "warm-up-cosine": (
        schedules.WarmUp(4, then=schedules.Cosine(0.3, 26)),
        lambda o: warmed_up(o, lambda o: rates.CosineAnnealingLR(o, 26)),
    ),
    "plateau": (schedules.Plateau(0.3, 0.5, 2), lambda o: rates.ReduceLROnPlateau(o, factor=0.5, patience=2)),
    "plateau-impatient": (
        schedules.Plateau(0.3, 0.5, 0, lowest=0.01),
        lambda o: rates.ReduceLROnPlateau(o, factor=0.5, patience=0, min_lr=0.01),
    ),
    "plateau-threshold": (
        schedules.Plateau(0.3, 0.5, 1, 0.1),
        lambda o: rates.ReduceLROnPlateau(o, factor=0.5, patience=1, threshold=0.1),
    ),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")  # PyTorch's own call of itself
@pytest.mark.parametrize("name", CASES)
def test_rates_equal_pytorch(name: str) -> None:
    ours, make = CASES[name]
    assert len(LOSSES) == EPOCHS
    got = [ours(epoch, LOSSES[:epoch]) for epoch in range(EPOCHS)]
    assert got == pytest.approx(in_torch(make), rel=1e-12)


def test_cosine_stays_low() -> None:
    assert [schedules.Cosine(1.0, 10, 0.1)(epoch) for epoch in (10, 15, 1000)] == pytest.approx([0.1] * 3)


def test_one_cycle_of_few_epochs_and_after_its_end() -> None:
    two = schedules.OneCycle(0.1, 2, pct_start=0.0)
    assert [two(epoch) for epoch in (0, 1, 2, 9)] == pytest.approx([0.05, 4e-7, 4e-7, 4e-7], rel=1e-4)
    assert schedules.OneCycle(0.1, 10, pct_start=0.1)(0) == 0.1


def test_a_warm_up_hides_its_losses_from_what_follows() -> None:
    """The plateau counts its own epochs, and not the losses of the first four."""
    plateau = schedules.Plateau(0.3, 0.5, 1)
    warm = schedules.WarmUp(4, then=plateau)
    early = [0.1, 0.1, 0.1, 0.1]
    got = [warm(4 + epoch, early + LOSSES[:epoch]) for epoch in range(10)]
    assert got == [plateau(epoch, LOSSES[:epoch]) for epoch in range(10)]


def test_a_schedule_of_ones_own(host: nn.Backend) -> None:
    class Halving(nn.schedules.Schedule):
        def rate(self, epoch, losses):
            return 0.1 / 2**epoch if not losses or losses[-1] < 100 else 1.0

    X, y = nn.datasets.moons(40)
    model = nn.Network(nn.Dense(2)).init((2,))
    assert model.fit(X, y, optimizer=nn.SGD(Halving()), epochs=3)["lr"] == [0.1, 0.05, 0.025]


def test_numbers_of_numpy_leave_the_dtype(be: nn.Backend) -> None:
    """A float64 of NumPy's would turn the float32 slots of the optimizer into float64."""

    class Table(nn.schedules.Schedule):
        def rate(self, epoch, losses):
            return np.linspace(0.1, 0.01, 3)[epoch]

    assert type(Table()(0)) is type(schedules.Step(np.float32(0.5), 2)(1)) is float
    X, y = nn.datasets.moons(20, backend=be)
    model = nn.Network(nn.Dense(2)).init((2,), backend=be, dtype="float32")
    history = model.fit(X, y, optimizer=nn.SGD(Table(), momentum=0.9), epochs=3)
    assert history["lr"] == pytest.approx([0.1, 0.055, 0.01])
    assert model.theta.dtype == be.dtype("float32")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: schedules.Constant("fast"), TypeError, "learning rate must be .*got 'fast'"),
        (lambda: schedules.Constant(True), TypeError, "learning rate must be .*got True"),
        (lambda: schedules.Constant(float("inf")), ValueError, "learning rate must be a finite number.*got inf"),
        (lambda: schedules.Step(-1, every=2), ValueError, "learning rate must be .*above 0; got -1"),
        (lambda: schedules.Step(1, every=0), ValueError, "every must be an integer of at least 1; got 0"),
        (lambda: schedules.Step(1, every=2.0), TypeError, "every must be an integer.*got 2.0"),
        (lambda: schedules.Step(1, every=2, factor=-1), ValueError, "factor must be .*above 0; got -1"),
        (lambda: schedules.Cosine(0.1, 10, 0.2), ValueError, "lowest must lie between"),
        (lambda: schedules.Cosine(0.1, 10, float("nan")), ValueError, "lowest must lie between"),
        (lambda: schedules.OneCycle(0.1, 1), ValueError, "epochs must be an integer of at least 2; got 1"),
        (lambda: schedules.OneCycle(0.1, 9, pct_start=1.0), ValueError, "pct_start must be .*less than 1; got 1.0"),
        (lambda: schedules.OneCycle(0.1, 9, div_factor=0.0), ValueError, "div_factor must be .*above 0; got 0.0"),
        (lambda: schedules.MultiStep(0.1, 30), TypeError, r"milestones must be epochs, such as \(30, 60\); got 30"),
        (lambda: schedules.MultiStep(0.1, (2.5,)), TypeError, "each of milestones must be an integer.*got 2.5"),
        (lambda: schedules.Cosine(0.1, 0), ValueError, "epochs must be an integer of at least 1; got 0"),
        (lambda: schedules.Exponential(0.1, 0.0), ValueError, "factor must be"),
        (lambda: schedules.WarmUp(2.5, 0.1), TypeError, "epochs must be an integer.*got 2.5"),
        (lambda: schedules.WarmUp(2, "fast"), TypeError, "number or a schedule; got 'fast'"),
        (lambda: schedules.WarmUp(2, 0.0), ValueError, "learning rate must be"),
        (lambda: schedules.Plateau(0.1, factor=1.0), ValueError, "0 < factor < 1"),
        (lambda: schedules.Plateau(0.1, patience=-1), ValueError, "patience must be an integer of at least 0"),
        (lambda: schedules.Plateau(0.1, threshold=1.5), ValueError, "threshold must be .*less than 1; got 1.5"),
        (lambda: schedules.Plateau(0.1, lowest=0.2), ValueError, "lowest must lie between .*0.1; got 0.2"),
        (lambda: schedules.schedule([0.1]), TypeError, r"number or a schedule; got \[0.1\]"),
    ],
)
def test_bad_settings(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_plateau_of_negative_losses() -> None:
    """Better is below the best by a share of its size: PyTorch's rule takes -0.99 for better than -1."""
    assert schedules.Plateau(1.0, 0.1, 2)(11, [-1.0] * 11) == pytest.approx(0.001)
    falling = [-1.0 - 0.1 * epoch for epoch in range(11)]
    assert schedules.Plateau(1.0, 0.1, 2)(11, falling) == 1.0
    assert schedules.Plateau(1.0, 0.1, 0, 0.5)(3, [-1.0, -1.4, -1.6]) == pytest.approx(0.1)


def test_nan_is_never_the_best_loss() -> None:
    nan, inf = float("nan"), float("inf")
    assert schedules.Plateau(1.0, 0.1, 1)(6, [nan, 0.9, 0.8, 0.7, 0.6, 0.5]) == 1.0
    assert schedules.Plateau(1.0, 0.1, 1)(4, [inf, 0.9, nan, 0.8]) == 1.0
    assert schedules.Plateau(1.0, 0.1, 1)(3, [0.9, nan, nan]) == pytest.approx(0.1)


@pytest.mark.parametrize("patience", [0, 1, 2, 5])
def test_patience_counts_the_same_everywhere(patience: int) -> None:
    """So many epochs without improvement are endured, and the next one acts."""
    X, y = nn.datasets.moons(16)
    stop = nn.EarlyStopping("flat", mode="min", patience=patience)

    def flat(outputs, target):
        return outputs[0, 0] * 0.0

    history = nn.Network(nn.Dense(2)).init((2,)).fit(X, y, epochs=20, metrics=[flat], callbacks=[stop])
    assert len(history["epoch"]) == 1 + patience + 1
    plateau = schedules.Plateau(1.0, 0.5, patience)
    assert [plateau(epoch, [1.0] * epoch) for epoch in (1 + patience, 1 + patience + 1)] == [1.0, 0.5]
