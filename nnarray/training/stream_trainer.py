"""A training on a stream of batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from nnarray.training.streamed import Streamed
from nnarray.training.trainer import Finished, Trainer
from nnarray.typing import Array

UNKNOWN = 2**62


@dataclass
class StreamTrainer(Trainer):
    """As `Trainer`, for batches in their own order, whose number is known only after each epoch."""

    def prove(self) -> None:
        """No check: nothing is known before the first batch."""

    @property
    def batches_per_epoch(self) -> int:
        """Unknown; more than one."""
        return UNKNOWN

    def _order(self, number: int) -> None:
        """None: the batches have their own order."""

    @contextmanager
    def _coming(self, number: int, order: Array | None, first: int, limit: int | None) -> Generator[Iterator[Any]]:
        assert isinstance(self.data, Streamed)
        with closing(self.data.epoch(number)) as batches:
            yield islice(batches, first, None if limit is None else first + limit)

    def _note(self, done: Finished, rows: Any, batch: tuple[Any, ...], losses: list[Array], outputs: Any) -> None:
        """The outputs with the labels, as the batch is not kept."""
        assert isinstance(self.data, Streamed)
        super()._note(done, self.data.kept, batch, losses, outputs)

    def _was_one_batch(self, done: Finished) -> bool:
        return len(done.masses) == 1
