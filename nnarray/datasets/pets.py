"""Drawn cats and dogs: faces made of smooth shapes, each different.

An image is painted from back to front. Values are arrays over the pixels of a few images, (batch, height, width);
colours are (3, batch, 1, 1), and a painting is (3, batch, height, width). A shape is an `alpha`, which is 1 inside,
0 outside, and falls over about one pixel at its border. The variation comes from one row of uniform numbers per image,
drawn on the host. So one seed gives the same pets on every backend, up to rounding.

Lengths are in half widths of the head: (u, v) to the right and downwards from its centre, rotated with the head.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from nnarray import kernels, random
from nnarray.backends import Backend, backend, device_of, host_backend, namespace
from nnarray.checks import integer
from nnarray.datasets.dtypes import floating
from nnarray.kernels import blend
from nnarray.kernels.compilation import compiled, mapped
from nnarray.kernels.standard.numerics import clamp
from nnarray.random import Key
from nnarray.typing import Array

NAMES = ("cat", "dog")
DRAWS = 80  # uniform numbers for one image
PIXELS = 2**17  # painted at once, so that the data stay in the cache

FURS = (  # for cats and dogs alike, so that the colour does not show the class
    (0.89, 0.57, 0.29),
    (0.79, 0.58, 0.34),
    (0.55, 0.37, 0.24),
    (0.36, 0.25, 0.19),
    (0.60, 0.59, 0.59),
    (0.43, 0.46, 0.51),
    (0.25, 0.24, 0.26),
    (0.92, 0.84, 0.71),
    (0.95, 0.93, 0.90),
)
CAT_EYES = ((0.52, 0.68, 0.30), (0.88, 0.74, 0.25), (0.80, 0.48, 0.16), (0.45, 0.66, 0.80), (0.62, 0.36, 0.14))
DOG_EYES = ((0.40, 0.22, 0.10), (0.52, 0.31, 0.14), (0.30, 0.18, 0.12), (0.66, 0.45, 0.20), (0.50, 0.70, 0.84))
DARK, PINK, TONGUE, WHITE = (0.09, 0.07, 0.08), (0.90, 0.62, 0.62), (0.93, 0.45, 0.50), (1.0, 0.99, 0.97)


def pets(
    n: int = 1000,
    *,
    size: int = 64,
    seed: int = 0,
    dtype: object = "float32",
    backend: str | Backend | None = None,
) -> tuple[Array, Array]:
    """Drawn images of cats and dogs: cats at even positions, dogs at odd ones.

    Pose, scale, fur, markings, light, background and objects in front vary, with the same distributions for both
    classes. A cat differs from a dog in ears, eyes, muzzle and whiskers.

    Parameters
    ----------
    n : int
        The number of images. A larger set begins with the images of a smaller one.
    size : int
        Pixels along each side, at least 8.
    seed : int
    dtype : str, optional
        A real floating dtype. The default is single precision, as 10,000 images have 123 million entries. None is the
        default of the device.
    backend : str or Backend, optional
        The backend on which they are painted, as for `nn.backend`.

    Returns
    -------
    X : array, shape (n, size, size, 3), `dtype`
        Red, green and blue from 0 to 1.
    y : array, shape (n,), integer
        0 for a cat, 1 for a dog.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.pets(4, size=32)
    >>> X.shape, y
    ((4, 32, 32, 3), array([0, 1, 0, 1]))
    """
    n, size = integer(n, "n", 1, usual=1000), integer(size, "size", 8, usual=64)
    be, key = _backend(backend), Key(seed).fold("pets")
    wanted = floating(dtype, be)
    of_each = (n + 1) // 2
    cats, dogs = (_Painter(be, animal, of_each, size, key.fold(animal)) for animal in NAMES)

    def painted(number: int) -> Array:
        both = be.xp.stack((cats.paint(number), dogs.paint(number)), axis=1)
        return be.xp.reshape(be.xp.astype(both, wanted, copy=False), (-1, size, size, 3))

    parts = mapped(painted, range(-(-of_each // cats.batch)), cats.rows)
    return be.xp.concat(parts, axis=0)[:n, ...], be.asarray([i % 2 for i in range(n)])


_backend = backend


class _Painter:
    """Images of one animal, painted batch by batch."""

    def __init__(self, be: Backend, animal: str, n: int, size: int, key: Key) -> None:
        host = host_backend()
        rows = random.uniform(key.fold("draws"), (n, DRAWS), xp=host.xp, device=host.device, dtype=host.xp.float32)
        self.rows = be.asarray(rows)
        self.key = key.fold("grain")
        self.batch = max(PIXELS // size**2, 1)

        def painted(rows: Array, word0: Array, word1: Array) -> Array:
            options = {"xp": be.xp, "device": be.device, "dtype": be.xp.float32}
            grain = random.uniform(Key(word0, word1), (rows.shape[0], size, size), **options)
            return _paint(animal, _Draws(rows), grain)

        self.painted = compiled(painted, self.rows)

    def paint(self, number: int) -> Array:
        """One batch, shape (up to batch, size, size, 3)."""
        key, start = self.key.fold(number), number * self.batch
        stop = min(start + self.batch, self.rows.shape[0])
        return self.painted(self.rows[start:stop, :], key.word0, key.word1)


class _Draws:
    """The uniform numbers of a few images, used column by column."""

    def __init__(self, rows: Array) -> None:
        self.rows = rows
        self.used = 0

    def between(self, low: float, high: float) -> Array:
        """A number for each image, shape (batch, 1, 1)."""
        self.used += 1
        return self.rows[:, self.used - 1, None, None] * (high - low) + low

    def chance(self, probability: float) -> Array:
        """1 with that probability, else 0, shape (batch, 1, 1)."""
        xp = namespace(self.rows)
        return xp.astype(self.between(0.0, 1.0) < probability, self.rows.dtype)

    def one_of(self, colours: tuple[tuple[float, float, float], ...]) -> Array:
        """One of the colours for each image, shape (3, batch, 1, 1)."""
        xp = namespace(self.rows)
        which = xp.astype(self.between(0.0, float(len(colours)))[:, 0, 0], xp.int32)
        table = xp.asarray(colours, dtype=self.rows.dtype, device=device_of(self.rows))
        return xp.permute_dims(xp.take(table, which, axis=0), (1, 0))[:, :, None, None]

    def hue(self) -> Array:
        """A colour of any hue, pale to full, shape (3, batch, 1, 1)."""
        xp = namespace(self.rows)
        angle, depth, lightness = self.between(0.0, 2 * math.pi), self.between(0.08, 0.38), self.between(0.35, 0.8)
        thirds = xp.stack([lightness + depth * xp.cos(angle + k * 2 * math.pi / 3) for k in range(3)])
        return _clip(thirds)


class _Head(NamedTuple):
    """The position of the head: coordinates of the pixels, and the number of pixels in a half width."""

    u: Array
    v: Array
    yaw: Array
    """The sideways shift of features in front of the head."""
    pixels: Array

    def at(self, depth: float) -> Array:
        """u of a feature in front of the head, at this depth; 1 is the tip of the nose."""
        return self.u - self.yaw * depth


# --- Shapes ----------------------------------------------------------------------------------------------------------


def _clip(x: Array) -> Array:
    return clamp(x, 0.0, 1.0)


def _from_whole(x: Array) -> Array:
    """The distance to the nearest integer, for repeating patterns."""
    xp = namespace(x)
    return xp.abs(x - xp.round(x))


def _turned(x: Array, y: Array, angle: Array) -> tuple[Array, Array]:
    """Coordinates along a direction, and across it."""
    xp = namespace(x)
    cos, sin = xp.cos(angle), xp.sin(angle)
    return x * cos + y * sin, y * cos - x * sin


def _mouth(near: Array, v: Array, radius: float, low: float, start: float, width: float, pixels: Array) -> Array:
    """The lower halves of two rings side by side, below `start`, `width` pixels thick."""
    ring = namespace(v).sqrt((near - radius) ** 2 + (v - low) ** 2)
    return _clip(width - namespace(v).abs(ring - radius) * pixels) * _half(start - v, pixels)


def _ellipse(u: Array, v: Array, centre: tuple[Any, Any], radii: tuple[Any, Any], pixels: Array) -> Array:
    """alpha of an ellipse."""
    return kernels.ellipse(u, v, *centre, *radii, pixels)


def _half(d: Array, pixels: Array) -> Array:
    """alpha of the region where the distance d is below 0."""
    return _clip(0.5 - d * pixels)


def _flat(colour: tuple[float, float, float], like: Array) -> Array:
    """A fixed colour, shape (3, 1, 1, 1)."""
    xp = namespace(like)
    return xp.reshape(xp.asarray(colour, dtype=like.dtype, device=device_of(like)), (3, 1, 1, 1))


# --- The painting ----------------------------------------------------------------------------------------------------


def _paint(animal: str, draw: _Draws, grain: Array) -> Array:
    """A few images, shape (batch, size, size, 3)."""
    xp, size = namespace(grain), grain.shape[1]
    line = (xp.arange(size, dtype=grain.dtype, device=device_of(grain)) + 0.5) * (2.0 / size) - 1.0
    x, y = line[None, None, :], line[None, :, None]
    painting = _background(draw, x, y, grain)
    head = _posed(draw, x, y, size)
    coat = _coat(draw)
    painting = _body(draw, head, painting, coat)
    painting = (_cat if animal == "cat" else _dog)(draw, head, coat, painting, grain)
    painting = _covered(draw, x, y, painting, size)
    return xp.permute_dims(_clip(_lit(draw, x, y, painting) + (grain - 0.5) * draw.between(0.0, 0.08)), (1, 2, 3, 0))


def _posed(draw: _Draws, x: Array, y: Array, size: int) -> _Head:
    xp = namespace(x)
    scale, turn = draw.between(0.38, 0.68), draw.between(-0.65, 0.65)
    cx, cy = draw.between(-0.34, 0.34), draw.between(-0.2, 0.36)
    cos, sin = xp.cos(turn) / scale, xp.sin(turn) / scale
    dx, dy = x - cx, y - cy
    return _Head(dx * cos + dy * sin, dy * cos - dx * sin, draw.between(-0.22, 0.22), scale * (size / 2))


def _background(draw: _Draws, x: Array, y: Array, grain: Array) -> Array:
    """A gradient between two colours across the image, with stripes or dots on some images."""
    xp = namespace(grain)
    one, other = draw.hue(), draw.hue()
    angle, many = draw.between(0.0, 2 * math.pi), draw.between(1.5, 4.0)
    along, across = _turned(x, y, angle)
    bands, dots = _from_whole(along * many), _from_whole(across * many)
    pattern = draw.between(0.0, 1.0)
    striped, dotted = (xp.astype(on, grain.dtype) for on in (pattern < 0.3, pattern > 0.75))
    figure = striped * _clip(bands * 8.0 - 1.6) + dotted * _clip(4.0 - 40.0 * (bands * bands + dots * dots))
    mix = _clip(0.5 + 0.45 * along) * (1.0 - 0.6 * (striped + dotted)) + 0.55 * figure
    return blend(one, other, mix)


class _Coat(NamedTuple):
    """The colours of an animal, each (3, batch, 1, 1)."""

    fur: Array
    pale: Array
    """The colour of muzzle, chest and markings."""
    deep: Array
    """The colour of ears and stripes."""


def _coat(draw: _Draws) -> _Coat:
    fur = draw.one_of(FURS) * draw.between(0.88, 1.1)
    pale, deep = draw.between(0.25, 0.85), draw.between(0.55, 1.3)
    return _Coat(_clip(fur), _clip(fur + pale * (0.97 - fur)), _clip(fur * deep))


def _furry(draw: _Draws, head: _Head, coat: _Coat, grain: Array, stripes: Array | None) -> Array:
    """The colours of the face: markings, a shade towards the rim, and the grain of the fur."""
    u, v = head.u, head.v
    blaze = _ellipse(head.at(0.5), v, (0.0, draw.between(-0.5, 0.1)), (draw.between(0.1, 0.3), 0.95), head.pixels)
    side, patchy = draw.between(-1.0, 1.0), draw.chance(0.35)
    patch = _ellipse(u, v, (side * 0.55, -0.25), (0.55, 0.5), head.pixels)
    colours = blend(coat.fur, coat.pale, blaze * draw.chance(0.45))
    colours = blend(colours, coat.deep * draw.between(0.6, 1.0), patch * patchy)
    if stripes is not None:
        colours = blend(colours, coat.deep * 0.7, stripes)
    return colours * (1.06 - 0.2 * (u * u + v * v) + 0.16 * (grain - 0.5))


def _cat(draw: _Draws, head: _Head, coat: _Coat, painting: Array, grain: Array) -> Array:
    """Upright pointed ears, a broad face, almond eyes with slits, a small nose, whiskers."""
    xp, px, v = namespace(grain), head.pixels, head.v
    ears, inside = _pointed_ears(draw, head)
    painting = blend(painting, coat.deep, ears)
    painting = blend(painting, blend(coat.fur * 0.6, _flat(PINK, grain), draw.between(0.1, 1.0)), inside)
    side = xp.abs(head.u)
    cheeks = _ellipse(side, v, (0.5, 0.3), (draw.between(0.46, 0.6), 0.42), px)
    face = xp.maximum(_ellipse(head.u, v, (0.0, 0.0), (1.0, draw.between(0.78, 0.9)), px), cheeks)
    forehead = _clip(_from_whole(head.u * 3.4) * 5.0 - 1.2) * _clip(-0.6 - 2.5 * v - side)
    painting = blend(painting, _furry(draw, head, coat, grain, forehead * draw.chance(0.5)), face)
    near, eyed = xp.abs(head.at(1.0)), xp.abs(head.at(0.6))
    painting = blend(painting, coat.pale, _ellipse(near, v, (0.17, 0.45), (0.27, 0.22), px))
    # Eyes: almonds that rise outwards.
    apart, open_ = draw.between(0.38, 0.46), draw.between(0.15, 0.22)
    rise = v + 0.3 * (eyed - apart) + 0.1
    rim = _ellipse(eyed, rise, (apart, 0.0), (0.27, open_ + 0.05), px)
    painting = blend(painting, _flat(DARK, grain), rim)
    painting = blend(painting, draw.one_of(CAT_EYES), _ellipse(eyed, rise, (apart, 0.0), (0.22, open_), px))
    pupil = _ellipse(eyed, rise, (apart, 0.0), (draw.between(0.05, 0.12), open_), px)
    # Mouth: two small arcs below the nose.
    mouth = _mouth(near, v, 0.13, 0.46, 0.46, 1.1, px)
    stem = _ellipse(near, v, (0.0, 0.4), (0.03, 0.09), px)
    painting = blend(painting, _flat(DARK, grain), xp.maximum(pupil, xp.maximum(mouth, stem) * 0.8))
    nose = _half(near * 0.9 + v - 0.42, px) * _half(0.26 - v, px)
    dark = draw.chance(0.35)
    painting = blend(painting, _flat(PINK, grain) * (1.0 - 0.8 * dark) * 0.92, nose)
    glint = _ellipse(eyed, rise, (apart - 0.07, -0.07), (0.055, 0.055), px)
    painting = blend(painting, _flat(WHITE, grain) * draw.chance(0.6), _whiskers(draw, near, v, px) * 0.7)
    return blend(painting, _flat(WHITE, grain), glint)


def _pointed_ears(draw: _Draws, head: _Head) -> tuple[Array, Array]:
    """Triangles on top of the head, and the pink triangles inside."""
    xp, px = namespace(head.u), head.pixels
    side, v = xp.abs(head.u + 0.25 * head.yaw), head.v
    tip, top = draw.between(0.66, 0.86), draw.between(-1.4, -1.15)
    across, down = side - tip, v - top
    outer = (across * (-0.2 - top) - down * (1.0 - tip)) * 1.05
    inner = (down * (0.1 - tip) - across * (-0.7 - top)) * 1.25
    ear = xp.maximum(outer, inner)
    return _half(xp.maximum(ear, v + 0.2), px), _half(xp.maximum(ear + 0.14, v + 0.35), px)


def _whiskers(draw: _Draws, near: Array, v: Array, pixels: Array) -> Array:
    """A fan of three on each side: lines at multiples of one angle."""
    xp = namespace(near)
    reach, spread = near + 0.15, draw.between(0.16, 0.26)
    steepness = (v - 0.42 - draw.between(-0.12, 0.12) * near) / reach
    nearest = clamp(xp.round(steepness / spread), -1.0, 1.0) * spread
    line = _clip(0.95 - xp.abs(steepness - nearest) * reach * pixels)
    return line * _clip((near - 0.3) * 6.0) * _clip((draw.between(1.1, 1.4) - near) * 6.0)


def _dog(draw: _Draws, head: _Head, coat: _Coat, painting: Array, grain: Array) -> Array:
    """Hanging ears, a long face, round eyes, a large muzzle and nose, a tongue on some."""
    xp, px, v = namespace(grain), head.pixels, head.v
    long = draw.between(0.92, 1.08)
    jaw = _ellipse(head.at(0.4), v, (0.0, 0.4), (draw.between(0.5, 0.66), 0.66), px)
    face = xp.maximum(_ellipse(head.u, v, (0.0, -0.12), (draw.between(0.78, 0.9), 0.8 * long), px), jaw)
    painting = blend(painting, _furry(draw, head, coat, grain, None), face)
    painting = blend(painting, coat.deep * (1.0 + 0.2 * (grain - 0.5)), _hanging_ears(draw, head))
    near, eyed = xp.abs(head.at(1.0)), xp.abs(head.at(0.5))
    # Tongue, then the muzzle over it.
    tongue = _ellipse(near, v, (0.0, draw.between(0.9, 1.02)), (draw.between(0.13, 0.19), 0.26), px) * draw.chance(0.5)
    painting = blend(painting, _flat(TONGUE, grain), tongue)
    muzzle = xp.maximum(
        _ellipse(near, v, (0.0, 0.36), (draw.between(0.34, 0.46), 0.4), px),
        _ellipse(near, v, (0.2, 0.58), (0.27, 0.24), px),
    )
    painting = blend(painting, coat.pale * (1.08 - 0.25 * v), muzzle)
    brows = _ellipse(eyed, v, (0.36, -0.5), (0.13, 0.09), px) * draw.chance(0.35)
    painting = blend(painting, coat.pale, brows)
    # Eyes: round and dark.
    apart, size = draw.between(0.34, 0.42), draw.between(0.13, 0.17)
    rise = v + 0.2
    white = _ellipse(eyed, rise, (apart, 0.0), (size + 0.05, size + 0.03), px)
    painting = blend(painting, _flat(DARK, grain) + 0.55 * coat.pale * draw.chance(0.3), white)
    painting = blend(painting, draw.one_of(DOG_EYES), _ellipse(eyed, rise, (apart, 0.0), (size, size), px))
    pupil = _ellipse(eyed, rise, (apart, 0.0), (0.6 * size, 0.6 * size), px)
    nose = _ellipse(near, v, (0.0, 0.2), (draw.between(0.18, 0.25), 0.15), px)
    mouth = _mouth(near, v, 0.2, 0.56, 0.58, 1.2, px)
    stem = _ellipse(near, v, (0.0, 0.48), (0.035, 0.18), px)
    painting = blend(painting, _flat(DARK, grain), xp.maximum(xp.maximum(pupil, nose), xp.maximum(mouth, stem) * 0.85))
    glint = _ellipse(eyed, rise, (apart - 0.05, -0.05), (0.05, 0.05), px)
    shine = _ellipse(near, v, (0.0, 0.13), (0.09, 0.035), px) * 0.6
    return blend(painting, _flat(WHITE, grain), xp.maximum(glint, shine))


def _hanging_ears(draw: _Draws, head: _Head) -> Array:
    """Flaps from the upper corners of the head; on some short, and lifted to the side."""
    xp = namespace(head.u)
    side, v = xp.abs(head.u + 0.2 * head.yaw), head.v
    lifted = draw.chance(0.3)
    length, lean = draw.between(0.5, 0.72) - 0.22 * lifted, draw.between(-0.15, 0.3) + 0.35 * lifted
    centre = -0.62 + length * (1.0 - 0.7 * lifted)
    across = side - 0.84 - lean * (v - centre)
    return _ellipse(across, v, (0.0, centre), (draw.between(0.24, 0.33), length), head.pixels)


def _body(draw: _Draws, head: _Head, painting: Array, coat: _Coat) -> Array:
    """Shoulders and chest below the head; on some a collar."""
    px = head.pixels
    bend = head.u - draw.between(-0.25, 0.25) * (head.v - 0.8)
    shoulders = _ellipse(bend, head.v, (0.0, 2.1), (draw.between(0.85, 1.2), 1.65), px)
    painting = blend(painting, coat.fur * 0.85, shoulders)
    painting = blend(
        painting, coat.pale * 0.92, _ellipse(bend, head.v, (0.0, 1.75), (0.45, 0.8), px) * draw.chance(0.5)
    )
    collar = _half(namespace(bend).abs(head.v - 0.98 - 0.12 * bend * bend) - 0.09, px) * shoulders * draw.chance(0.4)
    return blend(painting, draw.hue(), collar)


def _covered(draw: _Draws, x: Array, y: Array, painting: Array, size: int) -> Array:
    """On some, a blanket from a side or a ball in front."""
    xp = namespace(painting)
    kind, angle = draw.between(0.0, 1.0), draw.between(0.0, 2 * math.pi)
    pixels = draw.between(0.9, 1.0) * (size / 2)
    along, across = _turned(x, y, angle)
    folds = 0.06 * xp.cos(across * draw.between(3.0, 8.0))
    blanket = _half(draw.between(0.45, 0.85) - along + folds, pixels) * xp.astype(kind < 0.2, painting.dtype)
    away, radius = draw.between(0.6, 0.95), draw.between(0.15, 0.32)
    q = ((along - away) ** 2 + across**2) / (radius * radius)
    ball = _clip(0.5 + (1.0 - q) * (0.5 * radius * pixels)) * xp.astype(kind > 0.85, painting.dtype)
    colour = draw.hue()
    return blend(painting, colour * (1.1 - 0.25 * q * ball), xp.maximum(blanket, ball))


def _lit(draw: _Draws, x: Array, y: Array, painting: Array) -> Array:
    """Brighter from one side, warmer or cooler."""
    xp = namespace(painting)
    angle, strength, bright = draw.between(0.0, 2 * math.pi), draw.between(0.0, 0.28), draw.between(0.78, 1.08)
    warm = draw.between(-0.08, 0.08)
    tint = xp.stack([bright + warm, bright, bright - warm])
    return painting * tint * (1.0 + strength * _turned(x, y, angle)[0])
