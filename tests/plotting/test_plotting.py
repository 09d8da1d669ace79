"""Figures: each function draws on every backend, into the axes that are given, and leaves pyplot as it was."""

from __future__ import annotations

import io
import itertools
import re
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import SVC

import nnarray as nn
from nnarray import plotting
from nnarray.apps import pets
from nnarray.plotting import plot_boundary, plot_data, plot_history


@pytest.fixture(autouse=True)
def _close():
    yield
    pyplot.close("all")


@pytest.fixture
def ax():
    return Figure().subplots()


def halves(be: nn.Backend, outputs: int = 2, dtype: object = None) -> nn.Model:
    """Classes 0 and 1 tie at x1 = 1/2, whatever x2 is."""
    model = nn.Network(nn.Dense(outputs)).init((2,), backend=be, dtype=dtype)
    first = [0.0] * (outputs - 1)
    return model.set_params({"0.weight": [[*first, 4.0], [*first, 0.0]], "0.bias": [*first, -2.0]})


def lines(ax) -> list[np.ndarray]:
    """The paths of the decision boundaries."""
    found = [each for each in ax.collections if type(each).__name__ == "QuadContourSet"]
    return [path.vertices for each in found for path in each.get_paths() if len(path.vertices)]


def names(ax) -> list[str]:
    return ax.get_legend_handles_labels()[1]


# --- Data ----------------------------------------------------------------------------------------------------


def test_data_have_a_colour_and_a_shape_for_each_class(be: nn.Backend, ax) -> None:
    X, y = nn.datasets.blobs(30, classes=3, backend=be)
    assert plot_data(X, y, ax=ax) is ax
    assert names(ax) == ["class 0", "class 1", "class 2"]
    assert len({tuple(each.get_facecolor()[0]) for each in ax.collections}) == 3
    assert len({each.get_paths()[0].vertices.tobytes() for each in ax.collections}) == 3
    drawn = np.concatenate([each.get_offsets() for each in ax.collections])
    np.testing.assert_allclose(drawn, be.to_numpy(X), rtol=1e-6)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")


def test_a_class_keeps_its_looks_when_another_is_absent(host: nn.Backend) -> None:
    X = host.asarray([[0.0, 0.0], [1.0, 1.0]])
    both, one = (plot_data(X[-n:, :], host.asarray([0, 1])[-n:], ax=Figure().subplots()) for n in (2, 1))
    np.testing.assert_array_equal(both.collections[1].get_facecolor(), one.collections[0].get_facecolor())


def test_more_classes_than_colours_still_differ() -> None:
    looks = [(each["color"], each["marker"]) for each in map(plotting.plane.dots, range(16))]
    assert len(set(looks)) == 16


def test_a_curve_is_drawn_over_x(be: nn.Backend, ax) -> None:
    X, y = nn.datasets.line(20, backend=be)
    plot_data(X, y, ax=ax)
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 1], be.to_numpy(y)[:, 0], rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 3), (4,), (0, 2)])
def test_data_of_other_shapes_are_refused(shape: tuple[int, ...], host: nn.Backend, ax) -> None:
    with pytest.raises(ValueError, match=r"plot_data draws examples of shape \(N, 1\) or \(N, 2\); got X of shape"):
        plot_data(host.xp.zeros(shape), host.xp.zeros(shape[:1]), ax=ax)


def test_labels_must_be_one_an_example(host: nn.Backend, ax) -> None:
    with pytest.raises(ValueError, match=r"y must have one entry per example, 4; got shape \(3,\)"):
        plot_data(host.xp.zeros((4, 2)), host.xp.zeros(3), ax=ax)


# --- The decision boundary -----------------------------------------------------------------------------------


def test_the_boundary_is_where_the_classes_tie(be: nn.Backend, ax) -> None:
    X, y = nn.datasets.moons(20, backend=be)
    assert plot_boundary(halves(be), X, y, ax=ax, resolution=25) is ax
    (line,) = lines(ax)
    np.testing.assert_allclose(line[:, 0], 0.5, atol=1e-5)
    assert len(ax.images) == 1
    assert names(ax) == ["p = 1/2", "class 0", "class 1"]


def test_the_shade_is_full_where_the_model_is_sure_and_white_where_it_is_not(be: nn.Backend, ax) -> None:
    X, _ = nn.datasets.moons(20, backend=be)
    plot_boundary(halves(be), X, ax=ax, resolution=101)
    image, (left, right, *_) = ax.images[0].get_array(), ax.images[0].get_extent()
    row = np.asarray(image[50])
    np.testing.assert_allclose(row[int((0.5 - left) / (right - left) * 101)], 1.0, atol=0.05)
    blue, orange = row[0], row[-1]
    assert blue[2] > blue[0] + 0.2
    assert orange[0] > orange[2] + 0.2


def test_one_logit_is_as_good_as_two(be: nn.Backend) -> None:
    X, y = nn.datasets.moons(20, backend=be)
    one, two = (plot_boundary(halves(be, n), X, y, ax=Figure().subplots(), resolution=20) for n in (1, 2))
    np.testing.assert_allclose(one.images[0].get_array(), two.images[0].get_array(), atol=1e-6)


def test_several_classes_have_several_boundaries(be: nn.Backend, ax) -> None:
    X, y = nn.datasets.blobs(30, classes=3, backend=be)
    model = nn.Network(nn.Dense(3)).init((2,), backend=be)
    model.set_params({"0.weight": [[2.0, -1.0, -1.0], [0.0, 1.7, -1.7]], "0.bias": [0.0, 0.0, 0.0]})
    plot_boundary(model, X, y, ax=ax, resolution=30)
    assert len(lines(ax)) == 3
    assert "two classes tie" in names(ax)


@pytest.mark.parametrize(
    ("outputs", "loss", "message"),
    [
        (
            1,
            "mse",
            "was trained with MeanSquaredError: its output is a value. Use plot_surface; .*binary_cross_entropy",
        ),
        (3, "binary_cross_entropy", "each of the 3 outputs is a separate label here"),
    ],
)
def test_a_boundary_needs_one_class_per_point(host: nn.Backend, outputs: int, loss: str, message: str) -> None:
    X, y = nn.datasets.moons(20, backend=host)
    model = nn.Network(nn.Dense(outputs)).init((2,), backend=host)
    model.loss = loss
    with pytest.raises(ValueError, match=message):
        nn.plotting.plot_boundary(model, X, y)


def test_a_boundary_out_of_sight_is_no_error(host: nn.Backend, ax) -> None:
    X, y = nn.datasets.moons(20)
    model = halves(host).set_params({"0.bias": [0.0, 1e6]})
    plot_boundary(model, X, y, ax=ax, resolution=10)
    assert not lines(ax)
    assert names(ax) == ["class 0", "class 1"]


def test_half_precision_is_drawn(be: nn.Backend, ax) -> None:
    half = [name for name in be.dtypes if "16" in name]
    X, y = nn.datasets.moons(20, backend=be)
    for name in half or [None]:
        plot_boundary(halves(be, dtype=name), X, y, ax=ax, resolution=10)
    assert len(ax.images) == max(len(half), 1)


def test_a_model_of_other_shapes_is_refused(host: nn.Backend, ax) -> None:
    X, y = nn.datasets.moons(20)
    with pytest.raises(
        ValueError, match=r"draws models from 2 inputs to logits; this one takes examples of shape \(3,\)"
    ):
        plot_boundary(nn.Network(nn.Dense(2)).init((3,)), X, y, ax=ax)
    with pytest.raises(ValueError, match="resolution must be an integer of at least 2; got 1"):
        plot_boundary(halves(host), X, y, ax=ax, resolution=1)
    with pytest.raises(ValueError, match=r"plot_boundary draws examples of shape \(N, 2\)"):
        plot_boundary(halves(host), X[:, :1], y, ax=ax)


# --- Estimators, and what they are fitted to ------------------------------------------------------------------


def test_an_estimator_is_drawn_with_its_own_labels(ax) -> None:
    X, y = nn.datasets.blobs(60, classes=3)
    animals = np.asarray(["fox", "cat", "dog"])[y]
    fitted = LogisticRegression().fit(X, animals)
    assert plot_boundary(fitted, X, animals, ax=ax, resolution=30) is ax
    assert names(ax) == ["two classes tie", "cat", "dog", "fox"]
    for scatter in ax.collections[-3:]:
        inside = [
            animal for x, animal in zip(X, animals, strict=True) if (scatter.get_offsets() == x).all(axis=1).any()
        ]
        assert {scatter.get_label()} == set(inside)


def test_the_shade_of_an_estimator_is_its_probability(ax) -> None:
    X, y = nn.datasets.moons(60, noise=0.1)
    fitted = LogisticRegression().fit(X, y)
    plot_boundary(fitted, X, y, ax=ax, resolution=20)
    grid = plotting.plane.Grid.over(X, 20, "test")
    p = fitted.predict_proba(grid.points.reshape(-1, 2)).max(axis=1).reshape(20, 20)
    whiteness = np.asarray(ax.images[0].get_array()).min(axis=-1)
    assert whiteness.ravel()[p.argmax()] < whiteness.ravel()[p.argmin()] - 0.2
    (line,) = lines(ax)
    np.testing.assert_allclose(fitted.predict_proba(line)[:, 0], 0.5, atol=0.01)


def test_without_probabilities_every_shade_is_full(ax) -> None:
    X, y = nn.datasets.moons(40)
    plot_boundary(SVC().fit(X, y + 5), X, y + 5, ax=ax, resolution=20)
    assert len(np.unique(np.asarray(ax.images[0].get_array()).reshape(-1, 3), axis=0)) == 2
    assert names(ax) == ["p = 1/2", "5", "6"]


def test_estimators_that_cannot_be_drawn_are_refused(ax) -> None:
    X, y = nn.datasets.moons(40)
    with pytest.raises(TypeError, match=r"plot_boundary draws a Model, or a fitted estimator .*; got int"):
        plot_boundary(3, X, y, ax=ax)
    with pytest.raises(ValueError, match="this estimator was fitted to 1"):
        plot_boundary(LogisticRegression().fit(X[:, :1], y), X, y, ax=ax)
    with pytest.raises(ValueError, match="y has the labels 7; the estimator knows 1, 2"):
        plot_boundary(LogisticRegression().fit(X, y + 1), X, np.where(y == 1, 7, 1), ax=ax)
    with pytest.raises(ValueError, match="predicts real numbers: use plot_surface"):
        plot_boundary(LinearRegression().fit(X, X[:, 0]), X, ax=ax)


def test_classes_have_the_names_that_are_given(host: nn.Backend, ax) -> None:
    X, y = nn.datasets.moons(20)
    plot_boundary(halves(host), X, y, names=["low", "high"], ax=ax, resolution=10)
    assert names(ax) == ["p = 1/2", "low", "high"]
    with pytest.raises(ValueError, match="names has 1 entries, but there is a class 1"):
        plot_data(X, y, names=["low"], ax=ax)


# --- Regressions ---------------------------------------------------------------------------------------------


def ramp(be: nn.Backend) -> nn.Model:
    return nn.Network(nn.Dense(1)).init((2,), backend=be).set_params({"0.weight": [[2.0], [0.0]], "0.bias": [1.0]})


def test_the_surface_of_a_regression_is_its_value(be: nn.Backend, ax) -> None:
    X, _ = nn.datasets.moons(20, backend=be)
    y = 2.0 * X[:, 0] + 1.0
    assert plotting.plot_surface(ramp(be), X, y, ax=ax, resolution=15) is ax
    shade = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shade[3], 2.0 * plotting.plane.Grid.over(X, 15, "test").x1 + 1.0, rtol=1e-5)
    contours, points = ax.collections[0], ax.collections[-1]
    np.testing.assert_allclose(points.get_array(), be.to_numpy(y), rtol=1e-6)
    assert points.get_clim() == ax.images[0].get_clim()
    for level, path in zip(contours.levels, contours.get_paths(), strict=True):
        np.testing.assert_allclose(2.0 * path.vertices[:, 0] + 1.0, level, atol=1e-4)


def test_a_surface_of_an_estimator_has_a_bar_in_a_figure_of_its_own() -> None:
    X, _ = nn.datasets.moons(20)
    axes = plotting.plot_surface(LinearRegression().fit(X, X[:, 1]), X, resolution=10)
    assert len(axes.figure.axes) == 2


def test_a_surface_needs_one_output(host: nn.Backend, ax) -> None:
    X, _ = nn.datasets.moons(20)
    with pytest.raises(ValueError, match=r"from 2 inputs to 1 output; this one takes .* to \(2,\)"):
        plotting.plot_surface(halves(host), X, ax=ax)
    with pytest.raises(ValueError, match=r"one number per point; the estimator predicts shape \(2,\)"):
        plotting.plot_surface(LinearRegression().fit(X, X), X, ax=ax)
    with pytest.raises(TypeError, match="plot_surface draws a Model, or a fitted estimator"):
        plotting.plot_surface(3, X, ax=ax)
    with pytest.raises(ValueError, match="y must have one entry per example"):
        plotting.plot_surface(ramp(host), X, X, ax=ax)


def test_the_shades_of_a_surface_are_those_among_its_points(host: nn.Backend, ax) -> None:
    X = np.asarray([[0.0, 0.0], [1.0, 1.0]])
    limits = (-3.0, 3.0), (0.0, 2.0)
    plotting.plot_surface(ramp(host), X, X[:, 0], ax=ax, resolution=61, limits=limits)  # 2 x + 1
    image, points = ax.images[0], ax.collections[-1]
    assert (ax.get_xlim(), ax.get_ylim()) == limits
    np.testing.assert_allclose(image.get_clim(), (0.0, 3.0), atol=1e-5)
    image.set_clim(-1, 1)
    assert points.get_clim() == (-1, 1)
    for wrong in ((0, 1), ((1, 0), (0, 1)), ((0, 1),), "ab"):
        with pytest.raises(ValueError, match=r"limits of plot_boundary must be two pairs of numbers, the lower first"):
            plotting.plot_boundary(halves(host), X, limits=wrong)


# --- Training ------------------------------------------------------------------------------------------------


def test_several_trainings_are_drawn_by_name(host: nn.Backend, ax) -> None:
    X, y = nn.datasets.moons(40, backend=host)
    network = nn.Network(nn.Dense(2))
    runs = {
        rate: network.init((2,)).fit(X, y, epochs=3, validation=0.2, optimizer=nn.Adam(rate)) for rate in (0.1, 0.2)
    }
    plotting.plot_history({f"lr {rate}": run for rate, run in runs.items()}, ax=ax)
    labels = [line.get_label() for line in ax.lines]
    assert labels == ["lr 0.1", "lr 0.1, validation", "lr 0.2", "lr 0.2, validation"]
    assert len({line.get_color() for line in ax.lines}) == 2
    with pytest.raises(ValueError, match="no epochs to draw"):
        plotting.plot_history({"first": {}}, ax=ax)


def test_the_history_of_a_training_is_drawn(be: nn.Backend, ax) -> None:
    X, y = nn.datasets.moons(40, backend=be)
    model = nn.Network(nn.Dense(2)).init((2,), backend=be)
    history = model.fit(X, y, epochs=3, validation=0.25)
    assert plot_history(history, ax=ax) is ax
    assert names(ax) == ["training", "validation"]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), history["val_loss"])
    assert ax.get_legend() is not None


@pytest.mark.parametrize(
    ("losses", "scale"), [([1.0, 0.5, 0.2], "linear"), ([1.0, 0.05], "log"), ([1.0, 0.0], "linear"), ([0.3], "linear")]
)
def test_the_axis_is_logarithmic_over_a_decade(losses: list[float], scale: str, ax) -> None:
    plot_history({"epoch": [*map(float, range(1, len(losses) + 1))], "loss": losses}, ax=ax)
    assert ax.get_yscale() == scale
    assert ax.get_legend() is None
    ax.figure.canvas.draw()


def test_a_history_draws_itself_in_a_new_figure() -> None:
    history = nn.History()
    history.append({"epoch": 1.0, "loss": 0.5})
    assert history.plot().figure.number in pyplot.get_fignums()


def test_no_epochs_no_picture() -> None:
    with pytest.raises(ValueError, match="no epochs to draw; train the model first"):
        plot_history(nn.History())


# --- Metrics -------------------------------------------------------------------------------------------------


def test_metrics_are_drawn_with_those_of_the_validation(be: nn.Backend, ax) -> None:
    X, y = nn.datasets.moons(40, backend=be)
    model = nn.Network(nn.Dense(2)).init((2,), backend=be)
    history = model.fit(X, y, epochs=3, validation=0.25, metrics=["accuracy", "f1"])
    assert plotting.plot_metrics(history, ax=ax) is ax
    assert names(ax) == ["accuracy", "accuracy, validation", "f1", "f1, validation"]
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", "-", "--"]
    assert len({line.get_marker() for line in ax.lines}) == len({line.get_color() for line in ax.lines}) == 4
    np.testing.assert_allclose(ax.lines[3].get_ydata(), history["val_f1"])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "metric")


def test_one_metric_gives_its_name_to_the_axis(ax) -> None:
    history = {"epoch": [1.0, 2.0], "loss": [1.0, 0.5], "lr": [0.1, 0.1], "accuracy": [0.5, 0.9], "f1": [0.4, 0.8]}
    plotting.plot_metrics(history, ["f1"], ax=ax)
    assert ax.get_ylabel() == "f1"
    assert len(ax.lines) == 1
    with pytest.raises(ValueError, match="unknown metric of this history 'loss'; use one of accuracy, f1"):
        plotting.plot_metrics(history, ["loss"], ax=ax)
    with pytest.raises(ValueError, match="no metrics to draw; train the model with metrics="):
        plotting.plot_metrics({"epoch": [1.0], "loss": [1.0]}, ax=ax)


# --- Activation functions ------------------------------------------------------------------------------------


def test_an_activation_is_drawn_with_its_derivative(ax) -> None:
    assert plotting.plot_activation("tanh", ax=ax) is ax
    f, derivative, *_ = ax.lines
    x = f.get_xdata()
    np.testing.assert_allclose(f.get_ydata(), np.tanh(x))
    np.testing.assert_allclose(derivative.get_ydata(), 1.0 - np.tanh(x) ** 2, atol=1e-12)
    assert (x[0], x[-1]) == (-4.0, 4.0)
    assert ax.get_title() == "tanh"
    assert (f.get_linestyle(), derivative.get_linestyle()) == ("-", "--")


@pytest.mark.parametrize("name", ["relu", "hard_sigmoid", "hard_tanh"])
def test_a_derivative_that_jumps_is_open_there(name: str, ax) -> None:
    plotting.plot_activation(name, ax=ax)
    derivative = ax.lines[1].get_ydata()
    assert 1 <= np.isnan(derivative).sum() <= 2
    steps = np.diff(derivative)
    assert np.abs(steps[~np.isnan(steps)]).max() == 0.0


def test_an_activation_of_ones_own_is_drawn_by_its_own_pullback(ax) -> None:
    plotting.plot_activation(nn.Activation(lambda x: x * x, lambda x: 3.0 * x), ax=ax, span=1.0)  # not the derivative
    np.testing.assert_allclose(ax.lines[1].get_ydata(), 3.0 * ax.lines[1].get_xdata())
    assert ax.get_title() == "f"


def test_activations_that_cannot_be_drawn_are_refused(ax) -> None:
    with pytest.raises(ValueError, match="elementwise functions; softmax works along an axis"):
        plotting.plot_activation("softmax", ax=ax)
    with pytest.raises(ValueError, match="unknown activation 'tan'"):
        plotting.plot_activation("tan", ax=ax)
    with pytest.raises(ValueError, match="span must be a finite number of at least"):
        plotting.plot_activation("tanh", ax=ax, span=0.0)


# --- Unit by unit --------------------------------------------------------------------------------------------


def test_a_regression_of_one_input_is_a_curve_through_its_data(be: nn.Backend, ax) -> None:
    X = be.asarray(np.linspace(0.0, 4.0, 9)[:, None], dtype="float32")
    model = nn.Network(nn.Dense(1)).init((1,), backend=be, dtype="float32")
    model.set_params({"0.weight": [[2.0]], "0.bias": [-1.0]})
    assert plotting.plot_fit(model, X, 2.0 * X, ax=ax, resolution=11) is ax
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(y, 2.0 * x - 1.0, atol=1e-5)
    assert x[0] < 0.0 < 4.0 < x[-1]
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 1], 2.0 * np.linspace(0.0, 4.0, 9))
    axes = plotting.plot_fit(LinearRegression().fit(be.to_numpy(X), be.to_numpy(2.0 * X)), X)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["prediction"]


def test_bad_curves(host: nn.Backend, ax) -> None:
    X, model = np.zeros((4, 1)), nn.Network(nn.Dense(1)).init((1,))
    for wrong, message in (
        (lambda: plotting.plot_fit(model, np.zeros((4, 2)), ax=ax), r"plot_fit draws examples of shape \(N, 1\)"),
        (lambda: plotting.plot_fit(model, X, X[:3], ax=ax), "y must have one entry per example, 4; got shape"),
        (lambda: plotting.plot_fit(model, X, np.zeros((4, 2)), ax=ax), "y must have one entry per example, 4"),
        (lambda: plotting.plot_fit(halves(host), X, ax=ax), "draws models from 1 input to 1 output; this one takes"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
    with pytest.raises(TypeError, match="plot_fit draws a Model, or a fitted estimator"):
        plotting.plot_fit(3, X, ax=ax)
    assert not ax.has_data()


def test_nothing_is_drawn_before_everything_is_checked(host: nn.Backend, ax) -> None:
    X, y = nn.datasets.moons(20)
    for labels, more in ((y + 1, {}), (y[:5], {}), (y, {"names": ["one"]}), (np.eye(2)[y], {})):
        with pytest.raises(ValueError, match=r"label|names|entry"):
            plot_boundary(halves(host), X, labels, ax=ax, **more)
        with pytest.raises(ValueError, match=r"label|names|entry"):
            plot_boundary(halves(host), X, labels, **more)
    assert not ax.has_data()
    assert not pyplot.get_fignums(), "no empty figure is left"


def small(be: nn.Backend) -> nn.Model:
    model = nn.Network(nn.Dense(3, "tanh"), nn.Dropout(0.5), nn.Dense(1)).init((2,), backend=be)
    return model.set_params({"0.weight": [[1.0, -2.0, 0.5], [0.0, 4.0, -1.0]], "0.bias": [0.5, -1.0, 0.0]})


def test_weights_are_lines_and_units_see_the_plane(be: nn.Backend, ax) -> None:
    X, _ = nn.datasets.moons(20, backend=be)
    model = small(be)
    assert plotting.plot_neurons(model, X, ax=ax, resolution=12) is ax
    weights = [be.to_numpy(model.params[name]).T.ravel() for name in ("0.weight", "2.weight")]
    for line, w in zip(ax.lines, np.concatenate(weights), strict=True):
        assert line.get_linewidth() == pytest.approx(max(6.0 * abs(w) / 4.0, 0.15), rel=1e-5)
        assert line.get_color() == (plotting.NEGATIVE if w < 0 else plotting.POSITIVE)
        assert line.is_dashed() == (w < 0)
    assert len(ax.images) == 2 + 3 + 1
    grid = plotting.plane.Grid.over(X, 12, "test").points
    hidden = np.tanh(grid @ be.to_numpy(model.params["0.weight"]) + be.to_numpy(model.params["0.bias"]))
    for unit in range(3):
        want = hidden[..., unit] / np.abs(hidden[..., unit]).max()
        np.testing.assert_allclose(np.asarray(ax.images[2 + unit].get_array()), want, atol=1e-5)
    texts = [text.get_text() for text in ax.texts]
    assert {"inputs", "3 units, tanh", "1 unit", "b = −1.00", "b = 0.50", "$x_{1}$", "$z_{1}$"} <= set(texts)
    assert names_of_key(ax) == ["w = 4", "w = −4"]


def names_of_key(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_units_of_other_inputs_are_circles(host: nn.Backend) -> None:
    net = nn.Network(nn.Network(nn.Dense(4), nn.Activation("relu")), nn.Dense(2, bias=False))
    axes = plotting.plot_neurons(net.init((3,)), biases=False)
    assert not axes.images
    assert sum(type(patch).__name__ == "Circle" for patch in axes.patches) == 9
    assert not [text for text in axes.texts if text.get_text().startswith("b =")]
    assert "4 units, relu" in [text.get_text() for text in axes.texts]


def test_units_do_not_lie_on_each_other_and_all_is_inside(host: nn.Backend) -> None:
    X, _ = nn.datasets.moons(20)
    axes = plotting.plot_neurons(nn.Network(nn.Dense(7, "relu"), nn.Dense(4), nn.Dense(2)).init((2,)), X, resolution=8)
    axes.figure.canvas.draw()
    frame = axes.figure.bbox
    units = [image.get_window_extent() for image in axes.images]
    for i, a in enumerate(units):
        assert not any(a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1 for b in units[i + 1 :])
    for text in axes.texts:
        box = text.get_window_extent()
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        assert frame.y0 <= box.y0
        assert box.y1 <= frame.y1


@pytest.mark.parametrize("shape", [(2,), (32,)])
def test_units_of_a_large_layer_stand_in_a_grid(host: nn.Backend, shape: tuple[int, ...]) -> None:
    net = nn.Network(nn.Dense(32, "tanh"), nn.Dense(12, "tanh"), nn.Dense(2))
    axes = plotting.plot_neurons(net.init(shape), resolution=4)
    width, height = axes.figure.get_size_inches()
    assert height < 12.0
    assert width < 18.0
    axes.figure.canvas.draw()
    frame = axes.figure.bbox
    circles = [each for each in axes.patches if type(each).__name__ == "Circle"]
    units = [each.get_window_extent() for each in axes.images or circles]
    assert len(units) == shape[0] + 32 + 12 + 2
    for i, a in enumerate(units):
        assert frame.x0 <= a.x0 < a.x1 <= frame.x1
        assert frame.y0 <= a.y0 < a.y1 <= frame.y1
        assert not any(a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1 for b in units[i + 1 :])


@pytest.mark.parametrize(
    "name", ["boundary", "surface", "fit", "neurons", "weight_histograms", "activation_histograms"]
)
def test_the_model_comes_first(host: nn.Backend, name: str) -> None:
    function, X = getattr(plotting, f"plot_{name}"), np.zeros((4, 2))
    for given, shown in ((X, r"an array of shape \(4, 2\)"), (X.tolist(), r"\[\[0\.0")):
        with pytest.raises(TypeError, match=rf"takes the model first: plot_{name}\(model, X\); got {shown}"):
            function(given, *(() if name == "weight_histograms" else (halves(host),)))


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (
            lambda: nn.Network(nn.Conv2D(2, 3)),
            (8, 8, 1),
            r"networks that take vectors; .* examples of shape \(8, 8, 1\)",
        ),
        (lambda: nn.Network(nn.Dense(2), nn.BatchNorm()), (2,), r"layer '1' is BatchNorm. .* model.fold\(\) merges"),
        (lambda: nn.Network(nn.Branches(nn.Dense(2))), (2,), "layer '0' is Branches"),
        (lambda: nn.Network(nn.Residual(nn.Dense(2))), (2,), "layer '0' is Residual"),
        (lambda: nn.Network(nn.Activation("tanh")), (2,), "is Activation|at least one dense layer"),
        (lambda: nn.Network(nn.Dropout(0.5)), (2,), "needs at least one dense layer"),
        (lambda: nn.Network(nn.Dense(33)), (2,), "at most 32 units per layer, .* got 33"),
    ],
)
def test_networks_that_are_not_dense_rows_are_refused(net, shape, message: str, ax) -> None:
    with pytest.raises(ValueError, match=message):
        plotting.plot_neurons(net().init(shape), ax=ax)


# --- Histograms ----------------------------------------------------------------------------------------------


def test_weights_are_counted_by_layer(be: nn.Backend, ax) -> None:
    model = nn.Network(nn.Dense(50, name="hidden"), nn.BatchNorm(), nn.Dense(2)).init((40,), backend=be)
    assert plotting.plot_weight_histograms(model, ax=ax) is ax
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["hidden.weight", "2.weight"]
    assert len(ax.collections) == 2
    first = ax.collections[0].get_paths()[0].vertices
    assert first[:, 1].min() == 1.0
    assert first[:, 1].max() == pytest.approx(1.85)  # the highest bar nearly fills the row
    spread = be.to_numpy(model.params["hidden.weight"]).std()
    assert ax.texts[0].get_text() == f"std {spread:.2g}"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("weight", "layer")


def test_outputs_are_counted_by_layer_with_the_share_of_zeros(be: nn.Backend, ax) -> None:
    X = nn.datasets.moons(50, backend=be)[0]
    net = nn.Network(nn.Dense(8, "relu"), nn.Dropout(0.5), nn.Residual(nn.Dense(8)), nn.Dense(2))
    model = net.init((2,), backend=be)
    assert plotting.plot_activation_histograms(model, X, ax=ax) is ax
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0", "2.0", "3"]
    hidden = np.maximum(be.to_numpy(X) @ be.to_numpy(model.params["0.weight"]), 0.0)
    assert ax.texts[0].get_text() == f"std {hidden.std():.2g}, {(hidden == 0).mean():.0%} zero"
    assert ax.texts[2].get_text().startswith("std ")


def test_no_bar_reaches_beyond_the_values(host: nn.Backend, ax) -> None:
    model = nn.Network(nn.Dense(20, "tanh"), nn.Dense(20), nn.Dense(3, "relu", init="zeros")).init((2,), seed=1)
    plotting.plot_activation_histograms(model, 5.0 * nn.datasets.moons(100)[0], ax=ax)
    tanh, wide, equal = (each.get_paths()[0].vertices[:, 0] for each in ax.collections)
    assert -1.0 <= tanh.min() < -0.99
    assert 0.99 < tanh.max() <= 1.0
    assert ax.get_xlim() == pytest.approx((wide.min(), wide.max()))
    assert np.ptp(wide) > 4.0
    assert 0.0 < np.ptp(equal) < 0.2  # all are 0: one bar around it


def test_histograms_of_nothing_and_of_infinity_are_refused(host: nn.Backend, ax) -> None:
    with pytest.raises(ValueError, match="no weights to draw"):
        plotting.plot_weight_histograms(nn.Network(nn.Flatten()).init((2,)), ax=ax)
    model = small(host)
    spoiled = model.wiring.params.mask({"2.weight"}, model.theta)
    model = model.with_theta(host.xp.where(spoiled, float("inf"), model.theta))
    with pytest.raises(ValueError, match=r"2\.weight contains NaN or infinity"):
        plotting.plot_weight_histograms(model, ax=ax)


def test_equal_weights_have_a_histogram_too(host: nn.Backend, ax) -> None:
    plotting.plot_weight_histograms(nn.Network(nn.Dense(2, init="zeros")).init((2,)), ax=ax)
    assert ax.get_xlim() == (-0.5, 0.5)


# --- Films ---------------------------------------------------------------------------------------------------


def shot(be: nn.Backend, epochs: int = 5, every: int = 2) -> plotting.Film:
    X, y = nn.datasets.moons(20, backend=be)
    film = plotting.Film(X, y, every=every)
    nn.Network(nn.Dense(2)).init((2,), backend=be).fit(X, y, epochs=epochs, callbacks=[film])
    return film


def test_a_film_keeps_frames_on_the_device(be: nn.Backend) -> None:
    film = shot(be)
    assert [frame.epoch for frame in film.frames] == [0, 2, 4, 5]
    thetas = [frame.numbers[0] for frame in film.frames]
    assert all(nn.namespace(theta) is be.xp and nn.device_of(theta) == be.device for theta in thetas)
    assert len({be.to_numpy(theta).tobytes() for theta in thetas}) == 4
    axes = film.draw(1, ax=Figure().subplots(), resolution=10)
    assert axes.get_title() == f"epoch 2: loss {film.frames[1].loss:.3g}"
    assert film.draw(0, ax=axes, resolution=10).get_title() == "before training"


def test_a_frame_shows_the_model_as_it_was(host: nn.Backend) -> None:
    film = shot(host)
    model = nn.Network(nn.Dense(2)).init((2,))
    model.theta = film.frames[0].numbers[0]
    want = plot_boundary(model, film.X, film.y, ax=Figure().subplots(), resolution=10)
    got = film.draw(0, ax=Figure().subplots(), resolution=10)
    np.testing.assert_array_equal(got.images[0].get_array(), want.images[0].get_array())


def test_a_film_is_saved_as_a_gif(host: nn.Backend, tmp_path) -> None:
    path = tmp_path / "training.gif"
    before = dict(mpl.rcParams)
    shot(host).save(path, fps=5, resolution=10)
    with Image.open(path) as image:
        assert image.n_frames == 4
        assert image.info["duration"] == 200
        assert image.size == (560, 420)
        looks = []
        for i in range(4):
            image.seek(i)
            looks.append(np.asarray(image.convert("L")))
    assert all((a != b).any() for a, b in itertools.pairwise(looks))
    assert [each.name for each in tmp_path.iterdir()] == ["training.gif"]
    assert dict(mpl.rcParams) == before
    assert not pyplot.get_fignums()


def test_a_film_is_a_piece_of_a_page(host: nn.Backend, tmp_path) -> None:
    film = shot(host, epochs=2)
    film.save(tmp_path / "training.html", resolution=10)
    page = (tmp_path / "training.html").read_text(encoding="utf-8")
    assert len(re.findall(r"frames\[\d+\] = \"data:image/png;base64", page)) == 2


def test_an_mp4_needs_ffmpeg(host: nn.Backend, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.animation import FFMpegWriter

    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    with pytest.raises(RuntimeError, match=r"needs the program ffmpeg, .*\. Install it, or save a \.gif or \.html"):
        shot(host, epochs=1).save(tmp_path / "training.mp4")
    assert not list(tmp_path.iterdir())


def test_films_that_cannot_be_shown_are_refused(host: nn.Backend, tmp_path) -> None:
    X, y = nn.datasets.moons(20)
    with pytest.raises(ValueError, match=r"the film has no frames\. Pass it to a training"):
        plotting.Film(X, y).save(tmp_path / "training.gif")
    with pytest.raises(ValueError, match=r"end in \.gif, \.mp4, \.html; got 'training\.avi'"):
        shot(host, epochs=1).save("training.avi")
    with pytest.raises(ValueError, match="every must be an integer of at least 1"):
        plotting.Film(X, y, every=0)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        shot(host, epochs=1).save(tmp_path / "none" / "training.gif")


def test_a_film_that_cannot_be_drawn_is_refused_before_the_training(host: nn.Backend) -> None:
    X, _ = nn.datasets.moons(20)
    model = nn.Network(nn.Dense(1)).init((2,), seed=0)
    before = model.theta.copy()
    with pytest.raises(ValueError, match=r"its output is a value\. Use plot_surface"):
        model.fit(X, X[:, :1], loss="mse", epochs=3, callbacks=[plotting.Film(X, X[:, :1])])
    assert np.array_equal(model.theta, before)


def test_a_film_begins_anew_with_each_training(host: nn.Backend) -> None:
    X, y = nn.datasets.moons(20)
    film, model = plotting.Film(X, y, every=1), nn.Network(nn.Dense(2)).init((2,))
    for epochs in (3, 1):
        model.fit(X, y, epochs=epochs, callbacks=[film])
        assert len(film.frames) == epochs + 1


# --- Every figure, into a file -------------------------------------------------------------------------------

HISTORY = {
    "epoch": [1.0, 2.0, 3.0],
    "loss": [1.0, 0.3, 0.05],
    "val_loss": [1.1, 0.4, 0.1],
    "accuracy": [0.5, 0.8, 0.9],
    "val_accuracy": [0.5, 0.7, 0.8],
}


def drawn(name: str, ax) -> None:
    host = nn.backend("numpy")
    X, y = nn.datasets.moons(40)
    sheet = nn.datasets.pets(4, size=8)[0]
    {
        "data": lambda: plot_data(X, y, ax=ax),
        "boundary": lambda: plot_boundary(halves(host), X, y, ax=ax, resolution=40),
        "estimator": lambda: plot_boundary(LogisticRegression().fit(X, y), X, y, ax=ax, resolution=40),
        "surface": lambda: plotting.plot_surface(ramp(host), X, X[:, 0], ax=ax, resolution=40),
        "history": lambda: plot_history(HISTORY, ax=ax),
        "metrics": lambda: plotting.plot_metrics(HISTORY, ax=ax),
        "activation": lambda: plotting.plot_activation("gelu", ax=ax),
        "layers": lambda: small(host).plot(ax=ax),
        "neurons": lambda: plotting.plot_neurons(small(host), X, ax=ax, resolution=20),
        "weights": lambda: plotting.plot_weight_histograms(small(host), ax=ax),
        "activations": lambda: plotting.plot_activation_histograms(small(host), X, ax=ax),
        "film": lambda: shot(host, epochs=1).draw(ax=ax, resolution=40),
        "sheet": lambda: plotting.plot_images(sheet, ["a", "b", "c", "d"], ax=ax),
        "filters": lambda: plotting.plot_filters(np.linspace(-1, 1, 108).reshape(3, 3, 3, 4), ax=ax),
        "confusion": lambda: plotting.plot_confusion(np.asarray([[9, 1], [3, 7]]), ["cat", "dog"], ax=ax),
    }[name]()


FIGURES = "data boundary estimator surface history metrics activation layers neurons weights activations film sheet"
FIGURES += " filters confusion"


@pytest.mark.parametrize("name", FIGURES.split())
def test_every_picture_is_rendered(name: str, tmp_path) -> None:
    with plotting.picture(5.0, 4.0) as figure:
        ax = figure.subplots()
        drawn(name, ax)
    path = tmp_path / f"{name}.png"
    plotting.save(figure, path)
    with Image.open(path) as image:
        assert image.size == (750, 600)
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels < 250).any(axis=-1).mean() > 0.01  # something is there
    assert not (pixels[[0, -1]] < 128).any()  # and nothing is cut off at the edges
    assert not (pixels[:, [0, -1]] < 128).any()
    assert len(np.unique(pixels[..., 0])) > 20
    assert not pyplot.get_fignums()


def test_pictures_go_into_axes_of_a_subfigure(host: nn.Backend) -> None:
    with plotting.picture(8.0, 4.0) as figure:
        left, right = figure.subfigures(1, 2)
        plotting.plot_neurons(small(host), ax=left.subplots(), resolution=8)
        assert len(shot(host, epochs=1).animation(ax=right.subplots(), resolution=8).to_jshtml(fps=2)) > 1000


def test_long_names_of_classes_do_not_run_into_each_other() -> None:
    labels = ["aeroplane", "automobile", "bird", "horse"]
    axes = plotting.plot_confusion(np.eye(4), labels)
    axes.figure.canvas.draw()
    assert {tick.get_rotation() for tick in axes.get_xticklabels()} == {40.0}


# --- Figures -------------------------------------------------------------------------------------------------


def test_without_axes_there_is_a_new_figure_with_a_legend(host: nn.Backend) -> None:
    X, y = nn.datasets.moons(20)
    first, second = plot_data(X, y), plot_boundary(halves(host), X, y, resolution=10)
    assert first.figure is not second.figure
    assert first.get_legend()
    assert second.get_legend()
    assert len(pyplot.get_fignums()) == 2


def test_names_of_the_axes_are_kept(ax) -> None:
    ax.set_xlabel("length (cm)")
    plot_data(*nn.datasets.moons(20), ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("length (cm)", "$x_2$")


def test_a_picture_for_a_file_leaves_pyplot_alone(tmp_path) -> None:
    before = dict(mpl.rcParams)
    with plotting.picture(3, 2) as figure:
        plot_data(*nn.datasets.moons(20), ax=figure.subplots())
    plotting.save(figure, tmp_path / "moons.png")
    assert (tmp_path / "moons.png").stat().st_size > 1000
    assert dict(mpl.rcParams) == before
    assert not pyplot.get_fignums()


def test_without_matplotlib_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"figures need matplotlib; pip install 'nnarray\[plot\]'"):
        plot_data(*nn.datasets.moons(20))


# --- Sheets of images ------------------------------------------------------------------------------------------------


def test_sheets_place_pictures_in_rows_with_their_labels() -> None:
    X = nn.datasets.pets(5, size=16)[0]
    axes = nn.plotting.plot_images(X, ["a", "b", "c", "d", "e"], colours=["red"] * 5, columns=2)
    assert len(axes.images) == 5
    lefts, tops = zip(*[(image.get_extent()[0], image.get_extent()[3]) for image in axes.images], strict=True)
    assert len(set(lefts)) == 2
    assert len(set(tops)) == 3
    assert [text.get_text() for text in axes.texts] == ["a", "b", "c", "d", "e"]
    np.testing.assert_array_equal(axes.images[3].get_array(), X[3])
    axes.figure.canvas.draw()


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (3, 3), (7, 4), (12, 4), (16, 4), (32, 8)])
def test_a_sheet_has_few_gaps_and_a_figure_of_its_shape(count: int, columns: int) -> None:
    axes = plotting.plot_images(np.zeros((count, 4, 8)))
    assert len({image.get_extent()[0] for image in axes.images}) == columns
    axes.figure.canvas.draw()
    sheet = axes.get_window_extent()
    assert (
        sheet.width * sheet.height > 0.85 * axes.figure.bbox.width * axes.figure.bbox.height
    )  # little white around it


def test_more_columns_than_images_leave_no_gap() -> None:
    axes = plotting.plot_images(np.zeros((2, 4, 4, 3)), columns=8)
    assert axes.get_xlim() == pytest.approx((0.0, 2.12))


def test_filters_are_grey_where_they_are_zero() -> None:
    weight = np.zeros((3, 3, 3, 2))
    weight[0, 0, 0, 0] = -2.0
    axes = nn.plotting.plot_filters(weight)
    first, second = (np.asarray(image.get_array()) for image in axes.images)
    assert first[0, 0, 0] == 0.0
    assert (second == 0.5).all()


def test_a_confusion_matrix_is_written_out() -> None:
    axes = nn.plotting.plot_confusion(np.asarray([[9, 1], [0, 0]]), ["cat", "dog"])
    assert [text.get_text() for text in axes.texts] == ["9", "1", "0", "0"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")


def test_the_picture_of_the_pets_has_few_gaps(host: nn.Backend) -> None:
    X, y = nn.datasets.pets(60, size=16, seed=1)
    model = nn.models.cnn(2).init((16, 16, 3), dtype="float32")
    model.loss = "cross_entropy"
    probabilities = nn.backend("numpy").asarray(np.linspace([0.1, 0.9], [0.9, 0.1], 60))
    history = {"epoch": [1.0, 2.0], "loss": [0.7, 0.6]}
    figure = pets.draw_pets(pets.PetsFit(model, history, X, y, probabilities))
    plotting.save(figure, io.BytesIO())
    width, height = figure.bbox.width, figure.bbox.height
    first, wrong, lit, counts, filters, loss = (axes.get_window_extent() for axes in figure.axes)
    assert first.width > 0.95 * width
    assert min(wrong.width, lit.width) > 0.43 * width
    assert counts.width < 0.25 * width  # four numbers
    assert filters.width > 0.12 * width
    assert sum(each.height for each in (first, wrong, loss)) > 0.75 * height


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda p: p.plot_images(np.zeros((2, 4, 4, 2))), r"needs images of shape \(N, height, width, 3 or 1\)"),
        (lambda p: p.plot_images(np.zeros((0, 4, 4, 3))), "needs images of shape"),
        (lambda p: p.plot_images(np.zeros((2, 4, 4, 3)), ["a"]), "one of labels per image, 2; got 1"),
        (lambda p: p.plot_filters(np.zeros((3, 3, 8, 4))), "needs weights of shape"),
        (lambda p: p.plot_confusion(np.zeros((2, 3)), ["a", "b"]), r"matrix of shape \(2, 2\); got \(2, 3\)"),
    ],
)
def test_sheets_refuse_other_things(draw, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(nn.plotting)


def test_a_film_in_a_page_fetches_nothing_from_elsewhere(host: nn.Backend) -> None:
    page = shot(host, epochs=2).to_html(resolution=8)
    assert "http" not in page.replace("http://www.w3.org", "")
    assert 'class="fa' not in page
    for sign in "⏮◁◀⏸▶▷⏭":
        assert sign in page


def test_labels_that_are_none_are_refused(host: nn.Backend) -> None:
    X, y = nn.datasets.moons(20, seed=0)
    model = nn.Network(nn.Dense(2)).init((2,))
    for wrong, message in ((y + 5, "0 to 1; got 5"), (y - 1, "0 to 1; got -1"), (y * 1.5, "0 to 1; got 1.5")):
        with pytest.raises(ValueError, match=message):
            plotting.plot_boundary(model, X, wrong)
    with pytest.raises(ValueError, match="got -1"):
        plotting.plot_data(X, y - 1)
    with pytest.raises(ValueError, match="NaN or infinity"):
        plotting.plot_boundary(model, X * np.nan, y)
    with pytest.raises(ValueError, match="columns must be an integer of at least 1"):
        plotting.plot_images(np.zeros((2, 4, 4)), columns=0)


# --- Products ------------------------------------------------------------------------------------------------


def test_a_product_is_drawn_with_its_numbers_and_one_sum_written_out(be: nn.Backend, ax) -> None:
    A, B = be.asarray([[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]]), be.asarray([[3.0, 5.0], [4.0, -6.0]])
    assert plotting.plot_product(A, B, entry=(0, 1), digits=1, ax=ax) is ax
    texts = [text.get_text() for text in ax.texts]
    want = be.to_numpy(A) @ be.to_numpy(B)
    assert texts[-1] == "1.0 · 5.0 + 2.0 · (-6.0) = -7.0"
    for table in (be.to_numpy(A), be.to_numpy(B), want):
        assert all(f"{value:.1f}" in texts for value in table.ravel())
    assert [sign for sign in texts if sign in ("@", "+", "=")] == ["@", "="]
    assert [name for name in texts if name in ("A", "B", "A B")] == ["A", "B", "A B"]
    frames = [each for each in ax.patches if not each.get_fill()]
    assert [(each.get_width(), each.get_height()) for each in frames] == [(2, 1), (1, 2), (1, 1)]
    assert [each.get_xy() for each in frames] == [(0, -1.5), (4, -1), (7, -1.5)]  # row 0, column 1, entry (0, 1)


def test_a_product_with_a_bias_adds_it_to_the_sum(ax) -> None:
    names = ("X", "W", "b", "Z")
    plotting.plot_product([[1.0, 2.0]], [[3.0], [4.0]], bias=[-0.5], digits=1, names=names, ax=ax)
    texts = [text.get_text() for text in ax.texts]
    assert texts[-1] == "1.0 · 3.0 + 2.0 · 4.0 + (-0.5) = 10.5"
    assert [text for text in texts if text in names] == list(names)
    assert [text for text in texts if text in ("@", "+", "=")] == ["@", "+", "="]


@pytest.mark.parametrize("values", [[[0.0]], [[float("nan")]], [[float("inf")]]])
def test_a_product_of_zeros_or_of_what_is_no_number_is_drawn(values: list, ax) -> None:
    plotting.plot_product(values, values, ax=ax)
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("A", "B", "settings", "words"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), {}, r"as many columns as the second has rows; got A of shape \(2, 3\)"),
        (np.ones(3), np.ones((3, 2)), {}, r"two matrices.*got A of shape \(3,\)"),
        (np.ones((0, 3)), np.ones((3, 2)), {}, r"two matrices.*got A of shape \(0, 3\)"),
        (np.ones((200, 2)), np.ones((2, 5)), {}, r"at most 12 rows and columns.*Give a part, such as A\[:6, :\]"),
        (np.ones((2, 2)), np.ones((2, 2)), {"entry": (2, 0)}, r"which has shape \(2, 2\); got \(2, 0\)"),
        (np.ones((2, 2)), np.ones((2, 2)), {"entry": (-1, 0)}, r"entry must be a row and a column"),
        (np.ones((2, 2)), np.ones((2, 2)), {"entry": 1}, r"entry must be a row and a column.*got 1"),
        (np.ones((2, 2)), np.ones((2, 2)), {"entry": (0.5, 0)}, r"entry must be a row and a column"),
        (np.ones((2, 2)), np.ones((2, 2)), {"names": ("A", "B")}, r"needs 3 names, one a table; got \('A', 'B'\)"),
        (np.ones((2, 2)), np.ones((2, 2)), {"bias": [1.0]}, r"a bias of shape \(2,\).*got \(1,\)"),
        (np.ones((2, 2)), np.ones((2, 2)), {"digits": -1}, r"digits must be an integer of at least 0"),
    ],
)
def test_what_is_no_product_is_refused_before_it_is_drawn(A, B, settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plotting.plot_product(A, B, **settings)
    assert not pyplot.get_fignums()


def test_curves_on_the_same_axes_have_colours_of_their_own() -> None:
    X, y = nn.datasets.sine(20, seed=0)
    model = nn.Network(nn.Dense(1)).init((1,))
    axes = nn.plotting.plot_fit(model, X, y)
    nn.plotting.plot_fit(model, X, ax=axes)
    assert len({line.get_color() for line in axes.lines}) == 2


def test_values_of_both_signs_have_two_colours_and_0_is_white() -> None:
    X, _ = nn.datasets.moons(20, seed=0)
    model = nn.Network(nn.Dense(1)).init((2,), seed=0)
    image = nn.plotting.plot_surface(model, X).images[0]
    low, high = image.get_clim()
    assert low == -high
    red, white, blue = (image.cmap(image.norm(x)) for x in (low, 0.0, high))
    assert min(white[:3]) > 0.9
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    positive = nn.plotting.plot_surface(model.set_params({"0.bias": [9.0]}), X).images[0]
    assert positive.get_clim()[0] > 0
