"""Recurrent layers beside PyTorch's, with masks, in parts, and with its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels
from tests.tolerances import to_host

RNG = np.random.default_rng(0)

LAYERS = {
    "rnn": (nn.SimpleRNN(3), (5, 2)),
    "relu": (nn.SimpleRNN(3, activation="relu", bias=False), (4, 2)),
    "lstm": (nn.LSTM(3), (5, 2)),
    "lstm-deep": (nn.LSTM(2, 2, bidirectional=True), (3, 3)),
    "gru": (nn.GRU(3, bidirectional=True), (4, 2)),
    "gru-deep": (nn.GRU(4, 2, bias=False), (1, 4)),
    "dropout": (nn.GRU(3, 3, bidirectional=True, dropout=0.4), (4, 2)),
    "last": (nn.Network(nn.GRU(3), nn.LastStep()), (4, 2)),
    "masked": (nn.Masked(nn.LSTM(3, bidirectional=True), nn.LastStep()), {"values": (5, 2), "mask": (5,)}),
    "masked-mean": (nn.Masked(nn.GRU(3), nn.GlobalAvgPool()), {"values": (5, 2), "mask": (5,)}),
    "tokens": (nn.Network(nn.Embedding(5, 3, padding_index=0), nn.SimpleRNN(3), nn.LastStep()), (6,)),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layer_is_right(be: nn.Backend, case: str) -> None:
    layer, shape = LAYERS[case]
    nn.testing.check_layer(layer, shape, backends=[be])


def theirs(layer: Any, features: int) -> Any:
    """PyTorch's layer with these settings, in float64."""
    torch = pytest.importorskip("torch")
    kind = {"SimpleRNN": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}[type(layer).__name__]
    more = {"nonlinearity": layer.activation} if isinstance(layer, nn.SimpleRNN) else {}
    sizes = features, layer.units, layer.num_layers
    settings = {"bias": layer.bias, "bidirectional": layer.bidirectional, "batch_first": True}
    return kind(*sizes, **settings, **more).to(torch.float64)


SETTINGS: list[dict[str, Any]] = [
    {"units": 7},
    {"units": 1, "num_layers": 2, "bias": False},
    {"units": 5, "num_layers": 3, "bidirectional": True},
    {"units": 16, "bidirectional": True},
]
KINDS = {"tanh": nn.SimpleRNN, "relu": nn.SimpleRNN, "lstm": nn.LSTM, "gru": nn.GRU}


def made(kind: str, settings: dict[str, Any]) -> Any:
    return KINDS[kind](**settings, **({"activation": kind} if kind in ("tanh", "relu") else {}))


@pytest.mark.parametrize("positions", [1, 7])
@pytest.mark.parametrize("settings", range(len(SETTINGS)))
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_equal_pytorch(
    be: nn.Backend, dtype: str, kind: str, settings: int, positions: int
) -> None:
    import torch

    layer = made(kind, SETTINGS[settings])
    reference = theirs(layer, 3)
    model = nn.Network(layer).init((positions, 3), backend=be, dtype=dtype)
    state = {
        f"0.{name}": to_host(be, be.asarray(x.detach().numpy(), dtype=dtype))
        for name, x in reference.state_dict().items()
    }
    model.load_torch(state)
    reference.load_state_dict({name.removeprefix("0."): torch.tensor(x) for name, x in state.items()})
    x = to_host(be, be.asarray(RNG.normal(size=(13, positions, 3)), dtype=dtype))
    dy = to_host(be, be.asarray(RNG.normal(size=(13, positions, layer.out_shape((positions, 3))[1])), dtype=dtype))

    out = model.network.layers[0].forward(
        model.wiring.params.tree(model.theta)["0"], be.asarray(x, dtype=dtype), nn.Context()
    )
    dx, gradients = out.pullback(be.asarray(dy, dtype=dtype))

    inputs = torch.tensor(x, requires_grad=True)
    y, _ = reference(inputs)
    y.backward(torch.tensor(dy))
    tolerance = 1e-9 if dtype == "float64" else 1e-5

    def same(got: Any, want: Any) -> None:
        want = want.detach().numpy()
        np.testing.assert_allclose(to_host(be, got), want, atol=tolerance * max(1.0, np.abs(want).max()))

    same(out.y, y)
    same(dx, inputs.grad)
    for name, p in reference.named_parameters():
        same(gradients[name].T if name.startswith("weight") else gradients[name], p.grad)


LENGTHS = [7, 3, 1, 0, 6]
MASK = np.arange(7)[None, :] < np.asarray(LENGTHS)[:, None]


@pytest.mark.parametrize("kind", KINDS)
def test_padded_positions_have_no_effect(be: nn.Backend, dtype: str, kind: str) -> None:
    """Each example alone gives the same; an example that is all padding gives 0, and NaN in the padding is not read."""
    layer = made(kind, {"units": 4, "num_layers": 2, "bidirectional": True})
    net = nn.Network(nn.Masked(layer))
    model = net.init({"values": (7, 3), "mask": (7,)}, backend=be, dtype=dtype)
    params = model.wiring.params.tree(model.theta)["0"]["0"]
    values = RNG.normal(size=(5, 7, 3))
    x, mask = be.asarray(np.where(MASK[..., None], values, np.nan), dtype=dtype), be.asarray(MASK)
    out = layer.forward(params, x, nn.Context(mask=mask))
    dy = be.asarray(np.where(MASK[..., None], RNG.normal(size=(5, 7, 8)), np.nan), dtype=dtype)
    dx, gradients = out.pullback(dy)
    y, dx = to_host(be, out.y), to_host(be, dx)
    assert not y[~MASK].any()
    assert not dx[~MASK].any()
    total: dict[str, Any] = dict.fromkeys(gradients, 0.0)
    for i, length in enumerate(LENGTHS):
        if length:
            alone = layer.forward(params, x[i : i + 1, :length, ...], nn.Context())
            nn.testing.assert_close(alone.y, y[i : i + 1, :length])
            of_x, each = alone.pullback(dy[i : i + 1, :length, ...])
            nn.testing.assert_close(of_x, dx[i : i + 1, :length])
            total = {name: total[name] + to_host(be, g) for name, g in each.items()}
    for name, want in total.items():
        nn.testing.assert_close(gradients[name], want)


@pytest.mark.parametrize("kind", KINDS)
def test_states_go_in_and_out_as_pytorchs(be: nn.Backend, dtype: str, kind: str) -> None:
    """A cache has the states: (batch, layers, units) each, where PyTorch has (layers, batch, units)."""
    import torch

    layer = made(kind, {"units": 4, "num_layers": 2})
    reference = theirs(layer, 3)
    model = nn.Network(layer).init((5, 3), backend=be, dtype=dtype)
    model.load_torch({f"0.{name}": x.detach().numpy().astype(dtype) for name, x in reference.state_dict().items()})
    names = ("hidden", "cell")[: layer.recurrence.states]
    before = [RNG.normal(size=(3, 2, 4)).astype(dtype) for _ in names]
    cache = model.new_cache(3)
    given = {name: be.asarray(x, dtype=dtype) for name, x in zip(names, before, strict=True)}
    x = RNG.normal(size=(3, 5, 3)).astype(dtype)
    y, cache = model.decode(be.asarray(x, dtype=dtype), cache._replace(layers={"0": given}))

    swapped = [torch.tensor(each.swapaxes(0, 1)).double().contiguous() for each in before]
    want, after = reference(torch.tensor(x).double(), swapped[0] if len(names) == 1 else tuple(swapped))
    tolerance = 1e-9 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(to_host(be, y), want.detach().numpy(), atol=tolerance)
    for name, state in zip(names, [after] if len(names) == 1 else after, strict=True):
        got = to_host(be, cache.layers["0"][name]).swapaxes(0, 1)
        np.testing.assert_allclose(got, state.detach().numpy(), atol=tolerance)


def test_dropout_is_between_stacked_layers(be: nn.Backend) -> None:
    """In training, whole entries of the first layer's outputs are left out; the second layer's are all there."""
    layer = nn.SimpleRNN(4, 2, dropout=0.5, activation="relu", bias=False, init="ones")
    model = nn.Network(layer).init((3, 4), backend=be, dtype="float32")
    x, params = be.asarray(np.ones((50, 3, 4)), dtype="float32"), model.wiring.params.tree(model.theta)["0"]
    trained = layer.forward(params, x, nn.Context(training=True, root=nn.Key(0)))
    first = to_host(be, trained.y)[:, 0, 0] / 4.0 / 2.0  # 4 of each entry that is kept, times 2
    assert set(first.tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert 1.5 < first.mean() < 2.5
    np.testing.assert_allclose(to_host(be, layer.forward(params, x, nn.Context()).y)[:, 0], 16.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_in_parts_is_the_whole(be: nn.Backend, kind: str) -> None:
    layer = made(kind, {"units": 5, "num_layers": 2})
    model = nn.Network(layer, nn.Dense(2)).init((9, 3), seed=1, backend=be, dtype="float32")
    x = be.asarray(RNG.normal(size=(2, 9, 3)), dtype="float32")
    cache, ys = model.new_cache(2), []
    for first, last in ((0, 4), (4, 5), (5, 9)):
        y, cache = model.decode(x[:, first:last, ...], cache)
        ys.append(y)
    nn.testing.assert_close(be.xp.concat(ys, axis=1), to_host(be, model(x)))
    with pytest.raises(
        ValueError, match=r"GRU 1 of 1: it reads its inputs from the last position .*Leave out bidirect"
    ):
        nn.Network(nn.GRU(3, bidirectional=True)).init((4, 2)).new_cache()


def test_the_last_step_is_the_last_that_counts(be: nn.Backend) -> None:
    x = RNG.normal(size=(4, 3, 2)).astype(np.float32)
    mask = np.asarray([[True, True, False], [True, False, True], [False, False, False], [True, True, True]])
    holes = be.asarray(np.where(mask[..., None], x, np.float32(np.nan)))
    out = nn.LastStep().forward({}, holes, nn.Context(mask=be.asarray(mask)))
    np.testing.assert_array_equal(to_host(be, out.y), [x[0, 1], x[1, 2], [0.0, 0.0], x[3, 2]])
    dx = to_host(be, out.pullback(out.y)[0])
    assert not dx[0, 2].any()
    np.testing.assert_array_equal(dx[0, 1], x[0, 1])
    np.testing.assert_array_equal(to_host(be, nn.LastStep().forward({}, be.asarray(x), nn.Context()).y), x[:, 2])


@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered")
@pytest.mark.parametrize("kind", KINDS)
def test_nan_and_infinity_go_where_the_definition_has_them(be: nn.Backend, kind: str) -> None:
    """Compiled loops compute with functions of their own, and an example never changes another one."""
    cell, rng = kernels.CELLS[kind], np.random.default_rng(3)
    x = rng.normal(size=(4, 5, 3)).astype(np.float32)
    large = 1e30 if kind == "relu" else 1e38  # sums that overflow on the way depend on their order
    x[0, 2, 1], x[1, 1, 0], x[2, 3] = np.nan, np.inf, large
    weights = rng.normal(size=(3, cell.gates * 16)), 0.3 * rng.normal(size=(16, cell.gates * 16))
    given = [be.asarray(each, dtype="float32") for each in (x, *weights)]
    (y, *_, back), (want, *_, back_want) = (
        version(*given, None, None, None, None, None, cell=cell)
        for version in (kernels.recurrence, kernels.recurrence.definition)
    )
    for got, expected in ((y, want), (back(y)[0], back_want(want)[0])):
        np.testing.assert_allclose(to_host(be, got), to_host(be, expected), atol=1e-4, rtol=1e-4)
    assert np.isfinite(to_host(be, y)[3]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_example_and_no_position(be: nn.Backend, kind: str) -> None:
    for bidirectional in (False, True):
        layer = made(kind, {"units": 4, "bidirectional": bidirectional})
        model = nn.Network(layer).init((6, 3), backend=be, dtype="float32")
        params = model.wiring.params.tree(model.theta)["0"]
        for shape in ((0, 6), (2, 0), (0, 0)):
            out = layer.forward(params, be.xp.zeros((*shape, 3), dtype=be.xp.float32, device=be.device), nn.Context())
            assert tuple(out.y.shape) == (*shape, 4 * (1 + bidirectional))
            dx, gradients = out.pullback(out.y)
            assert tuple(dx.shape) == (*shape, 3)
            assert {name: tuple(g.shape) for name, g in gradients.items()} == {
                n: tuple(p.shape) for n, p in params.items()
            }
            assert not any(to_host(be, g).any() for g in gradients.values())


def test_training_lowers_the_loss(be: nn.Backend) -> None:
    """Of two sequences of signs, which one has its first sign: what a network without memory cannot know."""
    X = np.sign(RNG.normal(size=(64, 6, 1)))
    y = (X[:, 0, 0] > 0).astype(int)
    model = nn.Network(nn.LSTM(8), nn.LastStep(), nn.Dense(2)).init((6, 1), seed=0, backend=be, dtype="float32")
    history = model.fit(
        be.asarray(X, dtype="float32"), be.asarray(y), epochs=40, batch_size=16, optimizer=nn.Adam(0.02)
    )
    assert history["loss"][-1] < 0.1 < 0.6 < history["loss"][0]


def test_weights_go_to_pytorch_and_back() -> None:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = (
                torch.nn.Embedding(9, 4),
                torch.nn.LSTM(4, 3, 2, bidirectional=True, batch_first=True),
            )
            self.head = torch.nn.Linear(6, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.rnn(self.embed(x))[0])

    net, tokens = Net(), np.asarray([[1, 2, 3, 4, 5], [8, 7, 6, 0, 0]])
    layers = nn.Embedding(9, 4), nn.LSTM(3, 2, bidirectional=True), nn.Dense(2)
    model = nn.Network(*layers).init((5,), backend="numpy", dtype="float32").load_torch(net.state_dict())
    np.testing.assert_allclose(model(tokens), net(torch.tensor(tokens)).detach().numpy(), atol=1e-6)
    named = {
        name.replace("0.", "embed.", 1).replace("1.", "rnn.", 1).replace("2.", "head.", 1): x
        for name, x in model.to_torch().items()
    }
    assert list(named) == list(net.state_dict())
    for name, x in net.state_dict().items():
        np.testing.assert_array_equal(named[name], x.numpy())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.LSTM(0), ValueError, "LSTM units must be an integer of at least 1; got 0"),
        (lambda: nn.GRU(3, 0), ValueError, "GRU num_layers must be an integer of at least 1; got 0"),
        (lambda: nn.GRU(3, hidden_size=4), TypeError, "hidden_size.*Did you mean units="),
        (lambda: nn.GRU(3, dropout=0.5), ValueError, r"is between stacked layers.*nn\.Dropout\(0\.5\) behind"),
        (lambda: nn.GRU(3, 2, dropout=1), ValueError, "GRU dropout must satisfy 0 <= dropout < 1; got 1"),
        (lambda: nn.SimpleRNN(3, activation="gelu"), ValueError, "unknown activation of SimpleRNN 'gelu'; use .*tanh"),
        (lambda: nn.LSTM(3, bidirectional=2), TypeError, "LSTM bidirectional must be True or False; got 2"),
        (lambda: nn.Network(nn.LSTM(3)).init((4,)), ValueError, r"\(positions, features\).*X\[\.\.\., None\]"),
        (lambda: nn.Network(nn.GRU(3)).init((4, 2, 2)), ValueError, r"\(positions, features\); got \(4, 2, 2\)"),
        (lambda: nn.LastStep().out_shape((0, 2)), ValueError, "at least 1 position"),
        (
            lambda: nn.LSTM(3).forward({}, np.ones((2, 4, 3)), nn.Context(mask=np.ones((2, 4, 3), dtype=bool))),
            ValueError,
            r"LSTM needs a mask of the positions, shape \(2, 4\); got \(2, 4, 3\)",
        ),
        (
            lambda: nn.LastStep().forward({}, np.ones((2, 4, 3)), nn.Context(mask=np.ones((2,), dtype=bool))),
            ValueError,
            r"the mask must have the shape of the positions, \(2, 4\); got \(2,\)",
        ),
    ],
)  # fmt: skip
def test_bad_settings(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
