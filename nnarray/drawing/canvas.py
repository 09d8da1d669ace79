"""The base of all figures: colours, style, figures, axes, and the values of an array on the host."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnarray.backends import backend_of, dtype_name, library_of
from nnarray.names import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
MARKERS = "o^sDvPX*"
BLUE, ORANGE, GREEN, _, VERMILLION, *_ = COLOURS

POSITIVE, NEGATIVE = BLUE, VERMILLION
"""The colours of positive and negative numbers; negative ones are dashed or hatched as well."""

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
    """Check that matplotlib is installed.

    Raises
    ------
    ImportError
        If it is not installed; the message has the command to install it.
    """
    try:
        import matplotlib  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        raise ImportError("figures need matplotlib; pip install 'nnarray[plot]'.") from error


@contextmanager
def picture(width: float, height: float) -> Generator[Figure]:
    """A figure for a file, `width` by `height` inches. Inside the `with`, drawings have the style of this package.

    `matplotlib.pyplot` does not know the figure, and its settings are restored afterwards. `save` writes the figure.
    """
    need_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with house_style():
        yield Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))


def save(figure: Figure, path: str | Path) -> None:
    """Write a `picture`, in the format of the path's ending."""
    with house_style():  # ticks are made when the figure is drawn
        figure.savefig(path)


@contextmanager
def house_style() -> Generator[None]:
    """The style of this package, independent of the user's settings."""
    from matplotlib import style

    with style.context(["default", STYLE]):
        yield


def signed_colours() -> Colormap:
    """The colour map from vermillion over white to blue, for numbers from -1 to 1."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signed", [NEGATIVE, "white", POSITIVE])


# --- Axes and ticks -----------------------------------------------------------------------------------------


def axes_for(ax: Axes | None, *, size: tuple[float, float] | None = None) -> Axes:
    """The given axes, or those of a new figure of that size in inches, which `pyplot.show` and notebooks show."""
    if ax is not None:
        if not hasattr(ax, "plot"):
            raise TypeError(f"ax must be axes of matplotlib, such as pyplot.gca(); got {shown(ax)}.")
        return ax
    need_matplotlib()
    from matplotlib import pyplot

    return pyplot.subplots(figsize=size, layout="constrained")[1]


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Set labels of the axes that have none yet."""
    axes.set(xlabel=axes.get_xlabel() or x, ylabel=axes.get_ylabel() or y)


def on_host(x: Any) -> np.ndarray:
    """The values of an array of any library, a list or a data frame, for matplotlib."""
    if library_of(x) is None:
        return np.asarray(x)
    be = backend_of(x)
    if dtype_name(x.dtype) == "bfloat16":  # NumPy does not have it
        x = be.xp.astype(x, be.xp.float32)
    return be.to_numpy(x)


def whole_numbers(axes: Axes) -> None:
    """Ticks at integers only, on the x axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))


def log_scale(axes: Axes, ratio: float) -> None:
    """A logarithmic y axis with plain numbers, such as 0.01, for values with this ratio of largest to smallest."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    if ratio < 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
