"""Data augmentation: random changes of images that keep their class, so that few images train like many.

Everything is computed on the device of the images, in arrays of fixed shapes. The random numbers are bitwise the same
on every backend, and the images up to rounding. Image i of a batch gets the same numbers for every batch size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnarray import random
from nnarray.backends import as_data, device_of, is_read_at_once, namespace
from nnarray.checks import integer, numbers_of_python, real
from nnarray.names import shown
from nnarray.random import Key
from nnarray.typing import Array, Shape

# --- All at once --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Augment:
    """Flip, rotate, shift and recolour, in this order: `Augment()(x, key)`.

    Parameters
    ----------
    flip : bool
        Whether to mirror images, left to right, with probability 1/2. Not for images with a reading direction, such as
        digits.
    shift : int
        The largest shift in each direction, in pixels; 0 for none.
    rotate : float
        The largest angle of rotation either way, in degrees; 0 for none.
    colour : float
        The largest relative change of brightness, contrast and saturation, 0 <= colour < 1; 0 for none. Above 0,
        images must have values from 0 to 1.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range.

    Examples
    --------
    >>> import nnarray as nn
    >>> X = nn.backend("numpy").xp.ones((4, 8, 8, 3))
    >>> change = nn.datasets.Augment(flip=False, colour=0)
    >>> change(X, nn.Key(0)).shape
    (4, 8, 8, 3)
    """

    flip: bool = True
    shift: int = 2
    rotate: float = 10.0
    colour: float = 0.2

    def __post_init__(self) -> None:
        numbers_of_python(self)
        _pixels(self.shift, "shift")
        _degrees(self.rotate, "rotate")
        _strength(self.colour, "colour")

    def __call__(self, x: Array, key: Key) -> Array:
        """The images `x`, shape (batch, height, width, channels), changed by the draws of `key`; see `augment`."""
        if not isinstance(key, Key):
            raise TypeError(f"augmentation draws from a key; got {shown(key)}. Pass nn.Key(0), or another seed.")
        x = flip(x, key.fold("flip"), 0.5 if self.flip else 0.0)
        x = rotate(x, key.fold("rotate"), self.rotate)
        x = shift(x, key.fold("shift"), self.shift)
        return colour(x, key.fold("colour"), self.colour, self.colour, self.colour)

    def check(self, x: Array, name: str = "x") -> None:
        """Refuse images outside of 0 to 1 if `colour` is on. Waits for the device; `fit` calls it before training.

        Raises
        ------
        ValueError
            If there is such an image.
        """
        if self.colour:
            _refuse_other_range(x, name)


def augment(
    x: Array,
    *,
    key: Key | None = None,
    seed: int | None = None,
    epoch: int = 0,
    flip: bool = True,
    shift: int = 2,
    rotate: float = 10.0,
    colour: float = 0.2,
) -> Array:
    """Each image flipped, rotated, shifted and recoloured at random.

    Parameters
    ----------
    x : array, shape (batch, height, width, channels), real floating
        Images; with `colour`, of 1 or 3 channels and with values from 0 to 1.
    key : Key, optional
        The key of the draws. In a loop over batches use a new one for each, such as
        `nn.Key(0).fold(epoch).fold(i)`: with the same key, image i of every batch is changed in the same way.
    seed, epoch : int, optional
        Instead of a key, for the whole dataset at once. Each epoch has its own draws.
    flip, shift, rotate, colour
        As in `Augment`.

    Returns
    -------
    array
        With the shape, dtype and device of `x`, which is not changed. Pixels from outside of the image repeat its edge.

    Raises
    ------
    TypeError
        If `x` is not an array of real floating numbers, or not exactly one of `key` and `seed` is given.
    ValueError
        If `x` has another shape, a number is out of range, or values are not from 0 to 1 with `colour`.

    Examples
    --------
    >>> import nnarray as nn
    >>> X = nn.backend("numpy").xp.ones((4, 8, 8, 3))
    >>> nn.datasets.augment(X, seed=0, epoch=3).shape
    (4, 8, 8, 3)
    """
    if (key is None) == (seed is None):
        raise TypeError("augment needs either key or seed: augment(x, seed=0, epoch=epoch), or augment(x, key=key).")
    if key is None:
        key = Key(seed).fold("augment").fold(integer(epoch, "epoch", 0, usual=0))
    return Augment(flip, shift, rotate, colour)(x, key)


# --- One by one ---------------------------------------------------------------------------------------------


def flip(x: Array, key: Key, probability: float = 0.5) -> Array:
    """Each image mirrored, left to right, with the given probability.

    Parameters
    ----------
    x : array, shape (batch, height, width, channels), real floating
    key : Key
        The key of the draws. To flip again with the same key undoes it.
    probability : float
        0 <= probability <= 1.

    Returns
    -------
    array
        With the shape, dtype and device of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not an array of images, or the probability is out of range.
    """
    x = _images(x)
    probability = real(probability, "probability", least=0, below=math.nextafter(1, 2), usual=0.5)
    if probability == 0:
        return x
    xp = namespace(x)
    mirrored = random.bernoulli(key, (x.shape[0], 1, 1, 1), probability, xp=xp, device=device_of(x))
    return xp.where(mirrored, xp.flip(x, axis=2), x)


def shift(x: Array, key: Key, pixels: int = 2) -> Array:
    """Each image moved by up to `pixels` whole pixels down or up and right or left; the edges are repeated.

    Parameters
    ----------
    x : array, shape (batch, height, width, channels), real floating
    key : Key
        The key of the draws.
    pixels : int
        The largest shift, at least 0; all shifts from -pixels to pixels are equally likely.

    Returns
    -------
    array
        With the shape, dtype and device of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not an array of images, or the number of pixels is out of range.
    """
    x, pixels = _images(x), _pixels(pixels, "pixels")
    if pixels == 0:
        return x
    _, height, width, _ = x.shape
    down, right = _integers(x, key, (2 * pixels + 1, 2 * pixels + 1))
    return _gathered(x, _range(x, height) + (pixels - down), _range(x, width) + (pixels - right))


def crop(x: Array, key: Key, padding: int = 4, size: int | None = None) -> Array:
    """A random window of each image, after padding with zeros [1]_.

    Parameters
    ----------
    x : array, shape (batch, height, width, channels), real floating
    key : Key
        The key of the draws.
    padding : int
        Rows and columns of zeros on each side, at least 0.
    size : int, optional
        Height and width of the window; those of `x` if None.

    Returns
    -------
    array, shape (batch, size, size, channels)
        With the dtype and device of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not an array of images, a number is out of range, or the window is larger than the padded image.

    References
    ----------
    .. [1] Lee, Xie, Gallagher, Zhang & Tu (2015), Deeply-supervised nets. AISTATS.
    """
    x, padding = _images(x), integer(padding, "padding", 0, usual=4)
    xp, (_, height, width, _) = namespace(x), x.shape
    h, w = (height, width) if size is None else (integer(size, "size", 1, usual=min(height, width)),) * 2
    spare_rows, spare_columns = height + 2 * padding - h, width + 2 * padding - w
    if min(spare_rows, spare_columns) < 0:
        raise ValueError(
            f"size={size} is larger than the images of {height} x {width} with padding={padding} on each side. "
            f"Use a smaller size or more padding."
        )
    top, left = _integers(x, key, (spare_rows + 1, spare_columns + 1))
    rows, columns = _range(x, h) + (top - padding), _range(x, w) + (left - padding)
    inside = _within(rows, height)[:, :, None, None] & _within(columns, width)[:, None, :, None]
    return xp.where(inside, _gathered(x, rows, columns), 0.0)


def rotate(x: Array, key: Key, degrees: float = 10.0) -> Array:
    """Each image rotated about its centre by a random angle from -degrees to degrees; the edges are repeated.

    Parameters
    ----------
    x : array, shape (batch, height, width, channels), real floating
    key : Key
        The key of the draws.
    degrees : float
        0 <= degrees <= 180.

    Returns
    -------
    array
        With the shape, dtype and device of `x`; see `rotated`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not an array of images, or the angle is out of range.
    """
    x, degrees = _images(x), _degrees(degrees, "degrees")
    if degrees == 0:
        return x
    return rotated(x, math.radians(degrees) * (2 * _uniform(x, key, (x.shape[0],)) - 1))


def rotated(x: Array, angle: Array) -> Array:
    """Image i rotated anticlockwise about its centre by `angle[i]`.

    With the centre m, output pixel (r, c) is interpolated bilinearly at the input position
    m + (cos a (r - m_r) + sin a (c - m_c), -sin a (r - m_r) + cos a (c - m_c)). Outside, the edge is repeated.

    Parameters
    ----------
    x : array, shape (batch, height, width, channels), real floating
    angle : array, shape (batch,), real floating
        The angles, in radians.

    Returns
    -------
    array
        With the shape, dtype and device of `x`; its values are within the range of those of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not an array of images.
    """
    x = _images(x)
    xp, (_, height, width, _) = namespace(x), x.shape
    exact = xp.result_type(x.dtype, xp.float32)  # float16 is too coarse for positions
    angle = xp.astype(angle, exact)[:, None, None]
    middle = ((height - 1) / 2, (width - 1) / 2)
    r = (xp.astype(_range(x, height), exact) - middle[0])[:, :, None]
    c = (xp.astype(_range(x, width), exact) - middle[1])[:, None, :]
    cos, sin = xp.cos(angle), xp.sin(angle)
    return _bilinear(x, middle[0] + (cos * r + sin * c), middle[1] + (cos * c - sin * r))


def colour(x: Array, key: Key, brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2) -> Array:
    """Each image with random changes of brightness, contrast and saturation.

    With random factors f from 1 - strength to 1 + strength, in this order:  x <- f x;  x <- m + f (x - m), m the mean
    grey of the image;  x <- g + f (x - g), g the grey of the pixel (0.299 red + 0.587 green + 0.114 blue). Finally,
    values are clipped to 0 and 1.

    Parameters
    ----------
    x : array, shape (batch, height, width, channels), real floating, 0 to 1
        Images of 3 channels, red, green and blue, or of 1 channel, which has no saturation.
    key : Key
        The key of the draws.
    brightness, contrast, saturation : float
        The strengths, 0 <= strength < 1; 0 leaves a change out. If all are 0, the images are those of `x`.

    Returns
    -------
    array
        With the shape, dtype and device of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not an array of images, has other channels, or a strength is out of range; also if values are not from
        0 to 1, unless they cannot be read without waiting for a device.
    """
    x = _images(x)
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    b, c, s = (_strength(value, name) for name, value in strengths.items())
    if b == c == s == 0:
        return x
    if x.shape[3] not in (1, 3):
        raise ValueError(
            f"x must have 1 or 3 channels for changes of colour; got shape {tuple(x.shape)}. Use colour=0."
        )
    if is_read_at_once(x):
        _refuse_other_range(x, "x")
    xp = namespace(x)
    draws = xp.astype(2 * _uniform(x, key, (x.shape[0], 3)) - 1, x.dtype)[:, :, None, None, None]
    if b:
        x = x * (1 + b * draws[:, 0, ...])
    if c:
        x = _away_from(xp.mean(_grey(x), axis=(1, 2, 3), keepdims=True), x, 1 + c * draws[:, 1, ...])
    if s and x.shape[3] == 3:
        x = _away_from(_grey(x), x, 1 + s * draws[:, 2, ...])
    return xp.clip(x, 0.0, 1.0)


# --- Checks -------------------------------------------------------------------------------------------------


def _images(x: Array) -> Array:
    x = as_data(x, "x")
    if not namespace(x).isdtype(x.dtype, "real floating"):
        raise TypeError(f"x must be real floating; got dtype {x.dtype}. Divide bytes by 255 first.")
    if x.ndim != 4 or 0 in x.shape:
        hint = " For images without channels, use x[..., None]." if x.ndim == 3 else ""
        raise ValueError(f"x must have shape (batch, height, width, channels); got {tuple(x.shape)}.{hint}")
    return x


ROUNDING = 0.01  # what interpolation and narrow dtypes may add to values from 0 to 1


def _refuse_other_range(x: Array, name: str) -> None:
    """Refuse images whose values are not from 0 to 1, which would be clipped."""
    xp = namespace(x)
    low, high = float(xp.min(x)), float(xp.max(x))
    if low < -ROUNDING or high > 1 + ROUNDING:
        bytes_ = " Divide bytes by 255." if low >= 0 and high <= 255 else ""
        raise ValueError(
            f"{name} must have values from 0 to 1 for changes of colour, which clip them; got values from {low:g} to "
            f"{high:g}.{bytes_} Scale the images to 0 to 1, or leave their colours: colour=0."
        )


def _pixels(value: int, name: str) -> int:
    return integer(value, name, 0, usual=2)


def _degrees(value: float, name: str) -> float:
    return real(value, name, least=0, below=math.nextafter(180, 181), usual=10)


def _strength(value: float, name: str) -> float:
    return real(value, name, least=0, below=1, usual=0.2)


# --- Random draws -------------------------------------------------------------------------------------------


def _uniform(x: Array, key: Key, shape: Shape) -> Array:
    """Draws in float32, whatever the dtype of `x`, so that they are the same for all dtypes."""
    xp = namespace(x)
    return random.uniform(key, shape, xp=xp, device=device_of(x), dtype=xp.float32)


def _integers(x: Array, key: Key, counts: tuple[int, int]) -> tuple[Array, Array]:
    """Two integers for each image, 0 <= integer < count: columns of shape (batch, 1)."""
    xp, draws = namespace(x), _uniform(x, key, (x.shape[0], 2))
    integers = _range(x, 1).dtype
    first, second = (xp.astype(xp.floor(count * draws[:, i : i + 1]), integers) for i, count in enumerate(counts))
    return first, second


# --- Pixels -------------------------------------------------------------------------------------------------


def _range(x: Array, n: int) -> Array:
    """0, 1, ..., n - 1, in the default integers of the device: shape (1, n)."""
    return namespace(x).arange(n, device=device_of(x))[None, :]


def _within(index: Array, n: int) -> Array:
    return (index >= 0) & (index < n)


def _gathered(x: Array, rows: Array, columns: Array) -> Array:
    """Pixels of each image by their rows (batch, h) and columns (batch, w): shape (batch, h, w, channels)."""
    return _at(x, rows[:, :, None], columns[:, None, :])


def _at(x: Array, rows: Array, columns: Array) -> Array:
    """The pixels at (row, column), of shapes that broadcast to (batch, h, w); outside, the nearest edge pixel."""
    xp, (batch, height, width, channels) = namespace(x), x.shape
    rows, columns = xp.clip(rows, 0, height - 1), xp.clip(columns, 0, width - 1)
    image = xp.reshape(_range(x, batch), (batch, 1, 1))
    index = (image * height + rows) * width + columns
    pixels = xp.take(xp.reshape(x, (-1, channels)), xp.reshape(index, (-1,)), axis=0)
    return xp.reshape(pixels, (*index.shape, channels))


def _bilinear(x: Array, rows: Array, columns: Array) -> Array:
    """The images interpolated at real positions (batch, h, w)."""
    xp, (_, height, width, _) = namespace(x), x.shape
    rows, columns = xp.clip(rows, 0, height - 1), xp.clip(columns, 0, width - 1)
    top, left = xp.floor(rows), xp.floor(columns)
    down, right = (xp.astype(t, x.dtype)[..., None] for t in (rows - top, columns - left))
    r, c = (xp.astype(t, _range(x, 1).dtype) for t in (top, left))
    upper = _between(_at(x, r, c), _at(x, r, c + 1), right)
    lower = _between(_at(x, r + 1, c), _at(x, r + 1, c + 1), right)
    return _between(upper, lower, down)


def _between(a: Array, b: Array, t: Array) -> Array:
    return a + t * (b - a)


def _away_from(grey: Array, x: Array, factor: Array) -> Array:
    return grey + factor * (x - grey)


def _grey(x: Array) -> Array:
    """The brightness of each pixel, one channel: luma with the weights of ITU-R BT.601."""
    if x.shape[3] == 1:
        return x
    return 0.299 * x[..., 0:1] + 0.587 * x[..., 1:2] + 0.114 * x[..., 2:3]
