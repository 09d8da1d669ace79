"""Figures of examples in the plane, and of the predictions of a model over the plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nnarray import kernels
from nnarray.backends import backend_of
from nnarray.checks import integer
from nnarray.drawing.canvas import COLOURS, MARKERS, axes_for, name_axes, on_host
from nnarray.layers.containers import last_activation
from nnarray.model import Model
from nnarray.names import shown
from nnarray.training.answers import ARE_PROBABILITIES, is_of_single_labels
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

Limits = Sequence[Sequence[float]]
"""((lowest x_1, highest x_1), (lowest x_2, highest x_2))."""

# --- Examples ------------------------------------------------------------------------------------------------


def plot_data(X: Array, y: Array | np.ndarray, *, names: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw examples: points in the plane by class, or points (x, y) of a curve.

    Parameters
    ----------
    X : array, shape (N, 2) or (N, 1)
    y : array, shape (N,) or (N, 1)
        Classes 0, 1, ... if X has two features; otherwise real numbers.
    names : sequence of str, optional
        The names of the classes in the legend; "class 0", "class 1", ... if None.
    ax : matplotlib Axes, optional
        Where to draw; a new figure, with a legend, if None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If X does not have one or two features, the lengths differ, or a class has no name.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.plotting import plot_data
    >>> axes = plot_data(*nn.datasets.moons(200))  # doctest: +SKIP
    """
    points, values = on_host(X), _numbers(y)
    check_examples(points, values, "plot_data", (1, 2))
    values = values.reshape(len(points))
    classes = _classes(values, names) if points.shape[1] == 2 else {}
    axes = axes_for(ax)
    if not classes:
        axes.scatter(points[:, 0], values, s=22, color="0.6", edgecolor="0.3", linewidth=0.5, label="points")
        name_axes(axes, "x", "y")
    else:
        for label, name in classes.items():
            mine = points[values == label]
            axes.scatter(mine[:, 0], mine[:, 1], label=name, **dots(label))
        name_axes(axes, "$x_1$", "$x_2$")
    if ax is None:
        axes.legend()
    return axes


def _numbers(y: Any) -> np.ndarray:
    """The labels or values on the host; refuses names of classes with the lines that number them."""
    values = on_host(y)
    if values.dtype.kind in "UTOS":
        first = shown(values.reshape(-1).tolist()[0]) if values.size else "text"
        raise TypeError(
            f"y must have numbers; got {first}. For names of classes: names = sorted(set(y)), y = "
            f"[names.index(each) for each in y], and pass names=names."
        )
    return values


def _classes(values: np.ndarray, names: Sequence[str] | None) -> dict[int, str]:
    """The labels in these values, and the name of each."""
    _check_labels(values, None)
    return {label: _name(label, names) for label in sorted({int(value) for value in values})}


def _name(label: int, names: Sequence[str] | None) -> str:
    if names is None:
        return f"class {label}"
    if not 0 <= label < len(names):
        raise ValueError(f"names has {len(names)} entries, but there is a class {label}; pass a name for each class.")
    return names[label]


def dots(label: int) -> dict[str, Any]:
    """The colour and shape of the points of a class; no two classes have the same of both."""
    marker = MARKERS[(label + label // len(COLOURS)) % len(MARKERS)]
    return {
        "color": COLOURS[label % len(COLOURS)],
        "marker": marker,
        "s": 34 if marker in "^v*" else 26,
        "edgecolor": "black",
        "linewidth": 0.5,
        "zorder": 3,
    }


# --- A classifier over the plane -----------------------------------------------------------------------------


def plot_boundary(
    model: Any,
    X: Array,
    y: Array | None = None,
    *,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
    resolution: int = 200,
    limits: Limits | None = None,
) -> Axes:
    """Draw the predictions of a classifier over the plane: probabilities as shades, decision boundaries as lines.

    The colour is that of the most likely class k. Its intensity is (p_k - 1/K) / (1 - 1/K), from 0 to 1. With two
    classes the line is at p = 1/2.

    Parameters
    ----------
    model : Model or estimator
        A model with 2 inputs, whose outputs are K logits or the one logit of two classes. Or a fitted estimator with
        scikit-learn's `predict_proba`, or at least `predict` (then all colours have full intensity).
    X : array, shape (N, 2)
        The figure spans these points and a margin of 12 %, if there are no `limits`.
    y : array, shape (N,), optional
        The classes of the points; without them no points are drawn. For an estimator, labels as in its fit.
    names : sequence of str, optional
        The names of the classes in the legend. If None, the labels of an estimator, or "class 0", ...
    ax : matplotlib Axes, optional
        Where to draw; a new figure, with a legend, if None.
    resolution : int
        The number of grid points along each axis. The outputs are computed on the device of the model.
    limits : pair of pairs of float, optional
        The part of the plane that is drawn: ((lowest x_1, highest x_1), (lowest x_2, highest x_2)).

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If the model is neither a Model nor such an estimator.
    ValueError
        If X or the model does not have two features, if the model is a regression (use `plot_surface`), if its outputs
        are separate labels, or if y has a label that the estimator does not know.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.plotting import plot_boundary
    >>> X, y = nn.datasets.moons(200)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,))
    >>> axes = plot_boundary(model, X, y)  # doctest: +SKIP
    """
    check_order(model, "plot_boundary")
    if y is not None:
        check_examples(on_host(X), on_host(y), "plot_boundary", (2,))
    grid = Grid.over(X, resolution, "plot_boundary", limits)
    answer = _answer(model, grid.points)
    labels, names = (
        (None, names) if y is None else _labels(X, _numbers(y) if answer.labels is None else on_host(y), answer, names)
    )
    axes = axes_for(ax)  # nothing is drawn before everything has been checked
    _shade(axes, grid, answer.probabilities)
    _boundary(axes, grid, answer.scores)
    grid.frame(axes)
    if labels is not None:
        plot_data(X, labels, names=names, ax=axes)
    if ax is None:
        axes.legend()
    return axes


def _labels(
    X: Array, y: np.ndarray, answer: _Answer, names: Sequence[str] | None
) -> tuple[np.ndarray, Sequence[str] | None]:
    """The classes of the points as 0, 1, ..., and their names; checked."""
    check_examples(on_host(X), y, "plot_boundary", (2,))
    if y.size != len(y):
        raise ValueError(f"y must have one label per example, {len(y)}; got shape {y.shape}.")
    if answer.labels is None:
        _check_labels(y, max(answer.probabilities.shape[-1], 2))
    labels, known = _coded(y, answer.labels)
    names = names or known
    _classes(labels.reshape(-1), names)
    return labels, names


class Grid(NamedTuple):
    """A grid of points of the plane that spans some examples and a margin."""

    x1: np.ndarray
    x2: np.ndarray

    @classmethod
    def over(cls, X: Any, resolution: int, name: str, limits: Limits | None = None) -> Grid:
        """A grid over the examples X, or within these limits; errors name the function."""
        points = on_host(X)
        check_examples(points, points, name, (2,))
        size = integer(resolution, "resolution", 2, usual=200)
        if limits is None:
            return cls(span(points[:, 0], size), span(points[:, 1], size))
        return cls(*(np.linspace(low, high, size) for low, high in _checked_limits(limits, name)))

    def spans(self, points: np.ndarray) -> np.ndarray:
        """Which points of the grid lie between the lowest and the highest of these points along each axis."""
        low, high = points.min(axis=0), points.max(axis=0)
        return ((self.points >= low) & (self.points <= high)).all(axis=-1)

    @property
    def points(self) -> np.ndarray:
        """All points, shape (x2, x1, 2)."""
        return np.stack(np.meshgrid(self.x1, self.x2), axis=-1)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The extent of an image with a pixel around each point."""
        half1, half2 = (self.x1[1] - self.x1[0]) / 2, (self.x2[1] - self.x2[0]) / 2
        return (self.x1[0] - half1, self.x1[-1] + half1, self.x2[0] - half2, self.x2[-1] + half2)

    def frame(self, axes: Axes) -> None:
        """Limit the axes to the grid."""
        axes.set(xlim=(self.x1[0], self.x1[-1]), ylim=(self.x2[0], self.x2[-1]))
        name_axes(axes, "$x_1$", "$x_2$")


def span(values: np.ndarray, size: int) -> np.ndarray:
    """`size` numbers from a little below the smallest value to a little above the largest."""
    low, high = float(values.min()), float(values.max())
    margin = 0.12 * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, size)


def _checked_limits(limits: Any, name: str) -> list[tuple[float, float]]:
    """Two pairs of numbers, the lower first; errors name the function."""
    try:
        pairs = [(float(low), float(high)) for low, high in limits]
    except (TypeError, ValueError):
        pairs = []
    if len(pairs) != 2 or not all(math.isfinite(low) and low < high < math.inf for low, high in pairs):
        raise ValueError(
            f"limits of {name} must be two pairs of numbers, the lower first, such as limits=((-2, 2), (-1, 1)); got "
            f"{shown(limits)}."
        )
    return pairs


class _Answer(NamedTuple):
    """The predictions of a classifier at some points for K >= 2 classes: shape (..., K)."""

    scores: np.ndarray
    """The largest is the predicted class. These are logits if the model has them, as probabilities saturate."""
    probabilities: np.ndarray
    labels: np.ndarray | None
    """The names of the classes in y; None for 0, 1, ..."""


def check_order(model: Any, name: str) -> None:
    """Refuse an array in the place of the model."""
    shape = getattr(model, "shape", None)
    if shape is not None or isinstance(model, list | tuple):
        what = shown(model) if shape is None else f"an array of shape {tuple(shape)}"
        raise TypeError(f"{name} takes the model first: {name}(model, X); got {what}.")


def _answer(model: Any, points: np.ndarray) -> _Answer:
    return _answer_of_model(model, points) if isinstance(model, Model) else _answer_of_estimator(model, points)


def _answer_of_model(model: Model, points: np.ndarray) -> _Answer:
    if model.input_shape != (2,) or len(model.output_shape) != 1:
        raise ValueError(
            f"plot_boundary draws models from 2 inputs to logits; this one takes examples of shape "
            f"{model.input_shape} to {model.output_shape}."
        )
    _refuse_other_answers(model)
    logits = outputs_on(model, points)
    if logits.shape[-1] == 1:
        xp = backend_of(logits).xp
        logits = xp.concat([xp.zeros_like(logits), logits], axis=-1)
    shape = (*points.shape[:-1], logits.shape[-1])
    return _Answer(on_host(logits).reshape(shape), on_host(kernels.softmax(logits)).reshape(shape), None)


def _refuse_other_answers(model: Model) -> None:
    """Refuse a value, and several separate labels: their outputs are no scores of classes."""
    loss, count = model.loss, model.output_shape[-1]
    if loss is None or last_activation(model.network) in ARE_PROBABILITIES:
        return
    if count == 1 and not loss.is_of_classes:
        raise ValueError(
            f"plot_boundary draws the regions of classes, but this model was trained with {loss.label}: its output is "
            f"a value. Use plot_surface; for labels 0 and 1, train with loss='binary_cross_entropy'."
        )
    if loss.is_of_classes and not is_of_single_labels(loss, model.output_shape):
        raise ValueError(
            f"plot_boundary draws one class per point, but each of the {count} outputs is a separate label here. Draw "
            f"one of them with plot_data(X, labels), where labels is 0 or 1: model.predict_proba(X)[:, 0] > 0.5."
        )


def outputs_on(model: Model, points: np.ndarray) -> Array:
    """The outputs at points on the host, shape (..., features), as rows, computed on the device of the model."""
    be = backend_of(model.theta)
    return model(be.asarray(points.reshape(-1, points.shape[-1]), dtype=model.theta.dtype))


def _answer_of_estimator(model: Any, points: np.ndarray) -> _Answer:
    _check_estimator(model, "plot_boundary")
    rows, labels = points.reshape(-1, 2), getattr(model, "classes_", None)
    labels = None if labels is None else on_host(labels)
    if hasattr(model, "predict_proba"):
        p = on_host(model.predict_proba(rows))
    else:
        predicted = on_host(model.predict(rows)).reshape(-1)
        if predicted.dtype.kind == "f" and (predicted != np.round(predicted)).any():
            raise ValueError("plot_boundary draws classifiers; this one predicts real numbers: use plot_surface.")
        labels = np.unique(predicted) if labels is None else labels
        p = (predicted[:, None] == labels).astype(float)
    p = p.reshape(*points.shape[:-1], -1)
    if p.shape[-1] < 2:
        raise ValueError("plot_boundary needs at least 2 classes; this estimator knows one.")
    return _Answer(p, p, labels)


def _check_estimator(model: Any, name: str, inputs: int = 2) -> None:
    if not (hasattr(model, "predict_proba") or hasattr(model, "predict")):
        raise TypeError(
            f"{name} draws a Model, or a fitted estimator with predict_proba or predict; got {type(model).__name__}."
        )
    features = getattr(model, "n_features_in_", inputs)
    if features != inputs:
        several = "inputs" if inputs > 1 else "input"
        raise ValueError(f"{name} draws models with {inputs} {several}; this estimator was fitted to {features}.")


def _coded(y: np.ndarray, labels: np.ndarray | None) -> tuple[np.ndarray, list[str] | None]:
    """Classes as 0, 1, ..., and their names if they have others."""
    if labels is None or np.array_equal(labels, np.arange(len(labels))):
        return y, None
    y = y.reshape(-1)
    unknown = sorted({str(each) for each in y[~np.isin(y, labels)]})
    if unknown:
        raise ValueError(f"y has the labels {', '.join(unknown)}; the estimator knows {', '.join(map(str, labels))}.")
    order = np.argsort(labels)
    return order[np.searchsorted(labels, y, sorter=order)], [str(each) for each in labels]


def _shade(axes: Axes, grid: Grid, p: np.ndarray) -> None:
    from matplotlib.colors import to_rgb

    classes = p.shape[-1]
    colours = np.asarray([to_rgb(COLOURS[k % len(COLOURS)]) for k in range(classes)])
    sure = (p.max(axis=-1, keepdims=True) - 1 / classes) / (1 - 1 / classes)
    image = 1.0 - 0.42 * sure * (1.0 - colours[p.argmax(axis=-1)])
    axes.imshow(
        np.clip(image, 0.0, 1.0),
        extent=grid.extent,
        origin="lower",
        aspect=axes.get_aspect(),
        interpolation="bilinear",
        zorder=0,
    )


def _boundary(axes: Axes, grid: Grid, scores: np.ndarray) -> None:
    """The lines where a class is exactly as likely as the most likely other one."""
    classes = scores.shape[-1]
    drawn = False
    for k in range(classes if classes > 2 else 1):
        margin = scores[..., k] - np.delete(scores, k, axis=-1).max(axis=-1)
        if margin.min() < 0 < margin.max():
            axes.contour(grid.x1, grid.x2, margin, levels=[0.0], colors="black", linewidths=1.8, zorder=2)
            drawn = True
    if drawn:  # contours make no legend entry
        axes.plot([], [], color="black", linewidth=1.8, label="p = 1/2" if classes == 2 else "two classes tie")


# --- A regression over the plane -----------------------------------------------------------------------------


def plot_surface(
    model: Any,
    X: Array,
    y: Array | None = None,
    *,
    ax: Axes | None = None,
    resolution: int = 200,
    limits: Limits | None = None,
) -> Axes:
    """Draw the predictions of a regression over the plane: values as shades, and contour lines.

    If there are values on both sides of 0, 0 is white, negative values are red and positive ones blue. The shades span
    the values among the points X, and those of y. Beyond the points, where the model was not trained, larger values
    have the strongest shade.

    Parameters
    ----------
    model : Model or estimator
        A model with 2 inputs and 1 output, or a fitted estimator with scikit-learn's `predict`.
    X : array, shape (N, 2)
        The figure spans these points and a margin of 12 %, if there are no `limits`.
    y : array, shape (N,) or (N, 1), optional
        The values of the points, which are filled with the same shades. A point that differs from its surroundings
        has a wrong prediction.
    ax : matplotlib Axes, optional
        Where to draw; a new figure, with a colour bar, if None.
    resolution : int
        The number of grid points along each axis. The outputs are computed on the device of the model.
    limits : pair of pairs of float, optional
        As in `plot_boundary`.

    Returns
    -------
    matplotlib Axes
        `collections[0]` has the lines, `images[0]` the shades.

    Raises
    ------
    TypeError, ValueError
        As `plot_boundary`, or if there is not one output.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(1)).init((2,))
    >>> axes = nn.plotting.plot_surface(model, X)  # doctest: +SKIP
    """
    check_order(model, "plot_surface")
    grid = Grid.over(X, resolution, "plot_surface", limits)
    points, values = on_host(X), values_at(model, grid.points, "plot_surface")
    true = None if y is None else on_host(y)
    if true is not None:
        check_examples(points, true, "plot_surface", (1, 2))
    axes = axes_for(ax)
    among = values[grid.spans(points)]
    every = np.concatenate([among if among.size else values.ravel(), () if true is None else true.ravel()])
    shades = _shades(float(every.min()), float(every.max()))
    image = axes.imshow(
        values,
        extent=grid.extent,
        origin="lower",
        aspect=axes.get_aspect(),
        interpolation="bilinear",
        zorder=0,
        **shades,
    )
    if levels := _levels(values):
        lines = axes.contour(grid.x1, grid.x2, values, levels=levels, colors="black", linewidths=1.0, zorder=2)
        axes.clabel(lines, fontsize=8)
    if true is not None:
        kind: Any = {"cmap": image.cmap, "norm": image.norm}  # shared: new limits are those of both
        axes.scatter(*points.T, c=true.reshape(-1), s=34, edgecolor="black", linewidth=0.9, zorder=3, **kind)
    grid.frame(axes)
    if ax is None:
        axes.figure.colorbar(image, ax=axes, extend=_beyond(values, image.norm))
    return axes


def _beyond(values: np.ndarray, norm: Any) -> Any:
    """At which ends of the colour bar there are values beyond it."""
    ends = values.min() < norm.vmin, values.max() > norm.vmax
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[ends]


def _levels(values: np.ndarray) -> list[float]:
    """Round numbers within the range of the values, but not near its ends, which lie at the edge of the figure."""
    from matplotlib.ticker import MaxNLocator

    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low)
    ticks = MaxNLocator(6).tick_values(low, high) if high > low else []
    return [float(level) for level in ticks if low + margin < level < high - margin]


def _shades(low: float, high: float) -> dict[str, Any]:
    """The colours of values in this range: two, with white at 0, where the signs differ."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    if not low < 0.0 < high:
        return {"cmap": _light_blues(), "vmin": low, "vmax": high}
    far = max(-low, high)
    return {"cmap": ListedColormap(colormaps["RdBu"](np.linspace(0.15, 0.85, 256))), "vmin": -far, "vmax": far}


def _light_blues() -> Colormap:
    """A colour map from white to a blue on which black is readable."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["Blues"](np.linspace(0.0, 0.7, 256)))


def values_at(model: Any, points: np.ndarray, name: str) -> np.ndarray:
    """The one output at points of shape (..., features): shape (...); errors name the function."""
    inputs = points.shape[-1]
    if not isinstance(model, Model):
        _check_estimator(model, name, inputs)
        predicted = on_host(model.predict(points.reshape(-1, inputs)))
        if predicted.size != points[..., 0].size or predicted.dtype.kind not in "biuf":
            raise ValueError(f"{name} draws one number per point; the estimator predicts shape {predicted.shape[1:]}.")
        return predicted.reshape(points.shape[:-1]).astype(float)
    if model.input_shape != (inputs,) or model.output_shape != (1,):
        raise ValueError(
            f"{name} draws models from {inputs} input{'s' if inputs > 1 else ''} to 1 output; this one takes examples "
            f"of shape {model.input_shape} to {model.output_shape}."
        )
    return on_host(outputs_on(model, points)).reshape(points.shape[:-1]).astype(float)


def _check_labels(values: np.ndarray, classes: int | None) -> None:
    """Refuse labels that are not integers of at least 0, and below the number of classes if it is known."""
    wrong = values[(values != np.floor(values)) | (values < 0) | (values >= (classes or math.inf))]
    if wrong.size:
        most = f" to {classes - 1}" if classes else ", 1, ..."
        raise ValueError(f"y must have labels, 0{most}; got {wrong.reshape(-1)[0]:g}. For values, use plot_surface.")


def check_examples(points: np.ndarray, values: np.ndarray, name: str, features: tuple[int, ...]) -> None:
    """Refuse points with another number of features or without a finite position, and values of other points."""
    if points.ndim != 2 or points.shape[1] not in features or len(points) == 0:
        wanted = " or ".join(f"(N, {n})" for n in features)
        swapped = " Were X and y swapped?" if points.ndim == 1 and values.ndim == 2 else ""
        if points.ndim == 1 and 1 in features and not swapped:
            swapped = " For points of one feature, pass X[:, None]."
        raise ValueError(f"{name} draws examples of shape {wanted}; got X of shape {points.shape}.{swapped}")
    if not np.isfinite(points).all():
        raise ValueError(f"{name} cannot place examples at NaN or infinity: remove or repair them.")
    if len(values) != len(points) or (features == (1, 2) and values.size != len(points)):
        raise ValueError(f"y must have one entry per example, {len(points)}; got shape {values.shape}.")
