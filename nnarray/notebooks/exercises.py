"""The exercises of the notebooks: what is right, a hint for each, and a friendly verdict on what the reader wrote."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from nnarray.drawing.canvas import on_host

TOLERANCE = 0.005
"""How far an answer may be off, relative to the largest number of the right one: readers round to three digits.

Counts and shapes, which are integers, are exact.
"""


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


def _attended(scores: list[float], values: list[float]) -> float:
    return sum(p * v for p, v in zip(_softmax(scores), values, strict=True))


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
    "6.1": Exercise(math.log(45), "each letter has the probability 1 / 45; take minus its logarithm, math.log."),
    "6.2": Exercise(14, "3 x 2 numbers for the input, 2 x 2 for the state, and two biases for each of the 2 units."),
    "6.3": Exercise(0.881, "the products are 2 and -2; divide by 2, the root of 4, and take the softmax of 1 and -1."),
    "6.4": Exercise(
        _attended,
        "take math.exp of each score, divide by their sum, multiply by the values, and add.",
        (([0.0, 0.0], [1.0, 3.0]), ([2.0, 0.0, 1.0], [1.0, -1.0, 0.5]), ([-1.0, 4.0], [0.0, 2.0])),
    ),
    "6.5": Exercise(0.982, "the logits are divided by 0.5 first: take the softmax of 4 and 0."),
}


class Words(NamedTuple):
    """What is said to an answer, in one language."""

    line: str = "Exercise {name}: {said}"
    right: str = "right!"
    missing: str = "not yet. Write your answer in place of the three dots, and run the cell again."
    no_function: str = "a function is asked for, one that begins with def; you have {answer}."
    stops: str = "not right yet; for {arguments} your function stops with {error}."
    nothing: str = "not yet. Your function gives nothing back: write its lines, and end it with return."
    wrong: str = "not right yet; you have {answer}."
    wrong_there: str = "not right yet; you have {answer} for {arguments}."
    wrong_one: str = "not right yet; one number is asked for, you have {answer}."
    wrong_many: str = "not right yet; {count} numbers are asked for, you have {answer}."
    quotes: str = " Write numbers without quotes."
    hint: str = " Hint: {hint}"
    hints: Mapping[str, str] = {name: each.hint for name, each in EXERCISES.items()}


ENGLISH = Words()


def check(name: str, answer: Any) -> None:
    """Print whether the answer to an exercise is right, not right yet, or still missing.

    Parameters
    ----------
    name : str
        Of the exercise, such as "2.1".
    answer : number, tuple or list of numbers, array, or function
        What the reader wrote; `...`, three dots, stands for what is not written yet. Real numbers may be rounded:
        off by half a per cent is right. Counts and shapes are exact.

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
    print(verdict(name, answer, ENGLISH))


def verdict(name: str, answer: Any, words: Words) -> str:
    """What is said to the answer of an exercise; described in `check`."""
    if name not in EXERCISES:
        raise ValueError(f"there is no exercise {name!r}; there are {', '.join(EXERCISES)}.")
    exercise = EXERCISES[name]
    of_function = callable(exercise.wanted)
    said, is_wrong = _of_function(exercise, answer, words) if of_function else _of_numbers(exercise, answer, words)
    return words.line.format(name=name, said=said) + (words.hint.format(hint=words.hints[name]) if is_wrong else "")


def _of_function(exercise: Exercise, answer: Any, words: Words) -> tuple[str, bool]:
    """The verdict on a function, and whether it is wrong: the first arguments at which it is wrong, if any."""
    if answer is ...:
        return words.missing, False
    if not callable(answer):
        return words.no_function.format(answer=repr(answer)), False
    for arguments in exercise.at:
        said, is_wrong = _at(answer, exercise.wanted, arguments, words)
        if said != words.right:
            return said, is_wrong
    return words.right, False


def _at(
    answer: Callable[..., Any], wanted: Callable[..., Any], arguments: tuple[Any, ...], words: Words
) -> tuple[str, bool]:
    shown = ", ".join(map(repr, arguments))
    try:
        got = answer(*arguments)
    except Exception as error:
        return words.stops.format(arguments=shown, error=f"{type(error).__name__}: {error}"), True
    if got is None:
        return words.nothing, False
    at = words._replace(wrong=words.wrong_there.replace("{arguments}", shown))
    return _of_numbers(Exercise(wanted(*arguments), ""), got, at)


def _of_numbers(exercise: Exercise, answer: Any, words: Words) -> tuple[str, bool]:
    """The verdict on one number, or on several, and whether they are wrong."""
    if answer is ... or answer is None:
        return words.missing, False
    right = np.asarray(exercise.wanted, dtype=float)
    template = words.wrong_one if right.ndim == 0 else words.wrong_many
    other = template.format(count=right.size, answer=repr(answer))
    try:
        given = np.asarray(on_host(answer), dtype=float)
    except (TypeError, ValueError):
        return f"{other}{words.quotes if isinstance(answer, str) else ''}", True
    if given.size != right.size:
        return other, True
    given = given.reshape(right.shape)
    tolerance = 0.0 if np.asarray(exercise.wanted).dtype.kind == "i" else TOLERANCE
    near = np.abs(given - right) <= tolerance * np.abs(right).max() + 1e-9  # not so for nan
    return (words.right, False) if near.all() else (words.wrong.format(answer=repr(answer)), True)
