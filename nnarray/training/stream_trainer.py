"""A training whose batches come from elsewhere."""

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
    """As `Trainer`, over batches in their own order: how many there are shows at the end of each epoch."""

    def prove(self) -> None:
        """Nothing is known before the first batch."""

    @property
    def batches_per_epoch(self) -> int:
        """Nobody knows; more than one."""
        return UNKNOWN

    def _order(self, number: int) -> None:
        """The batches have their own."""

    @contextmanager
    def _coming(self, number: int, order: Array | None, first: int, limit: int | None) -> Generator[Iterator[Any]]:
        assert isinstance(self.data, Streamed)
        with closing(self.data.epoch(number)) as batches:
            yield islice(batches, first, None if limit is None else first + limit)

    def _note(self, done: Finished, rows: Any, batch: tuple[Any, ...], losses: list[Array], outputs: Any) -> None:
        """With the labels, for the batch is gone."""
        assert isinstance(self.data, Streamed)
        super()._note(done, self.data.y, batch, losses, outputs)

    def _was_one_batch(self, done: Finished) -> bool:
        return len(done.masses) == 1
