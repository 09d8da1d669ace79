"""The inputs of an estimator, checked on their own device, and moved only on request."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from scipy.sparse import issparse
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from nnarray.backends import (
    Backend,
    as_data,
    backend_of,
    default_float,
    device_of,
    dtype_name,
    host_backend,
    is_traced,
    library_of,
    namespace,
    refuse_query,
    without_record,
)
from nnarray.caller import warn
from nnarray.checks import refuse_non_finite, refuse_overflow
from nnarray.kernels.compilation import quiet
from nnarray.typing import Array, DType

DENSE_LIMIT = 2**31  # the largest size in bytes of a sparse matrix as a dense array


def backend_of_data(x: Any) -> Backend:
    """The backend of `x`; the host for lists, data frames and sparse matrices."""
    return backend_of(x) if library_of(x) else host_backend()


def is_host(be: Backend) -> bool:
    """Whether its arrays are on the host, where scikit-learn checks them itself."""
    return be.library.is_host


def same_backend(one: Backend, other: Backend) -> bool:
    """Whether two backends have the same library and device."""
    return one.library is other.library and one.device == other.device


def holds_numbers(x: Any) -> bool:
    """Whether an array has numbers or truth values, not text or objects, which are possible in NumPy only."""
    return not is_host(backend_of_data(x)) or x.dtype.kind in "biuf"


def labels_on(labels: Any, be: Backend) -> Any:
    """Move labels from the host to a backend; text and integers beyond its default dtype stay on the host."""
    if not holds_numbers(labels):
        return labels
    xp, wanted = namespace(labels), None
    if not is_host(be) and labels.size and xp.isdtype(labels.dtype, "integral"):
        default = be.xp.__array_namespace_info__().default_dtypes()["integral"]
        limits = be.xp.iinfo(default)
        if int(xp.min(labels)) < limits.min or int(xp.max(labels)) > limits.max:
            return labels
        wanted = default if xp.isdtype(labels.dtype, "unsigned integer") else None
    return be.asarray(labels, dtype=wanted)


@quiet  # an overflow is reported by an error
def moved(x: Array, be: Backend, dtype: DType | None, name: str) -> Array:
    """`x` on the model's backend in its dtype; refuses numbers out of range, and warns of rounded integers."""
    xp = namespace(x)
    narrow = None if dtype is None or be.xp.finfo(dtype).bits >= 64 else getattr(xp, dtype_name(dtype), None)
    near = x if narrow is None else xp.astype(x, narrow, copy=False)
    if not is_traced(x):
        refuse_overflow(near, x, name)
    result = be.asarray(near, dtype=dtype)
    if is_traced(result):
        return result
    if dtype is not None and name == "y" and xp.isdtype(x.dtype, "integral"):
        most = int(2 / be.xp.finfo(result.dtype).eps)
        if max(int(xp.max(x)), -int(xp.min(x))) > most:
            warn(
                f"y has integers beyond {most}, which {dtype_name(result.dtype)} rounds. If they are names of classes, "
                f"use a classifier; otherwise subtract a constant, or use another unit.",
                UserWarning,
            )
    return result


def checked_inputs(estimator: Any, X: Any, *, reset: bool, images: bool) -> Array:
    """X as floating-point numbers, on its own device. scikit-learn checks it on the host, this package elsewhere.

    Parameters
    ----------
    estimator : estimator
        It learns the number and the names of the features, or compares with them.
    X : array, sparse matrix or data frame, shape (N, features)
    reset : bool
        Whether to learn, as in `fit`.
    images : bool
        Whether X may have more than two axes.

    Raises
    ------
    ValueError
        If X has a wrong shape, NaN or infinity, or other features than in `fit`.
    TypeError
        If X does not have real numbers.
    """
    _refuse_loss(X, "X")
    if isinstance(X, Mapping) and not hasattr(
        X, "toarray"
    ):  # a sparse array of keys is a mapping, too; scikit-learn refuses it
        raise TypeError("X must be one array or a data frame; got a mapping. Train on it with model.fit.")
    if is_host(backend_of_data(X)):
        return _checked_by_sklearn(estimator, X, reset=reset, images=images)
    X = without_record(as_data(X, "X"))
    xp = namespace(X)
    if X.ndim != 2 and not (images and X.ndim > 2):
        raise ValueError(
            f"Expected 2D array, got X of shape {tuple(X.shape)}. Reshape your data: X[:, None] for a single feature, "
            f"X[None, :] for a single example."
        )
    if 0 in X.shape:
        raise ValueError(f"X of shape {tuple(X.shape)} is empty; at least 1 example and 1 feature are needed.")
    validate_data(estimator, X, reset=reset, skip_check_array=True)  # the number of features
    if not is_traced(X):
        refuse_non_finite(X, "X", "Remove or repair these entries.")
    if xp.isdtype(X.dtype, "real floating"):
        return X
    return xp.astype(X, default_float(xp, device_of(X)))


def _refuse_loss(x: Any, name: str) -> None:
    """Refuse inputs that scikit-learn would misread: lazy queries, and masked arrays, which would lose the mask."""
    refuse_query(x, name)
    if (owner := library_of(x)) is not None:
        owner.borrow(x)


def _checked_by_sklearn(estimator: Any, X: Any, *, reset: bool, images: bool) -> Any:
    """float32 stays float32; all else becomes float64, as in scikit-learn's own MLP."""
    checked: Any = validate_data(
        estimator, X, reset=reset, accept_sparse=("csr", "csc"), dtype=("float64", "float32"), allow_nd=images
    )
    return dense(checked) if issparse(checked) else checked


def dense(X: Any) -> Any:
    """A sparse matrix as a dense array, if it is not too large."""
    size = X.shape[0] * X.shape[1] * X.dtype.itemsize
    if size > DENSE_LIMIT:
        raise ValueError(
            f"a network computes with dense arrays: sparse X of shape {X.shape} would take {size / 2**30:.1f} GiB, but "
            f"at most {DENSE_LIMIT / 2**30:.0f} GiB is converted automatically. Reduce the features first (such as "
            f"with TruncatedSVD), or pass X.toarray()."
        )
    return X.toarray()


def checked_targets(y: Any, be: Backend, *, numeric: bool) -> Any:
    """Targets or labels, checked and moved to the backend of X if they are numbers; text stays on the host.

    A column of shape (N, 1) becomes (N,), with scikit-learn's warning on the host.
    """
    if y is None:
        raise ValueError("this estimator requires y to be passed, but the target y is None.")
    _refuse_loss(y, "y")
    own = backend_of_data(y)
    if is_host(own):
        y = _exact(y, own)
        kind: Any = "numeric" if numeric else None
        y = check_array(y, accept_sparse=True, ensure_2d=False, dtype=kind, input_name="y")
        y = y.toarray() if issparse(y) else y
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        return labels_on(y, be)
    y = be.asarray(without_record(as_data(y, "y")))
    if be.xp.isdtype(y.dtype, "unsigned integer"):  # PyTorch supports few functions for it
        y = be.xp.astype(y, be.xp.int64)
        if y.size and bool(be.xp.any(y < 0)):
            raise ValueError("y has integers above 2**63 - 1. Pass names of classes as a NumPy array or as strings.")
    if y.ndim == 0:
        raise ValueError("y must have an entry for each example; got a single number.")
    refuse_non_finite(y, "y")
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _exact(y: Any, host: Backend) -> Any:
    """Large integers of a list or a column as an integer array, as NumPy would round some to floats."""
    if library_of(y) or issparse(y) or not hasattr(y, "__iter__"):
        return y
    labels = list(y)
    if not labels or not all(isinstance(label, Integral) for label in labels):
        return y
    least, most = min(labels), max(labels)
    if least >= -(2**53) and most <= 2**53:
        return y
    if least < -(2**63) or most >= (2**64 if least >= 0 else 2**63):
        raise ValueError(
            "y has integers that 64 bits cannot hold. Pass names of classes as strings, and numbers as floats."
        )
    return host.xp.asarray(labels, dtype=host.xp.int64 if most < 2**63 else host.xp.uint64)
