"""Layers made of layers: shortcuts, auxiliary heads, recomputation, and what is released in the backward pass."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from tests.tolerances import as_called, close, to_host

CONV = {"padding": 1, "activation": "tanh"}
BLOCKS = {
    "residual": (nn.Residual(nn.Dense(4, "tanh"), nn.Dense(3), activation="relu"), (3,)),
    "shortcut": (
        nn.Residual(
            nn.Conv2D(4, 3, stride=2, padding=1), nn.BatchNorm(), shortcut=nn.Conv2D(4, 1, stride=2), activation="gelu"
        ),
        (5, 4, 2),
    ),
    "auxiliary": (nn.Network(nn.Dense(4, "tanh"), nn.Auxiliary(nn.Dense(2)), nn.Dense(2)), (3,)),
    "recomputed": (
        nn.Network(
            nn.Network(nn.Conv2D(3, 3, **CONV), nn.BatchNorm(), nn.Dropout(0.5), recompute=True),
            nn.Branches(nn.Conv2D(2, 1), nn.Conv2D(2, 3, **CONV), recompute=True),
            nn.Residual(nn.Dense(4, "tanh"), recompute=True),
        ),
        (3, 4, 2),
    ),
    "spatial-dropout": (nn.Dropout(0.5, spatial=True), (3, 4, 5)),
    "adaptive-pool": (nn.AdaptiveAvgPool2D((3, 2)), (7, 5, 2)),
    "adaptive-pool-up": (nn.AdaptiveAvgPool2D(4), (3, 2, 1)),
    "shapes-first": (nn.Network(nn.Reshape((2, 2, 1)), nn.Flatten(), nn.Dense(3, "tanh")), (4,)),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_layer_is_right(be: nn.Backend, case: str) -> None:
    layer, shape = BLOCKS[case]
    nn.testing.check_layer(layer, shape, backends=[be])


def trained(be: nn.Backend, net: nn.Network, shape: tuple[int, ...], classes: int = 2) -> tuple[Any, Any, nn.Model]:
    """Loss and gradient in training, on a few examples."""
    rng = np.random.default_rng(0)
    model = net.init(shape, seed=1, backend=be, dtype="float32")
    X, y = be.asarray(rng.normal(size=(4, *shape)), dtype="float32"), be.asarray(np.arange(4) % classes)

    def found(X: Any) -> Any:
        return nn.training_step(model, X, y, key=nn.Key(3))[:2]

    loss, gradient = as_called(be, found)(X)
    return loss, gradient, model


# --- Recomputation ---------------------------------------------------------------------------------------------------


def deep(recompute: bool) -> nn.Network:
    def block(filters: int) -> nn.Row:
        return nn.Row(
            nn.Conv2D(filters, 3, padding=1, bias=False),
            nn.BatchNorm(),
            nn.Activation("relu"),
            nn.Dropout(0.3, spatial=True),
            recompute=recompute,
        )

    branches = nn.Branches(block(2), nn.Row(nn.MaxPool2D(3, 1, 1), block(3)), recompute=recompute)
    residual = nn.Residual(block(5), block(5), activation="relu", recompute=recompute)
    head = nn.Auxiliary(nn.GlobalAvgPool(), nn.Dense(2), recompute=recompute)
    inner = nn.Row(block(4), branches, head, residual, recompute=recompute)
    return nn.Network(inner, nn.GlobalAvgPool(), nn.Dense(2))


def test_recomputing_gives_the_same_gradient(be: nn.Backend) -> None:
    loss, gradient, _ = trained(be, deep(False), (6, 5, 2))
    again, regained, _ = trained(be, deep(True), (6, 5, 2))
    close(to_host(be, again), to_host(be, loss), "float32")
    close(to_host(be, regained), to_host(be, gradient), "float32")
    if be.library.name != "jax":  # whose compiler rounds as it fuses
        assert to_host(be, regained).tolist() == to_host(be, gradient).tolist()


def test_recomputing_trains_to_the_same(be: nn.Backend) -> None:
    X = be.asarray(np.random.default_rng(0).normal(size=(8, 3)), dtype="float32")
    y = be.asarray(np.arange(8) % 2)
    found = []
    for recompute in (False, True):
        net = nn.Network(
            nn.Network(nn.Dense(4), nn.BatchNorm(), nn.Dropout(0.2), recompute=recompute),
            nn.Dense(2),
            recompute=recompute,
        )
        model = net.init((3,), backend=be, dtype="float32")
        model.fit(X, y, epochs=3, batch_size=4, progress=False)
        found.append((to_host(be, model.theta), to_host(be, model.state)))
    for got, want in zip(found[1], found[0], strict=True):
        close(got, want, "float32")


@dataclass(frozen=True)
class Watched(nn.Layer):
    """The identity, which keeps what it gives, and notes for how long."""

    log: tuple[list[Any], list[int]] = ([], [])

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> nn.Out:
        references, counts = self.log
        y = x + 0.0
        references.append(weakref.ref(y))

        def pullback(dy: Any) -> Any:
            gc.collect()
            counts.append(sum(each() is not None for each in references))
            assert y is not None
            return dy, {}

        return nn.Out(y, pullback)


def alive(*, once: bool) -> list[int]:
    """How many of eight layers' outputs are there when the backward pass reaches each layer, the last first."""
    log: tuple[list[Any], list[int]] = ([], [])
    layers = [nn.Row(Watched(log), nn.Activation("identity")) for _ in range(8)]
    out = nn.Row(*layers).forward({}, np.ones((2, 3)), nn.Context(True, once=once))
    out = nn.Out(out.y.copy(), out.pullback)
    out.pullback(np.ones((2, 3)))
    return log[1]


def test_the_backward_pass_releases_what_it_has_passed() -> None:
    assert alive(once=True) == [8, 7, 6, 5, 4, 3, 2, 1]
    assert alive(once=False) == [8] * 8


def test_recomputing_keeps_inputs_only() -> None:
    log: tuple[list[Any], list[int]] = ([], [])
    out = nn.Row(*[Watched(log) for _ in range(8)], recompute=True).forward({}, np.ones((2, 3)), nn.Context(True))
    gc.collect()
    assert sum(each() is not None for each in log[0]) == 1  # the outputs alone
    out.pullback(np.ones((2, 3)))
    assert log[1] == [9, 8, 7, 6, 5, 4, 3, 2]  # there again, and released one by one


# --- Auxiliary heads -------------------------------------------------------------------------------------------------


def test_heads_add_their_loss(be: nn.Backend) -> None:
    """L = loss(outputs) + 0.3 loss(head), beside the same with the parts put together by hand."""
    net = nn.Network(nn.Dense(4, "tanh"), nn.Auxiliary(nn.Dense(2), weight=0.3), nn.Dense(2))
    loss, gradient, model = trained(be, net, (3,))
    main = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2))
    head = nn.Network(nn.Dense(4, "tanh"), nn.Dense(2))
    p = model.params
    X, y = be.asarray(np.random.default_rng(0).normal(size=(4, 3)), dtype="float32"), be.asarray(np.arange(4) % 2)
    parts = []
    for each, last in ((main, "2"), (head, "1.0")):
        part = each.init((3,), backend=be, dtype="float32").set_params(
            {
                "0.weight": p["0.weight"],
                "0.bias": p["0.bias"],
                "1.weight": p[f"{last}.weight"],
                "1.bias": p[f"{last}.bias"],
            }
        )
        parts.append([to_host(be, v) for v in nn.value_and_grad(part, X, y)])
    (l1, g1), (l2, g2) = parts
    close(to_host(be, loss), l1 + 0.3 * l2, "float32")
    got = to_host(be, gradient)  # first layer, head, last layer
    close(got[:16], g1[:16] + 0.3 * g2[:16], "float32")
    close(got[16:26], 0.3 * g2[16:], "float32")
    close(got[26:], g1[16:], "float32")


def test_heads_are_not_run_at_inference(be: nn.Backend) -> None:
    net = nn.Network(nn.Dense(4, "tanh"), nn.Auxiliary(nn.Dense(2)), nn.Dense(2))
    model = net.init((3,), backend=be, dtype="float32")
    X, y = be.asarray(np.ones((4, 3)), dtype="float32"), be.asarray(np.arange(4) % 2)
    gradient = nn.value_and_grad(model, X, y)[1]
    assert not to_host(be, gradient)[16:26].any()
    of_head = be.asarray((np.arange(36) >= 16) & (np.arange(36) < 26))
    broken = model.with_theta(be.xp.where(of_head, be.xp.nan, model.theta))
    assert to_host(be, broken(X)).tolist() == to_host(be, model(X)).tolist()


def test_heads_in_branches_and_around(be: nn.Backend) -> None:
    def head() -> nn.Auxiliary:
        return nn.Auxiliary(nn.Dense(2))

    net = nn.Network(
        nn.Branches(nn.Row(nn.Dense(3, "tanh"), head()), nn.Row(nn.Dense(4, "tanh"), head(), head())),
        nn.Residual(nn.Dense(7, "tanh"), head(), shortcut=nn.Row(nn.Dense(7), head())),
        nn.Dense(2),
    )
    be = be if "float64" in be.dtypes else nn.backend("strict")
    model = net.init((3,), seed=2, backend=be, dtype="float64")
    X, y = be.asarray(np.random.default_rng(0).normal(size=(4, 3))), be.asarray(np.arange(4) % 2)

    def loss(theta: Any) -> Any:
        other = model.copy()
        other.theta = theta
        return nn.training_step(other, X, y, key=nn.Key(0))[:2]

    u = be.asarray(np.random.default_rng(1).normal(size=model.theta.shape))
    exact = float(be.xp.sum(loss(model.theta)[1] * u))
    numeric = float(loss(model.theta + 1e-6 * u)[0] - loss(model.theta - 1e-6 * u)[0]) / 2e-6
    assert numeric == pytest.approx(exact, rel=1e-6)


def test_heads_have_the_shape_of_the_outputs(host: nn.Backend) -> None:
    model = nn.Network(nn.Dense(4), nn.Auxiliary(nn.Dense(3)), nn.Dense(2)).init((3,))
    with pytest.raises(
        ValueError, match=r"Auxiliary has outputs of shape \(4, 3\), but the network \(4, 2\)\. Make them equal"
    ):
        model.fit(host.asarray(np.ones((4, 3))), host.asarray([0, 1, 0, 1]), progress=False)


@pytest.mark.parametrize("weight", [-0.1, np.nan, "0.3"])
def test_bad_weights(weight: object) -> None:
    with pytest.raises((ValueError, TypeError), match="Auxiliary weight must be a finite number of at least 0"):
        nn.Auxiliary(nn.Dense(2), weight=weight)


# --- Shortcuts -------------------------------------------------------------------------------------------------------


def test_a_shortcut_is_named_after_its_layer_or_itself() -> None:
    block = nn.Residual(nn.Dense(4), shortcut=nn.Dense(4))
    assert list(nn.Network(block).init((3,)).params) == [
        "0.0.weight", "0.0.bias", "0.shortcut.weight", "0.shortcut.bias",
    ]  # fmt: skip
    named = nn.Residual(nn.Dense(4), shortcut=nn.Dense(4, name="around"))
    assert "around" in named.params((3,))


def test_shapes_that_do_not_add() -> None:
    with pytest.raises(ValueError, match=r"adds its inputs of shape \(3,\) to outputs of shape \(4,\).*shortcut="):
        nn.Network(nn.Residual(nn.Dense(4))).init((3,))
    with pytest.raises(ValueError, match=r"adds its shortcut of shape \(5,\) to outputs of shape \(4,\)"):
        nn.Network(nn.Residual(nn.Dense(4), shortcut=nn.Dense(5))).init((3,))
    with pytest.raises(ValueError, match="at least one layer in addition to its shortcut"):
        nn.Residual(shortcut=nn.Dense(3))
    with pytest.raises(ValueError, match="unknown activation"):
        nn.Residual(nn.Dense(3), activation="rely")


def test_a_network_is_written_as_it_is_made() -> None:
    block = nn.Residual(nn.Dense(4), shortcut=nn.Dense(4), activation="relu", name="block")
    model = nn.Network(block, nn.Row(nn.Dense(2), recompute=True)).init((3,), dtype="float32")
    assert repr(model) == (
        "Model(Residual(Dense(4), shortcut=Dense(4), activation='relu', name='block'), "
        "Row(Dense(2), recompute=True); 42 parameters, float32 on numpy (cpu))"
    )


# --- Small ones ------------------------------------------------------------------------------------------------------


def test_spatial_dropout_drops_whole_channels(be: nn.Backend) -> None:
    x = be.asarray(np.ones((50, 3, 4, 20)), dtype="float32")
    layer = nn.Dropout(0.4, spatial=True)
    y = to_host(be, layer.forward({}, x, nn.Context(True, root=nn.Key(0))).y)
    kept = y[:, 0, 0, :] > 0
    assert 0.5 < kept.mean() < 0.7
    np.testing.assert_array_equal(y > 0, np.broadcast_to(kept[:, None, None, :], y.shape))
    assert to_host(be, layer.forward({}, x, nn.Context(False)).y).all()
    flat = layer.forward({}, x[:, 0, 0, :], nn.Context(True, root=nn.Key(0))).y
    np.testing.assert_array_equal(to_host(be, flat) > 0, kept)


@pytest.mark.parametrize("size", [(14, 14), (7, 5), (4, 4), (3, 9), (1, 1)])
def test_adaptive_pool_equals_pytorch(be: nn.Backend, dtype: str, size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, *size, 3))
    want = torch.nn.functional.adaptive_avg_pool2d(torch.tensor(x).permute(0, 3, 1, 2), (4, 3)).permute(0, 2, 3, 1)
    got = nn.AdaptiveAvgPool2D((4, 3)).forward({}, be.asarray(x, dtype=dtype), nn.Context()).y
    close(to_host(be, got), want.numpy(), dtype)
    with pytest.raises(ValueError, match=r"expects examples of shape \(height, width, channels\); got \(3,\)"):
        nn.AdaptiveAvgPool2D(2).out_shape((3,))
