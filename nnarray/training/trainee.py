"""The interface of a model that training needs."""

from __future__ import annotations

from typing import Any, Protocol

from nnarray.datasets.sources import Source
from nnarray.functional.propagation import Wiring
from nnarray.names import shown
from nnarray.training.history import History
from nnarray.typing import Array, Shape


def refuse_other(model: Any, call: str) -> None:
    """Refuse anything but a model as the first argument of `call`.

    Raises
    ------
    TypeError
        If it is not a model.
    """
    if not hasattr(model, "wiring"):
        raise TypeError(f"the model comes first, as network.init gives it: {call}; got {shown(model)} in its place.")


class Trainee(Protocol):
    """The interface of a model that training needs."""

    wiring: Wiring
    frozen: frozenset[str]
    history: History
    loss: Any
    metadata: dict[str, Any]

    @property
    def theta(self) -> Array:
        """All parameters as one vector, shape (p,)."""
        ...

    @property
    def state(self) -> Array:
        """The numbers that training updates without gradients, such as running averages, as one vector."""
        ...

    @property
    def input_shape(self) -> Any:
        """The shape of one example, without the batch axis; for several inputs, their shapes by name."""
        ...

    @property
    def inputs(self) -> Any:
        """The shape and the kind of its input; for several inputs, by name."""
        ...

    @property
    def output_shape(self) -> Shape:
        """The shape of the outputs for one example, without the batch axis."""
        ...

    def predict(
        self, X: Array | Source, *, batch_size: int | None = None, check_finite: bool = True, engine: str | None = None
    ) -> Array:
        """The outputs for the examples X, shape (N, ...)."""
        ...

    def snapshot(self) -> tuple[Array, Array]:
        """Copies of the parameters and of the state, for `restore`."""
        ...

    def restore(self, kept: tuple[Array, Array]) -> None:
        """Set the parameters and the state to those of a `snapshot`."""
