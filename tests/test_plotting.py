"""Pictures: each function draws on every backend, where it is told to, and leaves pyplot as it was."""

from __future__ import annotations

import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

import nnarray as nn
from nnarray import plotting
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
    looks = [(each["color"], each["marker"]) for each in map(plotting._dots, range(16))]
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
    with pytest.raises(ValueError, match=r"y must have one entry an example, 4; got shape \(3,\)"):
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


# --- Training ------------------------------------------------------------------------------------------------


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
    with pytest.raises(ImportError, match=r"pictures need matplotlib; pip install 'nnarray\[plot\]'"):
        plot_data(*nn.datasets.moons(20))


# --- Sheets of pictures ----------------------------------------------------------------------------------------------


def test_sheets_place_pictures_in_rows_with_their_labels() -> None:
    X = nn.datasets.pets(5, size=16)[0]
    axes = nn.plotting.plot_pictures(X, ["a", "b", "c", "d", "e"], colours=["red"] * 5, columns=2)
    assert len(axes.images) == 5
    lefts, tops = zip(*[(image.get_extent()[0], image.get_extent()[3]) for image in axes.images], strict=True)
    assert len(set(lefts)) == 2
    assert len(set(tops)) == 3
    assert [text.get_text() for text in axes.texts] == ["a", "b", "c", "d", "e"]
    np.testing.assert_array_equal(axes.images[3].get_array(), X[3])
    axes.figure.canvas.draw()


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


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda p: p.plot_pictures(np.zeros((2, 4, 4, 2))), r"needs pictures of shape \(N, height, width, 3 or 1\)"),
        (lambda p: p.plot_pictures(np.zeros((0, 4, 4, 3))), "needs pictures of shape"),
        (lambda p: p.plot_pictures(np.zeros((2, 4, 4, 3)), ["a"]), "as many labels as pictures, 2; got 1"),
        (lambda p: p.plot_filters(np.zeros((3, 3, 8, 4))), "needs weights of shape"),
        (lambda p: p.plot_confusion(np.zeros((2, 3)), ["a", "b"]), r"matrix of shape \(2, 2\); got \(2, 3\)"),
    ],
)
def test_sheets_refuse_other_things(draw, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(nn.plotting)
