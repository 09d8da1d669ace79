"""Draw how time and memory grow, from a run of W7 with --json: python benchmarks/growth_figure.py FIGURES PICTURE."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import typer
from matplotlib.axes import Axes

WAYS = {"batch": 1, "width": 2, "depth": 1}  # and the power of it with which the multiplications grow
COLORS = ("0.6", "tab:orange", "tab:blue", "tab:green")
QUANTITIES = (("seconds", "ms a step", 1e3), ("peak_mib", "MiB above that before", 1.0))


def main(figures: Path, picture: Path) -> None:
    """Read the figures of W7, and draw one column for each way to grow."""
    cases: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))["results"]["W7"]
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), layout="constrained", sharey="row")
    for column, (way, power) in enumerate(WAYS.items()):
        for row, (quantity, label, factor) in enumerate(QUANTITIES):
            _draw(axes[row, column], cases, way, quantity, factor, power)
            if column == 0:
                axes[row, column].set_ylabel(label)
        axes[0, column].set_title(f"growing {way}")
        axes[1, column].set_xlabel(way)
    axes[0, 0].legend(frameon=False, fontsize="small")
    figure.savefig(picture, dpi=110)


def _draw(ax: Axes, cases: dict[str, Any], way: str, quantity: str, factor: float, power: int) -> None:
    """One line for each runtime, and one that grows as the multiplications do."""
    grown = {int(name.split()[1]): case for name, case in cases.items() if name.startswith(way)}
    sizes = sorted(grown)
    for color, runtime in zip(COLORS, grown[sizes[0]][quantity], strict=False):
        values = [factor * statistics.median(grown[size][quantity][runtime]) for size in sizes]
        ax.loglog(sizes, values, "o-", color=color, markersize=4, label=runtime)
    ends = sizes[-2], sizes[-1]
    last = factor * statistics.median(next(iter(grown[ends[1]][quantity].values())))
    ax.loglog(
        ends, [last * (ends[0] / ends[1]) ** power / 2, last / 2], "k:", linewidth=1, label="as the multiplications"
    )
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    typer.run(main)
