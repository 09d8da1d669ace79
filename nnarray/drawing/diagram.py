"""A figure of a network: boxes from top to bottom, branches side by side, shortcuts as lines.

The network becomes a tree of parts with known sizes. Then each part is drawn at the position that its parent gives
it. Lengths are in inches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from nnarray.drawing.canvas import BLUE, COLOURS, GREEN, ORANGE, VERMILLION, axes_for
from nnarray.layers.activations import bare
from nnarray.layers.base import Layer, own
from nnarray.typing import Shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT, GAP = 1.45, 0.4, 0.2
ASIDE = 0.35
"""The space next to a part for a line around it."""
FONT = 7.0
PAGE = 9.0
"""The largest height of a column of parts; then the next column begins."""
COLOUR = {
    "convolution": BLUE,
    "dense": GREEN,
    "embedding": GREEN,
    "recurrent": GREEN,
    "pooling": ORANGE,
    "normalisation": COLOURS[5],
    "activation": VERMILLION,
}
"""The colour of each family of layers."""
PLAIN = "#888888"


class Part(ABC):
    """A part of the drawing with a size. Lines enter at the top and leave at the bottom, both in the middle."""

    width: float
    height: float

    @abstractmethod
    def draw(self, axes: Axes, x: float, y: float) -> None:
        """Draw it with its middle at x and its top at y; y grows downwards."""


@dataclass(frozen=True)
class Box(Part):
    """One layer, or several layers in one box."""

    text: str
    colour: str
    width: float = WIDTH
    height: float = HEIGHT

    def draw(self, axes: Axes, x: float, y: float) -> None:
        """Draw a box with rounded corners and the text in it."""
        from matplotlib.patches import FancyBboxPatch

        corner = (x - self.width / 2 + 0.04, y + 0.04)
        size = (self.width - 0.08, self.height - 0.08)
        axes.add_patch(
            FancyBboxPatch(
                corner, *size, boxstyle="round,pad=0.04", facecolor=f"{self.colour}40", edgecolor=self.colour
            )
        )
        axes.text(x, y + self.height / 2, self.text, ha="center", va="center", fontsize=FONT, linespacing=1.15)


class Stack(Part):
    """Parts one below the other."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self.width = max((part.width for part in self.parts), default=0.0)
        self.height = sum(part.height for part in self.parts) + GAP * max(len(self.parts) - 1, 0)

    def draw(self, axes: Axes, x: float, y: float) -> None:
        """Draw the parts from top to bottom, with arrows between them."""
        for i, part in enumerate(self.parts):
            part.draw(axes, x, y)
            y += part.height
            if i + 1 < len(self.parts):
                _line(axes, [(x, y), (x, y + GAP)], arrow=True)
                y += GAP


class Fan(Part):
    """Parts side by side, with the lines that divide and join them."""

    def __init__(self, parts: Sequence[Part], join: str) -> None:
        self.parts, self.end = list(parts), Box(join, PLAIN, 0.75, 0.24)
        self.inner = max(part.height for part in self.parts)
        self.width = sum(part.width for part in self.parts) + 0.1 * (len(self.parts) - 1)
        self.height = GAP + self.inner + GAP + self.end.height

    def draw(self, axes: Axes, x: float, y: float) -> None:
        """Draw the parts from left to right, and the box that joins them."""
        left, top, bottom = x - self.width / 2, y + GAP, y + GAP + self.inner
        for part in self.parts:
            middle = left + part.width / 2
            _line(axes, [(x, y), (middle, y), (middle, top)], arrow=True)
            part.draw(axes, middle, top)
            _line(axes, [(middle, top + part.height), (middle, bottom + GAP / 2), (x, bottom + GAP / 2)])
            left += part.width + 0.1
        _line(axes, [(x, bottom + GAP / 2), (x, bottom + GAP)], arrow=True)
        self.end.draw(axes, x, bottom + GAP)


class Around(Part):
    """A part, a shortcut around it, through another part or direct, and the sum of both."""

    def __init__(self, inside: Part, shortcut: Part | None, text: str) -> None:
        self.inside, self.shortcut, self.end = inside, shortcut, Box(text, PLAIN, 0.75, 0.24)
        self.aside = ASIDE if shortcut is None else shortcut.width + 0.1
        self.width = inside.width + 2 * self.aside
        self.height = GAP + max(inside.height, shortcut.height if shortcut else 0.0) + GAP + self.end.height

    def draw(self, axes: Axes, x: float, y: float) -> None:
        """Draw the part, the shortcut next to it, and the box of the sum."""
        top, foot = y + GAP, y + self.height - self.end.height
        _line(axes, [(x, y), (x, top)], arrow=True)
        self.inside.draw(axes, x, top)
        _line(axes, [(x, top + self.inside.height), (x, foot)], arrow=True)
        beside, middle = x + self.inside.width / 2 + self.aside / 2, foot + self.end.height / 2
        _line(axes, [(x, y), (beside, y), (beside, top)])
        if self.shortcut:
            self.shortcut.draw(axes, beside, top)
        passed = top + (self.shortcut.height if self.shortcut else 0.0)
        _line(axes, [(beside, passed), (beside, middle), (x + self.end.width / 2, middle)], arrow=True)
        self.end.draw(axes, x, foot)


class Beside(Part):
    """A line straight down, and a head to the right of it."""

    def __init__(self, head: Part) -> None:
        self.head = head
        self.width, self.height = 2 * (head.width + 0.3), head.height + GAP

    def draw(self, axes: Axes, x: float, y: float) -> None:
        """Draw the line straight down, and the head to the right of it."""
        middle = x + 0.3 + self.head.width / 2
        _line(axes, [(x, y), (x, y + self.height)])
        _line(axes, [(x, y), (middle, y), (middle, y + GAP)], arrow=True, dashed=True)
        self.head.draw(axes, middle, y + GAP)


def _line(axes: Axes, points: list[tuple[float, float]], *, arrow: bool = False, dashed: bool = False) -> None:
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, color="#444444", linewidth=0.8, linestyle="--" if dashed else "-", zorder=0)
    if arrow:
        axes.annotate(
            "",
            points[-1],
            points[-2],
            arrowprops={
                "arrowstyle": "-|>",
                "color": "#444444",
                "lw": 0.0,
                "shrinkA": 0,
                "shrinkB": 0,
                "mutation_scale": 7,
            },
        )


# --- From the network to parts ---------------------------------------------------------------------------------------


Inside: TypeAlias = list[tuple[Layer, Shape]]
"""Layers, each with the shape of its inputs."""


def part_of(layer: Layer, shape: Any) -> Part:
    """The part for a layer with inputs of this shape."""
    if parts := layer.drawn_parts(shape):
        return Stack(_drawn(parts))
    if not layer.named_layers:
        return Box(f"{_words(layer)}\n{_shape(layer.out_shape(shape))}", COLOUR.get(layer.family, PLAIN))
    return COMPOSED.get(layer.family, _column)(layer, [(each, its) for _, each, its in layer.shapes(shape)])


def _drawn(parts: list[Any]) -> list[Part]:
    """The parts that a layer itself names."""
    made: list[Part] = []
    for each in parts:
        if isinstance(each, Mapping):
            made.append(Fan([Stack(_drawn(branch)) for branch in each["branches"]], each["join"]))
        else:
            text, family = each
            made.append(Box(text, COLOUR.get(family, PLAIN)))
    return made


def _fan(layer: Any, inside: Inside) -> Part:
    parts: list[Part] = [part_of(*each) for each in inside]
    if isinstance(layer.takes, Mapping):  # each branch has an input of its own
        boxes = [Box(f"{name}\n{_shape(shape)}", PLAIN) for name, (_, shape) in zip(layer.names, inside, strict=True)]
        parts = [Stack([box, part]) for box, part in zip(boxes, parts, strict=True)]
    return Fan(parts, layer.join)


def _around(layer: Any, inside: Inside) -> Part:
    shortcut = part_of(*inside.pop()) if layer.shortcut else None
    text = "+" if layer.activation == "identity" else f"+  {_function(layer.activation)}"
    return Around(Stack(_steps(inside)), shortcut, text)


def _beside(_: Layer, inside: Inside) -> Part:
    return Beside(Stack(_steps(inside)))


def _column(_: Layer, inside: Inside) -> Part:
    steps = _steps(inside)
    return steps[0] if len(steps) == 1 else Stack(steps)


COMPOSED = {"branches": _fan, "residual": _around, "auxiliary": _beside}
"""The drawing of each kind of composite; other kinds are a column."""


def _steps(layers: Inside) -> list[Part]:
    """Parts in order; normalisation and activation share the box of the layer before them."""
    parts: list[Part] = []
    linear = False
    for layer, shape in layers:
        before = parts[-1] if parts else None
        word = _function(layer) if layer.family == "activation" else "bn" if layer.drawn_as == "bn" else ""
        if linear and word and isinstance(before, Box):
            first, last = before.text.split("\n")
            parts[-1] = replace(before, text=f"{first} · {word}\n{last}")
        else:
            parts.append(part_of(layer, shape))
            linear = layer.family in ("convolution", "dense")
    return parts


def _words(layer: Layer) -> str:
    """The layer in a few words."""
    if layer.family == "activation":
        return _function(layer)
    text = (own(layer, "drawn_as") or type(layer).__name__.lower()) + layer.drawn_numbers()
    inner = getattr(layer, "activation", "identity")
    return text if inner == "identity" else f"{text} · {_function(inner)}"


def _function(activation: Any) -> str:
    function = bare(activation)
    return function if isinstance(function, str) else getattr(function, "__name__", "f")


def _shape(shape: Any) -> str:
    if isinstance(shape, Mapping):
        return ", ".join(shape)
    return " × ".join(map(str, shape))


# --- On the page -----------------------------------------------------------------------------------------------------


def plot_network(network: Layer, shape: Any, *, ax: Axes | None = None) -> Axes:
    """Draw a network for inputs of this shape, as `Model.plot` describes it."""
    whole = part_of(network, shape)
    parts = whole.parts if isinstance(whole, Stack) else [whole]
    columns = _columns([Box(f"input\n{_shape(shape)}", PLAIN), *parts])
    width = sum(column.width for column in columns) + 0.5 * len(columns)
    height = max(column.height for column in columns) + 0.4
    ax = axes_for(ax, size=(max(width, 2.0), height))
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_aspect("equal")
    ax.set_axis_off()
    left = 0.25
    for i, column in enumerate(columns):
        column.draw(ax, left + column.width / 2, 0.2)
        if i + 1 < len(columns):
            turn, following = left + column.width + 0.25, columns[i + 1]
            x, y = left + column.width / 2, 0.2 + column.height
            after = turn + 0.25 + following.width / 2
            _line(
                ax,
                [(x, y), (x, height - 0.1), (turn, height - 0.1), (turn, 0.08), (after, 0.08), (after, 0.2)],
                arrow=True,
            )
        left += column.width + 0.5
    return ax


def _columns(parts: list[Part]) -> list[Stack]:
    """The parts in columns of about equal height, near the height of a page."""
    whole = Stack(parts).height
    count = max(round(whole / PAGE), 1)
    most = whole / count
    while len(columns := _filled(parts, most)) > count:
        most *= 1.02
    return columns


def _filled(parts: list[Part], most: float) -> list[Stack]:
    """Columns filled in order, none higher than this unless a single part is."""
    columns: list[list[Part]] = [[]]
    for part in parts:
        if columns[-1] and Stack([*columns[-1], part]).height > most:
            columns.append([])
        columns[-1].append(part)
    return [Stack(column) for column in columns]
