"""Pictures of attention: which positions each position reads from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnarray.backends import backend_of, without_record
from nnarray.drawing.canvas import axes_for, name_axes, on_host
from nnarray.functional.hooks import Passage, with_hooks
from nnarray.layers import Context
from nnarray.model import Model
from nnarray.names import shown
from nnarray.plotting.plane import check_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_attention(
    model: Model,
    text: Any,
    *,
    layer: int | str = -1,
    head: int | None = None,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the weights of attention for one sequence: each row is a position, and shows from which others it reads.

    A weight is softmax(q_i k_j / sqrt(size)) of the query i and the key j; each row sums to 1.

    Parameters
    ----------
    model : Model
        A model of tokens with attention.
    text : str, or integers, shape (length,)
        At most as long as the model sees. Text needs `model.tokenizer`.
    layer : int or str
        Which layer with attention, counted from 0, or its path, such as "2.attention.heads"; the last one by default.
    head : int, optional
        Which head, counted from 0; the mean over all heads if None.
    labels : sequence of str, optional
        The names of the positions; their tokens if None.
    ax : matplotlib Axes, optional
        Where to draw; if None, a new figure.

    Returns
    -------
    matplotlib Axes
        With one image of (length, length) weights.

    Raises
    ------
    TypeError
        If the model is not first, or the text is neither text nor tokens.
    ValueError
        If the model has no attention, no such layer or head, or the sequence is empty or too long.
    ImportError
        If matplotlib is not installed.

    References
    ----------
    .. [1] Bahdanau, Cho & Bengio (2015), Neural machine translation by jointly learning to align and translate. ICLR.

    Examples
    --------
    >>> import nnarray as nn
    >>> net = nn.Network(nn.Embedding(9, 8), nn.MultiHeadAttention(2, causal=True), nn.Dense(9))
    >>> axes = nn.plotting.plot_attention(net.init((6,)), [3, 1, 4, 1])  # doctest: +SKIP
    """
    check_order(model, "plot_attention")
    tokens, names = _tokens(model, text)
    weights = attention_weights(model, tokens)
    path = _layer(weights, layer)
    each = weights[path]
    if head is not None and not 0 <= head < len(each):
        raise ValueError(f"head must be from 0 to {len(each) - 1}; got {shown(head)}.")
    axes = axes_for(ax, size=(6.0, 6.0))
    _draw(each.mean(axis=0) if head is None else each[head], names if labels is None else list(labels), axes)
    axes.set_title(f"{path}, {'mean of all heads' if head is None else f'head {head}'}", fontsize=9)
    return axes


def attention_weights(model: Model, tokens: Sequence[int]) -> dict[str, np.ndarray]:
    """The weights of each layer with attention by its path: NumPy arrays of shape (heads, length, length).

    Raises
    ------
    ValueError
        If the model has no attention, or the sequence is empty or too long.
    """
    length = model.input_shape[0]
    if not 0 < len(tokens) <= length:
        raise ValueError(f"the model sees 1 to {length} tokens; got {len(tokens)}. Pass a part of the text.")
    padded = [[*tokens, *[0] * (length - len(tokens))]]
    passages: dict[str, Passage] = {}
    ctx = Context(False, model.wiring.state.tree(model.state), False, False)
    inputs = backend_of(model.theta).asarray(padded)
    tree = model.wiring.params.tree(without_record(model.theta))
    with_hooks(model.network, passages).forward(tree, inputs, ctx)
    found = {
        path: _weights(each, _below(tree, path), passages[path].x)[:, : len(tokens), : len(tokens)]
        for path, each in _layers(model.network)
    }
    if not found:
        raise ValueError("the model has no layer with attention: plot_attention needs nn.MultiHeadAttention in it.")
    return found


def _layers(layer: Any, path: str = "") -> list[tuple[str, Any]]:
    """The layers with attention, in their order, with their paths."""
    if layer.family == "attention":
        return [(path, layer)]
    inside = ((f"{path}.{name}" if path else name, each) for name, each in layer.named_layers)
    return [found for name, each in inside for found in _layers(each, name)]


def _below(tree: Any, path: str) -> Any:
    for name in path.split("."):
        tree = tree[name]
    return tree


def _weights(layer: Any, params: Any, x: Any) -> np.ndarray:
    """softmax(Q K^T / sqrt(size)) of one sequence, shape (heads, positions, positions)."""
    q, k = (on_host(each)[0].astype(float) for each in layer.parts(params, x)[:2])
    k = np.repeat(k, len(q) // len(k), axis=0)
    scores = q @ np.swapaxes(k, 1, 2) / math.sqrt(q.shape[-1])
    if layer.causal:
        scores = np.where(np.tri(scores.shape[-1], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _tokens(model: Model, text: Any) -> tuple[list[int], list[str]]:
    """Tokens, and how they are shown."""
    tokenizer = model.tokenizer
    if isinstance(text, str):
        if tokenizer is None:
            raise ValueError("the model has no tokenizer: pass tokens, shape (length,), or set model.tokenizer.")
        tokens = tokenizer.encode(text)
    else:
        tokens = [int(token) for token in np.asarray(on_host(text) if hasattr(text, "shape") else text).ravel()]
    names = [str(token) if tokenizer is None else tokenizer.decode([token]) for token in tokens]
    return tokens, [name.replace("\n", "⏎").replace(" ", "·") for name in names]


def _layer(weights: dict[str, np.ndarray], layer: int | str) -> str:
    """The path of the layer that is meant."""
    paths = list(weights)
    if isinstance(layer, str) and layer in weights:
        return layer
    if isinstance(layer, str | bool) or not -len(paths) <= layer < len(paths):
        raise ValueError(
            f"layer must be one of {', '.join(paths)}, or its number, 0 to {len(paths) - 1}; got {shown(layer)}."
        )
    return paths[layer]


def _draw(weights: np.ndarray, names: list[str], axes: Any) -> None:
    image = axes.imshow(weights, cmap="Blues", vmin=0.0, vmax=1.0)
    image.set_label("weights")
    size = max(2.0, min(9.0, 260.0 / len(names)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(len(names)), names, fontsize=size)
        axis.set_tick_params(length=0)
    axes.xaxis.tick_top()
    name_axes(axes, "reads from", "position")
