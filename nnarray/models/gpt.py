"""GPT: a language model of transformer blocks, each position of which reads from itself and earlier ones."""

from __future__ import annotations

from typing import Any

from nnarray.arguments import explained
from nnarray.checks import integer
from nnarray.layers import Dense, Dropout, Embedding, Layer, LearnedPositions, Tied, TransformerBlock
from nnarray.layers.initializers import Initializer, Normal
from nnarray.layers.transformer import NORMS
from nnarray.names import named
from nnarray.network import Network


@explained
def gpt(
    vocabulary: int,
    size: int = 128,
    layers: int = 4,
    heads: int = 4,
    *,
    hidden: int | None = None,
    length: int | None = None,
    kv_heads: int | None = None,
    rotary: float | None = None,
    order: str = "pre",
    norm: str = "layer",
    epsilon: float = 1e-5,
    activation: str = "gelu",
    bias: bool = True,
    tied: bool = True,
    separator: int | None = None,
    dropout: float = 0.0,
    init: str | Initializer | None = None,
) -> Network:
    """A language model: embedding, positions, causal transformer blocks, a normalisation, and scores of all tokens.

    x: (batch, positions), integers below `vocabulary`  y: (batch, positions, vocabulary), logits of the next token

    The size of GPT-2 is `gpt(50257, 768, 12, 12, length=1024, activation="gelu_tanh")`: 124,439,808 parameters.
    `load_published` makes a model of its files.

    Parameters
    ----------
    vocabulary : int
        The number of tokens.
    size : int
        The number of features of each position.
    layers, heads : int
        The number of blocks, and of the heads of their attention.
    length : int, optional
        The number of learned positions; that of the shape at `init` if None. Not with `rotary`.
    hidden, kv_heads, rotary, order, norm, epsilon, activation, bias
        As for `TransformerBlock`. With `rotary`, no positions are learned.
    tied : bool
        Whether the scores are products with the vectors of the embedding. Otherwise, they have weights of their own.
    separator : int, optional
        As for `Embedding`: the token that ends a text, if rows have several texts.
    dropout : float
        The rate of dropout after the embedding and in each block.
    init : str or Initializer, optional
        Of all weights; normal with standard deviation 0.02 if None.

    Raises
    ------
    ValueError
        If a number is out of range, or a name is unknown.

    References
    ----------
    .. [1] Radford, Wu, Child, Luan, Amodei & Sutskever (2019), Language models are unsupervised multitask learners.

    Examples
    --------
    >>> import nnarray as nn
    >>> model = nn.models.gpt(65, size=32, layers=2, heads=4).init((16,), seed=0)
    >>> model.output_shape
    (16, 65)
    """
    drawn = Normal(0.0, 0.02) if init is None else init
    settings: dict[str, Any] = {"hidden": hidden, "kv_heads": kv_heads, "rotary": rotary, "order": order, "norm": norm}
    settings |= {"epsilon": epsilon, "activation": activation, "bias": bias, "dropout": dropout, "init": drawn}
    integer(layers, "gpt layers", 1, usual=4)
    if rotary is not None and length is not None:
        raise ValueError(
            "length is that of learned positions, which a model with rotary positions has not. Leave it out."
        )
    tokens = Embedding(vocabulary, size, separator=separator, init=drawn, name="tokens")
    inner: list[Layer] = [] if rotary is not None else [LearnedPositions(length, init=drawn, name="positions")]
    inner += [Dropout(dropout, name="dropout")] if dropout else []
    inner += [TransformerBlock(size, heads, causal=True, **settings, name=str(i)) for i in range(layers)]
    inner += [named(norm, NORMS, "norm")(epsilon=epsilon, name="norm")]
    if tied:
        return Network(Tied(tokens, *inner, name="tied"))
    return Network(tokens, *inner, Dense(vocabulary, bias=False, init=drawn, name="output"))
