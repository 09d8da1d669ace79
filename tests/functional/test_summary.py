"""The summary and the drawing of a network."""

from __future__ import annotations

import itertools

import matplotlib as mpl
import numpy as np
import pytest

import nnarray as nn

mpl.use("agg")
CASES = {
    "googlenet": (nn.models.googlenet(auxiliary=True), (224, 224, 3)),
    "googlenet-paper": (nn.models.googlenet(variant="paper"), (224, 224, 3)),
    "resnet18": (nn.models.resnet18(), (224, 224, 3)),
    "lenet5": (nn.models.lenet5(), (28, 28, 1)),
    "mlp": (nn.models.mlp(2, (5,), activation="tanh"), (2,)),
    "alone": (nn.Network(nn.Branches(nn.Dense(2), nn.Residual(nn.Dense(4), shortcut=nn.Dense(4)))), (3,)),
    "own": (nn.Network(nn.Conv1D(4, 3, activation=nn.Activation(np.square, np.sign)), nn.Flatten()), (9, 2)),
}


@pytest.mark.parametrize(
    ("layer", "shape", "products"),
    [
        (nn.Dense(5), (2,), 10),
        (nn.Dense(5), (7, 2), 70),
        (nn.Conv2D(8, 3, padding="same"), (10, 12, 4), 10 * 12 * 8 * 3 * 3 * 4),
        (nn.Conv2D(8, (3, 5), stride=2, groups=2), (11, 13, 4), 5 * 5 * 8 * 3 * 5 * 2),
        (nn.Conv1D(6, 4, groups=3), (9, 3), 6 * 6 * 4),
        (nn.BatchNorm(), (4,), 0),
        (nn.Residual(nn.Dense(4), nn.Dense(3), shortcut=nn.Dense(3)), (5,), 5 * 4 + 4 * 3 + 5 * 3),
        (nn.Branches(nn.Dense(4), nn.Network(nn.Dense(3), nn.Dense(2))), (5,), 5 * 4 + 5 * 3 + 3 * 2),
    ],
)
def test_products_are_counted(layer: nn.Layer, shape: tuple[int, ...], products: int) -> None:
    assert layer.multiply_adds(shape) == products


def test_published_counts() -> None:
    """He et al. (2016), table 1: 1.8e9; Szegedy et al. (2015), section 5: 1.5e9 multiply-adds."""
    made = {name: net.init(shape, dtype="float32").summary() for name, (net, shape) in CASES.items()}
    assert made["resnet18"].multiply_adds == 1_814_073_344
    assert made["googlenet"].multiply_adds == 1_498_376_192
    assert made["googlenet"].parameters == 13_004_888
    assert made["mlp"].activation_bytes == (5 + 2) * 4


@pytest.mark.parametrize("name", CASES)
def test_lines_add_up(name: str) -> None:
    net, shape = CASES[name]
    model = net.init(shape, dtype="float32")
    for depth in (None, 1, 2):
        summary = model.summary(depth=depth)
        ends = [line for line in summary.lines if not line.shown_inside]
        assert sum(line.parameters for line in ends) == summary.parameters == model.theta.shape[0]
        top = [line for line in summary.lines if line.depth == 0]
        assert top[-1].output_shape == model.output_shape
        assert depth is None or max(line.depth for line in summary.lines) < depth
        text = str(summary)
        assert len(text.splitlines()) == len(summary.lines) + 4
        assert "…" not in text
        assert "\x1b" not in text


def test_a_table_is_read_in_a_terminal_and_a_notebook() -> None:
    model = nn.Network(nn.Dense(5, "tanh", name="hidden"), nn.Dense(2)).init((2,), dtype="float64").freeze("hidden")
    text = repr(model.summary())
    assert text.splitlines()[0].split() == ["layer", "output", "shape", "parameters", "multiply-adds", "memory"]
    assert text.splitlines()[1].split() == ["hidden", "Dense(5,", "activation='tanh')", "batch", "x", "5", "15", "10", "40", "B"]  # fmt: skip # noqa: E501
    assert "27 parameters, 15 of them frozen, 216 B" in text
    assert model.summary()._repr_html_().startswith("<pre>layer")
    with pytest.raises(ValueError, match="depth must be an integer of at least 1"):
        model.summary(depth=0)


@pytest.mark.parametrize("name", CASES)
def test_diagrams_have_no_boxes_on_each_other(name: str) -> None:
    from matplotlib import pyplot

    net, shape = CASES[name]
    axes = net.init(shape, dtype="float32").plot()
    figure = axes.figure
    figure.canvas.draw()
    boxes = [patch.get_window_extent() for patch in axes.patches]
    assert len(boxes) >= 2
    for a, b in itertools.combinations(boxes, 2):
        assert not (a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1)
    for text in axes.texts:
        if not text.get_text():
            continue
        extent = text.get_window_extent()
        assert any(b.x0 <= extent.x0 and extent.x1 <= b.x1 and b.y0 <= extent.y0 and extent.y1 <= b.y1 for b in boxes)
    lowest = axes.get_window_extent()
    assert all(lowest.x0 - 1 <= box.x0 and box.x1 <= lowest.x1 + 1 and lowest.y0 - 1 <= box.y0 for box in boxes)
    pyplot.close(figure)


def test_a_diagram_goes_where_it_is_asked_to() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert nn.models.mlp(2).init((3,)).plot(ax=axes) is axes


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE", "JPY_PARENT_PID", "CLICOLOR_FORCE"])
def test_no_environment_puts_escape_codes_into_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook, a site and a log show them as they are."""
    plain = str(nn.Network(nn.Dense(3), nn.Dense(2)).init((2,)).summary())
    monkeypatch.setenv(name, "1")
    shown = nn.Network(nn.Dense(3), nn.Dense(2)).init((2,)).summary()
    assert str(shown) == repr(shown) == plain
    assert "\x1b" not in plain + shown._repr_html_()
