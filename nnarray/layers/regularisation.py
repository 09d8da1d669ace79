"""Layers that regularise: they perturb training, so that the network generalises better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnarray import kernels, random
from nnarray.backends import device_of, namespace
from nnarray.checks import in_range
from nnarray.layers.base import Context, Layer, Out
from nnarray.typing import Array, Tree


@dataclass(frozen=True)
class Dropout(Layer):
    """In training, y is 0 with probability `rate`, else x / (1 - rate), for each entry; at inference y = x.

    Parameters
    ----------
    rate : float
        0 <= rate < 1. The mask has a resolution of 2**-32 and is drawn on the device of x.
    spatial : bool
        Whether whole channels of an example are dropped, (batch, ..., channels). Neighbouring pixels are so similar
        that dropping single entries hides little [2]_.

    Raises
    ------
    ValueError
        If the rate is outside [0, 1).

    References
    ----------
    .. [1] Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), Dropout. JMLR 15, 1929-1958.
    .. [2] Tompson, Goroshin, Jain, LeCun & Bregler (2015), Efficient object localization using convolutional networks.
       CVPR.

    Examples
    --------
    >>> import nnarray as nn
    >>> net = nn.Network(nn.Dense(16, "relu"), nn.Dropout(0.2), nn.Dense(2))
    """

    family = "dropout"
    masking = "keep"

    rate: float
    spatial: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.rate, "Dropout rate", 0, 1, remedy=" Use rate=0 to switch it off.")

    def drawn_numbers(self) -> str:
        """Its rate."""
        return f" {self.rate:g}"

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The layer in a plan of decoding: nothing."""
        return x

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The inputs, in training times a random mask; the pullback uses the same mask."""
        if not ctx.training or self.rate == 0:
            return Out(x, lambda dy: (dy, {}))
        xp, scale = namespace(x), 1.0 / (1.0 - self.rate)
        shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1]) if self.spatial else x.shape
        kept = random.bernoulli(ctx.key, shape, 1.0 - self.rate, xp=xp, device=device_of(x))

        def pullback(dy: Array) -> tuple[Array, Tree]:
            return kernels.dropped(dy, kept, scale=scale), {}

        return Out(kernels.dropped(x, kept, scale=scale), pullback)
