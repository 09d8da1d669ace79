"""Handwritten digits of our own making, 16 squares by 16, for notebook 5; and a reader's own drawing."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnarray.backends import Backend, host_backend
from nnarray.checks import integer
from nnarray.typing import Array

SIDE = 16
INK, PAPER = "#1", ".0"


def _arc(x: float, y: float, width: float, height: float, start: float, end: float) -> list[tuple[float, float]]:
    """Points on an ellipse, from one angle to another: 0 is on the right, 90 at the bottom."""
    angles = np.radians(np.linspace(start, end, 11))
    return [(x + width * float(np.cos(a)), y + height * float(np.sin(a))) for a in angles]


STROKES: tuple[tuple[list[list[tuple[float, float]]], ...], ...] = (
    ([_arc(0.5, 0.5, 0.36, 0.5, -90, 270)],),
    ([[(0.5, 0), (0.5, 1)]], [[(0.25, 0.25), (0.5, 0), (0.5, 1)]]),
    ([[*_arc(0.5, 0.28, 0.34, 0.28, 180, 400), (0.12, 1), (0.88, 1)]],),
    ([_arc(0.45, 0.26, 0.33, 0.26, 200, 450), _arc(0.45, 0.74, 0.38, 0.26, 270, 510)],),
    (
        [[(0.6, 0), (0.1, 0.65), (0.92, 0.65)], [(0.68, 0.3), (0.68, 1)]],
        [[(0.68, 1), (0.68, 0), (0.1, 0.68), (0.92, 0.68)]],
    ),
    ([[(0.85, 0), (0.2, 0), (0.17, 0.45)], _arc(0.45, 0.68, 0.38, 0.32, 225, 500)],),
    ([[(0.72, 0), (0.35, 0.3), (0.15, 0.7)], _arc(0.5, 0.7, 0.35, 0.3, 180, 540)],),
    ([[(0.1, 0), (0.88, 0), (0.4, 1)]], [[(0.1, 0), (0.88, 0), (0.4, 1)], [(0.3, 0.5), (0.78, 0.5)]]),
    ([_arc(0.5, 0.25, 0.28, 0.25, 90, 450), _arc(0.5, 0.74, 0.36, 0.26, 270, 630)],),
    ([_arc(0.5, 0.3, 0.34, 0.3, 0, 360), [(0.84, 0.3), (0.8, 0.65), (0.6, 1)]],),
)
"""Ways to write each digit: strokes through points in a square from (0, 0), upper left, to (1, 1)."""


def digits(n: int, *, seed: int = 0, backend: Backend | None = None) -> tuple[Array, Array]:
    """Digits written by lines, no two alike: they are larger or smaller, tilted, shaky, thin or thick.

    Parameters
    ----------
    n : int
        How many; equally many of each digit, in turn.
    seed : int
    backend : Backend, optional
        Where the arrays are; the host if None.

    Returns
    -------
    X : array, shape (n, 256)
        16 rows of 16 squares each, one after the other: 1 where there is ink, else 0.
    y : array, shape (n,)
        The digits.

    Examples
    --------
    >>> from nnarray.notebooks.digits import digits
    >>> X, y = digits(20)
    >>> X.shape, [int(label) for label in y[:12]]
    ((20, 256), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """
    integer(n, "n", 1, usual=1000)
    be, rng = backend or host_backend(), np.random.default_rng(integer(seed, "seed", 0, usual=0))
    labels = np.arange(n) % 10
    images = [_written(STROKES[label], rng).ravel() for label in labels]
    return be.asarray(np.stack(images), dtype=be.dtype()), be.asarray(labels)


def _written(ways: tuple[list[list[tuple[float, float]]], ...], rng: np.random.Generator) -> np.ndarray:
    """One digit: a way to write it, moved and bent a little, as squares with ink."""
    strokes = [np.asarray(stroke) - 0.5 for stroke in ways[rng.integers(len(ways))]]
    tilt = rng.normal(0, 0.12)
    turn = np.asarray([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    slant = np.asarray([[1.0, 0.0], [rng.normal(0, 0.12), 1.0]])
    size = np.asarray([rng.uniform(6, 11), rng.uniform(9, 13)])
    bent = [(stroke + rng.normal(0, 0.025, stroke.shape)) * size @ slant @ turn for stroke in strokes]
    middles = np.stack(np.meshgrid(*[np.arange(SIDE) - SIDE / 2 + 0.5] * 2), axis=-1) + rng.uniform(-0.5, 0.5, 2)
    distance = np.min([_distance(middles[:, :, None, :], stroke) for stroke in bent], axis=0)
    return centred((distance < rng.uniform(0.55, 1.1)).astype(float))


def _distance(places: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How far each place is from the nearest line between a point and the next."""
    start, way = points[:-1], np.diff(points, axis=0)
    along = ((places - start) * way).sum(axis=-1) / (way**2).sum(axis=-1)
    nearest = start + np.clip(along, 0, 1)[..., None] * way
    return np.sqrt(((places - nearest) ** 2).sum(axis=-1)).min(axis=-1)


def centred(image: np.ndarray) -> np.ndarray:
    """The drawing moved, by whole squares, so that its ink is in the middle."""
    for axis in (0, 1):
        inked = np.flatnonzero(image.any(axis=1 - axis))
        if inked.size:
            image = np.roll(image, (SIDE - 1 - int(inked[0]) - int(inked[-1])) // 2, axis=axis)
    return image


def drawing(text: str, *, backend: Backend | None = None) -> Array:
    r"""A drawing of 16 lines with 16 signs each, shape (1, 256): "#" or "1" is ink, "." or "0" is paper.

    The ink is moved into the middle, as in `digits`.

    Raises
    ------
    ValueError
        If there are not 16 lines of 16 signs, there is another sign, or there is no ink.

    Examples
    --------
    >>> from nnarray.notebooks.digits import drawing
    >>> one = drawing("\n".join(["." * 7 + "##" + "." * 7] * 16))
    >>> one.shape, int(one.sum())
    ((1, 256), 32)
    """
    rows = [line.strip() for line in text.strip().splitlines()]
    if len(rows) != SIDE:
        raise ValueError(f"a drawing has {SIDE} lines; yours has {len(rows)}.")
    for number, row in enumerate(rows, 1):
        if len(row) != SIDE:
            raise ValueError(f"each line of a drawing has {SIDE} signs; line {number} has {len(row)}: {row!r}.")
        if odd := set(row) - set(INK + PAPER):
            raise ValueError(f"a drawing is made of '#' for ink and '.' for paper; line {number} has {min(odd)!r}.")
    image: Any = np.asarray([[float(sign in INK) for sign in row] for row in rows])
    if not image.any():
        raise ValueError("the drawing is empty; put '#' where there is ink.")
    be = backend or host_backend()
    return be.asarray(centred(image).reshape(1, -1), dtype=be.dtype())
