"""A figure of the units of a small dense network: its weights as lines, the output of each unit over the plane.

Lengths are in units of the drawing: a unit of the network is a square of side 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnarray.backends import backend_of, without_record
from nnarray.drawing.canvas import NEGATIVE, POSITIVE, axes_for, on_host, signed_colours
from nnarray.functional.hooks import Passage, with_hooks
from nnarray.layers import Context, Layer
from nnarray.layers.activations import bare
from nnarray.layers.containers import is_plain_row
from nnarray.model import Model
from nnarray.plotting.plane import Grid, check_order
from nnarray.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_UNITS = 32
"""The largest number of units in a layer; the lines of more could not be distinguished."""
ACROSS, BESIDE, DOWN = 3.2, 1.9, 1.5
"""The distances from one layer to the next, from one unit to the next of a layer, and to the one below it."""
TALLEST = 10
"""The largest number of units above each other; those of a larger layer stand in several columns."""
THICKEST = 6.0
"""The width of the lines if there are few, in points."""
DASHES = (0, (2.0, 0.8))
"""The dashes, in multiples of the line width."""
PLANE = [[-2.0, -2.0], [2.0, 2.0]]


@dataclass(frozen=True)
class Column:
    """The units of one layer: their weights, and the title above them."""

    title: str
    path: str
    """The path of the layer that gives their outputs."""
    units: int
    weight: np.ndarray | None
    """The weights, shape (units of the layer before, units); None for the inputs."""
    bias: np.ndarray | None


def plot_neurons(
    model: Model,
    X: Array | None = None,
    *,
    ax: Axes | None = None,
    biases: bool = True,
    resolution: int = 40,
) -> Axes:
    """Draw the units of a small dense network, with its weights as lines between them.

    The width of a line shows |w|, on one scale for the whole network. Lines are blue and solid where w > 0,
    vermillion and dashed where w < 0. With 2 inputs, each unit shows its output over the plane: blue where it is
    positive, vermillion and hatched where it is negative, white at 0, each unit on its own scale. Otherwise units
    are circles. The number at a unit is its bias. The units of a layer of more than 10 stand in several columns.

    Parameters
    ----------
    model : Model
        Dense layers in a row, with activations and dropout between them.
    X : array, shape (N, 2), optional
        For a model with 2 inputs: the maps span these points, or -2 to 2 if None.
    ax : matplotlib Axes, optional
        Where to draw; if None, a new figure that is large enough for the network.
    biases : bool
        Whether to write the biases at the units.
    resolution : int
        The number of points along each axis of a map.

    Returns
    -------
    matplotlib Axes
        `lines` has the lines of the weights (by layer, unit, and unit of the layer before), `images` the maps.

    Raises
    ------
    TypeError
        If the model is not first.
    ValueError
        If the network is anything but dense layers in a row, or a layer has more than 32 units.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    The idea of a map in each unit is from TensorFlow Playground [1]_.

    References
    ----------
    .. [1] Smilkov, Carter, Sculley, Viégas & Wattenberg (2017), Direct-manipulation visualization of deep networks.
       arXiv:1708.03788.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200)
    >>> model = nn.Network(nn.Dense(5, "tanh"), nn.Dense(2)).init((2,))
    >>> axes = nn.plotting.plot_neurons(model, X)  # doctest: +SKIP
    """
    check_order(model, "plot_neurons")
    columns = _columns(model)
    maps = _maps(model, columns, X, resolution) if model.input_shape == (2,) else None
    centres = _centres(columns)
    width, height = (max(each[axis] for layer in centres for each in layer) for axis in (0, 1))
    height *= 2
    axes = axes_for(ax, size=(1.2 + 0.62 * (width + 1.6), 0.8 + 0.62 * (height + 2.35)))
    largest = max(float(np.abs(column.weight).max()) for column in columns if column.weight is not None)
    thickest = THICKEST * min(1.0, 5.0 / max(column.units for column in columns))
    for after, before, column in zip(centres[1:], centres, columns[1:], strict=False):
        assert column.weight is not None
        _draw_weights(axes, before, after, column.weight / (largest or 1.0), thickest)
    for i, (column, where) in enumerate(zip(columns, centres, strict=True)):
        for unit, at in enumerate(where):
            _draw_unit(axes, at, None if maps is None else maps[i][unit])
        if biases and column.bias is not None:
            _write_biases(axes, where, column.bias)
        middle = (where[0][0] + where[-1][0]) / 2
        axes.text(middle, height / 2 + 0.75, column.title, ha="center", va="bottom", fontsize=10)
    _name_ends(axes, centres)
    _draw_key(axes, largest, thickest)
    axes.set(xlim=(-1.5, width + 1.5), ylim=(-height / 2 - 1.1, height / 2 + 1.25), aspect="equal")
    axes.set_axis_off()
    return axes


# --- What there is to draw -----------------------------------------------------------------------------------


def _columns(model: Model) -> list[Column]:
    """The inputs, and the units of each dense layer with the activation after it."""
    if len(model.input_shape) != 1:
        raise ValueError(
            f"plot_neurons draws networks that take vectors; this one takes examples of shape {model.input_shape}."
        )
    params = model.params
    columns = [Column("inputs", "", model.input_shape[0], None, None)]
    for path, layer in _steps(model.network, ""):
        if layer.family == "dense":
            weight, bias = params[f"{path}.weight"], params.get(f"{path}.bias")
            columns.append(
                Column(
                    _title(layer.units, layer.activation),
                    path,
                    layer.units,
                    on_host(weight),
                    None if bias is None else on_host(bias),
                )
            )
        elif layer.family == "activation" and columns[-1].weight is not None:
            last = columns[-1]
            columns[-1] = Column(_title(last.units, layer), path, last.units, last.weight, last.bias)
        elif layer.family != "dropout":
            raise ValueError(
                f"plot_neurons draws dense layers in a row, with activations and dropout between them; layer {path!r} "
                f"is {type(layer).__name__}. model.plot() draws any network, and model.fold() merges BatchNorm."
            )
    if len(columns) == 1:
        raise ValueError("plot_neurons needs at least one dense layer; model.plot() draws any network.")
    for column in columns:
        if column.units > MOST_UNITS:
            raise ValueError(
                f"plot_neurons draws at most {MOST_UNITS} units per layer, so that the lines can be distinguished; "
                f"got {column.units}. plot_weight_histograms draws layers of any size."
            )
    return columns


def _steps(layer: Layer, path: str) -> Iterator[tuple[str, Any]]:
    """The layers in order, including those of nested rows."""
    if not is_plain_row(layer):
        yield path, layer
        return
    for name, each in layer.named_layers:
        yield from _steps(each, f"{path}.{name}" if path else name)


def _title(units: int, function: Any) -> str:
    name = bare(function)
    what = f"{units} unit{'' if units == 1 else 's'}"
    return what if name == "identity" else f"{what}, {name if isinstance(name, str) else 'f'}"


def _maps(model: Model, columns: list[Column], X: Array | None, resolution: int) -> list[np.ndarray]:
    """The outputs of each unit over the plane: for each column, shape (units, resolution, resolution)."""
    grid = Grid.over(PLANE if X is None else X, resolution, "plot_neurons")
    points = backend_of(model.theta).asarray(grid.points.reshape(-1, 2), dtype=model.theta.dtype)
    passages: dict[str, Passage] = {}
    ctx = Context(False, model.wiring.state.tree(model.state), False, False)
    with_hooks(model.network, passages).forward(model.wiring.params.tree(without_record(model.theta)), points, ctx)
    outputs = [points, *(passages[column.path].y for column in columns[1:])]
    return [on_host(y).T.reshape(-1, len(grid.x2), len(grid.x1)).astype(float) for y in outputs]


# --- On the page ---------------------------------------------------------------------------------------------


def _centres(columns: list[Column]) -> list[list[tuple[float, float]]]:
    """The centres of the units of each layer, the first one on top; those of a large layer in several columns."""
    found: list[list[tuple[float, float]]] = []
    left = 0.0
    for column in columns:
        across = math.ceil(column.units / TALLEST)
        rows = math.ceil(column.units / across)
        places = [divmod(unit, rows) for unit in range(column.units)]
        found.append([(left + BESIDE * i, DOWN * ((rows - 1) / 2 - row)) for i, row in places])
        left = found[-1][-1][0] + ACROSS
    return found


def _draw_weights(
    axes: Axes, before: list[tuple[float, float]], after: list[tuple[float, float]], weight: np.ndarray, thickest: float
) -> None:
    """A line for each weight, which is scaled to -1 to 1; the thickest lines are drawn last."""
    for j, (x1, y1) in enumerate(after):
        for i, (x0, y0) in enumerate(before):
            w = float(weight[i, j])
            axes.plot(
                [x0 + 0.5, x1 - 0.5],
                [y0, y1],
                color=NEGATIVE if w < 0 else POSITIVE,
                linestyle=DASHES if w < 0 else "-",
                dash_capstyle="butt",
                linewidth=max(thickest * abs(w), 0.15),
                zorder=1 + abs(w),
            )


def _draw_unit(axes: Axes, at: tuple[float, float], seen: np.ndarray | None) -> None:
    from matplotlib.patches import Circle, Rectangle

    x, y = at
    if seen is None:
        axes.add_patch(Circle(at, 0.45, facecolor="white", edgecolor="black", linewidth=1.2, zorder=3))
        return
    edges = (x - 0.5, x + 0.5, y - 0.5, y + 0.5)
    scaled = seen / (float(np.abs(seen).max()) or 1.0)
    axes.imshow(
        scaled, extent=edges, origin="lower", cmap=signed_colours(), vmin=-1.0, vmax=1.0, interpolation="bilinear"
    ).set_zorder(3)
    if scaled.min() < 0 < scaled.max():
        along = np.linspace(-0.5, 0.5, len(scaled))
        shaded = axes.contourf(
            x + along, y + along, scaled, levels=[-2.0, 0.0], colors="none", hatches=["//////"], zorder=4
        )
        shaded.set(hatch_linewidth=0.4, edgecolor="#00000080", linewidth=0.0)
        axes.contour(x + along, y + along, scaled, levels=[0.0], colors="black", linewidths=0.8, zorder=5)
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1.0, 1.0, fill=False, linewidth=1.0, zorder=6))


def _write_biases(axes: Axes, centres: list[tuple[float, float]], bias: np.ndarray) -> None:
    for (x, y), b in zip(centres, bias, strict=True):
        axes.text(x, y - 0.53, f"b = {float(b):.2f}".replace("-", "−"), ha="center", va="top", fontsize=7, zorder=7)


def _name_ends(axes: Axes, centres: list[list[tuple[float, float]]]) -> None:
    """The labels x at the inputs and z at the outputs."""
    for i, (x, y) in enumerate(centres[0]):
        axes.text(x - 0.6, y, f"$x_{{{i + 1}}}$", ha="right", va="center", fontsize=11)
    for i, (x, y) in enumerate(centres[-1]):
        axes.text(x + 0.6, y, f"$z_{{{i + 1}}}$", ha="left", va="center", fontsize=11)


def _draw_key(axes: Axes, largest: float, thickest: float) -> None:
    """The legend of the lines."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=POSITIVE, linewidth=thickest, label=f"w = {largest:.2g}"),
        Line2D([], [], color=NEGATIVE, linewidth=thickest, linestyle=DASHES, label=f"w = −{largest:.2g}"),
    ]
    axes.legend(
        handles=lines,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.02),
        ncols=2,
        handlelength=4.0,
        fontsize=9,
        frameon=False,
    )
