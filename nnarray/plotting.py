"""Pictures of data, of what a network makes of them, and of its training. They need `nnarray[plot]`.

Everything is told twice, by colour and by shape, in colours that people with colour blindness can tell apart
[1]_ and that stay different in grey.

References
----------
.. [1] Okabe & Ito (2008), Color Universal Design. https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnarray import kernels
from nnarray.backends import backend_of, dtype_name
from nnarray.checks import integer
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
MARKERS = "o^sDvPX*"
BLUE, ORANGE, GREEN, _, VERMILLION, *_ = COLOURS

STYLE = {
    "font.size": 12.0,
    "axes.titlesize": 13.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "savefig.dpi": 150.0,
}


def need_matplotlib() -> None:
    """Nothing, if matplotlib is installed.

    Raises
    ------
    ImportError
        If it is not; the message has the command that installs it.
    """
    try:
        import matplotlib  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        raise ImportError("pictures need matplotlib; pip install 'nnarray[plot]'.") from error


@contextmanager
def picture(width: float, height: float) -> Generator[Figure]:
    """A figure for a file, `width` by `height` inches; what is drawn inside the `with` has this package's style.

    It is unknown to `matplotlib.pyplot`, whose settings are the same again afterwards. `save` writes it.
    """
    need_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with _style():
        yield Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))


def save(figure: Figure, path: str | Path) -> None:
    """Write a `picture`, in the format that the end of the path names."""
    with _style():  # ticks are made when the figure is drawn
        figure.savefig(path)


@contextmanager
def _style() -> Generator[None]:
    """The style of this package, whatever the user's settings are."""
    from matplotlib import style

    with style.context(["default", STYLE]):
        yield


# --- Data ----------------------------------------------------------------------------------------------------


def plot_data(X: Array, y: Array, *, ax: Axes | None = None) -> Axes:
    """Draw examples: points in the plane by class, or a curve's y over x.

    Parameters
    ----------
    X : array, shape (N, 2) or (N, 1)
    y : array, shape (N,) or (N, 1)
        Classes 0, 1, ... if X has two features, else real numbers.
    ax : matplotlib Axes, optional
        Where to draw; a new figure, with a legend, if None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If X does not have one or two features, or the lengths differ.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> from nnarray.plotting import plot_data
    >>> axes = plot_data(*nn.datasets.moons(200))  # doctest: +SKIP
    """
    points, values = on_host(X), on_host(y)
    _check_examples(points, values, "plot_data", (1, 2))
    axes = axes_for(ax)
    values = values.reshape(len(points))
    if points.shape[1] == 1:
        axes.scatter(points[:, 0], values, s=22, color="0.6", edgecolor="0.3", linewidth=0.5, label="points")
        _name_axes(axes, "x", "y")
    else:
        for label in sorted({int(value) for value in values}):
            mine = points[values == label]
            axes.scatter(mine[:, 0], mine[:, 1], label=f"class {label}", **_dots(label))
        _name_axes(axes, "$x_1$", "$x_2$")
    if ax is None:
        axes.legend()
    return axes


def _dots(label: int) -> dict[str, Any]:
    marker = MARKERS[(label + label // len(COLOURS)) % len(MARKERS)]
    return {
        "color": COLOURS[label % len(COLOURS)],
        "marker": marker,
        "s": 34 if marker in "^v*" else 26,
        "edgecolor": "black",
        "linewidth": 0.5,
        "zorder": 3,
    }


# --- What a network makes of the plane -----------------------------------------------------------------------


def plot_boundary(
    model: Any, X: Array, y: Array | None = None, *, ax: Axes | None = None, resolution: int = 200
) -> Axes:
    """Draw what a classifier makes of the plane: the shade is the probability, a line where two classes tie.

    The colour is that of the likeliest class k, the fuller the surer:  (p_k - 1/K) / (1 - 1/K)  from 0 to 1. With
    two classes the line is p = 1/2.

    Parameters
    ----------
    model : Model
        With 2 inputs, and K logits or the one logit of two classes as outputs.
    X : array, shape (N, 2)
        The picture spans these points.
    y : array, shape (N,), optional
        Their classes; without them no points are drawn.
    ax : matplotlib Axes, optional
        Where to draw; a new figure, with a legend, if None.
    resolution : int
        Points of the grid along each axis; all are computed where the model lives.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If X does not have two features, or the model neither.
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
    points = on_host(X)
    _check_examples(points, points, "plot_boundary", (2,))
    size = integer(resolution, "resolution", 2, usual=200)
    if model.input_shape != (2,) or len(model.output_shape) != 1:
        raise ValueError(
            f"plot_boundary draws models from 2 inputs to logits; this one takes examples of shape "
            f"{model.input_shape} to {model.output_shape}."
        )
    axes = axes_for(ax)
    x1, x2 = (_span(points[:, i], size) for i in (0, 1))
    logits, probabilities = _outputs(model, np.stack(np.meshgrid(x1, x2), axis=-1))
    _shade(axes, x1, x2, probabilities)
    _boundary(axes, x1, x2, logits)
    axes.set(xlim=(x1[0], x1[-1]), ylim=(x2[0], x2[-1]))
    _name_axes(axes, "$x_1$", "$x_2$")
    if y is not None:
        plot_data(X, y, ax=axes)
    if ax is None:
        axes.legend()
    return axes


def _span(values: np.ndarray, size: int) -> np.ndarray:
    """`size` numbers from a little below the least value to a little above the largest."""
    low, high = float(values.min()), float(values.max())
    margin = 0.12 * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, size)


def _outputs(model: Any, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits and probabilities of K classes, at least 2, at points of shape (..., 2): shape (..., K)."""
    here = backend_of(model.vector)
    logits = model(here.asarray(points.reshape(-1, 2), dtype=model.vector.dtype))
    if logits.shape[-1] == 1:
        logits = here.xp.concat([here.xp.zeros_like(logits), logits], axis=-1)
    shape = (*points.shape[:-1], logits.shape[-1])
    return on_host(logits).reshape(shape), on_host(kernels.softmax(logits)).reshape(shape)


def _shade(axes: Axes, x1: np.ndarray, x2: np.ndarray, p: np.ndarray) -> None:
    from matplotlib.colors import to_rgb

    classes = p.shape[-1]
    colours = np.asarray([to_rgb(COLOURS[k % len(COLOURS)]) for k in range(classes)])
    sure = (p.max(axis=-1, keepdims=True) - 1 / classes) / (1 - 1 / classes)
    image = 1.0 - 0.42 * sure * (1.0 - colours[p.argmax(axis=-1)])
    half1, half2 = (x1[1] - x1[0]) / 2, (x2[1] - x2[0]) / 2  # a pixel's centre is its grid point
    extent = (x1[0] - half1, x1[-1] + half1, x2[0] - half2, x2[-1] + half2)
    axes.imshow(
        np.clip(image, 0.0, 1.0),
        extent=extent,
        origin="lower",
        aspect=axes.get_aspect(),
        interpolation="bilinear",
        zorder=0,
    )


def _boundary(axes: Axes, x1: np.ndarray, x2: np.ndarray, logits: np.ndarray) -> None:
    """The lines where a class is exactly as likely as the likeliest other one; logits tell that without saturating."""
    classes = logits.shape[-1]
    drawn = False
    for k in range(classes if classes > 2 else 1):
        margin = logits[..., k] - np.delete(logits, k, axis=-1).max(axis=-1)
        if margin.min() < 0 < margin.max():
            axes.contour(x1, x2, margin, levels=[0.0], colors="black", linewidths=1.8, zorder=2)
            drawn = True
    if drawn:  # contours have no entry in a legend of their own
        axes.plot([], [], color="black", linewidth=1.8, label="p = 1/2" if classes == 2 else "two classes tie")


# --- Training ------------------------------------------------------------------------------------------------


def plot_history(history: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """Draw the loss over the epochs, and the validation loss if there is one.

    The axis of the loss is logarithmic when the values span a decade or more.

    Parameters
    ----------
    history : History
        Of at least one epoch.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the history has no epochs.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,))
    >>> axes = model.fit(X, y, epochs=5).plot()  # doctest: +SKIP
    """
    if "loss" not in history:
        raise ValueError("the history has no epochs to draw; train the model first.")
    axes = axes_for(ax)
    curves = {"loss": ("training", BLUE, "-"), "val_loss": ("validation", VERMILLION, "--")}
    present = [name for name in curves if name in history]
    for name in present:
        label, colour, dashes = curves[name]
        marker = "o" if len(history[name]) == 1 else ""
        axes.plot(history["epoch"], history[name], color=colour, linestyle=dashes, marker=marker, label=label)
    values = [value for name in present for value in history[name]]
    if min(values) > 0 and max(values) >= 10 * min(values):
        log_scale(axes, max(values) / min(values))
    whole_numbers(axes)
    _name_axes(axes, "epoch", "loss")
    if len(present) > 1:
        axes.legend()
    return axes


# --- Pictures ------------------------------------------------------------------------------------------------

GAP = 0.12  # between pictures, in their width
LABEL = 0.24  # room for a line of text below one


def plot_pictures(
    X: Array | np.ndarray,
    labels: Sequence[str] | None = None,
    *,
    colours: Sequence[str] | None = None,
    columns: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a sheet of pictures, row by row, each with a line of text below it.

    Parameters
    ----------
    X : array, shape (N, height, width, 3) or (N, height, width, 1) or (N, height, width)
        Entries from 0 to 1; others are cut off.
    labels : sequence of str, optional
        One a picture.
    colours : sequence of str, optional
        Of the labels, one a picture; black if None.
    columns : int, optional
        How many side by side; about as many as rows if None.
    ax : matplotlib Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If X does not hold pictures, or there are not as many labels or colours.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.pets(8)
    >>> axes = nn.plotting.plot_pictures(X, ["cat", "dog"] * 4)  # doctest: +SKIP
    """
    pictures = on_host(X)
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3) or not len(pictures):
        raise ValueError(f"plot_pictures needs pictures of shape (N, height, width, 3 or 1); got {tuple(X.shape)}.")
    for name, given in (("labels", labels), ("colours", colours)):
        if given is not None and len(given) != len(pictures):
            raise ValueError(f"plot_pictures needs as many {name} as pictures, {len(pictures)}; got {len(given)}.")
    axes, aspect = axes_for(ax), pictures.shape[1] / pictures.shape[2]
    columns = columns or int(np.ceil(np.sqrt(len(pictures))))
    height = aspect + GAP + (LABEL if labels is not None else 0.0)
    for i, image in enumerate(np.clip(pictures, 0.0, 1.0)):
        left, top = (i % columns) * (1 + GAP), (i // columns) * height
        axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)), extent=(left, left + 1, top + aspect, top))
        if labels is not None:
            colour = colours[i] if colours is not None else "black"
            at = (left + 0.5, top + aspect + 0.04)
            axes.text(*at, labels[i], ha="center", va="top", fontsize=9, color=colour)
    axes.set_xlim(0, min(columns, len(pictures)) * (1 + GAP) - GAP)
    axes.set_ylim(-(-len(pictures) // columns) * height - GAP, 0)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return axes


def plot_filters(weight: Array, *, ax: Axes | None = None) -> Axes:
    """Draw the filters of a first convolution as pictures: grey is 0, the largest weight of a filter is full colour.

    Parameters
    ----------
    weight : array, shape (kernel height, kernel width, 3 or 1, filters)
        Such as `model.params["0.weight"]`.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import nnarray as nn
    >>> model = nn.Network(nn.Conv2D(16, 5)).init((8, 8, 3))
    >>> axes = nn.plotting.plot_filters(model.params["0.weight"])  # doctest: +SKIP
    """
    if weight.ndim != 4 or weight.shape[2] not in (1, 3):
        raise ValueError(f"plot_filters needs weights of shape (height, width, 3 or 1, filters); got {weight.shape}.")
    filters = np.moveaxis(on_host(weight), -1, 0)
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    return plot_pictures(0.5 + 0.5 * filters / np.where(largest > 0, largest, 1.0), ax=ax)


def plot_confusion(matrix: Array | np.ndarray, names: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix: how many examples of each class (row) were told to be of each (column).

    Parameters
    ----------
    matrix : array, shape (classes, classes)
        As `nn.metrics.confusion_matrix` gives it.
    names : sequence of str
        Of the classes.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import nnarray as nn
    >>> xp = nn.backend("numpy").xp
    >>> axes = nn.plotting.plot_confusion(xp.asarray([[9, 1], [0, 10]]), ["cat", "dog"])  # doctest: +SKIP
    """
    counts, classes = on_host(matrix), len(names)
    if counts.shape != (classes, classes):
        raise ValueError(f"plot_confusion needs a matrix of shape ({classes}, {classes}); got {counts.shape}.")
    axes = axes_for(ax)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{int(count)}", ha="center", va="center", color=colour)
    axes.set_xticks(range(classes), names)
    axes.set_yticks(range(classes), names)
    _name_axes(axes, "answer", "truth")
    return axes


def whole_numbers(axes: Axes) -> None:
    """Ticks at whole numbers only, on the x axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))


def log_scale(axes: Axes, ratio: float) -> None:
    """A logarithmic y axis with plain numbers, such as 0.01, for values that span this ratio."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    if ratio < 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


# --- What they share -----------------------------------------------------------------------------------------


def axes_for(ax: Axes | None, *, size: tuple[float, float] | None = None) -> Axes:
    """The given axes, or those of a new figure, of that size in inches, that `pyplot.show` and notebooks know."""
    if ax is not None:
        return ax
    need_matplotlib()
    from matplotlib import pyplot

    return pyplot.subplots(figsize=size, layout="constrained")[1]


def _name_axes(axes: Axes, x: str, y: str) -> None:
    """Name the axes that have no name yet."""
    axes.set(xlabel=axes.get_xlabel() or x, ylabel=axes.get_ylabel() or y)


def on_host(x: Any) -> np.ndarray:
    """The numbers of an array, for matplotlib."""
    here = backend_of(x)
    if dtype_name(x.dtype) == "bfloat16":  # which NumPy does not know
        x = here.xp.astype(x, here.xp.float32)
    return here.to_numpy(x)


def _check_examples(points: np.ndarray, values: np.ndarray, name: str, features: tuple[int, ...]) -> None:
    if points.ndim != 2 or points.shape[1] not in features or len(points) == 0:
        wanted = " or ".join(f"(N, {n})" for n in features)
        raise ValueError(f"{name} draws examples of shape {wanted}; got X of shape {points.shape}.")
    if len(values) != len(points) or (features == (1, 2) and values.size != len(points)):
        raise ValueError(f"y must have one entry an example, {len(points)}; got shape {values.shape}.")
