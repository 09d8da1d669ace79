"""All that is wrong with a table in one error, so that it can be repaired once."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def attempted(problems: list[str], make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """The result of a call; None if it raises a ValueError, whose message is then added to the problems."""
    try:
        return make(*args, **kwargs)
    except ValueError as error:
        problems.append(str(error))
        return None


def refuse_all(problems: list[str]) -> None:
    """Raise a ValueError with all the problems, if there are any."""
    if len(problems) == 1:
        raise ValueError(problems[0])
    if problems:
        numbered = " ".join(f"({k}) {problem}" for k, problem in enumerate(problems, 1))
        raise ValueError(f"the table has {len(problems)} problems: {numbered}")
