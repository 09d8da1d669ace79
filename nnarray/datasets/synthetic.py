"""Synthetic datasets: two for regression, six for classification.

All take `noise` (a standard deviation), `seed`, `dtype` and `backend`. The values are computed once, in float64 by
NumPy, and then moved to the backend. So one seed gives bitwise the same dataset on every library and device, and a
float32 dataset is the rounded float64 one. The points are not shuffled: `train_test_split` and `Model.fit` do that.
"""

from __future__ import annotations

import math

from nnarray import backends, random
from nnarray.arguments import explained
from nnarray.backends import Backend
from nnarray.checks import integer, real
from nnarray.datasets.dtypes import floating
from nnarray.typing import Array

# --- Curves -------------------------------------------------------------------------------------------------


@explained
def line(
    n: int = 100,
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
    noise: float = 0.1,
    seed: int = 0,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> tuple[Array, Array]:
    """Points near a line:  y = slope x + intercept + noise e,  e standard normal.

    Parameters
    ----------
    n : int
        The number of points; x is the regular grid 0, 1/(n-1), ..., 1.
    slope, intercept : float
        Slope and intercept of the line; the intercept is in units of y.
    noise : float
        Standard deviation of the noise, in units of y; 0 for none.
    seed : int
        The seed of the noise.
    dtype : str, optional
        A real floating dtype; the default of the device if None.
    backend : str or Backend, optional
        The backend of the arrays, as for `nn.backend`.

    Returns
    -------
    X : array, shape (n, 1), `dtype`
    y : array, shape (n, 1), `dtype`
        As a column, like the outputs of a layer with one unit.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type, is out of range, or does not fit into `dtype`.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.line(3, slope=2, noise=0)
    >>> y
    array([[0.], [1.], [2.]])
    """
    slope = real(slope, "slope", usual=1)
    intercept = real(intercept, "intercept", usual=0)
    x = _grid(integer(n, "n", 1, usual=100))
    return _curve(x, slope * x + intercept, noise, random.Key(seed).fold("line"), dtype, backend)


@explained
def sine(
    n: int = 100,
    *,
    periods: float = 1.0,
    noise: float = 0.1,
    seed: int = 0,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> tuple[Array, Array]:
    """Points near a sine wave:  y = sin(2 pi periods x) + noise e,  e standard normal.

    Parameters
    ----------
    n : int
        The number of points; x is the regular grid 0, 1/(n-1), ..., 1.
    periods : float
        The number of periods between x = 0 and x = 1.
    noise : float
        Standard deviation of the noise, in units of y (the wave's amplitude is 1); 0 for none.
    seed, dtype, backend
        As for `line`.

    Returns
    -------
    X : array, shape (n, 1), `dtype`
    y : array, shape (n, 1), `dtype`

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range.

    References
    ----------
    .. [1] Bishop (2006), Pattern Recognition and Machine Learning, section 1.1 (with noise=0.3).

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.sine(5, noise=0)
    >>> print(y[:2, 0])
    [0. 1.]
    """
    periods = real(periods, "periods", usual=1)
    x = _grid(integer(n, "n", 1, usual=100))
    wave = _host().xp.sin(2 * math.pi * periods * x)
    return _curve(x, wave, noise, random.Key(seed).fold("sine"), dtype, backend)


# --- Classes ------------------------------------------------------------------------------------------------


@explained
def moons(
    n: int = 200,
    *,
    noise: float = 0.1,
    seed: int = 0,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> tuple[Array, Array]:
    """Two interleaved half circles:  (cos t, sin t)  and  (1 - cos t, 1/2 - sin t),  0 <= t <= pi.

    Parameters
    ----------
    n : int
        The number of points: n // 2 on the upper moon (class 0), then the rest on the lower one (class 1).
    noise : float
        Standard deviation of the normal noise on each coordinate, in its units (the radius is 1); 0 for none.
    seed : int
        The seed of the noise.
    dtype : str, optional
        A real floating dtype for X; the default of the device if None.
    backend : str or Backend, optional
        The backend of the arrays, as for `nn.backend`.

    Returns
    -------
    X : array, shape (n, 2), `dtype`
    y : array, shape (n,), int64 (the default integer dtype if the device has no int64)
        The class of each point, 0 or 1.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range.

    Notes
    -----
    Without noise these are the points of scikit-learn's `make_moons(n, shuffle=False)`, in its order.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(4, noise=0)
    >>> print(X.round(1), y)
    [[ 1. 0. ] [-1. 0. ] [ 0. 0.5] [ 2. 0.5]] [0 0 1 1]
    """
    upper, lower = _class_sizes(integer(n, "n", 1, usual=100), 2)
    xp = _host().xp
    t, s = math.pi * _grid(upper), math.pi * _grid(lower)
    outer = xp.concat((xp.cos(t), xp.sin(t)), axis=1)
    inner = xp.concat((1.0 - xp.cos(s), 0.5 - xp.sin(s)), axis=1)
    points = xp.concat((outer, inner))
    return _classes(points, _labels([upper, lower]), noise, random.Key(seed).fold("moons"), dtype, backend)


@explained
def circles(
    n: int = 200,
    *,
    factor: float = 0.8,
    noise: float = 0.05,
    seed: int = 0,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> tuple[Array, Array]:
    """A circle within a circle:  (cos t, sin t)  and  factor (cos t, sin t),  0 <= t < 2 pi.

    Parameters
    ----------
    n : int
        The number of points: n // 2 on the outer circle (class 0), then the rest on the inner one (class 1).
    factor : float
        Radius of the inner circle, 0 <= factor < 1; that of the outer one is 1.
    noise, seed, dtype, backend
        As for `moons`.

    Returns
    -------
    X : array, shape (n, 2), `dtype`
    y : array, shape (n,), int64 (the default integer dtype if the device has no int64)

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range.

    Notes
    -----
    Without noise these are the points of scikit-learn's `make_circles(n, shuffle=False)`, in its order.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.circles(2, factor=0.5, noise=0)
    >>> X
    array([[1. , 0. ], [0.5, 0. ]])
    """
    factor = real(factor, "factor", least=0, below=1, usual=0.8)
    sizes = _class_sizes(integer(n, "n", 1, usual=100), 2)
    xp = _host().xp
    outer, inner = (2 * math.pi * _grid(size, closed=False) for size in sizes)
    unit = [xp.concat((xp.cos(t), xp.sin(t)), axis=1) for t in (outer, inner)]
    points = xp.concat((unit[0], factor * unit[1]))
    return _classes(points, _labels(sizes), noise, random.Key(seed).fold("circles"), dtype, backend)


@explained
def spirals(
    n: int = 200,
    *,
    classes: int = 2,
    turns: float = 1.5,
    noise: float = 0.02,
    seed: int = 0,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> tuple[Array, Array]:
    """Interleaved spirals from radius 1 to 1/13:  r (sin a, cos a),  r = 1 - 12 s / 13,  0 <= s <= 1.

    The angle of class k is  a = 2 pi (turns s + k / classes).

    Parameters
    ----------
    n : int
        The number of points, divided equally among the classes; the last classes may have one more.
    classes : int
        The number of spirals, at least 2.
    turns : float
        The number of turns of each spiral around the origin; more are harder. Negative numbers reverse the direction.
    noise, seed, dtype, backend
        As for `moons`; two neighbouring arms are about 12 / (13 turns classes) apart.

    Returns
    -------
    X : array, shape (n, 2), `dtype`
    y : array, shape (n,), int64 (the default integer dtype if the device has no int64)
        0 to classes - 1.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range.

    Notes
    -----
    `spirals(194, turns=3, noise=0)` are the points of the two-spirals benchmark [1]_, divided by 6.5.

    References
    ----------
    .. [1] Lang & Witbrock (1988), Learning to tell two spirals apart. Proceedings of the 1988 Connectionist
       Models Summer School, 52-59.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.spirals(5, noise=0)
    >>> print(X[0, :], y)
    [0. 1.] [0 0 1 1 1]
    """
    classes = integer(classes, "classes", 2, usual=3)
    turns = real(turns, "turns", usual=1.5)
    sizes = _class_sizes(integer(n, "n", 1, usual=100), classes)
    xp = _host().xp
    s = [_grid(size) for size in sizes]
    radius = 1.0 - 12.0 / 13.0 * xp.concat(s)
    angle = 2 * math.pi * xp.concat([turns * part + k / classes for k, part in enumerate(s)])
    points = radius * xp.concat((xp.sin(angle), xp.cos(angle)), axis=1)
    return _classes(points, _labels(sizes), noise, random.Key(seed).fold("spirals"), dtype, backend)


@explained
def blobs(
    n: int = 200,
    *,
    classes: int = 3,
    noise: float = 0.2,
    seed: int = 0,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> tuple[Array, Array]:
    """Round normal clouds around points of the unit circle:  (cos a, sin a) + noise e,  a = 2 pi k / classes.

    Parameters
    ----------
    n : int
        The number of points, divided equally among the classes; the last classes may have one more.
    classes : int
        The number of clouds, at least 2. Neighbouring centres are 2 sin(pi / classes) apart.
    noise, seed, dtype, backend
        As for `moons`; the noise is the size of the clouds.

    Returns
    -------
    X : array, shape (n, 2), `dtype`
    y : array, shape (n,), int64 (the default integer dtype if the device has no int64)
        0 to classes - 1.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.blobs(6)
    >>> print(y)
    [0 0 1 1 2 2]
    """
    classes = integer(classes, "classes", 2, usual=3)
    y = _labels(_class_sizes(integer(n, "n", 1, usual=100), classes))
    xp = _host().xp
    angle = 2 * math.pi / classes * xp.astype(y, xp.float64)
    centres = xp.stack((xp.cos(angle), xp.sin(angle)), axis=1)
    return _classes(centres, y, noise, random.Key(seed).fold("blobs"), dtype, backend)


@explained
def xor(
    n: int = 200,
    *,
    noise: float = 0.1,
    seed: int = 0,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> tuple[Array, Array]:
    """Normal clouds around (0, 0), (0, 1), (1, 0), (1, 1), with the class  y = x1 xor x2  of their centre.

    Parameters
    ----------
    n : int
        The number of points, with the four centres in turn, so that `xor(4, noise=0)` is the truth table.
    noise, seed, dtype, backend
        As for `moons`; the noise is the size of the clouds.

    Returns
    -------
    X : array, shape (n, 2), `dtype`
    y : array, shape (n,), int64 (the default integer dtype if the device has no int64)

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range.

    References
    ----------
    .. [1] Rumelhart, Hinton & Williams (1986), Learning internal representations by error propagation. In:
       Parallel Distributed Processing, volume 1, chapter 8. MIT Press.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.xor(4, noise=0)
    >>> X, y
    (array([[0., 0.], [0., 1.], [1., 0.], [1., 1.]]), array([0, 1, 1, 0]))
    """
    host = _host()
    xp = host.xp
    turn = xp.arange(integer(n, "n", 1, usual=100), dtype=xp.int64, device=host.device)
    x1, x2 = turn // 2 % 2, turn % 2
    corners = xp.astype(xp.stack((x1, x2), axis=1), xp.float64)
    return _classes(corners, x1 ^ x2, noise, random.Key(seed).fold("xor"), dtype, backend)


@explained
def checkerboard(
    n: int = 200,
    *,
    cells: int = 4,
    noise: float = 0.0,
    seed: int = 0,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> tuple[Array, Array]:
    """Points in the unit square, with the colour of their field of a chessboard: y = (floor(c x1) + floor(c x2)) mod 2.

    Parameters
    ----------
    n : int
        The number of points, drawn uniformly from [0, 1) x [0, 1) in random order.
    cells : int
        The number of fields along each side, c, at least 2.
    noise, seed, dtype, backend
        As for `moons`. The noise moves the points after they get their class; the sides have length 1.

    Returns
    -------
    X : array, shape (n, 2), `dtype`
    y : array, shape (n,), int64 (the default integer dtype if the device has no int64)

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range.

    References
    ----------
    .. [1] Ho & Kleinberg (1996), Building projectable classifiers of arbitrary complexity. ICPR.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.checkerboard(100, cells=2)
    >>> X.shape, y.shape
    ((100, 2), (100,))
    """
    n, cells = integer(n, "n", 1, usual=100), integer(cells, "cells", 2, usual=4)
    key, host = random.Key(seed).fold("checkerboard"), _host()
    xp = host.xp
    points = random.uniform(key.fold("points"), (n, 2), xp=xp, device=host.device, dtype=xp.float64)
    y = xp.sum(xp.astype(xp.floor(cells * points), xp.int64), axis=1) % 2
    return _classes(points, y, noise, key, dtype, backend)


# --- Common steps -------------------------------------------------------------------------------------------


def _host() -> Backend:
    """The host, on which everything is computed, so that every backend gets the same numbers."""
    return backends.host_backend()


def _grid(n: int, *, closed: bool = True) -> Array:
    """A column of n evenly spaced numbers from 0 to 1, shape (n, 1); an open grid leaves out the 1."""
    host = _host()
    xp = host.xp
    points = xp.linspace(0.0, 1.0, n, dtype=xp.float64, device=host.device, endpoint=closed)
    return xp.reshape(points, (n, 1))


def _class_sizes(n: int, classes: int) -> list[int]:
    """The sizes of the classes, with the sum n; the last ones may be larger by one."""
    return [(n + k) // classes for k in range(classes)]


def _labels(sizes: list[int]) -> Array:
    """0 as often as the first size says, 1 as often as the second, and so on: shape (n,), int64."""
    host = _host()
    xp = host.xp
    return xp.concat([xp.full((m,), k, dtype=xp.int64, device=host.device) for k, m in enumerate(sizes)])


def _curve(
    x: Array, y: Array, noise: float, key: random.Key, dtype: object, backend: str | Backend | None
) -> tuple[Array, Array]:
    """The curve with noise on y, on the user's backend."""
    be = backends.backend(backend)
    return _rounded(x, dtype, be), _rounded(_noisy(y, noise, key), dtype, be)


def _classes(
    points: Array, y: Array, noise: float, key: random.Key, dtype: object, backend: str | Backend | None
) -> tuple[Array, Array]:
    """The points with noise on each coordinate, and their labels, on the user's backend."""
    be = backends.backend(backend)
    return _rounded(_noisy(points, noise, key), dtype, be), be.asarray(y)


def _noisy(x: Array, noise: float, key: random.Key) -> Array:
    noise = real(noise, "noise", least=0, usual=0)
    host = _host()
    options = {"xp": host.xp, "device": host.device, "dtype": host.xp.float64}
    return x + noise * random.normal(key.fold("noise"), x.shape, **options)


def _rounded(x: Array, dtype: object, be: Backend) -> Array:
    """The float64 numbers of the host in `dtype`; refused if one would become infinite."""
    wanted = floating(dtype, be)
    xp = _host().xp
    largest = float(xp.max(xp.abs(x)))
    if not largest <= float(be.xp.finfo(wanted).max):
        raise ValueError(
            f"a coordinate of {largest:g} does not fit into {wanted}; use smaller numbers or a wider dtype."
        )
    return be.asarray(x, wanted)
