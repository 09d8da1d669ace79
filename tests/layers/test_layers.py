from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray import kernels
from nnarray.layers.activations import FUNCTIONS

DENSE = nn.Dense(4, "tanh")

LAYERS = {
    **{f"dense-{name}": (nn.Dense(4, name), (3,)) for name in sorted(FUNCTIONS)},
    "dense-without-bias": (nn.Dense(4, "tanh", bias=False), (3,)),
    "dense-on-the-last-axis": (nn.Dense(4, "tanh"), (2, 5, 3)),
    "activation": (nn.Activation("mish"), (3, 2)),
    "own-activation": (nn.Activation(lambda x: x * x * x, lambda x: 3.0 * x * x), (3,)),
    "dropout": (nn.Dropout(0.4), (50,)),
    "flatten": (nn.Flatten(), (2, 3)),
    "reshape": (nn.Reshape((3, -1)), (2, 6)),
    "row": (nn.Network(DENSE, nn.Dropout(0.5), nn.Dense(2)), (3,)),
    "residual": (nn.Residual(nn.Dense(8, "gelu"), nn.Dense(3)), (3,)),
    "concat": (nn.Branches(nn.Dense(2), nn.Network(nn.Dense(3, "tanh"), nn.Dense(1)), nn.Activation("sin")), (3,)),
    "add": (nn.Branches(nn.Dense(2), nn.Dense(2, "tanh"), join="add"), (3,)),
    "multiply": (nn.Branches(nn.Dense(2), nn.Dense(2, "silu"), nn.Dense(2, "tanh"), join="multiply"), (3,)),
    "nested": (
        nn.Network(
            nn.Flatten(),
            nn.Branches(nn.Residual(nn.Dense(6, "silu"), nn.Dropout(0.2)), nn.Dense(2), name="inception"),
            nn.Dense(3, name="head"),
        ),
        (2, 3),
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layer_is_right(be: nn.Backend, case: str) -> None:
    layer, shape = LAYERS[case]
    nn.testing.check_layer(layer, shape, backends=[be])


def test_empty_batch(be: nn.Backend) -> None:
    nn_, shape = LAYERS["nested"]
    model = nn_.init(shape, backend=be, dtype="float32")  # type: ignore[attr-defined]
    assert model(be.xp.zeros((0, *shape), dtype=be.xp.float32, device=be.device)).shape == (0, 3)


@pytest.mark.parametrize(
    ("activation", "torch_name"), [("tanh", "Tanh"), ("relu", "ReLU"), ("gelu", "GELU"), ("silu", "SiLU")]
)
def test_network_equals_pytorch(be: nn.Backend, dtype: str, activation: str, torch_name: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(17, 4)), rng.integers(0, 3, 17)
    net = nn.Network(nn.Dense(8, activation), nn.Residual(nn.Dense(8, activation)), nn.Dense(3))
    model = net.init((4,), seed=1, backend=be, dtype=dtype)
    loss, gradient = nn.value_and_grad(model, be.asarray(X, dtype=dtype), be.asarray(y))

    weights = {name: torch.tensor(be.to_numpy(p).astype(float), requires_grad=True) for name, p in model.params.items()}
    f = getattr(torch.nn, torch_name)()
    h = f(torch.tensor(X) @ weights["0.weight"] + weights["0.bias"])
    h = h + f(h @ weights["1.0.weight"] + weights["1.0.bias"])
    reference = torch.nn.functional.cross_entropy(h @ weights["2.weight"] + weights["2.bias"], torch.tensor(y))
    reference.backward()

    nn.testing.assert_close(loss, reference.detach().numpy())
    nn.testing.assert_close(gradient, np.concatenate([w.grad.numpy().ravel() for w in weights.values()]))


def test_names_and_order_of_parameters() -> None:
    layer, shape = LAYERS["nested"]
    model = layer.init(shape)  # type: ignore[attr-defined]
    assert list(model.params) == [
        "inception.0.0.weight",
        "inception.0.0.bias",
        "inception.1.weight",
        "inception.1.bias",
        "head.weight",
        "head.bias",
    ]


def test_dropout_keeps_the_mean_and_is_the_same_everywhere(be: nn.Backend, host: nn.Backend) -> None:
    def dropped(on: nn.Backend) -> np.ndarray:
        x = on.xp.ones((4, 5000), dtype=on.xp.float32, device=on.device)
        return on.to_numpy(nn.Dropout(0.25).forward({}, x, nn.Context(True, root=nn.Key(7))).y)

    y = dropped(be)
    assert np.array_equal(y, dropped(host))
    assert abs(y.mean() - 1.0) < 0.02
    assert set(np.unique(y)) == {0.0, np.float32(4 / 3)}


@pytest.mark.parametrize("bias", [True, False])
def test_only_a_layer_with_a_bias_asks_for_its_gradient(monkeypatch: pytest.MonkeyPatch, bias: bool) -> None:
    """A sum over all examples and positions that nobody reads."""
    asked: list[bool] = []
    for name in ("activated_affine_pullback", "activated_convolution_pullback"):
        kernel = getattr(kernels, name)

        def noted(*arrays: Any, kernel: Any = kernel, **settings: Any) -> Any:
            found = kernel(*arrays, **settings)
            asked.append(found[2] is not None)
            return found

        monkeypatch.setattr(kernels, name, noted)
    layers = nn.Conv2D(2, 3, bias=bias), nn.Flatten(), nn.Reshape((8, 1)), nn.Conv1D(2, 3, bias=bias), nn.Flatten()
    model = nn.Network(*layers, nn.Dense(2, bias=bias)).init((4, 4, 1), seed=0)
    nn.value_and_grad(model, np.ones((3, 4, 4, 1)), np.zeros(3, dtype=int))
    assert asked == [bias] * 3


def test_dropout_is_off_at_inference_and_needs_a_key_in_training(host: nn.Backend) -> None:
    model = nn.Network(nn.Dropout(0.5), nn.Dense(2)).init((3,))
    X = np.ones((4, 3))
    np.testing.assert_array_equal(model(X), X @ model.params["1.weight"] + model.params["1.bias"])
    with pytest.raises(RuntimeError, match=r"needs a key; pass key=nn\.Key"):
        nn.value_and_grad(model, X, np.zeros(4, dtype=int), training_mode=True)
    nn.value_and_grad(model, X, np.zeros(4, dtype=int), training_mode=True, key=nn.Key(0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Dense(0), ValueError, "Dense units must be an integer of at least 1; got 0"),
        (lambda: nn.Dense(2.5), TypeError, "Dense units must be an integer.*2.5"),
        (lambda: nn.Dense(2, "rleu"), ValueError, "unknown activation 'rleu'.*Did you mean 'relu'"),
        (lambda: nn.Dense(2, init="xaver"), ValueError, "unknown initializer 'xaver'; use one of zeros"),
        (lambda: nn.Dropout(1.0), ValueError, r"0 <= rate < 1; got 1\.0.*rate=0"),
        (lambda: nn.Dropout("half"), ValueError, "0 <= rate < 1; got 'half'"),
        (lambda: nn.Reshape((-1, -1)), ValueError, "-1 once"),
        (lambda: nn.Reshape(4), ValueError, "tuple of integers"),
        (lambda: nn.Network(), ValueError, "at least one layer"),
        (lambda: nn.Network([nn.Dense(2)]), TypeError, "takes layers.*without brackets"),
        (lambda: nn.Network(nn.Dense), TypeError, "takes layers; got <class"),
        (lambda: nn.Network(nn.Dense(2, name="a"), nn.Dense(2, name="a")), ValueError, "names must differ.*'a'"),
        (lambda: nn.Network(nn.Dense(2, name="a.b")), ValueError, "no dot"),
        (lambda: nn.Network(nn.Dense(2), nn.Dense(2, name="0")), ValueError, "names must differ.*'0'"),
        (lambda: nn.Branches(nn.Dense(2), join="stack"), ValueError, "'concat', 'add' or 'multiply'; got 'stack'"),
        (lambda: nn.Activation("tanh", options={"slope": 0.1}), TypeError, "has no option"),
    ],
)
def test_bad_settings(make, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (nn.Network(nn.Dense(4), nn.Reshape((3, 2))), (2,), r"Reshape 2 of 2: cannot reshape .*\(4,\) \(4 entries\)"),
        (nn.Network(nn.Residual(nn.Dense(4))), (2,), r"Residual 1 of 1: Residual adds .*\(2,\) to .*\(4,\)"),
        (
            nn.Network(nn.Dense(4), nn.Branches(nn.Dense(2), nn.Dense(3), join="add")),
            (2,),
            r"Branches 2 of 2: .*add.*'0': \(2,\), '1': \(3,\)",
        ),
        (nn.Network(nn.Branches(nn.Dense(2), nn.Flatten())), (3, 3), "Branches 1 of 1: .*differ on the last axis"),
    ],
)
def test_shapes_that_do_not_fit_name_the_layer(net: nn.Network, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        net.init(shape)


# --- check_layer finds what is wrong ---


@dataclass(frozen=True)
class Scale(nn.Layer):
    """y = x s."""

    fault: str = ""

    def params(self, shape):
        return {"scale": nn.Param(shape[-1:], "ones")}

    def out_shape(self, shape):
        return (*shape, 1) if self.fault == "out_shape" else shape

    def forward(self, params, x, ctx):
        s, xp = params["scale"], nn.namespace(x)
        calls = []

        def pullback(dy):
            calls.append(1)
            ds = xp.sum(dy * x, axis=0)
            if self.fault == "gradient":
                ds = ds * 1.001
            if self.fault == "input gradient":
                return dy, {"scale": ds}
            if self.fault == "twice":
                ds = ds * len(calls)
            return dy * s, {} if self.fault == "missing" else {"scale": ds}

        y = x * s
        if self.fault == "dtype":
            y = xp.astype(y, xp.float64 if y.dtype == xp.float32 else xp.float32)
        if self.fault == "writes":
            x *= 2.0
        return nn.Out(y, pullback)


def test_a_layer_of_ones_own(be: nn.Backend) -> None:
    nn.testing.check_layer(Scale(), (3,), backends=[be])
    model = nn.Network(nn.Dense(4, "relu"), Scale(), nn.Dense(1)).init((3,), backend=be, dtype="float32")
    X, y = nn.datasets.line(64, backend=be, dtype="float32")
    X = be.xp.concat([X, X, X], axis=1)
    history = model.fit(X, y, loss="mse", optimizer=nn.Adam(0.05), epochs=5)
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("out_shape", "as out_shape gives; got"),
        ("gradient", "gradient of the parameters is .* central differences"),
        ("input gradient", "gradient of the inputs is .* central differences"),
        ("twice", "other gradients the second time"),
        ("missing", "no gradient for 'scale'"),
        ("dtype", "outputs of dtype"),
        ("writes", "gradient of the parameters is .* central differences"),  # it writes into a copy
    ],
)
def test_check_layer_finds(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        nn.testing.check_layer(Scale(fault), (3,), backends=["numpy"])


def test_what_check_layer_takes() -> None:
    nn.testing.check_layer(nn.Dense(2), (3,), backends="numpy")
    with pytest.raises(TypeError, match=r"layer must be an nn\.Layer; got <class .*Pass a layer, such as"):
        nn.testing.check_layer(nn.Dense, (3,))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"shape must be a tuple, the shape of one example; got 3\. Use .*\(3,\)"):
        nn.testing.check_layer(nn.Dense(2), 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"params\(shape\) must return a dict.*; got \['weight'\]"):
        nn.testing.check_layer(type("Listed", (nn.Layer,), {"params": lambda self, shape: ["weight"]})(), (3,))
