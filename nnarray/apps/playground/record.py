"""What a session has done since its weights were drawn, in order, so that a script can do the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nnarray.apps.playground.built import Call
from nnarray.apps.playground.settings import TrainingSettings

LONGEST = 1000
"""The largest number of entries; a session that was changed more often has no script."""


class Made(NamedTuple):
    """The examples were made; the lines of Python that make them again."""

    code: tuple[str, ...]
    precision: str


class Drawn(NamedTuple):
    """A network got freshly drawn parameters; `keeps` if it then took those of the network before that fit."""

    network: Call
    inputs: tuple[int, ...]
    seed: int
    precision: str
    keeps: bool


class Set(NamedTuple):
    """A number of a parameter was set."""

    name: str
    position: tuple[int, ...]
    value: float


class Loaded(NamedTuple):
    """The user's own model was given: its numbers by name, as nested lists."""

    numbers: dict[str, Any]


@dataclass
class Trained:
    """Epochs of one training. A learning rate that was set by hand within it stands in `rates`."""

    settings: TrainingSettings
    loss: str
    seed: int
    rates: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    epochs: int = 0
    earlier: int = 0
    """The steps of the trainings before it whose memory its optimizer began with; 0 if it began with none."""
    diverged: bool = False
    """Whether the epoch after these ended it: a number became NaN or infinite."""

    @property
    def is_used(self) -> bool:
        """Whether it changed the parameters."""
        return self.epochs > 0 or self.diverged


Entry = Made | Drawn | Set | Loaded | Trained


class Record:
    """The entries since the weights were drawn."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def begin(self, made: Made, drawn: Drawn) -> None:
        """Forget what was before a reset."""
        self.entries = [made, drawn]

    def add(self, entry: Any) -> None:
        """Add an entry; examples that nothing was trained with, and trainings without an epoch, are left out."""
        last = self.entries[-1] if self.entries else None
        unused = isinstance(last, Trained) and not last.is_used
        if unused or (isinstance(last, Made) and isinstance(entry, Made)):
            self.entries.pop()
        if len(self.entries) <= LONGEST:
            self.entries.append(entry)

    @property
    def is_too_long(self) -> bool:
        """Whether entries are missing."""
        return len(self.entries) > LONGEST
