"""Each function of the standard that can be written, in a layer of your own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnarray as nn
from nnarray.onnx.writing import elementwise, file
from nnarray.onnx.writing.table import KERNELS, ROWS
from tests.onnx.test_writing import by_reference, drawn


def put(xp: Any, x: Any, i: Any) -> Any:
    """x with new entries: numbers, arrays of the graph, by slices and by integers."""
    y = x * 2.0
    y[:, 0, ::2] = x[:, 1, :2]
    y[:, -1] = 0.5
    y[:, i[:2], 1] = x[:, :2, 0] * xp.sum(x, axis=0)[:2, 0]
    return y


def of_matrices(name: str, xp: Any, x: Any) -> Any:
    """What a test of a function of matrices computes from x, shape (batch, 3, 4)."""
    square = x[:, :, :3] + 3.0 * xp.eye(3, dtype=x.dtype)
    orders = (2, 1, float("inf"), -float("inf"), 0, 3)
    made = {
        "cross": lambda: xp.linalg.cross(square, square[:, ::-1, :]),
        "det": lambda: xp.linalg.det(square),
        "diagonal": lambda: (
            xp.linalg.diagonal(x) + xp.linalg.diagonal(x, offset=1) - xp.linalg.diagonal(x, offset=-1)[:, :1]
        ),
        "matrix_norm": lambda: (
            sum(xp.linalg.matrix_norm(x, ord=n) for n in ("fro", 1, -1, float("inf"), -float("inf")))
            + xp.linalg.matrix_norm(x, ord=1, keepdims=True)[:, 0, 0]
        ),
        "matrix_power": lambda: xp.linalg.matrix_power(xp.tanh(square), 5) + xp.linalg.matrix_power(square, 1),
        "matmul": lambda: xp.linalg.matmul(square, x),
        "matrix_transpose": lambda: xp.linalg.matrix_transpose(x),
        "outer": lambda: xp.linalg.outer(x[:, 0, 0], x[0, 1, :]),
        "slogdet": lambda: xp.linalg.slogdet(square)[0] + xp.linalg.slogdet(square)[1],
        "tensordot": lambda: xp.linalg.tensordot(x, square[0, ...], axes=((1,), (0,))),
        "trace": lambda: xp.linalg.trace(x) + xp.linalg.trace(x, offset=1),
        "vecdot": lambda: xp.linalg.vecdot(x, x, axis=-1),
        "vector_norm": lambda: (
            sum(xp.linalg.vector_norm(x, axis=(1, 2), ord=n) for n in orders)
            + xp.linalg.vector_norm(x, axis=2, keepdims=True)[:, 0, 0]
        ),
    }
    return made[name]()


def computed(name: str, xp: Any, x: Any) -> Any:
    """What a test of a function computes from x, shape (batch, 3, 4)."""
    flat, i = xp.reshape(x, (x.shape[0], 12)), xp.asarray([2, 0, 2])
    small, whole = xp.tanh(x) * 0.9, xp.astype(x * 3.0, xp.int64)
    if name in ("acos", "asin", "atanh"):
        return getattr(xp, name)(small)
    if name in ("log", "log2", "log10", "log1p", "sqrt", "reciprocal", "acosh"):
        return getattr(xp, name)(xp.abs(x) + 1.5)
    if name in elementwise.UNARY or name in ("square", "expm1", "isfinite", "isinf", "positive", "real", "conj"):
        return getattr(xp, name)(x > 0 if name == "logical_not" else x)
    if name in elementwise.COMPARISONS or (name in (*elementwise.BINARY, "not_equal") and name != "pow"):
        return getattr(xp, name)(x, xp.ones_like(x) * 0.1)
    if name in elementwise.LOGIC:
        return getattr(xp, name)(x > 0, x < 0.5)
    if name in elementwise.BITS:
        of_truth, of_numbers = getattr(xp, name)(x > 0, x < 0.5), getattr(xp, name)(whole, 3)
        return xp.astype(of_truth, xp.float32) + xp.astype(of_numbers, xp.float32)
    if name in ("floor_divide", "remainder"):
        return xp.astype(getattr(xp, name)(whole, 2), xp.float32) + getattr(xp, name)(x, 0.7)
    if name.startswith("linalg."):
        return of_matrices(name.removeprefix("linalg."), xp, x)
    made = {
        "all": lambda: xp.all(x > -1.0, axis=1),
        "any": lambda: xp.any(x > 1.0, axis=(1, 2)),
        "argmax": lambda: xp.argmax(x, axis=1),
        "argmin": lambda: xp.argmin(x, axis=2, keepdims=True),
        "asarray": lambda: xp.asarray(x),
        "astype": lambda: xp.astype(x * 3.0, xp.int32),
        "bitwise_invert": lambda: ~(x > 0) & ~(~whole > 1),
        "broadcast_arrays": lambda: xp.broadcast_arrays(x, x[:, :1, :])[1],
        "broadcast_to": lambda: xp.broadcast_to(x[:, None, :, :], (x.shape[0], 2, 3, 4)),
        "argsort": lambda: xp.argsort(x, axis=1),
        "atan2": lambda: xp.atan2(x, xp.roll(x, 1, axis=2)) + xp.atan2(xp.zeros_like(x), xp.zeros_like(x)),
        "count_nonzero": lambda: xp.count_nonzero(x > 0, axis=1),
        "diff": lambda: xp.diff(x, axis=2, n=2),
        "clip": lambda: xp.clip(x, -0.5, 0.5) + xp.clip(x, min=0.1),
        "concat": lambda: xp.concat([x, xp.zeros((x.shape[0], 1, 4), dtype=x.dtype), x], axis=1),
        "bitwise_left_shift": lambda: whole << xp.asarray([0, 1, 2, 5]),
        "bitwise_right_shift": lambda: whole >> xp.asarray([0, 1, 2, 5]),
        "copysign": lambda: xp.copysign(x, xp.roll(x, 1, axis=2)) + xp.copysign(x, 0.0 * x),
        "cumulative_prod": lambda: (
            xp.cumulative_prod(x, axis=1) + xp.cumulative_prod(x, axis=2, include_initial=True)[:, :, 1:]
        ),
        "cumulative_sum": lambda: (
            xp.cumulative_sum(x, axis=1) + xp.cumulative_sum(x, axis=2, include_initial=True)[:, :, 1:]
        ),
        "empty_like": lambda: xp.empty_like(x) * 0.0 + x,
        "isin": lambda: xp.isin(whole, xp.asarray([[0, 1], [5, -2]])) & xp.isin(whole, 1, invert=True),
        "meshgrid": lambda: (
            (lambda a, b: a[:2, :] * b[:2, :] + x[:, 0, :2, None])(*xp.meshgrid(x[0, 0, :2], x[0, 1, :2]))
            + xp.meshgrid(x[0, 0, :2], x[0, 1, :2], indexing="ij")[0]
        ),
        "searchsorted": lambda: (
            xp.searchsorted(xp.sort(x[0, 0, :]), x) + xp.searchsorted(i, whole, side="right", sorter=xp.argsort(i))
        ),
        "signbit": lambda: xp.signbit(x) & xp.signbit(0.0 * x),
        "tensordot": lambda: (
            xp.tensordot(x, x[0, ...], axes=((1, 2), (0, 1)))[:, None]
            + xp.tensordot(x, xp.ones((4, 2), dtype=x.dtype), axes=1)[:, 0, :]
        ),
        "expand_dims": lambda: xp.expand_dims(x, axis=1),
        "flip": lambda: xp.flip(x, axis=(1, 2)) + xp.flip(x, axis=-1),
        "full": lambda: xp.full((x.shape[0], 2), xp.sum(x), dtype=x.dtype)[:, :1] * 0.0 + x[:, 0, :],
        "full_like": lambda: xp.full_like(x, 2.5),
        "getitem": lambda: x[:, ::-2, 1:3][:, None, -1, ..., 0] + x[:, i, 0][:, -1:],
        "matmul": lambda: xp.matmul(x, xp.reshape(x, (x.shape[0], 4, 3))),
        "matrix_transpose": lambda: xp.matrix_transpose(x),
        "max": lambda: xp.max(x, axis=(1, 2)),
        "mean": lambda: xp.mean(x, axis=-1, keepdims=True),
        "min": lambda: xp.min(x, axis=1),
        "moveaxis": lambda: xp.moveaxis(x, 1, 2),
        "ones_like": lambda: xp.ones_like(x),
        "permute_dims": lambda: xp.permute_dims(x, (0, 2, 1)),
        "pow": lambda: x**2 + xp.abs(x) ** 0.5,
        "prod": lambda: xp.prod(x, axis=1),
        "reshape": lambda: xp.reshape(x, (x.shape[0] * 3, 4)) @ xp.ones((4, 2), dtype=x.dtype),
        "roll": lambda: xp.roll(x, (1, -1), axis=(1, 2)),
        "squeeze": lambda: xp.squeeze(x[:, :1, :], axis=1),
        "stack": lambda: xp.stack([x, -x], axis=-1),
        "sort": lambda: xp.sort(x, axis=1) - xp.sort(x, descending=True),
        "put_at": lambda: put(xp, xp.asarray(x, copy=True), i),
        "repeat": lambda: xp.repeat(x, 2, axis=1),
        "trunc": lambda: xp.trunc(3.0 * x),
        "hypot": lambda: xp.hypot(x, 2.0 * x),
        "logaddexp": lambda: xp.logaddexp(x, 2.0 * x),
        "std": lambda: xp.std(x, axis=1, correction=1.0),
        "sum": lambda: xp.sum(x, axis=2) + xp.astype(xp.sum(x > 0, axis=2), x.dtype),
        "take": lambda: xp.take(x, i, axis=1) + xp.take(xp.asarray(x)[:, :, :], i, axis=2)[:, :, :1],
        "take_along_axis": lambda: (
            xp.take_along_axis(flat, xp.argmax(flat, axis=1, keepdims=True) * 0 + 2, axis=1)
            + xp.take_along_axis(x, xp.asarray([[[1, 0, 2, 2]]]), axis=1)[:, 0, :1]
        ),
        "tile": lambda: xp.tile(x, (2, 3)),
        "tril": lambda: xp.tril(x, k=-1),
        "triu": lambda: xp.triu(x),
        "unstack": lambda: xp.unstack(x, axis=1)[1],
        "var": lambda: xp.var(x, axis=(1, 2), keepdims=True),
        "vecdot": lambda: xp.vecdot(x, 2.0 * x),
        "where": lambda: xp.where(x > 0, x, 0.5),
        "zeros_like": lambda: xp.zeros_like(x),
    }
    return made[name]()


assert file.FAMILIES  # whose rows are in the table
OF_THE_STANDARD = sorted(name for name in ROWS if name not in KERNELS and name != "to_device")


@dataclass(frozen=True)
class Own(nn.Layer):
    """A function of the standard."""

    function: str = ""

    def out_shape(self, shape: Any) -> Any:
        return self.of(np.ones((2, *shape))).shape[1:]

    def of(self, x: Any) -> Any:
        xp = nn.namespace(x)
        return xp.reshape(xp.astype(computed(self.function, xp, x), x.dtype), (x.shape[0], -1))

    def forward(self, params: Any, x: Any, ctx: nn.Context) -> Any:
        return self.of(x)


@pytest.mark.parametrize("name", OF_THE_STANDARD)
def test_functions_of_the_standard(tmp_path: Path, name: str) -> None:
    model = nn.Network(Own(function=name)).init((3, 4), dtype="float32")
    path = tmp_path / "m.onnx"
    model.to_onnx(path)
    X = drawn(model, 4)
    np.testing.assert_allclose(by_reference(path, X), model(X), rtol=1e-4, atol=1e-5)
