"""A layer around another layer: everything but the forward pass is that of the layer inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnarray.layers.base import Layer
from nnarray.layers.kinds import Takes
from nnarray.typing import Shape


@dataclass(frozen=True, eq=False)
class Wrapped(Layer):
    """The settings of another layer; a derived class defines `forward`."""

    inner: Layer

    @property
    def masking(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The masking of the wrapped layer."""
        return self.inner.masking

    @property
    def reads_texts(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the wrapped layer."""
        return self.inner.reads_texts

    @property
    def takes(self) -> Takes:
        """The kind of inputs of the wrapped layer."""
        return self.inner.takes

    def params(self, shape: Shape) -> dict[str, Any]:
        """The parameters of the wrapped layer."""
        return self.inner.params(shape)

    def initial_state(self, shape: Shape) -> dict[str, Any]:
        """The state of the wrapped layer."""
        return self.inner.initial_state(shape)

    def initial_cache(self, shape: Shape, length: int) -> dict[str, Any]:
        """The cache of the wrapped layer."""
        return self.inner.initial_cache(shape, length)

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of its outputs."""
        return self.inner.out_shape(shape)

    def multiply_adds(self, shape: Shape) -> int:
        """Its multiply-adds."""
        return self.inner.multiply_adds(shape)
