"""Preparation of data for training: split, standardise, batch. Everything is computed on the device of the data."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from numbers import Integral
from typing import Any, overload

from nnarray import backends, random
from nnarray.arguments import explained
from nnarray.backends import Backend, as_data, device_of, is_traced, namespace, same_place
from nnarray.checks import integer, real, refuse_non_finite
from nnarray.datasets.sources import Source, as_source, parts_of
from nnarray.kernels.compilation import quiet
from nnarray.kernels.loops import read
from nnarray.recording import Traced, stripped
from nnarray.typing import Array, DType, Inputs, Shape

log = logging.getLogger("nnarray")

ROUNDINGS = 4.0  # a column is constant up to rounding if max - min is at most this many roundings

# --- Splitting ----------------------------------------------------------------------------------------------


@explained
def train_test_split(*arrays: Inputs, test_size: float | int = 0.25, seed: int = 0) -> tuple[Any, ...]:
    """Split the rows of all arrays, in one random order, into training data and test data.

    With the random order p of the n rows, t of which are test data:  test = p[:t],  train = p[t:].

    Parameters
    ----------
    *arrays : arrays, shape (n, ...), or mappings of str to such
        At least one array. All have the same library, device and number of rows.
    test_size : float or int
        The fraction of the rows, 0 < test_size < 1, rounded up to whole rows; or an integer, the number of rows.
    seed : int
        The seed of the order, which is the same on every backend.

    Returns
    -------
    tuple of arrays
        The training and the test part of the first array, then of the second, and so on; of a mapping, mappings. They
        are copies, with the dtypes and the device of the arrays.

    Raises
    ------
    TypeError
        If no array is given, an argument is not an array, or the libraries differ.
    ValueError
        If the numbers of rows or the devices differ, or a part would be empty.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200)
    >>> X_train, X_test, y_train, y_test = nn.datasets.train_test_split(X, y, test_size=0.2)
    >>> X_train.shape, y_test.shape
    ((160, 2), (40,))
    """
    if not arrays:
        raise TypeError("train_test_split needs at least one array; call it as train_test_split(X, y).")
    if isinstance(arrays[-1], int | float):
        raise TypeError(f"train_test_split takes only arrays by position; write test_size={arrays[-1]!r}.")
    data = _arrays_in(dict(enumerate(arrays)), "arrays")
    xp = same_place(**data)
    n = _common_rows(data)
    count = _test_rows(n, test_size)
    first = next(iter(data.values()))
    order = random.permutation(random.Key(seed).fold("split"), n, xp=xp, device=device_of(first))
    parts = (order[count:], order[:count])
    return tuple(_taken(x, partial(_part, slice(None), part)) for x in arrays for part in parts)


def _test_rows(n: int, test_size: float | int) -> int:
    """The number of test rows, out of n."""
    if isinstance(test_size, Integral):
        count = integer(test_size, "test_size", 1, usual=1)
    else:
        count = math.ceil(n * real(test_size, "test_size", least=0, below=1, usual=0.25))
    if not 0 < count < n:
        raise ValueError(
            f"test_size={test_size!r} of {n} rows gives {n - count} rows for training and {count} for the test; "
            f"each part needs at least one. Use another test_size, or more data."
        )
    return count


# --- Standardising ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standardizer:
    """z = (x - mean) / scale, with the mean and the standard deviation of the columns of the training data.

    It is made by `Standardizer.fit(X_train)`. Keep it to transform new data in the same way as the training data.

    Attributes
    ----------
    mean, scale : array, shape of one example, float64 if the device has it, else float32
        In units of the data. The scale of a constant column is 1, so that the column becomes 0. The same holds for a
        column that is constant up to rounding, max - min <= 4 eps max |x|, with eps of the dtype of the data; the log
        names such columns. (If 4 eps max |x| is above 1, it is the scale: then all entries become less than 1.)

    Examples
    --------
    >>> import nnarray as nn
    >>> X, _ = nn.datasets.moons(200)
    >>> scaler = nn.datasets.Standardizer.fit(X)
    >>> Z = scaler.transform(X)
    >>> bool(abs(scaler.inverse_transform(Z) - X).max() < 1e-12)
    True
    """

    mean: Array
    scale: Array

    @classmethod
    def fit(cls, train: Array | Source) -> Standardizer:
        """Compute the mean and the standard deviation (divided by n, not n - 1) over axis 0.

        Parameters
        ----------
        train : array or Source, shape (n, ...), real
            At least one row, of finite values. Waits for the device once, to check this. A source or a mapped file is
            read twice, in parts.

        Raises
        ------
        TypeError
            If `train` is not an array of real numbers.
        ValueError
            If it has no rows, contains NaN or infinity, or max - min of a column overflows; the message says where.

        Notes
        -----
        The columns are first mapped to u = (x - min) / (max - min), and the mean and the deviation of u are mapped
        back. So squares neither overflow nor underflow in any unit, and constant columns are found exactly.
        """
        source = as_source(train)
        return cls._of(partial(_parts_of, source)) if source is not None else cls._of(lambda: [_rows(train, "train")])

    @classmethod
    def _of(cls, parts: Callable[[], Iterable[Array]]) -> Standardizer:
        """Of rows that are read part by part, each time that `parts` is called."""
        first = next(iter(parts()))
        digits = first if _is_floating(first) else _precise(first)

        def precise(begin: int = 0) -> Iterator[Array]:
            for part in map(_precise, parts()):
                if not is_traced(part):
                    refuse_non_finite(part, "train" if begin == 0 else f"train, from row {begin} on,")
                begin += part.shape[0]
                yield part

        mean, scale, rounded = _centred(precise, float(namespace(digits).finfo(digits.dtype).eps))
        if not is_traced(rounded):
            _warn_of_rounded(rounded)
        return cls(mean, scale)

    @overload
    def transform(self, x: Source) -> Source: ...
    @overload
    def transform(self, x: Array) -> Array: ...
    def transform(self, x: Array | Source) -> Array | Source:
        """The standardised `x`, shape (n, ...): in the dtype of `x`, or the default float dtype if `x` has integers.

        A source gives a source, whose rows are standardised when they are read.

        Raises
        ------
        TypeError, ValueError
            If `x` is not on the device of the training data, or its examples have another shape.
        """
        source = as_source(x)
        if source is not None:
            return Standardized(source, self)
        x = self._checked(x)
        return namespace(x).astype((_precise(x) - self.mean) / self.scale, _floating(x))

    def inverse_transform(self, z: Array) -> Array:
        """The data in their original units, x = mean + scale z; the dtype is as in `transform`.

        Raises
        ------
        TypeError, ValueError
            If `z` is not on the device of the training data, or its examples have another shape.
        """
        z = self._checked(z)
        return namespace(z).astype(_precise(z) * self.scale + self.mean, _floating(z))

    def to_json(self) -> dict[str, Any]:
        """The mean and the scale as JSON values, for the metadata of a model.

        Examples
        --------
        >>> import nnarray as nn
        >>> X, y = nn.datasets.moons(200)
        >>> scaler = nn.datasets.Standardizer.fit(X)
        >>> model = nn.Network(nn.Dense(2)).init((2,))
        >>> model.metadata["scaler"] = scaler.to_json()
        >>> again = nn.datasets.Standardizer.from_json(model.metadata["scaler"])
        >>> bool((again.transform(X) == scaler.transform(X)).all())
        True
        """
        mean, scale = (read(namespace(each).reshape(each, (-1,))) for each in (self.mean, self.scale))
        return {"mean": mean, "scale": scale, "shape": [*self.mean.shape]}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any], *, backend: str | Backend | None = None) -> Standardizer:
        """A standardizer from what `to_json` returned.

        Parameters
        ----------
        kept : mapping
        backend : str or Backend, optional
            The backend of the data that it transforms, as for `nn.backend`.

        Raises
        ------
        ValueError
            If these are not the mean and the scale of a standardizer.
        """
        be = backends.backend(backend)
        dtype = "float64" if "float64" in be.dtypes else "float32"
        try:
            mean, scale = (be.asarray(kept[name], dtype=dtype) for name in ("mean", "scale"))
            shape = tuple(integer(size, "shape", 0, usual=1) for size in kept["shape"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"a standardizer has the lists 'mean', 'scale' and 'shape', as to_json gives them; {error}."
            ) from error
        refuse_non_finite(mean, "mean")
        refuse_non_finite(scale, "scale")
        size = (math.prod(shape),)
        if (mean.shape, scale.shape) != (size, size) or not bool(be.xp.all(scale > 0)):
            raise ValueError(
                f"mean and scale must have {size[0]} entries, and each scale be above 0. Take them from to_json."
            )
        return cls(be.xp.reshape(mean, shape), be.xp.reshape(scale, shape))

    def _checked(self, x: Any, name: str = "x") -> Array:
        values = as_data(stripped(x), name)
        same_place(**{name: values, "the training data": self.mean})
        x = x if isinstance(x, Traced) else values  # in a function that is differentiated, a record
        if x.ndim == 0 or tuple(x.shape[1:]) != tuple(self.mean.shape):
            shape = ", ".join(["n", *map(str, self.mean.shape)])
            single = (
                f" For a single example, pass {name}[None, ...]." if tuple(x.shape) == tuple(self.mean.shape) else ""
            )
            column = f" For one feature, pass {name}[:, None]." if x.ndim == 1 and self.mean.shape == (1,) else ""
            raise ValueError(
                f"{name} must have shape ({shape}), as the training data; got {tuple(x.shape)}.{single or column}"
            )
        return x


@dataclass(frozen=True)
class Standardized(Source):
    """The rows of a source, standardised when they are read."""

    source: Source
    scaler: Standardizer

    @property
    def shape(self) -> Shape:
        """The shape of all examples together."""
        return tuple(self.source.shape)

    def rows(self, indices: Any) -> Array:
        """The standardised examples at `indices`."""
        return self.scaler.transform(as_data(self.source.rows(indices), "rows"))


def _parts_of(source: Source) -> Iterator[Array]:
    """The rows of a source, part by part."""
    if len(source) == 0:
        raise ValueError(f"train must have at least one row on axis 0; got shape {tuple(source.shape)}.")
    for part in parts_of(len(source), 8 * math.prod(source.shape[1:])):
        yield as_data(source.rows(part), "train")


@overload
def standardize(train: Array, /) -> Array: ...
@overload
def standardize(train: Array, other: Array, /, *others: Array) -> tuple[Array, ...]: ...
def standardize(train: Array, /, *others: Array) -> Array | tuple[Array, ...]:
    """Standardise the columns of all arrays:  z = (x - mean(train)) / std(train).

    Mean and deviation come from `train` only, so that no information of the test data leaks into training.
    `Standardizer` keeps them for later use.

    Parameters
    ----------
    train : array, shape (n, ...), real, finite
        The training data. Mean and standard deviation (divided by n) are taken over axis 0.
    *others : arrays, shape (m, ...), real
        Further data with the same columns, in the same library and on the same device.

    Returns
    -------
    array, or tuple of arrays
        One for each argument; for a single argument, the array itself. Each has its own dtype, or the default float
        dtype of the device for integers. A column that is constant in `train` becomes 0 there.

    Raises
    ------
    TypeError
        If an argument is not an array of real numbers, or the libraries differ.
    ValueError
        If `train` is empty or contains NaN or infinity, or shapes or devices differ.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(200)
    >>> X_train, X_test = nn.datasets.train_test_split(X)
    >>> X_train, X_test = nn.datasets.standardize(X_train, X_test)
    >>> print(X_train.std(axis=0).round(3))
    [1. 1.]
    """
    scaler = Standardizer.fit(train)
    rest = [scaler._checked(x, f"others[{i}]") for i, x in enumerate(others)]
    scaled = tuple(scaler.transform(x) for x in (train, *rest))
    return scaled if others else scaled[0]


def _floating(x: Array) -> DType:
    """The dtype of `x` if it is a real floating one, else the default float dtype of its device."""
    return x.dtype if _is_floating(x) else backends.default_float(namespace(x), device_of(x))


def _is_floating(x: Array) -> bool:
    return bool(namespace(x).isdtype(x.dtype, "real floating"))


def _precise(x: Array) -> Array:
    """`x` in float64, or in float32 if the device has no float64: sums need the precision."""
    xp = namespace(x)
    dtypes = backends.backend_of(stripped(x)).dtypes
    return xp.astype(x, xp.float64 if "float64" in dtypes else xp.float32)


def centred(x: Array, eps: float) -> tuple[Array, Array, Array]:
    """The mean of each column, its scale, and whether it is constant up to rounding.

    Parameters
    ----------
    x : array, shape (n, ...), float64 where the device has it, else float32
    eps : float
        The relative rounding error of the data.
    """
    return _centred(lambda: [x], eps)


@quiet  # a span that overflows is reported by an error
def _centred(parts: Callable[[], Iterable[Array]], eps: float) -> tuple[Array, Array, Array]:
    """As `centred`, of rows in parts that are read twice."""
    low, high = _ends(parts())
    xp, span, one = namespace(low), high - low, namespace(low).ones_like(low)
    if not is_traced(low):
        refuse_non_finite(span, "the span of each column, max - min,", "Use another unit.")
    divisor = xp.where(span > 0, span, one)
    mean, deviation = _moments((x - low) / divisor for x in parts())
    rounding = ROUNDINGS * eps * xp.maximum(xp.abs(low), xp.abs(high))
    rounded = (span > 0) & (span <= rounding)
    scale = xp.where(rounded, xp.maximum(rounding, one), divisor * deviation)
    return low + divisor * mean, xp.where(scale > 0, scale, one), rounded


def _ends(parts: Iterable[Array]) -> tuple[Array, Array]:
    """The minimum and the maximum of each column."""
    each = [(namespace(x).min(x, axis=0), namespace(x).max(x, axis=0)) for x in parts]
    xp = namespace(each[0][0])
    lows, highs = zip(*each, strict=True)
    return reduce(xp.minimum, lows), reduce(xp.maximum, highs)


def _moments(parts: Iterable[Array]) -> tuple[Array, Array]:
    """The mean of each column and its standard deviation, of numbers from 0 to 1.

    Those of parts are combined, so that no squares are cancelled [1]_.

    References
    ----------
    .. [1] Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance. The American Statistician 37(3).
    """
    count: int = 0
    mean: Any = 0.0
    square: Any = 0.0
    for u in parts:
        xp, n = namespace(u), u.shape[0]
        own = xp.mean(u, axis=0)
        away, whole = own - mean, count + n
        square = square + xp.sum((u - own) ** 2, axis=0) + away * away * (count * n / whole)
        mean, count = mean + away * (n / whole), whole
    return mean, namespace(square).sqrt(square / count)


def _warn_of_rounded(rounded: Array) -> None:
    """Log the columns that are constant up to rounding. Waits for the device."""
    xp = namespace(rounded)
    flags = xp.reshape(xp.astype(rounded, xp.int32), (-1,))
    if count := int(xp.sum(flags)):
        log.warning(
            "%d of %d columns to standardise are constant up to rounding, the first of them column %d (counted from "
            "0). They are not divided by their deviation. Subtract a constant before rounding, or leave them out.",
            count,
            flags.shape[0],
            int(xp.argmax(flags)),
        )


# --- Batches ------------------------------------------------------------------------------------------------


@explained
def batches(
    X: Inputs,
    y: Array | None = None,
    *,
    batch_size: int = 32,
    seed: int | None = None,
    epoch: int = 0,
    drop_last: bool = False,
) -> Iterator[Any]:
    """One pass over the rows, batch by batch: each row once, in order or shuffled.

    Parameters
    ----------
    X : array, shape (n, ...), or mapping of str to such
    y : array, shape (n, ...), optional
        Targets with the library and device of `X`.
    batch_size : int
        The number of rows in a batch; the last batch may be smaller. If it is above n, there is one batch of all rows.
    seed : int, optional
        The seed of a random order, which is drawn on the device and is the same on every backend. If None, the rows
        are in their own order.
    epoch : int
        The number of the pass. Each pass has its own order.
    drop_last : bool
        Whether to leave out a smaller last batch, so that all shapes are equal.

    Returns
    -------
    iterator
        Over `(X_batch, y_batch)`, or `X_batch` if `y` is None. Shuffled batches are copies. Batches in order are
        views if the library has views.

    Raises
    ------
    TypeError, ValueError
        If the devices or the numbers of rows differ, there are no rows, or a number is out of range. Raised by the
        call, not at the first batch.

    Examples
    --------
    >>> import nnarray as nn
    >>> X, y = nn.datasets.moons(100)
    >>> for epoch in range(2):
    ...     print([len(y_batch) for X_batch, y_batch in nn.datasets.batches(X, y, seed=0, epoch=epoch)])
    [32, 32, 32, 4]
    [32, 32, 32, 4]
    """
    data = _arrays_in(X, "X") if y is None else _arrays_in(X, "X") | {"y": as_data(y, "y")}
    xp = same_place(**data)
    n = _common_rows(data)
    size = min(integer(batch_size, "batch_size", 1, usual=32), n)
    epoch = integer(epoch, "epoch", 0, usual=0)
    order = None
    if seed is not None:
        key = random.Key(seed).fold("batches").fold(epoch)
        order = random.permutation(key, n, xp=xp, device=device_of(next(iter(data.values()))))
    starts = range(0, n - size + 1 if drop_last else n, size)
    slices = [slice(start, min(start + size, n)) for start in starts]
    return _dealt((X,) if y is None else (X, y), order, slices)


def _part(rows: slice, order: Array | None, x: Array) -> Array:
    return x[rows, ...] if order is None else namespace(x).take(x, order[rows], axis=0)


def _dealt(data: tuple[Any, ...], order: Array | None, slices: list[slice]) -> Iterator[Any]:
    for rows in slices:
        batch = tuple(_taken(x, partial(_part, rows, order)) for x in data)
        yield batch if len(data) > 1 else batch[0]


# --- Checks of rows -----------------------------------------------------------------------------------------


def _arrays_in(x: Any, name: str) -> dict[str, Array]:
    """The array, or the arrays of a mapping, by their names in errors."""
    if not isinstance(x, Mapping):
        return {name: as_data(x, name)}
    if not x:
        raise TypeError(f"{name} has no arrays: it is an empty mapping.")
    return {at: array for n, each in x.items() for at, array in _arrays_in(each, f"{name}[{n!r}]").items()}


def _taken(x: Any, part: Callable[[Array], Array]) -> Any:
    """Some rows of an array, or of the arrays of a mapping."""
    return {n: _taken(each, part) for n, each in x.items()} if isinstance(x, Mapping) else part(as_data(x, "x"))


def _rows(x: Any, name: str) -> Array:
    """`x` as data with at least one row."""
    x = as_data(x, name)
    if x.ndim == 0 or x.shape[0] == 0:
        raise ValueError(f"{name} must have at least one row on axis 0; got shape {tuple(x.shape)}.")
    return x


def _common_rows(data: dict[str, Array]) -> int:
    """The number of rows that all arrays have."""
    (first, x), *others = ((name, _rows(x, name)) for name, x in data.items())
    for name, other in others:
        if other.shape[0] != x.shape[0]:
            raise ValueError(
                f"{first} and {name} must have the same number of rows; got shapes {tuple(x.shape)} and "
                f"{tuple(other.shape)}. Do their rows belong together?"
            )
    return x.shape[0]
