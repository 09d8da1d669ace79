from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.optimizers import OPTIMIZERS, optimizer_named
from tests.packages import package
from tests.tolerances import as_called, close, to_host

torch = package("torch")
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
    "rmsprop decayed": (
        nn.RMSprop(0.01, decay=0.8, epsilon=1e-3, weight_decay=0.1),
        optim.RMSprop,
        {"lr": 0.01, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1},
    ),
    "adagrad": (nn.Adagrad(0.1), optim.Adagrad, {"lr": 0.1}),
    "adagrad decayed": (
        nn.Adagrad(0.1, epsilon=1e-3, weight_decay=0.1),
        optim.Adagrad,
        {"lr": 0.1, "eps": 1e-3, "weight_decay": 0.1},
    ),
    "amsgrad": (nn.Adam(0.01, amsgrad=True), optim.Adam, {"lr": 0.01, "amsgrad": True}),
    "amsgrad decoupled": (
        nn.AdamW(0.01, beta2=0.8, amsgrad=True, weight_decay=0.3),
        optim.AdamW,
        {"lr": 0.01, "betas": (0.9, 0.8), "amsgrad": True, "weight_decay": 0.3},
    ),
    "nadam": (nn.NAdam(0.01), optim.NAdam, {"lr": 0.01}),
    "nadam decayed": (
        nn.NAdam(0.01, beta1=0.8, beta2=0.9, epsilon=1e-3, momentum_decay=0.1, weight_decay=0.1),
        optim.NAdam,
        {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "momentum_decay": 0.1, "weight_decay": 0.1},
    ),
    "radam": (nn.RAdam(0.01), optim.RAdam, {"lr": 0.01}),
    "radam decayed": (
        nn.RAdam(0.01, beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.1),
        optim.RAdam,
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    ),
    "adamax": (nn.Adamax(0.01), optim.Adamax, {"lr": 0.01}),
    "adamax decayed": (
        nn.Adamax(0.01, beta1=0.8, beta2=0.9, epsilon=1e-3, weight_decay=0.1),
        optim.Adamax,
        {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1},
    ),
    "adadelta": (nn.Adadelta(), optim.Adadelta, {"lr": 1.0}),
    "adadelta decayed": (
        nn.Adadelta(0.5, decay=0.8, epsilon=1e-3, weight_decay=0.1),
        optim.Adadelta,
        {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1},
    ),
}


def ours(be: nn.Backend, dtype: str, rule: nn.Optimizer, gradients: np.ndarray = GRADIENTS, **masks: Any) -> np.ndarray:
    """Theta after ten steps, each compiled as `fit` does it."""
    theta = be.asarray(THETA.copy(), dtype=dtype)
    slots = rule.slots(theta)
    step = as_called(be, lambda *args: rule.update(*args, **masks))
    for number, gradient in enumerate(gradients, start=1):
        numbers = rule.numbers(rule.lr, number)
        theta, slots = step(theta, be.asarray(gradient.copy(), dtype=dtype), slots, numbers)
    assert theta.dtype == be.dtype(dtype)
    assert all(slot.dtype == be.dtype(dtype) for slot in slots.values())
    return be.to_numpy(theta)


def theirs(make, options, clip: float | None = None, gradients: np.ndarray = GRADIENTS) -> np.ndarray:
    theta = torch.nn.Parameter(torch.tensor(THETA))
    rule = make([theta], **options)
    for gradient in gradients:
        theta.grad = torch.tensor(gradient)
        if clip:
            torch.nn.utils.clip_grad_norm_([theta], clip)
        rule.step()
    return theta.detach().numpy()


@pytest.mark.parametrize("name", RULES)
def test_ten_steps_equal_pytorch(be: nn.Backend, dtype: str, name: str) -> None:
    rule, make, options = RULES[name]
    precision = "float32" if make is optim.NAdam else dtype  # there the product of momenta is in float32
    close(ours(be, dtype, rule), theirs(make, options), precision, c=200)


def test_defaults_are_pytorchs() -> None:
    for name in ("Adam", "AdamW", "RMSprop", "NAdam", "RAdam", "Adamax", "Adadelta"):
        ours_, make = getattr(nn, name)(), getattr(optim, name)
        given = make([torch.nn.Parameter(torch.zeros(1))]).defaults
        assert ours_.lr == given["lr"]
        assert ours_.epsilon == given["eps"]
        assert ours_.weight_decay == given["weight_decay"]


@pytest.mark.parametrize("name", ["sgd decayed", "nesterov", "adamw"])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_clipping_equals_pytorch(be: nn.Backend, name: str, size: float) -> None:
    """Short gradients stay as they are, long ones are shortened before the decay is added."""
    _, make, options = RULES[name]
    settings = {"clip_norm": 2.0, "weight_decay": options["weight_decay"]}
    rule = {
        "sgd decayed": nn.SGD(0.1, **settings),
        "nesterov": nn.SGD(0.1, 0.9, True, **settings),
        "adamw": nn.AdamW(0.01, **settings),
    }[name]
    got = ours(be, "float32", rule, GRADIENTS * size)
    close(got, theirs(make, options, clip=2.0, gradients=GRADIENTS * size), "float32", c=200)


FROZEN = np.arange(40) < 20


@pytest.mark.parametrize("name", RULES)
def test_frozen_entries_keep_their_bits_and_the_others_do_not_notice(be: nn.Backend, name: str) -> None:
    rule, *_ = RULES[name]
    got = ours(be, "float32", rule, frozen=be.asarray(FROZEN))
    assert got[:20].tobytes() == THETA[:20].astype("float32").tobytes()
    np.testing.assert_allclose(got[20:], ours(be, "float32", rule)[20:], rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_gradients_of_frozen_entries_do_not_matter(be: nn.Backend, value: float) -> None:
    """Neither where they are no numbers, nor to the length at which the others are clipped."""
    rule = nn.Adam(0.1, clip_norm=1.0, weight_decay=0.1)
    given, zeros = GRADIENTS.copy(), GRADIENTS.copy()
    given[:, FROZEN], zeros[:, FROZEN] = value, 0.0
    frozen = be.asarray(FROZEN)
    got, want = (ours(be, "float32", rule, gradients, frozen=frozen) for gradients in (given, zeros))
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", ["sgd decayed", "adamw"])
def test_decay_spares_what_the_mask_spares(be: nn.Backend, name: str) -> None:
    rule, make, options = RULES[name]
    got = ours(be, "float32", rule, decays=be.asarray(FROZEN * 1.0, dtype="float32"))
    close(got[:20], theirs(make, options)[:20], "float32", c=200)
    close(got[20:], theirs(make, options | {"weight_decay": 0.0})[20:], "float32", c=200)


@pytest.mark.parametrize("rule", [nn.SGD(0.1, weight_decay=0.5), nn.AdamW(0.1, weight_decay=0.5)])
def test_fit_decays_weights_and_not_biases(be: nn.Backend, rule: nn.Optimizer) -> None:
    """Inputs of 0 and targets that are met: all of the gradient is the decay."""
    model = nn.Network(nn.Dense(3, bias_init="ones")).init((2,), backend=be, dtype="float32")
    weight = to_host(be, model.params["0.weight"])
    X, y = be.asarray(np.zeros((4, 2)), dtype="float32"), be.asarray(np.ones((4, 3)), dtype="float32")
    model.fit(X, y, loss="mse", optimizer=rule, epochs=2, batch_size=None)
    close(to_host(be, model.params["0.weight"]), weight * 0.95**2, "float32")
    np.testing.assert_array_equal(to_host(be, model.params["0.bias"]), np.ones(3))


def test_numbers_of_numpy_leave_the_dtype(be: nn.Backend) -> None:
    """Such as those of a search over `np.linspace`: a float64 of NumPy's would turn float32 vectors into float64."""
    f = np.float64
    for rule in (
        nn.SGD(f(0.1), momentum=f(0.9), weight_decay=f(0.1), clip_norm=f(1.0)),
        nn.Adam(f(0.1), beta1=f(0.9), beta2=f(0.99), epsilon=f(1e-8)),
        nn.AdamW(np.float32(0.1), weight_decay=np.float32(0.1)),
        nn.RMSprop(f(0.1), decay=f(0.9)),
        nn.Adagrad(f(0.1), epsilon=f(1e-9)),
    ):
        assert type(rule.lr) is float
        ours(be, "float32", rule)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.SGD(0.0), ValueError, "learning rate must be .*above 0; got 0.0"),
        (lambda: nn.SGD("fast"), TypeError, "number or a schedule; got 'fast'"),
        (lambda: nn.SGD(True), TypeError, "number or a schedule; got True"),
        (lambda: nn.Adam(-1e-3), ValueError, "learning rate must be .*above 0; got -0.001"),
        (lambda: nn.Adam(epsilon=0.0), ValueError, "epsilon must be .*above 0; got 0.0"),
        (lambda: nn.Adam(beta2=-0.1), ValueError, "0 <= beta2 < 1; got -0.1"),
        (lambda: nn.AdamW(weight_decay=float("nan")), ValueError, "0 <= weight_decay < inf; got nan"),
        (lambda: nn.RMSprop(decay=1.0), ValueError, "0 <= decay < 1; got 1.0"),
        (lambda: nn.RMSprop(epsilon="small"), ValueError, "epsilon must be .*above 0; got 'small'"),
        (lambda: nn.Adagrad(epsilon=-1), ValueError, "epsilon must be .*above 0; got -1"),
        (lambda: nn.SGD(0.1, momentum=-0.1), ValueError, "0 <= momentum < 1; got -0.1"),
        (lambda: nn.SGD(0.1, learning_rate=1), TypeError, "learning_rate"),
        (lambda: nn.Adam(0.1, clip_value=0), ValueError, "clip_value must be .*above 0; got 0"),
        (lambda: nn.NAdam(momentum_decay=-1), ValueError, "0 <= momentum_decay < inf; got -1"),
        (lambda: nn.Lion(beta2=1.0), ValueError, "0 <= beta2 < 1; got 1.0"),
        (lambda: nn.Adadelta(decay=1.0), ValueError, "0 <= decay < 1; got 1.0"),
        (lambda: nn.Muon(momentum=1.0), ValueError, "0 <= momentum < 1; got 1.0"),
        (lambda: nn.Muon(rounds=0), ValueError, "rounds must be an integer of at least 1; got 0"),
        (lambda: nn.LBFGS(memory=2.5), TypeError, "memory must be an integer of at least 1; got 2.5"),
        (lambda: nn.LBFGS(tolerance=-1), ValueError, "0 <= tolerance"),
        (lambda: nn.LBFGS(weight_decay=-1), ValueError, "0 <= weight_decay"),
        (
            lambda: optimizer_named("adma"),
            ValueError,
            "unknown optimizer 'adma'; use one of sgd, .*Did you mean 'adam'",
        ),
        (lambda: optimizer_named(3), TypeError, r"got the number 3. For a learning rate, pass nn.Adam\(3\)"),
        (
            lambda: optimizer_named(print),
            TypeError,
            r"a name or an nn\.Optimizer, such as nn\.Adam\(0\.01\); got <built-in",
        ),
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


def test_optimizers_by_name() -> None:
    for name, kind in OPTIMIZERS.items():
        assert optimizer_named(name) == optimizer_named(kind) == kind()
    rule = nn.Adam(0.3)
    assert optimizer_named(rule) is rule


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


@pytest.mark.parametrize("size", [1e-30, 1e20, 3e38])
def test_a_huge_gradient_is_clipped(be: nn.Backend, size: float) -> None:
    rule, theta = nn.SGD(1.0, clip_norm=min(1.0, size)), be.asarray(np.zeros(4), dtype="float32")
    step = as_called(be, lambda theta, gradient: rule.update(theta, gradient, {}, rule.numbers(1.0, 1))[0])
    got = step(theta, be.asarray([size] * 4, dtype="float32"))
    np.testing.assert_allclose(be.to_numpy(got), -0.5 * min(1.0, size), rtol=1e-6)
    assert (be.to_numpy(step(got, be.asarray(np.zeros(4), dtype="float32"))) == be.to_numpy(got)).all()


OTHERS = {"lion": nn.Lion(0.1), "lamb": nn.LAMB(0.1), "muon": nn.Muon(0.1)}
HIDING = {name: rule for name, (rule, *_) in [*RULES.items()][4:]} | OTHERS


@pytest.mark.parametrize("rule", HIDING.values(), ids=HIDING)
def test_what_is_not_finite_is_never_hidden(be: nn.Backend, rule: Any) -> None:
    """By none of the rules, clipped or not: a training must see it to say so."""
    for bound in (None, 1.0):
        masked = replace(rule, clip_norm=bound, clip_value=bound)
        for wrong in (np.nan, np.inf, -np.inf):
            with np.errstate(all="ignore"):
                got = ours(be, "float32", masked, np.full((1, 40), wrong))
            assert not np.isfinite(got).any(), f"{wrong}, clipped at {bound}"


SQUARES = [nn.Adam(), nn.AdamW(), nn.RMSprop(), nn.Adagrad(), nn.NAdam(), nn.LAMB(), nn.Muon()]


@pytest.mark.parametrize("size", [1e18, 1e20, 1e30, 3e38])
@pytest.mark.parametrize("rule", [*SQUARES, nn.Adamax(), nn.Lion()], ids=lambda rule: type(rule).__name__)
def test_a_huge_gradient_is_followed_as_in_float64(host: nn.Backend, rule: nn.Optimizer, size: float) -> None:
    """One of them, then usual ones: the same steps, and a memory that ends."""

    def run(dtype: str) -> tuple[float, np.ndarray]:
        theta = host.asarray(np.ones(1), dtype=dtype)
        slots = rule.slots(theta)
        for step in range(1, 1001):
            gradient = host.asarray([size if step == 1 else 1.0], dtype=dtype)
            theta, slots = rule.update(theta, gradient, slots, rule.numbers(0.01, step))
        return float(theta[0]), np.concat([slot.reshape(-1) for slot in slots.values()])

    with np.errstate(over="ignore"):
        (got, slots), (want, _) = run("float32"), run("float64")
    assert got == pytest.approx(want, rel=1e-3)
    assert np.isfinite(slots).all()


@pytest.mark.parametrize(
    "rule",
    [*SQUARES[:5], nn.Adam(amsgrad=True), nn.Muon(), nn.Adamax(), nn.Lion()],
    ids=lambda rule: type(rule).__name__,
)
def test_huge_gradients_leave_the_memory_finite(be: nn.Backend, rule: nn.Optimizer) -> None:
    """Many in a row, of every size; each parameter goes on moving while they last."""
    theta = be.asarray(np.zeros(5), dtype="float32")
    slots, step = rule.slots(theta), as_called(be, rule.update)
    with np.errstate(over="ignore"):
        for number in range(1, 21):
            gradient = be.asarray([1e18, 1e19, 1e20, 1e30, 3e38], dtype="float32")
            before = be.to_numpy(theta).copy()
            theta, slots = step(theta, gradient, slots, rule.numbers(0.01, number))
            moved = before - be.to_numpy(theta)
            assert (moved > 1e-4).all()
            assert (moved < 0.2).all()
    assert all(np.isfinite(be.to_numpy(slot)).all() for slot in slots.values())


def test_nothing_to_clip(be: nn.Backend) -> None:
    """A network without parameters."""
    nothing = be.asarray(np.zeros(0), dtype="float32")
    assert nn.SGD(clip_norm=1.0).update(nothing, nothing, {}, {"rate": 0.1})[0].shape == (0,)


# --- Clipping by value ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip_norm", [None, 1.5])
def test_clipping_by_value_equals_pytorch(be: nn.Backend, clip_norm: float | None) -> None:
    """Before clipping by norm, and before the decay is added."""
    theta = torch.nn.Parameter(torch.tensor(THETA))
    rule = optim.Adam([theta], lr=0.01, weight_decay=0.1)
    for gradient in GRADIENTS:
        theta.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_value_([theta], 0.3)
        if clip_norm:
            torch.nn.utils.clip_grad_norm_([theta], clip_norm)
        rule.step()
    got = ours(be, "float32", nn.Adam(0.01, weight_decay=0.1, clip_value=0.3, clip_norm=clip_norm))
    close(got, theta.detach().numpy(), "float32", c=200)


def test_settings_of_later_versions_are_shown_where_they_are_set() -> None:
    """Files of a training hold the text of its optimizer, and are resumed with the same text only."""
    assert repr(nn.Adam()) == (
        "Adam(lr=0.001, weight_decay=0.0, clip_norm=None, beta1=0.9, beta2=0.999, epsilon=1e-08)"
    )
    assert "clip_value=1.0, beta1" in repr(nn.Adam(clip_value=1.0))
    assert repr(nn.Adam(amsgrad=True)).endswith("amsgrad=True)")


# --- Rules that PyTorch has not, against their formulas -------------------------------------------------------------

NET = nn.Network(nn.Dense(5, "tanh"), nn.Dense(7))
STEPS = np.random.default_rng(2).normal(size=(6, 72))


def stepped(be: nn.Backend, dtype: str, rule: nn.Optimizer) -> tuple[np.ndarray, np.ndarray]:
    """Theta at the start and after six steps, each compiled as in a loop of one's own."""
    model = NET.init((5,), seed=0, backend=be, dtype=dtype)
    step = as_called(be, lambda theta, g, slots, i: rule.step(model.with_theta(theta), g, slots, i))
    start, slots = be.to_numpy(model.theta).astype(float), rule.slots(model.theta)
    theta = model.theta
    for i, gradient in enumerate(STEPS):
        theta, slots = step(theta, be.asarray(gradient, dtype=dtype), slots, i)
    assert theta.dtype == be.dtype(dtype)
    assert {name: slot.dtype for name, slot in slots.items()} == dict.fromkeys(rule.slot_names, be.dtype(dtype))
    return start, be.to_numpy(theta).astype(float)


PARTS = [(slice(0, 25), (5, 5)), (slice(25, 30), (5,)), (slice(30, 65), (5, 7)), (slice(65, 72), (7,))]


def test_lion_is_its_formula(be: nn.Backend, dtype: str) -> None:
    start, got = stepped(be, dtype, nn.Lion(0.01, weight_decay=0.1))
    want, mean, decays = start, np.zeros(72), np.concat([np.full(s.stop - s.start, len(d) > 1) for s, d in PARTS])
    for g in STEPS:
        want = want - 0.01 * (np.sign(0.9 * mean + 0.1 * g) + 0.1 * decays * want)
        mean = 0.99 * mean + 0.01 * g
    close(got, want, dtype)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lamb_is_its_formula(be: nn.Backend, dtype: str, decay: float) -> None:
    start, got = stepped(be, dtype, nn.LAMB(0.01, weight_decay=decay))
    want, mean, square = start.copy(), np.zeros(72), np.zeros(72)
    for t, g in enumerate(STEPS, start=1):
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        adam = mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.999**t)) + 1e-6)
        for part, shape in PARTS:
            w = want[part].copy()
            step = adam[part] + decay * w * (len(shape) > 1)
            ratio = np.linalg.norm(w) / np.linalg.norm(step) if w.any() else 1.0
            want[part] = w - 0.01 * ratio * step
    close(got, want, dtype, c=200)


def rounds_of_newton_and_schulz(x: np.ndarray) -> np.ndarray:
    if x.shape[0] > x.shape[1]:
        return rounds_of_newton_and_schulz(x.T).T
    x = x / np.linalg.norm(x)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return x


def test_muon_is_its_formula(be: nn.Backend, dtype: str) -> None:
    start, got = stepped(be, dtype, nn.Muon(0.01, weight_decay=0.1))
    want, mean, square = start.copy(), np.zeros(72), np.zeros(72)
    for t, g in enumerate(STEPS, start=1):
        for part, shape in PARTS:
            matrix = len(shape) > 1
            mu = 0.95 if matrix else 0.9
            mean[part] = mu * mean[part] + (1 - mu) * g[part]
            square[part] = 0.999 * square[part] + 0.001 * g[part] ** 2
            if matrix:
                step = rounds_of_newton_and_schulz((0.95 * mean[part] + 0.05 * g[part]).reshape(shape))
                step = 0.2 * np.sqrt(max(shape)) * step.reshape(-1) + 0.1 * want[part]
            else:
                step = mean[part] / (1 - 0.9**t) / (np.sqrt(square[part] / (1 - 0.999**t)) + 1e-8)
            want[part] = want[part] - 0.01 * step
    close(got, want, dtype, c=500)


def test_muon_is_pytorchs_as_far_as_bfloat16_goes() -> None:
    """PyTorch orthogonalises in bfloat16."""
    model = nn.Network(nn.Dense(7, bias=False)).init((5,), seed=0)
    rule = nn.Muon(0.1, weight_decay=0.1)
    theirs_ = torch.nn.Parameter(torch.tensor(model.theta.reshape(5, 7).T.copy()))
    options = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.95, "adjust_lr_fn": "match_rms_adamw"}
    muon, slots = optim.Muon([theirs_], **options), rule.slots(model.theta)
    for i, gradient in enumerate(STEPS[:, :35]):
        theirs_.grad = torch.tensor(gradient.reshape(5, 7).T.copy())
        muon.step()
        model.theta, slots = rule.step(model, gradient, slots, i)
    np.testing.assert_allclose(model.theta.reshape(5, 7), theirs_.detach().numpy().T, atol=0.02)


@pytest.mark.parametrize("rule", [nn.LAMB(0.01), nn.Muon(0.01), nn.NAdam(0.01)], ids=lambda rule: type(rule).__name__)
def test_rules_with_a_layout_train_filters_and_go_on_from_a_file(be: nn.Backend, rule: nn.Optimizer, tmp_path) -> None:
    X = be.asarray(np.random.default_rng(0).normal(size=(12, 6, 6, 1)), dtype="float32")
    y = be.asarray(np.arange(12) % 2)
    net = nn.Network(nn.Conv2D(3, 3), nn.Activation("tanh"), nn.Flatten(), nn.Dense(2))
    whole, halves = (net.init((6, 6, 1), seed=0, backend=be, dtype="float32") for _ in range(2))
    history = whole.fit(X, y, optimizer=rule, epochs=4, batch_size=6)
    assert history["loss"][-1] < history["loss"][0]
    file = tmp_path / "half.safetensors"
    for epochs in (2, 4):
        halves.fit(X, y, optimizer=rule, epochs=epochs, batch_size=6, checkpoint=file, resume=True)
    np.testing.assert_array_equal(be.to_numpy(halves.theta), be.to_numpy(whole.theta))


def own(apply=None, slot_names=()) -> nn.Optimizer:
    """An optimizer of one's own, with this rule."""
    return type("Own", (nn.Optimizer,), {"slot_names": slot_names} | ({"apply": apply} if apply else {}))(0.1)


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        (own(), NotImplementedError, r"Own needs a method apply\(self, theta, gradient, slots, numbers\)"),
        (own(lambda s, theta, g, slots, n: theta), TypeError, r"must return \(theta, slots\).*got ndarray of shape"),
        (own(lambda s, theta, g, slots, n: (theta, g)), TypeError, r"Without slots: return theta, \{\}"),
        (
            own(lambda s, theta, g, slots, n: (theta, {}), ("mean",)),
            ValueError,
            r"got \[\], but slot_names is \('mean'",
        ),
        (
            own(lambda s, theta, g, slots, n: (theta, {"mean": g})),
            ValueError,
            r"got \['mean'\], but slot_names is \(\)",
        ),
    ],
)
def test_a_rule_of_ones_own_must_give_what_it_promises(host: nn.Backend, rule, error, message: str) -> None:
    X, y = nn.datasets.moons(20, seed=0, backend=host)
    with pytest.raises(error, match=message):
        nn.Network(nn.Dense(8, "tanh"), nn.Dense(2)).init((2,), backend=host).fit(X, y, optimizer=rule, epochs=1)


def test_the_class_of_an_optimizer_is_one_with_its_usual_settings() -> None:
    assert optimizer_named(nn.Lion) == nn.Lion()
