"""The answers of a file compared with those that it must give, before it is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from nnarray.onnx.writing.checking import REMEDY, runner


class Answers(NamedTuple):
    """What a file must give for some inputs."""

    numbers: Any
    """Probabilities or values, shape (N, K)."""
    allowed: Any
    """The differences that rounding explains."""
    labels: Any = None
    """Shape (N,), or 0 and 1 of shape (N, K); None where values are predicted."""


def refuse_other_answers(data: bytes, cases: Iterable[tuple[dict[str, Any], Answers]], of: str) -> None:
    """Run a file on inputs by name; `of` names what gives the right answers.

    Raises
    ------
    ValueError
        If the file cannot be computed, or its answers are others by more than rounding.
    """
    run, by = runner(data)
    for feed, right in cases:
        try:
            *labels, numbers = run(feed)
        except Exception as error:
            raise ValueError(f"the file was not written: {by} cannot compute it ({error}). {REMEDY}") from error
        if how := _difference(labels, numbers, right):
            raise ValueError(f"the file was not written: as {by} computes it, {how} of {of}. {REMEDY}")


def _difference(labels: list[Any], numbers: Any, right: Answers) -> str:
    """How answers differ; "" if they do not."""
    wanted = right.numbers
    if (numbers.shape, numbers.dtype) != (wanted.shape, wanted.dtype):
        return (
            f"its numbers are {numbers.dtype} of shape {numbers.shape}, not {wanted.dtype} of {wanted.shape} as those"
        )
    far = np.abs(numbers.astype(np.float64) - wanted)
    if not (far <= right.allowed).all():
        return f"a number differs by {far.max():.2g} from that"
    if right.labels is None:
        return ""
    sure = _sure(wanted, 2 * right.allowed, right.labels.ndim)
    (given,) = labels
    kinds = {each.dtype.kind.replace("U", "O") for each in (given, right.labels)}
    if len(kinds) > 1 or given.shape != right.labels.shape or (given[sure] != right.labels[sure]).any():
        return f"the labels are {given[:5].tolist()}, not {right.labels[:5].tolist()} as those"
    return ""


def _sure(p: np.ndarray, allowed: Any, axes: int) -> np.ndarray:
    """Where rounding does not change the label: the largest probability is clear, or each one is not 1/2."""
    if axes > 1:
        return np.abs(p - 0.5) > allowed
    if p.shape[1] == 1:
        return np.ones(len(p), dtype=bool)
    second, first = np.sort(p, axis=1)[:, -2:].T
    return first - second > allowed
