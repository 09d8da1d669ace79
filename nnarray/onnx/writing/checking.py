"""A file is run before it is written, and must compute what the model computes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nnarray.backends import dtype_name, host_backend
from nnarray.layers.base import Context
from nnarray.onnx.writing.message import package
from nnarray.onnx.writing.record import Source, by_name, examples
from nnarray.onnx.writing.sizes import BATCH
from nnarray.random import Key

CLOSE = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2}
"""The largest difference that rounding explains, relative to the largest output."""
SMALLEST = 1e-6
"""Outputs that are smaller are compared with this, for rounding may be all that they are."""
REMEDY = "Report it with the network, or write it unchecked, with check=False."


def check(data: bytes | Path, source: Source, batch: int | None) -> None:
    """Compare a file, or its bytes, with the model on random inputs, of several sizes where they are not fixed.

    Raises
    ------
    ValueError
        If the file computes something else, or cannot be computed.
    """
    run, by = runner(data)
    for i, sizes in enumerate(_sizes(source, batch)):
        x, count = examples(source, sizes, Key(i + 1)), " and ".join(_described(sizes))
        try:
            wanted = _outputs(source, x)
        except ValueError:
            if i == 0:
                raise
            continue  # smaller inputs need not be inputs of the network
        try:
            found = run(by_name(x))[0]
        except Exception as error:
            raise ValueError(
                f"the file was not written: {by} cannot compute it for {count} ({error}). {REMEDY}"
            ) from error
        close = CLOSE[dtype_name(source.theta.dtype)]
        how = _difference(found, wanted, close)
        if how and not _is_of_runtime(data, x, found, wanted, close):
            raise ValueError(
                f"the file was not written: for {count} its outputs {how}, as {by} computes them. {REMEDY}"
            )


def _is_of_runtime(data: bytes | Path, x: Any, found: Any, wanted: Any, close: float) -> bool:
    """Whether only the program differs: by one rounding of 1 at most, where the reference evaluator does not.

    The logistic function of ONNX Runtime has such errors in probabilities near 0.
    """
    xp = host_backend().xp
    if found.shape != wanted.shape or not bool(xp.all(xp.abs(found - wanted) <= xp.finfo(wanted.dtype).eps)):
        return False
    run, _ = _by_reference(data)
    return not _difference(run(by_name(x))[0], wanted, close)


def _sizes(source: Source, batch: int | None) -> list[dict[str, int]]:
    """The usual sizes for two numbers of examples, and other sizes than those of the records."""
    usual = {each.name: each.usual for each in source.axes}
    counts = (1, 4) if batch is None else (batch, batch)
    made = [{BATCH: count, **usual} for count in counts]
    for part in (0.6, 0.9) if source.axes else ():
        made.append({BATCH: counts[1], **{name: max(1, int(part * n)) for name, n in usual.items()}})
    return made


def _described(sizes: Mapping[str, int]) -> list[str]:
    return [f"{n} random examples" if name == BATCH else f"{name} {n}" for name, n in sizes.items()]


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


def runner(data: bytes | Path) -> tuple[Callable[[dict[str, Any]], list[Any]], str]:
    """A function from inputs by name to the outputs in order, by the fastest that is installed, and its name."""
    return _by_runtime(data) or _by_reference(data)


def _by_runtime(data: bytes | Path) -> tuple[Callable[[dict[str, Any]], list[Any]], str] | None:
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


def _by_reference(data: bytes | Path) -> tuple[Callable[[dict[str, Any]], list[Any]], str]:
    importlib.import_module(f"{package().__name__}.reference")
    model = package().load_from_string(data) if isinstance(data, bytes) else package().load(str(data))
    evaluator = package().reference.ReferenceEvaluator(model)
    return (lambda x: evaluator.run(None, x)), "the reference evaluator of ONNX"
