"""One step in words, line by line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnarray.explanations.records import Check, ParameterGradient, Signal, Step
from nnarray.typing import Shape

RESTS = "a head, which is run in training only"
UNASKED = "none, as neither this layer nor one before it has parameters"

FORWARD_WORDS = (
    "Each layer takes the outputs of the layer before. The norm of an array is the root of the sum of squares.",
)

BACKWARD_WORDS = (
    "From the last layer to the first, the chain rule gives the change of the loss L with each number. To check it,",
    "all entries p of a parameter are moved a little along a random direction u: (L(p + h u) - L(p - h u)) / 2h, which",
    "knows nothing of the chain rule, must be the sum of dL/dp u.",
)


def heading_lines(model: str, examples: int, given: int) -> list[str]:
    """What the step is made of: the network, and how many examples of those given."""
    some = f"{examples} example{'' if examples == 1 else 's'}"
    if given > examples:
        some = f"{examples} of {given} examples"
    return [
        f"One step of {model}",
        f"with {some}, at inference: dropout is off, and batch normalisation uses its running averages.",
    ]


def forward_text(step: Step) -> list[str]:
    """The lines of one layer going forward: its formula, its shapes, and what it gives."""
    pad = "  " * step.depth
    gives = signal_text(step.outputs) if step.outputs else f"{step.output_shape}: {RESTS}"
    lines = [f"{pad}{step.name}  {step.layer}", f"{pad}  {step.formula}", f"{pad}  {step.input_shape} -> {gives}"]
    return [*lines, *by_hand(step.arithmetic.forward, pad), ""]


def by_hand(lines: Sequence[str], pad: str = "") -> list[str]:
    """Lines of arithmetic, below what they belong to."""
    return [f"{pad}    {line}" for line in lines]


def backward_text(step: Step) -> list[str]:
    """The lines of one layer going backward: dL/dy, the gradient and check of each parameter, and dL/dx."""
    pad = "  " * step.depth
    lines = [f"{pad}{step.name}  {step.layer}", f"{pad}  dL/dy in: {signal_text(step.dy) if step.dy else UNASKED}"]
    for each in step.gradients:
        lines.append(
            f"{pad}  dL/d{each.name}: {_size(each)}, values {listed(each.values, each.shape)}{frozen_note(each)}"
        )
        if each.check:
            lines.append(f"{pad}    check: {_checked(each.check)}")
    if step.dx:
        lines.append(f"{pad}  dL/dx out: {signal_text(step.dx)}")
    return [*lines, *by_hand(step.arithmetic.backward, pad), ""]


def signal_text(signal: Signal) -> str:
    """The shape and the norm of an array, and the first values of the first example."""
    values = listed(signal.values, signal.shape[1:])
    return f"shape {signal.shape}, norm {rounded(signal.norm)}, first example {values}"


def _size(gradient: ParameterGradient) -> str:
    return f"shape {gradient.shape}, norm {rounded(gradient.norm)}, largest {rounded(gradient.largest)}"


def frozen_note(gradient: ParameterGradient) -> str:
    """A note for a parameter that is frozen; an empty text for the others."""
    return " (frozen: training does not change it)" if gradient.frozen else ""


def _checked(check: Check) -> str:
    return (
        f"along u {check.gradient:.8g}, by finite differences {check.difference:.8g}, relative difference "
        f"{check.relative:.0e}: {verdict_on(check)}"
    )


def verdict_on(check: Check) -> str:
    """Whether a check passed, in words."""
    return ("ok" if check.ok else "NOT ok") + (
        " (checked nearby, as the loss has a corner here)" if check.aside else ""
    )


def listed(values: Sequence[float], shape: Shape) -> str:
    """The values with commas between them; dots at the end if an array of this shape has more values."""
    more = ", ..." if math.prod(shape) > len(values) else ""
    return ", ".join(map(rounded, values)) + more


def rounded(value: float) -> str:
    """The number with four significant digits."""
    return f"{value:.4g}"
