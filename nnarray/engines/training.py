"""A plan for training: everything that does not change between steps is prepared once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from nnarray.backends import Library, library_of, namespace
from nnarray.engines import Stepper
from nnarray.functional.propagation import Wiring
from nnarray.kernels.entries import Entries, program_of
from nnarray.kernels.expressions import NOT_BY_ENTRY
from nnarray.kernels.functions import FUNCTIONS
from nnarray.kernels.numpy.chain import Chain, Steps
from nnarray.kernels.rules import Rule, rows_of, rule_of
from nnarray.layers.base import Layer, own
from nnarray.layers.containers import is_plain_row
from nnarray.losses import Loss
from nnarray.typing import Array, DType


class Optimizer(Protocol):
    """The interface of an optimizer for a plan: its whole update, and the numbers that change from step to step."""

    def numbers(self, rate: float, step: int) -> dict[str, Any]:
        """The numbers of a step, counted from 1."""
        ...

    def update(
        self, theta: Any, gradient: Any, slots: dict[str, Any], numbers: dict[str, Any], **masks: Any
    ) -> tuple[Any, dict[str, Any]]:
        """theta and slots after a step, with the masks that are the same in each step."""
        ...


def steps_of(
    wiring: Wiring,
    loss: Loss,
    optimizer: Optimizer,
    theta: Array,
    slots: dict[str, Array],
    masks: Mapping[str, Array | None],
    *,
    keep_outputs: bool,
    norm: float | None = None,
) -> Stepper | None:
    """Prepared steps that write into theta and slots; None if nothing is faster than the layers.

    `masks` are vectors for the update that are the same in each step, by the names that it gives them; None is none.
    Before the update, gradients longer than `norm` are shortened.
    """
    owner = library_of(theta)
    vector = None if owner is None else owner.shared(theta)
    chain = chain_of(wiring)
    if owner is None or vector is None or chain is None or vector.dtype.itemsize < 4:
        return None
    if any(slot.shape != theta.shape or slot.dtype != theta.dtype for slot in slots.values()):
        return None
    xp, there = namespace(theta), {name: mask for name, mask in masks.items() if mask is not None}
    numbers = (xp.astype(mask, theta.dtype, copy=False) for mask in there.values())
    read = [owner.shared(each) for each in (*slots.values(), *numbers)]
    try:
        found = rule_in_steps(optimizer, tuple(slots), tuple(there), vector.dtype)
    except NOT_BY_ENTRY:
        return None
    is_joined = loss.is_cross_entropy and _speaks_for_itself(loss, "is_cross_entropy", *COMPUTES_LOSS)
    if is_joined and chain.functions[-1] is not FUNCTIONS["identity"]:
        return None
    own = loss.of_prepared if owner.is_host else _in_library(loss, owner)
    chosen: Any = loss.reduction if is_joined else entries_of(loss, chain, vector.dtype) or own
    frozen = 0 if masks.get("frozen") is None else frozen_at_first(chain, owner.shared(masks["frozen"]))
    steps = Steps(chain, *found, chosen, vector, read, keep_outputs=keep_outputs, frozen=frozen, norm=norm)
    return steps if owner.is_host else SharedSteps(steps, owner)


class SharedSteps:
    """Steps on arrays of another library, through NumPy's arrays of the same memory: no number is copied."""

    def __init__(self, steps: Steps, owner: Library) -> None:
        self.steps, self.owner = steps, owner

    def run(self, x: Any, target: Any, weights: Any, rates: Sequence[float], first: int) -> tuple[Any, Any]:
        """As `Steps.run`; the outputs are the library's."""
        x, target, weights = (None if each is None else self.owner.shared(each) for each in (x, target, weights))
        losses, outputs = self.steps.run(x, target, weights, rates, first)
        return losses, None if outputs is None else self.owner.from_shared(outputs)

    def release(self) -> None:
        """Forget the memory of all batches."""
        self.steps.release()


def _in_library(loss: Loss, owner: Library) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """The loss on NumPy's arrays, computed by the library whose memory they share."""

    def of_prepared(outputs: Any, target: Any, weights: Any) -> tuple[Any, Any]:
        weights = None if weights is None else owner.from_shared(weights)
        value, gradient = loss.of_prepared(owner.from_shared(outputs), owner.from_shared(target), weights)
        return float(value), owner.shared(gradient)

    return of_prepared


def entries_of(loss: Loss, chain: Chain, dtype: DType) -> Entries | None:
    """The `entry` of the loss, if the loss has no other part, so that its gradient may overwrite the outputs."""
    is_mean = all(getattr(getattr(loss, name), "__func__", None) is getattr(Loss, name) for name in COMPUTES_LOSS)
    if not is_mean or chain.functions[-1] is not FUNCTIONS["identity"]:
        return None
    program = program_of(loss.entry, dtype)
    return program and Entries(program, loss.reduction)


def frozen_at_first(chain: Chain, frozen: Any) -> int:
    """How many of the first layers are frozen altogether; the last layer is not counted."""
    whole = [bool(block.all()) for block in chain.cut(frozen)]
    return next((i for i, each in enumerate(whole[:-1]) if not each), len(whole) - 1)


def chain_of(wiring: Wiring) -> Chain | None:
    """The network as a chain, if it consists of dense layers in a row with functions that a chain supports."""
    dense = list(_in_a_row(wiring.network))
    if not all(own(each, "family") == "dense" and each.bias and each.function.elementwise for each in dense):
        return None
    widths = [slot.param.shape for slot in wiring.params.slots if slot.path[-1] == "weight"]
    return Chain((widths[0][0], *(units for _, units in widths)), tuple(each.function for each in dense))


def _in_a_row(layer: Layer) -> Iterator[Any]:
    """The layers of a network, if it consists of plain rows only."""
    if is_plain_row(layer) and not layer.recompute:
        for each in layer.layers:
            yield from _in_a_row(each)
    else:
        yield layer


def rule_in_steps(
    optimizer: Optimizer, names: tuple[str, ...], masks: tuple[str, ...], dtype: DType
) -> tuple[Rule, Any]:
    """The optimizer's whole update as an elementwise function, and the rows of its numbers.

    It is found by running the update on symbols for theta, the gradient, and slots and masks of these names. If the
    update is not elementwise, one of `NOT_BY_ENTRY` is raised.
    """

    def definition(theta: Any, gradient: Any, *others: Any, **numbers: Any) -> Any:
        slots = dict(zip(names, others[: len(names)], strict=True))
        constant = dict(zip(masks, others[len(names) :], strict=True))
        if "frozen" in constant:  # truth values, which come as 0 and 1
            constant["frozen"] = constant["frozen"] > 0.0
        theta, slots = optimizer.update(theta, gradient, slots, numbers, **constant)
        return theta, *(slots[name] for name in names)

    rule = rule_of(definition, 2 + len(names) + len(masks), tuple(optimizer.numbers(0.1, 1)), dtype)
    return rule, rows_of(optimizer.numbers)


COMPUTES_LOSS = ("per_example", "of_prepared", "reduced")


def _speaks_for_itself(settings: object, said: str, *methods: str) -> bool:
    """Whether an attribute of a class is still valid: no derived class overrides the computation."""
    speaker = next(each for each in type(settings).__mro__ if said in vars(each))
    below = type(settings).__mro__[: type(settings).__mro__.index(speaker)]
    return not any(name in vars(each) for each in below for name in methods)
