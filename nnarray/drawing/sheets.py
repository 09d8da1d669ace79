"""Sheets: images in rows, the filters of a convolution, and confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnarray.checks import integer
from nnarray.drawing.canvas import axes_for, name_axes, on_host
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP = 0.12  # between images, in widths of an image
LABEL = 0.24  # the space for a line of text below an image
LARGEST = (7.0, 6.0)  # inches, of a separate figure


def plot_images(
    X: Array | np.ndarray,
    labels: Sequence[str] | None = None,
    *,
    colours: Sequence[str] | None = None,
    columns: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a sheet of images, row by row, each with a line of text below it.

    Parameters
    ----------
    X : array, shape (N, height, width, 3) or (N, height, width, 1) or (N, height, width)
        Entries from 0 to 1; others are clipped.
    labels : sequence of str, optional
        One label per image.
    colours : sequence of str, optional
        The colours of the labels, one per image; black if None.
    columns : int, optional
        The number of columns; if None, at least the number of rows, such that the last row has few gaps.
    ax : matplotlib Axes, optional
        Where to draw; a new figure of the shape of the sheet if None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If X does not have the shape of images, or the number of labels or colours differs from that of images.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.pets(8)
    >>> axes = nn.plotting.plot_images(X, ["cat", "dog"] * 4)  # doctest: +SKIP
    """
    images = on_host(X)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise ValueError(f"plot_images needs images of shape (N, height, width, 3 or 1); got {tuple(X.shape)}.")
    for name, texts in (("labels", labels), ("colours", colours)):
        if texts is not None and len(texts) != len(images):
            raise ValueError(f"plot_images needs one of {name} per image, {len(images)}; got {len(texts)}.")
    aspect = images.shape[1] / images.shape[2]
    columns = _columns(len(images)) if columns is None else integer(columns, "columns", 1, usual=4)
    columns = min(columns, len(images))
    height = aspect + GAP + (LABEL if labels is not None else 0.0)
    right, bottom = columns * (1 + GAP) - GAP, -(-len(images) // columns) * height - GAP
    axes = axes_for(ax, size=_fitting(right / bottom))
    for i, image in enumerate(np.clip(images, 0.0, 1.0)):
        left, top = (i % columns) * (1 + GAP), (i // columns) * height
        axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)), extent=(left, left + 1, top + aspect, top))
        if labels is not None:
            colour = colours[i] if colours is not None else "black"
            at = (left + 0.5, top + aspect + 0.04)
            axes.text(*at, _as_text(labels[i]), ha="center", va="top", fontsize=9, color=colour)
    axes.set_xlim(0, right)
    axes.set_ylim(bottom, 0)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return axes


def _as_text(label: Any) -> str:
    """A label as text; a number of another library as the number."""
    return str(on_host(label).item()) if getattr(label, "shape", None) == () else str(label)


def _columns(count: int) -> int:
    """As many as rows, or up to twice as many if that leaves fewer gaps in the last row."""
    square = math.ceil(math.sqrt(count))
    return min(range(square, 2 * square + 1), key=lambda columns: (-count % columns, columns))


def _fitting(aspect: float) -> tuple[float, float]:
    """The width and the height in inches of a figure of that ratio, as large as fits on a page."""
    width = min(LARGEST[0], LARGEST[1] * aspect)
    return width, width / aspect


plot_pictures = plot_images
"""The old name of `plot_images`."""


def plot_filters(weight: Array, *, ax: Axes | None = None) -> Axes:
    """Draw the filters of a first convolution as images. Grey is 0; each filter is scaled by its largest |weight|.

    Parameters
    ----------
    weight : array, shape (kernel height, kernel width, 3 or 1, filters)
        The weight, such as `model.params["0.weight"]`.
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
    if not hasattr(weight, "ndim"):
        raise TypeError(
            f"plot_filters takes a weight, such as model.params['0.weight']; got {type(weight).__name__}. The names "
            f"are list(model.params)."
        )
    if weight.ndim != 4 or weight.shape[2] not in (1, 3):
        raise ValueError(f"plot_filters needs weights of shape (height, width, 3 or 1, filters); got {weight.shape}.")
    filters = np.moveaxis(on_host(weight), -1, 0)
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    return plot_images(0.5 + 0.5 * filters / np.where(largest > 0, largest, 1.0), ax=ax)


def plot_confusion(matrix: Array | np.ndarray, names: Sequence[str] | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix: the number of examples of each true class (row) by predicted class (column).

    Parameters
    ----------
    matrix : array, shape (classes, classes)
        As `nn.metrics.confusion_matrix` returns it.
    names : sequence of str, optional
        The names of the classes; their numbers if None.
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
    counts = on_host(matrix)
    names = [str(k) for k in range(len(counts) if counts.ndim else 0)] if names is None else names
    classes = len(names)
    if counts.shape != (classes, classes):
        raise ValueError(f"plot_confusion needs a matrix of shape ({classes}, {classes}); got {counts.shape}.")
    size = min(2.5 + 0.6 * classes, LARGEST[1])
    axes = axes_for(ax, size=(size, size))
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(fractions, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if fractions[row, column] > 0.6 else "black"
        axes.text(column, row, f"{int(count)}", ha="center", va="center", color=colour)
    crowded = classes > 3 and max(map(len, names)) > 4  # then names side by side would overlap
    look: dict[str, Any] = {"rotation": 40, "ha": "right"} if crowded else {}
    axes.set_xticks(range(classes), names, **look)
    axes.set_yticks(range(classes), names)
    name_axes(axes, "predicted class", "true class")
    return axes
