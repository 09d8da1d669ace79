"""A recurrent network that predicts the next character, or any other token."""

from __future__ import annotations

from nnarray.arguments import explained
from nnarray.checks import integer
from nnarray.layers import GRU, LSTM, Dense, Dropout, Embedding, Layer, SimpleRNN
from nnarray.names import named
from nnarray.network import Network

CELLS = {"rnn": SimpleRNN, "lstm": LSTM, "gru": GRU}


@explained
def char_rnn(
    vocabulary: int,
    units: int = 128,
    num_layers: int = 1,
    *,
    cell: str = "lstm",
    embedding: int | None = None,
    dropout: float = 0.0,
) -> Network:
    """An embedding, a recurrent layer, and the logits of the next token at each position.

    x: (batch, positions), integers below `vocabulary`  y: (batch, positions, vocabulary)

    Train it on the tokens that follow: y[:, t] = x[:, t + 1]. `model.decode` continues a sequence from its state alone.

    Parameters
    ----------
    vocabulary : int
        The number of different tokens.
    units : int
        The number of features of the state.
    num_layers : int
        The number of recurrent layers.
    cell : {"lstm", "gru", "rnn"}
        The kind of recurrent layer.
    embedding : int, optional
        The number of features of each token; as many as `units` if None.
    dropout : float
        The rate after the embedding, between stacked recurrent layers, and after the last one; 0 for none.

    Raises
    ------
    ValueError
        If a number is out of range, or the cell is unknown.

    References
    ----------
    .. [1] Mikolov, Karafiat, Burget, Cernocky & Khudanpur (2010), Recurrent neural network based language model.
       Interspeech.

    Examples
    --------
    >>> import numpy as np
    >>> import nnarray as nn
    >>> tokens = np.arange(13)[None, :] % 3
    >>> model = nn.models.char_rnn(3, units=8).init((12,), seed=0)
    >>> history = model.fit(tokens[:, :-1], tokens[:, 1:], epochs=100, optimizer=nn.Adam(0.02))
    >>> y, cache = model.decode(np.asarray([[0, 1, 2, 0]]), model.new_cache())
    >>> int(y[0, -1].argmax())
    1
    """
    count = integer(vocabulary, "vocabulary", 1, usual=65)
    size = units if embedding is None else integer(embedding, "embedding", 1, usual=64)
    recurrent = named(cell, CELLS, "cell of char_rnn")(units, num_layers, dropout=dropout if num_layers > 1 else 0.0)
    layers: list[Layer] = [Embedding(count, size), recurrent]
    if dropout:
        layers = [layers[0], Dropout(dropout), recurrent, Dropout(dropout)]
    return Network(*layers, Dense(count))
