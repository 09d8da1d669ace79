"""Where examples enter an estimator: looked at where they are, and moved only where the user said so."""

from __future__ import annotations

from typing import Any

from scipy.sparse import issparse
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from nnarray.backends import (
    Backend,
    as_data,
    backend,
    backend_of,
    default_float,
    device_of,
    is_traced,
    library_of,
    namespace,
    without_record,
)
from nnarray.checks import refuse_non_finite
from nnarray.typing import Array

DENSE_LIMIT = 2**31  # bytes that a sparse matrix may take as a dense one: more is hardly what the user wants


def home_of(x: Any) -> Backend:
    """Where `x` is; the host for what no array library owns: lists, data frames, sparse matrices."""
    return backend_of(x) if library_of(x) else backend("numpy")


def on_host(home: Backend) -> bool:
    """Whether arrays there are NumPy's, which scikit-learn checks itself."""
    return home.library.name == "numpy"


def same(one: Backend, other: Backend) -> bool:
    """Whether two backends are one library on one device."""
    return one.library is other.library and one.device == other.device


def holds_numbers(x: Any) -> bool:
    """Whether an array holds numbers or truth values, and not text or objects, which only NumPy's can."""
    return not on_host(home_of(x)) or x.dtype.kind in "biuf"


def checked_inputs(estimator: Any, X: Any, *, reset: bool, pictures: bool) -> Array:
    """X as floating-point numbers, where it is: NumPy's as scikit-learn checks them, other libraries' by their own.

    Parameters
    ----------
    estimator : estimator
        Learns the number and the names of the features, or compares with them.
    X : array, sparse matrix or data frame, shape (N, features)
    reset : bool
        Whether to learn, as in `fit`.
    pictures : bool
        Whether X may have more than two axes.

    Raises
    ------
    ValueError
        If X has a wrong shape, NaN or infinity, or other features than `fit` has seen.
    TypeError
        If X does not hold real numbers.
    """
    if on_host(home_of(X)):
        return _checked_by_sklearn(estimator, X, reset=reset, pictures=pictures)
    X = without_record(as_data(X, "X"))
    xp = namespace(X)
    if X.ndim != 2 and not (pictures and X.ndim > 2):
        raise ValueError(
            f"Expected 2D array, got X of shape {tuple(X.shape)}. Reshape your data: X[:, None] for a single feature, "
            f"X[None, :] for a single example."
        )
    if 0 in X.shape:
        raise ValueError(f"X of shape {tuple(X.shape)} holds nothing; at least 1 example and 1 feature are needed.")
    validate_data(estimator, X, reset=reset, skip_check_array=True)  # the number of features
    if not is_traced(X):
        refuse_non_finite(X, "X", "Remove or repair these entries.")
    if xp.isdtype(X.dtype, "real floating"):
        return X
    return xp.astype(X, default_float(xp, device_of(X)))


def _checked_by_sklearn(estimator: Any, X: Any, *, reset: bool, pictures: bool) -> Any:
    """Float32 stays float32; whatever else becomes float64, as in scikit-learn's own MLP."""
    found: Any = validate_data(
        estimator, X, reset=reset, accept_sparse=("csr", "csc"), dtype=("float64", "float32"), allow_nd=pictures
    )
    return dense(found) if issparse(found) else found


def dense(X: Any) -> Any:
    """A sparse matrix as an array, if that fits."""
    size = X.shape[0] * X.shape[1] * X.dtype.itemsize
    if size > DENSE_LIMIT:
        raise ValueError(
            f"a network computes with dense arrays: sparse X of shape {X.shape} would take {size / 2**30:.1f} GiB, and "
            f"at most {DENSE_LIMIT / 2**30:.0f} GiB are taken without a word. Reduce the features first (for instance "
            f"with TruncatedSVD), or pass X.toarray()."
        )
    return X.toarray()


def checked_targets(y: Any, home: Backend, *, numeric: bool) -> Any:
    """Targets or labels beside X, if they are numbers; text stays on the host.

    A column of shape (N, 1) becomes (N,), with scikit-learn's warning on the host.
    """
    if y is None:
        raise ValueError("this estimator requires y to be passed, but the target y is None.")
    theirs = home_of(y)
    if on_host(theirs):
        kind: Any = "numeric" if numeric else None
        y = check_array(y, accept_sparse=True, ensure_2d=False, dtype=kind, input_name="y")
        y = y.toarray() if issparse(y) else y
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        return home.asarray(y) if holds_numbers(y) else y
    y = home.asarray(without_record(as_data(y, "y")))
    if y.ndim == 0:
        raise ValueError("y must have an entry for each example; got a single number.")
    refuse_non_finite(y, "y")
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
