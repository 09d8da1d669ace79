"""What all figures need: colours, style, figures, axes, and the numbers of an array on the host."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnarray.backends import backend_of, dtype_name, library_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
MARKERS = "o^sDvPX*"
BLUE, ORANGE, GREEN, _, VERMILLION, *_ = COLOURS

POSITIVE, NEGATIVE = BLUE, VERMILLION
"""Of numbers with a sign; what has the second one is dashed or hatched as well."""

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
    """Do nothing if matplotlib is installed.

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

    with house_style():
        yield Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))


def save(figure: Figure, path: str | Path) -> None:
    """Write a `picture`, in the format that the end of the path names."""
    with house_style():  # ticks are made when the figure is drawn
        figure.savefig(path)


@contextmanager
def house_style() -> Generator[None]:
    """The style of this package, whatever the user's settings are."""
    from matplotlib import style

    with style.context(["default", STYLE]):
        yield


def signed_colours() -> Colormap:
    """From vermillion over white to blue, for numbers from -1 to 1."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signed", [NEGATIVE, "white", POSITIVE])


# --- Axes and ticks -----------------------------------------------------------------------------------------


def axes_for(ax: Axes | None, *, size: tuple[float, float] | None = None) -> Axes:
    """The given axes, or those of a new figure, of that size in inches, that `pyplot.show` and notebooks know."""
    if ax is not None:
        return ax
    need_matplotlib()
    from matplotlib import pyplot

    return pyplot.subplots(figsize=size, layout="constrained")[1]


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Name the axes that have no name yet."""
    axes.set(xlabel=axes.get_xlabel() or x, ylabel=axes.get_ylabel() or y)


def on_host(x: Any) -> np.ndarray:
    """The numbers of an array of any library, of a list or of a data frame, for matplotlib."""
    if library_of(x) is None:
        return np.asarray(x)
    be = backend_of(x)
    if dtype_name(x.dtype) == "bfloat16":  # which NumPy does not know
        x = be.xp.astype(x, be.xp.float32)
    return be.to_numpy(x)


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
