"""The transformer's block, and networks whose outputs share the vectors of their embedding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

from nnarray import kernels
from nnarray.checks import above_zero, in_range, integer
from nnarray.layers.attention import MultiHeadAttention
from nnarray.layers.base import Context, Layer, Out, settle
from nnarray.layers.containers import Branches, Residual, Row
from nnarray.layers.dense import Dense
from nnarray.layers.initializers import Initializer, kept_initializer
from nnarray.layers.normalisation import LayerNorm, RMSNorm
from nnarray.layers.regularisation import Dropout
from nnarray.names import canonical, named
from nnarray.typing import Array, Shape, Tree

ORDERS: dict[str, None] = {"pre": None, "post": None, "parallel": None}
NORMS = {"layer": LayerNorm, "rms": RMSNorm}


@dataclass(frozen=True)
class TransformerBlock(Layer):
    """Attention and a network of two layers at each position, each with a shortcut and a normalisation N.

    "pre":      h = x + A(N(x)),   y = h + F(N(h))
    "post":     h = N(x + A(x)),   y = N(h + F(h))
    "parallel": y = x + A(N(x)) + F(N(x))

    A is `MultiHeadAttention`. F(x) = f(x W + b) V + c, or with "swiglu" F(x) = (silu(x G + g) (x W + b)) V + c.

    x, y: (batch, positions, size)

    Parameters
    ----------
    size : int
        The number of features.
    heads : int
    hidden : int, optional
        The number of units between the two layers of F; 4 size if None.
    order : {"pre", "post", "parallel"}
        Where it normalises. "pre" trains more stably in deep networks [2]_, "post" is that of the first transformer
        [1]_ and of BERT, "parallel" needs one normalisation less.
    norm : {"layer", "rms"}
        `LayerNorm` or `RMSNorm`.
    epsilon : float
        That of the normalisation.
    activation : str
        The function f, or "swiglu" [3]_.
    causal, kv_heads, rotary, bias, init
        As for `MultiHeadAttention`; `bias` and `init` also for F.
    dropout : float
        The rate of dropout for the weights of attention, and for the outputs of A and F.

    Raises
    ------
    ValueError
        If a number is out of range, a name is unknown, or the heads do not divide the size.

    References
    ----------
    .. [1] Vaswani et al. (2017), Attention is all you need. NeurIPS.
    .. [2] Xiong et al. (2020), On layer normalization in the transformer architecture. ICML.
    .. [3] Shazeer (2020), GLU variants improve transformer. arXiv:2002.05202.

    Examples
    --------
    >>> import nnarray as nn
    >>> block = nn.TransformerBlock(16, 2, causal=True)
    >>> net = nn.Network(nn.Embedding(65, 16), nn.LearnedPositions(), block, nn.LayerNorm(), nn.Dense(65))
    >>> net.out_shape((8,))
    (8, 65)
    """

    family = "row"
    drawn_as = "transformer block"
    masking = "use"
    reads_texts = True

    size: int
    heads: int
    _: KW_ONLY
    hidden: int | None = None
    causal: bool = False
    kv_heads: int | None = None
    rotary: float | None = None
    order: str = "pre"
    norm: str = "layer"
    epsilon: float = 1e-5
    activation: str = "gelu"
    bias: bool = True
    dropout: float = 0.0
    init: str | Initializer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.size, "TransformerBlock size", 1, usual=128)
        if self.hidden is not None:
            integer(self.hidden, "TransformerBlock hidden", 1, usual=512)
        in_range(self.dropout, "TransformerBlock dropout", 0, 1, remedy=" Use dropout=0 to switch it off.")
        above_zero(self.epsilon, "TransformerBlock epsilon")
        settle(self, order=canonical(self.order, ORDERS, "order"), norm=canonical(self.norm, NORMS, "norm"))
        settle(self, init=self.init and kept_initializer(self.init))
        self.whole.out_shape((1, self.size))  # names what does not fit

    @cached_property
    def whole(self) -> Row:
        """The layers that it consists of."""
        attention, feed = self._attention(), self._feed()
        if self.order == "pre":
            return Row(
                Residual(self._norm("norm"), *attention, name="attention"),
                Residual(self._norm("norm"), *feed, name="mlp"),
            )
        if self.order == "post":
            return Row(
                Residual(*attention, name="attention"),
                self._norm("attention_norm"),
                Residual(*feed, name="mlp"),
                self._norm("mlp_norm"),
            )
        both = Branches(Row(*attention, name="attention"), Row(*feed, name="mlp"), join="add", name="both")
        return Row(Residual(self._norm("norm"), both, name="parallel"))

    def _norm(self, name: str) -> Layer:
        return named(self.norm, NORMS, "norm")(epsilon=self.epsilon, name=name)

    def _attention(self) -> list[Layer]:
        settings: dict[str, Any] = {"causal": self.causal, "kv_heads": self.kv_heads, "rotary": self.rotary}
        settings |= {"bias": self.bias, "dropout": self.dropout, "init": self.init}
        return [MultiHeadAttention(self.heads, **settings, name="heads"), *self._dropout()]

    def _feed(self) -> list[Layer]:
        hidden = 4 * self.size if self.hidden is None else self.hidden
        settings: dict[str, Any] = {"bias": self.bias, "init": self.init}
        if self.activation == "swiglu":
            gate, value = Dense(hidden, "silu", **settings, name="gate"), Dense(hidden, **settings, name="value")
            first: Layer = Branches(gate, value, join="multiply", name="hidden")
        else:
            first = Dense(hidden, self.activation, **settings, name="hidden")
        return [first, Dense(self.size, **settings, name="out"), *self._dropout()]

    def _dropout(self) -> list[Layer]:
        return [Dropout(self.dropout, name="dropout")] if self.dropout else []

    @property
    def named_layers(self) -> Iterable[tuple[str, Layer]]:
        """The layers that it consists of, each with its name."""
        return self.whole.named_layers

    def with_layers(self, layers: Mapping[str, Layer]) -> Any:
        """A row of other layers."""
        return self.whole.with_layers(layers)

    def shapes(self, shape: Shape) -> Iterable[tuple[str, Layer, Shape]]:
        """Each layer with its name and the shape of its inputs."""
        return self.whole.shapes(shape)

    def drawn_numbers(self) -> str:
        """Its size and the number of heads."""
        return f" {self.size}, {self.heads} heads"

    def params(self, shape: Shape) -> dict[str, Any]:
        """The parameters of all layers, under their names."""
        return self.whole.params(shape)

    def initial_cache(self, shape: Shape, length: int) -> dict[str, Any]:
        """The caches of all layers that have one."""
        return self.whole.initial_cache(shape, length)

    def multiply_adds(self, shape: Shape) -> int:
        """The sum over all layers."""
        return self.whole.multiply_adds(shape)

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs, (positions, size)."""
        if len(shape) != 2 or shape[1] != self.size:
            raise ValueError(f"expects sequences of {self.size} features, (positions, {self.size}); got {shape}.")
        return self.whole.out_shape(shape)

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The block in a plan of decoding."""
        return engine.layer(self.whole, params, cache, x)

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The outputs, and their pullback."""
        return self.whole.forward(params, x, ctx)


@dataclass(frozen=True, init=False)
class Tied(Row):
    """y = f_n(... f_1(E[x])) E^T: the outputs are products with the vectors of the embedding.

    So a language model has one vector for each token, which is both its input and its output weights [1]_.

    x: (batch, positions)  E: (count, size)  y: (batch, positions, count)

    Parameters
    ----------
    embedding : Embedding
    *layers : Layer
        The last one must have as many features as a vector of the embedding.
    name : str, optional
    recompute : bool
        As for `Network`.

    Raises
    ------
    TypeError, ValueError
        If the first layer is not an embedding; at `init`, if the features differ.

    References
    ----------
    .. [1] Press & Wolf (2017), Using the output embedding to improve language models. EACL.

    Examples
    --------
    >>> import nnarray as nn
    >>> net = nn.Network(nn.Tied(nn.Embedding(65, 16), nn.TransformerBlock(16, 2, causal=True), nn.LayerNorm()))
    >>> net.out_shape((8,))
    (8, 65)
    """

    def _settle(self, layers: Sequence[Layer], usual: Iterable[str] | None = None, **settings: Any) -> None:
        super()._settle(layers, usual, **settings)
        if layers[0].family != "embedding":
            raise TypeError(f"Tied begins with nn.Embedding, whose vectors it shares; got {self.label(0)}.")

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs with an axis of scores, one for each integer of the embedding."""
        inner = super().out_shape(shape)
        count, size = self._vectors()
        if inner[-1] != size:
            raise ValueError(f"Tied needs outputs of {size} features, as its embedding has; got {inner}.")
        return (*inner[:-1], count)

    def _vectors(self) -> tuple[int, int]:
        embedding: Any = self.layers[0]
        return embedding.count, embedding.size

    def multiply_adds(self, shape: Shape) -> int:
        """The sum over all layers, and the products with the vectors."""
        count, size = self._vectors()
        positions = super().out_shape(shape)[:-1]
        return super().multiply_adds(shape) + count * size * (positions[0] if positions else 1)

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The layers in a plan of decoding, and the product."""
        return engine.plan.product(engine.row(self, params, cache, x), params[self.names[0]]["weight"].T, None)

    def propagate(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The forward pass through the layers, and the product; the pullback adds both gradients of E."""
        out, first = super().propagate(params, x, ctx), self.names[0]
        weight, h, inner = params[first]["weight"], out.y, out.pullback

        def pullback(dy: Array, *dheads: Array) -> tuple[Any, Tree]:
            dh, dweight, _ = kernels.affine_pullback(dy, h, weight.T, bias_gradient=False)
            dx, gradients = inner(dh, *dheads)
            both = {"weight": gradients[first]["weight"] + dweight.T}
            return dx, {**gradients, first: {**gradients[first], **both}}

        return out._replace(y=kernels.affine(h, weight.T, None), pullback=pullback)
