"""One forward and backward step, to print, to show in a notebook, and to read."""

from __future__ import annotations

import html
from dataclasses import dataclass

from nnarray.explanations.html import BACKWARD, FORWARD, backward_rows, forward_row, listing, table
from nnarray.explanations.records import Arithmetic, Signal, Step
from nnarray.explanations.text import (
    BACKWARD_WORDS,
    FORWARD_WORDS,
    backward_text,
    by_hand,
    forward_text,
    heading_lines,
    listed,
    rounded,
    signal_text,
)


@dataclass(frozen=True)
class Explanation:
    """One forward and backward step; print it, show it in a notebook, or read its `steps`.

    Attributes
    ----------
    steps : tuple of Step
        One a layer, in order; a layer made of layers comes before those inside.
    loss : float
    loss_name, loss_formula : str
    loss_arithmetic : Arithmetic
        The loss of the first example, and where backpropagation begins, with their numbers.
    examples, given : int
        How many examples were used, and how many were given.
    inputs : dict of str to Signal
        What goes into the network: "x", or each input by its name.
    output_gradient : Signal
        The gradient of the loss with respect to the network's outputs, where backpropagation begins.
    model, place, dtype : str
        What the network is, and where and in which numbers it computes.
    checked_in : str
        The dtype of the finite differences; empty if there are none.
    """

    steps: tuple[Step, ...]
    loss: float
    loss_name: str
    loss_formula: str
    loss_arithmetic: Arithmetic
    examples: int
    given: int
    inputs: dict[str, Signal]
    output_gradient: Signal
    model: str
    place: str
    dtype: str
    checked_in: str

    @property
    def ok(self) -> bool:
        """Whether no finite difference contradicts the gradient."""
        return not self._wrong()

    def _wrong(self) -> list[str]:
        """The parameters that are not ok, the last layer first."""
        return [
            f"{step.name}.{gradient.name}"
            for step in reversed(self.steps)
            for gradient in step.gradients
            if gradient.check and not gradient.check.ok
        ]

    def __str__(self) -> str:
        parts = [
            [*heading_lines(self.model, self.examples, self.given), ""],
            ["FORWARD", *FORWARD_WORDS, "", *(f"{name} = {signal_text(x)}" for name, x in self.inputs.items()), ""],
        ]
        parts += [forward_text(step) for step in self.steps]
        parts += [self._loss_text(), ["BACKWARD", *BACKWARD_WORDS, ""]]
        start = [f"  dL/dy out: {signal_text(self.output_gradient)}", *by_hand(self.loss_arithmetic.backward)]
        parts += [["loss", *start, ""]]
        parts += [backward_text(step) for step in reversed(self.steps) if step.outputs]
        return "\n".join(line for part in parts for line in part) + "\n" + self._verdict()

    __repr__ = __str__

    def _loss_text(self) -> list[str]:
        return [
            f"loss  {self.loss_name}",
            f"  {self.loss_formula}",
            f"  L = {rounded(self.loss)}",
            *by_hand(self.loss_arithmetic.forward),
            "",
        ]

    def _verdict(self) -> str:
        wrong = self._wrong()
        if not self.checked_in:
            return "No finite differences were taken."
        if not wrong:
            return f"Finite differences in {self.checked_in} agree with all gradients: ok."
        return (
            f"NOT ok: {', '.join(wrong)}. In the backward pass, the first is {wrong[0]}: check the pullback "
            f"of its layer, and those of the layers after it and of the loss, which compute its dL/dy. In a layer of "
            f"your own, you may leave the pullback out: it then follows from the forward pass."
        )

    def _by_hand(self) -> list[str]:
        """One entry of each step with its numbers, forward and then back."""
        lines = [(step.name, step.arithmetic) for step in self.steps] + [("loss", self.loss_arithmetic)]
        forward = [f"{name}: {line}" for name, each in lines for line in each.forward]
        return forward + [f"{name}: {line}" for name, each in reversed(lines) for line in each.backward]

    def _repr_html_(self) -> str:
        heading, *rest = heading_lines(self.model, self.examples, self.given)
        forward = [(name, "", "", f"{x.shape}", listed(x.values, x.shape[1:])) for name, x in self.inputs.items()]
        forward += [forward_row(step) for step in self.steps]
        loss = ("loss", self.loss_name, self.loss_formula, "", rounded(self.loss))
        backward = [row for step in reversed(self.steps) if step.outputs for row in backward_rows(step)]
        start = ("loss", f"dL/dy out: {signal_text(self.output_gradient)}", *[""] * 6)
        return "".join(
            [
                f"<p><b>{html.escape(heading)}</b><br>{html.escape(' '.join(rest))}</p>",
                table(FORWARD, [*forward, loss], " ".join(("Forward.", *FORWARD_WORDS))),
                table(BACKWARD, [start, *backward], " ".join(("Backward.", *BACKWARD_WORDS))),
                listing(self._by_hand()),
                f"<p>{html.escape(self._verdict())}</p>",
            ]
        )
