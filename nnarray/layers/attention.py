"""Attention: each position of a sequence reads from others, or from the earlier ones only."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from nnarray import kernels, random
from nnarray.backends import device_of, namespace
from nnarray.checks import above_zero, in_range, integer
from nnarray.kernels.decoding import Heads
from nnarray.layers.base import Context, Layer, Out, Param, settle
from nnarray.layers.initializers import Initializer, kept_initializer
from nnarray.layers.kinds import BOOLEAN, Spec
from nnarray.layers.positions import angles, refuse_no_sequence
from nnarray.typing import Array, Shape, Tree

NOT_CAUSAL = (
    "without causal=True, each position reads from later ones too, so that its network cannot continue a sequence. Set "
    "causal=True in MultiHeadAttention or TransformerBlock, or call the model on whole sequences."
)


@dataclass(frozen=True)
class MultiHeadAttention(Layer):
    """y = [softmax(Q_h K_h^T / sqrt(size)) V_h for each head h] O + o, with [Q, K, V] = x W + b.

    Each position is a query. It takes the mean of the values of the positions, weighted by how well their keys fit it.

    x, y: (batch, positions, features)  Q: (batch, heads, positions, size)  K, V: (batch, kv_heads, positions, size)
    W: (features, (heads + 2 kv_heads) size)  O: (heads size, features), with size = features / heads

    Masked positions are not read. A query that sees no key gets zeros, and so y = o. If a row has several texts
    (`Embedding(separator=)`), each position only reads from its own text.

    Parameters
    ----------
    heads : int
        They divide the features.
    causal : bool
        Whether a position only reads from itself and earlier ones, as in a language model.
    kv_heads : int, optional
        The number of heads of keys and values, each shared by heads / kv_heads queries [2]_; `heads` if None.
    rotary : float, optional
        The base of rotary positions, usually 10,000 [3]_: queries and keys are rotated by angles that grow with the
        position, so that their products depend on distances. None is without.
    bias : bool
        Whether there are biases b and o.
    dropout : float
        The rate of dropout for the weights softmax(...), in training.
    init : str or Initializer, optional
        The initial values of W and O; Glorot's if None.

    Raises
    ------
    ValueError
        If a number is out of range; at `init`, if the heads do not divide the features, or examples are not
        (positions, features).

    References
    ----------
    .. [1] Vaswani et al. (2017), Attention is all you need. NeurIPS.
    .. [2] Ainslie et al. (2023), GQA: training generalized multi-query transformer models. EMNLP.
    .. [3] Su, Lu, Pan, Murtadha, Wen & Liu (2021), RoFormer: enhanced transformer with rotary position embedding.
       arXiv:2104.09864.

    Examples
    --------
    >>> import nnarray as nn
    >>> net = nn.Network(nn.Embedding(65, 16), nn.MultiHeadAttention(4, causal=True), nn.Dense(65))
    >>> {name: p.shape for name, p in net.init((8,)).params.items() if name[0] == "1"}
    {'1.weight': (16, 48), '1.bias': (48,), '1.out_weight': (16, 16), '1.out_bias': (16,)}
    """

    family = "attention"
    drawn_as = "attention"
    masking = "use"
    reads_texts = True

    heads: int
    _: KW_ONLY
    causal: bool = False
    kv_heads: int | None = None
    rotary: float | None = None
    bias: bool = True
    dropout: float = 0.0
    init: str | Initializer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.heads, "MultiHeadAttention heads", 1, usual=4)
        groups = self.heads if self.kv_heads is None else self.kv_heads
        if self.heads % integer(groups, "MultiHeadAttention kv_heads", 1, usual=1):
            raise ValueError(f"MultiHeadAttention kv_heads must divide heads, {self.heads}; got {self.kv_heads}.")
        if self.rotary is not None:
            above_zero(self.rotary, "MultiHeadAttention rotary")
        in_range(self.dropout, "MultiHeadAttention dropout", 0, 1, remedy=" Use dropout=0 to switch it off.")
        settle(self, init=self.init and kept_initializer(self.init))

    @property
    def groups(self) -> int:
        """The number of heads of keys and values."""
        return self.heads if self.kv_heads is None else self.kv_heads

    def drawn_numbers(self) -> str:
        """The number of heads."""
        return f" {self.heads}"

    def params(self, shape: Shape) -> dict[str, Param]:
        """The weights W and O, and their biases if there are any."""
        features, init = shape[1], self.init or "glorot"
        each = (self.heads + 2 * self.groups) * (features // self.heads)
        wanted = {"weight": Param((features, each), init), "bias": Param((each,), "zeros", decay=False)}
        wanted |= {
            "out_weight": Param((features, features), init),
            "out_bias": Param((features,), "zeros", decay=False),
        }
        return {name: param for name, param in wanted.items() if self.bias or not name.endswith("bias")}

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the inputs."""
        refuse_no_sequence(shape)
        if shape[1] % self.heads or shape[1] == 0:
            raise ValueError(f"the number of heads, {self.heads}, must divide the features; got {shape[1]} of them.")
        if self.rotary is not None and shape[1] // self.heads % 2:
            raise ValueError(
                f"rotary positions rotate pairs of features, but each head has {shape[1] // self.heads}. Use an even "
                f"number of features a head."
            )
        return shape

    def multiply_adds(self, shape: Shape) -> int:
        """Those of the products with W and O, and of all queries with all keys and values."""
        positions, features = shape
        size = features // self.heads
        return positions * features * ((self.heads + 2 * self.groups) * size + features + 2 * positions)

    def initial_cache(self, shape: Shape, length: int) -> dict[str, Any]:
        """The keys and values of all positions, and which of them count."""
        if not self.causal:
            raise ValueError(NOT_CAUSAL)
        if self.rotary is not None and length > shape[0]:
            raise ValueError(
                f"the network was made for {shape[0]} positions, and rotary positions beyond have not been trained; "
                f"got a length of {length}. Use at most {shape[0]}, or init with a longer shape."
            )
        kept = Spec((self.groups, length, shape[1] // self.heads))
        return {"keys": kept, "values": kept, "mask": Spec((length,), BOOLEAN)}

    def forward(self, params: Tree, x: Array, ctx: Context) -> Out:
        """The outputs, their pullback, and the mask as it was."""
        if ctx.mask is not None and ctx.mask.ndim != 2:
            raise ValueError(
                f"MultiHeadAttention needs a mask of positions, (batch, positions); got {tuple(ctx.mask.shape)}."
            )
        weight, out_weight = params["weight"], params["out_weight"]
        turn, turn_back = self._rotations(x, ctx)
        q, k, v = self._read(params, x, turn)
        if ctx.cache is not None:
            return self._decoded(params, q, k, v, ctx)
        settings: dict[str, Any] = {"causal": self.causal, "rate": self.dropout if ctx.training else 0.0}
        kept = self._kept(q, k, ctx)
        y, normaliser = kernels.attention(q, k, v, ctx.mask, kept, **settings)
        joined = kernels.joined_heads(y)

        def pullback(dy: Array) -> tuple[Array | None, Tree]:
            asked = {"bias_gradient": self.bias}
            djoined: Any
            djoined, dout, dout_bias = kernels.affine_pullback(dy, joined, out_weight, **asked)
            y, dy = split_heads(joined, self.heads), split_heads(djoined, self.heads)
            dq, dk, dv = kernels.attention_pullback(dy, q, k, v, y, normaliser, ctx.mask, kept, **settings)
            dz = kernels.joined_heads(turn_back(dq), turn_back(dk), dv)
            dx, dw, db = kernels.affine_pullback(dz, x, weight, input_gradient=ctx.input_gradient, **asked)
            found = {"weight": dw, "bias": db, "out_weight": dout, "out_bias": dout_bias}
            return dx, {name: each for name, each in found.items() if each is not None}

        return Out(kernels.affine(joined, out_weight, params.get("out_bias")), pullback, mask=ctx.mask)

    def planned(self, engine: Any, params: Tree, cache: Tree, x: Any) -> Any:
        """The layer in a plan of decoding, with the rotations of all positions."""
        sizes = Heads(self.heads, self.groups, x.shape[1] // self.heads)
        rotation, plan = None, engine.plan
        if self.rotary is not None:
            xp = namespace(x)
            positions = xp.zeros((1, engine.length, 1), dtype=x.dtype, device=device_of(x))
            angle = angles(positions, Context(), sizes.size, self.rotary)
            rotation = xp.cos(angle), xp.sin(angle)
        y = plan.attended(plan.product(x, params["weight"], params.get("bias")), sizes, cache, rotation)
        return plan.product(y, params["out_weight"], params.get("out_bias"))

    def parts(self, params: Tree, x: Array) -> tuple[Array, Array, Array]:
        """The queries, keys and values of whole sequences, (batch, heads, positions, size)."""
        return self._read(params, x, self._rotations(x, Context())[0])

    def _read(self, params: Tree, x: Array, turn: Any) -> tuple[Array, Array, Array]:
        q, k, v = self._split(kernels.affine(x, params["weight"], params.get("bias")))
        return turn(q), turn(k), v

    def _split(self, z: Array) -> list[Array]:
        """Queries, keys and values, (batch, heads, positions, size)."""
        size = z.shape[2] // (self.heads + 2 * self.groups)
        ends = [self.heads * size, (self.heads + self.groups) * size]
        parts = z[..., : ends[0]], z[..., ends[0] : ends[1]], z[..., ends[1] :]
        return [split_heads(part, part.shape[2] // size) for part in parts]

    def _rotations(self, x: Array, ctx: Context) -> tuple[Any, Any]:
        """The rotation of queries and keys by their positions, and that of their gradients by the opposite angles."""
        if self.rotary is None:
            return _unchanged, _unchanged
        xp = namespace(x)
        angle = angles(x, ctx, x.shape[2] // self.heads, self.rotary)
        angle = angle if angle.ndim == 2 else angle[:, None, :, :]
        cosine, sine = xp.cos(angle), xp.sin(angle)
        return lambda part: kernels.rotated(part, cosine, sine), lambda part: kernels.rotated(part, cosine, -sine)

    def _kept(self, q: Array, k: Array, ctx: Context) -> Array | None:
        """The weights that dropout keeps, (batch, heads, queries, keys)."""
        if not ctx.training or self.dropout == 0:
            return None
        shape = (*q.shape[:3], k.shape[2])
        return random.bernoulli(ctx.key, shape, 1.0 - self.dropout, xp=namespace(q), device=device_of(q))

    def _decoded(self, params: Tree, q: Array, k: Array, v: Array, ctx: Context) -> Out:
        """The outputs for queries after those whose keys and values are in the cache."""
        assert ctx.cache is not None
        first, cache = ctx.position, dict(ctx.cache)
        cache["keys"] = kernels.inserted(cache["keys"], k, first, axis=2)
        cache["values"] = kernels.inserted(cache["values"], v, first, axis=2)
        if ctx.mask is not None:
            cache["mask"] = kernels.inserted(cache["mask"], ctx.mask, first, axis=1)
        end = first + q.shape[2] if isinstance(first, int) else None  # what is not known cannot be a shape
        keys, values = cache["keys"][:, :, :end, :], cache["values"][:, :, :end, :]
        mask = None if ctx.mask is None else cache["mask"][:, :end]
        causal = end is None or q.shape[2] > 1  # a last query sees all
        y, _ = kernels.attention(q, keys, values, mask, None, causal=causal, first=first)
        return Out(
            kernels.affine(kernels.joined_heads(y), params["out_weight"], params.get("out_bias")),
            mask=ctx.mask,
            cache=cache,
        )


def _unchanged(x: Array) -> Array:
    return x


def split_heads(x: Array, heads: int) -> Array:
    """(batch, positions, heads size) as (batch, heads, positions, size)."""
    xp = namespace(x)
    return xp.permute_dims(xp.reshape(x, (*x.shape[:2], heads, x.shape[2] // heads)), (0, 2, 1, 3))
