"""The figures of notebook 4, "Images": each function draws one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnarray.drawing.canvas import BLUE, GREEN, ORANGE, VERMILLION, on_host
from nnarray.drawing.curves import plot_history, plot_metrics
from nnarray.drawing.sheets import plot_confusion, plot_filters, plot_images
from nnarray.notebooks.panels import panels
from nnarray.typing import Array


def sheet(
    X: Array | np.ndarray, labels: Sequence[str] | None = None, *, columns: int, width: float, height: float
) -> None:
    """Images in rows, each with a line of text below it."""
    with panels(1, width, height) as (axes,):
        plot_images(X, labels, columns=columns, ax=axes)


def channels(image: Array) -> None:
    """An image, and how much red, green and blue it has, as greys."""
    table = on_host(image)
    grey = [np.repeat(table[:, :, k, None], 3, axis=2) for k in range(3)]
    sheet(np.stack([table, *grey]), ["all three", "red", "green", "blue"], columns=4, width=8, height=2.2)


def _as_image(y: Array) -> np.ndarray:
    """What is negative somewhere, with 0 as mid grey."""
    table = on_host(y)
    return table if table.min() >= 0 else 0.5 + 0.5 * table / np.abs(table).max()


def convolutions(image: Array, results: Mapping[str, Array]) -> None:
    """An image of greys, and what kernels make of it, by their names."""
    with panels(1 + len(results), 2.5 * (1 + len(results)), 2.9 if len(results) > 1 else 3.4) as axes:
        shown = {"the image": image, **results}
        for each, (name, x) in zip(axes, shown.items(), strict=True):
            each.imshow(_as_image(x), cmap="gray", vmin=0, vmax=1)
            each.set_title(name)
            each.set_axis_off()


def stages(named: Mapping[str, Array]) -> None:
    """The outputs of layers one after the other, with their sizes; 0 is mid grey."""
    with panels(len(named), 3 * len(named), 3.2) as axes:
        for each, (title, x) in zip(axes, named.items(), strict=True):
            each.imshow(on_host(x), cmap="gray", vmin=-1.5, vmax=1.5)
            each.set_title(f"{title}: {x.shape[0]} x {x.shape[1]}")
            each.set_axis_off()


def history(learnt: Any) -> None:
    """Loss and accuracy, epoch by epoch."""
    with panels(2, 10, 3.4) as (left, right):
        plot_history(learnt, ax=left)
        plot_metrics(learnt, ["accuracy"], ax=right)
        right.set_ylim(0.4, 1.02)


def confusion(matrix: Array, names: Sequence[str]) -> None:
    """The confusion matrix."""
    with panels(1, 3.6, 3.2) as (axes,):
        plot_confusion(matrix, names, ax=axes)


def answers(X: Array, said: Sequence[tuple[str, bool]]) -> None:
    """Images with the network's answers below them: vermillion if wrong, green if right."""
    with panels(1, 10, 3.6) as (axes,):
        colours = [GREEN if right else VERMILLION for _, right in said]
        plot_images(X, [text for text, _ in said], colours=colours, columns=8, ax=axes)


def kernels(before: Array, after: Array) -> None:
    """The kernels of a first layer, before and after training."""
    with panels(2, 8.5, 4) as (left, right):
        plot_filters(before, ax=left)
        plot_filters(after, ax=right)
        left.set_title("before training: noise")
        right.set_title("after training")


def maps(image: Array, label: str, found: Mapping[str, Array]) -> None:
    """An image, and what each layer gives for it: one small square a channel, by the layer's name."""
    with panels(1 + len(found), 3.5 * (1 + len(found)), 3.8) as axes:
        plot_images(on_host(image)[None, ...], [label], ax=axes[0])
        for each, (name, outputs) in zip(axes[1:], found.items(), strict=True):
            channels_first = np.moveaxis(on_host(outputs), -1, 0)
            largest = channels_first.max(axis=(1, 2), keepdims=True)
            shades = 0.85 * np.sqrt(channels_first / (largest + 0.01))  # the root lets us see what is weak
            plot_images(shades, ax=each)
            count, height, width = channels_first.shape
            each.set_title(f"{name}: {count} maps, {height} x {width}")


def sensitive(X: Array, light: Array) -> None:
    """Images, and below each the same, dark where `light` is near 0."""
    images, lights = on_host(X), on_host(light)
    sheet(np.concatenate([images, images * (0.15 + 0.85 * lights)]), columns=len(images), width=11, height=3.1)


def covered(X: Array, names: Sequence[str], p: Array) -> None:
    """Images, and below each the probability of its true class when a square around a place is covered."""
    with panels(2 * len(names), 2 * len(names), 4.2, rows=2) as axes:
        shades: Any = None
        for above, below, name, image, table in zip(
            axes[: len(names)], axes[len(names) :], names, on_host(X), on_host(p), strict=True
        ):
            above.imshow(image)
            above.set_title(name)
            shades = below.imshow(table, cmap="Blues", vmin=0, vmax=1)
            above.set_axis_off()
            below.set_axis_off()
        axes[-1].figure.colorbar(shades, ax=axes[len(names) :], label="p(truth)")


def costs(names: Sequence[str], parameters: Sequence[int], multiply_adds: Sequence[int]) -> None:
    """The parameters and the multiply-adds of each block, in millions."""
    with panels(2, 11, 4.4, share=True) as (left, right):
        left.barh(names, [count / 1e6 for count in parameters], color=BLUE)
        right.barh(names, [count / 1e6 for count in multiply_adds], color=ORANGE, hatch="//")
        left.set(title="parameters, in millions")
        right.set(title="multiply-adds for one image, in millions")
        left.invert_yaxis()
