"""Networks that end with a mask: their loss must leave out what is masked, in training and in evaluation alike."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from nnarray.backends import backend_of, memory_errors, namespace, same_place, without_record
from nnarray.functional.propagation import Wiring, counted_though_masked, forward_with_mask, may_mask
from nnarray.kernels.engines import computing
from nnarray.layers.kinds import mapped
from nnarray.losses import Loss
from nnarray.training.data import Data
from nnarray.training.trainee import Trainee
from nnarray.typing import Array, Tree

MASKED_LABELS = (
    "The network ends with a mask, and {y} has labels at masked positions, which would count in the loss. Set them to "
    "the ignore_index of the loss: {y} = nn.namespace({y}).where({X} == padding_index, ignore_index, {y})."
)


def outputs_of(model: Trainee, data: Data, loss: Loss, *, batch_size: int | None, engine: str) -> Array:
    """The outputs for all examples, as `model.predict` gives them; their masks are looked at.

    Raises
    ------
    ValueError
        If the network ends with a mask, and the loss counts what is masked.
    """
    if not may_mask(model.wiring.network):
        return model.predict(data.inputs, batch_size=batch_size, check_finite=False, engine=engine)
    with _computing(model, engine, size := data.size_of_batches(batch_size)):
        parts = [y for y, _ in _passed(model, data, loss, size, "X y")]
    return parts[0] if len(parts) == 1 else same_place(theta=model.theta).concat(parts, axis=0)


def refuse_masked_labels(
    model: Trainee, data: Data, loss: Loss, *, batch_size: int | None, engine: str, names: str
) -> None:
    """Refuse a loss that counts what is masked. Without a mask at the end, one batch is computed at most.

    Raises
    ------
    ValueError
        If the network ends with a mask, and the loss counts what is masked.
    """
    if not may_mask(model.wiring.network):
        return
    with _computing(model, engine, size := data.size_of_batches(batch_size)):
        for _, is_masked in _passed(model, data, loss, size, names):
            if not is_masked:
                return


def ends_with_mask(model: Trainee) -> bool:
    """Whether a mask is left at the outputs. The layers alone decide it: one example, of zeros, is computed."""
    if not may_mask(model.wiring.network):
        return False
    be = backend_of(model.theta)
    dtypes = {"real": model.theta.dtype, "integer": be.xp.int32, "boolean": be.xp.bool}
    x = mapped(lambda spec: be.xp.zeros((1, *spec.shape), dtype=dtypes[spec.kind.name], device=be.device), model.inputs)
    return forward_with_mask(model.wiring, _tree(model.wiring, model.theta), model.state, x)[1] is not None


def masked_that_count(
    wiring: Wiring, theta: Array, state: Array, loss: Loss, batches: Iterable[tuple[Any, Array, Array | None]]
) -> Iterator[tuple[Array, bool | None]]:
    """The outputs of each batch, and whether the loss counts any that is masked; None if they have no mask.

    Raises
    ------
    ValueError
        If they have one, and the loss leaves out nothing.
    """
    tree = _tree(wiring, theta)
    for x, _, weights in batches:
        outputs, mask = forward_with_mask(wiring, tree, state, x)
        wrong = counted_though_masked(mask, weights, loss)
        yield outputs, None if wrong is None else bool(namespace(wrong).any(wrong))


@contextmanager
def _computing(model: Trainee, engine: str, size: int) -> Generator[None]:
    """A block that computes with the engine, in which a full device is an error that says what helps."""
    remedy = f"Compute the outputs in smaller batches, with a batch_size below {size}."
    with computing(engine), memory_errors(model.theta, lambda _: remedy):
        yield


def _tree(wiring: Wiring, theta: Array) -> Tree:
    return wiring.params.tree(without_record(theta))


def _passed(model: Trainee, data: Data, loss: Loss, size: int, names: str) -> Iterator[tuple[Array, bool]]:
    """The outputs of each batch, and whether they have a mask."""
    X, y = names.split()
    count = data.examples
    rows = [None] if size == count else [slice(first, min(first + size, count)) for first in range(0, count, size)]
    for outputs, counts in masked_that_count(model.wiring, model.theta, model.state, loss, map(data.batch, rows)):
        if counts:
            raise ValueError(MASKED_LABELS.format(X=X, y=y))
        yield outputs, counts is not None
