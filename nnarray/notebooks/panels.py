"""The figures of the notebooks: panels side by side, in the style of this package."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from nnarray.drawing.canvas import house_style, need_matplotlib


@contextmanager
def panels(
    count: int,
    width: float,
    height: float,
    *,
    rows: int = 1,
    share: bool = False,
    ratios: tuple[float, ...] | None = None,
) -> Generator[list[Any]]:
    """The axes of a new figure that a notebook shows, row by row, `width` by `height` inches in all.

    With `share`, the panels of a row have the same y axis; `ratios` are their widths.
    """
    need_matplotlib()
    from matplotlib import pyplot

    pyplot.draw_if_interactive()  # loads the notebook's way of showing figures, whose settings are to stay
    with house_style():
        settings: Any = {"figsize": (width, height), "sharey": "row" if share else False}
        settings |= {"layout": "constrained", "width_ratios": ratios}
        yield list(pyplot.subplots(rows, count // rows, squeeze=False, **settings)[1].flat)
