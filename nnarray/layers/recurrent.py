"""Recurrent layers: `SimpleRNN`, `LSTM` and `GRU`, which read a sequence position after position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from nnarray import kernels
from nnarray.backends import namespace
from nnarray.checks import in_range, integer, switch
from nnarray.kernels.standard.recurrent import Cell
from nnarray.layers.base import Context, Layer, Out, Param, settle
from nnarray.layers.initializers import Initializer, Uniform, kept_initializer
from nnarray.layers.kinds import Spec
from nnarray.layers.regularisation import Dropout
from nnarray.names import named
from nnarray.typing import Array, Shape, Tree

NAMES = "weight_ih", "weight_hh", "bias_ih", "bias_hh"
STATES = "hidden", "cell"
BOTH_DIRECTIONS = (
    "it reads its inputs from the last position to the first too, so that its network cannot continue a sequence. "
    "Leave out bidirectional=True, or call the model on whole sequences."
)


@dataclass(frozen=True)
class _Recurrent(Layer):
    """The settings and the passes of all recurrent layers."""

    family = "recurrent"
    masking = "use"

    units: int
    num_layers: int = 1
    _: KW_ONLY
    bidirectional: bool = False
    bias: bool = True
    dropout: float = 0.0
    init: str | Initializer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        kind = type(self).__name__
        integer(self.units, f"{kind} units", 1, usual=16)
        integer(self.num_layers, f"{kind} num_layers", 1, usual=1)
        for each in ("bidirectional", "bias"):
            switch(getattr(self, each), f"{kind} {each}")
        in_range(self.dropout, f"{kind} dropout", 0, 1, remedy=" Use dropout=0 to switch it off.")
        if self.dropout and self.num_layers == 1:
            raise ValueError(
                f"{kind} dropout={self.dropout} is between stacked layers, and there is one layer only. Use "
                f"num_layers=2, or put nn.Dropout({self.dropout}) behind it."
            )
        settle(self, init=self.init and kept_initializer(self.init))

    @property
    def recurrence(self) -> Cell:
        """The step that it repeats."""
        raise NotImplementedError

    @property
    def passes(self) -> Iterator[tuple[int, bool, list[str]]]:
        """Of each pass through the sequence: its layer, whether it is from last to first, and its parameters."""
        for i in range(self.num_layers):
            for reverse in (False, True)[: 1 + self.bidirectional]:
                suffix = f"_l{i}{'_reverse' * reverse}"
                yield i, reverse, [name + suffix for name in NAMES]

    def drawn_numbers(self) -> str:
        """The units, of each layer and direction."""
        more = "".join(f" × {n}" for n in (self.num_layers, 1 + self.bidirectional) if n > 1)
        return f" {self.units}{more}"

    def params(self, shape: Shape) -> dict[str, Param]:
        """W_ih, W_hh, b_ih and b_hh of each layer and direction, under PyTorch's names."""
        width, bound = self.recurrence.gates * self.units, self.units**-0.5
        init = self.init or Uniform(-bound, bound)
        wanted: dict[str, Param] = {}
        for i, _, names in self.passes:
            features = shape[-1] if i == 0 else self.out_shape(shape)[-1]
            kinds = Param((features, width), init), Param((self.units, width), init)
            kinds += (Param((width,), Uniform(-bound, bound), decay=False),) * 2 if self.bias else ()
            wanted |= dict(zip(names, kinds, strict=False))
        return wanted

    def out_shape(self, shape: Shape) -> Shape:
        """The number of positions, and the units of each direction."""
        if len(shape) != 2 or shape[1] == 0:
            more = {1: " For one feature, pass X[..., None]. Tokens go through nn.Embedding first."}.get(len(shape), "")
            raise ValueError(f"expects examples of shape (positions, features); got {shape}.{more}")
        return shape[0], self.units * (1 + self.bidirectional)

    def initial_cache(self, shape: Shape, length: int) -> dict[str, Any]:
        """The states of all layers."""
        if self.bidirectional:
            raise ValueError(BOTH_DIRECTIONS)
        return dict.fromkeys(STATES[: self.recurrence.states], Spec((self.num_layers, self.units)))

    def multiply_adds(self, shape: Shape) -> int:
        """One multiply-add for each position and each entry of the weights."""
        weights = [each.shape for name, each in self.params(shape).items() if name.startswith("weight")]
        return shape[0] * sum(rows * columns for rows, columns in weights)

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The states at all positions, zero at those that are masked; the pullback goes back through time."""
        xp, mask = namespace(x), self._mask(x, ctx)
        h, pullbacks, together, last, drops = _where(mask, x), [], [], [], list[Any]()
        for i, reverse, names in self.passes:
            together = [] if not reverse else together
            weight_ih, weight_hh, *biases = (params[name] for name in names if name in params)
            bias_ih, bias_hh = biases or (None, None)
            h_before, c_before = self._before(ctx, i)
            y, *states, pullback = kernels.recurrence(
                h,
                weight_ih,
                weight_hh,
                bias_ih,
                bias_hh,
                h_before,
                c_before,
                mask,
                cell=self.recurrence,
                reverse=reverse,
                input_gradient=ctx.input_gradient or i > 0,
                keep=ctx.keep,
            )
            together.append(y)
            pullbacks.append((names, pullback))
            last.append(states)
            if reverse == self.bidirectional:
                h = together[0] if len(together) == 1 else xp.concat(together, axis=-1)
                drop = self._dropout(i).forward({}, h, ctx.child(f"dropout_l{i}"))
                h, drops = drop.y, [*drops, drop.pullback]
        cache = {} if ctx.cache is None else self._cache(last)
        return Out(_where(mask, h), self._pullback(pullbacks, drops, mask), mask=ctx.mask, cache=cache)

    def _dropout(self, i: int) -> Dropout:
        """The dropout behind a layer; the last one has none."""
        return Dropout(self.dropout if i + 1 < self.num_layers else 0.0)

    def _pullback(self, pullbacks: list[Any], drops: list[Any], mask: Array | None) -> Any:
        """dy -> dx and the gradients, by the layers from last to first; both directions add up."""
        directions = 1 + self.bidirectional

        def pullback(dy: Array) -> tuple[Array | None, Tree]:
            found: dict[str, Tree] = {}
            dh: Any = _where(mask, dy)
            for first in range(len(pullbacks) - directions, -1, -directions):
                dxs: list[Any] = []
                dh, _ = drops[first // directions](dh)
                for d, (names, back) in enumerate(pullbacks[first : first + directions]):
                    dx, *gradients = back(dh[..., d * self.units : (d + 1) * self.units])
                    dxs.append(dx)
                    found |= {n: g for n, g in zip(names, gradients, strict=True) if g is not None}
                dh = dxs[0] if len(dxs) == 1 or dxs[0] is None else dxs[0] + dxs[1]
            return dh, found

        return pullback

    def _before(self, ctx: Context, i: int) -> list[Array | None]:
        """The states of a layer before the first position."""
        cache: Mapping[str, Any] = ctx.cache or {}
        return [cache[name][:, i, :] if name in cache else None for name in STATES]

    def _cache(self, last: list[Any]) -> dict[str, Array]:
        """The states after the last position, of all layers."""
        names = STATES[: self.recurrence.states]
        each = [[states[k] for states in last] for k in range(len(names))]
        return {name: namespace(arrays[0]).stack(arrays, axis=1) for name, arrays in zip(names, each, strict=True)}

    def _mask(self, x: Array, ctx: Context) -> Array | None:
        """The mask of the positions."""
        if ctx.mask is not None and tuple(ctx.mask.shape) != tuple(x.shape[:2]):
            raise ValueError(
                f"{type(self).__name__} needs a mask of the positions, shape {tuple(x.shape[:2])}; got "
                f"{tuple(ctx.mask.shape)}. Leave out the axis of features."
            )
        return ctx.mask


def _where(mask: Array | None, x: Array) -> Array:
    """The rows where the mask is true; zeros elsewhere, also where x is NaN."""
    if mask is None:
        return x
    xp = namespace(x)
    return xp.where(mask[..., None], x, xp.zeros_like(x))


@dataclass(frozen=True)
class SimpleRNN(_Recurrent):
    """h_t = f(x_t W_ih + b_ih + h_{t-1} W_hh + b_hh), for each position t. y_t = h_t.

    x: (batch, positions, features)  W_ih: (features, units)  W_hh: (units, units)  b_ih, b_hh: (units,)
    y: (batch, positions, units), or 2 · units if bidirectional

    The state before the first position is 0. With a mask, masked positions leave the state as it is, and y is 0 there.
    The parameters have PyTorch's names: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, ...

    Parameters
    ----------
    units : int
        The number of features of the state.
    num_layers : int
        The number of layers. Each reads the outputs of the one before.
    bidirectional : bool
        Whether each layer reads from the last position to the first too. The outputs of both are concatenated.
    bias : bool
        Whether there are biases.
    dropout : float
        The rate of dropout between stacked layers, in training.
    init : str or Initializer, optional
        The initial values of the weights. If None, they are uniform on +-1 / sqrt(units), as the biases are.
    activation : {"tanh", "relu"}
        The function f.

    Raises
    ------
    ValueError
        If a number is below 1 or a name is unknown, or, at `init`, if an example is not (positions, features).

    References
    ----------
    .. [1] Elman (1990), Finding structure in time. Cognitive Science 14(2), 179-211.
    .. [2] Schuster & Paliwal (1997), Bidirectional recurrent neural networks. IEEE Trans. Signal Processing 45(11).

    Examples
    --------
    >>> import nnarray as nn
    >>> net = nn.Network(nn.Embedding(9, 4, padding_index=0), nn.SimpleRNN(8), nn.LastStep(), nn.Dense(2))
    >>> net.init((20,)).params["1.weight_hh_l0"].shape
    (8, 8)
    """

    drawn_as = "rnn"

    _: KW_ONLY
    activation: str = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        named(self.activation, dict.fromkeys(("tanh", "relu")), "activation of SimpleRNN")

    @property
    def recurrence(self) -> Cell:
        """That of its function."""
        return kernels.CELLS[self.activation]


@dataclass(frozen=True)
class LSTM(_Recurrent):
    """c_t = f_t c_{t-1} + i_t g_t and y_t = h_t = o_t tanh(c_t): a cell state c whose gradient need not vanish.

    i, f and o are logistic(x_t W_ih + b_ih + h_{t-1} W_hh + b_hh), and g is tanh of it. Columns are in the order i, f,
    g, o.

    x: (batch, positions, features)  W_ih: (features, 4 · units)  W_hh: (units, 4 · units)  b_ih, b_hh: (4 · units,)
    y: (batch, positions, units), or 2 · units if bidirectional

    Parameters
    ----------
    units, num_layers, bidirectional, bias, dropout, init
        As for `SimpleRNN`.

    References
    ----------
    .. [1] Hochreiter & Schmidhuber (1997), Long short-term memory. Neural Computation 9(8), 1735-1780.
    .. [2] Gers, Schmidhuber & Cummins (2000), Learning to forget. Neural Computation 12(10), 2451-2471.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.LSTM(16, num_layers=2, bidirectional=True).out_shape((20, 4))
    (20, 32)
    """

    drawn_as = "lstm"

    @property
    def recurrence(self) -> Cell:
        """Four gates, and two states."""
        return kernels.CELLS["lstm"]


@dataclass(frozen=True)
class GRU(_Recurrent):
    """y_t = h_t = (1 - z_t) n_t + z_t h_{t-1}, with n_t = tanh(a_n + r_t b_n).

    a = x_t W_ih + b_ih and b = h_{t-1} W_hh + b_hh, and r = logistic(a_r + b_r) and z = logistic(a_z + b_z). Columns
    are in the order r, z, n.

    x: (batch, positions, features)  W_ih: (features, 3 · units)  W_hh: (units, 3 · units)  b_ih, b_hh: (3 · units,)
    y: (batch, positions, units), or 2 · units if bidirectional

    Parameters
    ----------
    units, num_layers, bidirectional, bias, dropout, init
        As for `SimpleRNN`.

    References
    ----------
    .. [1] Cho et al. (2014), Learning phrase representations using RNN encoder-decoder. EMNLP.

    Examples
    --------
    >>> import nnarray as nn
    >>> model = nn.Network(nn.GRU(8), nn.Dense(1)).init((20, 3), seed=0)
    >>> model.network.out_shape((20, 3))
    (20, 1)
    """

    drawn_as = "gru"

    @property
    def recurrence(self) -> Cell:
        """Three gates."""
        return kernels.CELLS["gru"]
