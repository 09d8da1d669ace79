"""Where a generated text ends, and the text that may already be shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from nnarray.checks import is_several
from nnarray.names import shown


@dataclass(frozen=True)
class Stops:
    """What ends a text: tokens, or strings that its text has."""

    tokens: frozenset[int] = frozenset()
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, stop: Any, size: int, end: int | None) -> Stops:
        """From an integer, a string or several; `end` is a token that always stops.

        Raises
        ------
        TypeError, ValueError
            If one is anything else, or an integer is no token of a vocabulary of this size.
        """
        several: Iterable[Any] = stop if is_several(stop) else [stop]
        tokens, texts = set[int]() if end is None else {end}, list[str]()
        for each in several:
            if isinstance(each, str) and not each:
                raise ValueError("stop: a text that is empty is everywhere. Pass another text, or leave it out.")
            if isinstance(each, str):
                texts.append(each)
            elif isinstance(each, bool) or not hasattr(each, "__index__"):
                raise TypeError(f"stop must be a token, a text that is not empty, or several; got {shown(each)}.")
            elif not 0 <= each < size:
                raise ValueError(f"stop: token {each} is not in the vocabulary, which has 0 to {size - 1}.")
            else:
                tokens.add(int(each))
        return cls(frozenset(tokens), tuple(texts))


@dataclass
class Text:
    """The text of a generation as it grows. What may be the beginning of a stop is not shown before it is known."""

    stops: tuple[str, ...]
    show: Callable[[str], Any] | None = None
    parts: list[str] = field(default_factory=list)
    waiting: str = ""
    ended: bool = False

    def add(self, new: str) -> None:
        """Continue the text; `ended` is True if it has a stop now."""
        self.waiting += new
        places = [at for stop in self.stops if (at := self.waiting.find(stop)) >= 0]
        if places:
            self.waiting, self.ended = self.waiting[: min(places)], True
            self.finish()
            return
        self._give(len(self.waiting) - self._open())

    def _open(self) -> int:
        """How many characters at the end may be the beginning of a stop."""
        longest = max(map(len, self.stops), default=1) - 1
        lengths = range(min(longest, len(self.waiting)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(self.waiting[-n:]) for stop in self.stops)), 0)

    def _give(self, count: int) -> None:
        text, self.waiting = self.waiting[:count], self.waiting[count:]
        if text:
            self.parts.append(text)
            if self.show is not None:
                self.show(text)

    def finish(self) -> str:
        """All of the text, when nothing comes any more."""
        self._give(len(self.waiting))
        return "".join(self.parts)
