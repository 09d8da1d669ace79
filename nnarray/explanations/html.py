"""One step as the tables of a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from nnarray.explanations.records import Step
from nnarray.explanations.text import RESTS, UNASKED, frozen_note, listed, rounded, signal_text, verdict_on

FORWARD = ("layer", "", "formula", "shapes in and out", "gives, first example")
BACKWARD = ("layer", "", "shape", "norm, largest", "first values", "along u", "finite difference", "check")


def forward_row(step: Step) -> tuple[str, str, str, str, str]:
    """The cells of one layer in the forward table, in the order of `FORWARD`."""
    gives = listed(step.outputs.values, step.output_shape[1:]) if step.outputs else RESTS
    return (step.name, step.layer, step.formula, f"{step.input_shape} -> {step.output_shape}", gives)


def backward_rows(step: Step) -> Iterator[tuple[str, ...]]:
    """The rows of one layer in the backward table: dL/dy that comes in, then one row for each parameter."""
    heading = f"dL/dy in: {signal_text(step.dy)}" if step.dy else f"dL/dy in: {UNASKED}"
    yield (step.name, heading, "", "", "", "", "", "")
    for gradient in step.gradients:
        check = gradient.check
        yield (
            "",
            f"dL/d{gradient.name}{frozen_note(gradient)}",
            f"{gradient.shape}",
            f"{rounded(gradient.norm)}, {rounded(gradient.largest)}",
            listed(gradient.values, gradient.shape),
            *((f"{check.gradient:.8g}", f"{check.difference:.8g}", verdict_on(check)) if check else ("", "", "")),
        )


def table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], caption: str) -> str:
    """A table of a page; everything in it is text."""

    def cells(row: tuple[str, ...], tag: str) -> str:
        look = ' style="text-align: left"'
        return "".join(f"<{tag}{look}>{html.escape(cell)}</{tag}>" for cell in row)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    head = f"<thead><tr>{cells(titles, 'th')}</tr></thead>"
    return f"<table><caption>{html.escape(caption)}</caption>{head}<tbody>{body}</tbody></table>"


def listing(lines: Sequence[str]) -> str:
    """Lines of arithmetic on a page; nothing if there are none."""
    if not lines:
        return ""
    return f"<p>One entry of each step, by hand:</p><pre>{html.escape(chr(10).join(lines))}</pre>"
