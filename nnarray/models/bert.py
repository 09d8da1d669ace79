"""BERT: an encoder of transformer blocks, each position of which reads from all others."""

from __future__ import annotations

from typing import Any

from nnarray.arguments import explained
from nnarray.checks import integer
from nnarray.layers import Dropout, Embedding, GlobalAvgPool, Layer, LayerNorm, LearnedPositions, TransformerBlock
from nnarray.layers.initializers import Initializer, Normal
from nnarray.names import canonical
from nnarray.network import Network


@explained
def bert(
    vocabulary: int,
    size: int = 128,
    layers: int = 4,
    heads: int = 4,
    *,
    hidden: int | None = None,
    length: int | None = None,
    epsilon: float = 1e-12,
    activation: str = "gelu",
    padding_index: int | None = 0,
    pooling: str = "none",
    dropout: float = 0.0,
    init: str | Initializer | None = None,
) -> Network:
    """An encoder: embedding, positions, a normalisation, and transformer blocks that normalise after each sum.

    x: (batch, positions), integers below `vocabulary`  y: (batch, positions, size), or (batch, size) with pooling

    The size of MiniLM is `bert(30522, 384, 6, 12, length=512)`. `load_published` makes a model of its files.

    Parameters
    ----------
    vocabulary : int
        The number of tokens.
    size : int
        The number of features of each position.
    layers, heads : int
        The number of blocks, and of the heads of their attention.
    length : int, optional
        The number of learned positions; that of the shape at `init` if None.
    hidden, epsilon, activation
        As for `TransformerBlock`.
    padding_index : int, optional
        The token that pads sequences to equal length. Its positions are not read.
    pooling : {"none", "mean"}
        "mean" gives one vector for each sequence, the mean of all positions that are not padding [2]_.
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
    .. [1] Devlin, Chang, Lee & Toutanova (2019), BERT: pre-training of deep bidirectional transformers for language
       understanding. NAACL.
    .. [2] Reimers & Gurevych (2019), Sentence-BERT: sentence embeddings using Siamese BERT-networks. EMNLP.

    Examples
    --------
    >>> import nnarray as nn
    >>> model = nn.models.bert(99, size=32, layers=2, heads=4, pooling="mean").init((16,), seed=0)
    >>> model.output_shape
    (32,)
    """
    drawn = Normal(0.0, 0.02) if init is None else init
    settings: dict[str, Any] = {"hidden": hidden, "order": "post", "epsilon": epsilon, "activation": activation}
    settings |= {"dropout": dropout, "init": drawn}
    pooling = canonical(pooling, dict.fromkeys(("none", "mean")), "pooling")
    inner: list[Layer] = [
        Embedding(vocabulary, size, padding_index=padding_index, init=drawn, name="tokens"),
        LearnedPositions(length, init=drawn, name="positions"),
        LayerNorm(epsilon=epsilon, name="norm"),
    ]
    inner += [Dropout(dropout, name="dropout")] if dropout else []
    inner += [
        TransformerBlock(size, heads, **settings, name=str(i))
        for i in range(integer(layers, "bert layers", 1, usual=4))
    ]
    return Network(*inner, *([GlobalAvgPool(name="mean")] if pooling == "mean" else []))
