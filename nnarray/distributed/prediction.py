"""Lazy predictions for a collection of blocks, each computed on the worker that has the block.

In single precision the outputs of a row depend on its position in the batch, because matrix products are summed in
another order there. So each block is computed in the batches that all rows together would form: a row keeps its
position, and the positions of rows in other blocks are left empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from nnarray.backends import backend_of, is_lazy, namespace, place, same_place
from nnarray.distributed.blocks import dask_array_of, refuse_other_kinds, with_whole_examples
from nnarray.training.inputs import inputs_of, refuse_shape

BATCH = 1024


def predicted(model: Any, X: Any, *, batch_size: int | None, check_finite: bool, engine: str) -> Any:
    """The outputs for a Dask array or dataframe, as a Dask array; described in `Model.predict`.

    Raises
    ------
    TypeError, ValueError
        If the blocks have a library, dtype or shape that the model does not take.
    """
    blocks = dask_array_of(X)
    _refuse(model, blocks)
    size, known = batch_size or BATCH, all(length == length for length in blocks.chunks[0])  # NaN is an unknown length
    blocks = with_whole_examples(blocks)
    outputs, axes = model.output_shape, [*range(1, blocks.ndim)]
    xp = namespace(model.theta)
    from dask.array import map_blocks

    return map_blocks(
        _of_block,
        blocks,
        _sent(model),
        int(blocks.shape[0]) if known else None,
        size,
        check_finite,
        engine,
        drop_axis=axes,
        new_axis=[*range(1, 1 + len(outputs))],
        chunks=(blocks.chunks[0], *((length,) for length in outputs)),
        dtype=model.theta.dtype,
        meta=xp.empty((0,) * (1 + len(outputs)), dtype=model.theta.dtype),
    )


def answered(outputs: Any, to_answer: Callable[[Any], Any], *, labels: bool) -> Any:
    """What is made of outputs that are a Dask array, block by block; `labels` are integers, and lack the last axis."""
    from dask.array import map_blocks

    xp = namespace(outputs._meta)
    meta = xp.empty((0,) * (outputs.ndim - labels), dtype=xp.int64 if labels else outputs.dtype)
    return map_blocks(to_answer, outputs, drop_axis=[outputs.ndim - 1] if labels else [], dtype=meta.dtype, meta=meta)


def computed(model: Any, x: Any) -> Any:
    """A Dask collection, computed, where the model is; all else as it is."""
    return backend_of(model.theta).asarray(dask_array_of(x).compute()) if is_lazy(x) else x


def _refuse(model: Any, X: Any) -> None:
    """Refuse examples for which no block can be computed, before anything is read."""
    shape = model.input_shape
    if not isinstance(shape, tuple):
        raise TypeError(
            "the network takes inputs by name, but a Dask array is a single input. Predict each block by itself."
        )
    refuse_shape(shape, tuple(X.shape), "X")
    refuse_other_kinds(X)
    same_place(model=model.theta, X=X._meta)


def _sent(model: Any) -> Any:
    """A copy of the present model, named by its checksum, so that it is sent to each worker only once."""
    be, digest = backend_of(model.theta), hashlib.sha256()
    digest.update(repr((model.network, model.input_shape, place(model.theta), str(model.theta.dtype))).encode())
    for vector in (model.theta, model.state):
        digest.update(be.to_numpy(vector).tobytes())
    from dask.delayed import delayed

    return delayed(model.copy(), name=f"nnarray-model-{digest.hexdigest()}", traverse=False)


def _of_block(
    block: Any,
    model: Any,
    total: int | None,
    size: int,
    check_finite: bool,
    engine: str,
    block_info: Any = None,
) -> Any:
    """The outputs for a block, with the position of its first row and the total number of rows, if known."""
    first, count = 0, block.shape[0]
    if total is not None and block_info:
        first = block_info[0]["array-location"][0][0]
    if count == 0:
        xp = namespace(model.theta)
        return xp.empty((0, *model.output_shape), dtype=model.theta.dtype)
    if check_finite:
        inputs_of(model, block, f"X[{first}:{first + count}]", check_finite=True)
    parts = list(_in_batches(model, block, first, total or count, size, engine))
    return parts[0] if len(parts) == 1 else namespace(parts[0]).concat(parts, axis=0)


def _in_batches(model: Any, block: Any, first: int, total: int, size: int, engine: str) -> Iterator[Any]:
    """The outputs for the rows of the block in each batch."""
    stop = first + block.shape[0]
    for start in range(first - first % size, stop, size):
        end = min(start + size, total)
        rows = block[max(start - first, 0) : end - first, ...]
        before = max(first - start, 0)
        batch = _with_empty_places(rows, before, end - start - before - rows.shape[0])
        outputs = model.predict(batch, check_finite=False, engine=engine)
        yield outputs[before : before + rows.shape[0], ...]


def _with_empty_places(rows: Any, before: int, after: int) -> Any:
    if not before and not after:
        return rows
    xp = namespace(rows)
    ends = [xp.zeros((count, *rows.shape[1:]), dtype=rows.dtype) for count in (before, after)]
    return xp.concat([ends[0], rows, ends[1]], axis=0)
