"""Scalers of scikit-learn as arithmetic, so that a file can have them before an estimator."""

from __future__ import annotations

from typing import Any, NamedTuple

from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted

from nnarray.backends import host_backend
from nnarray.names import shown
from nnarray.onnx.writing.writer import Writer
from nnarray.typing import Array

INVERSE = {"Sub": "Add", "Add": "Sub", "Mul": "Div", "Div": "Mul"}


class Step(NamedTuple):
    """An operator and its second argument: a number for each column, or one for all."""

    op: str
    numbers: Array


def steps_of(before: Any) -> list[Step]:
    """What fitted scalers compute, in float64 as they do.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If one is not fitted.
    TypeError
        If it is no scaler with a known formula, and no pipeline of them.
    """
    if before is None or (isinstance(before, str) and before == "passthrough"):
        return []
    if isinstance(before, Pipeline):
        return [step for _, each in before.steps for step in steps_of(each)]
    rows = _rows(before)
    host = host_backend()
    return [Step(op, host.asarray(each, dtype=host.xp.float64)) for op, each in rows if each is not None]


def _rows(scaler: Any) -> list[tuple[str, Any]]:
    if type(scaler) not in (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler):  # others may compute more
        raise TypeError(
            f"before takes a StandardScaler, MinMaxScaler, MaxAbsScaler or RobustScaler, or a pipeline of them; got "
            f"{shown(scaler)}. Transform X with it before the file is called, and leave before out."
        )
    check_is_fitted(scaler)
    if type(scaler) is StandardScaler:
        return [("Sub", scaler.mean_ if scaler.with_mean else None), ("Div", scaler.scale_)]
    if type(scaler) is RobustScaler:
        return [("Sub", scaler.center_), ("Div", scaler.scale_)]
    if type(scaler) is MaxAbsScaler:
        return [("Div", scaler.scale_), *_clipped(scaler, (-1.0, 1.0))]
    return [("Mul", scaler.scale_), ("Add", scaler.min_), *_clipped(scaler, scaler.feature_range)]


def _clipped(scaler: Any, limits: tuple[float, float]) -> list[tuple[str, Any]]:
    return list(zip(("Max", "Min"), limits, strict=True)) if getattr(scaler, "clip", False) else []


def written(w: Writer, steps: list[Step], name: str, dtype: str) -> str:
    """Nodes for the steps of an input of float64, whose result has the dtype of the network."""
    for op, numbers in steps:
        name = w.add(op, name, w.constant(numbers))
    return w.cast(name, w.xp.dtype(dtype))


def scaled(steps: list[Step], x: Array) -> Array:
    """What the steps compute of an array on the host."""
    for op, numbers in steps:
        x = _result(op, x, numbers)
    return x


def raw(steps: list[Step], z: Array) -> Array:
    """An array that the steps turn into this one, up to limits."""
    for op, numbers in reversed(steps):
        z = _result(INVERSE[op], z, numbers) if op in INVERSE else z
    return z


def _result(op: str, x: Any, numbers: Any) -> Any:
    xp = host_backend().xp
    functions = {
        "Add": xp.add,
        "Sub": xp.subtract,
        "Mul": xp.multiply,
        "Div": xp.divide,
        "Max": xp.maximum,
        "Min": xp.minimum,
    }
    return functions[op](x, numbers)
