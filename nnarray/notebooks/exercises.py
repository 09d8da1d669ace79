"""The exercises of the notebooks: what is right, a hint for each, and a friendly verdict on what the reader wrote."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nnarray.drawing.canvas import on_host

TOLERANCE = 0.005
"""How far an answer may be off, relative to the largest number of the right one: readers round to three digits."""


class Exercise(NamedTuple):
    """What is right, and what helps a reader who is not there yet."""

    wanted: Any
    """A number, a tuple of numbers, or a function that gives the right ones."""
    hint: str
    at: tuple[tuple[Any, ...], ...] = ()
    """Arguments with which functions are compared."""


def _huber(e: float) -> float:
    return e * e / 2 if abs(e) <= 0.5 else 0.5 * (abs(e) - 0.25)


def _softmax(z: list[float]) -> list[float]:
    powers = [math.exp(each) for each in z]
    return [power / sum(powers) for power in powers]


def _slope(w: float) -> float:
    a = math.tanh(2.0 * w - 0.6)
    return 2 * (a - 1.0) * (1 - a * a) * 2.0


EXERCISES = {
    "1.1": Exercise(10, "the rule and the formula agree where 2 C + 30 = 1.8 C + 32."),
    "1.2": Exercise(128, "64 intervals have an error of 0.0012. Twice the intervals make it four times smaller."),
    "1.3": Exercise(
        _huber,
        "inside of 0.5 it is e ** 2 / 2, and outside of it 0.5 * (abs(e) - 0.25).",
        ((0.0,), (0.4,), (-0.3,), (2.0,), (-1.5,)),
    ),
    "1.4": Exercise(0.3, "new slope = slope - rate * derivative; minus times minus is plus."),
    "2.1": Exercise(27, "count the entries of W1 and b1, then those of W2 and b2."),
    "2.2": Exercise(11.5, "multiply 1 by 3 and 2 by 4, add the two products, then add 0.5."),
    "2.3": Exercise((200, 3), "a row for each example, and a column for each neuron."),
    "2.4": Exercise(
        _softmax,
        "take math.exp of each number, then divide each by their sum.",
        (([0.0, 0.0],), ([2.0, 1.0, 0.0],), ([-1.0, 3.0],)),
    ),
    "3.1": Exercise(-0.5305, "u = w x has the rate w for x; multiply it by du, which is -1.061."),
    "3.2": Exercise(
        _slope, "2 * (a - t) * (1 - a ** 2) * x, with a = math.tanh(w * x + b).", ((0.5,), (-1.0,), (0.0,), (1.5,))
    ),
    "3.3": Exercise(0.1, "rows of A and dZ: 2 * 0.1 + 0 * 0.4 + (-1) * 0.1; look for column 2 of A, column 1 of dZ."),
    "3.4": Exercise(14_000_000, "two losses for each parameter."),
    "4.1": Exercise(307_200, "32 x 32 positions, 3 channels, 100 neurons."),
    "4.2": Exercise((62, 62), "a kernel of 3 rows fits in at 64 - 2 positions from top to bottom."),
    "4.3": Exercise(1200, "5 x 5 positions, 3 channels, 16 kernels, and no bias."),
    "4.4": Exercise(15_872, "1 x 1 x 192 x 16 for the first convolution, 5 x 5 x 16 x 32 for the second."),
    "5.1": Exercise(256, "16 rows with 16 squares each."),
}


def check(name: str, answer: Any) -> None:
    """Print whether the answer to an exercise is right, not right yet, or still missing.

    Parameters
    ----------
    name : str
        Of the exercise, such as "2.1".
    answer : number, tuple or list of numbers, array, or function
        What the reader wrote; `...`, three dots, stands for what is not written yet. Numbers may be rounded: off by
        half a per cent is right.

    Raises
    ------
    ValueError
        If there is no exercise of that name.

    Examples
    --------
    >>> from nnarray.notebooks import check
    >>> check("2.1", ...)
    Exercise 2.1: not yet. Write your answer in place of the three dots, and run the cell again.
    >>> check("2.1", 25)
    Exercise 2.1: not right yet; you have 25. Hint: count the entries of W1 and b1, then those of W2 and b2.
    >>> check("2.1", 27)
    Exercise 2.1: right!
    """
    if name not in EXERCISES:
        raise ValueError(f"there is no exercise {name!r}; there are {', '.join(EXERCISES)}.")
    exercise = EXERCISES[name]
    said = _of_function(exercise, answer) if callable(exercise.wanted) else _of_numbers(exercise.wanted, answer)
    hint = f" Hint: {exercise.hint}" if said.startswith("not right yet") else ""
    print(f"Exercise {name}: {said}{hint}")


def _of_function(exercise: Exercise, answer: Any) -> str:
    """The verdict on a function: the first arguments at which it is wrong, if any."""
    if answer is ...:
        return _MISSING
    if not callable(answer):
        return f"a function is asked for, one that begins with def; you have {answer!r}."
    for arguments in exercise.at:
        said = _at(answer, exercise.wanted, arguments)
        if said != "right!":
            return said
    return "right!"


def _at(answer: Callable[..., Any], wanted: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    shown = ", ".join(map(repr, arguments))
    try:
        got = answer(*arguments)
    except Exception as error:
        return f"not right yet; for {shown} your function stops with {type(error).__name__}: {error}."
    if got is None:
        return "not yet. Your function gives nothing back: write its lines, and end it with return."
    said = _of_numbers(wanted(*arguments), got)
    return f"{said.removesuffix('.')} for {shown}." if said.startswith("not right yet") else said


_MISSING = "not yet. Write your answer in place of the three dots, and run the cell again."


def _of_numbers(wanted: Any, answer: Any) -> str:
    """The verdict on one number, or on several."""
    if answer is ... or answer is None:
        return _MISSING
    right = np.asarray(wanted, dtype=float)
    asked = "one number is" if right.ndim == 0 else f"{right.size} numbers are"
    other = f"not right yet; {asked} asked for, you have {answer!r}."
    try:
        given = np.asarray(on_host(answer), dtype=float)
    except (TypeError, ValueError):
        return f"{other} Write numbers without quotes." if isinstance(answer, str) else other
    if given.size != right.size:
        return other
    given = given.reshape(right.shape)
    near = np.abs(given - right) <= TOLERANCE * np.abs(right).max() + 1e-9  # not so for nan
    return "right!" if near.all() else f"not right yet; you have {answer!r}."
