"""A constant array among the settings of a layer, which files keep beside the parameters."""

from __future__ import annotations

from typing import Any

from nnarray.backends import host_backend, read_only


class Tensor:
    """A constant array on the host, which nobody changes.

    Attributes
    ----------
    values : array
        Of the host's library; read-only.
    """

    __slots__ = ("values",)

    def __init__(self, values: Any) -> None:
        host = host_backend()
        self.values = read_only(host.xp.asarray(values, device=host.device))

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        return tuple(self.values.shape)

    @property
    def dtype(self) -> Any:
        """The dtype of all entries."""
        return self.values.dtype

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensor) or (self.shape, self.dtype) != (other.shape, other.dtype):
            return False
        return self.values is other.values or self.values.tobytes() == other.values.tobytes()

    def __hash__(self) -> int:
        return hash((self.shape, str(self.dtype)))

    def __repr__(self) -> str:
        return f"Tensor({self.dtype}, {self.shape})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Tensor, (self.values,)
