"""A loss from a function of the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nnarray.backends import (
    namespace,
    same_place,
)
from nnarray.losses.base import Loss, differentiated
from nnarray.losses.targets import in_dtype
from nnarray.names import shown
from nnarray.recording import stripped
from nnarray.typing import Array, DType, Shape


@dataclass(frozen=True)
class Custom(Loss):
    """The loss that `custom` makes of a function."""

    function: Callable[[Array, Array], Array] = field(kw_only=True)

    @property
    def label(self) -> str:
        """The name of the function."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def is_own(self) -> bool:
        """Whether the user wrote it: the function."""
        return True

    def prepare(self, target: Array, shape: Shape, dtype: DType) -> tuple[Array, Array | None]:
        """Any target with a row for each example; real numbers in the dtype of the outputs."""
        if target.ndim == 0 or target.shape[0] != shape[0]:
            raise ValueError(f"{self.label} needs a row of y for each example; got {tuple(target.shape)} for {shape}.")
        is_real = same_place(target=target).isdtype(target.dtype, "real floating")
        return in_dtype(target, dtype) if is_real else target, None

    def per_example(self, outputs: Array, target: Array) -> tuple[Array, Array]:
        """The mean of the function's entries for each example, and the gradient of their sum."""
        return differentiated(self._means, outputs, target, self.label)

    def _means(self, outputs: Array, target: Array) -> Any:
        losses: Any = self.function(outputs, target)
        self._refuse_shifted(outputs, target)
        if getattr(losses, "shape", None) == tuple(outputs.shape) and outputs.ndim > 1:
            self._refuse_repeated(outputs, target)
            return namespace(losses).mean(losses, axis=tuple(range(1, outputs.ndim)))
        return losses

    def _refuse_shifted(self, outputs: Array, target: Array) -> None:
        """Refuse a target whose examples were taken for outputs, as there are as many: with more examples, it fails."""
        rows, size = outputs.shape[0], outputs.shape[-target.ndim]
        if target.ndim >= outputs.ndim or size == 1 or rows not in (1, size):
            return
        copies = 2 if size != 2 * rows else 3
        try:
            more = [namespace(x).concat([x] * copies) for x in (stripped(outputs), stripped(target))]
            losses: Any = self.function(*more)
        except Exception:  # each library has its own for shapes that do not fit
            losses = None
        if tuple(getattr(losses, "shape", ()))[:1] != (copies * rows,):
            raise ValueError(
                f"{self.label} compares each output with the target of another example: outputs have shape "
                f"{tuple(outputs.shape)}, and the target has shape {tuple(target.shape)}. Pass y with an entry for "
                f"each output, or read target[:, None] in the loss."
            )

    def _refuse_repeated(self, outputs: Array, target: Array) -> None:
        """Refuse a target of one column that was compared with each of several outputs, by broadcasting."""
        if target.ndim == outputs.ndim and 1 in target.shape[1:] and target.shape != outputs.shape:
            raise ValueError(
                f"{self.label} returned a loss for each output, shape {tuple(outputs.shape)}, but the target has shape "
                f"{tuple(target.shape)}: it was repeated for each output. Pass y with an entry for each output; or, if "
                f"all outputs have the same target, return one loss per example, xp.mean(losses, axis=-1)."
            )


def custom(function: Callable[[Array, Array], Array], *, reduction: str = "mean") -> Loss:
    """A loss from a function of your own: L_n = f(o_n, t_n). Its gradient follows from a record of f.

    Parameters
    ----------
    function : callable
        f(outputs, target) -> losses, written in the array API standard: one entry for each example, or of the outputs'
        shape, of which the mean is taken for each example. `outputs` are what the network returns, shape (N, ...).
        `target` is y, with a row for each example and any shape; real numbers have the dtype of the outputs.
    reduction : {"mean", "sum"}
        As for all losses.

    Returns
    -------
    Loss
        For `fit(loss=)`, `nn.value_and_grad` and `nn.testing.check_loss`.

    Raises
    ------
    TypeError
        If it is not a function.
    ValueError
        When it is used, if the losses have another shape, if they have the outputs' shape and the target has not, or
        if f takes the examples of a target for outputs: nothing is broadcast silently.

    Notes
    -----
    A file has no code. A model that was trained with such a loss is saved without it, unless f is decorated with
    `nn.register`.

    Examples
    --------
    >>> import nnarray as nn
    >>> def log_cosh(outputs, target):
    ...     xp = nn.namespace(outputs)
    ...     return xp.log(xp.cosh(outputs - target))
    >>> loss = nn.losses.custom(log_cosh)
    >>> X, y = nn.datasets.line(50, seed=0)
    >>> model = nn.Network(nn.Dense(1)).init((1,), seed=0)
    >>> history = model.fit(X, y, loss=loss, optimizer=nn.Adam(0.1), epochs=50)
    >>> history["loss"][-1] < history["loss"][0]
    True
    """
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"custom needs a function of outputs and targets; got {shown(function)}. Pass the function f.")
    return Custom(function=function, reduction=reduction)
