"""Examples in a stream of batches: each batch is checked when it arrives, and dropped after its step."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nnarray.backends import backend_of
from nnarray.datasets.streams import Stream
from nnarray.layers.kinds import Spec
from nnarray.losses import Loss
from nnarray.names import shown
from nnarray.training.augmenting import Augmentation, check_images
from nnarray.training.data import Data, prepare
from nnarray.training.trainee import Trainee
from nnarray.typing import Array


class StreamBatch(NamedTuple):
    """A batch as the stream returns it."""

    given: Any
    epoch: int
    number: int

    @property
    def name(self) -> str:
        """Its name in errors."""
        return f"batch {self.number + 1} of epoch {self.epoch + 1}"

    @property
    def parts(self) -> tuple[Any, Any, Any]:
        """The inputs, the target, and the weights or None."""
        if not isinstance(self.given, tuple | list) or len(self.given) not in (2, 3):
            raise TypeError(f"a batch must be (X, y) or (X, y, sample_weight); got {shown(self.given)}.")
        X, y, weights = (*self.given, None)[:3]
        return X, y, weights

    @contextmanager
    def naming(self) -> Generator[StreamBatch]:
        """Errors say in which batch they are."""
        try:
            yield self
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{self.name}: {error}") from error


@dataclass
class Streamed:
    """The counterpart of `Data` for a stream, whose examples are not known in advance."""

    model: Trainee
    stream: Stream
    loss: Loss
    check_finite: bool
    augment: Augmentation | None = None
    examples: Any = None
    x: Any = None
    inputs: Any = None
    target: Any = None
    weights: Any = None
    kept: Any = field(default=None, repr=False)
    """The targets of the last batch, and the weights that the user gives it, as `labels` returns them."""
    weighted: bool | None = None
    """Whether batches have weights; None before the first."""

    @property
    def is_flat(self) -> bool:
        """Whether an example is a vector."""
        wanted = self.model.inputs
        return isinstance(wanted, Spec) and len(wanted.shape) == 1

    def size_of_batches(self, wanted: int | None) -> int:
        """Their own."""
        return 0

    def epoch(self, number: int) -> Generator[StreamBatch]:
        """The batches of an epoch, not yet checked."""
        with closing(self.stream.epoch(number)) as batches:
            for i, given in enumerate(batches):
                yield StreamBatch(given, number, i)

    def batch(self, rows: Any) -> tuple[Any, Array, Array | None]:
        """The inputs, the target and the weights of a batch, checked and moved to the model's device.

        Raises
        ------
        TypeError, ValueError
            If the batch does not fit; the message has its number.
        """
        with rows.naming():
            data = self._prepared(rows)
        self.kept = data.labels(None)
        return data.batch(None)

    def labels(self, rows: Any) -> tuple[Array, Array | None]:
        """The targets and the weights that were kept of a batch."""
        return rows

    def _prepared(self, rows: StreamBatch) -> Data:
        X, y, weights = (self._moved(each) for each in rows.parts)
        weighted = weights is not None
        if weighted is not (weighted if self.weighted is None else self.weighted):
            raise ValueError(
                f"it has {'' if weighted else 'no '}weights, unlike those before it. Pass weights with each batch, "
                f"or with none."
            )
        self.weighted = weighted
        data = prepare(self.model, X, y, weights, self.loss, check_finite=self.check_finite)
        if self.check_finite:
            check_images(self.augment, data.inputs)
        return data

    def _moved(self, x: Any) -> Any:
        if isinstance(x, Mapping):
            return {name: self._moved(each) for name, each in x.items()}
        return None if x is None else backend_of(self.model.theta).asarray(x)
