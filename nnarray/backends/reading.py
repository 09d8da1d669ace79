"""Arrays from lists, data frames and arrays of unknown libraries; data without numbers are refused."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from nnarray.backends.dtypes import dtype_name, refuse_change
from nnarray.backends.registry import namespace
from nnarray.names import shown

DLPACK_CPU = (1, 0)  # the number of the host among DLPack's devices


def read(x: Any) -> np.ndarray:
    """Lists, numbers, data frames and arrays of unknown libraries on the host."""
    refuse_unread(x, "x")
    if hasattr(x, "columns"):
        return _read_frame(x)
    if hasattr(x, "to_numpy"):
        return _column(x)
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return _read_dlpack(x)
    try:
        host = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"cannot make an array of {type(x).__name__}: {error}") from error
    return host


def _read_dlpack(x: Any) -> np.ndarray:
    """An array known through DLPack only: shared if it is on the host, else copied by its own library."""
    where = tuple(map(int, x.__dlpack_device__()))
    try:
        return np.from_dlpack(x) if where == DLPACK_CPU else np.from_dlpack(x, device="cpu")
    except Exception as error:  # each library has its own errors
        raise TypeError(
            f"cannot take {type(x).__name__} from DLPack's device {where} to the host: {error}. Move it to the host "
            f"with its own library first, in a dtype that NumPy has."
        ) from error


def _read_frame(frame: Any) -> np.ndarray:
    """The columns of a frame or a table side by side."""
    if hasattr(frame, "iloc"):  # pandas
        names, parts = frame.columns, [frame.iloc[:, i] for i in range(len(frame.columns))]
    elif hasattr(frame, "get_columns"):  # Polars
        names, parts = frame.columns, frame.get_columns()
    else:  # Arrow
        names, parts = frame.column_names, frame.columns
    columns = [_column(part) for part in parts]
    text = [str(name) for name, column in zip(names, columns, strict=True) if column.dtype.kind not in "biuf"]
    if text:
        raise TypeError(f"columns {text} do not have numbers; encode or drop them first.")
    return np.stack(columns, axis=1) if columns else np.zeros((len(frame), 0))


def _column(x: Any) -> np.ndarray:
    """One column as numbers; through a list if its library cannot make an array, as for 128-bit integers."""
    try:
        values = np.asarray(x)
    except Exception:  # each library has its own errors
        values = np.asarray(x.to_list(), dtype=object)
    return _numbers(values)


def _numbers(column: np.ndarray) -> np.ndarray:
    """Objects of a column as float64 if all are numbers, decimals too; missing ones become NaN."""
    if column.dtype != object:
        return column
    values = [np.nan if each is None or type(each).__name__ == "NAType" else each for each in column.flat]
    from decimal import Decimal

    every = all(isinstance(each, Real | Decimal | np.bool_) for each in values)
    try:
        return np.asarray(values, dtype=float).reshape(column.shape) if every else column
    except OverflowError:
        return column  # an integer too large for a float, which is refused


def plain(host: np.ndarray, kind: str) -> np.ndarray:
    """The array with native byte order, at most 64 bits and positive strides, which every library accepts."""
    if host.dtype == object:
        for index, each in np.ndenumerate(host):
            if isinstance(each, Integral) and not -(2**63) <= each < 2**64:
                raise ValueError(
                    f"no integer dtype can hold {shown(each)}, of {kind} at index {index}: int64 ends at 2**63 - 1, "
                    f"uint64 at 2**64 - 1. Pass floats, or change such numbers first."
                )
    if host.dtype.kind not in "biuf":
        raise TypeError(
            f"an array of real numbers is needed; got {kind} with dtype {host.dtype}. Convert it to numbers first."
            f"{_remedy_for_text(host, 'y')}"
        )
    if host.dtype.kind == "f" and host.dtype.itemsize > 8:
        refuse_change(host, np.dtype("float64"))
        host = host.astype(np.float64)
    if not host.dtype.isnative:
        host = host.astype(host.dtype.newbyteorder("="))
    return np.ascontiguousarray(host) if any(stride < 0 for stride in host.strides) else host


def refuse_unread(x: Any, name: str) -> None:
    """Refuse sparse arrays; the error has the call that makes them dense."""
    for method in ("toarray", "todense"):
        if hasattr(x, method):
            raise TypeError(f"a sparse array cannot be computed with here; make it dense with {name}.{method}().")
    refuse_query(x, name)


def refuse_query(x: Any, name: str) -> None:
    """Refuse lazy frames."""
    if hasattr(x, "collect") and not hasattr(x, "__array__"):
        raise TypeError(f"a {type(x).__name__} is a query that is not computed yet; pass {name}.collect().")


def refuse_non_numeric(x: Any, name: str = "") -> None:
    """Raise a TypeError unless the array is of integers, real floating numbers or booleans."""
    if not _is_real(x):
        subject = f"{name} of dtype" if name else "dtype"
        raise TypeError(
            f"an array of real numbers is needed; got {subject} {dtype_name(x.dtype)}. Convert it to numbers first."
            f"{_remedy_for_text(x, name or 'x')}"
        )


def _remedy_for_text(x: Any, name: str) -> str:
    """The lines that make labels of names."""
    if getattr(x.dtype, "kind", "") not in ("U", "T", "O"):
        return ""
    if x.ndim > 1:
        return f" If these are numbers that are written as text: {name} = {name}.astype('float64')."
    return (
        f" If these are names of classes: names = sorted(set({name})), and "
        f"{name} = nn.backend('numpy').asarray([names.index(each) for each in {name}])."
    )


def _is_real(x: Any) -> bool:
    try:
        return namespace(x).isdtype(x.dtype, ("bool", "integral", "real floating"))
    except TypeError:  # raised by NumPy for its dtype of strings
        return False
