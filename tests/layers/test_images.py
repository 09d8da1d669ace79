"""Layers for images, beside PyTorch's over a grid of settings."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.tolerances import as_called, close, to_host


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


LAYERS = {
    "conv": (nn.Conv2D(4, 3, padding="same", activation="tanh"), (5, 6, 2)),
    "conv-strided": (nn.Conv2D(4, (3, 2), stride=(2, 3), padding=((1, 0), (2, 1))), (7, 8, 2)),
    "conv-dilated-grouped": (nn.Conv2D(6, 3, dilation=2, padding=2, groups=2, bias=False), (6, 5, 4)),
    "conv-pointwise": (nn.Conv2D(3, 1, activation="relu"), (3, 4, 5)),
    "conv-1d-causal": (nn.Conv1D(3, 3, dilation=2, padding="causal", activation="tanh"), (6, 2)),
    "conv-1d": (nn.Conv1D(4, 3, stride=2, padding="same"), (7, 3)),
    "max-pool": (nn.MaxPool2D(3, 2, padding=1, ceil=True), (6, 7, 2)),
    "avg-pool": (nn.AvgPool2D(3, 2, padding=1, ceil=True, count_padding=False), (6, 7, 2)),
    "global-avg-pool": (nn.GlobalAvgPool(), (3, 4, 2)),
    "batch-norm": (nn.BatchNorm(), (3, 4, 2)),
    "batch-norm-flat": (nn.BatchNorm(momentum=0.5), (4,)),
    "layer-norm": (nn.LayerNorm(), (3, 5)),
    "local-response-norm": (nn.LocalResponseNorm(4, alpha=0.5, k=2.0), (2, 3, 7)),
    "net": (
        nn.Network(
            nn.Conv2D(4, 3, activation="relu"),
            nn.BatchNorm(),
            nn.Branches(nn.Conv2D(2, 1), nn.Network(nn.MaxPool2D(3, 1, padding=1), nn.Conv2D(3, 1))),
            nn.GlobalAvgPool(),
            nn.Dense(2),
        ),
        (6, 6, 3),
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layer_is_right(be: nn.Backend, case: str) -> None:
    layer, shape = LAYERS[case]
    nn.testing.check_layer(layer, shape, backends=[be])


GRID = [
    (*settings, *(((7, 6), 2), ((5, 9), 1))[number % 2])
    for number, settings in enumerate(itertools.product((1, 2, 3), (1, 2), (0, 1), (1, 2), (1, 2)))
] + [(3, 1, 1, 1, 1, (5, 5), 0), (5, 3, 2, 1, 4, (11, 12), 3), ((1, 7), (1, 2), (0, 3), (1, 1), 1, (4, 9), 2)]


@pytest.mark.parametrize("case", GRID, ids=str)
def test_convolution_equals_pytorch(be: nn.Backend, case, torch: Any) -> None:
    F = torch.nn.functional
    kernel, stride, padding, dilation, groups, (height, width), batch = case
    dtype = "float64" if "float64" in be.dtypes else "float32"
    layer = nn.Conv2D(8, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, height, width, 4))
    try:
        shape = layer.out_shape((height, width, 4))
    except ValueError:
        with pytest.raises(RuntimeError):
            F.conv2d(
                torch.zeros(1, 4, height, width),
                torch.zeros(8, 4 // groups, *pairs(kernel)),
                None,
                stride,
                padding,
                dilation,
                groups,
            )
        return
    w, b, dy = rng.normal(size=(*pairs(kernel), 4 // groups, 8)), rng.normal(size=8), rng.normal(size=(batch, *shape))

    def both_ways(x: Any, weight: Any, bias: Any, dy: Any) -> tuple[Any, ...]:
        out = layer.forward({"weight": weight, "bias": bias}, x, nn.Context())
        dx, gradients = out.pullback(dy)
        return out.y, dx, gradients["weight"], gradients["bias"]

    found = as_called(be, both_ways)(*(be.asarray(a, dtype=dtype) for a in (x, w, b, dy)))
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, w, b))
    want = F.conv2d(tx.permute(0, 3, 1, 2), tw.permute(3, 2, 0, 1), tb, stride, padding, dilation, groups).permute(
        0, 2, 3, 1
    )
    want.backward(torch.tensor(dy))
    for got, reference in zip(found, (want, tx.grad, tw.grad, tb.grad), strict=True):
        close(to_host(be, got), reference.detach().numpy(), dtype, c=500)


def pairs(value) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


POOLS = [
    (*settings, ((7, 6), (5, 8))[number % 3 % 2])
    for number, settings in enumerate(itertools.product((2, 3), (1, 2, 3), (0, 1), (False, True)))
]


@pytest.mark.parametrize("case", POOLS, ids=str)
def test_pools_equal_pytorch(be: nn.Backend, case, torch: Any) -> None:
    F = torch.nn.functional
    kernel, stride, padding, ceil, size = case
    x = np.round(np.random.default_rng(1).normal(size=(2, *size, 3)), 1)  # with equal entries
    tx = torch.tensor(x, requires_grad=True)
    first = tx.permute(0, 3, 1, 2)
    cases = [
        (nn.MaxPool2D(kernel, stride, padding, ceil), F.max_pool2d(first, kernel, stride, padding, ceil_mode=ceil)),
        *[
            (
                nn.AvgPool2D(kernel, stride, padding, ceil, count_padding=counted),
                F.avg_pool2d(first, kernel, stride, padding, ceil, counted),
            )
            for counted in (True, False)
        ],
    ]
    for layer, reference in cases:
        want = reference.permute(0, 2, 3, 1)
        assert layer.out_shape(x.shape[1:]) == tuple(want.shape[1:])
        dy = np.random.default_rng(2).normal(size=want.shape)
        tx.grad = None
        want.backward(torch.tensor(dy))

        def both_ways(x: Any, dy: Any, layer: nn.Layer = layer) -> tuple[Any, Any]:
            out = layer.forward({}, x, nn.Context())
            return out.y, out.pullback(dy)[0]

        y, dx = as_called(be, both_ways)(be.asarray(x, dtype="float32"), be.asarray(dy, dtype="float32"))
        close(to_host(be, y), want.detach().numpy(), "float32")
        close(to_host(be, dx), tx.grad.numpy(), "float32")


def test_normalisations_equal_pytorch(be: nn.Backend, torch: Any) -> None:
    F = torch.nn.functional
    rng = np.random.default_rng(3)
    x, dy = rng.normal(size=(4, 3, 5, 6)) * 2 + 1, rng.normal(size=(4, 3, 5, 6))
    w, b = rng.normal(size=6), rng.normal(size=6)
    mean, variance = rng.normal(size=6), rng.uniform(0.5, 2.0, 6)
    last = (0, 3, 1, 2)
    cases = []
    for training in (True, False):
        tm, tv = torch.tensor(mean), torch.tensor(variance)
        cases.append(
            (
                nn.BatchNorm(),
                training,
                lambda t, w, b, m=tm, v=tv, on=training: F.batch_norm(t.permute(last), m, v, w, b, on).permute(
                    0, 2, 3, 1
                ),
                (tm, tv),
            )
        )
    cases.append((nn.LayerNorm(), False, lambda t, w, b: F.layer_norm(t, (6,), w, b), None))
    cases.append(
        (
            nn.LocalResponseNorm(3, 0.3, 0.6, 1.5),
            False,
            lambda t, w, b: (
                F.local_response_norm(t.permute(last), 3, 0.3, 0.6, 1.5).permute(0, 2, 3, 1) + 0 * (w + b).sum()
            ),
            None,
        )
    )
    for layer, training, function, state in cases:
        tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, w, b))
        want = function(tx, tw, tb)
        want.backward(torch.tensor(dy))
        here = {
            name: be.asarray(a, dtype="float32")
            for name, a in (("weight", w), ("bias", b), ("mean", mean), ("variance", variance))
        }
        out = layer.forward(here, be.asarray(x, dtype="float32"), nn.Context(training, here))
        dx, gradients = out.pullback(be.asarray(dy, dtype="float32"))
        close(to_host(be, out.y), want.detach().numpy(), "float32")
        close(to_host(be, dx), tx.grad.numpy(), "float32", c=200)
        for name, reference in (("weight", tw), ("bias", tb)):
            if name in gradients:
                close(to_host(be, gradients[name]), reference.grad.numpy(), "float32", c=200)
        if training and state:
            for name, reference in zip(("mean", "variance"), state, strict=True):
                close(to_host(be, out.state[name]), reference.numpy(), "float32")


def test_window_larger_than_the_image(be: nn.Backend, dtype: str) -> None:
    """With `ceil` there is one, and what reaches out of the image does not count."""
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    for layer, want in ((nn.AvgPool2D(5, ceil=True), 4.0), (nn.MaxPool2D(5, ceil=True), 8.0)):
        y = nn.Network(layer).init((3, 3, 1), backend=be, dtype=dtype)(be.asarray(x, dtype=dtype))
        nn.testing.assert_close(y, np.full((1, 1, 1, 1), want))


def test_dilation_of_a_single_entry_means_nothing(be: nn.Backend) -> None:
    x = np.random.default_rng(0).normal(size=(5, 7, 1, 2))
    net, plain = (nn.Network(nn.Conv2D(2, 1, stride=2, dilation=d, padding=1)) for d in (2, 1))
    outputs = [
        each.init((7, 1, 2), backend=be, dtype="float32")(be.asarray(x, dtype="float32")) for each in (net, plain)
    ]
    nn.testing.assert_close(outputs[0], be.to_numpy(outputs[1]))


def test_state_follows_training_and_is_kept(be: nn.Backend) -> None:
    X, y = nn.datasets.moons(65, backend=be, dtype="float32")
    model = nn.Network(nn.Dense(4), nn.BatchNorm(), nn.Activation("relu"), nn.Dense(2)).init(
        (2,), backend=be, dtype="float32"
    )
    before = to_host(be, model.state)
    history = model.fit(X, y, epochs=4, batch_size=13)
    assert not np.allclose(before, to_host(be, model.state))
    assert history["loss"][-1] < history["loss"][0]
    with pytest.raises(ValueError, match=r"BatchNorm cannot train on 1 entry per channel.*use batch_size=33"):
        model.fit(X, y, batch_size=32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2D(0, 3), "filters must be an integer of at least 1"),
        (lambda: nn.Conv2D(3, 3, groups=2), "multiple of groups; got 3 and 2"),
        (lambda: nn.Conv2D(4, (1, 2, 3)), r"one number, or two for \(vertical, horizontal\)"),
        (
            lambda: nn.Network(nn.Conv2D(4, 3)).init((8,)),
            r"Conv2D 1 of 1: expects examples of shape \(height, width, channels\)",
        ),
        (
            lambda: nn.Network(nn.Conv2D(4, 9)).init((8, 8, 1)),
            "covers 9 x 9 positions does not fit into images of shape",
        ),
        (lambda: nn.Network(nn.Conv2D(4, 3, groups=2)).init((8, 8, 3)), "3 channels cannot be divided into 2 groups"),
        (lambda: nn.Network(nn.Conv2D(4, 3, padding="some")).init((8, 8, 3)), "'valid', 'same' or numbers; got 'some'"),
        (lambda: nn.Network(nn.Conv2D(4, 3, padding=(1, 2, 3))).init((8, 8, 3)), r"or two; got \(1, 2, 3\)"),
        (lambda: nn.Network(nn.MaxPool2D(2, padding=2)).init((8, 8, 1)), r"smaller than the window, \(2, 2\); got 2"),
        (lambda: nn.Network(nn.AvgPool2D(2, padding=(0, (0, 2)))).init((8, 8, 1)), "could lie in the padding only"),
        (lambda: nn.LocalResponseNorm(k=-1.0), "LocalResponseNorm k must be a finite number above 0; got -1.0"),
        (lambda: nn.LocalResponseNorm(beta=-1.0), "LocalResponseNorm beta must be a finite number of at least 0"),
        (lambda: nn.Activation("elu", options={"alpha": np.inf}), "option 'alpha' of 'elu' must be a finite number"),
        (lambda: nn.BatchNorm(momentum=0), "0 < momentum <= 1"),
        (lambda: nn.LayerNorm(epsilon=0), "above 0"),
        (lambda: nn.LocalResponseNorm(0), "at least 1"),
    ],
)
def test_bad_settings(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("scale", [1e-30, 1e18, 1e20, 1e33])
@pytest.mark.parametrize("layer", [nn.BatchNorm(epsilon=1e-12), nn.LayerNorm(epsilon=1e-12)], ids=["batch", "layer"])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_normalisation_of_numbers_whose_squares_do_not_fit(
    be: nn.Backend, layer: nn.Layer, scale: float, offset: float
) -> None:
    """As float64 has it, forward and back."""
    x, dy = np.random.default_rng(0).normal(size=(2, 200, 7))

    def run(here: nn.Backend, dtype: str) -> list[np.ndarray]:
        made = {"weight": np.ones(7), "bias": np.zeros(7), "mean": np.zeros(7), "variance": np.ones(7)}
        params = {name: here.asarray(value, dtype=dtype) for name, value in made.items()}

        def step(x: Any, dy: Any) -> list[Any]:
            out = layer.forward(params, x, nn.Context(True, params))
            dx, gradients = out.pullback(dy)
            return [out.y, dx * scale, gradients["weight"], out.state.get("mean", x[0, ...]) / scale]

        with np.errstate(all="ignore"):
            found = as_called(here, step)(*(here.asarray(a, dtype=dtype) for a in (scale * (x + offset), dy)))
            return [to_host(here, each) for each in found]

    for got, want in zip(run(be, "float32"), run(nn.backend("numpy"), "float64"), strict=True):
        close(got, want, "float32", c=1000.0)


CHANNELS_FIRST = r"\(3, 24, 24\) is that of images of height 3 with 24 channels.*\(0, 2, 3, 1\).*init\(\(24, 24, 3\)\)"


def test_channels_first_are_noticed():
    convolution, pool = nn.Conv2D(4, 3), nn.MaxPool2D(2)
    for network in (nn.Network(convolution), nn.Network(nn.Row(nn.MaxPool2D(3)), nn.Flatten())):
        with pytest.warns(UserWarning, match="The shape " + CHANNELS_FIRST) as record:
            network.init((3, 24, 24))
        assert record[0].filename == __file__
    with pytest.raises(ValueError, match=f"does not fit into images.* And the shape {CHANNELS_FIRST}"):
        nn.Network(convolution, pool, pool).init((3, 24, 24))
    for shape in ((24, 24, 3), (3, 24, 12), (8, 24, 24), (3, 3, 3)):
        nn.Network(nn.Conv2D(4, 3)).init(shape)
    nn.Network(nn.Flatten(), nn.Dense(2)).init((3, 24, 24))


def test_causal_outputs_read_no_later_position(be: nn.Backend) -> None:
    """And the outputs of parts are those of the whole, as each part begins with the last inputs before it."""
    rng = np.random.default_rng(0)
    layers = nn.Conv1D(4, 3, padding="causal", activation="tanh"), nn.Conv1D(2, 2, dilation=3, padding="causal")
    model = nn.Network(*layers, nn.Conv1D(2, 1, padding="causal")).init((9, 2), seed=0, backend=be, dtype="float32")
    x = rng.normal(size=(2, 9, 2)).astype(np.float32)
    y = to_host(be, model(be.asarray(x)))
    assert y.shape == (2, 9, 2)
    changed = x.copy()
    changed[:, 5:] = 0.0
    np.testing.assert_allclose(to_host(be, model(be.asarray(changed)))[:, :5], y[:, :5], atol=1e-6)
    cache, parts = model.new_cache(2), []
    for first, last in ((0, 1), (1, 6), (6, 9)):
        part, cache = model.decode(be.asarray(x[:, first:last]), cache)
        parts.append(to_host(be, part))
    np.testing.assert_allclose(np.concatenate(parts, axis=1), y, atol=1e-5)


def test_only_a_causal_convolution_continues_a_sequence() -> None:
    for layer in (nn.Conv1D(2, 3, padding="same"), nn.Conv1D(2, 3, padding="causal", stride=2)):
        with pytest.raises(ValueError, match=r'Conv1D 1 of 1: its outputs read later positions.*padding="causal"'):
            nn.Network(layer).init((9, 2)).new_cache()
    with pytest.raises(ValueError, match="Conv1D kernel must be an integer of at least 1; got 0"):
        nn.Conv1D(2, 0, padding="causal")
