"""What each layer does in one step, as numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nnarray.backends import namespace
from nnarray.explanations.arithmetic import arithmetic_of
from nnarray.explanations.differences import Differences
from nnarray.explanations.formulas import formula_of
from nnarray.explanations.records import ParameterGradient, Signal, Step
from nnarray.functional.hooks import Passage
from nnarray.functional.layout import Slot
from nnarray.functional.summary import written
from nnarray.kernels.standard.numerics import at_least_float32
from nnarray.model import Model
from nnarray.typing import Array

SHOWN = 4
"""How many values of an array are shown."""


def steps_of(
    model: Model, passages: dict[str, Passage], gradient: Array, checks: Differences | None, batch: int
) -> Iterator[Step]:
    """One record for each layer, in the order of the model's summary; `gradient` is that of theta, shape (p,)."""
    lines, gradients = model.summary().lines, model.wiring.params.views(gradient)
    params = model.wiring.params.views(model.theta)
    names = {line.name for line in lines}
    for line in lines:
        passage = passages.get(line.name)
        own = [each for each in model.wiring.params.slots if _owner(each, names) == line.name]
        local = {each.name: each.name.removeprefix(f"{line.name}.") for each in own}
        learning = {local[name]: gradients[name] for name in local if name not in model.frozen}
        yield Step(
            name=line.name,
            layer=written(line),
            formula=formula_of(line.layer),
            depth=line.depth,
            input_shape=_batched(batch, line.input_shape),
            output_shape=(batch, *line.output_shape),
            outputs=signal_of(passage.y) if passage else None,
            dy=signal_of(passage.dy) if passage and passage.dy is not None else None,
            dx=signal_of(passage.dx) if passage and hasattr(passage.dx, "shape") else None,
            gradients=tuple(_gradient(model, each, line.name, gradients[each.name], checks) for each in own),
            arithmetic=arithmetic_of(line.layer, {local[name]: params[name] for name in local}, learning, passage),
        )


def _owner(where: Slot, names: set[str]) -> str:
    """The path of the innermost layer that a parameter belongs to."""
    paths = (".".join(where.path[:end]) for end in range(len(where.path) - 1, 0, -1))
    return next((path for path in paths if path in names), "")


def _gradient(model: Model, where: Slot, layer: str, gradient: Array, checks: Differences | None) -> ParameterGradient:
    xp = namespace(gradient)
    return ParameterGradient(
        name=where.name.removeprefix(f"{layer}."),
        shape=where.param.shape,
        norm=_norm(gradient),
        largest=float(xp.max(xp.abs(gradient))),
        values=_first(gradient),
        frozen=where.name in model.frozen,
        check=checks.check(where) if checks else None,
    )


def _batched(batch: int, shape: Any) -> Any:
    if isinstance(shape, Mapping):
        return {name: _batched(batch, each) for name, each in shape.items()}
    return (batch, *shape)


def signals_of(x: Any, name: str = "x") -> dict[str, Signal]:
    """As `signal_of` of each input, by what formulas call it."""
    if isinstance(x, Mapping):
        return {k: signal for n, each in x.items() for k, signal in signals_of(each, f"{name}[{n!r}]").items()}
    floating = namespace(x).isdtype(x.dtype, "real floating")
    return {name: signal_of(x if floating else namespace(x).astype(x, namespace(x).float32))}


def signal_of(x: Array) -> Signal:
    """The shape, the norm and the first values of an array, shape (batch, ...)."""
    return Signal(tuple(x.shape), _norm(x), _first(x[0, ...]))


def _norm(x: Array) -> float:
    xp, x = namespace(x), at_least_float32(x)  # half precision counts to 65,504 at most
    return float(xp.sqrt(xp.sum(x * x)))


def _first(x: Array) -> tuple[float, ...]:
    flat = namespace(x).reshape(x, (-1,))
    return tuple(float(flat[i]) for i in range(min(SHOWN, flat.shape[0])))
