"""A file is run before it is written, and must compute what the model computes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from nnarray.backends import dtype_name, host_backend
from nnarray.layers.base import Context
from nnarray.onnx.writing.message import package
from nnarray.onnx.writing.record import Source, by_name, examples
from nnarray.random import Key

CLOSE = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2}
"""The largest difference that rounding explains, relative to the largest output."""
SMALLEST = 1e-6
"""Outputs that are smaller are compared with this, for rounding may be all that they are."""
REMEDY = "Report it with the network, or write it unchecked, with check=False."


def check(data: bytes, source: Source, batch: int | None) -> None:
    """Compare a file with the model on random inputs, of two numbers of examples if they are not fixed.

    Raises
    ------
    ValueError
        If the file computes something else, or cannot be computed.
    """
    run, by = runner(data)
    for i, count in enumerate((1, 4) if batch is None else (batch, batch)):
        x = examples(source, count, Key(i + 1))
        wanted = _outputs(source, x)
        try:
            found = run(by_name(x))[0]
        except Exception as error:
            raise ValueError(
                f"the file was not written: {by} cannot compute it for {count} examples ({error}). {REMEDY}"
            ) from error
        how = _difference(found, wanted, CLOSE[dtype_name(source.theta.dtype)])
        if how:
            raise ValueError(
                f"the file was not written: for {count} random examples its outputs {how}, as {by} computes them. "
                f"{REMEDY}"
            )


def _difference(found: Any, wanted: Any, close: float) -> str:
    """How outputs differ by more than rounding; "" if they do not. The same infinity and nan are no difference."""
    xp = host_backend().xp
    if tuple(found.shape) != tuple(wanted.shape) or found.dtype != wanted.dtype:
        given, right = (f"shape {tuple(y.shape)} and dtype {dtype_name(y.dtype)}" for y in (found, wanted))
        return f"have {given}, not {right}"
    if not wanted.size:
        return ""
    found, wanted = (xp.astype(each, xp.float64) for each in (found, wanted))
    same = (found == wanted) | (xp.isnan(found) & xp.isnan(wanted))
    far = float(xp.max(xp.where(same, 0.0, xp.abs(xp.where(same, 0.0, found) - xp.where(same, 0.0, wanted)))))
    size = float(xp.max(xp.where(xp.isfinite(wanted), xp.abs(wanted), 0.0)))
    if far <= close * max(size, SMALLEST):
        return ""
    return f"differ by {far:.2g} from those of the model, the largest of which is {size:.2g}"


def _outputs(source: Source, x: Any) -> Any:
    wiring = source.wiring
    ctx = Context(False, wiring.state.tree(source.state), False, False)
    return wiring.network.forward(wiring.params.tree(source.theta), x, ctx).y


def runner(data: bytes) -> tuple[Callable[[dict[str, Any]], list[Any]], str]:
    """A function from inputs by name to the outputs in order, by the fastest that is installed, and its name."""
    return _by_runtime(data) or _by_reference(data)


def _by_runtime(data: bytes) -> tuple[Callable[[dict[str, Any]], list[Any]], str] | None:
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        return None
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4
    try:
        session = runtime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        if type(error).__name__ != "NotImplemented":  # which it says of operators in float64
            raise ValueError(f"the file was not written: ONNX Runtime cannot read it ({error}). {REMEDY}") from error
        return None
    return (lambda x: session.run(None, x)), "ONNX Runtime"


def _by_reference(data: bytes) -> tuple[Callable[[dict[str, Any]], list[Any]], str]:
    importlib.import_module(f"{package().__name__}.reference")
    evaluator = package().reference.ReferenceEvaluator(package().load_from_string(data))
    return (lambda x: evaluator.run(None, x)), "the reference evaluator of ONNX"
