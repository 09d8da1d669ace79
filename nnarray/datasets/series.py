"""Time series: made ones, and windows over any series, for networks that predict what follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nnarray import backends, random
from nnarray.arguments import explained
from nnarray.backends import Backend, device_of, namespace
from nnarray.checks import integer, real
from nnarray.datasets.dtypes import floating
from nnarray.datasets.sources import Source
from nnarray.names import shown
from nnarray.typing import Array, Shape


@explained
def series(
    n: int = 1000,
    *,
    periods: Sequence[float] = (24, 168),
    amplitudes: Sequence[float] = (1.0, 0.5),
    trend: float = 0.001,
    noise: float = 0.1,
    seed: int = 0,
    dtype: object = None,
    backend: str | Backend | None = None,
) -> Array:
    """A series of seasons, a trend and noise:  x_t = trend t + sum over k of a_k sin(2 pi t / p_k + phi_k) + noise e_t.

    The phases phi and the noise e, which is standard normal, follow from the seed.

    Parameters
    ----------
    n : int
        The number of positions t = 0, 1, ...
    periods, amplitudes : sequence of float
        p and a of each season, in positions and in units of x. The usual ones are a day and a week of hours.
    trend : float
        The increase from one position to the next, in units of x.
    noise : float
        Standard deviation of the noise, in units of x; 0 for none.
    seed, dtype, backend
        As for `line`.

    Returns
    -------
    array, shape (n, 1), `dtype`
        Positions in the order of time, and one feature.

    Raises
    ------
    TypeError, ValueError
        If a number has the wrong type or is out of range, or there is not an amplitude for each period.

    Examples
    --------
    >>> import nnarray as nn
    >>> x = nn.datasets.series(500, noise=0.2, seed=1)
    >>> X, y = nn.datasets.windows(x, 48)
    >>> X.shape, y.shape
    ((452, 48, 1), (452, 1))
    """
    count, host, key = integer(n, "n", 1, usual=1000), backends.host_backend(), random.Key(seed).fold("series")
    if len(periods) != len(amplitudes):
        raise ValueError(
            f"each period needs an amplitude; got {len(periods)} periods and {len(amplitudes)} amplitudes."
        )
    xp, where = host.xp, {"xp": host.xp, "device": host.device, "dtype": host.xp.float64}
    t = xp.arange(count, dtype=xp.float64, device=host.device)
    x = real(trend, "trend", usual=0.001) * t
    phases = 2.0 * math.pi * random.uniform(key.fold("phases"), (len(periods),), **where)
    for k, (period, amplitude) in enumerate(zip(periods, amplitudes, strict=True)):
        length = real(period, "each of periods", least=1.0, usual=24)
        x = x + real(amplitude, "each of amplitudes", usual=1.0) * xp.sin(2.0 * math.pi * t / length + phases[k])
    x = x + real(noise, "noise", least=0, usual=0.1) * random.normal(key.fold("noise"), (count,), **where)
    be = backends.backend(backend)
    return be.asarray(x[:, None], floating(dtype, be))


class Windows(Source):
    """Windows of a series as examples, which are cut out batch by batch; `windows` makes them.

    Attributes
    ----------
    series : array, shape (count, ...)
    length : int
        The number of positions in a window.
    stride : int
        From the beginning of a window to that of the next one.
    count : int
        The number of windows.
    """

    def __init__(self, series: Array, length: int, stride: int, count: int) -> None:
        self.series, self.length, self.stride, self.count = series, length, stride, count

    def __repr__(self) -> str:
        return f"Windows({self.count} windows of {self.length} positions, of {self.series.shape[0]})"

    @property
    def shape(self) -> Shape:
        """(windows, length, ...)."""
        return (self.count, self.length, *self.series.shape[1:])

    def rows(self, indices: Any) -> Array:
        """The windows at `indices`, in the library and on the device of the series."""
        xp, device = namespace(self.series), device_of(self.series)
        numbers = range(self.count)[indices] if isinstance(indices, slice) else indices
        if isinstance(numbers, range):
            numbers = xp.arange(numbers.start, numbers.stop, numbers.step, device=device)
        first = xp.asarray(numbers, device=device) * self.stride
        at = first[:, None] + xp.arange(self.length, dtype=first.dtype, device=device)[None, :]
        taken = xp.take(self.series, xp.reshape(at, (-1,)), axis=0)
        return xp.reshape(taken, (first.shape[0], self.length, *self.series.shape[1:]))


@explained
def windows(series: Array, length: int, *, ahead: int = 1, stride: int = 1) -> tuple[Windows, Array]:
    """Windows of a series, and for each the value that follows: the examples of a forecast.

    x_n = (s_i, ..., s_(i + length - 1)) and y_n = s_(i + length - 1 + ahead), with i = n stride. Neither is a copy of
    the series: windows that overlap would need `length` times its memory.

    Parameters
    ----------
    series : array, shape (count, features), or (count,)
        In the order of time. With shape (count,), it has one feature.
    length : int
        The number of positions in a window.
    ahead : int
        How many positions after the window the target lies.
    stride : int
        From the beginning of a window to that of the next one.

    Returns
    -------
    X : Windows
        A `Source` of shape (N, length, features), for `fit`, `predict` and `evaluate`.
    y : array, shape (N, features)

    Raises
    ------
    TypeError
        If series is not an array of the standard.
    ValueError
        If it is too short for a window and its target, or has another number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> import nnarray as nn
    >>> X, y = nn.datasets.windows(np.arange(6.0), 3)
    >>> X.rows(slice(0, 2))[..., 0].tolist(), y[:, 0].tolist()
    ([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]], [3.0, 4.0, 5.0])
    """
    _ = namespace(series)  # an error, if it is not an array
    if series.ndim not in (1, 2):
        raise ValueError(
            f"series must have shape (count, features), or (count,) for one feature; got {tuple(series.shape)}. Pass "
            f"one series at a time."
        )
    row = series[:, None] if series.ndim == 1 else series
    size, step = integer(length, "length", 1, usual=24), integer(stride, "stride", 1, usual=1)
    last = size - 1 + integer(ahead, "ahead", 1, usual=1)
    if row.shape[0] <= last:
        raise ValueError(
            f"a window of {size} positions and a target {ahead} ahead need at least {last + 1} positions; got "
            f"{shown(row.shape[0])}. Pass a longer series, or a smaller length."
        )
    y = row[last::step, :]
    return Windows(row, size, step, y.shape[0]), y
