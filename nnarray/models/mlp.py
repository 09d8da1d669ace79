"""The multilayer perceptron: dense layers in a row."""

from __future__ import annotations

from collections.abc import Sequence

from nnarray.arguments import explained
from nnarray.checks import integer, refuse_text
from nnarray.layers import Activation, Dense, Dropout, Layer
from nnarray.network import Network


@explained
def mlp(
    outputs: int,
    hidden: Sequence[int] = (100,),
    *,
    activation: str | Activation = "relu",
    output_activation: str | Activation = "identity",
    dropout: float = 0.0,
) -> Network:
    """Dense layers in a row: y = W_n f(... f(W_1 x + b_1) ...) + b_n.

    Parameters
    ----------
    outputs : int
        The number of classes, or of values to predict.
    hidden : sequence of int
        The number of units of each hidden layer.
    activation : str or Activation
        The function f.
    output_activation : str or Activation
        The function after the last layer; the losses for classification need none.
    dropout : float
        The rate after each hidden layer; 0 for none.

    Raises
    ------
    ValueError
        If a number is out of range, or a name is unknown.

    References
    ----------
    .. [1] Rumelhart, Hinton & Williams (1986), Learning representations by back-propagating errors. Nature 323.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.models.mlp(10, (512, 256)).init((784,)).theta.shape
    (535818,)
    """
    refuse_text(hidden, "hidden")
    if isinstance(hidden, int):
        raise TypeError(f"hidden must be a sequence of sizes, one per layer; got {hidden}. Write ({hidden},).")
    layers: list[Layer] = []
    for units in hidden:
        layers.append(Dense(integer(units, "each of hidden", 1, usual=100), activation))
        if dropout:
            layers.append(Dropout(dropout))
    return Network(*layers, Dense(integer(outputs, "outputs", 1, usual=10), output_activation))
